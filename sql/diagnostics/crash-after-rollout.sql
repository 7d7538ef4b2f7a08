-- title: Pods crash since their workload changed
-- severity: error
-- needs: kubernetes-objects
-- category: workloads
-- param: backoff_s = 400
-- docs: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
--
-- A container crashes again and again in all pods that a change of its workload
-- made, and not in the pods from before: the change broke it, and what both
-- need (a database, DNS, the node) did not.
--
-- - `image`: the new pods run another image. The message names both.
-- - `template`: they run the same image; environment, arguments, volumes,
--   limits or probes changed. `kubectl rollout history deployment/NAME
--   --revision=N` shows how.
-- - `revision`: no pod from before is left to compare with, but the deployment
--   is at its second revision or a later one, and its pods have crashed since
--   they were made: at least once in `backoff_s` seconds of their lives. That
--   is weaker, and a `warning`.
--
-- Go back with `kubectl -n NAMESPACE rollout undo deployment/NAME`. Why it
-- crashes: `SELECT ts, message FROM log WHERE namespace = … AND pod = … AND
-- container = … ORDER BY ts DESC LIMIT 30`. Where old pods crash as well, or
-- new ones run somewhere, the change is not to blame and nothing is said here.
WITH
    member AS MATERIALIZED (
        SELECT
            pod.namespace,
            substr(pod.owner, 1, instr(pod.owner, '/') - 1) AS kind,
            substr(pod.owner, instr(pod.owner, '/') + 1) AS owner,
            pod.name AS pod,
            pod.node,
            pod.ts,
            pod.created,
            container.container,
            container.image,
            container.restarts,
            coalesce(container.exit_code, container.last_exit_code)
                AS exit_code,
            coalesce(container.state = 'waiting'
                AND container.reason = 'CrashLoopBackOff', 0)
                OR coalesce(container.restarts >= 2 AND NOT container.ready
                    AND coalesce(
                        container.exit_code, container.last_exit_code
                    ) <> 0, 0) AS crashes,
            coalesce(container.ready AND pod.ready, 0) AS is_well
        FROM container
        JOIN pod
            ON pod.namespace = container.namespace AND pod.name = container.pod
        WHERE container.type = 'container' AND pod.owner IS NOT NULL
            AND pod.owner NOT LIKE 'Job/%' AND pod.deleted IS NULL
    ),
    -- A replica set is a version of its deployment, whose name is its own
    -- without what stands behind the last dash. Others tell versions by image.
    version AS MATERIALIZED (
        SELECT
            namespace,
            CASE kind
                WHEN 'ReplicaSet' THEN 'Deployment'
                ELSE kind
            END AS kind,
            CASE kind
                WHEN 'ReplicaSet' THEN rtrim(
                    rtrim(owner, replace(owner, '-', '')), '-'
                )
                ELSE owner
            END AS name,
            container,
            CASE kind WHEN 'ReplicaSet' THEN owner ELSE image END AS version,
            max(image) AS image,
            min(created) AS created,
            max(created) AS last_created,
            count(*) AS pods,
            sum(crashes) AS crashing,
            sum(is_well) AS well,
            sum(restarts) AS restarts,
            max(exit_code) FILTER (WHERE crashes) AS exit_code,
            min(node) FILTER (WHERE crashes) AS node,
            count(DISTINCT node) FILTER (WHERE crashes) AS nodes,
            min(pod) FILTER (WHERE crashes) AS pod,
            max(
                (julianday(ts) - julianday(created)) * 86400
                    / max(restarts, 1)
            ) AS apart_s,
            max(ts) AS ts
        FROM member
        GROUP BY namespace, 2, 3, container, 5
    ),
    broken AS (
        SELECT
            new.*,
            old.image AS old_image,
            old.version AS old_version,
            old.well AS old_pods
        FROM version AS new
        LEFT JOIN version AS old
            ON old.namespace = new.namespace AND old.kind = new.kind
            AND old.name = new.name AND old.container = new.container
            AND old.version <> new.version AND old.created < new.created
        WHERE new.crashing > 0 AND new.well = 0
            AND coalesce(old.crashing, 0) = 0 AND coalesce(old.well, 1) > 0
    ),
    rollout AS (
        SELECT namespace, name, message, min(first) AS first
        FROM event
        WHERE reason = 'ScalingReplicaSet' AND kind = 'Deployment'
            AND message LIKE 'Scaled up replica set %'
        GROUP BY namespace, name, message
    ),
    deployment AS (
        SELECT
            namespace, name,
            CAST(
                json -> '$.metadata.annotations'
                    ->> 'deployment.kubernetes.io/revision' AS INT
            ) AS revision
        FROM object
        WHERE kind = 'Deployment'
    ),
    judged AS (
        SELECT
            broken.*,
            deployment.revision,
            (
                SELECT min(rollout.first) FROM rollout
                WHERE rollout.namespace = broken.namespace
                    AND rollout.name = broken.name
                    AND rollout.message LIKE
                        'Scaled up replica set ' || broken.version || ' %'
            ) AS rolled_out,
            CASE
                WHEN old_version IS NULL THEN 'revision'
                WHEN old_image <> image THEN 'image'
                ELSE 'template'
            END AS verdict
        FROM broken
        LEFT JOIN deployment
            ON broken.kind = 'Deployment'
            AND deployment.namespace = broken.namespace
            AND deployment.name = broken.name
        WHERE old_version IS NOT NULL
            OR (
                deployment.revision >= 2 AND broken.apart_s <= :backoff_s
                -- Another version in trouble says that it is not this change.
                AND NOT EXISTS (
                    SELECT 1 FROM version AS other
                    WHERE other.namespace = broken.namespace
                        AND other.kind = broken.kind
                        AND other.name = broken.name
                        AND other.container = broken.container
                        AND other.version <> broken.version
                )
            )
    )
SELECT
    iif(nodes = 1, node, NULL) AS node,
    coalesce(rolled_out, created) AS ts,
    format(
        '%s %s/%s: container %s crashes in %s made since %s (exit code %s) %s',
        kind, namespace, name, container,
        iif(crashing = 1, 'the pod', format('all %d pods', crashing)),
        substr(coalesce(rolled_out, created), 1, 19) || 'Z',
        coalesce(exit_code, 'unknown'),
        CASE verdict
            WHEN 'image' THEN format(
                'with image %s, and not in the %d with %s', image, old_pods,
                old_image
            )
            WHEN 'template' THEN format(
                'and not in the %d from before, with the same image %s',
                old_pods, image
            )
            ELSE format(
                'with image %s, which is revision %d', image, revision
            )
        END
    ) AS message,
    iif(verdict = 'revision', 'warning', 'error') AS severity,
    verdict,
    namespace,
    kind,
    name,
    container,
    image,
    old_image,
    old_pods,
    crashing,
    restarts,
    exit_code,
    revision,
    version,
    pod,
    created
FROM judged
ORDER BY ts, namespace, name, container;
