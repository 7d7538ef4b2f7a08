-- title: A certificate is over, soon will be, or is not trusted
-- severity: warning
-- needs: certificates
-- category: certificates
-- param: days = 30
-- docs: https://learn.microsoft.com/azure/aks/certificate-rotation
--
-- Certificates of the node's files and of the servers that it probes, judged by
-- the time at which they were collected. `soon` is the last tenth of a
-- certificate's life, at most `days`: the kubelet asks for another one after 70
-- to 90 % of that time, so one that is older is not being renewed.
--
-- - `expired`: clients refuse it now. With the kubelet's own, the node is
--   NotReady: `az aks rotate-certs` for the cluster, or reimage the node
--   (`az vmss reimage`) if only one is late.
-- - `not yet valid`: look at the clock of the node first (`clock-skew`); a
--   certificate is seldom made for the future.
-- - `untrusted`: the server shows a chain that the node does not trust. Behind
--   a firewall that opens TLS this is the firewall's own certificate: exempt
--   the names that AKS requires, as it pins its own authorities.
-- - `refused`: kubelet or containers log `x509: certificate has expired or is
--   not yet valid` (Go, `crypto/x509/verify.go`); the example names the times
--   that were compared.
--
-- `/var/lib/kubelet/pki/kubelet.crt` is passed over on nodes whose kubelet
-- serves with another certificate, as is usual on AKS.
WITH
    judged AS (
        SELECT
            *,
            CASE
                WHEN validity <> 'valid' THEN validity
                WHEN days_left < min(
                    :days,
                    (julianday(not_after) - julianday(not_before)) / 10
                ) THEN 'soon'
                WHEN verified = 0 AND position = 1 THEN 'untrusted'
            END AS verdict
        FROM certificate
    ),
    served_otherwise AS (
        SELECT DISTINCT node
        FROM kubelet_setting
        WHERE key = 'tlscertfile' AND value <> ''
            AND value <> '/var/lib/kubelet/pki/kubelet.crt'
    ),
    refused AS (
        SELECT
            node,
            coalesce(unit, path, namespace || '/' || pod || '/' || container)
                AS source,
            log.source AS origin,
            min(ts) AS first,
            max(ts) AS last,
            count(*) AS lines,
            max(message) AS example
        FROM log
        WHERE message
            LIKE '%x509: certificate has expired or is not yet valid%'
        GROUP BY 1, 2, 3
    )
SELECT
    node,
    ts,
    format(
        CASE verdict
            WHEN 'expired' THEN 'the certificate %s (%s) ended at %s, %.0f '
                || 'days before it was read'
            WHEN 'not yet valid' THEN 'the certificate %s (%s) begins to '
                || 'hold only at %s, after it was read'
            WHEN 'soon' THEN 'the certificate %s (%s) ends at %s, in %.1f '
                || 'days, and was not renewed'
            ELSE 'the certificate that %s shows (%s) is not trusted: %s'
        END,
        iif(origin = 'server' AND verdict <> 'untrusted', 'of ', '') || source,
        subject,
        CASE verdict
            WHEN 'not yet valid' THEN substr(not_before, 1, 19) || 'Z'
            WHEN 'untrusted' THEN coalesce(verification, 'nobody said why')
            ELSE substr(not_after, 1, 19) || 'Z'
        END,
        abs(days_left)
    ) AS message,
    CASE
        WHEN verdict IN ('expired', 'not yet valid') AND NOT is_authority
        THEN 'error'
        ELSE 'warning'
    END AS severity,
    verdict,
    origin,
    source,
    position,
    subject,
    issuer,
    not_before,
    not_after,
    days_left,
    verification,
    NULL AS lines,
    NULL AS example
FROM judged
WHERE verdict IS NOT NULL
    AND NOT (
        source = '/var/lib/kubelet/pki/kubelet.crt'
        AND node IN (SELECT node FROM served_otherwise)
    )
UNION ALL
SELECT
    node,
    first,
    format(
        '%d %s of %s from %s to %s: a certificate has expired or is not yet '
            || 'valid',
        lines, iif(lines = 1, 'line', 'lines'), source,
        substr(first, 1, 19) || 'Z', substr(last, 1, 19) || 'Z'
    ),
    iif(origin = 'container', 'warning', 'error'),
    'refused', 'log', source, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    lines, example
FROM refused
ORDER BY node, severity, ts, source, position;
