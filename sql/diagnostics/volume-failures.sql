-- title: A volume could not be attached or mounted
-- severity: error
-- needs: kubernetes-objects
-- category: storage
-- docs: https://learn.microsoft.com/azure/aks/azure-disk-csi
--
-- Events `FailedMount` and `FailedMapVolume` of the kubelet and
-- `FailedAttachVolume` of the attach-detach controller (Kubernetes'
-- pkg/kubelet/events/event.go; pkg/controller/volume/attachdetach). While they
-- go on the pod stays in `ContainerCreating`. `likely` reads the text:
--
-- - `missing object`: a ConfigMap, Secret or claim that does not exist.
-- - `attached elsewhere`: a disk can be on one node ("Multi-Attach error"). If
--   the other node is gone, it frees the disk after six minutes.
-- - `credentials`: Azure refuses: the identity's role, or the key of a share.
-- - `network to the share`: port 445 or 2049 is closed on the way.
-- - `limit of disks`: the size of the virtual machine allows no more.
-- - `slow`: nothing but "timed out"; look at the other texts of the pod.
-- - `kubelet's cache` ("not registered"): a pod that is gone, or a kubelet that
--   has just started.
--
-- A pod that became ready since then is no finding: a mount that needs a second
-- try, as when kubelet and pod start together, is daily life. One that is not
-- known, nor among the pending pods of the cluster, is info.
--
-- Next: `SELECT * FROM event WHERE name = … ORDER BY ts`, and the logs of
-- `csi-azuredisk-node` or `csi-azurefile-node` on the node.
WITH
    -- When all pods that are pending were listed.
    listed AS MATERIALIZED (
        SELECT max(ts) AS ts
        FROM collection
        WHERE collector = 'cluster-objects'
            AND outcome IN ('complete', 'partial')
    ),
    failing AS (
        SELECT
            event.*,
            pod_status.status,
            pod_status.pod IS NOT NULL AS is_known
        FROM event
        LEFT JOIN pod_status
            ON pod_status.namespace = event.namespace
            AND pod_status.pod = event.name
        WHERE event.kind = 'Pod'
            AND event.reason IN (
                'FailedMount', 'FailedMapVolume', 'FailedAttachVolume'
            )
            AND NOT coalesce(pod_status.ready OR pod_status.is_done, 0)
    ),
    judged AS (
        SELECT
            *,
            CASE
                WHEN message LIKE '%not registered%' THEN 'kubelet''s cache'
                WHEN message LIKE '%not found%'
                    AND (message LIKE '%configmap%' OR message LIKE '%secret%'
                        OR message LIKE '%persistentvolumeclaim%')
                THEN 'missing object'
                WHEN message LIKE '%references non-existent%key%'
                THEN 'missing object'
                WHEN message LIKE '%Multi-Attach error%'
                THEN 'attached elsewhere'
                WHEN message LIKE '%AuthorizationFailed%'
                    OR message LIKE '%StatusCode=403%'
                    OR message LIKE '%Permission denied%'
                THEN 'credentials'
                WHEN message LIKE '%mount error(115)%'
                    OR message LIKE '%mount error(110)%'
                    OR message LIKE '%Host is down%'
                    OR message LIKE '%Connection timed out%'
                THEN 'network to the share'
                WHEN message LIKE '%maximum number of data disks%'
                    OR message LIKE '%exceeds%limit of data disks%'
                THEN 'limit of disks'
                WHEN message LIKE '%timed out waiting for the condition%'
                    OR message LIKE '%context deadline exceeded%'
                    OR message LIKE '%DeadlineExceeded%'
                THEN 'slow'
            END AS likely
        FROM failing
    ),
    -- The text that says most: one with a cause that is more than slowness.
    ranked AS (
        SELECT
            *,
            row_number() OVER (
                PARTITION BY namespace, name
                ORDER BY
                    CASE WHEN likely IS NULL THEN 1
                        WHEN likely IN ('slow', 'kubelet''s cache') THEN 2
                        ELSE 0 END,
                    ts DESC, message
            ) AS place
        FROM judged
    ),
    counted AS (
        SELECT
            max(node) AS node,
            min(first) AS first,
            max(ts) AS last,
            CAST(total(count) AS INT) AS times,
            namespace,
            name AS pod,
            max(status) AS status,
            max(is_known) AS is_known,
            group_concat(DISTINCT reason ORDER BY reason) AS reasons,
            max(likely) FILTER (WHERE place = 1) AS likely,
            max(message) FILTER (WHERE place = 1) AS said
        FROM ranked
        GROUP BY namespace, name
    )
SELECT
    node,
    first AS ts,
    format(
        'a volume of pod %s/%s could not be %s: %d %s from %s to %s%s; %s',
        namespace,
        pod,
        iif(reasons = 'FailedAttachVolume', 'attached', 'mounted'),
        times,
        iif(times = 1, 'time', 'times'),
        substr(first, 1, 19) || 'Z',
        substr(last, 1, 19) || 'Z',
        coalesce(', likely ' || likely, ''),
        said
    ) AS message,
    CASE
        WHEN NOT is_known AND (
            likely = 'kubelet''s cache'
            OR last < (SELECT ts FROM listed)
        )
        THEN 'info'
        WHEN is_known AND times > 1 THEN 'error'
        WHEN is_known THEN 'warning'
        WHEN julianday(:collected_until) - julianday(last) > 900 / 86400.0
        THEN 'info'
        ELSE 'warning'
    END AS severity,
    likely,
    namespace,
    pod,
    status,
    times,
    last,
    reasons,
    said
FROM counted
ORDER BY first, namespace, pod;
