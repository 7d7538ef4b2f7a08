-- Pods as `kubectl get pods` shows them, and whether something is wrong.
--
-- The rules are those of Kubernetes 1.31, `printPod` in
-- pkg/printers/internalversion/printers.go: an init container that is not done
-- hides the others, a sidecar that has started does not, of several containers
-- the first that waits or ended speaks, and Completed beside a container that
-- runs is Running. A pod that is done is no failure, whatever its containers
-- say.
CREATE VIEW pod_status (
    node, -- node that the pod is assigned to, NULL if to none
    ts, -- when the pod was read
    namespace, -- namespace of the pod
    pod, -- name of the pod
    status, -- column STATUS of kubectl, such as 'Init:CrashLoopBackOff'
    is_done, -- 1 if it ended well or is being deleted, else 0
    ready, -- 1 if its Ready condition is true, else 0
    ready_containers, -- containers that run and are ready, with sidecars
    containers, -- containers that should, with sidecars
    restarts, -- restarts as kubectl counts them
    phase, -- Pending, Running, Succeeded, Failed or Unknown
    created, -- when it was created
    scheduled, -- when it was given a node, NULL if it was not
    owner, -- kind and name of what controls it, NULL for a bare pod
    uid -- uid of the pod
) AS
WITH
    item AS MATERIALIZED (
        SELECT
            node AS seen_by,
            ts,
            namespace,
            name,
            uid,
            json,
            json ->> '$.status.phase' AS phase,
            json ->> '$.status.reason' AS reason
        FROM object
        WHERE kind = 'Pod'
    ),
    condition AS MATERIALIZED (
        SELECT
            seen_by,
            namespace,
            name,
            max(condition.value ->> '$.status' = 'True')
                FILTER (WHERE condition.value ->> '$.type' = 'Ready') AS ready,
            max(condition.value ->> '$.status' = 'True')
                FILTER (WHERE condition.value ->> '$.type' = 'Initialized')
                AS initialized,
            max(condition.value ->> '$.reason' = 'SchedulingGated')
                FILTER (WHERE condition.value ->> '$.type' = 'PodScheduled')
                AS gated,
            max(condition.value ->> '$.lastTransitionTime') FILTER (
                WHERE condition.value ->> '$.type' = 'PodScheduled'
                    AND condition.value ->> '$.status' = 'True'
            ) AS scheduled
        FROM item, json_each(item.json, '$.status.conditions') AS condition
        WHERE condition.type = 'object'
        GROUP BY seen_by, namespace, name
    ),
    sidecar AS MATERIALIZED (
        SELECT
            seen_by, namespace, name, spec.value ->> '$.name' AS container
        FROM item, json_each(item.json, '$.spec.initContainers') AS spec
        WHERE spec.type = 'object'
            AND spec.value ->> '$.restartPolicy' = 'Always'
    ),
    -- A row for each status of a container; `said` is what kubectl shows of it.
    part AS MATERIALIZED (
        SELECT
            item.seen_by,
            item.namespace,
            item.name,
            list.key AS is_init,
            status.key AS ord,
            status.value ->> '$.restartCount' AS restarts,
            status.value ->> '$.ready' AS ready,
            status.value -> '$.state.running' IS NOT NULL AS running,
            EXISTS (
                SELECT 1 FROM sidecar
                WHERE sidecar.seen_by = item.seen_by
                    AND sidecar.namespace = item.namespace
                    AND sidecar.name = item.name
                    AND sidecar.container = status.value ->> '$.name'
            ) AS is_sidecar,
            status.value ->> '$.started' AS started,
            status.value ->> '$.state.terminated.exitCode' AS exit_code,
            coalesce(
                nullif(status.value ->> '$.state.waiting.reason', ''),
                nullif(status.value ->> '$.state.terminated.reason', ''),
                'Signal:' || nullif(
                    status.value ->> '$.state.terminated.signal', 0),
                'ExitCode:' || (status.value ->> '$.state.terminated.exitCode')
            ) AS said
        FROM item,
            json_each(json_array(
                item.json -> '$.status.containerStatuses',
                item.json -> '$.status.initContainerStatuses'
            )) AS list,
            json_each(CASE WHEN list.type = 'array' THEN list.value END)
                AS status
        WHERE status.type = 'object'
    ),
    -- The first init container that keeps the others waiting.
    blocker AS MATERIALIZED (
        SELECT seen_by, namespace, name, min(ord) AS ord, said
        FROM part
        WHERE is_init
            AND exit_code IS NOT 0
            AND NOT (is_sidecar AND coalesce(started, 0))
        GROUP BY seen_by, namespace, name
    ),
    -- The first container that waits or has ended.
    speaker AS MATERIALIZED (
        SELECT seen_by, namespace, name, min(ord) AS ord, said
        FROM part
        WHERE NOT is_init AND said IS NOT NULL
        GROUP BY seen_by, namespace, name
    ),
    total AS MATERIALIZED (
        SELECT
            seen_by,
            namespace,
            name,
            total(restarts) FILTER (WHERE NOT is_init OR is_sidecar)
                AS restarts,
            total(restarts) FILTER (WHERE is_init) AS init_restarts,
            count(*) FILTER (WHERE ready AND (
                NOT is_init AND running
                OR is_sidecar AND coalesce(started, 0)
            )) AS ready,
            max(NOT is_init AND ready AND running) AS has_running
        FROM part
        GROUP BY seen_by, namespace, name
    ),
    judged AS (
        SELECT
            item.*,
            condition.ready AS is_ready,
            condition.scheduled,
            total.ready AS ready_containers,
            blocker.ord IS NOT NULL
                AND NOT coalesce(condition.initialized, 0) AS initializing,
            total.restarts,
            total.init_restarts,
            total.has_running,
            CASE
                WHEN speaker.said IS NOT NULL AND (
                    blocker.ord IS NULL OR coalesce(condition.initialized, 0)
                )
                THEN speaker.said
                WHEN blocker.ord IS NOT NULL THEN 'Init:' || coalesce(
                    nullif(blocker.said, 'PodInitializing'),
                    blocker.ord || '/' || json_array_length(
                        item.json, '$.spec.initContainers')
                )
                WHEN condition.gated THEN 'SchedulingGated'
                ELSE coalesce(nullif(item.reason, ''), item.phase)
            END AS said
        FROM item
        LEFT JOIN condition USING (seen_by, namespace, name)
        LEFT JOIN blocker USING (seen_by, namespace, name)
        LEFT JOIN speaker USING (seen_by, namespace, name)
        LEFT JOIN total USING (seen_by, namespace, name)
    )
