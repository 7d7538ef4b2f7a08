-- Addresses behind services, by the endpoint slices that were last seen.
CREATE VIEW endpoint (
    node, -- node that the address is on, NULL if on none
    ts, -- when the slice was read
    seen_by, -- node that read it
    namespace, -- namespace of the service
    service, -- name of the service
    address, -- first address of the endpoint
    ports, -- ports and protocols, with ', ' between
    ready, -- 1 if it takes connections, else 0
    target -- kind and name of what answers there
) AS
SELECT
    item.value ->> '$.nodeName',
    object.ts,
    object.node,
    object.namespace,
    coalesce(
        object.json ->> '$.metadata.labels."kubernetes.io/service-name"',
        object.name
    ),
    item.value ->> '$.addresses[0]',
    (
        SELECT group_concat(
            (value ->> '$.port') || '/'
                || coalesce(value ->> '$.protocol', 'TCP'),
            ', '
        )
        FROM json_each(object.json, '$.ports')
        WHERE json_each.type = 'object'
    ),
    coalesce(item.value ->> '$.conditions.ready', 1),
    (item.value ->> '$.targetRef.kind') || '/'
        || (item.value ->> '$.targetRef.name')
FROM object, json_each(object.json, '$.endpoints') AS item
WHERE object.kind = 'EndpointSlice' AND item.type = 'object';
