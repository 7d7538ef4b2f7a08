-- Kubernetes objects as they were last seen, each once.
--
-- A node reads its own pods, and one node at a time what belongs to the whole
-- cluster; an object that several nodes saw is shown as the newest of them did.
-- An object whose JSON was cut is in `issue`, not here.
CREATE VIEW object (
    node, -- node that read the object; not always the one it is about
    ts, -- when it was read
    cluster, -- host name of the API server, NULL if the node knows none
    api_version, -- group and version
    kind, -- kind
    namespace, -- namespace, NULL for cluster-wide objects
    name, -- name of the object
    uid, -- uid that the API server gave it
    json -- the object as JSON, redacted; ask with json ->> '$.spec.x'
) AS
WITH
    -- Keys alone are sorted; JSON is long.
    sighting AS (
        SELECT
            latest_batch.node,
            latest_batch.ts,
            latest_batch.cluster,
            raw_object.kind,
            raw_object.batch_id,
            raw_object.ord,
            row_number() OVER (
                PARTITION BY
                    latest_batch.cluster, raw_object.kind,
                    raw_object.namespace, raw_object.name
                ORDER BY
                    latest_batch.started_ns DESC, raw_object.batch_id,
                    raw_object.ord
            ) AS age
        -- CROSS keeps the order: JSON of the newest round only is read.
        FROM latest_batch
        CROSS JOIN raw_object ON raw_object.batch_id = latest_batch.batch_id
        WHERE json_valid(raw_object.json)
    )
SELECT
    sighting.node,
    sighting.ts,
    sighting.cluster,
    raw_object.api_version,
    sighting.kind,
    raw_object.namespace,
    raw_object.name,
    raw_object.uid,
    raw_object.json
FROM sighting
CROSS JOIN raw_object
    ON raw_object.batch_id = sighting.batch_id
    AND raw_object.ord = sighting.ord
WHERE sighting.age = 1;
