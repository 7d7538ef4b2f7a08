-- Times in which a target did not answer: outages, and blips too short to be.
--
-- An incident begins with a failed sample and lasts until two samples in a row
-- succeed, so a single success inside merges. It is an outage if at least two
-- samples in a row failed (three if the interval is below ten seconds), or if
-- it is flapping: ten or more changes within 21 samples make one incident,
-- however long its successes. Anything less is a blip.
--
-- What happened between two samples is not known. So an incident has two
-- starts (after the last success ended, by the time the first failure began)
-- and two ends, and where a gap or the edge of the data borders it, one of
-- them is NULL: nobody saw it begin, or end. Times are those of the wall
-- clock; order and durations come from the clock that never jumps.
CREATE VIEW probe_incident (
    node, -- node that saw it
    ts, -- when the first failed sample began; same as started_by
    ts_ns, -- ts in nanoseconds since 1970
    target, -- name of the target
    kind, -- kind of the target
    url, -- URL of the target
    verdict, -- 'outage' or 'blip'
    started_after, -- end of the last success before it, NULL if none was seen
    started_by, -- start of the first failure
    ended_after, -- end of the last failure
    ended_by, -- start of the first success after it, NULL if none was seen
    ended_ns, -- ended_after in nanoseconds since 1970
    min_s, -- seconds from the first failure's start to the last one's end
    max_s, -- seconds between the successes around it, NULL if censored
    duration, -- min_s and max_s as a person would say it
    censored, -- what nobody saw: 'no' if all was, else 'start', 'end', 'both'
    flapping, -- 1 if it came and went, see above
    samples, -- samples from the first failure to the last
    fails, -- those of them that failed
    loss, -- fails by samples
    longest, -- most failures in a row
    phase, -- phase that failed most often: 'dns', 'tcp', 'tls' or 'http'
    error_class, -- class of failure that was most frequent, with that phase
    first_cause, -- phase and class of the first failure
    causes, -- JSON object: phase and class, and how many samples failed so
    error, -- what the system said to the first failure
    address, -- address that the first failure was about
    interval_s, -- seconds from one sample to the next
    session_id, -- session of the agent that saw it
    stream_id -- stream of the target
) AS
WITH
    -- From one edge to the next: samples in a row with one cause.
    stretch AS (
        SELECT
            node, target, stream_id, session_id,
            sum(border IS NOT NULL) OVER later - (border IS NOT NULL)
                AS segment,
            sum(border IS NOT NULL OR (cause IS NULL) <> (before_cause IS NULL))
                OVER later
                - (border IS NOT NULL
                    OR (cause IS NULL) <> (before_cause IS NULL)) AS run,
            lag(border IS NOT NULL
                OR (cause IS NULL) <> (before_cause IS NULL)) OVER later
                AS starts,
            before_cause AS cause,
            lag(error) OVER later AS error,
            lag(address) OVER later AS address,
            lag(position) OVER later AS position,
            position - lag(position) OVER later AS samples,
            lag(CASE WHEN border IS NULL THEN before_ns + before_duration_ns
                END) OVER later AS after_ns,
            lag(CASE WHEN border IS NULL
                THEN before_mono_ns + before_duration_ns END) OVER later
                AS after_mono_ns,
            lag(ts_ns) OVER later AS first_ns,
            lag(mono_ns) OVER later AS first_mono_ns,
            before_ns + before_duration_ns AS last_ns,
            before_mono_ns + before_duration_ns AS last_mono_ns,
            CASE WHEN border IS NULL THEN ts_ns END AS until_ns,
            CASE WHEN border IS NULL THEN mono_ns END AS until_mono_ns
        FROM probe_edge
        WINDOW later AS (
            PARTITION BY node, target, stream_id, session_id
            ORDER BY position
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    -- Samples in a row that all failed, or all succeeded.
    run AS (
        SELECT
            node, target, stream_id, session_id, segment, run,
            max(cause IS NULL) AS up,
            min(position) AS position,
            sum(samples) AS samples,
            max(first_ns) FILTER (WHERE starts) AS first_ns,
            max(first_mono_ns) FILTER (WHERE starts) AS first_mono_ns,
            max(after_ns) FILTER (WHERE starts) AS after_ns,
            max(after_mono_ns) FILTER (WHERE starts) AS after_mono_ns,
            max(last_ns) AS last_ns,
            max(last_mono_ns) AS last_mono_ns,
            CASE WHEN count(until_ns) = count(*) THEN max(until_ns) END
                AS until_ns,
            CASE WHEN count(until_ns) = count(*) THEN max(until_mono_ns) END
                AS until_mono_ns,
            group_concat(json_array(position, cause, samples, error, address))
                AS causes
        FROM stretch
        WHERE position IS NOT NULL
        GROUP BY node, target, stream_id, session_id, segment, run
    ),
    counted AS (
        SELECT
            *,
            position - lag(CASE WHEN after_ns IS NOT NULL THEN position END, 9)
                OVER (
                    PARTITION BY node, target, stream_id, session_id, segment
                    ORDER BY run
                ) <= 19 AS tenth_change
        FROM run
    ),
    flapped AS (
        SELECT
            *,
            coalesce(max(tenth_change) OVER (
                PARTITION BY node, target, stream_id, session_id, segment
                ORDER BY run
                ROWS BETWEEN 1 FOLLOWING AND 9 FOLLOWING
            ), 0) AS flapping
        FROM counted
    ),
    parted AS (
        SELECT
            *,
            up AND NOT (
                after_ns IS NOT NULL AND until_ns IS NOT NULL
                AND (samples < 2 OR flapping)
            ) AS parts
        FROM flapped
    ),
    numbered AS (
        SELECT
            *,
            sum(parts) OVER earlier AS incident,
            coalesce(lag(parts) OVER earlier, 1) AS starts
        FROM parted
        WINDOW earlier AS (
            PARTITION BY node, target, stream_id, session_id, segment
            ORDER BY run
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    incident AS (
        SELECT
            node, target, stream_id, session_id,
            max(after_ns) FILTER (WHERE starts) AS after_ns,
            max(after_mono_ns) FILTER (WHERE starts) AS after_mono_ns,
            max(first_ns) FILTER (WHERE starts) AS first_ns,
            max(first_mono_ns) FILTER (WHERE starts) AS first_mono_ns,
            max(last_ns) AS last_ns,
            max(last_mono_ns) AS last_mono_ns,
            CASE WHEN count(until_ns) = count(*) THEN max(until_ns) END
                AS until_ns,
            CASE WHEN count(until_ns) = count(*) THEN max(until_mono_ns) END
                AS until_mono_ns,
            max(flapping) AS flapping,
            sum(samples) AS samples,
            sum(CASE WHEN up THEN 0 ELSE samples END) AS fails,
            max(CASE WHEN up THEN 0 ELSE samples END) AS longest,
            '[' || group_concat(causes) FILTER (WHERE NOT up) || ']' AS causes
        FROM numbered
        WHERE NOT parts
        GROUP BY node, target, stream_id, session_id, segment, incident
    ),
    measured AS (
        SELECT
            incident.*,
            (last_mono_ns - first_mono_ns) / 1e9 AS min_s,
            (until_mono_ns - after_mono_ns) / 1e9 AS max_s,
            CAST(round((last_mono_ns - first_mono_ns) / 1e9) AS INT) AS low,
            CAST(round((until_mono_ns - after_mono_ns) / 1e9) AS INT) AS high,
            probe_target.kind,
            probe_target.url,
            probe_target.interval_s,
            (
                SELECT value ->> 1
                FROM json_each(causes)
                GROUP BY value ->> 1
                ORDER BY sum(value ->> 2) DESC, min(value ->> 0)
                LIMIT 1
            ) AS main_cause
        FROM incident
        JOIN probe_target ON probe_target.stream_id = incident.stream_id
    )
SELECT
    node,
    ts(first_ns),
    first_ns,
    target,
    kind,
    url,
    CASE
        WHEN flapping OR longest >= CASE WHEN interval_s >= 10 THEN 2 ELSE 3 END
        THEN 'outage'
        ELSE 'blip'
    END,
    ts(after_ns),
    ts(first_ns),
    ts(last_ns),
    ts(until_ns),
    last_ns,
    min_s,
    max_s,
    CASE WHEN high IS NULL THEN 'at least ' ELSE '' END
        || CASE
            WHEN low < 120 THEN format('%d s', low)
            WHEN low < 7200 THEN format('%d min %d s', low / 60, low % 60)
            ELSE format('%d h %d min', low / 3600, low / 60 % 60)
        END
        || CASE
            WHEN high IS NULL OR high = low THEN ''
            WHEN high < 120 THEN format(' to %d s', high)
            WHEN high < 7200
            THEN format(' to %d min %d s', high / 60, high % 60)
            ELSE format(' to %d h %d min', high / 3600, high / 60 % 60)
        END,
    CASE
        WHEN after_ns IS NULL AND until_ns IS NULL THEN 'both'
        WHEN after_ns IS NULL THEN 'start'
        WHEN until_ns IS NULL THEN 'end'
        ELSE 'no'
    END,
    flapping,
    samples,
    fails,
    CAST(fails AS REAL) / samples,
    longest,
    substr(main_cause, 1, instr(main_cause, ' ') - 1),
    substr(main_cause, instr(main_cause, ' ') + 1),
    (
        SELECT value ->> 1 FROM json_each(causes) ORDER BY value ->> 0 LIMIT 1
    ),
    (
        SELECT json_group_object(cause, fails)
        FROM (
            SELECT value ->> 1 AS cause, sum(value ->> 2) AS fails
            FROM json_each(causes)
            GROUP BY value ->> 1
            ORDER BY fails DESC, cause
        )
    ),
    (
        SELECT value ->> 3 FROM json_each(causes) ORDER BY value ->> 0 LIMIT 1
    ),
    (
        SELECT value ->> 4 FROM json_each(causes) ORDER BY value ->> 0 LIMIT 1
    ),
    interval_s,
    session_id,
    stream_id
FROM measured;
