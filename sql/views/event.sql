-- Events of Kubernetes over the whole time, each once, as it was last seen.
--
-- Unlike other objects, an event that is gone from the newest round is still
-- shown: the API server forgets them after an hour. Events of events.k8s.io/v1
-- count in `series` and leave `count` at 0; both are `count` here. One whose
-- JSON was cut when it was last seen is in `issue`, not here.
CREATE VIEW event (
    node, -- node that it is about or comes from, NULL if from none
    ts, -- when it last happened
    seen_by, -- node that read it
    type, -- 'Normal' or 'Warning'
    reason, -- reason in one word
    message, -- what happened
    count, -- how often it happened
    first, -- when it first happened
    namespace, -- namespace of the object that it is about
    kind, -- kind of that object
    name, -- name of that object
    component -- component that reported it
) AS
WITH
    -- Keys alone are sorted; JSON is long.
    sighting AS (
        SELECT
            raw_node.name AS seen_by,
            raw_object.batch_id,
            raw_object.ord,
            row_number() OVER (
                PARTITION BY
                    raw_session.cluster, raw_object.namespace, raw_object.name
                ORDER BY
                    raw_batch.started_ns DESC, raw_object.batch_id,
                    raw_object.ord
            ) AS age
        FROM raw_object
        JOIN raw_batch ON raw_batch.id = raw_object.batch_id
        JOIN raw_session ON raw_session.id = raw_batch.session_id
        JOIN raw_node ON raw_node.id = raw_session.node_id
        WHERE raw_object.kind = 'Event'
    ),
    timed AS (
        SELECT
            seen_by,
            json,
            coalesce(
                json ->> '$.series.lastObservedTime',
                json ->> '$.lastTimestamp',
                json ->> '$.eventTime',
                json ->> '$.metadata.creationTimestamp'
            ) AS last,
            coalesce(
                json ->> '$.firstTimestamp',
                json ->> '$.eventTime',
                json ->> '$.metadata.creationTimestamp'
            ) AS first
        FROM sighting
        CROSS JOIN raw_object
            ON raw_object.batch_id = sighting.batch_id
            AND raw_object.ord = sighting.ord
        WHERE sighting.age = 1 AND json_valid(json)
    )
SELECT
    CASE json ->> '$.involvedObject.kind'
        WHEN 'Node' THEN json ->> '$.involvedObject.name'
        ELSE coalesce(
            json ->> '$.source.host',
            CASE json ->> '$.reportingComponent'
                WHEN 'kubelet' THEN json ->> '$.reportingInstance'
            END
        )
    END,
    substr(
        rtrim(last, 'Z') || CASE WHEN last LIKE '%.%' THEN '' ELSE '.' END
            || '000000000', 1, 29
    ) || 'Z',
    seen_by,
    json ->> '$.type',
    json ->> '$.reason',
    coalesce(json ->> '$.message', json ->> '$.note'),
    coalesce(
        json ->> '$.series.count', nullif(json ->> '$.count', 0), 1
    ),
    substr(
        rtrim(first, 'Z') || CASE WHEN first LIKE '%.%' THEN '' ELSE '.' END
            || '000000000', 1, 29
    ) || 'Z',
    coalesce(
        json ->> '$.involvedObject.namespace', json ->> '$.metadata.namespace'
    ),
    json ->> '$.involvedObject.kind',
    json ->> '$.involvedObject.name',
    coalesce(
        nullif(json ->> '$.reportingComponent', ''),
        json ->> '$.source.component'
    )
FROM timed;
