-- title: The kubelet could not write its lease
-- severity: warning
-- needs: service-logs
-- param: least = 3
-- category: node
-- docs: https://kubernetes.io/docs/concepts/architecture/leases/
--
-- What it means when there is a row, in Markdown. Say what to do next: a command,
-- a page, a person.
--
-- A row is a finding: `node`, `ts` and `message` by name, every other column is
-- evidence. No row is health where the collectors of `needs` ran. Keys above are
-- `title`, `severity` (error, warning, info), `needs`, `param`, `category`, `docs`.
-- Tables and views: `periscope-analyze query BUNDLE "SELECT name FROM sqlite_schema"`.
SELECT
    node,
    min(ts) AS ts,
    format(
        'the kubelet failed to write its lease %d times from %s to %s',
        count(*), min(ts), max(ts)
    ) AS message,
    count(*) AS times
FROM log
WHERE unit = 'kubelet'
    AND message LIKE '%Failed to ensure lease exists%'
GROUP BY node
HAVING count(*) >= :least
