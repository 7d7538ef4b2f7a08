-- Arguments and configuration of the kubelet on each node.
CREATE VIEW kubelet_setting (
    node, -- node that the kubelet runs on
    ts, -- when it was read
    name, -- flag with its dashes, or key of the configuration file
    value, -- value as text; lists and objects of the file are JSON
    source -- command line, environment file or configuration file
) AS
SELECT node, ts, name, value, source
FROM setting
WHERE scope = 'kubelet';
