-- How often each target answered, and how much of the time is known at all.
--
-- Read both numbers together: an availability of 1 with a coverage of 0.2 says
-- little. Skipped samples count as neither up nor down.
CREATE VIEW probe_availability (
    node, -- node that the samples were taken on
    ts, -- start of the first sample
    target, -- name of the target
    kind, -- kind of the target
    last, -- end of the last sample
    ok, -- samples that succeeded
    fail, -- samples that failed
    skipped, -- samples that were not tried
    availability, -- ok by ok and fail, NULL if nothing was tried
    coverage, -- known time by all time from the first sample to the last
    unknown_s, -- seconds in gaps, see probe_gap
    outages, -- outages, see probe_outage
    blips, -- failures too short for an outage, see probe_incident
    avg_ms, -- average duration of a success in milliseconds
    max_ms -- longest duration of a success in milliseconds
) AS
WITH
    session AS (
        SELECT
            node, target, kind, session_id,
            min(ts_ns) AS first_ns,
            max(last_ns + last_duration_us * 1000) AS last_ns,
            max(last_mono_ns + last_duration_us * 1000) - min(mono_ns)
                AS span_ns,
            sum(samples) FILTER (WHERE outcome = 'ok') AS ok,
            sum(samples) FILTER (WHERE outcome = 'fail') AS fail,
            sum(samples) FILTER (WHERE outcome = 'skipped') AS skipped,
            total(total_duration_us) FILTER (WHERE outcome = 'ok') AS ok_us,
            max(max_duration_us) FILTER (WHERE outcome = 'ok') AS max_us
        FROM probe_stretch
        GROUP BY node, target, kind, session_id
    ),
    total AS (
        SELECT
            node, target, kind,
            min(first_ns) AS first_ns,
            max(last_ns) AS last_ns,
            total(span_ns) / 1e9 AS span_s,
            coalesce(sum(ok), 0) AS ok,
            coalesce(sum(fail), 0) AS fail,
            coalesce(sum(skipped), 0) AS skipped,
            sum(ok_us) AS ok_us,
            max(max_us) AS max_us
        FROM session
        GROUP BY node, target, kind
    ),
    gap AS (
        SELECT
            node, target,
            sum(seconds) AS unknown_s,
            sum(seconds) FILTER (WHERE missing IS NULL) AS between_s
        FROM probe_gap
        GROUP BY node, target
    ),
    incident AS (
        SELECT
            node, target,
            count(*) FILTER (WHERE verdict = 'outage') AS outages,
            count(*) FILTER (WHERE verdict = 'blip') AS blips
        FROM probe_incident
        GROUP BY node, target
    )
SELECT
    total.node,
    ts(total.first_ns),
    total.target,
    total.kind,
    ts(total.last_ns),
    total.ok,
    total.fail,
    total.skipped,
    CAST(total.ok AS REAL) / nullif(total.ok + total.fail, 0),
    max(
        0.0,
        1 - coalesce(gap.unknown_s, 0)
            / nullif(total.span_s + coalesce(gap.between_s, 0), 0)
    ),
    coalesce(gap.unknown_s, 0.0),
    coalesce(incident.outages, 0),
    coalesce(incident.blips, 0),
    total.ok_us / 1e3 / nullif(total.ok, 0),
    total.max_us / 1e3
FROM total
LEFT JOIN gap ON gap.node = total.node AND gap.target = total.target
LEFT JOIN incident
    ON incident.node = total.node AND incident.target = total.target;
