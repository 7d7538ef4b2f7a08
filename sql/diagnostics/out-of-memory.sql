-- title: Processes were killed for want of memory
-- severity: error
-- needs: service-logs
-- category: memory
-- docs: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
--
-- `scope` tells two things apart that both end as exit code 137:
--
-- - `container`: it reached its own memory limit; the node had memory. Raise
--   `limits.memory`, or mend the program. The kernel says "Memory cgroup out of
--   memory" (mm/oom_kill.c), the kubelet `OOMKilled`.
-- - `node`: there was no memory left on the node ("Out of memory"), and the
--   kernel chose a victim. Look for pods without limits and for what stands
--   beside the limits: `SELECT * FROM container WHERE node = … AND memory_limit
--   IS NULL`.
-- - `service`: a service of the node reached the limit of its own cgroup, as
--   AKS's log collector does at 256 MB; info only.
--
-- Kills are those in the kernel's log; a container that only its status calls
-- `OOMKilled` is told by `known_by`, and is info when that was more than a day
-- before the end of the bundle. Exit code 137 alone is no proof and is not
-- here. `SELECT * FROM oom_kill WHERE node = …` shows every kill.
WITH
    kills AS MATERIALIZED (SELECT * FROM oom_kill),
    -- A container is known by the id of this life or the one before.
    life AS MATERIALIZED (
        SELECT
            substr(id, instr(id, '://') + 3) AS container_id,
            max(namespace) AS namespace,
            max(pod) AS pod,
            max(container) AS container,
            max(memory_limit) AS memory_limit,
            max(restarts) AS restarts
        FROM (
            SELECT *, container_id AS id FROM container
            UNION ALL
            SELECT *, last_container_id FROM container
        )
        WHERE id IS NOT NULL
        GROUP BY id
    ),
    placed AS MATERIALIZED (
        SELECT
            kills.node,
            kills.ts,
            kills.process,
            kills.pid,
            kills.anonymous_bytes,
            kills.cgroup,
            kills.limited_cgroup,
            kills.pod_uid,
            coalesce(life.namespace, kills.namespace) AS namespace,
            coalesce(life.pod, kills.pod) AS pod,
            life.container,
            life.memory_limit,
            life.restarts,
            CASE
                WHEN kills.scope = 'node' THEN 'node'
                WHEN kills.pod_uid IS NOT NULL THEN 'container'
                WHEN kills.cgroup IS NOT NULL THEN 'service'
                ELSE 'unknown'
            END AS scope
        FROM kills
        LEFT JOIN life ON life.container_id = kills.container_id
    ),
    counted AS (
        SELECT
            node,
            min(ts) AS ts,
            max(ts) AS until,
            count(*) AS kills,
            group_concat(DISTINCT process ORDER BY process) AS processes,
            max(anonymous_bytes) AS largest_bytes,
            iif(scope = 'node', NULL, namespace) AS namespace,
            iif(
                scope = 'node', group_concat(DISTINCT pod ORDER BY pod), pod
            ) AS pod,
            iif(scope = 'node', NULL, container) AS container,
            iif(scope = 'node', NULL, memory_limit) AS memory_limit,
            iif(scope = 'node', NULL, max(restarts)) AS restarts,
            scope,
            CASE WHEN scope <> 'node' THEN max(cgroup) END AS cgroup,
            max(pod_uid) AS pod_uid
        FROM placed
        GROUP BY
            node,
            scope,
            CASE scope
                WHEN 'container'
                THEN coalesce(pod || '/' || container, pod_uid)
                WHEN 'service' THEN cgroup
            END
    ),
    -- What only the status of a container says.
    status AS (
        SELECT
            node,
            namespace,
            pod,
            container,
            memory_limit,
            restarts,
            coalesce(finished, last_finished) AS ts
        FROM container
        WHERE 'OOMKilled' IN (reason, last_reason)
            AND NOT EXISTS (
                SELECT 1 FROM placed
                WHERE placed.scope IN ('container', 'node')
                    AND placed.namespace = container.namespace
                    AND placed.pod = container.pod
            )
    ),
    finding AS (
        SELECT
            node,
            ts,
            CASE scope
                WHEN 'container' THEN format(
                    'the kernel killed %d %s of %s at its memory limit%s from '
                        || '%s to %s: %s, the largest with %.0f MiB',
                    kills,
                    iif(kills = 1, 'process', 'processes'),
                    coalesce(
                        'container ' || container || ' of pod ' || namespace
                            || '/' || pod,
                        'pod ' || namespace || '/' || pod,
                        'a pod with uid ' || pod_uid
                    ),
                    coalesce(' of ' || memory_limit, ''),
                    substr(ts, 1, 19) || 'Z',
                    substr(until, 1, 19) || 'Z',
                    processes,
                    largest_bytes / 1048576.0
                )
                WHEN 'node' THEN format(
                    'the node had no memory left, and the kernel killed %d %s '
                        || 'from %s to %s: %s, the largest with %.0f MiB',
                    kills,
                    iif(kills = 1, 'process', 'processes'),
                    substr(ts, 1, 19) || 'Z',
                    substr(until, 1, 19) || 'Z',
                    processes,
                    largest_bytes / 1048576.0
                )
                ELSE format(
                    'the kernel killed %d %s of %s from %s to %s: %s',
                    kills,
                    iif(kills = 1, 'process', 'processes'),
                    coalesce(
                        'the cgroup ' || cgroup || ' at its memory limit',
                        'a cgroup that its log does not name'
                    ),
                    substr(ts, 1, 19) || 'Z',
                    substr(until, 1, 19) || 'Z',
                    processes
                )
            END AS message,
            CASE scope
                WHEN 'service' THEN 'info'
                WHEN 'unknown' THEN 'warning'
                ELSE 'error'
            END AS severity,
            scope,
            namespace,
            pod,
            container,
            memory_limit,
            kills,
            until,
            processes,
            largest_bytes,
            restarts,
            cgroup,
            'kernel' AS known_by
        FROM counted
        UNION ALL
        SELECT
            node,
            ts,
            format(
                'container %s of pod %s/%s was killed for want of memory%s '
                    || 'at %s, by its status; it has %d %s',
                container,
                namespace,
                pod,
                coalesce(
                    ' with a limit of ' || memory_limit, ', without limit'
                ),
                ts,
                restarts,
                iif(restarts = 1, 'restart', 'restarts')
            ),
            CASE
                WHEN julianday(:collected_until) - julianday(ts) > 1
                THEN 'info'
                ELSE 'error'
            END,
            iif(memory_limit IS NULL, 'node', 'container'),
            namespace, pod, container, memory_limit, NULL, NULL, NULL, NULL,
            restarts, NULL, 'status'
        FROM status
    )
SELECT *
FROM finding
ORDER BY ts, node, namespace, pod, container;
