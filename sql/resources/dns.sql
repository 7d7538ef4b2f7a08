-- The name servers of each layer of the node's name resolution, and whether
-- the network hands out others than Azure's own: one JSON object.
--
-- `VirtualNetwork` is `default`, `custom`, `mixed` (Azure's own beside others)
-- or `unknown`. CoreDNS, LocalDNS and pods: the diagnostic `custom-dns` judges
-- them, from the database. `looked` is 0 if the collectors left nothing in
-- this file.
WITH
    need (collector) AS (VALUES ('dns-node'), ('dns-pod')),
    seen AS (
        SELECT need.collector, collection.outcome, collection.message, issue
        FROM need
        LEFT JOIN collection ON collection.collector = need.collector
    ),
    server AS (
        SELECT layer, value, min(ord) AS ord, max(source) AS source
        FROM resolver
        GROUP BY layer, value
        ORDER BY layer, ord
        LIMIT 64
    ),
    network AS (
        SELECT
            max(value = '168.63.129.16') AS has_azure,
            max(value <> '168.63.129.16') AS has_custom
        FROM server
        WHERE layer = 'vnet'
    )
SELECT
    (SELECT min(outcome IS NOT NULL) FROM seen) AS looked,
    json_object(
        'VirtualNetwork', (
            SELECT CASE
                WHEN has_azure AND has_custom THEN 'mixed'
                WHEN has_custom THEN 'custom'
                WHEN has_azure THEN 'default'
                ELSE 'unknown'
            END
            FROM network
        ),
        'Servers', json((
            SELECT json_group_array(json_object(
                'Layer', layer, 'Server', value, 'Source', source
            ))
            FROM server
        )),
        'NotKnown', coalesce((
            SELECT substr(group_concat(
                collector || ': ' || coalesce(
                    outcome || coalesce(', ' || coalesce(message, issue), ''),
                    'not read yet'
                ),
                '; '
            ), 1, 2000)
            FROM seen
            WHERE coalesce(outcome, 'missing') <> 'complete'
        ), '')
    ) AS json;
