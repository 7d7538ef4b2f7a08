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
    ranked AS (
        SELECT
            raw_node.name AS node,
            raw_session.cluster,
            raw_batch.id AS batch_id,
            raw_batch.collector,
            raw_batch.started_ns,
            rank() OVER (
                PARTITION BY raw_session.node_id, raw_batch.collector
                ORDER BY
                    raw_session.started_ns DESC,
                    raw_session.id,
                    raw_batch.round DESC
            ) AS age
        FROM raw_batch
        JOIN raw_session ON raw_session.id = raw_batch.session_id
        JOIN raw_node ON raw_node.id = raw_session.node_id
        WHERE raw_batch.outcome <> 'failed'
    )
SELECT node, cluster, batch_id, collector, ts(started_ns), started_ns
FROM ranked
WHERE age = 1;
