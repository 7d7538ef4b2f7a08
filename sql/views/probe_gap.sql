-- Times of which nobody knows whether a target was up or down.
--
-- Within a session: samples too far apart (more than 2.5 intervals, or an
-- interval, a timeout and a second), or a wall clock that stepped by more than
-- two seconds. Between sessions: the time in which no agent ran, measured by
-- the clock that never jumps if both are of one boot; then `ts` is told by the
-- wall clock of the later one.
CREATE VIEW probe_gap (
    node, -- node whose samples are missing
    ts, -- end of the last sample before the gap
    ts_ns, -- ts in nanoseconds since 1970
    target, -- name of the target
    until, -- start of the first sample after the gap
    seconds, -- how long it lasted, by the clock that never jumps if one ran
    reason, -- 'skipped', 'silence', 'clock', 'restart' or 'reboot'
    missing, -- samples skipped or lost in it, NULL between sessions
    clock_step_s, -- seconds that the wall clock jumped, NULL between sessions
    session_id -- session of the agent after the gap
) AS
WITH
    -- Sessions whose boot is not known are of no boot but their own.
    bordered AS (
        SELECT
            probe_edge.*,
            coalesce(nullif(raw_session.boot_id, ''), session_id) AS boot,
            min(mono_ns) OVER (PARTITION BY node, target, session_id)
                AS session_mono_ns
        FROM probe_edge
        LEFT JOIN raw_session ON raw_session.id = probe_edge.session_id
        WHERE border IS NOT NULL
    ),
    booted AS (
        SELECT
            *,
            first_value(ts_ns) OVER (
                PARTITION BY node, target, boot ORDER BY mono_ns, session_id
            ) AS boot_ns
        FROM bordered
    ),
    reached AS (
        SELECT
            *,
            max(before_ns + before_duration_ns) OVER earlier AS known_ns,
            max(before_mono_ns + before_duration_ns) OVER earlier_in_boot
                AS known_mono_ns,
            lag(session_id) OVER earlier AS before_session_id
        FROM booted
        WINDOW
            earlier AS (
                PARTITION BY node, target
                ORDER BY
                    boot_ns, boot, session_mono_ns, session_id, position
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            earlier_in_boot AS (
                PARTITION BY node, target, boot
                ORDER BY session_mono_ns, session_id, position
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            )
    ),
    measured AS (
        SELECT
            *,
            border = 'start' AS between_sessions,
            CASE
                WHEN border <> 'start'
                THEN mono_ns - before_mono_ns - before_duration_ns
                WHEN known_mono_ns IS NULL THEN ts_ns - known_ns
                ELSE mono_ns - known_mono_ns
            END AS length_ns
        FROM reached
        WHERE border <> 'end'
    ),
    gap AS (
        SELECT
            *,
            CASE
                WHEN between_sessions THEN ts_ns - length_ns
                ELSE before_ns + before_duration_ns
            END AS from_ns
        FROM measured
        WHERE NOT between_sessions OR length_ns > 0
    )
SELECT
    gap.node,
    ts(gap.from_ns),
    gap.from_ns,
    gap.target,
    ts(gap.ts_ns),
    gap.length_ns / 1e9,
    CASE
        WHEN between_sessions AND new.boot_id IS old.boot_id THEN 'restart'
        WHEN between_sessions THEN 'reboot'
        WHEN gap.border = 'clock' THEN 'clock'
        WHEN gap.seq - gap.before_seq > 1 THEN 'skipped'
        ELSE 'silence'
    END,
    gap.seq - gap.before_seq - 1,
    round(
        (gap.ts_ns - gap.before_ns - gap.mono_ns + gap.before_mono_ns) / 1e9, 3
    ),
    gap.session_id
FROM gap
LEFT JOIN raw_session AS new ON new.id = gap.session_id
LEFT JOIN raw_session AS old ON old.id = gap.before_session_id;