SELECT
    json ->> '$.spec.nodeName',
    ts,
    namespace,
    name,
    CASE
        WHEN json ->> '$.metadata.deletionTimestamp' IS NOT NULL
            AND reason = 'NodeLost'
        THEN 'Unknown'
        WHEN json ->> '$.metadata.deletionTimestamp' IS NOT NULL
            AND coalesce(phase, '') NOT IN ('Succeeded', 'Failed')
        THEN 'Terminating'
        WHEN said = 'Completed' AND has_running
        THEN iif(is_ready, 'Running', 'NotReady')
        ELSE said
    END,
    coalesce(phase, '') = 'Succeeded'
        OR json ->> '$.metadata.deletionTimestamp' IS NOT NULL,
    coalesce(is_ready, 0),
    coalesce(ready_containers, 0),
    coalesce(json_array_length(json, '$.spec.containers'), 0) + (
        SELECT count(*) FROM sidecar
        WHERE sidecar.seen_by = judged.seen_by
            AND sidecar.namespace = judged.namespace
            AND sidecar.name = judged.name
    ),
    CAST(iif(initializing, init_restarts, coalesce(restarts, 0)) AS INT),
    phase,
    json ->> '$.metadata.creationTimestamp',
    scheduled,
    (
        SELECT (value ->> '$.kind') || '/' || (value ->> '$.name')
        FROM json_each(judged.json, '$.metadata.ownerReferences')
        WHERE CASE WHEN json_each.type = 'object' THEN
            value ->> '$.controller'
        END
        LIMIT 1
    ),
    uid
FROM judged;
