-- title: Nodes or servers of one cluster disagree about DNS
-- severity: warning
-- needs: dns-node
-- category: dns
-- docs: https://learn.microsoft.com/azure/aks/coredns-troubleshoot
--
-- - `nodes`: this node asks other DNS servers than most nodes of the cluster.
--   Nodes take the servers of the virtual network when they get their lease and
--   are not told of a change: after one, those that were not reimaged go on
--   asking the old servers. A name then resolves in some pods and not in
--   others, depending on where they, or CoreDNS, run. `az aks nodepool upgrade
--   --node-image-only`, or restart the networking of the node.
-- - `mixed`: CoreDNS is told to forward to Azure's server 168.63.129.16 and to
--   others in one line. `forward` takes any of them by turns, and a "no such
--   name" of one is final: private names fail now and then. Forward all to the
--   custom servers and let them forward to 168.63.129.16, or forward their zone
--   only (`corp.example:53 { forward . 10.1.0.4 }`).
--
-- What one node alone is told is in `custom-dns`.
WITH
    asked AS MATERIALIZED (
        SELECT
            node, max(ts) AS ts, max(source) AS source,
            group_concat(value, ' ') AS servers
        FROM (
            SELECT DISTINCT node, value, max(ts) OVER (PARTITION BY node) AS ts,
                max(source) OVER (PARTITION BY node) AS source
            FROM resolver
            WHERE layer = 'vnet'
            ORDER BY node, value
        )
        GROUP BY node
    ),
    choice AS MATERIALIZED (
        SELECT
            servers,
            count(*) AS nodes,
            row_number() OVER (ORDER BY count(*) DESC, servers) AS place,
            sum(count(*)) OVER () AS all_nodes
        FROM asked
        GROUP BY servers
    ),
    line AS (
        SELECT
            setting.node,
            setting.ts,
            setting.name,
            setting.source,
            ltrim(replace(item.value, char(9), ' ')) AS text
        FROM (
            SELECT min(node) AS node, max(ts) AS ts, name, value, source
            FROM setting
            WHERE scope = 'dns.cluster' AND value LIKE '%168.63.129.16%'
            GROUP BY name, value, source
        ) AS setting, json_each('["' || replace(replace(replace(
            replace(setting.value, '\', '/'), '"', ''''), char(13), ''),
            char(10), '","') || '"]') AS item
        WHERE json_valid('["' || replace(replace(replace(
            replace(setting.value, '\', '/'), '"', ''''), char(13), ''),
            char(10), '","') || '"]')
    )
SELECT
    asked.node,
    asked.ts,
    format(
        'the node asks %s, %d of %d nodes ask %s',
        asked.servers, usual.nodes, usual.all_nodes, usual.servers
    ) AS message,
    'warning' AS severity,
    'nodes' AS verdict,
    asked.servers,
    usual.servers AS usual_servers,
    usual.nodes AS usual_nodes,
    usual.all_nodes AS nodes,
    asked.source
FROM asked
JOIN choice AS usual ON usual.place = 1 AND usual.servers <> asked.servers
UNION ALL
SELECT
    node, ts,
    format(
        'CoreDNS forwards to Azure''s server and to others in one line of %s '
            || '(%s): %s', name, source, text
    ),
    'error', 'mixed', text, NULL, NULL, NULL, source
FROM line
WHERE text LIKE 'forward %'
    AND replace(text, '168.63.129.16', '')
        GLOB '*[0-9].[0-9]*.[0-9]*.[0-9]*'
ORDER BY node, verdict, ts;
