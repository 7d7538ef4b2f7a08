-- title: The connection table of the kernel is full or nearly so
-- severity: warning
-- needs: host-samples
-- category: network
-- param: used_percent = 90
-- docs: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
--
-- The kernel keeps an entry for each connection that it translates or filters.
-- When there are `nf_conntrack_max` of them it drops the first packet of every
-- new connection: DNS queries time out, probes fail, and connections that are
-- open go on as if nothing was wrong. It then writes `nf_conntrack: table full,
-- dropping packet` (kernel, `net/netfilter/nf_conntrack_core.c`; newer
-- ones say `table full in netns N` of a pod's own network), but few of these
-- lines reach the log: their number says nothing of how many packets were lost.
--
-- Severity is `error` where packets were dropped, `warning` from `used_percent`
-- on (the rule of node-problem-detector, `config/plugin/network_problem.sh`).
-- Rising drop counters alone are no sign: two queries that race for one entry
-- count there too.
--
-- 1. Who holds the entries: `SELECT remote, state, max(connections)
--    FROM connection WHERE node = … GROUP BY 1, 2 ORDER BY 3 DESC`; many to 53
--    are DNS without a cache, many to one service are a client without
--    keep-alive.
-- 2. Raise the limit in the custom node configuration of the pool (`sysctls`,
--    `netNetfilterNfConntrackMax`) once the cause is known.
WITH
    -- What a table holds seldom changes: the last minutes of sessions tell.
    size AS MATERIALIZED (
        SELECT sample.node, min(sample.value) AS entries
        FROM raw_session
        JOIN raw_node ON raw_node.id = raw_session.node_id
        CROSS JOIN sample
            ON sample.node = raw_node.name AND sample.family = 'conntrack'
            AND sample.ts_ns >= raw_session.ended_ns - 300000000000
        WHERE sample.name = 'conntrack_max_entries' AND sample.value > 0
        GROUP BY sample.node
    ),
    high AS MATERIALIZED (
        SELECT
            sample.node,
            min(sample.ts) AS first,
            max(sample.ts) AS last,
            count(*) AS samples,
            max(sample.value) AS entries
        FROM sample
        JOIN size ON size.node = sample.node
        WHERE sample.family = 'conntrack'
            AND sample.value * 100
                >= (SELECT min(entries) FROM size) * :used_percent
            AND sample.name = 'conntrack_entries'
            AND sample.value * 100 >= size.entries * :used_percent
        GROUP BY sample.node
    ),
    full AS MATERIALIZED (
        SELECT
            node,
            min(ts) AS first,
            max(ts) AS last,
            count(*) AS lines,
            max(message) AS example
        FROM log
        WHERE source = 'unit' AND unit = 'kernel'
            AND message LIKE '%nf_conntrack: table full%'
        GROUP BY node
    ),
    seen AS (
        SELECT node FROM high
        UNION
        SELECT node FROM full
    )
SELECT
    seen.node,
    min(coalesce(full.first, high.first), coalesce(high.first, full.first))
        AS ts,
    CASE
        WHEN full.node IS NULL THEN format(
            'the connection table was up to %.0f %% full (%d of %d entries) '
                || 'in %d %s from %s to %s',
            100.0 * high.entries / size.entries, high.entries, size.entries,
            high.samples, iif(high.samples = 1, 'sample', 'samples'),
            substr(high.first, 1, 19) || 'Z', substr(high.last, 1, 19) || 'Z'
        )
        ELSE format(
            'the kernel dropped packets because its connection table was full '
                || '(%d %s from %s to %s%s)',
            full.lines, iif(full.lines = 1, 'line', 'lines'),
            substr(full.first, 1, 19) || 'Z', substr(full.last, 1, 19) || 'Z',
            iif(
                size.entries IS NULL, '',
                format('; room for %d entries', size.entries)
            )
        )
    END AS message,
    iif(full.node IS NULL, 'warning', 'error') AS severity,
    CAST(size.entries AS INT) AS max_entries,
    CAST(high.entries AS INT) AS peak_entries,
    high.samples AS samples_over,
    high.first AS first_over,
    high.last AS last_over,
    full.lines AS dropped_lines,
    full.example
FROM seen
LEFT JOIN size ON size.node = seen.node
LEFT JOIN high ON high.node = seen.node
LEFT JOIN full ON full.node = seen.node
UNION ALL
SELECT
    collection.node, collection.ts,
    'the kernel has no connection table that the agent could read',
    'blind', NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM collection
WHERE collection.collector = 'host-samples'
    AND collection.outcome IN ('complete', 'partial')
    AND collection.node NOT IN (SELECT node FROM size)
    AND collection.node NOT IN (SELECT node FROM full)
ORDER BY ts, node;
