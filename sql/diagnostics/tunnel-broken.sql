-- title: The tunnel from the API server to the nodes is broken
-- severity: error
-- needs: kubernetes-objects, container-logs
-- category: network
-- docs: https://learn.microsoft.com/azure/aks/outbound-rules-control-egress
--
-- The API server reaches kubelets and webhooks through konnectivity-agent, a
-- deployment of kube-system that connects out to the API server's address on
-- port 443. Broken, `kubectl logs`, `exec`, `top` and admission webhooks fail
-- while pods go on. `part`:
--
-- - `agents`: its pods are not ready; an error if none is. See why: `SELECT *
--   FROM container WHERE pod LIKE 'konnectivity-agent%'`.
-- - `server`: an agent cannot connect ("cannot connect once", "cannot sync
--   once") or loses its stream ("could not read stream"): the way to the API
--   server: port 443 with ALPN through every firewall and proxy.
-- - `node`: an agent is connected and does not reach the other end ("error
--   dialing backend"), mostly port 10250 of a node: an NSG between subnets, a
--   network policy, or a firewall on the node; compare with `iptables-drift`.
-- - `client`: a program was told "error dialing backend: dial tcp".
--
-- Ports 9000 and 1194 are of tunnels that no longer exist. Texts:
-- apiserver-network-proxy, pkg/agent/clientset.go and client.go. Its
-- "connection read failure … use of closed network connection" is daily life
-- and not here.
WITH
    agent AS MATERIALIZED (
        SELECT *
        FROM pod_status
        WHERE namespace = 'kube-system'
            AND (
                pod LIKE 'konnectivity-agent-%'
                AND pod NOT LIKE 'konnectivity-agent-autoscaler-%'
                OR pod LIKE 'tunnelfront-%'
                OR pod LIKE 'aks-link-%'
            )
            AND NOT is_done
    ),
    line AS (
        SELECT node, ts, ts_ns, pod, 'server' AS part, message
        FROM log
        WHERE source = 'container'
            AND container = 'konnectivity-agent'
            AND message LIKE '%cannot connect once%'
        UNION ALL
        SELECT node, ts, ts_ns, pod, 'server', message
        FROM log
        WHERE source = 'container'
            AND container = 'konnectivity-agent'
            AND message LIKE '%cannot sync once%'
        UNION ALL
        SELECT node, ts, ts_ns, pod, 'server', message
        FROM log
        WHERE source = 'container'
            AND container = 'konnectivity-agent'
            AND message LIKE '%could not read stream%'
            AND message NOT LIKE '%shutting down%'
        UNION ALL
        SELECT node, ts, ts_ns, pod, 'node', message
        FROM log
        WHERE source = 'container'
            AND container = 'konnectivity-agent'
            AND message LIKE '%error dialing backend%'
        UNION ALL
        SELECT node, ts, ts_ns, pod, 'client', message
        FROM log
        WHERE source = 'container'
            AND container <> 'konnectivity-agent'
            AND message LIKE '%error dialing backend: dial tcp %'
    ),
    addressed AS (
        SELECT
            *,
            CASE part
                WHEN 'node' THEN CASE WHEN message LIKE '%dialAddress="%' THEN
                    substr(
                        substr(message, instr(message, 'dialAddress="') + 13),
                        1,
                        instr(
                            substr(
                                message, instr(message, 'dialAddress="') + 13)
                                || '"', '"'
                        ) - 1
                    )
                END
                WHEN 'client' THEN substr(
                    substr(message, instr(message, 'dial tcp ') + 9), 1,
                    instr(
                        substr(message, instr(message, 'dial tcp ') + 9)
                            || ': ', ': '
                    ) - 1
                )
            END AS address
        FROM line
    ),
    counted AS (
        SELECT
            node,
            part,
            min(ts) AS ts,
            max(ts) AS until,
            (max(ts_ns) - min(ts_ns)) / 1e9 AS seconds,
            count(*) AS failures,
            count(DISTINCT address) AS addresses,
            group_concat(DISTINCT address ORDER BY address) AS address,
            max(message) AS said
        FROM addressed
        GROUP BY node, part
    ),
    finding AS (
        SELECT
            node,
            ts,
            CASE part
                WHEN 'server' THEN format(
                    'konnectivity-agent lost or did not get its connection to '
                        || 'the API server %d %s from %s to %s',
                    failures, iif(failures = 1, 'time', 'times'),
                    substr(ts, 1, 19) || 'Z', substr(until, 1, 19) || 'Z'
                )
                WHEN 'node' THEN format(
                    'konnectivity-agent did not reach %s %d %s from %s to %s',
                    iif(
                        addresses = 1, address,
                        addresses || ' addresses behind the tunnel'
                    ),
                    failures, iif(failures = 1, 'time', 'times'),
                    substr(ts, 1, 19) || 'Z', substr(until, 1, 19) || 'Z'
                )
                ELSE format(
                    'programs were told that the API server does not reach %s '
                        || '%d %s from %s to %s',
                    iif(
                        addresses = 1, address,
                        addresses || ' addresses behind the tunnel'
                    ),
                    failures, iif(failures = 1, 'time', 'times'),
                    substr(ts, 1, 19) || 'Z', substr(until, 1, 19) || 'Z'
                )
            END AS message,
            CASE
                WHEN part = 'server' AND seconds >= 60 AND failures >= 5
                THEN 'error'
                WHEN part = 'client' AND failures >= 5 THEN 'error'
                WHEN failures >= 5 THEN 'warning'
                ELSE 'info'
            END AS severity,
            part,
            failures,
            round(seconds, 1) AS seconds,
            until,
            address AS addresses,
            NULL AS agents,
            NULL AS agents_ready,
            said
        FROM counted
        UNION ALL
        SELECT
            NULL,
            max(ts),
            format(
                '%d of %d pods of the tunnel %s not ready: %s',
                sum(NOT ready), count(*), iif(sum(NOT ready) = 1, 'is', 'are'),
                group_concat(pod || ' (' || status || ')', ', ')
                    FILTER (WHERE NOT ready)
            ),
            CASE
                WHEN max(ready) = 0 THEN 'error'
                WHEN min(created) FILTER (WHERE NOT ready) IS NULL
                    OR julianday(max(ts)) - julianday(
                        max(created) FILTER (WHERE NOT ready)
                    ) < 300 / 86400.0
                THEN 'info'
                ELSE 'warning'
            END,
            'agents', NULL, NULL, NULL, NULL, count(*), sum(ready), NULL
        FROM agent
        HAVING sum(NOT ready) > 0
    )
SELECT *
FROM finding
ORDER BY ts, node, part;
