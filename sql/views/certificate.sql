-- Certificates of each node's files and of the servers that it probes, as they
-- were last seen.
--
-- A server shows its own certificate at position 1 and then those of its
-- authorities, as far as it has them. Keys are nowhere in a bundle.
CREATE VIEW certificate (
    node, -- node that saw it
    ts, -- when it was last seen
    origin, -- 'file' of the node, or 'server' that a probe connected to
    source, -- path of the file, or name of the probe target
    position, -- place in its file or chain, from 1
    subject, -- whom it names
    issuer, -- who signed it
    not_before, -- when it begins to hold
    not_after, -- when it ends to hold, at most the year 2262
    days_left, -- days from when it was seen to its end, negative if it is over
    validity, -- when it was seen: 'valid', 'expired' or 'not yet valid'
    alternative_names, -- JSON list of names and addresses it is for
    is_authority, -- 1 if it may sign others, else 0
    public_key, -- kind and size of its key, such as 'RSA 2048'
    serial, -- serial number in hexadecimal
    fingerprint, -- SHA-256 of it all in hexadecimal
    verified, -- 1 if the chain was trusted, 0 if not; NULL for files
    verification -- why the chain was not trusted
) AS
WITH
    sighting AS (
        SELECT
            raw_node.name AS node,
            raw_batch.ended_ns,
            raw_certificate.*,
            rank() OVER (
                PARTITION BY
                    raw_node.id, raw_certificate.origin, raw_certificate.source
                ORDER BY
                    raw_session.started_ns DESC, raw_session.id,
                    raw_batch.ended_ns DESC, raw_batch.id
            ) AS age
        FROM raw_certificate
        JOIN raw_batch ON raw_batch.id = raw_certificate.batch_id
        JOIN raw_session ON raw_session.id = raw_batch.session_id
        JOIN raw_node ON raw_node.id = raw_session.node_id
    )
SELECT
    node,
    ts(ended_ns),
    origin,
    source,
    position,
    subject,
    issuer,
    ts(not_before_ns),
    ts(not_after_ns),
    round((not_after_ns - ended_ns) / 86400e9, 1),
    CASE
        WHEN not_after_ns <= ended_ns THEN 'expired'
        WHEN not_before_ns > ended_ns THEN 'not yet valid'
        ELSE 'valid'
    END,
    alternative_names,
    is_authority,
    public_key,
    serial,
    fingerprint,
    verified,
    verification
FROM sighting
WHERE age = 1;
