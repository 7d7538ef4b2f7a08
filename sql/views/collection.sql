-- How collecting went: a row for each node and each collector of the bundle.
--
-- It speaks of the newest round. A collector that ran on some other node but
-- left nothing here is 'missing': its absence proves nothing, unlike 'absent',
-- which is the collector's own word that the node has no such thing.
CREATE VIEW collection (
    node, -- node that was read
    run_id, -- run that the newest round belongs to
    collector, -- name of the collector
    ts, -- when the newest round began
    outcome, -- worst of its batches: complete, absent, partial, failed; missing
    rows, -- rows that its batches hold
    message, -- why it is absent or failed
    issues, -- how many things the round does not hold
    issue -- first of them, as a sentence
) AS
WITH
    ran AS MATERIALIZED (
        SELECT
            raw_session.node_id,
            raw_session.run_id,
            session_collector.*,
            row_number() OVER (
                PARTITION BY raw_session.node_id, session_collector.collector
                ORDER BY raw_session.started_ns DESC, raw_session.id
            ) AS age
        FROM session_collector
        JOIN raw_session ON raw_session.id = session_collector.session_id
    ),
    ranked AS (
        SELECT ran.node_id, ran.run_id, raw_batch.*
        FROM ran
        CROSS JOIN raw_batch
            ON raw_batch.session_id = ran.session_id
            AND raw_batch.collector = ran.collector
            AND raw_batch.round = (
                SELECT max(newest.round) FROM raw_batch AS newest
                WHERE newest.session_id = ran.session_id
                    AND newest.collector = ran.collector
            )
        WHERE ran.age = 1
    ),
    latest AS (
        SELECT
            node_id,
            run_id,
            collector,
            min(started_ns) AS started_ns,
            max(CASE outcome
                WHEN 'failed' THEN '4 failed'
                WHEN 'partial' THEN '3 partial'
                WHEN 'absent' THEN '2 absent'
                ELSE '1 complete'
            END) AS outcome,
            CAST(sum(1.0 * row_count) AS INT) AS row_count,
            max(message) AS message,
            sum((SELECT count(*) FROM raw_issue WHERE batch_id = ranked.id))
                AS issues,
            min((
                SELECT source || ': ' || message FROM raw_issue
                WHERE batch_id = ranked.id ORDER BY ord LIMIT 1
            )) AS issue
        FROM ranked
        GROUP BY node_id, run_id, collector
    ),
    known AS (SELECT DISTINCT collector FROM ran)
SELECT
    raw_node.name,
    latest.run_id,
    known.collector,
    ts(latest.started_ns),
    coalesce(substr(latest.outcome, 3), 'missing'),
    coalesce(latest.row_count, 0),
    latest.message,
    coalesce(latest.issues, 0),
    latest.issue
FROM raw_node
CROSS JOIN known
LEFT JOIN latest
    ON latest.node_id = raw_node.id AND latest.collector = known.collector;
