-- Containers of pods as they were last seen.
CREATE VIEW container (
    node, -- node that the pod is assigned to, NULL if to none
    ts, -- when the pod was read
    namespace, -- namespace of the pod
    pod, -- name of the pod
    container, -- name of the container
    type, -- 'container', 'init' or 'ephemeral'
    image, -- image as the pod asks for it
    image_id, -- digest of the image that runs
    ready, -- 1 if it is ready, else 0
    restarts, -- how often it was restarted
    state, -- 'running', 'waiting' or 'terminated', NULL if unknown
    reason, -- why it waits or ended
    message, -- what the kubelet says about it
    exit_code, -- exit code if it ended
    started, -- when it started
    finished, -- when it ended
    last_reason, -- why it ended the time before
    last_message, -- what the kubelet says about that
    last_exit_code, -- exit code of the time before
    last_finished, -- when it ended the time before
    cpu_request, -- CPU that it asks for
    cpu_limit, -- CPU that it may use
    memory_request, -- memory that it asks for
    memory_limit, -- memory that it may use
    last_started, -- when it started the time before
    container_id, -- id that the runtime gave it, such as containerd://3f…
    last_container_id, -- id of the container of the time before
    restart_policy -- restartPolicy of its own: 'Always' makes an init a sidecar
) AS
WITH
    listed AS (
        SELECT
            object.json ->> '$.spec.nodeName' AS node,
            object.ts,
            object.namespace,
            object.name AS pod,
            list.key AS type,
            item.value AS spec,
            (
                SELECT status.value
                FROM json_each(object.json, CASE list.key
                    WHEN 'container' THEN '$.status.containerStatuses'
                    WHEN 'init' THEN '$.status.initContainerStatuses'
                    ELSE '$.status.ephemeralContainerStatuses'
                END) AS status
                WHERE CASE WHEN status.type = 'object' THEN
                    status.value ->> '$.name' = item.value ->> '$.name'
                END
                LIMIT 1
            ) AS status
        FROM object,
            json_each(json_object(
                'init', object.json -> '$.spec.initContainers',
                'container', object.json -> '$.spec.containers',
                'ephemeral', object.json -> '$.spec.ephemeralContainers'
            )) AS list,
            json_each(CASE WHEN list.type = 'array' THEN list.value END)
                AS item
        WHERE object.kind = 'Pod' AND item.type = 'object'
    )
SELECT
    node,
    ts,
    namespace,
    pod,
    spec ->> '$.name',
    type,
    spec ->> '$.image',
    status ->> '$.imageID',
    coalesce(status ->> '$.ready', 0),
    coalesce(status ->> '$.restartCount', 0),
    (SELECT key FROM json_each(status, '$.state') LIMIT 1),
    coalesce(
        status ->> '$.state.waiting.reason',
        status ->> '$.state.terminated.reason'
    ),
    coalesce(
        status ->> '$.state.waiting.message',
        status ->> '$.state.terminated.message'
    ),
    status ->> '$.state.terminated.exitCode',
    coalesce(
        status ->> '$.state.running.startedAt',
        status ->> '$.state.terminated.startedAt'
    ),
    status ->> '$.state.terminated.finishedAt',
    status ->> '$.lastState.terminated.reason',
    status ->> '$.lastState.terminated.message',
    status ->> '$.lastState.terminated.exitCode',
    status ->> '$.lastState.terminated.finishedAt',
    spec ->> '$.resources.requests.cpu',
    spec ->> '$.resources.limits.cpu',
    spec ->> '$.resources.requests.memory',
    spec ->> '$.resources.limits.memory',
    status ->> '$.lastState.terminated.startedAt',
    status ->> '$.containerID',
    status ->> '$.lastState.terminated.containerID',
    spec ->> '$.restartPolicy'
FROM listed;
