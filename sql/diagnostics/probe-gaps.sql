-- title: Nothing is known of connections for some time
-- severity: info
-- needs: probe
-- category: collection
-- docs: https://learn.microsoft.com/azure/aks/node-problem-detector
--
-- From time to time no samples were taken on this node, so nobody knows whether
-- its targets were up or down then: outages in that time are not in this
-- report, and an outage next to it has only one known end.
--
-- `silence`: the agent, or the whole machine, was stopped or starved; look at
-- the host samples and the kernel's log around `longest_from`. `restart` and
-- `reboot`: between two sessions of the agent. `clock`: the wall clock stepped.
-- `skipped`: the agent could not try, as without its CA file.
-- `SELECT * FROM probe_gap WHERE node = …` shows every gap.
SELECT
    node,
    min(ts) AS ts,
    format(
        'nothing is known of %d %s for up to %.0f s: %s, %d %s, the longest '
            || '%.0f s from %s',
        count(DISTINCT target),
        iif(count(DISTINCT target) = 1, 'target', 'targets'),
        max(unknown_s),
        reason,
        max(gaps),
        iif(max(gaps) = 1, 'time', 'times'),
        max(longest_s),
        substr(longest_from, 1, 19) || 'Z'
    ) AS message,
    reason,
    count(DISTINCT target) AS targets,
    group_concat(DISTINCT target) AS names,
    max(gaps) AS gaps,
    round(max(unknown_s), 3) AS unknown_s,
    round(max(longest_s), 3) AS longest_s,
    longest_from,
    longest_until
FROM (
    SELECT
        node,
        target,
        reason,
        min(ts) AS ts,
        count(*) AS gaps,
        sum(seconds) AS unknown_s,
        max(seconds) AS longest_s,
        ts AS longest_from,
        until AS longest_until
    FROM probe_gap
    GROUP BY node, target, reason
)
GROUP BY node, reason
ORDER BY ts, node, reason;
