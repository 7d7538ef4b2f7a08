-- title: Azure maintains the machine of a node
-- severity: info
-- needs: kubernetes-objects
-- category: azure
-- param: before_s = 120
-- param: after_s = 900
-- docs: https://learn.microsoft.com/azure/aks/node-problem-detector
--
-- Azure announced maintenance of this node's virtual machine, and node problem
-- detector said so (events `FreezeScheduled`, `RebootScheduled`,
-- `RedeployScheduled`, `TerminateScheduled`, `PreemptScheduled`; condition
-- `VMEventScheduled`).
--
-- - `Freeze`: the machine stands still, mostly for seconds; memory and open
--   connections survive, timeouts and leases may not.
-- - `Reboot`, `Redeploy`: the machine starts anew, `Redeploy` on other hardware
--   and with an empty temporary disk.
-- - `Terminate`, `Preempt`: the machine goes away; `Preempt` is a spot node.
--
-- The row is a `warning` where the node goes away, and where something happened
-- from `before_s` before the announcement to `after_s` after the last one:
-- outages of its targets, silence of its agent, a reboot, a jump of its clock.
-- Those findings are then explained; look for no other cause. What makes it
-- hurt less: disruption budgets, two replicas on two nodes, and a planned
-- maintenance window for what AKS itself does (`az aks maintenanceconfiguration
-- add --name aksManagedNodeOSUpgradeSchedule …`).
WITH
    announced AS MATERIALIZED (
        SELECT
            node,
            -- The condition does not say what an event says.
            coalesce(max(nullif(kind, 'Unknown')), 'Unknown') AS kind,
            min(ts) AS first,
            max(until) AS last,
            sum(count) FILTER (WHERE source = 'event') AS announcements,
            max(message) FILTER (WHERE source = 'event') AS message,
            max(message) AS any_message
        FROM maintenance
        GROUP BY node, nullif(kind, 'Unknown')
    ),
    told AS MATERIALIZED (
        SELECT *, julianday(first) * 86400 - :before_s AS from_s,
            julianday(last) * 86400 + :after_s AS until_s
        FROM announced
        WHERE kind <> 'Unknown'
            OR node NOT IN (
                SELECT node FROM announced WHERE kind <> 'Unknown'
            )
    ),
    effect AS MATERIALIZED (
        SELECT
            node, ts, 'outage of ' || target || ' for ' || duration AS text,
            julianday(ts) * 86400 AS at_s
        FROM probe_outage
        WHERE node IN (SELECT node FROM told)
        UNION ALL
        SELECT
            node, min(ts),
            CASE reason
                WHEN 'reboot' THEN 'a reboot'
                WHEN 'clock' THEN format(
                    'a jump of the clock by %.1f s', max(clock_step_s)
                )
                ELSE format('silence of the agent for %.0f s', max(seconds))
            END,
            julianday(min(ts)) * 86400
        FROM probe_gap
        WHERE reason IN ('silence', 'clock', 'reboot')
            AND node IN (SELECT node FROM told)
        GROUP BY node, reason, substr(ts, 1, 16)
    ),
    joined AS (
        SELECT
            told.*,
            count(effect.node) AS effects,
            min(effect.ts) AS first_effect,
            group_concat(effect.text, '; ' ORDER BY effect.ts, effect.text)
                AS texts
        FROM told
        LEFT JOIN effect
            ON effect.node = told.node
            AND effect.at_s BETWEEN told.from_s AND told.until_s
        GROUP BY told.node, told.kind
    )
SELECT
    node,
    first AS ts,
    format(
        'Azure announced %s of the machine from %s to %s%s',
        CASE kind
            WHEN 'Unknown' THEN 'maintenance'
            WHEN 'Preempt' THEN 'the end (spot)'
            WHEN 'Terminate' THEN 'the end'
            ELSE 'a ' || lower(kind)
        END,
        substr(first, 1, 19) || 'Z',
        substr(last, 1, 19) || 'Z',
        iif(effects > 0, ', which explains ' || substr(texts, 1, 400), '')
    ) AS message,
    iif(
        effects > 0 OR kind IN ('Reboot', 'Redeploy', 'Terminate', 'Preempt'),
        'warning', 'info'
    ) AS severity,
    kind,
    first,
    last,
    announcements,
    effects,
    first_effect,
    coalesce(message, any_message) AS announcement
FROM joined
ORDER BY first, node, kind;
