-- What was masked before it was written, over the whole time.
CREATE VIEW redaction (
    node, -- node that it was found on
    ts, -- when a batch first masked it
    collector, -- collector that read it
    rule, -- name of the rule that matched
    source, -- where: stream, file or object
    amount -- how many secrets were masked
) AS
SELECT
    raw_node.name,
    ts(min(raw_batch.started_ns)),
    raw_batch.collector,
    raw_redaction.rule,
    raw_redaction.source,
    CAST(sum(1.0 * raw_redaction.amount) AS INT)
FROM raw_redaction
JOIN raw_batch ON raw_batch.id = raw_redaction.batch_id
JOIN raw_session ON raw_session.id = raw_batch.session_id
JOIN raw_node ON raw_node.id = raw_session.node_id
GROUP BY
    raw_node.name, raw_batch.collector, raw_redaction.rule,
    raw_redaction.source;
