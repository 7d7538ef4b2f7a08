-- title: A service of the node crashed or was down
-- severity: error
-- needs: service-logs
-- category: node
-- docs: https://learn.microsoft.com/azure/aks/node-problem-detector
-- param: restarts = 5
--
-- From systemd's own lines about kubelet, containerd and docker; see the view
-- `service_restart` for each start and the texts. A restart that somebody asked
-- for (`Stopping …` comes first, as at an upgrade) and the start after a boot
-- are no crash. Error:
--
-- - `storm`: five unplanned starts or more within 20 minutes; the rule of
--   node-problem-detector, config/systemd-monitor-counter.json, whose
--   conditions `FrequentKubeletRestart`, `FrequentContainerdRestart` and
--   `FrequentDockerRestart` count here too.
-- - `down`: it had ended for a minute or longer. Without kubelet for 40 s to
--   50 s a node becomes NotReady; without containerd nothing starts and probes
--   fail.
-- - `ended`: it ended, and while the agent still wrote it did not start again.
--
-- Fewer crashes are a warning: `crash`. `result` is what systemd said of the
-- last end. Next: `SELECT ts, message FROM log WHERE node = … AND unit = … AND
-- ts < '…' ORDER BY ts DESC LIMIT 50`, with the time of the crash; then
-- `out-of-memory` and `disk-pressure` of the same node.
WITH
    life AS MATERIALIZED (
        SELECT
            service_restart.*,
            cause IN ('crash', 'unknown') AS is_unplanned
        FROM service_restart
    ),
    dense AS (
        SELECT
            *,
            sum(is_unplanned AND started IS NOT NULL) OVER (
                PARTITION BY node, unit ORDER BY ts_ns
                RANGE BETWEEN 1200000000000 PRECEDING AND CURRENT ROW
            ) AS in_20_minutes
        FROM life
    ),
    counted AS (
        SELECT
            dense.node,
            unit,
            coalesce(
                min(dense.ts) FILTER (WHERE cause = 'crash'),
                min(dense.ts) FILTER (
                    WHERE is_unplanned OR down_s >= 60 OR started IS NULL)
            ) AS ts,
            max(dense.ts) FILTER (WHERE is_unplanned OR down_s >= 60)
                AS until,
            count(*) FILTER (WHERE cause = 'crash') AS crashes,
            count(*) FILTER (WHERE is_unplanned AND started IS NOT NULL)
                AS unplanned,
            count(*) FILTER (WHERE cause = 'planned') AS planned,
            max(in_20_minutes) AS in_20_minutes,
            max(down_s) FILTER (WHERE cause <> 'boot') AS longest_down_s,
            max(stopped) FILTER (
                WHERE started IS NULL
                    AND julianday(node.last) - julianday(stopped)
                        >= 60 / 86400.0
            ) AS ended,
            max(counter) AS counter,
            max(substr(dense.ts, 1, 30) || result) AS last_result
        FROM dense
        LEFT JOIN node ON node.node = dense.node
        GROUP BY dense.node, unit
    ),
    judged AS (
        SELECT
            *,
            CASE
                WHEN ended IS NOT NULL THEN 'ended'
                WHEN in_20_minutes >= :restarts THEN 'storm'
                WHEN longest_down_s >= 60 THEN 'down'
                WHEN crashes > 0 THEN 'crash'
            END AS verdict,
            substr(last_result, 31) AS result
        FROM counted
    ),
    finding AS (
        SELECT
            node,
            ts,
            CASE verdict
                WHEN 'ended' THEN format(
                    '%s ended at %s and did not start again%s',
                    unit, substr(ended, 1, 19) || 'Z',
                    coalesce(': ' || result, '')
                )
                WHEN 'storm' THEN format(
                    '%s was restarted %d times unplanned from %s to %s, %d '
                        || 'times within 20 minutes%s',
                    unit, unplanned, substr(ts, 1, 19) || 'Z',
                    substr(until, 1, 19) || 'Z', in_20_minutes,
                    coalesce(', the last time ' || result, '')
                )
                WHEN 'down' THEN format(
                    '%s was down for %.0f s until %s%s',
                    unit, longest_down_s, substr(until, 1, 19) || 'Z',
                    coalesce(': ' || result, ', stopped on purpose')
                )
                ELSE format(
                    '%s crashed %d %s from %s to %s, the last time %s',
                    unit, crashes, iif(crashes = 1, 'time', 'times'),
                    substr(ts, 1, 19) || 'Z', substr(until, 1, 19) || 'Z',
                    coalesce(result, 'for a reason that is not known')
                )
            END AS message,
            iif(verdict = 'crash', 'warning', 'error') AS severity,
            unit,
            verdict,
            crashes,
            unplanned,
            planned,
            in_20_minutes,
            longest_down_s,
            counter,
            result,
            until
        FROM judged
        WHERE verdict IS NOT NULL
        UNION ALL
        SELECT
            node,
            since,
            format(
                'node-problem-detector says %s since %s: %s', type, since,
                message
            ),
            'error',
            CASE type
                WHEN 'FrequentKubeletRestart' THEN 'kubelet.service'
                WHEN 'FrequentContainerdRestart' THEN 'containerd.service'
                ELSE 'docker.service'
            END,
            'storm', NULL, NULL, NULL, NULL, NULL, NULL, reason, NULL
        FROM node_condition
        WHERE type IN (
                'FrequentKubeletRestart', 'FrequentContainerdRestart',
                'FrequentDockerRestart'
            )
            AND status = 'True'
    )
SELECT *
FROM finding
ORDER BY ts, node, unit;
