-- Maintenance of Azure that was announced for the virtual machine of a node.
--
-- The node problem detector of AKS polls the scheduled events of the instance
-- metadata service and tells of them twice: as events of the node, one reason a
-- kind, and as node condition VMEventScheduled, which does not say the kind.
CREATE VIEW maintenance (
    node, -- node whose machine it is
    ts, -- when it was first announced
    until, -- when it was last announced
    kind, -- Freeze, Reboot, Redeploy, Terminate, Preempt; Unknown if not told
    message, -- what was announced
    count, -- how often
    source -- 'event', or 'condition' of the node
) AS
SELECT
    node,
    first,
    ts,
    CASE reason
        WHEN 'VMEventScheduled' THEN 'Unknown'
        ELSE replace(reason, 'Scheduled', '')
    END,
    message,
    count,
    'event'
FROM event
WHERE kind = 'Node'
    AND reason IN (
        'FreezeScheduled', 'RebootScheduled', 'RedeployScheduled',
        'TerminateScheduled', 'PreemptScheduled', 'VMEventScheduled'
    )
UNION ALL
SELECT
    node,
    substr(
        rtrim(since, 'Z') || CASE WHEN since LIKE '%.%' THEN '' ELSE '.' END
            || '000000000', 1, 29
    ) || 'Z',
    ts,
    'Unknown',
    message,
    1,
    'condition'
FROM node_condition
WHERE type = 'VMEventScheduled' AND status = 'True';
