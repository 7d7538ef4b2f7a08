-- Batches of the newest round of each collector on each node.
--
-- What a collector polls is seen again in every round; the newest round that
-- did not fail says what holds. A failed batch has no say, so that one failed
-- poll does not hide what the poll before it saw.
CREATE VIEW latest_batch (
    node, -- node that the batch was made on
    cluster, -- host name of the API server, NULL if the node knows none
    batch_id, -- the batch
    collector, -- collector that made it
    ts, -- when reading began
    started_ns -- ts in nanoseconds since 1970
) AS
WITH
    newest AS (
        SELECT
            session_id,
            collector,
            (
                SELECT raw_batch.round FROM raw_batch
                WHERE raw_batch.session_id = session_collector.session_id
                    AND raw_batch.collector = session_collector.collector
                    AND raw_batch.outcome <> 'failed'
                ORDER BY raw_batch.round DESC
                LIMIT 1
            ) AS round
        FROM session_collector
    ),
    ranked AS (
        SELECT
            raw_node.name AS node,
            raw_session.cluster,
            newest.*,
            row_number() OVER (
                PARTITION BY raw_session.node_id, newest.collector
                ORDER BY raw_session.started_ns DESC, raw_session.id
            ) AS age
        FROM newest
        JOIN raw_session ON raw_session.id = newest.session_id
        JOIN raw_node ON raw_node.id = raw_session.node_id
        WHERE newest.round IS NOT NULL
    ),
    chosen AS MATERIALIZED (
        SELECT
            ranked.node,
            ranked.cluster,
            raw_batch.id,
            raw_batch.collector,
            raw_batch.started_ns
        FROM ranked
        CROSS JOIN raw_batch
            ON raw_batch.session_id = ranked.session_id
            AND raw_batch.collector = ranked.collector
            AND raw_batch.round = ranked.round
        WHERE ranked.age = 1 AND raw_batch.outcome <> 'failed'
    )
SELECT node, cluster, id, collector, ts(started_ns), started_ns
FROM chosen;
