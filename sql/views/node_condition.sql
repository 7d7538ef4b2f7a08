-- Conditions of nodes as the API server last told them.
CREATE VIEW node_condition (
    node, -- node that the condition is about
    ts, -- when the object was read
    seen_by, -- node that read the object
    type, -- Ready, DiskPressure, MemoryPressure, VMEventScheduled, …
    status, -- 'True', 'False' or 'Unknown'
    reason, -- why, in one word
    message, -- why, as a sentence
    since, -- when the status last changed
    heartbeat -- when somebody last confirmed it
) AS
SELECT
    object.name,
    object.ts,
    object.node,
    value ->> '$.type',
    value ->> '$.status',
    value ->> '$.reason',
    value ->> '$.message',
    value ->> '$.lastTransitionTime',
    value ->> '$.lastHeartbeatTime'
FROM object, json_each(object.json, '$.status.conditions')
WHERE object.kind = 'Node' AND json_each.type = 'object';
