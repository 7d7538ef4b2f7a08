-- title: Settings of the node
--
-- Kernel parameters, containerd, services, DNS, the operating system. Settings
-- of one name are one, in the order in which they stand; those of the kubelet
-- and its name servers have sections of their own.
SELECT
    setting.node,
    latest_batch.collector,
    NULL AS family,
    setting.scope || ' ' || setting.name AS item,
    group_concat(coalesce(setting.value, ''), ', ' ORDER BY setting.ord)
        AS value
FROM setting
JOIN latest_batch ON latest_batch.batch_id = setting.batch_id
    AND latest_batch.node = setting.node
WHERE setting.scope <> 'kubelet'
    AND NOT (setting.scope LIKE 'dns.%' AND setting.name = 'nameserver')
    AND NOT (setting.scope = 'boot' AND setting.name = 'uptime_seconds')
GROUP BY setting.node, latest_batch.collector, setting.scope, setting.name
