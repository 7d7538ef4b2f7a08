-- What the node reached, as `az aks kanalyze` shows it: a JSON array with one
-- object for each target.
--
-- `Status` is what the newest sample says, `Connected` or `Error: …` with the
-- phase and class of the failure, because readers look for these words. What
-- happened before is in `Outages`, `Down` and `Available`. `looked` is 0 if no
-- probe left anything in this file.
WITH
    last AS (
        SELECT
            target, kind, url, outcome, phase, error_class, error,
            max(last_ns) AS last_ns
        FROM probe_stretch
        WHERE outcome <> 'skipped'
        GROUP BY target
    ),
    outage AS (
        SELECT target, count(*) AS outages, sum(min_s) AS down_s
        FROM probe_outage
        GROUP BY target
    ),
    report AS (
        SELECT
            probe_availability.target,
            probe_availability.kind,
            coalesce(
                last.url,
                (
                    SELECT max(url) FROM probe_target
                    WHERE probe_target.target = probe_availability.target
                )
            ) AS url,
            ts(coalesce(last.last_ns, 0)) AS at,
            CASE last.outcome
                WHEN 'ok' THEN 'Connected'
                WHEN 'fail' THEN format(
                    'Error: %s %s%s',
                    coalesce(last.phase, 'connection'),
                    coalesce(last.error_class, 'failed'),
                    coalesce(': ' || substr(last.error, 1, 200), '')
                )
                ELSE 'Unknown: no sample was taken'
            END AS status,
            coalesce(outage.outages, 0) AS outages,
            coalesce(outage.down_s, 0) AS down_s,
            probe_availability.availability
        FROM probe_availability
        LEFT JOIN last ON last.target = probe_availability.target
        LEFT JOIN outage ON outage.target = probe_availability.target
    ),
    listed AS (
        SELECT * FROM report
        ORDER BY status = 'Connected', target
        LIMIT 64
    ),
    probing AS (
        SELECT
            max(outcome) AS outcome,
            max(coalesce(message, issue)) AS message
        FROM collection
        WHERE collector = 'probe'
    )
SELECT
    EXISTS (SELECT 1 FROM listed) AS looked,
    iif(
        EXISTS (SELECT 1 FROM listed),
        (
            SELECT json_group_array(json_object(
                'TimeStamp', at,
                'Type', CASE kind
                    WHEN 'internet' THEN 'Internet'
                    WHEN 'api-server' THEN 'AKS API Server'
                    WHEN 'tunnel' THEN 'AKS Tunnel'
                    WHEN 'acr' THEN 'Azure Container Registry'
                    WHEN 'mcr' THEN 'Microsoft Container Registry'
                    ELSE 'Custom'
                END,
                'Target', target,
                'URL', url,
                'Status', status,
                'Outages', outages,
                'Down', format('%.0f s', down_s),
                'Available', iif(
                    availability IS NULL,
                    'not known', format('%.1f %%', availability * 100)
                )
            ))
            FROM listed
        ),
        json_array(json_object(
            'TimeStamp', '',
            'Type', 'none',
            'Target', '',
            'URL', '',
            'Status', (
                SELECT 'Unknown: no target was probed'
                    || coalesce(', ' || outcome, '')
                    || coalesce(': ' || substr(message, 1, 500), '')
                FROM probing
            )
        ))
    ) AS json;
