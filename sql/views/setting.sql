-- Settings in force on each node, with the file or object that sets them.
CREATE VIEW setting (
    node, -- node that the setting was read on
    ts, -- when it was read
    scope, -- family: 'dns.node', 'kubelet', 'provision', …
    name, -- name as its source spells it
    value, -- value as text, NULL if set to nothing
    source, -- file, command line or object that sets it
    ord, -- position in its batch, from 0
    batch_id -- batch that saw it
) AS
SELECT
    latest_batch.node,
    latest_batch.ts,
    raw_setting.scope,
    raw_setting.name,
    raw_setting.value,
    raw_setting.source,
    raw_setting.ord,
    raw_setting.batch_id
FROM latest_batch
JOIN raw_setting ON raw_setting.batch_id = latest_batch.batch_id;
