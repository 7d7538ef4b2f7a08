-- title: Rules of iptables
--
-- Which rules and policies there are, and how often if more than once; not in
-- which order they stand in their chain.
SELECT
    node,
    'iptables' AS collector,
    NULL AS family,
    format('%s %s %s', family, table_name, rule) AS item,
    iif(count(*) > 1, format('%d times', count(*)), '') AS value
FROM iptables_rule
GROUP BY node, family, table_name, rule
UNION ALL
SELECT
    node,
    'iptables',
    NULL,
    format('%s %s policy of %s', family, table_name, chain),
    max(policy)
FROM iptables_chain
WHERE policy IS NOT NULL
GROUP BY node, family, table_name, chain
