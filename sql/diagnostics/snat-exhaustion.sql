-- title: Outbound connections may run out of SNAT ports
-- severity: warning
-- needs: probe, host-samples
-- category: network
-- param: connections = 900
-- param: around_s = 60
-- docs: https://learn.microsoft.com/azure/aks/load-balancer-standard
--
-- Suspected, not proved: only Azure sees its ports. All connections of a node
-- to one public address and port share the SNAT ports of that node; the
-- standard load balancer gives 1,024 to each in a small cluster. From the
-- 1,025th on, new connections time out while those that are open, private
-- targets and other public ones go on.
--
-- - `suspected`: a public target of the probes timed out while connecting, and
--   from `around_s` before to `around_s` after that at least `connections`
--   connections to one public end were established.
-- - `many`: so many connections and no failure (severity `info`).
--
-- Prove it in Azure Monitor: metric *SNAT Connection Count* of the load
-- balancer, split by state *Failed*, or *Dropped packets* of the NAT gateway.
-- Then reuse connections (keep-alive, pools), use private endpoints, raise
-- `--load-balancer-outbound-ports`, or use a NAT gateway. Which pods they are
-- of: on the node `conntrack -L -d ADDRESS -p tcp`.
WITH
    crowd AS MATERIALIZED (
        SELECT
            node, ts, ts_ns, value AS connections,
            substr(name, instr(name, 'remote="') + 8,
                instr(name, '",state="') - instr(name, 'remote="') - 8)
                AS remote
        FROM sample
        WHERE family = 'connection' AND value >= :connections
            AND name LIKE '%{remote="%",state="established"}'
    ),
    -- Addresses that no load balancer translates.
    public AS MATERIALIZED (
        SELECT * FROM crowd
        WHERE remote GLOB '[0-9]*.[0-9]*.[0-9]*.[0-9]*:[0-9]*'
            AND remote NOT GLOB '10.*' AND remote NOT GLOB '127.*'
            AND remote NOT GLOB '192.168.*' AND remote NOT GLOB '169.254.*'
            AND remote NOT GLOB '168.63.129.16:*' AND remote NOT GLOB '0.*'
            AND NOT (
                remote GLOB '172.*'
                AND CAST(substr(remote, 5) AS INT) BETWEEN 16 AND 31
            )
            AND NOT (
                remote GLOB '100.*'
                AND CAST(substr(remote, 5) AS INT) BETWEEN 64 AND 127
            )
    ),
    ends AS MATERIALIZED (
        SELECT
            node, remote, min(ts) AS first, max(ts) AS last,
            count(*) AS samples, max(connections) AS most
        FROM public
        GROUP BY node, remote
    ),
    beside AS (
        SELECT DISTINCT
            probe_incident.node,
            probe_incident.target,
            public.remote,
            probe_incident.ts,
            probe_incident.fails
        FROM probe_incident
        JOIN public ON public.node = probe_incident.node
            AND public.ts_ns BETWEEN
                probe_incident.ts_ns - :around_s * 1000000000
                AND probe_incident.ended_ns + :around_s * 1000000000
        WHERE probe_incident.phase = 'tcp'
            AND probe_incident.error_class = 'timeout'
            AND probe_incident.kind NOT IN ('api-server', 'tunnel')
    ),
    failed AS (
        SELECT node, target, remote, min(ts) AS first, sum(fails) AS fails
        FROM beside
        GROUP BY node, target, remote
    ),
    judged AS (
        SELECT
            ends.*,
            count(failed.target) AS targets,
            group_concat(failed.target, ', ' ORDER BY failed.target) AS names,
            sum(failed.fails) AS fails,
            min(failed.first) AS first_failure
        FROM ends
        LEFT JOIN failed
            ON failed.node = ends.node AND failed.remote = ends.remote
        GROUP BY ends.node, ends.remote
    )
SELECT
    node,
    coalesce(first_failure, first) AS ts,
    format(
        'up to %d connections to %s were open from %s to %s%s',
        most, remote, substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z',
        iif(
            targets > 0,
            format(
                ', and connecting to %s timed out %d times meanwhile: '
                    || 'exhaustion of SNAT ports is suspected', names, fails
            ),
            ''
        )
    ) AS message,
    iif(targets > 0, 'warning', 'info') AS severity,
    iif(targets > 0, 'suspected', 'many') AS verdict,
    remote,
    CAST(most AS INT) AS connections,
    first,
    last,
    samples,
    names AS failed_targets,
    fails,
    first_failure
FROM judged
ORDER BY severity DESC, node, most DESC, remote;
