-- title: A node is short of memory or of processes
-- severity: warning
-- needs: host-samples
-- category: node
-- param: available_percent = 5
-- param: stalled_percent = 10
-- param: pids_percent = 90
-- docs: https://learn.microsoft.com/azure/aks/node-resource-reservations
--
-- - `condition`: the node has `MemoryPressure` or `PIDPressure` now; it takes
--   no new pods of class BestEffort, and evicts.
-- - `evicted`: pods were evicted ("The node was low on resource: memory", or
--   `pids`; kubernetes, `pkg/kubelet/eviction/helpers.go`), or the kubelet
--   began to ("eviction manager: attempting to reclaim").
-- - `memory`: less than `available_percent` of the memory was available, in two
--   samples or more. The kubelet evicts below `memory.available`, on AKS
--   750 MiB, or 100 MiB from 1.29 on.
-- - `stalled`: all tasks at once waited for memory for `stalled_percent` of ten
--   seconds (`/proc/pressure/memory`, line `full`), in two samples or more: the
--   node spends its time on reclaiming, and probes and leases come late.
-- - `processes`: more than `pids_percent` of the process numbers were in use.
--
-- A container that its own limit killed is no shortage of the node. Who uses
-- it: `SELECT namespace, name, qos_class FROM pod WHERE node = …`, `kubectl top
-- pod -A --sort-by memory`; then set requests near what is used, so that the
-- scheduler puts fewer pods there.
WITH
    -- Sizes seldom change: the last minutes of each session tell them.
    late AS (
        SELECT raw_node.name AS node, ended_ns - 300000000000 AS from_ns
        FROM raw_session
        JOIN raw_node ON raw_node.id = raw_session.node_id
    ),
    size AS MATERIALIZED (
        SELECT sample.node, max(sample.value) AS memory
        FROM late
        CROSS JOIN sample
            ON sample.node = late.node AND sample.family = 'memory'
            AND sample.ts_ns >= late.from_ns
        WHERE sample.name = 'memory_total_bytes'
        GROUP BY sample.node
    ),
    pids AS MATERIALIZED (
        SELECT sample.node, min(sample.value) AS most
        FROM late
        CROSS JOIN sample
            ON sample.node = late.node AND sample.family = 'load'
            AND sample.ts_ns >= late.from_ns
        WHERE sample.name = 'load_max_pids' AND sample.value > 0
        GROUP BY sample.node
    ),
    -- CROSS: all nodes are read at once, not one after another.
    low AS (
        SELECT
            sample.node, 'memory' AS verdict,
            min(sample.ts) AS first, max(sample.ts) AS last,
            count(*) AS samples, min(sample.value) AS worst,
            max(size.memory) AS total
        FROM sample
        CROSS JOIN size ON size.node = sample.node
        WHERE sample.family = 'memory'
            AND sample.value * 100
                < (SELECT max(memory) FROM size) * :available_percent
            AND sample.name = 'memory_available_bytes'
            AND sample.value * 100 < size.memory * :available_percent
        GROUP BY sample.node
        UNION ALL
        SELECT node, 'stalled', min(ts), max(ts), count(*), max(value), NULL
        FROM sample
        WHERE family = 'pressure'
            AND value >= :stalled_percent AND value <= 100
            AND name = 'pressure_memory_full_avg10_percent'
        GROUP BY node
        UNION ALL
        SELECT
            sample.node, 'processes', min(sample.ts), max(sample.ts), count(*),
            max(sample.value), max(pids.most)
        FROM sample
        CROSS JOIN pids ON pids.node = sample.node
        WHERE sample.family = 'load'
            AND sample.value * 100
                >= (SELECT min(most) FROM pids) * :pids_percent
            AND sample.name = 'load_existing_tasks'
            AND sample.value * 100 >= pids.most * :pids_percent
        GROUP BY sample.node
    ),
    told AS MATERIALIZED (
        SELECT
            node,
            min(first) AS first,
            max(ts) AS last,
            sum(count) AS times,
            count(DISTINCT namespace || '/' || name)
                FILTER (WHERE kind = 'Pod') AS pods,
            group_concat(DISTINCT namespace || '/' || name)
                FILTER (WHERE kind = 'Pod') AS names,
            max(message) AS example
        FROM event
        WHERE CASE reason
            WHEN 'Evicted'
            THEN message LIKE '%low on resource: memory%'
                OR message LIKE '%low on resource: pids%'
                OR message LIKE '%had condition: [MemoryPressure%'
                OR message LIKE '%had condition: [PIDPressure%'
            WHEN 'EvictionThresholdMet'
            THEN message LIKE '%reclaim memory%'
                OR message LIKE '%reclaim pids%'
        END
        GROUP BY node
    ),
    reclaimed AS (
        SELECT
            node, min(ts) AS first, max(ts) AS last, count(*) AS times,
            max(message) AS example
        FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%eviction manager: attempting to reclaim%'
            AND (
                message LIKE '%reclaim memory%' OR message LIKE '%="memory"%'
                OR message LIKE '%reclaim pids%' OR message LIKE '%="pids"%'
            )
        GROUP BY node
    ),
    finding (
        node, ts, message, severity, verdict, first, last, times, pods, names,
        worst, total, example
    ) AS (
        SELECT
            node, since, format('the node has %s since %s', type, since),
            'error', 'condition', since, ts, NULL, NULL, NULL, NULL, NULL,
            message
        FROM node_condition
        WHERE type IN ('MemoryPressure', 'PIDPressure') AND status = 'True'
        UNION ALL
        SELECT
            node, first,
            format(
                'the node ran low on memory or processes from %s to %s; '
                    || 'evicted pods that are known of: %d',
                substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z', pods
            ),
            iif(pods > 0, 'error', 'warning'), 'evicted', first, last, times,
            pods, names, NULL, NULL, example
        FROM told
        UNION ALL
        SELECT
            node, first,
            format(
                'the kubelet tried %d %s from %s to %s to reclaim memory or '
                    || 'processes by evicting pods',
                times, iif(times = 1, 'time', 'times'),
                substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z'
            ),
            'warning', 'evicted', first, last, times, NULL, NULL, NULL, NULL,
            example
        FROM reclaimed
        WHERE node NOT IN (SELECT node FROM told WHERE node IS NOT NULL)
        UNION ALL
        SELECT
            node, first,
            format(
                CASE verdict
                    WHEN 'memory' THEN 'only %.2f of %.2f GB of memory were '
                        || 'available at the least'
                    WHEN 'stalled' THEN 'all tasks waited for memory for up to '
                        || '%.0f %% of the time'
                    ELSE 'up to %.0f of %.0f process numbers were in use'
                END,
                iif(verdict = 'memory', worst / 1e9, worst),
                iif(verdict = 'memory', total / 1e9, total)
            ) || format(
                ', in %d %s from %s to %s', samples,
                iif(samples = 1, 'sample', 'samples'),
                substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z'
            ),
            'warning', verdict, first, last, samples, NULL, NULL, worst, total,
            NULL
        FROM low
        WHERE samples >= 2 OR verdict = 'processes'
    )
SELECT
    node, ts, message, severity, verdict, first, last, times, pods, names,
    worst, total, example
FROM finding
ORDER BY node, severity, verdict, ts;
