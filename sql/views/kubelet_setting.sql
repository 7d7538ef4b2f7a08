-- Settings of the kubelet on each node, wherever they are set.
--
-- A flag of the command line wins over a file of `--config-dir`, the later by
-- name of these over the earlier, and any of them over the file of `--config`.
-- `key` is what a flag and a key of a file for the same thing have in common:
-- `--max-pods` and `maxPods` are both `maxpods`.
CREATE VIEW kubelet_setting (
    node, -- node that the kubelet runs on
    ts, -- when it was read
    name, -- flag with its dashes, or key of the configuration file
    value, -- value as text; lists and objects of the file are JSON
    source, -- command line, or configuration file
    key, -- what it sets: its name in lower case, without dashes
    origin, -- 'flag' or 'file'
    in_force -- 1 if the kubelet goes by it, 0 if another one overrules it
) AS
WITH
    named AS (
        SELECT
            node,
            ts,
            name,
            value,
            source,
            ord,
            name LIKE '-%' AS is_flag,
            CASE lower(replace(name, '-', ''))
                WHEN 'podmaxpids' THEN 'podpidslimit'
                ELSE lower(replace(name, '-', ''))
            END AS key
        FROM setting
        WHERE scope = 'kubelet'
    )
SELECT
    node,
    ts,
    name,
    value,
    source,
    key,
    iif(is_flag, 'flag', 'file'),
    row_number() OVER (
        PARTITION BY node, key ORDER BY is_flag DESC, ord DESC
    ) = 1
FROM named;
