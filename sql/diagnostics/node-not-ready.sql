-- title: A node was not ready
-- severity: error
-- needs: kubernetes-objects
-- category: node
-- docs: https://learn.microsoft.com/azure/aks/node-auto-repair
-- param: flaps = 3
--
-- From the Ready condition, each time it was read, and the events
-- `NodeNotReady`. Two very different things (Kubernetes' pkg/controller/
-- nodelifecycle and pkg/kubelet/nodestatus):
--
-- - `silent` (`NodeStatusUnknown`, "Kubelet stopped posting node status."): the
--   API server heard nothing for 40 s or 50 s, by its version. The node is
--   off, frozen, or has no way to the API server: see
--   `api-server-unreachable`, `outage-windows`, `azure-maintenance`,
--   `service-restarts`.
-- - `said so` (`KubeletNotReady`): the kubelet itself says what is wrong, as
--   "PLEG is not healthy", "container runtime is down" (see
--   `runtime-unhealthy`) or "cni plugin not initialized" (see `pod-network`).
--
-- It is an error when the node is not ready now, was so for a minute or longer,
-- or three times; else a warning. The first ten minutes of a node's life do not
-- count. After five minutes its pods are evicted. Polls are minutes apart, so
-- `seconds` is what was seen of it; events expire after an hour.
WITH
    born AS MATERIALIZED (
        SELECT
            name AS node,
            max(json ->> '$.metadata.creationTimestamp') AS created
        FROM object
        WHERE kind = 'Node'
        GROUP BY name
    ),
    stretch AS MATERIALIZED (
        SELECT
            change.*,
            julianday(change.ts) - julianday(born.created) < 600 / 86400.0
                AND change.until IS NOT NULL AS is_birth
        FROM node_condition_change AS change
        LEFT JOIN born ON born.node = change.node
        WHERE change.type = 'Ready' AND change.status <> 'True'
    ),
    seen AS (
        SELECT
            node,
            count(*) AS times,
            min(ts) AS first,
            max(ts) AS last,
            CAST(total(seconds) AS INT) AS seconds,
            max(until IS NULL) AS is_now,
            max(ts) FILTER (WHERE until IS NULL) AS since,
            max(status = 'Unknown') AS is_silent,
            max(status = 'False') AS is_said,
            group_concat(DISTINCT reason ORDER BY reason) AS reasons,
            max(ts || ' ' || coalesce(message, '')) AS last_message
        FROM stretch
        WHERE NOT coalesce(is_birth, 0)
        GROUP BY node
    ),
    told AS (
        SELECT
            event_series.name AS node,
            count,
            first,
            ts AS last
        FROM event_series
        LEFT JOIN born ON born.node = event_series.name
        WHERE kind = 'Node'
            AND reason = 'NodeNotReady'
            AND NOT coalesce(
                julianday(first) - julianday(created) < 600 / 86400.0
                    AND count = 1, 0
            )
    ),
    events AS (
        SELECT
            node,
            -- The kubelet and the controller may both tell of one time.
            max(count) AS times,
            min(first) AS first,
            max(last) AS last
        FROM told
        GROUP BY node
    ),
    known AS (
        SELECT node FROM seen
        UNION
        SELECT node FROM events
    ),
    joined AS (
        SELECT
            known.node,
            min(coalesce(seen.first, events.first), coalesce(
                events.first, seen.first)) AS first,
            max(coalesce(seen.last, events.last), coalesce(
                events.last, seen.last)) AS last,
            max(coalesce(seen.times, 0), coalesce(events.times, 0)) AS times,
            coalesce(seen.times, 0) AS times_seen,
            coalesce(events.times, 0) AS times_told,
            seen.seconds,
            coalesce(seen.is_now, 0) AS is_now,
            seen.since,
            seen.reasons,
            CASE
                WHEN seen.is_silent AND seen.is_said THEN 'both'
                WHEN seen.is_silent THEN 'silent'
                WHEN seen.is_said THEN 'said so'
            END AS kind,
            substr(last_message, instr(last_message, ' ') + 1) AS said
        FROM known
        LEFT JOIN seen ON seen.node = known.node
        LEFT JOIN events ON events.node = known.node
    )
SELECT
    node,
    first AS ts,
    CASE
        WHEN is_now THEN format(
            'node %s is not ready since %s: %s', node, since,
            coalesce(said, reasons, 'nobody says why')
        )
        ELSE format(
            'node %s was not ready %d %s from %s to %s%s%s', node, times,
            iif(times = 1, 'time', 'times'), substr(first, 1, 19) || 'Z',
            substr(last, 1, 19) || 'Z',
            coalesce(', for ' || seconds || ' s that were seen', ''),
            coalesce(': ' || nullif(said, ''), '')
        )
    END AS message,
    CASE
        WHEN is_now OR seconds >= 60 OR times >= :flaps THEN 'error'
        ELSE 'warning'
    END AS severity,
    kind,
    reasons,
    times,
    times_seen,
    times_told,
    seconds,
    is_now,
    since,
    last,
    said
FROM joined
ORDER BY first, node;
