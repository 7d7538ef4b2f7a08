-- Rules of iptables on each node, in the order of each chain by position.
CREATE VIEW iptables_rule (
    node, -- node that the rule is on
    ts, -- when it was read
    family, -- 'ipv4' or 'ipv6'
    backend, -- 'nf_tables', 'legacy' or 'unknown'
    table_name, -- 'filter', 'nat', 'mangle', 'raw', 'security'
    chain, -- chain that the rule is in
    position, -- place in its chain, from 1 as iptables counts
    packets, -- packets that matched
    bytes, -- bytes that matched
    source, -- -s, with its ! if negated
    destination, -- -d, with its ! if negated
    protocol, -- -p, with its ! if negated
    in_interface, -- -i, with its ! if negated
    out_interface, -- -o, with its ! if negated
    destination_port, -- --dport or --dports, with its ! if negated
    target, -- -j or -g: what the rule does
    comment, -- --comment, unquoted
    rule -- whole rule as iptables-save prints it, no counters
) AS
SELECT
    latest_batch.node,
    latest_batch.ts,
    raw_iptables_rule.family,
    raw_iptables_rule.backend,
    raw_iptables_rule.table_name,
    raw_iptables_rule.chain,
    raw_iptables_rule.position,
    raw_iptables_rule.packets,
    raw_iptables_rule.bytes,
    raw_iptables_rule.source,
    raw_iptables_rule.destination,
    raw_iptables_rule.protocol,
    raw_iptables_rule.in_interface,
    raw_iptables_rule.out_interface,
    raw_iptables_rule.destination_port,
    raw_iptables_rule.target,
    raw_iptables_rule.comment,
    raw_iptables_rule.rule
FROM latest_batch
JOIN raw_iptables_rule ON raw_iptables_rule.batch_id = latest_batch.batch_id;
