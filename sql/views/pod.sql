-- Pods as they were last seen.
CREATE VIEW pod (
    node, -- node that the pod is assigned to, NULL if to none
    ts, -- when the object was read
    seen_by, -- node that read the object
    namespace, -- namespace of the pod
    name, -- name of the pod
    uid, -- uid of the pod
    phase, -- Pending, Running, Succeeded, Failed or Unknown
    ready, -- 1 if its Ready condition is true, else 0
    containers_ready, -- containers that are ready
    containers, -- containers in its specification, init containers apart
    restarts, -- restarts of all its containers, init containers included
    reason, -- why it is in its phase, or else why a container waits or ended
    message, -- what its status says about the phase
    owner, -- kind and name of what controls it, NULL for a bare pod
    pod_ip, -- its address
    host_ip, -- address of its node
    host_network, -- 1 if it shares the network of its node, else 0
    service_account, -- service account that it runs as
    priority_class, -- its priority class
    qos_class, -- Guaranteed, Burstable or BestEffort
    dns_policy, -- its dnsPolicy
    created, -- when it was created
    started, -- when the kubelet acknowledged it
    deleted -- when its deletion was asked for, NULL if it was not
) AS
SELECT
    json ->> '$.spec.nodeName',
    ts,
    node,
    namespace,
    name,
    uid,
    json ->> '$.status.phase',
    EXISTS (
        SELECT 1 FROM json_each(object.json, '$.status.conditions')
        WHERE CASE WHEN json_each.type = 'object' THEN
            value ->> '$.type' = 'Ready' AND value ->> '$.status' = 'True'
        END
    ),
    (
        SELECT count(*)
        FROM json_each(object.json, '$.status.containerStatuses')
        WHERE CASE WHEN json_each.type = 'object' THEN value ->> '$.ready' END
    ),
    json_array_length(json, '$.spec.containers'),
    (
        SELECT CAST(total(status.value ->> '$.restartCount') AS INT)
        FROM json_each(json_array(
            object.json -> '$.status.initContainerStatuses',
            object.json -> '$.status.containerStatuses'
        )) AS list,
            json_each(CASE WHEN list.type = 'array' THEN list.value END)
                AS status
        WHERE status.type = 'object'
    ),
    coalesce(
        json ->> '$.status.reason',
        (
            SELECT CASE WHEN json_each.type = 'object' THEN coalesce(
                value ->> '$.state.waiting.reason',
                value ->> '$.state.terminated.reason'
            ) END AS reason
            FROM json_each(object.json, '$.status.containerStatuses')
            WHERE reason IS NOT NULL
            LIMIT 1
        )
    ),
    json ->> '$.status.message',
    (
        SELECT (value ->> '$.kind') || '/' || (value ->> '$.name')
        FROM json_each(object.json, '$.metadata.ownerReferences')
        WHERE CASE WHEN json_each.type = 'object' THEN
            value ->> '$.controller'
        END
        LIMIT 1
    ),
    json ->> '$.status.podIP',
    json ->> '$.status.hostIP',
    coalesce(json ->> '$.spec.hostNetwork', 0),
    json ->> '$.spec.serviceAccountName',
    json ->> '$.spec.priorityClassName',
    json ->> '$.status.qosClass',
    json ->> '$.spec.dnsPolicy',
    json ->> '$.metadata.creationTimestamp',
    json ->> '$.status.startTime',
    json ->> '$.metadata.deletionTimestamp'
FROM object
WHERE kind = 'Pod';
