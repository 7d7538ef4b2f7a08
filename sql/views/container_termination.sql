-- Ends of containers over the whole time, each once.
--
-- A status tells of the end of this life and of the one before. What ended more
-- often between two polls shows in `restarts` alone.
CREATE VIEW container_termination (
    node, -- node that the pod is assigned to
    ts, -- when the container ended
    namespace, -- namespace of the pod
    pod, -- name of the pod
    container, -- name of the container
    type, -- 'container', 'init' or 'ephemeral'
    reason, -- why: 'Completed', 'Error', 'OOMKilled', 'ContainerCannotRun', …
    exit_code, -- its exit code
    signal, -- number of the signal that ended it, NULL if none is told
    message, -- what the kubelet says, or the end of the container's own message
    started, -- when that life began
    seconds, -- how long it lasted
    restarts, -- restarts of the container when this was last seen
    container_id, -- id of that life, such as containerd://3f…
    uid -- uid of the pod
) AS
WITH
    sighting AS (
        SELECT
            raw_object.namespace,
            raw_object.name AS pod,
            raw_object.uid,
            raw_object.json,
            raw_batch.started_ns,
            raw_session.cluster
        FROM raw_object
        JOIN raw_batch ON raw_batch.id = raw_object.batch_id
        JOIN raw_session ON raw_session.id = raw_batch.session_id
        WHERE raw_object.kind = 'Pod'
            AND instr(raw_object.json, '"terminated"') > 0
            AND json_valid(raw_object.json)
    ),
    status AS (
        SELECT
            sighting.cluster,
            sighting.namespace,
            sighting.pod,
            sighting.uid,
            sighting.started_ns,
            sighting.json ->> '$.spec.nodeName' AS node,
            list.key AS type,
            status.value ->> '$.name' AS container,
            status.value ->> '$.restartCount' AS restarts,
            status.value AS json
        FROM sighting,
            json_each(json_object(
                'container', sighting.json -> '$.status.containerStatuses',
                'init', sighting.json -> '$.status.initContainerStatuses',
                'ephemeral',
                sighting.json -> '$.status.ephemeralContainerStatuses'
            )) AS list,
            json_each(CASE WHEN list.type = 'array' THEN list.value END)
                AS status
        WHERE status.type = 'object'
    ),
    ended AS (
        SELECT *, json -> '$.state.terminated' AS life FROM status
        UNION ALL
        SELECT *, json -> '$.lastState.terminated' FROM status
    )
SELECT
    node,
    life ->> '$.finishedAt' AS ts,
    namespace,
    pod,
    container,
    type,
    life ->> '$.reason',
    life ->> '$.exitCode',
    nullif(life ->> '$.signal', 0),
    life ->> '$.message',
    life ->> '$.startedAt' AS started,
    round(
        (julianday(life ->> '$.finishedAt')
            - julianday(life ->> '$.startedAt')) * 86400, 0
    ),
    restarts,
    life ->> '$.containerID' AS container_id,
    uid
FROM (
    -- SQLite takes the other columns from the row that has max().
    SELECT *, max(started_ns)
    FROM ended
    WHERE life IS NOT NULL
    GROUP BY
        cluster, namespace, pod, uid, type, container,
        coalesce(life ->> '$.containerID', ''), life ->> '$.finishedAt'
);
