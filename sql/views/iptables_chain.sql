-- Chains of iptables on each node.
CREATE VIEW iptables_chain (
    node, -- node that the chain is on
    ts, -- when it was read
    family, -- 'ipv4' or 'ipv6'
    backend, -- 'nf_tables', 'legacy' or 'unknown'
    table_name, -- 'filter', 'nat', 'mangle', 'raw', 'security'
    chain, -- name of the chain
    policy, -- policy of a built-in chain, NULL for any other
    packets, -- packets that met the policy
    bytes -- bytes that met the policy
) AS
SELECT
    latest_batch.node,
    latest_batch.ts,
    raw_iptables_chain.family,
    raw_iptables_chain.backend,
    raw_iptables_chain.table_name,
    raw_iptables_chain.chain,
    raw_iptables_chain.policy,
    raw_iptables_chain.packets,
    raw_iptables_chain.bytes
FROM latest_batch
JOIN raw_iptables_chain
    ON raw_iptables_chain.batch_id = latest_batch.batch_id;
