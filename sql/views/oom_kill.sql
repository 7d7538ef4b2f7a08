-- Processes that the kernel killed for want of memory, over the whole time.
--
-- From two lines of mm/oom_kill.c (Linux 5.0 and newer): `oom-kill:` with the
-- cgroups (`dump_oom_victim`), of which the kernel writes ten in five seconds
-- at most, and `Killed process` with the sizes (`__oom_kill_process`).
-- Processes of a container are killed together where its cgroup says so
-- (`memory.oom.group` of cgroup v2): a row for each.
CREATE VIEW oom_kill (
    node, -- node whose kernel did it
    ts, -- when it did
    scope, -- 'cgroup': beyond a limit; 'node': no memory left; NULL if unknown
    process, -- name of the process, cut to 15 characters by the kernel
    pid, -- its number on the node
    anonymous_bytes, -- memory of its own that it held
    total_bytes, -- address space that it had
    uid, -- user that it ran as
    limited_cgroup, -- cgroup whose limit was reached, NULL unless it was one
    cgroup, -- cgroup of the process
    pod_uid, -- uid of its pod, NULL if it was in none
    container_id, -- id of its container, without the runtime's name
    namespace, -- namespace of its pod, if the bundle has the pod
    pod, -- name of its pod, if the bundle has the pod
    message -- the line of the kernel
) AS
WITH
    line AS (
        SELECT node, ts, ts_ns, 1 AS is_kill, message
        FROM log
        WHERE unit = 'kernel' AND message LIKE '%Killed process %'
        UNION ALL
        SELECT node, ts, ts_ns, 0, message
        FROM log
        WHERE unit = 'kernel' AND message LIKE '%oom-kill:constraint=%'
    ),
    -- What the line before said of the cgroups: the greatest, by its time.
    dated AS (
        SELECT
            *,
            max(iif(is_kill, NULL, format('%020d', ts_ns) || message)) OVER (
                PARTITION BY node ORDER BY ts_ns, is_kill
            ) AS before
        FROM line
    ),
    paired AS (
        SELECT
            *,
            substr(before, 21) AS because,
            CAST(substr(before, 1, 20) AS INT) AS because_ns
        FROM dated
        WHERE is_kill
    ),
    -- MATERIALIZED, as each column is a long expression that others repeat.
    parsed AS MATERIALIZED (
        SELECT
            node,
            ts,
            message,
            CASE
                WHEN message LIKE '%Memory cgroup out of memory%' THEN 'cgroup'
                WHEN message LIKE '%Out of memory%' THEN 'node'
            END AS scope,
            CAST(substr(message, instr(message, 'Killed process ') + 15) AS INT)
                AS pid,
            substr(message, instr(message, 'Killed process ')) AS killed,
            1024 * CAST(
                substr(message, instr(message, 'total-vm:') + 9) AS INT
            ) AS total_bytes,
            1024 * CAST(
                substr(message, instr(message, 'anon-rss:') + 9) AS INT
            ) AS anonymous_bytes,
            CASE WHEN message LIKE '%, UID:%' THEN
                CAST(substr(message, instr(message, ', UID:') + 6) AS INT)
            END AS uid,
            CASE
                WHEN because LIKE '%,pid=' || CAST(
                    substr(message, instr(message, 'Killed process ') + 15)
                        AS INT
                ) || ',%'
                    OR ts_ns - because_ns < 1000000000
                THEN because
            END AS because
        FROM paired
    ),
    placed AS MATERIALIZED (
        SELECT
            *,
            CASE WHEN because LIKE '%,oom_memcg=%' THEN substr(
                because,
                instr(because, ',oom_memcg=') + 11,
                instr(because, ',task_memcg=') - instr(because, ',oom_memcg=')
                    - 11
            ) END AS limited_cgroup,
            CASE WHEN because LIKE '%,task_memcg=%' THEN substr(
                because,
                instr(because, ',task_memcg=') + 12,
                instr(because, ',task=') - instr(because, ',task_memcg=') - 12
            ) END AS cgroup
        FROM parsed
    ),
    named AS MATERIALIZED (
        SELECT
            *,
            -- kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope with
            -- systemd, kubepods/burstable/pod<uid>/<id> without.
            CASE
                WHEN cgroup LIKE '%kubepods%-pod%' THEN replace(
                    substr(cgroup, instr(cgroup, '-pod') + 4, 36), '_', '-')
                WHEN cgroup LIKE '%kubepods%/pod%'
                THEN substr(cgroup, instr(cgroup, '/pod') + 4, 36)
            END AS pod_uid,
            CASE WHEN cgroup LIKE '%kubepods%' THEN
                substr(replace(cgroup, '.scope', ''), -64)
            END AS container_id
        FROM placed
    ),
    known AS MATERIALIZED (
        SELECT uid AS pod_uid, max(namespace) AS namespace, max(name) AS pod
        FROM object
        WHERE kind = 'Pod' AND uid IS NOT NULL
        GROUP BY uid
    )
SELECT
    node,
    ts,
    scope,
    -- A name may hold parentheses.
    substr(
        killed,
        instr(killed, '(') + 1,
        instr(killed, ') total-vm:') - instr(killed, '(') - 1
    ),
    pid,
    anonymous_bytes,
    total_bytes,
    uid,
    limited_cgroup,
    cgroup,
    named.pod_uid,
    CASE WHEN container_id NOT GLOB '*[^0-9a-f]*' AND length(container_id) = 64
        THEN container_id
    END,
    known.namespace,
    known.pod,
    message
FROM named
LEFT JOIN known ON known.pod_uid = named.pod_uid;
