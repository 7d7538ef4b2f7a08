-- Nodes of the bundle: a row for each node that an agent ran on.
CREATE VIEW node (
    node, -- name of the node in Kubernetes, else its host name
    ts, -- when the first session on it began
    machine_id, -- /etc/machine-id, empty if the node has none
    last, -- when its newest session last wrote
    run_ids, -- runs that it took part in, from the oldest, with ', ' between
    sessions, -- how often an agent started on it
    boots, -- how many boots of it were seen
    cluster, -- host name of the API server, NULL if the node knows none
    agent_version, -- version of the agent in the newest session
    kubelet_version, -- version of the kubelet, by its Node object if any
    os_image, -- operating system, by its Node object
    kernel_version, -- kernel, by its Node object
    container_runtime, -- container runtime, by its Node object
    node_pool, -- AKS node pool, by the labels of its Node object
    instance_type, -- size of the virtual machine, by its labels
    zone, -- availability zone, by its labels
    ready -- status of its Ready condition: 'True', 'False' or 'Unknown'
) AS
WITH
    session AS (
        SELECT
            node_id,
            min(started_ns) AS started_ns,
            max(ended_ns) AS ended_ns,
            count(*) AS sessions,
            count(DISTINCT boot_id) AS boots
        FROM raw_session
        GROUP BY node_id
    ),
    run AS (
        SELECT node_id, group_concat(run_id, ', ') AS run_ids
        FROM (
            SELECT node_id, run_id
            FROM raw_session
            GROUP BY node_id, run_id
            ORDER BY node_id, min(started_ns)
        )
        GROUP BY node_id
    ),
    newest AS (
        SELECT
            node_id, cluster, agent_version,
            row_number() OVER (
                PARTITION BY node_id ORDER BY started_ns DESC, id
            ) AS age
        FROM raw_session
    ),
    described AS (
        SELECT name, cluster, json FROM object WHERE kind = 'Node'
    )
SELECT
    raw_node.name,
    ts(session.started_ns),
    raw_node.machine_id,
    ts(session.ended_ns),
    run.run_ids,
    coalesce(session.sessions, 0),
    coalesce(session.boots, 0),
    newest.cluster,
    newest.agent_version,
    described.json ->> '$.status.nodeInfo.kubeletVersion',
    described.json ->> '$.status.nodeInfo.osImage',
    described.json ->> '$.status.nodeInfo.kernelVersion',
    described.json ->> '$.status.nodeInfo.containerRuntimeVersion',
    coalesce(
        described.json ->> '$.metadata.labels."kubernetes.azure.com/agentpool"',
        described.json ->> '$.metadata.labels.agentpool'
    ),
    described.json ->> '$.metadata.labels."node.kubernetes.io/instance-type"',
    described.json ->> '$.metadata.labels."topology.kubernetes.io/zone"',
    (
        SELECT value ->> '$.status'
        FROM json_each(described.json, '$.status.conditions')
        WHERE CASE WHEN json_each.type = 'object' THEN
            value ->> '$.type' = 'Ready'
        END
        LIMIT 1
    )
FROM raw_node
LEFT JOIN session ON session.node_id = raw_node.id
LEFT JOIN run ON run.node_id = raw_node.id
LEFT JOIN newest ON newest.node_id = raw_node.id AND newest.age = 1
LEFT JOIN described
    ON described.name = raw_node.name AND described.cluster IS newest.cluster;
