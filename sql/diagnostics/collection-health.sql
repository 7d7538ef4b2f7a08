-- title: Something was not collected
-- severity: warning
-- needs: kubernetes-objects
-- category: collection
-- param: late_s = 900
-- docs: https://kubernetes.io/docs/tasks/debug/debug-cluster/
--
-- What this bundle does not hold, so that nobody takes silence for health:
--
-- - `no data`: the node is in the cluster, and no agent wrote anything there:
--   no pod of the agent runs on it (`kubectl -n aks-periscope get pod
--   -o wide`), or its file was not sent. Windows nodes have no agent (severity
--   `info`).
-- - `silent`: its agent stopped `late_s` or more before the bundle ends.
-- - `failed`, `missing`: a collector failed here, or left nothing here though
--   it did on other nodes. Diagnostics that need it are blind on this node.
-- - `lost`: lines or rows that were thrown away or damaged; `cut`: a limit left
--   some out; `unread`: a source that could not be opened. `issues` has their
--   texts: `SELECT * FROM issue WHERE node = …`.
--
-- A node on which `kubernetes-objects` was not collected is blind: it cannot
-- tell who else there is.
WITH
    cluster_node AS MATERIALIZED (
        SELECT
            object.name,
            max(object.ts) AS ts,
            max(coalesce(
                json ->> '$.metadata.labels."kubernetes.io/os"' = 'windows', 0
            )) AS is_windows,
            max(coalesce(
                json ->> '$.metadata.labels.type' = 'virtual-kubelet', 0
            )) AS is_virtual
        FROM object
        WHERE kind = 'Node'
        GROUP BY object.name
    ),
    absent_node AS (
        SELECT * FROM cluster_node
        WHERE name NOT IN (SELECT node FROM node) AND NOT is_virtual
    ),
    trouble AS MATERIALIZED (
        SELECT
            node,
            collector,
            CASE kind
                WHEN 'truncated' THEN 'cut'
                WHEN 'unreadable' THEN 'unread'
                ELSE 'lost'
            END AS verdict,
            min(ts) AS ts,
            count(*) AS issues,
            sum(amount) AS amount,
            min(unit) AS unit,
            count(DISTINCT unit) AS units,
            group_concat(
                source || ': ' || substr(message, 1, 200), '; ' ORDER BY ts
            ) AS texts
        FROM (
            SELECT
                *,
                row_number() OVER (
                    PARTITION BY node, collector, kind ORDER BY ts, source
                ) AS place
            FROM issue
            WHERE kind IN ('truncated', 'unreadable', 'dropped', 'damaged')
        )
        GROUP BY node, collector, 3
    ),
    finding (
        node, ts, message, severity, verdict, collector, amount, texts
    ) AS (
        SELECT
            name, ts,
            format(
                'node %s is in the cluster, and nothing of it is in the '
                    || 'bundle%s', name,
                iif(is_windows, ': it runs Windows', '')
            ),
            iif(is_windows, 'info', 'warning'), 'no data', NULL, NULL, NULL
        FROM absent_node
        UNION ALL
        SELECT
            node, last,
            format(
                'the agent wrote its last at %s, %.0f min before the bundle '
                    || 'ends', substr(last, 1, 19) || 'Z',
                (julianday(:collected_until) - julianday(last)) * 1440
            ),
            'warning', 'silent', NULL, NULL, NULL
        FROM node
        WHERE (julianday(:collected_until) - julianday(last)) * 86400
            >= :late_s
        UNION ALL
        SELECT
            node, ts,
            format('%s failed: %s', collector, coalesce(message, 'no reason')),
            'warning', 'failed', collector, NULL, message
        FROM collection
        WHERE outcome = 'failed'
        UNION ALL
        SELECT
            node, ts,
            format('%s left nothing, unlike on other nodes', collector),
            'warning', 'missing', collector, NULL, NULL
        FROM collection
        WHERE outcome = 'missing'
        UNION ALL
        SELECT
            node, ts,
            format(
                CASE verdict
                    WHEN 'cut' THEN '%s left something out of %d %s%s'
                    WHEN 'unread' THEN '%s could not read %d %s%s'
                    ELSE '%s lost something of %d %s%s'
                END,
                collector, issues, iif(issues = 1, 'source', 'sources'),
                iif(
                    amount IS NULL OR units <> 1, '',
                    format(' (%d %s)', amount, unit)
                )
            ),
            iif(verdict = 'lost', 'warning', 'info'), verdict, collector,
            amount, substr(texts, 1, 2000)
        FROM trouble
    )
SELECT node, ts, message, severity, verdict, collector, amount, texts
FROM finding
UNION ALL
SELECT
    node, ts, 'nobody said which nodes the cluster has', 'blind', NULL, NULL,
    NULL, NULL
FROM collection
WHERE collector = 'kubernetes-objects'
    AND outcome IN ('complete', 'partial')
    AND NOT EXISTS (SELECT 1 FROM cluster_node)
ORDER BY severity, node, verdict, collector;
