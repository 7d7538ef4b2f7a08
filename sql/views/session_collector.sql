-- Which collectors ran in which session of an agent.
--
-- Looked up by the index: a session of a day has ten thousands of batches,
-- and a dozen of these.
CREATE VIEW session_collector (
    session_id, -- run of an agent's process, see raw_session
    collector -- a collector that has batches of it
) AS
WITH RECURSIVE
    pair AS (
        SELECT
            id AS session_id,
            (
                SELECT min(collector) FROM raw_batch
                WHERE raw_batch.session_id = raw_session.id
            ) AS collector
        FROM raw_session
        UNION ALL
        SELECT
            session_id,
            (
                SELECT min(raw_batch.collector) FROM raw_batch
                WHERE raw_batch.session_id = pair.session_id
                    AND raw_batch.collector > pair.collector
            )
        FROM pair
        WHERE collector IS NOT NULL
    )
SELECT session_id, collector
FROM pair
WHERE collector IS NOT NULL;
