-- title: A container keeps crashing
-- severity: error
-- needs: kubernetes-objects
-- category: workload
-- docs: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
--
-- The kubelet starts this container again and again and waits longer each time,
-- up to five minutes (`CrashLoopBackOff`). `exit_code` and `last_lines` are
-- those of the life before; `likely` reads the exit code: above 128 it is 128
-- and the number of a signal. 137 is SIGKILL: by the kernel (`OOMKilled`, see
-- `out-of-memory`), or by the kubelet after a failed liveness probe or at the
-- end of the grace period. 0 is a program that ended well where it should not
-- end.
--
-- Of pods that the agents did not read, the event `BackOff` of the kubelet
-- tells ("Back-off restarting failed container", `doBackOff` in Kubernetes'
-- pkg/kubelet/kuberuntime/kuberuntime_manager.go): `known_by` is then `event`,
-- and the severity falls to warning, or to info when it last happened more than
-- a quarter of an hour before the end of the bundle.
--
-- Next: `SELECT ts, message FROM log WHERE namespace = … AND pod = … ORDER BY
-- ts DESC LIMIT 50`, and what changed before `since`: `SELECT * FROM event
-- WHERE name = …`. On the cluster: `kubectl logs POD -c CONTAINER --previous`.
WITH
    looping AS MATERIALIZED (
        SELECT
            container.*,
            pod_status.owner,
            pod_status.created
        FROM container
        JOIN pod_status
            ON pod_status.namespace = container.namespace
            AND pod_status.pod = container.pod
        WHERE container.reason = 'CrashLoopBackOff' AND NOT pod_status.is_done
    ),
    told AS (
        SELECT
            looping.*,
            (
                SELECT group_concat(message, char(10)) FROM (
                    SELECT message FROM (
                        SELECT ts_ns, message
                        FROM log
                        WHERE log.namespace = looping.namespace
                            AND log.pod = looping.pod
                            AND log.container = looping.container
                            AND log.ts >= substr(looping.last_started, 1, 19)
                            AND log.ts <= looping.last_finished
                        ORDER BY ts_ns DESC
                        LIMIT 3
                    )
                    ORDER BY ts_ns
                )
            ) AS last_lines
        FROM looping
    ),
    backing_off AS (
        SELECT *
        FROM event_series
        WHERE kind = 'Pod'
            AND reason = 'BackOff'
            AND message LIKE 'Back-off restarting failed container%'
            AND NOT EXISTS (
                SELECT 1 FROM pod_status
                WHERE pod_status.namespace = event_series.namespace
                    AND pod_status.pod = event_series.name
                    AND (pod_status.is_done OR pod_status.ready)
            )
            AND NOT EXISTS (
                SELECT 1 FROM looping
                WHERE looping.namespace = event_series.namespace
                    AND looping.pod = event_series.name
            )
    ),
    finding AS (
        SELECT
            node,
            coalesce(last_finished, ts) AS ts,
            format(
                'container %s of pod %s/%s keeps crashing: %d %s%s%s',
                container,
                namespace,
                pod,
                restarts,
                iif(restarts = 1, 'restart', 'restarts'),
                coalesce(', exit code ' || last_exit_code, '')
                    || coalesce(' (' || last_reason || ')', ''),
                coalesce(', the last time at ' || last_finished, '')
            ) AS message,
            'error' AS severity,
            CASE
                WHEN last_reason = 'OOMKilled' THEN 'its memory limit'
                WHEN last_reason = 'ContainerCannotRun'
                    OR last_reason = 'StartError'
                    OR last_exit_code IN (126, 127)
                THEN 'its command cannot be run'
                WHEN last_exit_code = 0
                THEN 'its program ends, though it should go on'
                WHEN last_exit_code = 137
                THEN 'killed: a failed liveness probe, or the grace period'
                WHEN last_exit_code = 143 THEN 'asked to end, then ended'
                WHEN last_exit_code IN (134, 135, 136, 139)
                THEN 'its program crashed by a signal'
                WHEN last_exit_code IS NULL THEN NULL
                ELSE 'its program: see its last lines'
            END AS likely,
            namespace,
            pod,
            container,
            type,
            restarts,
            last_exit_code AS exit_code,
            last_reason AS reason,
            last_message AS said,
            message AS back_off,
            created AS since,
            owner,
            image,
            last_lines,
            'status' AS known_by
        FROM told
        UNION ALL
        SELECT
            node,
            ts,
            format(
                'a container of pod %s/%s was restarted with back-off %d %s '
                    || 'from %s to %s, by its events',
                namespace, name, count, iif(count = 1, 'time', 'times'),
                substr(first, 1, 19) || 'Z', substr(ts, 1, 19) || 'Z'
            ),
            CASE
                WHEN julianday(:collected_until) - julianday(ts) > 900 / 86400.0
                THEN 'info'
                ELSE 'warning'
            END,
            NULL, namespace, name, NULL, NULL, count, NULL, NULL, message, NULL,
            first, NULL, NULL, NULL, 'event'
        FROM backing_off
    )
SELECT *
FROM finding
ORDER BY known_by DESC, restarts DESC, namespace, pod, container;
