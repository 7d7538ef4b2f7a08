-- Pod disruption budgets as they were last seen.
CREATE VIEW disruption_budget (
    node, -- node that read the object
    ts, -- when it was read
    namespace, -- namespace of the budget
    name, -- name of the budget
    min_available, -- pods that must stay, a number or a share, NULL if not set
    max_unavailable, -- pods that may go, a number or a share, NULL if not set
    expected_pods, -- pods that it counts
    healthy_pods, -- pods that are healthy
    allowed_disruptions, -- pods that may be evicted now
    selector -- JSON object: labels of its pods
) AS
SELECT
    node,
    ts,
    namespace,
    name,
    json ->> '$.spec.minAvailable',
    json ->> '$.spec.maxUnavailable',
    json ->> '$.status.expectedPods',
    json ->> '$.status.currentHealthy',
    json ->> '$.status.disruptionsAllowed',
    json ->> '$.spec.selector.matchLabels'
FROM object
WHERE kind = 'PodDisruptionBudget';
