-- title: The kubelet of a node is set up otherwise than its node pool
-- severity: warning
-- needs: kubelet-arguments
-- category: node
-- docs: https://learn.microsoft.com/azure/aks/custom-node-configuration
--
-- Nodes of one AKS pool come from one model, so their kubelets run with the
-- same settings. One that differs was changed by hand, was made before the pool
-- was changed, or is half way through an upgrade; pods behave differently on it
-- and nobody expects that.
--
-- Compared is what is in force, flags and configuration files alike: AKS moves
-- flags to `/etc/default/kubeletconfig.json` when a pool has a custom
-- configuration, which changes nothing by itself. Names of the node, its
-- address, labels and paths of credentials are left out. Where as many nodes
-- have one value as another, the row says so.
--
-- While kubelets of two versions run in the pool, severity is `info`: an
-- upgrade changes defaults. Otherwise reimage the node:
-- `az aks nodepool upgrade --node-image-only`, or delete the machine of the
-- node from the pool. `SELECT * FROM kubelet_setting WHERE node = …` shows
-- where a value comes from.
WITH
    pool_name AS MATERIALIZED (
        SELECT node, max(pool) AS pool
        FROM (
            SELECT node, node_pool AS pool FROM node
            UNION ALL
            SELECT node, value FROM setting
            WHERE scope = 'aks' AND name = 'agentpool'
        )
        GROUP BY node
    ),
    version AS MATERIALIZED (
        SELECT
            coalesce(pool_name.pool, '') AS pool,
            count(DISTINCT node.kubelet_version) AS versions
        FROM node
        LEFT JOIN pool_name ON pool_name.node = node.node
        GROUP BY 1
    ),
    effective AS MATERIALIZED (
        SELECT
            kubelet_setting.node,
            kubelet_setting.ts,
            coalesce(pool_name.pool, '') AS pool,
            key,
            name,
            -- Masks of one secret differ from node to node.
            iif(value LIKE '%‹%›%', '(masked)', coalesce(value, '')) AS value,
            source
        FROM kubelet_setting
        LEFT JOIN pool_name ON pool_name.node = kubelet_setting.node
        WHERE in_force
            AND key NOT IN (
                'apiversion', 'bootstrapkubeconfig', 'certdir', 'cloudconfig',
                'config', 'configdir', 'hostnameoverride', 'kind', 'kubeconfig',
                'nodeip', 'nodelabels', 'nodestatusupdatefrequency',
                'providerid', 'tlscertfile', 'tlsprivatekeyfile', 'v'
            )
    ),
    member AS MATERIALIZED (
        SELECT node, pool, max(ts) AS ts,
            count(*) OVER (PARTITION BY pool) AS nodes
        FROM effective
        GROUP BY node, pool
    ),
    known AS MATERIALIZED (
        SELECT pool, key, min(name) AS name, count(*) AS nodes_with
        FROM effective
        GROUP BY pool, key
    ),
    -- A value for each node of the pool, also where nothing is set.
    held AS MATERIALIZED (
        SELECT
            member.pool,
            member.node,
            member.nodes,
            known.key,
            coalesce(effective.name, known.name) AS name,
            coalesce(effective.value, '(not set)') AS value,
            effective.source
        FROM member
        JOIN known ON known.pool = member.pool
        LEFT JOIN effective
            ON effective.node = member.node AND effective.key = known.key
        WHERE member.nodes >= 2
    ),
    counted AS MATERIALIZED (
        SELECT
            pool,
            key,
            value,
            count(*) AS nodes,
            row_number() OVER (
                PARTITION BY pool, key ORDER BY count(*) DESC, value DESC
            ) AS place,
            count(*) OVER (PARTITION BY pool, key) AS choices
        FROM held
        GROUP BY pool, key, value
    ),
    odd AS (
        SELECT
            held.node,
            held.pool,
            held.nodes,
            held.name,
            held.value,
            held.source,
            usual.value AS usual,
            usual.nodes AS usual_nodes,
            own.nodes AS own_nodes
        FROM counted AS usual
        JOIN held ON held.pool = usual.pool AND held.key = usual.key
            AND held.value <> usual.value
        JOIN counted AS own ON own.pool = held.pool AND own.key = held.key
            AND own.value = held.value
        WHERE usual.choices > 1 AND usual.place = 1
    )
SELECT
    odd.node,
    member.ts,
    format(
        'the kubelet differs from %s of node pool %s in %d %s: %s',
        iif(
            max(own_nodes) * 2 >= max(odd.nodes), 'the other half',
            'most'
        ),
        coalesce(nullif(odd.pool, ''), '(unknown)'),
        count(*),
        iif(count(*) = 1, 'setting', 'settings'),
        group_concat(
            format(
                '%s is %s (%s on %d of %d nodes)', odd.name,
                substr(odd.value, 1, 80), substr(usual, 1, 80), usual_nodes,
                odd.nodes
            ),
            '; ' ORDER BY odd.name
        )
    ) AS message,
    iif(max(version.versions) > 1, 'info', 'warning') AS severity,
    odd.pool,
    count(*) AS settings,
    odd.nodes,
    max(version.versions) AS kubelet_versions,
    json_group_array(json_object(
        'name', odd.name, 'value', odd.value, 'usual', usual, 'source',
        odd.source
    ) ORDER BY odd.name) AS differences
FROM odd
JOIN member ON member.node = odd.node AND member.pool = odd.pool
LEFT JOIN version ON version.pool = odd.pool
GROUP BY odd.node, odd.pool
ORDER BY odd.pool, odd.node;
