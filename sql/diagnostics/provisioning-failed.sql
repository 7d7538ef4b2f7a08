-- title: The node was not provisioned
-- severity: error
-- needs: provision
-- category: node
-- docs: https://learn.microsoft.com/azure/aks/outbound-rules-control-egress
--
-- AKS's own script sets a node up when it is made, and leaves its exit code in
-- /var/log/azure/aks/provision.json. `meaning` and `area` are of AgentBaker's
-- parts/linux/cloud-init/artifacts/cse_helpers.sh; 124 is `timeout`'s own: the
-- whole took more than 15 minutes (cse_start.sh).
--
-- - `egress`: something on the internet was not reached: compare with
--   `outage-windows` and the list of required addresses.
-- - `api-server`, `dns`: the name of the API server or its port: custom DNS
--   without the private zone, a firewall, authorised address ranges.
-- - `packages`: mirrors of packages were slow or closed.
-- - `node`: on the machine itself; `gave_up` and `output` say what.
--
-- `gave_up` is the last command that was tried in vain ("giving up" in
-- cluster-provision.log). A node that took more than ten minutes and made it is
-- info. Next: `SELECT ts, message FROM log WHERE path LIKE
-- '/var/log/azure/cluster-provision%' ORDER BY ts`.
WITH
    code (code, area, meaning) AS (
        VALUES
            (2, 'node', 'a service could not be masked'),
            (4, 'node', 'a service could not be started or enabled'),
            (5, 'node', 'cloud-init did not end in time'),
            (6, 'node', 'a file did not appear in time'),
            (9, 'packages', 'packages could not be installed in time'),
            (24, 'node', 'Docker could not be started'),
            (26, 'packages', 'the key of a mirror could not be read in time'),
            (28, 'packages', 'containerd could not be installed in time'),
            (29, 'packages', 'runc could not be installed in time'),
            (30, 'node', 'Kubernetes was not healthy in time'),
            (31, 'egress', 'Kubernetes could not be downloaded in time'),
            (33, 'egress', 'a tool could not be downloaded in time'),
            (34, 'node', 'the kubelet could not be started'),
            (35, 'egress', 'an image could not be pulled in time'),
            (36, 'egress', 'an image could not be pulled in time'),
            (37, 'egress', 'an image could not be pulled in time'),
            (41, 'egress', 'the CNI could not be downloaded in time'),
            (42, 'egress', 'packages.microsoft.com was not reached in time'),
            (43, 'packages', 'a mirror could not be added'),
            (45, 'packages', 'oras could not be installed'),
            (48, 'packages', 'the wanted systemd could not be installed'),
            (49, 'node', 'a kernel module could not be loaded'),
            (50, 'egress', 'no connection to the internet'),
            (51, 'api-server', 'no connection to the API server'),
            (52, 'dns', 'the name of the API server did not resolve'),
            (53, 'dns', 'the name of the API server did not resolve at Azure'),
            (65, 'node', 'the log of the image''s making was not found'),
            (70, 'egress', 'containerd could not be downloaded in time'),
            (71, 'egress', 'runc could not be downloaded in time'),
            (80, 'dns', 'custom search domains could not be set'),
            (83, 'egress', 'the GPU driver could not be downloaded in time'),
            (84, 'node', 'the GPU driver could not be started'),
            (85, 'node', 'the GPU driver could not be installed in time'),
            (86, 'node', 'the GPU device plugin could not be started'),
            (98, 'packages', 'daily updates of apt did not end in time'),
            (99, 'packages', 'apt-get update did not end in time'),
            (100, 'node', 'cloud-init did not place the script in time'),
            (101, 'packages', 'apt-get dist-upgrade did not end in time'),
            (102, 'packages', 'packages could not be removed'),
            (103, 'node', 'kernel settings could not be loaded'),
            (117, 'egress', 'crictl could not be downloaded in time'),
            (121, 'packages', 'the kubelet could not be installed in time'),
            (124, 'node', 'it did not end within 15 minutes'),
            (130, 'node', 'no swap file could be made'),
            (131, 'node', 'no room on the disk for a swap file'),
            (160, 'node', 'the proxy''s certificate could not be converted'),
            (161, 'node', 'custom certificates could not be added'),
            (172, 'node', 'SSH could not be disabled'),
            (173, 'node', 'the address of the first interface is unknown'),
            (203, 'egress', 'private packages of Kubernetes did not arrive'),
            (204, 'node', 'Kubernetes could not be installed'),
            (205, 'egress', 'the credential provider did not arrive in time'),
            (207, 'egress', 'the registry did not give Kubernetes'),
            (208, 'egress', 'the registry gave no credential provider'),
            (210, 'node', 'IMDS did not answer in time'),
            (211, 'egress', 'no token of the registry: network'),
            (212, 'egress', 'the registry refused: authorisation'),
            (215, 'dns', 'name resolution is not healthy'),
            (216, 'dns', 'LocalDNS could not be started'),
            (217, 'dns', 'LocalDNS has no Corefile'),
            (218, 'dns', 'LocalDNS has no slice file'),
            (219, 'dns', 'LocalDNS has no program'),
            (220, 'node', 'secure TLS bootstrap could not be started'),
            (223, 'node', 'cloud-init ended with an error')
    ),
    told AS MATERIALIZED (
        SELECT
            node,
            max(ts) AS ts,
            max(value) FILTER (WHERE name = 'ExitCode') AS exit_code,
            max(value) FILTER (WHERE name = 'ExecDuration') AS seconds,
            max(value) FILTER (WHERE name = 'CSEStartTime') AS started,
            max(value) FILTER (WHERE name = 'Output') AS output,
            max(source) AS source
        FROM setting
        WHERE scope = 'provision'
        GROUP BY node
    ),
    gave_up AS MATERIALIZED (
        -- SQLite takes the message from the row that has max().
        SELECT node, max(ts_ns), message
        FROM log
        WHERE source = 'file'
            AND message LIKE '%times; giving up (last exit status:%'
            AND path LIKE '/var/log/azure/%'
        GROUP BY node
    )
