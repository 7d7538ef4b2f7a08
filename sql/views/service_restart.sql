-- Restarts of the node's services, from what systemd says in the journal: a row
-- for each start, and for an end that no start followed.
--
-- The texts are systemd's: `Started` and `Stopping` of src/core/job.c and
-- src/core/service.c, `Main process exited` and `Failed with result` of
-- src/core/unit.c, `Scheduled restart job` of src/core/service.c. A line that
-- is lost makes a start 'unknown', never a crash. Of a node without any such
-- line the services' own words are taken: the kubelet's 'Starting kubelet main
-- sync loop', containerd's 'successfully booted' and 'Stop CRI service'.
CREATE VIEW service_restart (
    node, -- node that has the service
    ts, -- when it had started again, or ended if it did not
    ts_ns, -- ts in nanoseconds since 1970
    unit, -- name of the service
    cause, -- 'crash', 'planned', 'boot', 'first' that is seen, or 'unknown'
    started, -- when it had started again, NULL if it did not
    stopped, -- when it ended or was told to stop before, NULL if nobody said
    down_s, -- seconds from then to this start
    result, -- what systemd said of the end, NULL if nothing
    counter -- systemd's own count of restarts in a row, NULL if none
) AS
WITH
    line AS (
        SELECT node, ts, ts_ns, unit, 'start' AS what, message
        FROM log
        WHERE source = 'unit' AND message GLOB 'Started *'
        UNION ALL
        SELECT node, ts, ts_ns, unit, 'stop', message
        FROM log
        WHERE source = 'unit' AND message GLOB 'Stopping *...'
        UNION ALL
        SELECT
            node,
            ts,
            ts_ns,
            unit,
            CASE
                WHEN message LIKE '%: Main process exited, code=%'
                    OR message LIKE '%: Failed with result ''%'
                THEN 'exit'
                WHEN message LIKE
                    '%: Scheduled restart job, restart counter is at %'
                THEN 'counter'
            END,
            message
        FROM log
        WHERE source = 'unit' AND message LIKE '%.service: %'
    ),
    by_systemd AS MATERIALIZED (
        SELECT * FROM line
        WHERE unit <> 'kernel'
            AND (
                what IN ('start', 'stop')
                OR what IS NOT NULL AND message LIKE unit || ': %'
            )
    ),
    -- What the services say of themselves, for nodes that have no systemd.
    by_itself AS (
        SELECT node, ts, ts_ns, unit, 'start' AS what, message
        FROM log
        WHERE unit = 'kubelet.service'
            AND message LIKE '%Starting kubelet main sync loop%'
        UNION ALL
        SELECT node, ts, ts_ns, unit, 'start', message
        FROM log
        WHERE unit = 'containerd.service'
            AND message LIKE '%containerd successfully booted in %'
        UNION ALL
        SELECT node, ts, ts_ns, unit, 'stop', message
        FROM log
        WHERE unit = 'containerd.service'
            AND message LIKE '%msg="Stop CRI service"%'
    ),
    about AS MATERIALIZED (
        SELECT * FROM by_systemd
        UNION ALL
        SELECT * FROM by_itself
        WHERE node NOT IN (SELECT node FROM by_systemd)
    ),
    booted AS (
        SELECT about.node, log.ts, log.ts_ns, about.unit, 'boot', log.message
        FROM log
        JOIN (SELECT DISTINCT node, unit FROM about) AS about
            ON about.node = log.node
        WHERE log.unit = 'kernel' AND log.message LIKE 'Linux version %'
    ),
    numbered AS (
        SELECT
            *,
            sum(what = 'start') OVER (
                PARTITION BY node, unit ORDER BY ts_ns
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS life
        FROM (SELECT * FROM about UNION ALL SELECT * FROM booted)
    ),
    told AS (
        SELECT
            node,
            unit,
            coalesce(life, 0) AS life,
            max(ts) FILTER (WHERE what = 'start') AS ts,
            max(ts_ns) FILTER (WHERE what = 'start') AS ts_ns,
            min(ts) FILTER (WHERE what IN ('stop', 'exit')) AS stopped,
            min(ts_ns) FILTER (WHERE what IN ('stop', 'exit')) AS stopped_ns,
            min(ts_ns) FILTER (WHERE what = 'stop') AS stop_ns,
            min(ts_ns) FILTER (WHERE what = 'exit') AS exit_ns,
            max(what = 'boot') AS is_boot,
            max(message) FILTER (WHERE what = 'exit'
                AND message LIKE '%Main process exited%') AS exited,
            max(message) FILTER (WHERE what = 'exit'
                AND message LIKE '%Failed with result%') AS failed,
            max(message) FILTER (WHERE what = 'counter') AS counter
        FROM numbered
        GROUP BY node, unit, coalesce(life, 0)
    )
SELECT
    node,
    coalesce(ts, stopped),
    coalesce(ts_ns, stopped_ns),
    unit,
    CASE
        WHEN is_boot THEN 'boot'
        WHEN stop_ns <= coalesce(exit_ns, stop_ns) THEN 'planned'
        WHEN exit_ns IS NOT NULL OR counter IS NOT NULL THEN 'crash'
        WHEN life = 0 THEN 'first'
        ELSE 'unknown'
    END,
    ts,
    stopped,
    round((ts_ns - stopped_ns) / 1e9, 1),
    coalesce(
        substr(exited, instr(exited, 'exited, ') + 8),
        substr(failed, instr(failed, 'result ') + 7)
    ),
    CAST(substr(counter, instr(counter, ' is at ') + 7) AS INT)
FROM told
WHERE ts IS NOT NULL OR stopped IS NOT NULL;
