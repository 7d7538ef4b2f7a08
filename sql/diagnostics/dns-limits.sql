-- title: Resolver files of pods are cut, or make too many queries
-- severity: warning
-- needs: kubernetes-objects
-- category: dns
-- param: wasted_percent = 50
-- param: queries = 1000
-- docs: https://learn.microsoft.com/azure/aks/dns-concepts
--
-- The kubelet makes `/etc/resolv.conf` of each pod and obeys limits: three name
-- servers, 32 search domains of 2,048 characters (6 and 256 before 1.26). What
-- is beyond them is left out, so that some names resolve on one node and not on
-- another (kubernetes, `pkg/kubelet/network/dns/dns.go`).
--
-- - `nameservers`, `search`: events `DNSConfigForming`, or the same texts in
--   the kubelet's log. The message says which line was applied. Take name
--   servers or search domains out of the DNS setting of the virtual network,
--   or out of `dnsConfig` of the pod.
-- - `node file`: event `CheckLimitsForResolvConf`, of the node's own file.
-- - `no cluster DNS`: event `MissingClusterDNS`; the kubelet was started
--   without `--cluster-dns`, and pods ask the node's servers, which know no
--   service.
-- - `wasted`: with `ndots:5`, a name like `login.microsoftonline.com` is first
--   tried with every search domain. CoreDNS, where plugin `log` is on, answered
--   `wasted_percent` of its queries with NXDOMAIN. Write such names with a dot
--   at their end, or set `ndots` to 2 in `dnsConfig` (severity `info`).
WITH
    told AS MATERIALIZED (
        SELECT
            node,
            CASE
                WHEN reason = 'MissingClusterDNS' THEN 'no cluster DNS'
                WHEN reason = 'CheckLimitsForResolvConf' THEN 'node file'
                WHEN message LIKE 'Nameserver limits%' THEN 'nameservers'
                WHEN message LIKE 'Search Line limits%' THEN 'search'
            END AS verdict,
            min(first) AS first,
            max(ts) AS last,
            sum(count) AS times,
            count(DISTINCT namespace || '/' || name)
                FILTER (WHERE kind = 'Pod') AS pods,
            max(message) AS example,
            group_concat(DISTINCT namespace || '/' || name)
                FILTER (WHERE kind = 'Pod') AS names
        FROM event
        WHERE reason IN (
            'DNSConfigForming', 'MissingClusterDNS', 'CheckLimitsForResolvConf'
        )
        GROUP BY node, 2
    ),
    logged AS (
        SELECT
            node, 'nameservers' AS verdict, min(ts) AS first, max(ts) AS last,
            count(*) AS times, max(message) AS example
        FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%Nameserver limits were exceeded%'
        GROUP BY node
        UNION ALL
        SELECT node, 'search', min(ts), max(ts), count(*), max(message)
        FROM log
        WHERE source = 'unit' AND unit = 'kubelet.service'
            AND message LIKE '%Search Line limits were exceeded%'
        GROUP BY node
    ),
    answered AS (
        SELECT
            (
                SELECT count(*) FROM log
                WHERE source = 'container' AND container = 'coredns'
                    AND message LIKE '%" NXDOMAIN %'
            ) AS wasted,
            (
                SELECT count(*) FROM log
                WHERE source = 'container' AND container = 'coredns'
                    AND message LIKE '%" NOERROR %'
            ) AS answers
    ),
    cut AS (
        SELECT node, verdict, first, last, times, pods, names, example
        FROM told
        WHERE verdict IS NOT NULL
        UNION ALL
        SELECT node, verdict, first, last, times, NULL, NULL, example
        FROM logged
        WHERE NOT EXISTS (
            SELECT 1 FROM told
            WHERE told.node = logged.node AND told.verdict = logged.verdict
        )
    )
SELECT
    node,
    first AS ts,
    format(
        CASE verdict
            WHEN 'nameservers' THEN 'the kubelet left name servers out of '
                || 'resolver files, as there are more than three%s: %s'
            WHEN 'search' THEN 'the kubelet left search domains out of '
                || 'resolver files%s: %s'
            WHEN 'no cluster DNS' THEN 'the kubelet has no cluster DNS, so '
                || 'that pods ask the servers of the node%s: %s'
            ELSE 'the resolver file of the node is beyond the limits%s: %s'
        END,
        iif(pods > 0, format(' (known pods: %d)', pods), ''),
        substr(example, 1, 300)
    ) AS message,
    iif(verdict = 'no cluster DNS', 'error', 'warning') AS severity,
    verdict,
    first,
    last,
    times,
    pods,
    names
FROM cut
UNION ALL
SELECT
    NULL, NULL,
    format(
        'CoreDNS answered %d of %d logged queries (%.0f %%) with NXDOMAIN: '
            || 'search domains are tried in vain',
        wasted, wasted + answers, 100.0 * wasted / (wasted + answers)
    ),
    'info', 'wasted', NULL, NULL, wasted, NULL, NULL
FROM answered
WHERE wasted + answers >= :queries
    AND wasted * 100 >= (wasted + answers) * :wasted_percent
ORDER BY node, verdict;
