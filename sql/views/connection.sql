-- Remote ends that the connections of each node lead to, and how many.
--
-- Only the ends with the most connections are told apart; all others together
-- are the end 'other'. Values are those of each measurement, one row for each.
CREATE VIEW connection (
    node, -- node that the connections come from
    ts, -- when they were counted
    ts_ns, -- the same in nanoseconds since 1970
    source, -- 'socket' of the node's own network, or 'conntrack' of all pods
    remote, -- address and port of the end, or 'other'
    state, -- 'established' or 'syn_sent'
    connections -- how many
) AS
SELECT
    node,
    ts,
    ts_ns,
    CASE WHEN name LIKE 'socket%' THEN 'socket' ELSE 'conntrack' END,
    substr(name, instr(name, 'remote="') + 8,
        instr(name, '",state="') - instr(name, 'remote="') - 8),
    rtrim(substr(name, instr(name, '",state="') + 9), '"}'),
    CAST(value AS INT)
FROM sample
WHERE family = 'connection' AND name LIKE '%{remote="%",state="%"}';
