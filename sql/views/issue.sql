-- Things that batches do not hold, and why, over the whole time.
--
-- The same issue met in many rounds is one row.
CREATE VIEW issue (
    node, -- node that was read
    ts, -- when a batch first met it
    collector, -- collector that met it
    source, -- file, unit, chain or request that it is about
    kind, -- 'absent', 'unreadable', 'truncated', 'dropped' or 'damaged'
    message, -- one sentence for a person
    amount, -- how much was lost in all, NULL if nobody can know
    unit, -- what amount counts: 'bytes', 'lines', 'rules', 'entries', …
    times, -- how many batches met it
    last -- when a batch last met it
) AS
SELECT
    raw_node.name,
    ts(min(raw_batch.started_ns)),
    raw_batch.collector,
    raw_issue.source,
    raw_issue.kind,
    raw_issue.message,
    CAST(sum(1.0 * raw_issue.amount) AS INT),
    raw_issue.unit,
    count(*),
    ts(max(raw_batch.started_ns))
FROM raw_issue
JOIN raw_batch ON raw_batch.id = raw_issue.batch_id
JOIN raw_session ON raw_session.id = raw_batch.session_id
JOIN raw_node ON raw_node.id = raw_session.node_id
GROUP BY
    raw_node.name, raw_batch.collector, raw_issue.source, raw_issue.kind,
    raw_issue.message, raw_issue.unit;
