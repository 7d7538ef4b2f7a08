-- title: CoreDNS got no answer from a server above it
-- severity: error
-- needs: container-logs
-- category: dns
-- docs: https://learn.microsoft.com/azure/aks/coredns-troubleshoot
--
-- Lines of CoreDNS's plugin errors (plugin/errors/errors.go): code, name, type
-- and what went wrong, as `read udp 10.244.0.15:51542->10.20.0.53:53: i/o
-- timeout`. `upstream` is the server that CoreDNS asked, taken from there:
--
-- - `timeout` from a custom server: the server, or the way to it: a firewall or
--   NSG for UDP and TCP 53, a peering, a VPN. See `custom-dns` for who set it.
-- - `timeout` from 168.63.129.16: the node's own network, or too many queries
--   of one machine: Azure answers about a thousand a second.
-- - `refused`: nothing listens there.
-- - `no healthy upstream`: all of them failed their health check.
--
-- Ten failures within five minutes are an error, three a warning, fewer info:
-- clients ask again. For half a minute after it starts, CoreDNS itself asks for
-- a name of digits with type HINFO (plugin/loop/setup.go), often before its pod
-- has a network: `at_start` counts those, and they alone are info. LocalDNS
-- writes the same lines to the journal, as unit `localdns`. If neither a
-- line nor a pod of CoreDNS is in the bundle, every node is blind.
--
-- Next: `SELECT ts, message FROM log WHERE container = 'coredns' AND message
-- LIKE '%10.20.0.53%'`, and from a pod: `nslookup NAME UPSTREAM`.
WITH
    line AS (
        SELECT node, ts, ts_ns, pod, message
        FROM log
        WHERE source = 'container'
            AND container = 'coredns'
            AND message LIKE '%plugin/errors: %'
        UNION ALL
        SELECT node, ts, ts_ns, unit, message
        FROM log
        WHERE source = 'unit' AND message LIKE '%[ERROR] plugin/errors: %'
    ),
    cut AS (
        SELECT
            node,
            ts,
            ts_ns,
            pod,
            message,
            substr(message, instr(message, 'plugin/errors: ') + 15) AS said
        FROM line
    ),
    parsed AS (
        SELECT
            *,
            -- "12 errors like '…' occurred in last 30s" stands for twelve.
            iif(said LIKE '% errors like %', CAST(said AS INT), 1) AS failures,
            said LIKE '% HINFO: %' AS is_start,
            CASE
                WHEN said NOT LIKE '% errors like %' THEN substr(
                    substr(said, instr(said, ' ') + 1), 1,
                    instr(substr(said, instr(said, ' ') + 1) || ' ', ' ') - 1)
            END AS name,
            CASE
                WHEN said LIKE '%->%' THEN substr(said, instr(said, '->') + 2)
                WHEN said LIKE '%: dial udp %'
                THEN substr(said, instr(said, ': dial udp ') + 11)
                WHEN said LIKE '%: dial tcp %'
                THEN substr(said, instr(said, ': dial tcp ') + 11)
            END AS tail,
            CASE
                WHEN said LIKE '%i/o timeout%' THEN 'timeout'
                WHEN said LIKE '%connection refused%' THEN 'refused'
                WHEN said LIKE '%no healthy proxies%'
                    OR said LIKE '%no upstream host%'
                THEN 'no healthy upstream'
                WHEN said LIKE '%network is unreachable%'
                    OR said LIKE '%no route to host%'
                THEN 'no route'
                ELSE 'other'
            END AS cause
        FROM cut
    ),
    named AS (
        SELECT
            *,
            replace(
                substr(tail, 1, instr(tail || ': ', ': ') - 1), ':53', ''
            ) AS upstream
        FROM parsed
    ),
    dense AS (
        SELECT
            *,
            total(failures) FILTER (WHERE NOT is_start) OVER (
                PARTITION BY node, upstream, cause ORDER BY ts_ns
                RANGE BETWEEN 300000000000 PRECEDING AND CURRENT ROW
            ) AS in_5_minutes
        FROM named
    ),
    counted AS (
        SELECT
            node,
            upstream,
            cause,
            min(ts) AS ts,
            max(ts) AS until,
            CAST(total(failures) AS INT) AS failures,
            CAST(max(in_5_minutes) AS INT) AS in_5_minutes,
            CAST(total(failures) FILTER (WHERE is_start) AS INT) AS at_start,
            count(DISTINCT name) AS names,
            min(name) AS example,
            count(DISTINCT pod) AS pods,
            min(message) AS said
        FROM dense
        GROUP BY node, upstream, cause
    )
SELECT
    node,
    ts,
    format(
        'CoreDNS on this node %s %d %s for %d %s from %s to %s, %s',
        CASE cause
            WHEN 'timeout' THEN format(
                'got no answer in time from %s',
                coalesce(upstream, 'a server above it'))
            WHEN 'refused' THEN format(
                'was refused by %s', coalesce(upstream, 'a server above it'))
            WHEN 'no healthy upstream' THEN 'had no healthy server above it'
            WHEN 'no route' THEN format(
                'had no route to %s', coalesce(upstream, 'a server above it'))
            ELSE 'failed'
        END,
        failures,
        iif(failures = 1, 'time', 'times'),
        names,
        iif(names = 1, 'name', 'names'),
        substr(ts, 1, 19) || 'Z',
        substr(until, 1, 19) || 'Z',
        iif(
            at_start = failures, 'all while it started',
            in_5_minutes || ' of them within five minutes'
        )
    ) AS message,
    CASE
        WHEN in_5_minutes >= 10 THEN 'error'
        WHEN in_5_minutes >= 3 THEN 'warning'
        ELSE 'info'
    END AS severity,
    upstream,
    cause,
    failures,
    in_5_minutes,
    at_start,
    names,
    example,
    pods,
    until,
    said
FROM counted
UNION ALL
SELECT
    node, NULL, 'no line of CoreDNS is in the bundle', 'blind',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM node
WHERE NOT EXISTS (SELECT 1 FROM counted)
    -- A CoreDNS that runs for weeks may have said nothing for a day.
    AND NOT EXISTS (
        SELECT 1
        FROM pod_status
        JOIN collection ON collection.node = pod_status.node
        WHERE pod_status.namespace = 'kube-system'
            AND pod_status.pod LIKE 'coredns-%'
            AND pod_status.pod NOT LIKE 'coredns-autoscaler-%'
            AND collection.collector = 'container-logs'
            AND collection.outcome IN ('complete', 'partial')
    )
    AND NOT EXISTS (
        SELECT 1 FROM log WHERE source = 'container' AND container = 'coredns'
    )
ORDER BY 2, 1, 5, 6;
