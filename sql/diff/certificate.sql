-- title: Certificates
--
-- Of files of the node, and of the servers that it probes. A server of which a
-- side has none was not probed there, or did not answer: nothing is said of it.
SELECT
    node,
    iif(origin = 'server', 'probe', 'certificates') AS collector,
    iif(origin = 'server', source, NULL) AS family,
    format('%s %s, number %d', origin, source, position) AS item,
    format(
        '%s, until %s, %s', subject, substr(not_after, 1, 10),
        substr(fingerprint, 1, 12)
    ) AS value
FROM certificate
