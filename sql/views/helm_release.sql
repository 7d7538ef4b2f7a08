-- Releases of Helm, as the objects that they made tell by their annotations.
--
-- The Secrets in which Helm keeps its own records are never read: a release
-- that made none of the kinds of objects that are collected is not here.
CREATE VIEW helm_release (
    node, -- node that read the newest of its objects
    ts, -- when that was read
    namespace, -- namespace of the release
    release, -- name of the release
    chart, -- name and version of its chart, NULL if no object says
    app_version, -- version of what it installs, NULL if no object says
    objects -- how many of its objects were read
) AS
WITH
    owned AS (
        SELECT
            node,
            ts,
            coalesce(
                json ->>
                    '$.metadata.annotations."meta.helm.sh/release-namespace"',
                namespace
            ) AS namespace,
            json ->> '$.metadata.annotations."meta.helm.sh/release-name"'
                AS release,
            json ->> '$.metadata.labels."helm.sh/chart"' AS chart,
            json ->> '$.metadata.labels."app.kubernetes.io/version"'
                AS app_version
        FROM object
    )
SELECT
    node,
    max(ts),
    namespace,
    release,
    max(chart),
    max(app_version),
    count(*)
FROM owned
WHERE release IS NOT NULL
GROUP BY namespace, release;
