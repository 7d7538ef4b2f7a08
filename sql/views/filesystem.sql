-- File systems of each node: how full they were when they were last measured.
CREATE VIEW filesystem (
    node, -- node that has it
    ts, -- when it was measured
    mount, -- where it is mounted
    size_bytes, -- its size
    available_bytes, -- what is free for all but root
    used_percent, -- share of what can be used that is used
    inodes, -- files that it can hold, 0 if it has no such limit
    free_inodes, -- files that it can still take
    inodes_used_percent, -- share of them that is used, NULL without a limit
    read_only -- 1 if nothing can be written, as after an error of the disk
) AS
WITH
    measured AS (
        SELECT
            node,
            ts_ns,
            substr(name, 1, instr(name, '{') - 1) AS name,
            replace(replace(
                substr(name, instr(name, '"') + 1,
                    length(name) - instr(name, '"') - 2),
                '\"', '"'), '\\', '\') AS mount,
            value
        FROM sample
        WHERE family = 'filesystem'
    ),
    -- The values of one measurement share their time.
    one AS (
        SELECT
            node,
            ts_ns,
            mount,
            max(value) FILTER (WHERE name = 'filesystem_size_bytes') AS size,
            max(value) FILTER (WHERE name = 'filesystem_free_bytes') AS free,
            max(value) FILTER (WHERE name = 'filesystem_available_bytes')
                AS available,
            max(value) FILTER (WHERE name = 'filesystem_inodes') AS inodes,
            max(value) FILTER (WHERE name = 'filesystem_free_inodes')
                AS free_inodes,
            max(value) FILTER (WHERE name = 'filesystem_read_only')
                AS read_only
        FROM measured
        GROUP BY node, mount, ts_ns
    ),
    ranked AS (
        SELECT
            *,
            row_number() OVER (PARTITION BY node, mount ORDER BY ts_ns DESC)
                AS age
        FROM one
    )
SELECT
    node,
    ts(ts_ns),
    mount,
    CAST(size AS INT),
    CAST(available AS INT),
    round(
        100.0 * (size - free) / nullif(size - free + available, 0), 1
    ),
    CAST(inodes AS INT),
    CAST(free_inodes AS INT),
    round(100.0 * (inodes - free_inodes) / nullif(inodes, 0), 1),
    CAST(read_only AS INT)
FROM ranked
WHERE age = 1;
