-- Samples of a target after which nothing is as it was before.
--
-- A session of a stream runs from border to border; between two borders its
-- samples follow each other without a gap, so what is known of one holds until
-- the next. Each row tells of its own sample and of the one before it, and
-- after the last sample of a session comes one row more that is no sample.
-- Rows between two edges have one cause, so a day of health is two rows.
-- Skipped samples are neither up nor down: many in a row make a gap.
--
-- `probe_stretch` ends wherever a border can be, and sometimes without need, so
-- samples that it puts into one stretch need not be looked at one by one; and
-- it knows what was before each stretch and after. A constraint on node, target
-- or stream_id of this view reaches down to the chunks; one on probe_incident,
-- probe_outage or probe_gap does not, because those number what they find in
-- all streams first.
CREATE VIEW probe_edge (
    node, -- node that the sample was taken on
    target, -- name of the target
    stream_id, -- stream of the target, with its URL, interval and timeout
    session_id, -- session of the agent that took the sample
    position, -- number of the sample in its session, from 1, none skipped
    ts_ns, -- wall clock at the start of the sample
    mono_ns, -- clock that never jumps, at the start of the sample
    seq, -- number that the agent gave the sample
    cause, -- phase and class of the failure, NULL if it was a success
    error, -- what the system said to a failure
    address, -- address that a failure was about
    before_ns, -- wall clock at the start of the sample before
    before_mono_ns, -- clock that never jumps, at the start of the sample before
    before_duration_ns, -- how long the sample before took
    before_seq, -- number that the agent gave the sample before
    before_cause, -- cause of the sample before
    border -- NULL if nothing is unknown, else 'start', 'end', 'gap' or 'clock'
) AS
WITH
    tried AS (
        SELECT
            node, target, stream_id, session_id, position, ts_ns, mono_ns, seq,
            CASE outcome
                WHEN 'fail'
                THEN coalesce(phase, 'unknown') || ' '
                    || coalesce(error_class, 'unknown')
            END AS cause,
            CASE outcome WHEN 'fail' THEN error END AS error,
            CASE outcome WHEN 'fail' THEN address END AS address,
            before_ns,
            before_mono_ns,
            before_duration_us * 1000 AS before_duration_ns,
            before_seq,
            CASE before_outcome
                WHEN 'fail'
                THEN coalesce(before_phase, 'unknown') || ' '
                    || coalesce(before_error_class, 'unknown')
            END AS before_cause,
            CASE
                WHEN before_ns IS NULL THEN 'start'
                WHEN ts_ns - before_ns - mono_ns + before_mono_ns
                    NOT BETWEEN -2000000000 AND 2000000000
                THEN 'clock'
                WHEN mono_ns - before_mono_ns > max(
                    interval_ns * 5 / 2,
                    interval_ns + timeout_ns + 1000000000
                )
                THEN 'gap'
            END AS border
        FROM probe_stretch
        WHERE outcome <> 'skipped'
    )
SELECT
    node, target, stream_id, session_id, position, ts_ns, mono_ns, seq, cause,
    error, address, before_ns, before_mono_ns, before_duration_ns, before_seq,
    before_cause, border
FROM tried
WHERE border IS NOT NULL OR cause IS NOT before_cause
UNION ALL
SELECT
    node, target, stream_id, session_id, position + samples, NULL,
    9223372036854775807, NULL, NULL, NULL, NULL, last_ns, last_mono_ns,
    last_duration_us * 1000, last_seq,
    CASE outcome
        WHEN 'fail'
        THEN coalesce(phase, 'unknown') || ' '
            || coalesce(error_class, 'unknown')
    END,
    'end'
FROM probe_stretch
WHERE outcome <> 'skipped' AND after_ns IS NULL;
