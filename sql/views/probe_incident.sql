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
    -- Samples in a row that ended alike. Of what is before and after them,
    -- nothing is known beyond a border, see probe_edge.
    stretch AS (
        SELECT
            stream_id, session_id, position, samples, outcome,
            phase, error_class, error, address, before_outcome, ts_ns, mono_ns,
            last_ns + last_duration_us * 1000 AS last_ns,
            last_mono_ns + last_duration_us * 1000 AS last_mono_ns,
            before_ns + before_duration_us * 1000 AS after_ns,
            before_mono_ns + before_duration_us * 1000 AS after_mono_ns,
            after_ns AS until_ns,
            after_mono_ns AS until_mono_ns,
            before_ns IS NULL
                OR ts_ns - before_ns - mono_ns + before_mono_ns
                    NOT BETWEEN -2000000000 AND 2000000000
                OR coalesce(
                    mono_ns - before_mono_ns > max(
                        interval_ns * 5 / 2,
                        interval_ns + timeout_ns + 1000000000
                    ),
                    0
                ) AS begins,
            after_ns IS NULL
                OR after_ns - last_ns - after_mono_ns + last_mono_ns
                    NOT BETWEEN -2000000000 AND 2000000000
                OR coalesce(
                    after_mono_ns - last_mono_ns > max(
                        interval_ns * 5 / 2,
                        interval_ns + timeout_ns + 1000000000
                    ),
                    0
                ) AS ends
        FROM probe_stretch
        WHERE outcome <> 'skipped'
    ),
    -- Failures, and where a segment begins: from border to border. Successes
    -- are what is between failures.
    failure AS (
        SELECT
            stream_id, session_id, position, samples,
            outcome = 'fail' AS down,
            begins OR before_outcome = 'ok' AS starts,
            coalesce(phase, 'unknown') || ' '
                || coalesce(error_class, 'unknown') AS cause,
            error, address,
            ts_ns AS first_ns,
            mono_ns AS first_mono_ns,
            last_ns, last_mono_ns,
            CASE WHEN NOT begins THEN after_ns END AS after_ns,
            CASE WHEN NOT begins THEN after_mono_ns END AS after_mono_ns,
            CASE WHEN NOT ends THEN until_ns END AS until_ns,
            CASE WHEN NOT ends THEN until_mono_ns END AS until_mono_ns,
            sum(begins) OVER later AS segment,
            sum(outcome = 'fail' AND (begins OR before_outcome = 'ok'))
                OVER later AS run
        FROM stretch
        WHERE outcome = 'fail' OR begins
        WINDOW later AS (
            ORDER BY stream_id, session_id, position
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    -- Samples in a row that all failed.
    run AS (
        SELECT
            max(stream_id) AS stream_id,
            max(session_id) AS session_id,
            max(segment) AS segment,
            run,
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
            min(cause) AS lowest_cause,
            max(cause) AS highest_cause,
            max(cause) FILTER (WHERE starts) AS first_cause,
            max(error) FILTER (WHERE starts) AS error,
            max(address) FILTER (WHERE starts) AS address,
            group_concat(json_array(position, cause, samples)) AS causes
        FROM failure
        WHERE down
        GROUP BY run
    ),
    -- Each run begins with a change, unless its segment begins with it, and
    -- ends with one, unless its segment ends. Are ten in a row close enough,
    -- counted from the one or from the other?
    changed AS (
        SELECT
            *,
            after_ns IS NOT NULL
                AND lead(
                    CASE WHEN until_ns IS NOT NULL THEN position + samples END,
                    4
                ) OVER later - position <= 19 AS ten_from_start,
            lead(position, 5) OVER later - position - samples <= 19
                AS ten_from_end,
            position - lag(position + samples) OVER later AS ok_samples
        FROM run
        WINDOW later AS (
            PARTITION BY segment
            ORDER BY run
        )
    ),
    -- Successes before a run part it from the one before, unless ten changes
    -- are around them.
    flapped AS (
        SELECT
            *,
            coalesce(
                sum(ten_from_start) OVER (
                    PARTITION BY segment
                    ORDER BY run
                    ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING
                ) > 0
                OR sum(ten_from_end) OVER (
                    PARTITION BY segment
                    ORDER BY run
                    ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING
                ) > 0,
                0
            ) AS flapping
        FROM changed
    ),
    numbered AS (
        SELECT
            *,
            ok_samples IS NULL OR (ok_samples >= 2 AND NOT flapping) AS starts,
            sum(ok_samples IS NULL OR (ok_samples >= 2 AND NOT flapping))
                OVER (ORDER BY run ROWS UNBOUNDED PRECEDING) AS incident
        FROM flapped
    ),
    incident AS (
        SELECT
            max(stream_id) AS stream_id,
            max(session_id) AS session_id,
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
            max(flapping AND NOT starts) AS flapping,
            max(position + samples) - min(position) AS samples,
            sum(samples) AS fails,
            max(samples) AS longest,
            max(first_cause) FILTER (WHERE starts) AS first_cause,
            max(error) FILTER (WHERE starts) AS error,
            max(address) FILTER (WHERE starts) AS address,
            min(lowest_cause) <> max(highest_cause) AS has_causes,
            '[' || group_concat(causes) || ']' AS causes
        FROM numbered
        GROUP BY incident
    ),
    measured AS (
        SELECT
            incident.*,
            (last_mono_ns - first_mono_ns) / 1e9 AS min_s,
            (until_mono_ns - after_mono_ns) / 1e9 AS max_s,
            CAST(round((last_mono_ns - first_mono_ns) / 1e9) AS INT) AS low,
            CAST(round((until_mono_ns - after_mono_ns) / 1e9) AS INT) AS high,
            probe_target.node,
            probe_target.target,
            probe_target.kind,
            probe_target.url,
            probe_target.interval_s,
            CASE
                WHEN has_causes
                THEN (
                    SELECT value ->> 1
                    FROM json_each(causes)
                    GROUP BY value ->> 1
                    ORDER BY sum(value ->> 2) DESC, min(value ->> 0)
                    LIMIT 1
                )
                ELSE first_cause
            END AS main_cause
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
    first_cause,
    CASE
        WHEN has_causes
        THEN (
            SELECT json_group_object(cause, fails)
            FROM (
                SELECT value ->> 1 AS cause, sum(value ->> 2) AS fails
                FROM json_each(causes)
                GROUP BY value ->> 1
                ORDER BY fails DESC, cause
            )
        )
        ELSE json_object(first_cause, fails)
    END,
    error,
    address,
    interval_s,
    session_id,
    stream_id
FROM measured;
