-- How much each log grew: a row for each stretch of it, as it is stored.
--
-- It reads no line: counts and times stand beside what is compressed, so that a
-- bundle of any size answers at once. Bytes are those of messages and times
-- before compression, shared out by lines where a stretch lies among others.
CREATE VIEW log_volume (
    node, -- node that wrote the lines
    ts, -- time of the first line
    until, -- time of the last line
    seconds, -- from the first line to the last
    source, -- 'container', 'unit' (journal) or 'file'
    name, -- namespace/pod/container, systemd unit or path
    lines, -- how many
    bytes, -- about how many, before compression
    stream_id -- stream that the lines belong to, as in log
) AS
WITH
    -- A bundle looks a chunk up by reading them all, so they are read once.
    chunk AS MATERIALIZED (SELECT id, raw_bytes, row_count FROM raw_chunk)
SELECT
    raw_node.name,
    ts(raw_chunk_run.first_ns),
    ts(raw_chunk_run.last_ns),
    (raw_chunk_run.last_ns - raw_chunk_run.first_ns) / 1e9,
    raw_stream.kind,
    raw_stream.name,
    raw_chunk_run.row_count,
    CAST(
        1.0 * chunk.raw_bytes * raw_chunk_run.row_count
            / max(chunk.row_count, 1) AS INT
    ),
    raw_stream.id
FROM raw_stream
JOIN raw_node ON raw_node.id = raw_stream.node_id
JOIN raw_chunk_run ON raw_chunk_run.stream_id = raw_stream.id
JOIN chunk ON chunk.id = raw_chunk_run.chunk_id
WHERE raw_stream.kind IN ('container', 'unit', 'file')
    AND raw_chunk_run.batch_id IS NOT NULL;
