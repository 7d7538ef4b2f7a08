-- title: Settings of the kubelet
--
-- What is in force, whether a flag or a file says so.
SELECT
    node,
    'kubelet-arguments' AS collector,
    NULL AS family,
    name AS item,
    coalesce(value, '') AS value
FROM kubelet_setting
WHERE in_force
