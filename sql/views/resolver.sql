-- Name servers that each layer of a node's name resolution asks, in order.
--
-- Layer 'vnet' is what the node's network hands out: the servers that LocalDNS
-- saved from it, else those that LocalDNS forwards to, else those in the
-- node's resolver file that are no listener of the node itself. A node whose
-- resolver file names nothing but 127.0.0.53 has no row there: unknown.
CREATE VIEW resolver (
    node, -- node that the setting was read on
    ts, -- when it was read
    layer, -- vnet, node, localdns, localdns-cluster, kubelet, pod or service
    ord, -- place of the server in its layer, from 1
    value, -- address of the server, without scheme and port
    source -- file, command line or object that names it
) AS
WITH
    named AS (
        SELECT
            node,
            ts,
            CASE scope || ' ' || name
                WHEN 'dns.node nameserver' THEN 'node'
                WHEN 'dns.localdns upstream' THEN 'localdns-upstream'
                WHEN 'dns.localdns forward' THEN 'localdns'
                WHEN 'dns.localdns forward.cluster' THEN 'localdns-cluster'
                WHEN 'dns.pod nameserver' THEN 'pod'
                WHEN 'dns.cluster kube-dns.clusterIP' THEN 'service'
                WHEN 'kubelet --cluster-dns' THEN 'kubelet'
                WHEN 'kubelet clusterDNS' THEN 'kubelet'
            END AS layer,
            ord,
            -- A flag of the kubelet wins over its configuration file.
            name = 'clusterDNS' AS is_weaker,
            CASE
                WHEN value LIKE '[%' AND json_valid(value) THEN value
                ELSE '["' || replace(replace(replace(trim(value),
                    ',', ' '), char(9), ' '), ' ', '","') || '"]'
            END AS list,
            source
        FROM setting
        WHERE value <> ''
    ),
    word AS (
        SELECT
            named.node,
            named.ts,
            named.layer,
            named.ord,
            named.is_weaker,
            item.key,
            named.source,
            replace(replace(item.value, 'dns://', ''), 'tls://', '') AS text
        FROM named,
            json_each(CASE WHEN json_valid(list) THEN list ELSE '[]' END)
                AS item
        WHERE named.layer IS NOT NULL AND item.type = 'text'
    ),
    server AS (
        SELECT
            node, ts, layer, ord, is_weaker, key, source,
            CASE
                WHEN text LIKE '[%]%'
                THEN substr(text, 2, instr(text, ']') - 2)
                WHEN text LIKE '%.%:%'
                THEN substr(text, 1, instr(text, ':') - 1)
                ELSE text
            END AS value
        FROM word
        WHERE text GLOB '[0-9]*.[0-9]*.[0-9]*.[0-9]*' OR text LIKE '%:%:%'
    ),
    offered AS (
        SELECT
            *,
            CASE
                WHEN layer = 'localdns-upstream' THEN 1
                WHEN layer = 'localdns' THEN 2
                WHEN source = '/run/systemd/resolve/resolv.conf' THEN 3
                ELSE 4
            END AS rank
        FROM server
        WHERE layer IN ('localdns-upstream', 'localdns', 'node')
            AND value NOT LIKE '127.%' AND value <> '::1'
            AND value NOT IN ('169.254.10.10', '169.254.10.11')
    ),
    layered AS (
        SELECT node, ts, layer, ord, key, value, source
        FROM (
            SELECT
                *,
                min(is_weaker) OVER (PARTITION BY node, layer) AS strongest
            FROM server
        )
        WHERE layer <> 'localdns-upstream' AND is_weaker = strongest
        UNION ALL
        SELECT node, ts, 'vnet', ord, key, value, source
        FROM (
            SELECT *, min(rank) OVER (PARTITION BY node) AS best
            FROM offered
        )
        WHERE rank = best
    )
SELECT
    node,
    ts,
    layer,
    row_number() OVER (PARTITION BY node, layer, source ORDER BY ord, key),
    value,
    source
FROM layered;
