-- Times in which a target was down: incidents that are more than a blip.
--
-- See probe_incident for what begins, ends and merges an outage.
CREATE VIEW probe_outage (
    node, -- node that saw it
    ts, -- when the first failed sample began; same as started_by
    ts_ns, -- ts in nanoseconds since 1970
    target, -- name of the target
    kind, -- kind of the target
    url, -- URL of the target
    started_after, -- end of the last success before it, NULL if none was seen
    started_by, -- start of the first failure
    ended_after, -- end of the last failure
    ended_by, -- start of the first success after it, NULL if none was seen
    ended_ns, -- ended_after in nanoseconds since 1970
    min_s, -- seconds from the first failure's start to the last one's end
    max_s, -- seconds between the successes around it, NULL if censored
    duration, -- min_s and max_s as a person would say it
    censored, -- what nobody saw: 'no' if all was, else 'start', 'end', 'both'
    flapping, -- 1 if it came and went: ten changes within 21 samples
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
SELECT
    node, ts, ts_ns, target, kind, url, started_after, started_by, ended_after,
    ended_by, ended_ns, min_s, max_s, duration, censored, flapping, samples,
    fails, loss, longest, phase, error_class, first_cause, causes, error,
    address, interval_s, session_id, stream_id
FROM probe_incident
WHERE verdict = 'outage';
