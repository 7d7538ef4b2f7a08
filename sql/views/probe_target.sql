-- Targets of probes: a row for each node and each way of trying a target.
--
-- A target with another URL, interval or timeout is another stream and another
-- row. What a damaged file does not say is NULL.
CREATE VIEW probe_target (
    node, -- node that tries
    ts, -- when the first sample began, NULL if there is none
    target, -- name of the target
    kind, -- kind of the target
    url, -- what is connected to
    interval_s, -- seconds from one sample to the next
    timeout_s, -- seconds after which a sample has failed
    stream_id -- stream that holds its samples
) AS
WITH
    described AS (
        SELECT
            *,
            iif(json_valid(attributes), attributes, '{}') AS attribute
        FROM raw_stream
        WHERE kind = 'probe'
    )
SELECT
    raw_node.name,
    (
        SELECT ts(min(first_ns)) FROM raw_chunk_run
        WHERE stream_id = described.id
    ),
    described.name,
    attribute ->> '$.kind',
    attribute ->> '$.url',
    (attribute ->> '$.interval_ns') / 1e9,
    (attribute ->> '$.timeout_ns') / 1e9,
    described.id
FROM described
JOIN raw_node ON raw_node.id = described.node_id;
