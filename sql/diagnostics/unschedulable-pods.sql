-- title: Pods find no node
-- severity: error
-- needs: cluster-objects
-- category: scheduling
-- docs: https://learn.microsoft.com/azure/aks/operator-best-practices-scheduler
--
-- The scheduler found no node for these pods; `reasons` is what it said, with
-- the number of nodes for each. `likely` names the part that somebody can
-- change:
--
-- - `resources`: sums of requests, not of use. Compare `SELECT * FROM container
--   WHERE node = …` with the node's `allocatable`; add nodes or lower requests.
-- - `taints`, `selector or affinity`: `kubectl describe node`, and the pool's
--   taints and labels. A taint `node.kubernetes.io/not-ready` or `unreachable`
--   is a sick node: see `node-not-ready`.
-- - `volumes`: a disk of one zone cannot follow to another; a node takes only
--   so many disks; a claim that is not bound waits for its storage class.
-- - `ports`: two pods want one port of the host.
--
-- A pod that waits less than ten minutes is info: the autoscaler takes that
-- long to bring a node. Gated pods (`SchedulingGated`) wait for somebody else
-- and are not here. Texts: the plugins in Kubernetes' pkg/scheduler/framework.
WITH
    waiting AS (
        SELECT
            pod_status.*,
            condition.value ->> '$.message' AS reasons,
            coalesce(
                condition.value ->> '$.lastTransitionTime', pod_status.created
            ) AS since
        FROM pod_status
        JOIN object
            ON object.kind = 'Pod'
            AND object.namespace = pod_status.namespace
            AND object.name = pod_status.pod
        JOIN json_each(object.json, '$.status.conditions') AS condition
        WHERE condition.type = 'object'
            AND condition.value ->> '$.type' = 'PodScheduled'
            AND condition.value ->> '$.status' = 'False'
            AND condition.value ->> '$.reason' = 'Unschedulable'
            AND NOT pod_status.is_done
            AND pod_status.phase = 'Pending'
    ),
    counted AS (
        SELECT
            min(since) AS since,
            max(ts) AS ts,
            count(*) AS pods,
            namespace,
            owner,
            min(pod) AS pod,
            group_concat(pod, ', ') AS names,
            reasons,
            max((julianday(ts) - julianday(since)) * 1440) AS minutes
        FROM waiting
        GROUP BY namespace, owner, reasons, iif(owner IS NULL, pod, '')
    )
SELECT
    NULL AS node,
    since AS ts,
    format(
        '%s %s for %.0f min since %s: %s',
        CASE pods
            WHEN 1 THEN 'pod ' || namespace || '/' || pod
            ELSE pods || ' pods of ' || namespace || '/'
                || substr(owner, instr(owner, '/') + 1)
        END,
        iif(pods = 1, 'has found no node', 'have found no node'),
        minutes,
        since,
        coalesce(reasons, 'the scheduler does not say why')
    ) AS message,
    iif(minutes < 10, 'info', 'error') AS severity,
    concat_ws(
        ', ',
        CASE WHEN reasons LIKE '%Insufficient %'
            OR reasons LIKE '%Too many pods%' THEN 'resources' END,
        CASE WHEN reasons LIKE '% taint%' THEN 'taints' END,
        CASE WHEN reasons LIKE '%affinity/selector%'
            OR reasons LIKE '%affinity rules%'
            OR reasons LIKE '%topology spread constraints%'
            THEN 'selector or affinity' END,
        CASE WHEN reasons LIKE '%PersistentVolumeClaim%'
            OR reasons LIKE '%volume node affinity conflict%'
            OR reasons LIKE '%max volume count%'
            OR reasons LIKE '%available persistent volumes%'
            THEN 'volumes' END,
        CASE WHEN reasons LIKE '%free ports%' THEN 'ports' END,
        CASE WHEN reasons LIKE '%were unschedulable%' THEN 'cordoned nodes' END
    ) AS likely,
    namespace,
    owner,
    pods,
    names,
    round(minutes, 1) AS minutes,
    reasons
FROM counted
ORDER BY since, namespace, names;
