-- title: Versions
--
-- Of the agent, and of what the node's Node object says.
SELECT
    node.node,
    iif(fact.key = 'agent', NULL, 'kubernetes-objects') AS collector,
    NULL AS family,
    fact.key AS item,
    fact.value AS value
FROM node,
    json_each(json_object(
        'agent', agent_version,
        'kubelet', kubelet_version,
        'operating system', os_image,
        'kernel', kernel_version,
        'container runtime', container_runtime,
        'node pool', node_pool,
        'machine size', instance_type,
        'zone', zone
    )) AS fact
WHERE fact.value IS NOT NULL
