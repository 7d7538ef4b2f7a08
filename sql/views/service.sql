-- Services as they were last seen.
CREATE VIEW service (
    node, -- node that read the object
    ts, -- when it was read
    namespace, -- namespace of the service
    name, -- name of the service
    type, -- ClusterIP, NodePort, LoadBalancer or ExternalName
    cluster_ip, -- its first address in the cluster, 'None' if it is headless
    cluster_ips, -- JSON list of all of them
    external_name, -- DNS name that it stands for
    ports, -- port, target port and protocol, with ', ' between
    selector -- JSON object: labels of its pods
) AS
SELECT
    node,
    ts,
    namespace,
    name,
    json ->> '$.spec.type',
    json ->> '$.spec.clusterIP',
    json ->> '$.spec.clusterIPs',
    json ->> '$.spec.externalName',
    (
        SELECT group_concat(
            (value ->> '$.port') || ':'
                || coalesce(value ->> '$.targetPort', value ->> '$.port') || '/'
                || coalesce(value ->> '$.protocol', 'TCP'),
            ', '
        )
        FROM json_each(object.json, '$.spec.ports')
        WHERE json_each.type = 'object'
    ),
    json ->> '$.spec.selector'
FROM object
WHERE kind = 'Service';
