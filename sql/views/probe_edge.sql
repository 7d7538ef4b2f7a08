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
-- samples that it puts into one stretch need not be looked at one by one. Every
-- other view of outages and gaps reads edges. A constraint on node or target
-- reaches down to the chunks.
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
            node, target, stream_id, session_id, interval_ns, timeout_ns,
            mono_ns, ts_ns, seq, samples,
            last_ns, last_mono_ns, last_seq,
            last_duration_us * 1000 AS last_duration_ns,
            CASE outcome
                WHEN 'fail'
                THEN coalesce(phase, 'unknown') || ' '
                    || coalesce(error_class, 'unknown')
            END AS cause,
            CASE outcome WHEN 'fail' THEN error END AS error,
            CASE outcome WHEN 'fail' THEN address END AS address
        FROM probe_stretch
        WHERE outcome <> 'skipped'
        UNION ALL
        SELECT
            raw_node.name, raw_stream.name, raw_stream.id, raw_session.id,
            NULL, NULL, 9223372036854775807, NULL, NULL, 1, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL
        FROM raw_stream
        JOIN raw_node ON raw_node.id = raw_stream.node_id
        JOIN raw_session ON raw_session.node_id = raw_node.id
        WHERE raw_stream.kind = 'probe'
    ),
    step AS (
        SELECT
            *,
            sum(samples) OVER later - samples + 1 AS position,
            lag(last_ns) OVER later AS before_ns,
            lag(last_mono_ns) OVER later AS before_mono_ns,
            lag(last_duration_ns) OVER later AS before_duration_ns,
            lag(last_seq) OVER later AS before_seq,
            lag(cause) OVER later AS before_cause
        FROM tried
        WINDOW later AS (
            PARTITION BY node, target, stream_id, session_id
            ORDER BY mono_ns, seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    bordered AS (
        SELECT
            *,
            CASE
                WHEN ts_ns IS NULL THEN 'end'
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
        FROM step
    )
SELECT
    node, target, stream_id, session_id, position, ts_ns, mono_ns, seq, cause,
    error, address, before_ns, before_mono_ns, before_duration_ns, before_seq,
    before_cause, border
FROM bordered
WHERE (border IS NOT NULL OR cause IS NOT before_cause)
    AND NOT (ts_ns IS NULL AND before_ns IS NULL);
