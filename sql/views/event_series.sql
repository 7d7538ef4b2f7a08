-- Events of Kubernetes, joined to what a person would call one: same object,
-- same reason, same reporter.
--
-- The API server keeps one event for as long as its text is the same, so what
-- happened a hundred times is one event with a count, or a dozen of them when
-- the text has a number in it. Counts are summed over them. An event that is
-- gone from the API server before it was read is not counted: a count is a
-- lower bound.
CREATE VIEW event_series (
    node, -- node that it is about or comes from, NULL if from none
    ts, -- when it last happened
    first, -- when it first happened
    count, -- how often it happened at least
    events, -- how many events of the API server tell of it
    type, -- 'Normal' or 'Warning'
    reason, -- reason in one word
    namespace, -- namespace of the object that it is about
    kind, -- kind of that object
    name, -- name of that object
    component, -- component that reported it
    message -- what happened the last time
) AS
WITH
    ranked AS (
        SELECT
            *,
            row_number() OVER (
                PARTITION BY namespace, kind, name, reason, component, type
                ORDER BY ts DESC, message
            ) AS age
        FROM event
    )
SELECT
    max(node) FILTER (WHERE age = 1),
    max(ts),
    min(first),
    CAST(total(count) AS INT),
    count(*),
    type,
    reason,
    namespace,
    kind,
    name,
    component,
    max(message) FILTER (WHERE age = 1)
FROM ranked
GROUP BY namespace, kind, name, reason, component, type;
