-- The node's network settings, as `az aks kanalyze` shows them: one JSON
-- object.
--
-- `looked` is 0 if a collector that it needs left nothing in this file, as in
-- a file that follows the first of a run: what was known before then holds.
-- What was looked at and could not be read is named in `NotKnown`, with the
-- reason.
--
-- The plugin is a flag of the kubelet, which AKS has not passed since it
-- removed docker's shim; then it says `not a flag of the kubelet`. Limit of
-- pods: the flag wins over the configuration file, as the kubelet has it.
WITH
    need (collector) AS (
        VALUES ('dns-node'), ('dns-pod'), ('kubelet-arguments')
    ),
    seen AS (
        SELECT need.collector, collection.outcome, collection.message, issue
        FROM need
        LEFT JOIN collection ON collection.collector = need.collector
    ),
    unknown AS (
        SELECT group_concat(
            collector || ': ' || coalesce(
                outcome || coalesce(', ' || coalesce(message, issue), ''),
                'not read yet'
            ),
            '; '
        ) AS parts
        FROM seen
        WHERE coalesce(outcome, 'missing') <> 'complete'
    ),
    flag AS (
        SELECT name, max(value) AS value FROM kubelet_setting GROUP BY name
    )
SELECT
    (SELECT min(outcome IS NOT NULL) FROM seen) AS looked,
    json_object(
        'HostName', (SELECT min(node) FROM node),
        'NetworkPlugin', coalesce(
            (
                -- The original's word for Azure CNI.
                SELECT iif(value = 'cni', 'azurecni', value) FROM flag
                WHERE name = '--network-plugin' AND value <> ''
            ),
            iif(
                EXISTS (SELECT 1 FROM flag),
                'not a flag of the kubelet', 'not known'
            )
        ),
        'VirtualMachineDNS', json((
            SELECT json_group_array(value)
            FROM (
                SELECT DISTINCT value FROM resolver WHERE layer = 'vnet'
                ORDER BY ord LIMIT 16
            )
        )),
        'KubernetesDNS', json((
            SELECT json_group_array(value)
            FROM (
                SELECT DISTINCT value FROM resolver WHERE layer = 'pod'
                ORDER BY ord LIMIT 16
            )
        )),
        'MaxPodsPerNode', coalesce(
            (SELECT value FROM flag WHERE name = '--max-pods'),
            (SELECT value FROM flag WHERE name = 'maxPods'),
            'not known'
        ),
        'NotKnown', coalesce((SELECT substr(parts, 1, 2000) FROM unknown), '')
    ) AS json;
