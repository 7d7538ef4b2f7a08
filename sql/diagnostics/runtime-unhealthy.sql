-- title: The container runtime did not answer the kubelet
-- severity: error
-- needs: service-logs
-- category: node
-- docs: https://learn.microsoft.com/azure/aks/node-problem-detector
--
-- Texts of the kubelet (Kubernetes' pkg/kubelet/runtime.go, kubelet.go and
-- pleg/generic.go), each a sign that containerd, a shim or the disk below
-- hangs:
--
-- - `PLEG`: "PLEG is not healthy: pleg was last seen active 3m10s ago": listing
--   all containers took over three minutes. The node becomes NotReady.
-- - `down`: "container runtime is down": no good status for half a minute.
-- - `check`: "Container runtime sanity check failed": asked for its status, the
--   runtime gave an error, as while containerd is stopped.
--
-- What a kubelet says while it starts ("pleg has yet to be successful",
-- "container runtime status check may not have completed yet") is daily life
-- and is not here. Signs less than five minutes apart are one finding. A few
-- failed checks within half a minute, as when containerd restarts, are info.
--
-- Next: `service-restarts`, `disk-pressure`, `kernel-faults` of the node; then
-- `SELECT ts, message FROM log WHERE node = … AND unit = 'containerd.service'
-- AND ts BETWEEN … AND …`. On the node: `crictl ps`, `iostat -x 1`, `ps axo
-- stat,pid,comm | grep ^D`.
WITH
    line AS (
        SELECT node, ts, ts_ns, 'PLEG' AS sign, message
        FROM log
        WHERE source = 'unit'
            AND message LIKE '%PLEG is not healthy: pleg was last seen active%'
            -- Older kubelets start so: the time since the year 1.
            AND message NOT LIKE '%active 2562047h%'
        UNION ALL
        SELECT node, ts, ts_ns, 'down', message
        FROM log
        WHERE source = 'unit'
            AND message LIKE '%container runtime is down%'
            AND message NOT LIKE '%active 2562047h%'
            AND message NOT LIKE '%PLEG is not healthy: pleg was last%'
        UNION ALL
        SELECT node, ts, ts_ns, 'check', message
        FROM log
        WHERE source = 'unit'
            AND message LIKE '%Container runtime sanity check failed%'
    ),
    marked AS (
        SELECT
            *,
            ts_ns - lag(ts_ns) OVER (PARTITION BY node ORDER BY ts_ns)
                > 300000000000 AS is_new
        FROM line
    ),
    numbered AS (
        SELECT
            *,
            sum(coalesce(is_new, 0)) OVER (PARTITION BY node ORDER BY ts_ns)
                AS episode
        FROM marked
    ),
    counted AS (
        SELECT
            node,
            min(ts) AS ts,
            max(ts) AS until,
            (max(ts_ns) - min(ts_ns)) / 1e9 AS seconds,
            count(*) AS lines,
            count(*) FILTER (WHERE sign = 'PLEG') AS pleg,
            count(*) FILTER (WHERE sign = 'down') AS down,
            count(*) FILTER (WHERE sign = 'check') AS checks,
            coalesce(
                max(message) FILTER (WHERE sign = 'PLEG'),
                max(message) FILTER (WHERE sign = 'down'),
                max(message)
            ) AS said
        FROM numbered
        GROUP BY node, episode
    )
SELECT
    node,
    ts,
    format(
        'the kubelet called the container runtime unhealthy %d %s from %s to '
            || '%s: %s',
        lines,
        iif(lines = 1, 'time', 'times'),
        substr(ts, 1, 19) || 'Z',
        substr(until, 1, 19) || 'Z',
        CASE
            WHEN pleg THEN 'PLEG was last seen active '
                || substr(
                    substr(said, instr(said, 'last seen active ') + 17), 1,
                    instr(
                        substr(said, instr(said, 'last seen active ') + 17)
                            || ';', ';'
                    ) - 1
                )
            WHEN down THEN 'the runtime is down'
            ELSE 'it gave no status'
        END
    ) AS message,
    CASE
        WHEN pleg OR down OR seconds >= 60 THEN 'error'
        WHEN seconds >= 30 THEN 'warning'
        ELSE 'info'
    END AS severity,
    lines,
    pleg,
    down,
    checks,
    round(seconds, 1) AS seconds,
    until,
    said
FROM counted
ORDER BY ts, node;
