-- title: Pods get no network
-- severity: error
-- needs: kubernetes-objects
-- category: network
-- param: lasting_s = 60
-- param: times = 5
-- docs: https://learn.microsoft.com/azure/aks/azure-cni-overview
--
-- The kubelet could not make the network of pods (event
-- `FailedCreatePodSandBox`), or the network plugin says why. Pods stay in
-- `ContainerCreating`.
--
-- - `addresses`: none is left ("… waiting on Azure CNS to allocate more", "not
--   enough desired IPs found in pool", azure-container-networking,
--   `cns/restserver/ipam.go`; "No available addresses", `ipam/api.go`; "subnet
--   exhausted status = true", `cns/ipampool/monitor.go`; "no IP addresses
--   available in range set", containernetworking/plugins, `host-local`). Give
--   the pods a larger subnet, lower `--max-pods` of the pool, or go to Azure
--   CNI Overlay.
-- - `cns`: azure-cns does not answer ("Failed to get IP address from CNS"):
--   `kubectl -n kube-system get pod -l k8s-app=azure-cns -o wide`, and its log.
-- - `plugin`: the plugin or its configuration is not there yet.
-- - `image`: the pause image cannot be pulled; see image pulls.
-- - `other`: read the example.
--
-- A node that starts, and a pool of addresses that grows, say the same for some
-- seconds: what lasted less than `lasting_s` and was said less than `times`
-- times is `info`.
WITH
    refused AS (
        SELECT
            node,
            CASE
                WHEN message LIKE '%waiting on Azure CNS to allocate more%'
                    OR message LIKE '%not enough desired IPs found in pool%'
                    OR message LIKE '%no IP addresses available in range set%'
                    OR message LIKE '%No available address%'
                THEN 'addresses'
                WHEN message LIKE '%Failed to get IP address from CNS%'
                THEN 'cns'
                WHEN message LIKE '%failed to find plugin%'
                    OR message LIKE '%cni config uninitialized%'
                    OR message LIKE '%cni plugin not initialized%'
                THEN 'plugin'
                WHEN message LIKE '%failed to get sandbox image%'
                THEN 'image'
                ELSE 'other'
            END AS verdict,
            first, ts AS last, count AS times, message,
            namespace || '/' || name AS pod
        FROM event
        WHERE reason = 'FailedCreatePodSandBox'
    ),
    -- What the plugins write, for when events are gone; the kubelet and
    -- containerd repeat it, so that lines are counted and not pods.
    logged AS (
        SELECT node, ts, message FROM log
        WHERE message LIKE '%waiting on Azure CNS to allocate more%'
        UNION ALL
        SELECT node, ts, message FROM log
        WHERE message LIKE '%not enough desired IPs found in pool%'
        UNION ALL
        SELECT node, ts, message FROM log
        WHERE message LIKE '%no IP addresses available in range set%'
        UNION ALL
        SELECT node, ts, message FROM log
        WHERE message LIKE '%subnet exhausted status = true%'
    ),
    source AS (
        SELECT
            node, verdict, min(first) AS first, max(last) AS last,
            sum(times) AS times, count(DISTINCT pod) AS pods,
            group_concat(DISTINCT pod) AS names, NULL AS lines,
            max(message) AS example
        FROM refused
        GROUP BY node, verdict
        UNION ALL
        SELECT
            node, 'addresses', min(ts), max(ts), NULL, 0, NULL, count(*),
            max(message)
        FROM logged
        GROUP BY node
    ),
    found AS (
        SELECT
            node,
            verdict,
            min(first) AS first,
            max(last) AS last,
            sum(times) AS times,
            sum(pods) AS pods,
            max(names) AS names,
            sum(lines) AS lines,
            max(example) AS example,
            (julianday(max(last)) - julianday(min(first))) * 86400
                AS seconds
        FROM source
        GROUP BY node, verdict
    )
SELECT
    node,
    first AS ts,
    format(
        '%s from %s to %s; pods that are known of: %d, failures: %d%s',
        CASE verdict
            WHEN 'addresses' THEN 'there was no address for pods'
            WHEN 'cns' THEN 'azure-cns gave pods no address'
            WHEN 'plugin' THEN 'the network plugin was not there'
            WHEN 'image' THEN 'the pause image of pods could not be pulled'
            ELSE 'pods got no sandbox'
        END,
        substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z', pods,
        coalesce(times, 0),
        iif(lines > 0, format(', lines of logs: %d', lines), '')
    ) AS message,
    CASE
        WHEN seconds < :lasting_s AND coalesce(times, 0) < :times THEN 'info'
        WHEN verdict = 'other' THEN 'warning'
        ELSE 'error'
    END AS severity,
    verdict,
    first,
    last,
    times,
    pods,
    names,
    lines,
    example
FROM found
ORDER BY node, verdict;
