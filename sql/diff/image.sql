-- title: Images of containers
-- scope: cluster
--
-- By workload: pods of one Deployment, DaemonSet or StatefulSet are one, on
-- whatever node they run. A namespace of which a side has no container was not
-- read there, or is empty: nothing is said of it.
WITH
    owned AS (
        SELECT
            object.json ->> '$.spec.nodeName' AS node,
            object.namespace,
            object.name AS pod,
            coalesce(
                object.json ->> '$.metadata.ownerReferences[0].name',
                object.name
            ) AS owner,
            '-' || (object.json ->>
                '$.metadata.labels."pod-template-hash"') AS hash
        FROM object
        WHERE kind = 'Pod'
    )
SELECT
    container.node,
    'kubernetes-objects' AS collector,
    container.namespace AS family,
    format(
        '%s/%s %s', container.namespace,
        -- A ReplicaSet has the name of its Deployment and a hash.
        iif(
            owned.owner LIKE '%' || owned.hash,
            substr(owned.owner, 1, length(owned.owner) - length(owned.hash)),
            owned.owner
        ),
        container.container
    ) AS item,
    container.image || coalesce(
        ' (' || substr(
            container.image_id, nullif(instr(container.image_id, 'sha256:'), 0),
            19
        ) || ')',
        ''
    ) AS value
FROM container
JOIN owned
    ON owned.namespace = container.namespace AND owned.pod = container.pod
