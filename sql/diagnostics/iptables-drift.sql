-- title: Rules of the packet filter are broken or unlike those of other nodes
-- severity: error
-- needs: iptables
-- category: network
-- docs: https://learn.microsoft.com/azure/aks/configure-kube-proxy
--
-- kube-proxy writes the same rules for services on every node (kubernetes,
-- `pkg/proxy/iptables/proxier.go`): chain `KUBE-SERVICES` of table `nat`, which
-- `PREROUTING` and `OUTPUT` jump to, and a chain `KUBE-SVC-…` a service.
--
-- - `services`: the chain is missing or empty here, and not on the others, or
--   the chains of services are still there. No service address works on this
--   node, cluster DNS and the API server's among them.
-- - `jump`: the chain is there and nothing leads to it; same effect.
-- - `count`: less than half of the rules that the nodes of the cluster have in
--   the median. kube-proxy does not keep up, or cannot reach the API server.
-- - `kubelet`: input to port 10250 is dropped. `kubectl logs`, `exec` and
--   metrics fail, webhooks may.
-- - `metadata`: pods cannot reach 169.254.169.254; AKS writes such a rule
--   where IMDS restriction is on (AgentBaker, `ensure_imds_restriction.sh`).
--
-- A cluster of which no node has such chains does without them: Cilium, or
-- kube-proxy in mode ipvs or nftables. That is no finding.
--
-- Restart kube-proxy of the node: `kubectl -n kube-system delete pod
-- -l component=kube-proxy --field-selector spec.nodeName=…`. If rules vanish
-- again, something else on the node flushes them (a firewall service, a
-- script).
WITH
    counted AS MATERIALIZED (
        SELECT
            node,
            max(ts) AS ts,
            count(*) FILTER (WHERE chain LIKE 'KUBE-%') AS rules,
            count(*) FILTER (WHERE chain = 'KUBE-SERVICES') AS services,
            count(*) FILTER (
                WHERE chain LIKE 'KUBE-SVC-%' OR chain LIKE 'KUBE-SEP-%'
            ) AS of_services,
            count(*) FILTER (
                WHERE chain = 'PREROUTING' AND target = 'KUBE-SERVICES'
            ) AS from_pods,
            count(*) FILTER (
                WHERE chain = 'OUTPUT' AND target = 'KUBE-SERVICES'
            ) AS from_node
        FROM iptables_rule
        WHERE family = 'ipv4' AND table_name = 'nat'
        GROUP BY node
    ),
    -- Nodes whose table was read but has no rule at all, too.
    known AS MATERIALIZED (
        SELECT
            collection.node,
            coalesce(counted.ts, collection.ts) AS ts,
            coalesce(counted.rules, 0) AS rules,
            coalesce(counted.services, 0) AS services,
            coalesce(counted.of_services, 0) AS of_services,
            coalesce(counted.from_pods, 0) AS from_pods,
            coalesce(counted.from_node, 0) AS from_node
        FROM collection
        LEFT JOIN counted ON counted.node = collection.node
        WHERE collection.collector = 'iptables'
            AND collection.outcome IN ('complete', 'partial')
            AND (
                counted.node IS NOT NULL
                OR EXISTS (
                    SELECT 1 FROM iptables_chain
                    WHERE iptables_chain.node = collection.node
                        AND table_name = 'nat' AND family = 'ipv4'
                )
            )
    ),
    usual AS MATERIALIZED (
        SELECT
            count(*) AS nodes,
            sum(services > 0) AS nodes_with,
            (
                SELECT rules FROM known ORDER BY rules
                LIMIT 1 OFFSET (SELECT count(*) / 2 FROM known)
            ) AS median
        FROM known
    ),
    finding AS (
        SELECT
            node, ts, 'services' AS verdict, 'error' AS severity,
            format(
                'chain KUBE-SERVICES is missing or empty, so that no service '
                    || 'address works on this node: %s',
                iif(
                    nodes_with > 0,
                    format('%d of %d nodes have it', nodes_with, nodes),
                    format('rules of services that are left: %d', of_services)
                )
            ) AS message,
            rules, services, NULL AS rule
        FROM known, usual
        WHERE services = 0 AND (nodes_with > 0 OR of_services > 0)
        UNION ALL
        SELECT
            node, ts, 'jump', 'error',
            format(
                'nothing leads %s to chain KUBE-SERVICES (rules in it: %d), so '
                    || 'that no service address works for %s',
                CASE
                    WHEN from_pods + from_node = 0
                    THEN 'from PREROUTING and OUTPUT'
                    WHEN from_pods = 0 THEN 'from PREROUTING'
                    ELSE 'from OUTPUT'
                END,
                services,
                CASE
                    WHEN from_pods + from_node = 0 THEN 'pods and the node'
                    WHEN from_pods = 0 THEN 'pods'
                    ELSE 'the node itself'
                END
            ),
            rules, services, NULL
        FROM known
        WHERE services > 0 AND (from_pods = 0 OR from_node = 0)
        UNION ALL
        SELECT
            node, ts, 'count', 'warning',
            format(
                'the node has %d rules of kube-proxy, half of the %d nodes '
                    || 'have %d or more', rules, nodes, median
            ),
            rules, services, NULL
        FROM known, usual
        WHERE services > 0 AND nodes >= 3 AND median >= 20
            AND rules * 2 < median
        UNION ALL
        SELECT
            node, ts, 'kubelet', 'error',
            format(
                'input to port 10250, on which the kubelet serves the API '
                    || 'server, is thrown away: %s', rule
            ),
            NULL, NULL, rule
        FROM iptables_rule
        WHERE chain = 'INPUT' AND table_name = 'filter'
            AND target IN ('DROP', 'REJECT')
            AND ',' || destination_port || ',' LIKE '%,10250,%'
        UNION ALL
        SELECT
            node, max(ts), 'metadata', 'info',
            format(
                'pods cannot reach the instance metadata service: %s',
                max(rule)
            ),
            NULL, NULL, max(rule)
        FROM iptables_rule
        WHERE target IN ('DROP', 'REJECT')
            AND destination LIKE '169.254.169.254%'
        GROUP BY node
    )
SELECT
    finding.node, finding.ts, message, severity, verdict, rules, services,
    usual.median AS median_rules, usual.nodes, rule
FROM finding, usual
UNION ALL
SELECT
    collection.node, collection.ts,
    'no table nat of IPv4 was read', 'blind', NULL, NULL, NULL, NULL, NULL, NULL
FROM collection
WHERE collection.collector = 'iptables'
    AND collection.outcome IN ('complete', 'partial')
    AND collection.node NOT IN (SELECT node FROM known)
ORDER BY node, severity, verdict, rule;
