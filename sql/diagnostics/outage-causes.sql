-- title: Something else happened on the node during an outage
-- severity: warning
-- needs: probe
-- category: network
-- param: before_s = 120
-- param: after_s = 30
-- param: stalled_percent = 20
-- docs: https://learn.microsoft.com/azure/aks/node-auto-repair
--
-- Outages of this node's targets, put together where less than a minute lies
-- between them, and what happened on the same node from `before_s` before the
-- outage to `after_s` after it. The same time is no proof, but the place to
-- begin; the list goes from what explains most to what explains least:
--
-- 1. `maintenance`: Azure announced it (view `maintenance`).
-- 2. `reboot`, `silence`: the machine started anew, or stood still so that even
--    the agent took no samples.
-- 3. `network path`: "Data path switched from VF" (kernel, `netvsc_drv.c`): the
--    host took accelerated networking away, as it does to service it.
-- 4. `conntrack`: the kernel dropped packets of new connections.
-- 5. `out of memory`, `stalled`: the kernel killed something, or tasks waited
--    for memory or disk for `stalled_percent` of the time.
-- 6. `containerd`, `kubelet`: systemd stopped or started it (texts as in
--    node-problem-detector, `config/systemd-monitor-counter.json`).
-- 7. `system container`: one that carries traffic or DNS of the node ended.
-- 8. `clock`: the wall clock jumped, so that times do not compare.
-- 9. `not ready`: the API server lost the node; that is mostly an effect.
--
-- `SELECT * FROM log WHERE node = … AND ts BETWEEN first AND last ORDER BY ts`
-- shows all lines of that time.
WITH
    outage AS MATERIALIZED (
        SELECT
            node, target, ts_ns, ended_ns,
            max(ended_ns) OVER (
                PARTITION BY node ORDER BY ts_ns, target
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS before_ns
        FROM probe_outage
    ),
    episode AS MATERIALIZED (
        SELECT
            node,
            number,
            min(ts_ns) AS from_ns,
            max(ended_ns) AS to_ns,
            count(DISTINCT target) AS targets,
            group_concat(DISTINCT target) AS names
        FROM (
            SELECT
                *,
                sum(before_ns IS NULL OR ts_ns > before_ns + 60000000000)
                    OVER (PARTITION BY node ORDER BY ts_ns, target) AS number
            FROM outage
        )
        GROUP BY node, number
    ),
    -- What is read of samples: the time of a node's outages.
    reach AS MATERIALIZED (
        SELECT
            node,
            min(from_ns) - :before_s * 1000000000 AS from_ns,
            max(to_ns) + :after_s * 1000000000 AS to_ns
        FROM episode
        GROUP BY node
    ),
    -- Lines of systemd; each text is looked for apart, which skips most chunks.
    switched AS MATERIALIZED (
        SELECT node, ts_ns, unit, message FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%Started kubelet%'
        UNION ALL
        SELECT node, ts_ns, unit, message FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%Started Kubernetes kubelet%'
        UNION ALL
        SELECT node, ts_ns, unit, message FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%Stopping kubelet%'
        UNION ALL
        SELECT node, ts_ns, unit, message FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%Stopping Kubernetes kubelet%'
        UNION ALL
        SELECT node, ts_ns, unit, message FROM log
        WHERE source = 'unit' AND unit = 'containerd.service'
            AND message LIKE '%Started containerd%'
        UNION ALL
        SELECT node, ts_ns, unit, message FROM log
        WHERE source = 'unit' AND unit = 'containerd.service'
            AND message LIKE '%Stopping containerd%'
    ),
    waited AS (
        SELECT sample.node, sample.ts_ns, sample.name, sample.value
        FROM reach
        CROSS JOIN sample
            ON sample.node = reach.node
            AND sample.ts_ns BETWEEN reach.from_ns AND reach.to_ns
        WHERE sample.family = 'pressure'
            AND sample.value >= :stalled_percent AND sample.value <= 100
            AND sample.name IN (
                'pressure_memory_full_avg10_percent',
                'pressure_io_full_avg10_percent'
            )
    ),
    cause (node, from_ns, to_ns, rank, kind, text) AS MATERIALIZED (
        SELECT
            node, unixepoch(ts) * 1000000000,
            (unixepoch(until) + 900) * 1000000000, 1, 'maintenance',
            CASE kind
                WHEN 'Unknown' THEN 'Azure announced maintenance'
                ELSE format('Azure announced maintenance (%s)', lower(kind))
            END
        FROM maintenance
        UNION ALL
        SELECT
            node, min(ts_ns), max(ts_ns + CAST(seconds * 1e9 AS INT)),
            iif(reason = 'clock', 8, 2), reason,
            CASE reason
                WHEN 'reboot' THEN 'the node started anew'
                WHEN 'clock' THEN format(
                    'the clock jumped by %+.1f s', max(clock_step_s)
                )
                ELSE format(
                    'the agent or the whole machine stood still for %.0f s',
                    max(seconds)
                )
            END
        FROM probe_gap
        WHERE reason IN ('reboot', 'silence', 'clock')
        GROUP BY node, reason, ts_ns / 60000000000
        UNION ALL
        SELECT
            node, ts_ns, ts_ns, 3, 'network path',
            'the host took accelerated networking away'
        FROM log
        WHERE source = 'unit' AND unit = 'kernel'
            AND message LIKE '%Data path switched from VF%'
        UNION ALL
        SELECT
            node, ts_ns, ts_ns, 4, 'conntrack',
            'the connection table of the kernel was full'
        FROM log
        WHERE source = 'unit' AND unit = 'kernel'
            AND message LIKE '%nf_conntrack: table full%'
        UNION ALL
        SELECT
            node, ts_ns, ts_ns, 5, 'out of memory',
            format(
                'the kernel killed %s for lack of memory',
                substr(
                    tail, instr(tail, '(') + 1,
                    instr(tail, ')') - instr(tail, '(') - 1
                )
            )
        FROM (
            SELECT
                node, ts_ns,
                substr(message, instr(message, 'Killed process')) AS tail
            FROM log
            WHERE source = 'unit' AND unit = 'kernel'
                AND message LIKE '%Killed process %'
        )
        UNION ALL
        SELECT
            node, ts_ns, ts_ns, 5, 'stalled',
            format(
                'tasks waited for %s for up to %.0f %% of the time',
                iif(name LIKE 'pressure_io%', 'disk', 'memory'), max(value)
            )
        FROM waited
        GROUP BY node, name, ts_ns / 60000000000
        UNION ALL
        SELECT
            node, ts_ns, ts_ns, 6, replace(unit, '.service', ''),
            format(
                '%s %s', replace(unit, '.service', ''),
                iif(message GLOB 'Started *', 'was started', 'was stopped')
            )
        FROM switched
        WHERE message GLOB 'Started *' OR message GLOB 'Stopping *'
        UNION ALL
        SELECT
            node, unixepoch(last_finished) * 1000000000,
            unixepoch(last_finished) * 1000000000, 7, 'system container',
            format(
                'container %s of %s ended (%s)', container, pod,
                coalesce(last_reason, 'no reason')
            )
        FROM container
        WHERE namespace = 'kube-system' AND last_finished IS NOT NULL
            AND (
                pod LIKE 'coredns-%' OR pod LIKE 'kube-proxy-%'
                OR pod LIKE 'azure-cns-%' OR pod LIKE 'azure-npm-%'
                OR pod LIKE 'cilium-%' OR pod LIKE 'calico-node-%'
                OR pod LIKE 'konnectivity-agent-%'
            )
        UNION ALL
        SELECT
            node, unixepoch(ts) * 1000000000, unixepoch(ts) * 1000000000, 9,
            'not ready', 'the node became NotReady'
        FROM event
        WHERE kind = 'Node' AND reason = 'NodeNotReady'
    ),
    beside AS (
        SELECT
            episode.node,
            episode.number,
            cause.rank,
            cause.kind,
            cause.text,
            min(cause.from_ns) AS at_ns,
            count(*) AS times
        FROM episode
        JOIN cause
            ON cause.node = episode.node
            AND cause.from_ns <= episode.to_ns + :after_s * 1000000000
            AND cause.to_ns >= episode.from_ns - :before_s * 1000000000
        GROUP BY episode.node, episode.number, cause.kind, cause.text
    ),
    told AS (
        SELECT
            episode.*,
            beside.rank,
            beside.kind,
            beside.text || CASE
                WHEN times > 1 THEN format(' (%d times)', times)
                ELSE ''
            END || CASE
                WHEN at_ns < from_ns THEN format(
                    ' %d s before it', (from_ns - at_ns) / 1000000000
                )
                ELSE format(
                    ' %d s after it began', (at_ns - from_ns) / 1000000000
                )
            END AS text,
            row_number() OVER (
                PARTITION BY episode.node, episode.number
                ORDER BY beside.rank, at_ns, beside.text
            ) AS place
        FROM episode
        JOIN beside
            ON beside.node = episode.node AND beside.number = episode.number
    )
SELECT
    node,
    strftime('%Y-%m-%dT%H:%M:%SZ', from_ns / 1000000000, 'unixepoch') AS ts,
    format(
        'outage of %s from %s to %s: %s',
        iif(
            targets > 3, format('%d targets', targets),
            replace(names, ',', ', ')
        ),
        strftime('%Y-%m-%dT%H:%M:%SZ', from_ns / 1000000000, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%SZ', to_ns / 1000000000, 'unixepoch'),
        group_concat(text, '; ' ORDER BY place)
    ) AS message,
    max(kind) FILTER (WHERE place = 1) AS likely,
    count(*) AS causes,
    targets,
    names,
    strftime('%Y-%m-%dT%H:%M:%SZ', from_ns / 1000000000, 'unixepoch') AS first,
    strftime('%Y-%m-%dT%H:%M:%SZ', to_ns / 1000000000, 'unixepoch') AS last,
    json_group_array(kind ORDER BY place) AS kinds
FROM told
WHERE place <= 6
GROUP BY node, number
ORDER BY from_ns, node;
