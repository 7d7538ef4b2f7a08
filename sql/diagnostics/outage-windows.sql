-- title: A target could not be reached
-- severity: error
-- needs: probe
-- category: network
-- param: failures = 2
-- docs: https://learn.microsoft.com/azure/aks/outbound-rules-control-egress
--
-- From this node, a target did not answer for two samples in a row or more
-- (three where the interval is below ten seconds). The outage began somewhere
-- between `started_after` and `started_by` and ended between `ended_after` and
-- `ended_by`; `censored` says that one of them was not seen because nothing
-- was recorded then. Shorter failures are blips: see `probe_availability`.
--
-- `likely` compares what was down at the same time. All targets of a node:
-- look at its route, NSG, firewall and SNAT ports. One target on most nodes:
-- look at the target and at the firewall rule for it. Only name resolution:
-- look at DNS. The API server by its cluster address but not by its name: look
-- at kube-proxy and the CNI of the node. Then ask for what else happened:
-- `SELECT * FROM log WHERE node = … AND ts BETWEEN … AND …`.
WITH
    outage AS MATERIALIZED (
        SELECT
            *,
            row_number() OVER () AS number,
            kind NOT IN ('api-server', 'tunnel') AS is_external,
            substr(
                url,
                instr(url, '://') + 3,
                instr(substr(url, instr(url, '://') + 3) || '/', '/') - 1
            ) AS authority,
            NOT EXISTS (
                SELECT 1 FROM json_each(causes) WHERE key NOT LIKE 'dns %'
            ) AS only_dns
        FROM probe_outage
        WHERE flapping OR longest >= :failures
    ),
    target AS MATERIALIZED (
        SELECT node, target, kind, max(url) AS url
        FROM probe_target
        GROUP BY node, target
    ),
    external AS MATERIALIZED (
        SELECT node, count(*) AS targets
        FROM target
        WHERE kind NOT IN ('api-server', 'tunnel')
        GROUP BY node
    ),
    own AS MATERIALIZED (
        SELECT node, count(*) AS targets FROM target GROUP BY node
    ),
    spread AS MATERIALIZED (
        SELECT target, count(*) AS nodes FROM target GROUP BY target
    ),
    -- Other outages of the node while this one lasted.
    beside AS MATERIALIZED (
        SELECT
            this.number,
            count(DISTINCT other.target) AS targets_down,
            count(DISTINCT other.target) FILTER (WHERE other.is_external)
                AS external_down,
            max(NOT other.only_dns) AS is_beyond_dns,
            group_concat(DISTINCT other.target) AS down
        FROM outage AS this
        JOIN outage AS other
            ON other.node = this.node
            AND other.ts_ns <= this.ended_ns
            AND other.ended_ns >= this.ts_ns
        GROUP BY this.number
    ),
    -- The same target on other nodes while this outage lasted.
    across AS MATERIALIZED (
        SELECT this.number, count(DISTINCT other.node) AS nodes_down
        FROM outage AS this
        JOIN outage AS other
            ON other.target = this.target
            AND other.ts_ns <= this.ended_ns
            AND other.ended_ns >= this.ts_ns
        GROUP BY this.number
    ),
    compared AS (
        SELECT
            outage.*,
            beside.targets_down,
            beside.down,
            own.targets,
            -- A node that reaches nothing cannot ask for names either.
            coalesce(
                external.targets >= 2
                    AND beside.targets_down >= own.targets
                    AND beside.is_beyond_dns,
                0
            ) AS is_cut_off,
            across.nodes_down,
            spread.nodes,
            coalesce(
                external.targets >= 2
                    AND beside.external_down >= external.targets,
                0
            ) AS is_node_wide,
            across.nodes_down >= 2 AND across.nodes_down * 2 >= spread.nodes
                AS is_on_most_nodes,
            outage.kind = 'api-server'
                AND (
                    outage.authority NOT GLOB '*[^0-9.:]*'
                    OR outage.authority LIKE '[%'
                    OR outage.authority LIKE 'kubernetes.default%'
                )
                AND EXISTS (
                    SELECT 1 FROM target AS by_name
                    WHERE by_name.node = outage.node
                        AND by_name.kind = 'api-server'
                        AND by_name.target <> outage.target
                        AND by_name.url NOT LIKE '%://kubernetes.default%'
                        AND by_name.url GLOB '*://*[a-z]*'
                        AND NOT EXISTS (
                            SELECT 1 FROM outage AS other
                            WHERE other.node = outage.node
                                AND other.target = by_name.target
                                AND other.ts_ns <= outage.ended_ns
                                AND other.ended_ns >= outage.ts_ns
                        )
                ) AS is_cluster_address
        FROM outage
        JOIN beside ON beside.number = outage.number
        JOIN across ON across.number = outage.number
        JOIN own ON own.node = outage.node
        JOIN spread ON spread.target = outage.target
        LEFT JOIN external ON external.node = outage.node
    ),
    judged AS (
        SELECT
            *,
            CASE
                WHEN is_node_wide AND reaches_out AND is_on_most_nodes
                THEN 'cluster'
                WHEN is_node_wide AND reaches_out THEN 'node'
                WHEN is_on_most_nodes THEN 'target'
                ELSE 'node and target'
            END AS scope,
            CASE
                WHEN only_dns AND NOT is_cut_off THEN 'DNS'
                WHEN is_cluster_address THEN 'kube-proxy or CNI of the node'
                WHEN is_node_wide AND reaches_out AND is_on_most_nodes
                THEN 'egress of the cluster'
                WHEN is_node_wide AND reaches_out THEN 'egress of the node'
                WHEN is_on_most_nodes THEN 'the target or its firewall'
                WHEN nodes >= 2 THEN 'the way from this node to the target'
                ELSE 'the target or the way to it'
            END AS likely
        FROM (SELECT *, is_external OR is_cut_off AS reaches_out FROM compared)
    )
SELECT
    node,
    ts,
    format(
        CASE
            WHEN flapping
            THEN '%s (%s) came and went for %s from %s: %d of %d samples '
                || 'failed, mostly %s %s; likely %s'
            ELSE '%s (%s) was down for %s from %s: %d of %d samples failed, '
                || '%s %s; likely %s'
        END,
        target, url, duration, substr(started_by, 1, 19) || 'Z', fails,
        samples, phase, error_class, likely
    ) AS message,
    target,
    kind,
    url,
    likely,
    scope,
    started_after,
    started_by,
    ended_after,
    ended_by,
    min_s,
    max_s,
    censored,
    flapping,
    fails,
    samples,
    round(loss, 3) AS loss,
    phase,
    error_class,
    first_cause,
    causes,
    error,
    address,
    interval_s,
    targets_down,
    targets,
    nodes_down,
    nodes,
    down
FROM judged
ORDER BY ts_ns, node, target;
