-- title: A kubelet could not reach the API server
-- severity: error
-- needs: service-logs
-- category: network
-- docs: https://learn.microsoft.com/azure/aks/outbound-rules-control-egress
--
-- A kubelet renews its lease every ten seconds and says so when it cannot:
-- "Failed to update lease" and "Failed to ensure lease exists, will retry"
-- (Kubernetes' component-helpers/apimachinery/lease/controller.go), "Error
-- updating node status, will retry" (pkg/kubelet/kubelet_node_status.go).
-- `cause` is the reason that it gave most often:
--
-- - `timeout`: packets vanish: NSG, firewall, route, SNAT, or a server that is
--   too busy. `refused`, `reset`: somebody answers and says no: a private
--   endpoint, a proxy, a restart of the server.
-- - `dns`: the name did not resolve: see `custom-dns`, `dns-timeouts`.
-- - `no route`: the node itself has no network.
-- - `certificate`, `credentials`: it answers, and one side does not trust the
--   other: see `certificate-expiry` and `clock-skew`.
--
-- Failures less than two minutes apart are one finding; `probe` says whether
-- our own samples of the API server failed at the same time. Less than 20 s are
-- info: a server that is replaced, as at an upgrade, costs a renewal. From 40 s
-- on the node becomes NotReady: error. A lease that is "not found" or changed
-- by another is no failure of the way.
WITH
    line AS (
        SELECT node, ts, ts_ns, message
        FROM log
        WHERE source = 'unit'
            AND message LIKE '%failed to ensure lease exists, will retry%'
        UNION ALL
        SELECT node, ts, ts_ns, message
        FROM log
        WHERE source = 'unit' AND message LIKE '%failed to update lease%'
        UNION ALL
        SELECT node, ts, ts_ns, message
        FROM log
        WHERE source = 'unit'
            AND message LIKE '%error updating node status, will retry%'
    ),
    caused AS (
        SELECT
            *,
            CASE
                WHEN message LIKE '%no such host%'
                    OR message LIKE '%server misbehaving%'
                    OR message LIKE '%dial tcp: lookup %'
                THEN 'dns'
                WHEN message LIKE '%connection refused%' THEN 'refused'
                WHEN message LIKE '%no route to host%'
                    OR message LIKE '%network is unreachable%'
                THEN 'no route'
                WHEN message LIKE '%x509:%' OR message LIKE '%tls: %'
                THEN 'certificate'
                WHEN message LIKE '%Unauthorized%'
                    OR message LIKE '%is forbidden%'
                THEN 'credentials'
                WHEN message LIKE '%i/o timeout%'
                    OR message LIKE '%TLS handshake timeout%'
                    OR message LIKE '%Client.Timeout%'
                    OR message LIKE '%context deadline exceeded%'
                    OR message LIKE '%request canceled%'
                    OR message LIKE '%http2: client connection lost%'
                THEN 'timeout'
                WHEN message LIKE '%connection reset by peer%'
                    OR message LIKE '%EOF%'
                    OR message LIKE '%broken pipe%'
                THEN 'reset'
                WHEN message LIKE '%etcdserver%'
                    OR message LIKE '%the server is currently unable%'
                    OR message LIKE '%InternalError%'
                THEN 'server'
            END AS cause
        FROM line
    ),
    marked AS (
        SELECT
            *,
            ts_ns - lag(ts_ns) OVER (PARTITION BY node ORDER BY ts_ns)
                > 120000000000 AS is_new
        FROM caused
        WHERE cause IS NOT NULL
    ),
    numbered AS (
        SELECT
            *,
            sum(coalesce(is_new, 0)) OVER (PARTITION BY node ORDER BY ts_ns)
                AS episode
        FROM marked
    ),
    each_cause AS (
        SELECT
            node,
            episode,
            cause,
            count(*) AS lines,
            min(ts) AS ts,
            max(ts) AS until,
            min(ts_ns) AS from_ns,
            max(ts_ns) AS until_ns,
            max(message) AS said
        FROM numbered
        GROUP BY node, episode, cause
    ),
    counted AS (
        SELECT
            node,
            min(ts) AS ts,
            max(until) AS until,
            min(from_ns) AS from_ns,
            max(until_ns) AS until_ns,
            (max(until_ns) - min(from_ns)) / 1e9 AS seconds,
            CAST(total(lines) AS INT) AS failures,
            json_group_object(cause, lines) AS causes,
            substr(max(format('%09d', lines) || cause), 10) AS cause,
            substr(max(format('%09d', lines) || said), 10) AS said
        FROM each_cause
        GROUP BY node, episode
    ),
    down AS MATERIALIZED (
        SELECT node, ts_ns, ended_ns, duration, target
        FROM probe_outage
        WHERE kind = 'api-server'
    )
SELECT
    node,
    ts,
    format(
        'the kubelet could not reach the API server for %.0f s from %s to %s: '
            || '%d %s, mostly %s%s',
        seconds,
        substr(ts, 1, 19) || 'Z',
        substr(until, 1, 19) || 'Z',
        failures,
        iif(failures = 1, 'failure', 'failures'),
        cause,
        coalesce('; ' || probe, '')
    ) AS message,
    CASE
        WHEN seconds >= 40 THEN 'error'
        WHEN seconds >= 20 THEN 'warning'
        ELSE 'info'
    END AS severity,
    cause,
    failures,
    round(seconds, 1) AS seconds,
    until,
    causes,
    probe,
    said
FROM (
    SELECT
        counted.*,
        (
            SELECT 'probes of ' || group_concat(DISTINCT down.target)
                || ' failed too, for ' || max(down.duration)
            FROM down
            WHERE down.node = counted.node
                AND down.ts_ns <= counted.until_ns + 30000000000
                AND down.ended_ns >= counted.from_ns - 30000000000
        ) AS probe
    FROM counted
)
ORDER BY ts, node;