SELECT
    told.node,
    told.ts,
    CASE
        WHEN told.exit_code IS NULL
        THEN 'provision.json has no exit code'
        WHEN CAST(told.exit_code AS INT) = 0 THEN format(
            'provisioning took %d s', CAST(told.seconds AS INT))
        ELSE format(
            'provisioning failed with exit code %s%s%s%s',
            told.exit_code,
            coalesce(': ' || code.meaning, ', which has no known meaning'),
            coalesce(', after ' || told.seconds || ' s', ''),
            coalesce('; ' || trim(gave_up.message), '')
        )
    END AS message,
    CASE
        WHEN told.exit_code IS NULL THEN 'blind'
        WHEN CAST(told.exit_code AS INT) = 0 THEN 'info'
        ELSE 'error'
    END AS severity,
    told.exit_code,
    code.area,
    code.meaning,
    CAST(told.seconds AS INT) AS seconds,
    told.started,
    iif(CAST(told.exit_code AS INT) = 0, NULL, trim(gave_up.message))
        AS gave_up,
    iif(CAST(told.exit_code AS INT) = 0, NULL, substr(told.output, -1000))
        AS output,
    told.source
FROM told
LEFT JOIN code ON code.code = CAST(told.exit_code AS INT)
LEFT JOIN gave_up ON gave_up.node = told.node
WHERE told.exit_code IS NULL
    OR told.exit_code <> '0'
    OR CAST(told.seconds AS INT) > 600
UNION ALL
SELECT
    collection.node, collection.ts, 'provision.json was not read', 'blind',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM collection
WHERE collector = 'provision'
    AND outcome IN ('complete', 'partial')
    AND node NOT IN (SELECT node FROM told)
ORDER BY 1;
