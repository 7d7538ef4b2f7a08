-- title: Settings of the agent
--
-- What each agent was told to do, from its newest session: names of folders, of
-- the run and of the node apart. A table of several entries is left out, as
-- probes are told with what came of them.
WITH
    newest AS (
        SELECT
            raw_node.name AS node,
            config,
            row_number() OVER (
                PARTITION BY raw_node.id
                ORDER BY raw_session.started_ns DESC, raw_session.id
            ) AS age
        FROM raw_session
        JOIN raw_node ON raw_node.id = raw_session.node_id
        WHERE json_valid(config)
    ),
    listed AS (
        SELECT
            node,
            '[' || replace(json_quote(config ->> '$.toml'), '\n', '","') || ']'
                AS lines
        FROM newest
        WHERE age = 1
    ),
    line AS (
        SELECT
            listed.node,
            item.key AS ord,
            item.value AS text,
            max(iif(item.value LIKE '[%', item.key, -1)) OVER (
                PARTITION BY listed.node ORDER BY item.key
            ) AS head
        FROM listed,
            json_each(iif(json_valid(lines), lines, '[]')) AS item
    ),
    pair AS (
        SELECT
            line.node,
            coalesce(
                rtrim(ltrim(substr(head.text, 1, instr(head.text, ']')), '['),
                    ']') || '.',
                ''
            ) || substr(line.text, 1, instr(line.text, ' = ') - 1) AS item,
            substr(line.text, instr(line.text, ' = ') + 3) AS value
        FROM line
        LEFT JOIN line AS head
            ON head.node = line.node AND head.ord = line.head
        WHERE line.text LIKE '% = %' AND line.text NOT LIKE '#%'
            AND coalesce(head.text, '') NOT LIKE '[[%'
    )
SELECT
    node,
    NULL AS collector,
    NULL AS family,
    item,
    iif(
        instr(value, ' # ') > 0, substr(value, 1, instr(value, ' # ') - 1),
        value
    ) AS value
FROM pair
WHERE item NOT IN (
    'host_root', 'output', 'run_id', 'node_name', 'kubeconfig', 'run.export_dir'
)
