-- Deployments and daemon sets as they were last seen.
CREATE VIEW workload (
    node, -- node that read the object
    ts, -- when it was read
    kind, -- 'Deployment' or 'DaemonSet'
    namespace, -- namespace of the workload
    name, -- name of the workload
    desired, -- pods that it should have
    ready, -- pods that are ready
    available, -- pods that have been ready for long enough
    updated, -- pods that run its newest version
    images, -- images of its containers, with ', ' between
    helm_release, -- release of Helm that it belongs to, NULL if to none
    message -- why a deployment makes no progress or is short of pods
) AS
SELECT
    node,
    ts,
    kind,
    namespace,
    name,
    CASE kind
        WHEN 'Deployment' THEN coalesce(json ->> '$.spec.replicas', 1)
        ELSE json ->> '$.status.desiredNumberScheduled'
    END,
    coalesce(
        json ->> '$.status.readyReplicas', json ->> '$.status.numberReady', 0
    ),
    coalesce(
        json ->> '$.status.availableReplicas',
        json ->> '$.status.numberAvailable',
        0
    ),
    coalesce(
        json ->> '$.status.updatedReplicas',
        json ->> '$.status.updatedNumberScheduled',
        0
    ),
    (
        SELECT group_concat(value ->> '$.image', ', ')
        FROM json_each(object.json, '$.spec.template.spec.containers')
        WHERE json_each.type = 'object'
    ),
    json ->> '$.metadata.annotations."meta.helm.sh/release-name"',
    (
        SELECT group_concat(value ->> '$.message', '; ')
        FROM json_each(object.json, '$.status.conditions')
        WHERE CASE WHEN json_each.type = 'object' THEN
            value ->> '$.status' = 'False'
            OR value ->> '$.type' = 'ReplicaFailure'
        END
    )
FROM object
WHERE kind IN ('Deployment', 'DaemonSet');
