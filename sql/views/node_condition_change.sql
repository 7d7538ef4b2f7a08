-- Conditions of nodes over the whole time: a row for each status that a poll
-- saw, with when it began.
--
-- What changed and changed back between two polls is not here; `event` tells of
-- some of it (NodeNotReady, NodeReady).
CREATE VIEW node_condition_change (
    node, -- node that the condition is about
    ts, -- when the status began
    type, -- Ready, DiskPressure, MemoryPressure, VMEventScheduled, …
    status, -- 'True', 'False' or 'Unknown'
    reason, -- why, in one word, as it was last seen
    message, -- why, as a sentence, as it was last seen
    until, -- when the next status began, NULL if none was seen
    seconds, -- from ts to until, or to when it was last seen
    last_seen, -- when a poll last saw it
    polls -- how many polls saw it
) AS
WITH
    sighting AS (
        SELECT
            raw_session.cluster,
            raw_object.name AS node,
            condition.value ->> '$.type' AS type,
            condition.value ->> '$.status' AS status,
            condition.value ->> '$.reason' AS reason,
            condition.value ->> '$.message' AS message,
            condition.value ->> '$.lastTransitionTime' AS since,
            raw_batch.started_ns
        FROM raw_object
        JOIN raw_batch ON raw_batch.id = raw_object.batch_id
        JOIN raw_session ON raw_session.id = raw_batch.session_id
        JOIN json_each(
            CASE WHEN json_valid(raw_object.json) THEN raw_object.json END,
            '$.status.conditions'
        ) AS condition
        WHERE raw_object.kind = 'Node' AND condition.type = 'object'
    ),
    stretch AS (
        -- SQLite takes the other columns from the row that has max().
        SELECT
            cluster,
            node,
            type,
            status,
            reason,
            message,
            since,
            max(started_ns) AS last_ns,
            count(*) AS polls
        FROM sighting
        WHERE since IS NOT NULL
        GROUP BY cluster, node, type, status, since
    ),
    followed AS (
        SELECT
            *,
            lead(since) OVER (
                PARTITION BY cluster, node, type ORDER BY since, last_ns
            ) AS until
        FROM stretch
    )
SELECT
    node,
    since,
    type,
    status,
    reason,
    message,
    until,
    round((julianday(coalesce(until, ts(last_ns))) - julianday(since))
        * 86400, 0),
    ts(last_ns),
    polls
FROM followed;
