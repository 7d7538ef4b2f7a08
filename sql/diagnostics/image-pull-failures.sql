-- title: An image could not be pulled
-- severity: error
-- needs: kubernetes-objects
-- category: workload
-- docs: https://kubernetes.io/docs/concepts/containers/images/
--
-- From events of the kubelet ("Failed to pull image", pkg/kubelet/images/
-- image_manager.go) and containers that wait for an image. `cause` reads the
-- text; of several reasons in one text the most telling counts:
--
-- - `unauthorized` (401), `forbidden` (403): the kubelet's identity has no
--   AcrPull, a pull secret is missing or wrong; 403 also is the registry's own
--   firewall. `az aks check-acr` tells.
-- - `no such image`: name, tag or repository does not exist. A registry answers
--   the same where one may not look.
-- - `no such registry`: its name does not resolve: a typing error
--   (`azureacr.io` for `azurecr.io`), or DNS: see `custom-dns`.
-- - `network`: no connection, or none in time. With a private address in the
--   text: the private endpoint or its route. See `outage-windows`.
-- - `certificate`: the registry's is not trusted, as behind an inspecting
--   proxy.
-- - `platform`: no image for this processor. `rate limit`: Docker Hub's 429.
-- - `kubelet's limit` ("pull QPS exceeded"), `disk`: the node's own.
-- - `invalid name`, `never pull`: the pod's specification.
--
-- One row for an image, a cause and a node. Pods that have the image by now, as
-- those that are not among the pending pods of the cluster, or
-- are gone for a quarter of an hour, make it info.
WITH
    waiting AS MATERIALIZED (
        SELECT
            container.node,
            container.ts,
            container.namespace,
            container.pod,
            container.image,
            container.reason,
            container.message,
            pod_status.created
        FROM container
        JOIN pod_status
            ON pod_status.namespace = container.namespace
            AND pod_status.pod = container.pod
        WHERE NOT pod_status.is_done
            AND container.state = 'waiting'
            AND container.reason IN (
                'ErrImagePull', 'ImagePullBackOff', 'InvalidImageName',
                'ErrImageNeverPull', 'ImageInspectError', 'RegistryUnavailable',
                'SignatureValidationFailed'
            )
    ),
    stuck AS MATERIALIZED (SELECT DISTINCT namespace, pod FROM waiting),
    known AS MATERIALIZED (
        SELECT namespace, pod, is_done OR ready AS is_fine FROM pod_status
    ),
    -- When all pods that are pending were listed.
    listed AS MATERIALIZED (
        SELECT max(ts) AS ts
        FROM collection
        WHERE collector = 'cluster-objects'
            AND outcome IN ('complete', 'partial')
    ),
    told AS MATERIALIZED (
        SELECT
            event.node,
            event.first,
            event.ts AS last,
            event.namespace,
            event.name AS pod,
            event.message,
            event.count,
            substr(
                event.message,
                instr(event.message, 'image "') + 7,
                instr(
                    substr(event.message, instr(event.message, 'image "') + 7),
                    '"'
                ) - 1
            ) AS image,
            CASE
                WHEN stuck.pod IS NOT NULL THEN 1
                WHEN known.pod IS NOT NULL THEN NOT known.is_fine
                WHEN event.ts < (SELECT ts FROM listed) THEN 0
                ELSE julianday(:collected_until) - julianday(event.ts)
                    <= 900 / 86400.0
            END AS is_now
        FROM event
        LEFT JOIN stuck
            ON stuck.namespace = event.namespace AND stuck.pod = event.name
        LEFT JOIN known
            ON known.namespace = event.namespace AND known.pod = event.name
        WHERE event.kind = 'Pod'
            AND event.reason = 'Failed'
            AND event.message LIKE 'Failed to pull image "%'
    ),
    said AS (
        SELECT
            node, first, last, namespace, pod, image, message, count, is_now
        FROM told
        UNION ALL
        SELECT
            node, coalesce(created, ts), ts, namespace, pod, image,
            reason || coalesce(': ' || message, ''), 0, 1
        FROM waiting
        WHERE NOT EXISTS (
            SELECT 1 FROM told
            WHERE told.namespace = waiting.namespace
                AND told.pod = waiting.pod
                AND told.image = waiting.image
        )
    ),
    caused AS (
        SELECT
            *,
            CASE
                WHEN message LIKE 'InvalidImageName%'
                    OR message LIKE '%invalid reference format%'
                THEN 'invalid name'
                WHEN message LIKE 'ErrImageNeverPull%' THEN 'never pull'
                WHEN message LIKE '%pull QPS exceeded%' THEN 'kubelet''s limit'
                WHEN message LIKE '%no space left on device%' THEN 'disk'
                WHEN message LIKE '%toomanyrequests%'
                    OR message LIKE '%429 Too Many Requests%'
                THEN 'rate limit'
                WHEN message LIKE '%no such host%'
                    OR message LIKE '%server misbehaving%'
                    OR message LIKE '%dial tcp: lookup %'
                THEN 'no such registry'
                WHEN message LIKE '%401 Unauthorized%'
                    OR message LIKE '%authentication required%'
                    OR message LIKE '%authorization failed%'
                    OR message LIKE '%insufficient_scope%'
                THEN 'unauthorized'
                WHEN message LIKE '%403 Forbidden%'
                    OR message LIKE '%access denied%'
                    OR message LIKE '%is not allowed access%'
                THEN 'forbidden'
                WHEN message LIKE '%x509:%' THEN 'certificate'
                WHEN message LIKE '%i/o timeout%'
                    OR message LIKE '%TLS handshake timeout%'
                    OR message LIKE '%Client.Timeout%'
                    OR message LIKE '%context deadline exceeded%'
                    OR message LIKE '%connection refused%'
                    OR message LIKE '%connection reset by peer%'
                    OR message LIKE '%no route to host%'
                    OR message LIKE '%network is unreachable%'
                    OR message LIKE '%unexpected EOF%'
                THEN 'network'
                WHEN message LIKE '%no match for platform in manifest%'
                THEN 'platform'
                WHEN message LIKE '%manifest unknown%'
                    OR message LIKE '%not found%'
                    OR message LIKE '%name unknown%'
                    OR message LIKE '%does not exist%'
                THEN 'no such image'
            END AS cause
        FROM said
    ),
    counted AS (
        SELECT
            node,
            image,
            coalesce(cause, 'unknown') AS cause,
            min(first) AS first,
            max(last) AS last,
            CAST(total(count) AS INT) AS failures,
            count(DISTINCT namespace || '/' || pod) AS pods,
            group_concat(DISTINCT namespace || '/' || pod) AS names,
            max(is_now) AS is_now,
            max(message) AS said
        FROM caused
        GROUP BY node, image, cause
    )
SELECT
    node,
    first AS ts,
    format(
        'image %s could not be pulled%s by %s from %s to %s: %s%s',
        image,
        CASE
            WHEN failures > 0 THEN format(
                ' %d %s', failures, iif(failures = 1, 'time', 'times'))
            ELSE ''
        END,
        iif(pods = 1, 'pod ' || names, pods || ' pods'),
        substr(first, 1, 19) || 'Z',
        substr(last, 1, 19) || 'Z',
        cause,
        iif(image LIKE '%azureacr.io%', ' (azureacr.io is not azurecr.io)', '')
    ) AS message,
    iif(is_now, 'error', 'info') AS severity,
    cause,
    image,
    failures,
    pods,
    names,
    last,
    said
FROM counted
ORDER BY first, node, image, cause;
