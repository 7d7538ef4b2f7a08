-- title: Name servers
--
-- Those that each layer of a node's name resolution asks, in order; one that
-- two files name is one.
WITH
    server AS (
        SELECT node, layer, value, min(source || format('%06d', ord)) AS place
        FROM resolver
        GROUP BY node, layer, value
    )
SELECT
    node,
    CASE layer
        WHEN 'kubelet' THEN 'kubelet-arguments'
        WHEN 'pod' THEN 'dns-pod'
        WHEN 'service' THEN 'dns-cluster'
        ELSE 'dns-node'
    END AS collector,
    NULL AS family,
    layer AS item,
    group_concat(value, ', ' ORDER BY place) AS value
FROM server
GROUP BY node, layer
