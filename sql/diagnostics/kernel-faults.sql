-- title: The kernel reports a fault
-- severity: error
-- needs: service-logs
-- category: node
-- docs: https://learn.microsoft.com/azure/aks/node-problem-detector
--
-- Lines of the kernel that node-problem-detector looks for too
-- (config/kernel-monitor.json and readonly-monitor.json), and some that it does
-- not. Error: a disk or its file system (`read-only`, `ext4`, `I/O`, `xfs`),
-- the hardware, a crash of kernel code (`oops`). Replace the node: `kubectl
-- drain`, then reimage it; an oops that comes back belongs to the distribution,
-- with the trace that follows it.
--
-- Warning: something waits too long. `hung task`: a process waited for two
-- minutes, mostly for a disk: see `disk-pressure` and the throttling of the
-- disk's size in Azure's metrics. `lockup` and `stall`: a processor did not
-- come to other work for 20 s, on a virtual machine often because the host had
-- stopped it: compare with `azure-maintenance`. `net device`: a network
-- namespace cannot go; with one line in ten seconds a leaked reference.
--
-- Floppy and CD drives, which every machine of Azure pretends to have, are left
-- out, and processes killed for want of memory are in `out-of-memory`.
WITH
    line AS (
        SELECT node, ts, 'read-only' AS fault, message
        FROM log
        WHERE unit = 'kernel'
            AND message LIKE '%Remounting filesystem read-only%'
        UNION ALL
        SELECT node, ts, 'ext4', message
        FROM log
        WHERE unit = 'kernel' AND message LIKE '%EXT4-fs error %'
        UNION ALL
        SELECT node, ts, 'I/O', message
        FROM log
        WHERE unit = 'kernel'
            AND message LIKE '%I/O error%'
            AND message NOT LIKE '%dev fd0%'
            AND message NOT LIKE '%dev sr0%'
            AND message NOT LIKE '%XFS%'
        UNION ALL
        SELECT node, ts, 'xfs', message
        FROM log
        WHERE unit = 'kernel'
            AND message LIKE '%Shutting down filesystem%'
            AND message LIKE '%XFS%'
        UNION ALL
        SELECT node, ts, 'hardware', message
        FROM log
        WHERE unit = 'kernel'
            AND message LIKE '%[Hardware Error]: event severity: fatal%'
        UNION ALL
        SELECT node, ts, 'oops', message
        FROM log
        WHERE unit = 'kernel' AND message LIKE '%BUG: unable to handle %'
        UNION ALL
        SELECT node, ts, 'oops', message
        FROM log
        WHERE unit = 'kernel'
            AND message LIKE '%BUG: kernel NULL pointer dereference%'
        UNION ALL
        SELECT node, ts, 'oops', message
        FROM log
        WHERE unit = 'kernel' AND message LIKE '%Kernel panic - not syncing%'
        UNION ALL
        SELECT node, ts, 'hung task', message
        FROM log
        WHERE unit = 'kernel'
            AND message LIKE '%task %:% blocked for more than %'
        UNION ALL
        SELECT node, ts, 'lockup', message
        FROM log
        WHERE unit = 'kernel' AND message LIKE '%BUG: soft lockup - CPU#%'
        UNION ALL
        SELECT node, ts, 'stall', message
        FROM log
        WHERE unit = 'kernel' AND message LIKE '%self-detected stall on CPU%'
        UNION ALL
        SELECT node, ts, 'net device', message
        FROM log
        WHERE unit = 'kernel'
            AND message LIKE '%unregister_netdevice: waiting for %'
    ),
    -- What it is about: a device, a process, a processor.
    placed AS (
        SELECT
            *,
            CASE
                WHEN fault = 'I/O' AND instr(message, 'dev ') > 0
                THEN substr(message, instr(message, 'dev ') + 4)
                WHEN fault = 'ext4' AND instr(message, 'device ') > 0
                THEN substr(message, instr(message, 'device ') + 7)
                WHEN fault IN ('read-only', 'xfs') AND instr(message, '(') > 0
                THEN substr(message, instr(message, '(') + 1)
                WHEN fault = 'hung task'
                THEN substr(message, instr(message, 'task ') + 5)
                WHEN fault = 'net device'
                THEN substr(message, instr(message, 'waiting for ') + 12)
                ELSE ''
            END AS tail
        FROM line
    ),
    counted AS (
        SELECT
            node,
            fault,
            min(ts) AS ts,
            max(ts) AS until,
            count(*) AS lines,
            rtrim(substr(tail, 1, instr(
                replace(replace(replace(tail, ',', ' '), ')', ' '), ':', ' ')
                    || ' ', ' '
            ) - 1)) AS subject,
            min(message) AS said
        FROM placed
        GROUP BY
            node,
            fault,
            rtrim(substr(tail, 1, instr(
                replace(replace(replace(tail, ',', ' '), ')', ' '), ':', ' ')
                    || ' ', ' '
            ) - 1))
    )
SELECT
    node,
    ts,
    format(
        'the kernel reports %s%s %d %s from %s to %s: %s',
        CASE fault
            WHEN 'read-only' THEN 'a file system that became read-only'
            WHEN 'ext4' THEN 'an error of an ext4 file system'
            WHEN 'I/O' THEN 'an I/O error'
            WHEN 'xfs' THEN 'an xfs file system that shut down'
            WHEN 'hardware' THEN 'a fatal error of the hardware'
            WHEN 'oops' THEN 'a crash of its own code'
            WHEN 'hung task' THEN 'a task that hangs'
            WHEN 'lockup' THEN 'a processor that was locked up'
            WHEN 'stall' THEN 'a processor that stalled'
            ELSE 'a network device that is not let go'
        END,
        coalesce(' (' || nullif(subject, '') || ')', ''),
        lines,
        iif(lines = 1, 'time', 'times'),
        substr(ts, 1, 19) || 'Z',
        substr(until, 1, 19) || 'Z',
        substr(said, 1, 200)
    ) AS message,
    CASE
        WHEN fault IN ('hung task', 'lockup', 'stall', 'net device')
        THEN 'warning'
        ELSE 'error'
    END AS severity,
    fault,
    nullif(subject, '') AS subject,
    lines,
    until,
    said
FROM counted
ORDER BY ts, node, fault, subject;
