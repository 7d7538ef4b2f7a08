-- How much of what a node has was in use, minute by minute.
--
-- Each row is the worst of a minute. Pressure is the share of ten seconds in
-- which tasks waited, as the kernel averages it. To compare nodes, ask for one
-- resource: `WHERE resource = 'conntrack'`.
CREATE VIEW host_use (
    node, -- node that was measured
    ts, -- start of the minute
    ts_ns, -- the same in nanoseconds since 1970
    resource, -- 'memory', 'conntrack', 'disk', 'inodes', 'pids' or 'pressure'
    name, -- mount point, or what was waited for; NULL where there is but one
    used_percent, -- share in use; for pressure, share of time spent waiting
    used, -- how much was in use, in bytes or entries; NULL for pressure
    size -- how much there is, in bytes or entries; NULL for pressure
) AS
WITH
    reading AS (
        SELECT
            node,
            ts_ns / 60000000000 * 60000000000 AS minute_ns,
            family,
            CASE
                WHEN family = 'filesystem'
                THEN replace(replace(
                    substr(name, instr(name, '"') + 1,
                        length(name) - instr(name, '"') - 2),
                    '\"', '"'), '\\', '\')
                WHEN family = 'pressure'
                THEN substr(name, 10, length(name) - 23)
            END AS label,
            CASE
                WHEN family = 'filesystem'
                THEN substr(name, 1, instr(name, '{') - 1)
                ELSE name
            END AS metric,
            value
        FROM sample
        WHERE family IN (
                'memory', 'conntrack', 'filesystem', 'load', 'pressure'
            )
            AND CASE family
                WHEN 'memory' THEN name
                    IN ('memory_total_bytes', 'memory_available_bytes')
                WHEN 'conntrack' THEN name
                    IN ('conntrack_entries', 'conntrack_max_entries')
                WHEN 'load' THEN name
                    IN ('load_existing_tasks', 'load_max_pids')
                WHEN 'pressure' THEN name LIKE '%_avg10_percent'
                ELSE 1
            END
    ),
    -- What holds does so for the whole minute; what changes, at its worst.
    minute AS (
        SELECT
            node,
            minute_ns,
            family,
            label,
            max(value) FILTER (WHERE metric IN (
                'memory_total_bytes', 'conntrack_max_entries', 'load_max_pids',
                'filesystem_size_bytes'
            )) AS size,
            min(value) FILTER (WHERE metric IN (
                'memory_available_bytes', 'filesystem_available_bytes'
            )) AS left_over,
            max(value) FILTER (WHERE metric IN (
                'conntrack_entries', 'load_existing_tasks'
            ) OR family = 'pressure') AS taken,
            max(value) FILTER (WHERE metric = 'filesystem_inodes') AS inodes,
            min(value) FILTER (WHERE metric = 'filesystem_free_inodes')
                AS free_inodes
        FROM reading
        GROUP BY node, minute_ns, family, label
    ),
    used AS (
        SELECT
            node,
            minute_ns,
            CASE family
                WHEN 'filesystem' THEN 'disk'
                WHEN 'load' THEN 'pids'
                ELSE family
            END AS resource,
            label,
            coalesce(taken, size - left_over) AS used,
            size,
            family
        FROM minute
        UNION ALL
        SELECT
            node, minute_ns, 'inodes', label, inodes - free_inodes,
            nullif(inodes, 0), family
        FROM minute
        WHERE family = 'filesystem'
    )
SELECT
    node,
    ts(minute_ns),
    minute_ns,
    resource,
    label,
    round(iif(family = 'pressure', used, 100.0 * used / size), 2),
    iif(family = 'pressure', NULL, used),
    size
FROM used
WHERE used IS NOT NULL AND (size IS NOT NULL OR family = 'pressure');
