-- title: A disk of a node is full or nearly so
-- severity: warning
-- needs: host-samples
-- category: node
-- param: used_percent = 85
-- param: inodes_percent = 90
-- docs: https://learn.microsoft.com/azure/aks/node-resource-reservations
--
-- - `condition`: the node has `DiskPressure` now. It takes no new pods and
--   evicts those it has.
-- - `evicted`: pods were evicted for disk or inodes of the node ("The node was
--   low on resource: …", kubernetes, `pkg/kubelet/eviction/helpers.go`), or the
--   kubelet began to ("eviction manager: attempting to reclaim").
-- - `images`: image collection could not free enough ("… garbage collect
--   required amount of images", `pkg/kubelet/images/image_gc_manager.go`): what
--   fills the disk is no image.
-- - `limit`: a pod wrote more than its own limit of ephemeral storage or of an
--   emptyDir; the node is well.
-- - `space`: a file system was `used_percent` full (from 85 % the kubelet
--   collects images, at 90 % it evicts) or had `inodes_percent` of its inodes.
--
-- `InvalidDiskCapacity` is passed over: every start of a kubelet writes it.
--
-- Who fills it: on the node `du -xh -d2 /var/lib/kubelet/pods /var/log
-- /var/lib/containerd | sort -h | tail`, and `log-storm` for logs. Set
-- `ephemeral-storage` limits, or give the pool a larger OS disk
-- (`az aks nodepool add --node-osdisk-size`).
WITH
    -- Sizes seldom change: the last minutes of each session tell them.
    size AS MATERIALIZED (
        SELECT
            node,
            substr(name, instr(name, '{')) AS mount,
            max(value) FILTER (WHERE name LIKE 'filesystem_size%') AS bytes,
            max(value) FILTER (WHERE name LIKE 'filesystem_inodes%') AS inodes,
            max(value) FILTER (WHERE name LIKE 'filesystem_read%') AS read_only
        FROM (
            SELECT sample.node, sample.name, sample.value
            FROM raw_session
            JOIN raw_node ON raw_node.id = raw_session.node_id
            CROSS JOIN sample
                ON sample.node = raw_node.name AND sample.family = 'filesystem'
                AND sample.ts_ns >= raw_session.ended_ns - 300000000000
        )
        WHERE name GLOB 'filesystem_[sir]*'
            AND name NOT LIKE '%"/boot%' AND name NOT LIKE '%"/snap%'
        GROUP BY node, 2
    ),
    -- No value above these is too little anywhere, which spares most names.
    bound AS MATERIALIZED (
        SELECT
            coalesce(max(bytes), 0) * (100 - :used_percent) / 100 AS bytes,
            coalesce(max(inodes), 0) * (100 - :inodes_percent) / 100 AS inodes
        FROM size
    ),
    -- CROSS: all nodes are read at once, not one after another.
    short AS MATERIALIZED (
        SELECT
            sample.node,
            size.mount,
            sample.name LIKE 'filesystem_free_inodes%' AS is_inodes,
            min(sample.ts) AS first,
            max(sample.ts) AS last,
            count(*) AS samples,
            min(sample.value) AS least,
            max(iif(
                sample.name LIKE 'filesystem_free_inodes%', size.inodes,
                size.bytes
            )) AS total
        FROM sample
        CROSS JOIN size ON size.node = sample.node
            AND size.mount = substr(sample.name, instr(sample.name, '{'))
        WHERE sample.family = 'filesystem'
            AND sample.value <= (SELECT max(bytes, inodes) FROM bound)
            AND CASE
                WHEN sample.value > (SELECT inodes FROM bound)
                THEN sample.name LIKE 'filesystem_available_bytes%'
                ELSE sample.name LIKE 'filesystem_available_bytes%'
                    OR sample.name LIKE 'filesystem_free_inodes%'
            END
            AND CASE
                WHEN sample.name LIKE 'filesystem_available_bytes%'
                THEN size.bytes > 0
                    AND sample.value * 100 <= size.bytes * (100 - :used_percent)
                WHEN sample.name LIKE 'filesystem_free_inodes%'
                THEN size.inodes > 0 AND sample.value * 100
                    <= size.inodes * (100 - :inodes_percent)
            END
            AND coalesce(size.read_only, 0) = 0
        GROUP BY sample.node, size.mount, is_inodes
    ),
    told AS MATERIALIZED (
        SELECT
            node,
            CASE
                WHEN reason IN ('FreeDiskSpaceFailed', 'ImageGCFailed')
                THEN 'images'
                WHEN message LIKE '%exceeds the limit%'
                    OR message LIKE '%local ephemeral storage limit%'
                    OR message LIKE '%exceeds the total limit of containers%'
                THEN 'limit'
                ELSE 'evicted'
            END AS verdict,
            min(first) AS first,
            max(ts) AS last,
            sum(count) AS times,
            count(DISTINCT namespace || '/' || name)
                FILTER (WHERE kind = 'Pod') AS pods,
            group_concat(DISTINCT namespace || '/' || name)
                FILTER (WHERE kind = 'Pod') AS names,
            max(message) AS example
        FROM event
        WHERE CASE reason
            WHEN 'Evicted'
            THEN message LIKE '%low on resource: ephemeral-storage%'
                OR message LIKE '%low on resource: inodes%'
                OR message LIKE '%had condition: [DiskPressure%'
                OR message LIKE '%EmptyDir volume%exceeds the limit%'
                OR message LIKE '%local ephemeral storage limit%'
                OR message LIKE '%exceeds the total limit of containers%'
            WHEN 'EvictionThresholdMet'
            THEN message LIKE '%ephemeral-storage%' OR message LIKE '%inodes%'
            WHEN 'FreeDiskSpaceFailed'
            THEN message LIKE '%garbage collect required amount of images%'
            WHEN 'ImageGCFailed'
            THEN message LIKE '%garbage collect required amount of images%'
        END
        GROUP BY node, 2
    ),
    reclaimed AS (
        SELECT
            node, min(ts) AS first, max(ts) AS last, count(*) AS times,
            max(message) AS example
        FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%eviction manager: attempting to reclaim%'
            AND (
                message LIKE '%ephemeral-storage%' OR message LIKE '%inodes%'
            )
        GROUP BY node
    ),
    finding (
        node, ts, message, severity, verdict, mount, first, last, times, pods,
        names, total, least, example
    ) AS (
        SELECT
            node, since,
            format('the node has DiskPressure since %s', since),
            'error', 'condition', NULL, since, ts, NULL, NULL, NULL, NULL,
            NULL, message
        FROM node_condition
        WHERE type = 'DiskPressure' AND status = 'True'
        UNION ALL
        SELECT
            node, first,
            CASE verdict
                WHEN 'images' THEN format(
                    'the kubelet could not free enough disk by removing images '
                        || '(%d times from %s to %s)',
                    times, substr(first, 1, 19) || 'Z',
                    substr(last, 1, 19) || 'Z'
                )
                WHEN 'limit' THEN format(
                    '%d %s evicted for writing more than their own limit of '
                        || 'storage (first at %s)',
                    pods, iif(pods = 1, 'pod was', 'pods were'),
                    substr(first, 1, 19) || 'Z'
                )
                ELSE format(
                    'the node ran low on disk from %s to %s; evicted pods that '
                        || 'are known of: %d',
                    substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z',
                    pods
                )
            END,
            iif(verdict = 'evicted' AND pods > 0, 'error', 'warning'),
            verdict, NULL, first, last, times, pods, names, NULL, NULL, example
        FROM told
        UNION ALL
        SELECT
            node, first,
            format(
                'the kubelet tried %d %s from %s to %s to reclaim disk by '
                    || 'evicting pods',
                times, iif(times = 1, 'time', 'times'),
                substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z'
            ),
            'warning', 'evicted', NULL, first, last, times, NULL, NULL, NULL,
            NULL, example
        FROM reclaimed
        WHERE NOT EXISTS (
            SELECT 1 FROM told
            WHERE told.node = reclaimed.node AND told.verdict = 'evicted'
        )
        UNION ALL
        SELECT
            node, first,
            format(
                '%s was up to %.1f %% full (%s) in %d %s from %s to %s',
                replace(replace(mount, '{mount="', ''), '"}', ''),
                100.0 * (total - least) / total,
                iif(
                    is_inodes,
                    format('%d of %d inodes left', least, total),
                    format(
                        '%.1f of %.1f GB left', least / 1e9, total / 1e9
                    )
                ),
                samples, iif(samples = 1, 'sample', 'samples'),
                substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z'
            ),
            'warning', 'space',
            replace(replace(mount, '{mount="', ''), '"}', ''), first, last,
            samples, NULL, NULL, CAST(total AS INT), CAST(least AS INT), NULL
        FROM short
    )
SELECT
    node, ts, message, severity, verdict, mount, first, last, times, pods,
    names, total, least, example
FROM finding
ORDER BY node, severity, verdict, ts, mount;
