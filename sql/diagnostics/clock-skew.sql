-- title: The clock of a node is wrong, jumped or is not kept
-- severity: warning
-- needs: host-samples
-- category: node
-- param: skew_s = 5
-- param: wrong_s = 1
-- docs: https://learn.microsoft.com/azure/virtual-machines/linux/time-sync
--
-- - `behind`, `ahead`: compared with the API server's clock. An object was made
--   after it was read, so the node is behind; or the kubelet says that
--   something happened after the API server had heard of it, so it is ahead.
--   Tokens and certificates are then "not yet valid" or expired too early:
--   blame the clock before the certificate.
-- - `jumped`: while the agent ran, the wall clock stepped against the clock
--   that never jumps. Times of logs before and after do not compare.
-- - `wrong`: chrony said by how much ("System clock wrong by N seconds",
--   chrony, `reference.c`).
-- - `lost`: the kernel's clock was synchronised and no longer is, or chrony has
--   nobody to ask ("Can't synchronise: no selectable sources").
-- - `never`: it was not synchronised in any sample. A virtual machine whose
--   host sets the clock says so, too: only worth knowing (severity `info`).
--
-- AKS nodes take the time from the host (`refclock PHC /dev/ptp_hyperv` of
-- chrony). On the node: `chronyc tracking`, `chronyc sources -v`,
-- `systemctl status chrony` (`chronyd` on Azure Linux); `chronyc makestep` sets
-- it at once. The agent reads lines of both units unless its `units` are set.
WITH
    stamped AS MATERIALIZED (
        SELECT
            latest_batch.node,
            latest_batch.ts,
            raw_batch.ended_ns / 1e9 AS read_s,
            unixepoch(raw_object.json ->> '$.metadata.creationTimestamp')
                AS made_s,
            raw_object.kind || ' ' || raw_object.name AS object,
            CASE raw_object.kind
                WHEN 'Event' THEN
                    unixepoch(raw_object.json ->> '$.firstTimestamp')
            END AS happened_s,
            CASE
                WHEN raw_object.kind = 'Event'
                    AND raw_object.json ->> '$.source.component' = 'kubelet'
                THEN raw_object.json ->> '$.source.host'
            END AS kubelet_of
        FROM latest_batch
        JOIN raw_batch ON raw_batch.id = latest_batch.batch_id
        JOIN raw_object ON raw_object.batch_id = latest_batch.batch_id
        WHERE latest_batch.collector
                IN ('kubernetes-objects', 'cluster-objects')
            AND json_valid(raw_object.json)
    ),
    -- Every target sees a jump; the one that saw the most speaks for all.
    jump AS (
        SELECT node, first, max(jumps) AS jumps, step
        FROM (
            SELECT
                node, target, min(ts) AS first, count(*) AS jumps,
                sum(clock_step_s) AS step
            FROM probe_gap
            WHERE reason = 'clock'
            GROUP BY node, target
            ORDER BY node, target
        )
        GROUP BY node
    ),
    kept AS MATERIALIZED (
        SELECT
            node,
            min(ts) AS first,
            count(*) AS samples,
            min(ts) FILTER (WHERE value > 0) AS first_kept,
            max(ts) FILTER (WHERE value > 0) AS last_kept,
            max(ts) FILTER (WHERE value = 0) AS last_lost
        FROM sample
        WHERE family = 'clock' AND name = 'clock_synchronized'
        GROUP BY node
    ),
    chrony AS (
        SELECT
            node,
            min(ts) AS first,
            max(ts) AS last,
            count(*) AS lines,
            max(abs(CAST(
                substr(message, instr(message, 'wrong by ') + 9) AS REAL
            ))) AS worst
        FROM log
        WHERE source = 'unit' AND unit IN ('chrony.service', 'chronyd.service')
            AND message LIKE '%System clock wrong by %'
        GROUP BY node
    ),
    alone AS (
        SELECT node, min(ts) AS first, max(ts) AS last, count(*) AS lines
        FROM log
        WHERE source = 'unit' AND unit IN ('chrony.service', 'chronyd.service')
            AND message LIKE '%Can''t synchronise: no selectable sources%'
        GROUP BY node
    ),
    finding (node, ts, message, severity, verdict, seconds, times, example) AS (
        SELECT
            node, min(ts),
            format(
                'the clock is at least %.0f s behind the API server''s: %s was '
                    || 'made after it was read',
                max(made_s - read_s), object
            ),
            iif(max(made_s - read_s) >= 300, 'error', 'warning'),
            'behind', -round(max(made_s - read_s), 1), count(*), object
        FROM stamped
        WHERE made_s - read_s > :skew_s
        GROUP BY node
        UNION ALL
        SELECT
            kubelet_of, min(ts),
            format(
                'the clock is at least %.0f s ahead of the API server''s: the '
                    || 'kubelet dates %s after it was told of it',
                max(happened_s - made_s), object
            ),
            iif(max(happened_s - made_s) >= 300, 'error', 'warning'),
            'ahead', round(max(happened_s - made_s), 1), count(*), object
        FROM stamped
        WHERE kubelet_of IS NOT NULL AND happened_s - made_s > :skew_s
        GROUP BY kubelet_of
        UNION ALL
        SELECT
            node, first,
            format(
                'the clock jumped %d %s, first at %s, by %+.1f s in all',
                jumps, iif(jumps = 1, 'time', 'times'),
                substr(first, 1, 19) || 'Z', step
            ),
            'warning', 'jumped', round(step, 1), jumps, NULL
        FROM jump
        UNION ALL
        SELECT
            node, first,
            format(
                'chrony found the clock wrong by up to %.3f s (%d %s from %s '
                    || 'to %s)',
                worst, lines, iif(lines = 1, 'line', 'lines'),
                substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z'
            ),
            'warning', 'wrong', worst, lines, NULL
        FROM chrony
        WHERE worst > :wrong_s
        UNION ALL
        SELECT
            node, last_lost,
            format(
                'the clock is not synchronised any more since %s at the '
                    || 'latest, and was until %s',
                substr(last_lost, 1, 19) || 'Z',
                substr(last_kept, 1, 19) || 'Z'
            ),
            'warning', 'lost', NULL, NULL, NULL
        FROM kept
        WHERE last_lost > last_kept
        UNION ALL
        SELECT
            alone.node, alone.first,
            format(
                'chrony has nobody to ask for the time (%d %s from %s to %s)',
                lines, iif(lines = 1, 'line', 'lines'),
                substr(alone.first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z'
            ),
            'warning', 'lost', NULL, lines, NULL
        FROM alone
        LEFT JOIN kept ON kept.node = alone.node
        -- What it found again afterwards is well.
        WHERE kept.last_kept IS NULL OR kept.last_kept <= alone.last
        UNION ALL
        SELECT
            node, first,
            format(
                'the clock was synchronised in none of the samples (%d)',
                samples
            ),
            'info', 'never', NULL, samples, NULL
        FROM kept
        WHERE first_kept IS NULL
    )
SELECT node, ts, message, severity, verdict, seconds, times, example
FROM finding
UNION ALL
SELECT
    node, ts, 'the kernel did not tell of its clock', 'blind', NULL, NULL, NULL,
    NULL
FROM collection
WHERE collector = 'host-samples' AND outcome IN ('complete', 'partial')
    AND node NOT IN (SELECT node FROM kept)
ORDER BY node, severity, verdict, ts;
