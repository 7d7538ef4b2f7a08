-- title: A log grows too fast
-- severity: warning
-- needs: container-logs
-- category: logs
-- param: lines_per_minute = 6000
-- param: storm_lines = 30000
-- param: share_percent = 50
-- param: share_bytes = 100000000
-- docs: https://learn.microsoft.com/azure/aks/monitor-aks
--
-- `storm`: a container, a service or the kernel wrote at least `storm_lines`
-- lines at more than `lines_per_minute`. The kubelet keeps five files of 50 MB
-- of a container on AKS: a storm pushes older lines out before anybody reads
-- them, costs disk and CPU of the node, and is paid by the gigabyte where logs
-- are sent to Azure Monitor.
--
-- `share`: the containers of one name wrote most of all that the bundle holds,
-- more than `share_bytes`; that is no fault, and the first thing to look at
-- when the bill is too high (severity `info`).
--
-- What it writes: `SELECT message FROM log WHERE stream_id = … ORDER BY ts DESC
-- LIMIT 20`, then a higher log level for it, or exclude its namespace in the
-- ConfigMap `container-azm-ms-agentconfig`. Lines of a storm that repeat an
-- error are the cause, not the noise: read them before you silence them.
WITH
    stretch AS MATERIALIZED (SELECT * FROM log_volume),
    storm AS (
        SELECT
            node,
            source,
            name,
            min(ts) AS first,
            max(until) AS last,
            sum(lines) AS lines,
            sum(bytes) AS bytes,
            max(lines * 60 / max(seconds, 1)) AS peak,
            max(stream_id) AS stream_id
        FROM stretch
        WHERE source <> 'file' AND lines >= 100
            AND lines * 60 >= :lines_per_minute * max(seconds, 1)
        GROUP BY node, source, name
        HAVING sum(lines) >= :storm_lines
    ),
    node_total AS MATERIALIZED (
        SELECT node, sum(bytes) AS bytes FROM stretch GROUP BY node
    ),
    -- namespace/pod/container without its pod.
    container_name AS (
        SELECT
            ts, lines, bytes,
            substr(name, 1, instr(name, '/') - 1) AS namespace,
            replace(
                name, rtrim(name, replace(name, '/', '')), ''
            ) AS container
        FROM stretch
        WHERE source = 'container'
    ),
    share AS (
        SELECT
            namespace,
            container,
            min(ts) AS first,
            sum(lines) AS lines,
            sum(bytes) AS bytes,
            (SELECT sum(bytes) FROM node_total) AS all_bytes
        FROM container_name
        GROUP BY namespace, container
        HAVING sum(bytes) >= :share_bytes
            AND sum(bytes) * 100 >= all_bytes * :share_percent
    )
SELECT
    storm.node AS node,
    storm.first AS ts,
    format(
        '%s wrote %d lines (%.1f MB) from %s to %s, up to %d a minute; that is '
            || '%.0f %% of what the node logged',
        name, lines, storm.bytes / 1e6, substr(first, 1, 19) || 'Z',
        substr(last, 1, 19) || 'Z', peak,
        100.0 * storm.bytes / max(node_total.bytes, 1)
    ) AS message,
    'warning' AS severity,
    'storm' AS verdict,
    source,
    name,
    lines,
    storm.bytes AS bytes,
    CAST(peak AS INT) AS peak_lines_per_minute,
    first,
    last,
    stream_id
FROM storm
JOIN node_total ON node_total.node = storm.node
UNION ALL
SELECT
    NULL, first,
    format(
        'containers %s of namespace %s wrote %.0f %% of all logs of the '
            || 'bundle: %d lines, %.1f MB',
        container, namespace, 100.0 * bytes / max(all_bytes, 1), lines,
        bytes / 1e6
    ),
    'info', 'share', 'container', namespace || '/' || container, lines, bytes,
    NULL, first, NULL, NULL
FROM share
ORDER BY lines DESC, node, name;
