-- title: Names did not resolve, and on which nodes
-- severity: error
-- needs: probe
-- category: dns
-- param: apart_s = 60
-- docs: https://learn.microsoft.com/azure/aks/coredns-troubleshoot
--
-- Outages in which mostly name resolution failed, of all nodes, put together
-- where less than `apart_s` lies between them. Where it failed tells what to
-- look at:
--
-- - `all`: on every node. The DNS servers of the virtual network, or the way to
--   them. Did CoreDNS lose them at the same time (`coredns_errors`: lines
--   "[ERROR] plugin/errors", coredns, `plugin/errors/errors.go`)? If it did
--   not, pods may still have resolved.
-- - `servers`: on just those nodes that ask other servers than the rest. These
--   servers are down, or the nodes missed a change of the network's DNS
--   setting: see `dns-drift`.
-- - `one`, `some`: other nodes asked the same servers with success. Look at the
--   node: LocalDNS or systemd-resolved (`systemctl status localdns
--   systemd-resolved`), its connection table, NSG and route; on the node
--   `dig @SERVER mcr.microsoft.com`.
-- - `only node`: there is no other node to compare it with.
WITH
    probed AS MATERIALIZED (SELECT DISTINCT node FROM probe_target),
    asked AS MATERIALIZED (
        SELECT node, group_concat(value, ' ') AS servers
        FROM (
            SELECT DISTINCT node, value FROM resolver WHERE layer = 'vnet'
            ORDER BY node, value
        )
        GROUP BY node
    ),
    outage AS MATERIALIZED (
        SELECT
            node, target, ts_ns, ended_ns, fails,
            max(ended_ns) OVER (
                ORDER BY ts_ns, node, target
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS before_ns
        FROM probe_outage
        WHERE phase = 'dns'
    ),
    numbered AS MATERIALIZED (
        SELECT
            *,
            sum(before_ns IS NULL OR ts_ns > before_ns + :apart_s * 1000000000)
                OVER (ORDER BY ts_ns, node, target) AS number
        FROM outage
    ),
    episode AS MATERIALIZED (
        SELECT
            number,
            min(ts_ns) AS from_ns,
            max(ended_ns) AS to_ns,
            count(DISTINCT node) AS nodes_down,
            (SELECT count(*) FROM probed) AS nodes
        FROM numbered
        GROUP BY number
    ),
    node_down AS MATERIALIZED (
        SELECT
            numbered.node,
            numbered.number,
            min(ts_ns) AS from_ns,
            max(ended_ns) AS to_ns,
            group_concat(DISTINCT target) AS targets,
            sum(fails) AS fails,
            asked.servers
        FROM numbered
        LEFT JOIN asked ON asked.node = numbered.node
        GROUP BY numbered.node, numbered.number
    ),
    -- Nodes that ask the same servers as this one, and had no such outage.
    well AS MATERIALIZED (
        SELECT
            node_down.number,
            node_down.node,
            count(other.node) AS same_and_well
        FROM node_down
        LEFT JOIN asked AS other
            ON other.servers = node_down.servers
            AND other.node IN (SELECT node FROM probed)
            AND NOT EXISTS (
                SELECT 1 FROM node_down AS down
                WHERE down.number = node_down.number AND down.node = other.node
            )
        GROUP BY node_down.number, node_down.node
    ),
    error_line AS MATERIALIZED (
        SELECT ts_ns FROM log
        WHERE source = 'container' AND container = 'coredns'
            AND message LIKE '%[ERROR] plugin/errors%'
    ),
    heard AS MATERIALIZED (
        SELECT episode.number, count(error_line.ts_ns) AS coredns_errors
        FROM episode
        LEFT JOIN error_line
            ON error_line.ts_ns BETWEEN episode.from_ns
                AND episode.to_ns + 10000000000
        GROUP BY episode.number
    ),
    judged AS (
        SELECT
            node_down.*,
            episode.nodes_down,
            episode.nodes,
            heard.coredns_errors,
            well.same_and_well,
            CASE
                WHEN episode.nodes = 1 THEN 'only node'
                WHEN episode.nodes_down = episode.nodes THEN 'all'
                WHEN node_down.servers IS NOT NULL AND well.same_and_well = 0
                    AND EXISTS (
                        SELECT 1 FROM asked
                        WHERE asked.servers <> node_down.servers
                    )
                THEN 'servers'
                WHEN episode.nodes_down = 1 THEN 'one'
                ELSE 'some'
            END AS verdict
        FROM node_down
        JOIN episode ON episode.number = node_down.number
        JOIN heard ON heard.number = node_down.number
        JOIN well ON well.number = node_down.number
            AND well.node = node_down.node
    )
SELECT
    node,
    strftime('%Y-%m-%dT%H:%M:%SZ', from_ns / 1000000000, 'unixepoch') AS ts,
    format(
        'names did not resolve from %s to %s (%s), on %d of %d nodes; likely '
            || '%s',
        strftime('%Y-%m-%dT%H:%M:%SZ', from_ns / 1000000000, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%SZ', to_ns / 1000000000, 'unixepoch'),
        replace(targets, ',', ', '), nodes_down, nodes,
        CASE verdict
            WHEN 'all' THEN 'the DNS servers of the network'
                || coalesce(' ' || servers, '')
                || iif(
                    coredns_errors > 0,
                    format(
                        ', which CoreDNS lost, too (lines: %d)', coredns_errors
                    ), ''
                )
            WHEN 'servers' THEN 'the DNS servers ' || servers
                || ', which only such nodes ask'
            WHEN 'only node' THEN 'the DNS servers'
                || coalesce(' ' || servers, '') || ' or the way to them'
            ELSE 'the resolver of the node or its way to the DNS servers'
                || iif(
                    same_and_well > 0,
                    format(
                        ': %s were well for %s', servers,
                        iif(
                            same_and_well = 1, 'another node',
                            format('%d other nodes', same_and_well)
                        )
                    ), ''
                )
        END
    ) AS message,
    verdict,
    nodes_down,
    nodes,
    servers,
    same_and_well,
    coredns_errors,
    targets,
    fails
FROM judged
ORDER BY from_ns, node;
