-- title: Name resolution is customised
-- severity: warning
-- needs: dns-node
-- category: dns
-- docs: https://learn.microsoft.com/azure/aks/coredns-custom
--
-- Some layer of name resolution is not as AKS sets it up. Custom DNS is
-- allowed, and behind a good part of "it cannot resolve" cases. Layers:
--
-- - `vnet`: servers that the virtual network hands to nodes. Azure's own is
--   168.63.129.16; custom servers must forward to it what they do not know. Do
--   not list it beside custom servers: clients take whichever answers, and a
--   "no such name" from one is final.
-- - `kubelet`: what pods get for `ClusterFirst`, normally the address of the
--   kube-dns service or of LocalDNS.
-- - `coredns`: keys of the ConfigMap `coredns-custom`.
-- - `localdns`: server blocks beside its own, or other servers than its own.
-- - `node-local-dns`: a cache that somebody installed.
-- - `pods`: pods that do not ask cluster DNS; says nothing of the cluster.
-- A node whose resolver files name only listeners of its own is blind: they do
-- not tell what the network hands out.
--
-- Nodes take over another DNS setting of the network only when they are
-- reimaged, so servers and search suffix can contradict each other.
WITH
    network AS MATERIALIZED (
        SELECT
            node,
            max(ts) AS ts,
            group_concat(value, ' ') AS servers,
            max(value = '168.63.129.16') AS has_azure,
            max(value <> '168.63.129.16') AS has_custom,
            max(source) AS source
        FROM (SELECT * FROM resolver WHERE layer = 'vnet' ORDER BY ord)
        GROUP BY node
    ),
    -- Nodes whose files were read and do not say what the network hands out.
    unknown AS (
        SELECT
            collection.node,
            collection.ts,
            (
                SELECT group_concat(DISTINCT value ORDER BY value)
                FROM resolver
                WHERE resolver.node = collection.node
                    AND layer IN ('node', 'localdns')
            ) AS listeners
        FROM collection
        LEFT JOIN network ON network.node = collection.node
        WHERE collection.collector = 'dns-node'
            AND collection.outcome IN ('complete', 'partial')
            AND network.node IS NULL
    ),
    -- Azure appends <id>.<region>.internal.cloudapp.net where it resolves
    -- itself, and the stub reddog.microsoft.com where custom servers do.
    suffix AS MATERIALIZED (
        SELECT
            node,
            max(ts) AS ts,
            group_concat(DISTINCT value) AS search,
            max(rtrim(lower(value), '.') LIKE '%reddog.microsoft.com')
                AS says_custom,
            max(rtrim(lower(value), '.') LIKE '%.internal.cloudapp.net')
                AS says_azure,
            max(source) AS source
        FROM setting
        WHERE scope = 'dns.node' AND name = 'search'
        GROUP BY node
    ),
    cluster_dns AS MATERIALIZED (
        SELECT value FROM resolver WHERE layer = 'service'
        UNION
        SELECT item.value
        FROM service, json_each(CASE
            WHEN json_valid(service.cluster_ips) THEN service.cluster_ips
            ELSE json_array(service.cluster_ip)
        END) AS item
        WHERE service.namespace = 'kube-system' AND service.name = 'kube-dns'
    ),
    localdns AS MATERIALIZED (
        SELECT DISTINCT node FROM setting WHERE scope = 'dns.localdns'
    ),
    node_local AS MATERIALIZED (
        SELECT min(node) AS node, max(ts) AS ts, value, source
        FROM setting
        WHERE scope = 'dns.cluster' AND name = 'node-local-dns'
            AND lower(value) NOT IN ('', '0', 'false', 'no', 'absent')
        GROUP BY value, source
    ),
    custom_key AS MATERIALIZED (
        SELECT
            min(node) AS node,
            max(ts) AS ts,
            count(DISTINCT node) AS nodes,
            name,
            value,
            source
        FROM setting
        WHERE scope = 'dns.cluster'
            AND source = 'configmap kube-system/coredns-custom'
            -- Whether there is one, and how many keys it has.
            AND name NOT IN ('coredns-custom', 'coredns-custom.keys')
        GROUP BY name, value, source
    ),
    -- First word of each line of a key: mostly the name of a plugin.
    custom_word AS MATERIALIZED (
        SELECT
            name,
            value,
            substr(line, 1, instr(line || ' ', ' ') - 1) AS word
        FROM (
            SELECT
                custom_key.name,
                custom_key.value,
                ltrim(replace(item.value, char(9), ' ')) AS line
            FROM custom_key, json_each('[' || replace(replace(replace(
                json_quote(replace(coalesce(custom_key.value, ''), '\', '/')),
                '\n', '","'), '{', '","'), '}', '","') || ']') AS item
        )
    ),
    judged_key AS (
        SELECT
            custom_key.*,
            CASE
                WHEN name NOT LIKE '%.server' AND name NOT LIKE '%.override'
                THEN 'no effect'
                WHEN name LIKE '%.override' AND EXISTS (
                    SELECT 1 FROM custom_word
                    WHERE custom_word.name = custom_key.name
                        AND custom_word.value IS custom_key.value
                        AND word = 'forward'
                )
                THEN 'second forward'
                WHEN name LIKE '%.server' OR EXISTS (
                    SELECT 1 FROM custom_word
                    WHERE custom_word.name = custom_key.name
                        AND custom_word.value IS custom_key.value
                        AND word IN (
                            'acl', 'alternate', 'any', 'auto', 'autopath',
                            'azure', 'clouddns', 'dns64', 'etcd', 'file',
                            'forward', 'grpc', 'header', 'hosts', 'import',
                            'k8s_external', 'kubernetes', 'nomad',
                            'rewrite', 'route53', 'secondary', 'sign',
                            'template', 'transfer', 'view', 'whoami'
                        )
                )
                THEN 'resolution'
                ELSE 'observability'
            END AS verdict
        FROM custom_key
    ),
    local_block AS MATERIALIZED (
        SELECT node, ts, source, group_concat(value, ', ') AS blocks
        FROM setting
        WHERE scope = 'dns.localdns' AND name = 'server-block'
            AND lower(value) NOT IN (
                '.', '.:53', 'cluster.local', 'cluster.local:53',
                'health-check.localdns.local', 'health-check.localdns.local:53'
            )
        GROUP BY node, ts, source
    ),
    odd_pod AS (
        SELECT
            coalesce(json ->> '$.spec.nodeName', node) AS node,
            ts,
            namespace || '/' || name AS pod,
            concat_ws(
                ', ',
                CASE WHEN json ->> '$.spec.dnsPolicy' = 'None'
                    THEN 'dnsPolicy None' END,
                CASE WHEN json -> '$.spec.dnsConfig' IS NOT NULL
                    THEN 'dnsConfig' END,
                CASE WHEN json_array_length(json, '$.spec.hostAliases') > 0
                    THEN 'hostAliases' END,
                CASE WHEN json ->> '$.spec.hostNetwork'
                    AND json ->> '$.spec.dnsPolicy' = 'ClusterFirst'
                    THEN 'hostNetwork with ClusterFirst' END
            ) AS why
        FROM object
        WHERE kind = 'Pod'
            AND namespace NOT IN (
                'kube-system', 'calico-system', 'gatekeeper-system',
                'tigera-operator'
            )
            AND namespace NOT LIKE 'aks-%'
            AND json ->> '$.status.phase' NOT IN ('Succeeded', 'Failed')
    ),
    finding (node, ts, message, severity, layer, verdict, value, source) AS (
        SELECT
            node, ts,
            format(
                'the network hands out custom DNS servers beside Azure''s own, '
                    || 'so that either may answer: %s', servers
            ),
            'error', 'vnet', 'mixed', servers, source
        FROM network
        WHERE has_azure AND has_custom
        UNION ALL
        SELECT
            node, ts,
            format('the network hands out custom DNS servers: %s', servers),
            'warning', 'vnet', 'custom', servers, source
        FROM network
        WHERE has_custom AND NOT has_azure
        UNION ALL
        SELECT
            network.node, network.ts,
            format(
                'DNS servers (%s) and search suffix (%s) disagree: the DNS '
                    || 'setting of the network changed since the node got its '
                    || 'lease; reimage the node',
                network.servers, suffix.search
            ),
            'warning', 'vnet', 'changed', suffix.search, suffix.source
        FROM network
        JOIN suffix ON suffix.node = network.node
        WHERE (network.has_custom AND suffix.says_azure)
            OR (NOT network.has_custom AND suffix.says_custom)
        UNION ALL
        SELECT
            suffix.node, suffix.ts,
            format(
                'the search suffix (%s) is the one of networks with custom '
                    || 'DNS, but no resolver file names a server of the '
                    || 'network', suffix.search
            ),
            'info', 'vnet', 'suspected', suffix.search, suffix.source
        FROM suffix
        LEFT JOIN network ON network.node = suffix.node
        WHERE suffix.says_custom AND network.node IS NULL
        UNION ALL
        SELECT
            node, max(ts),
            format(
                'the kubelet hands pods a DNS server that is neither kube-dns '
                    || 'nor an active LocalDNS: %s', group_concat(value, ' ')
            ),
            'warning', 'kubelet', 'custom', group_concat(value, ' '),
            max(source)
        FROM resolver
        WHERE layer = 'kubelet'
            AND value NOT IN (SELECT value FROM cluster_dns)
            AND CASE value
                WHEN '169.254.10.11'
                THEN node NOT IN (SELECT node FROM localdns)
                WHEN '169.254.20.10' THEN NOT EXISTS (SELECT 1 FROM node_local)
                    AND EXISTS (SELECT 1 FROM cluster_dns)
                ELSE EXISTS (SELECT 1 FROM cluster_dns)
            END
        GROUP BY node
        UNION ALL
        SELECT
            node, ts,
            CASE verdict
                WHEN 'no effect' THEN format(
                    'key %s of coredns-custom has no effect: only keys that '
                        || 'end in .server or .override are read', name)
                WHEN 'second forward' THEN format(
                    'key %s of coredns-custom adds a second forward to the '
                        || 'root block, which stops CoreDNS', name)
                WHEN 'resolution' THEN format(
                    'CoreDNS is customised: key %s of coredns-custom changes '
                        || 'how names resolve', name)
                ELSE format(
                    'CoreDNS is customised: key %s of coredns-custom changes '
                        || 'logs or caching only', name)
            END,
            CASE verdict
                WHEN 'second forward' THEN 'error'
                WHEN 'observability' THEN 'info'
                ELSE 'warning'
            END,
            'coredns', verdict, value, source
        FROM judged_key
        UNION ALL
        SELECT
            min(node), max(ts),
            format('CoreDNS is customised: coredns-custom has keys: %s', value),
            'warning', 'coredns', 'keys', value, source
        FROM setting
        WHERE scope = 'dns.cluster' AND name = 'coredns-custom.keys'
            AND value NOT IN ('', '0', '[]')
            AND NOT EXISTS (SELECT 1 FROM custom_key)
        GROUP BY value, source
        UNION ALL
        SELECT
            node, ts,
            format('LocalDNS has server blocks of its own: %s', blocks),
            'warning', 'localdns', 'custom', blocks, source
        FROM local_block
        UNION ALL
        SELECT
            node, max(ts),
            format(
                'LocalDNS forwards to servers that are not the network''s: %s',
                group_concat(value, ' ')
            ),
            'warning', 'localdns', 'custom', group_concat(value, ' '),
            max(source)
        FROM resolver AS forward
        WHERE layer = 'localdns'
            AND value NOT IN (
                SELECT upstream.value FROM resolver AS upstream
                WHERE upstream.layer = 'vnet' AND upstream.node = forward.node
            )
        GROUP BY node
        UNION ALL
        SELECT
            node, max(ts),
            format(
                'LocalDNS forwards pods'' queries to servers that are not '
                    || 'kube-dns: %s', group_concat(value, ' ')
            ),
            'warning', 'localdns', 'custom', group_concat(value, ' '),
            max(source)
        FROM resolver
        WHERE layer = 'localdns-cluster'
            AND value NOT IN (SELECT value FROM cluster_dns)
            AND EXISTS (SELECT 1 FROM cluster_dns)
        GROUP BY node
        UNION ALL
        SELECT
            node, ts,
            coalesce(
                'the resolver files name only listeners of the node itself: '
                    || listeners,
                'the resolver files name no server'
            ),
            'blind', 'vnet', 'unknown', listeners, NULL
        FROM unknown
        UNION ALL
        SELECT
            node, ts,
            'a node-local DNS cache is installed in the cluster',
            'warning', 'node-local-dns', 'custom', value, source
        FROM node_local
        UNION ALL
        SELECT
            node, max(ts),
            format(
                CASE count(*)
                    WHEN 1 THEN '%d pod does not use cluster DNS as it is'
                    ELSE '%d pods do not use cluster DNS as it is'
                END, count(*)
            ),
            'info', 'pods', 'pods',
            group_concat(pod || ' (' || why || ')', '; '), 'pods of the node'
        FROM odd_pod
        WHERE why <> ''
        GROUP BY node
    )
SELECT node, ts, message, severity, layer, verdict, value, source
FROM finding
ORDER BY
    node,
    CASE layer
        WHEN 'vnet' THEN 1
        WHEN 'kubelet' THEN 2
        WHEN 'coredns' THEN 3
        WHEN 'localdns' THEN 4
        WHEN 'node-local-dns' THEN 5
        ELSE 6
    END,
    ts, message;
