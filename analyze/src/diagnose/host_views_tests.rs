//! Tests of the views of what a node has and was set up with.

use super::views_tests::{bundle, check};

#[test]
fn the_worst_of_a_minute_is_told_for_each_resource() {
    let connection = bundle(
        r#"sample = [
            { family = "memory", name = "memory_total_bytes", at = "12:00:10", value = 1000 },
            { family = "memory", name = "memory_available_bytes", at = "12:00:10", value = 900 },
            { family = "memory", name = "memory_available_bytes", at = "12:00:40", value = 250 },
            { family = "memory", name = "memory_free_bytes", at = "12:00:40", value = 1 },
            { family = "memory", name = "memory_available_bytes", at = "12:01:10", value = 1 },
            { family = "conntrack", name = "conntrack_entries", at = "12:00:10", value = 30 },
            { family = "conntrack", name = "conntrack_max_entries", at = "12:00:11", value = 40 },
            { family = "load", name = "load_existing_tasks", at = "12:00:10", value = 500 },
            { family = "load", name = "load_max_pids", at = "12:00:10", value = 1000 },
            { family = "pressure", name = "pressure_memory_full_avg10_percent", at = "12:00:10", value = 7.5 },
            { family = "filesystem", name = 'filesystem_size_bytes{mount="/a\"b"}', at = "12:00:10", value = 200 },
            { family = "filesystem", name = 'filesystem_available_bytes{mount="/a\"b"}', at = "12:00:10", value = 50 },
            { family = "filesystem", name = 'filesystem_inodes{mount="/a\"b"}', at = "12:00:10", value = 10 },
            { family = "filesystem", name = 'filesystem_free_inodes{mount="/a\"b"}', at = "12:00:10", value = 4 },
            { family = "filesystem", name = 'filesystem_inodes{mount="/btrfs"}', at = "12:00:10", value = 0 },
            { family = "filesystem", name = 'filesystem_free_inodes{mount="/btrfs"}', at = "12:00:10", value = 0 },
        ]"#,
    );
    check(
        &connection,
        "SELECT substr(ts, 12, 8), resource, name, used_percent, used, size
         FROM host_use ORDER BY ts, resource, name",
        &[
            "12:00:00|conntrack|-|75.000|30.000|40.000",
            "12:00:00|disk|/a\"b|75.000|150.000|200.000",
            "12:00:00|inodes|/a\"b|60.000|6.000|10.000",
            "12:00:00|memory|-|75.000|750.000|1000.000",
            "12:00:00|pids|-|50.000|500.000|1000.000",
            "12:00:00|pressure|memory_full|7.500|-|-",
        ],
    );
}

#[test]
fn of_several_settings_the_kubelet_goes_by_one() {
    let connection = bundle(
        r#"setting = [
            { scope = "kubelet", name = "--max-pods", value = "30", source = "command line of pid 7" },
            { scope = "kubelet", name = "maxPods", value = "110", source = "/etc/default/kubeletconfig.json" },
            { scope = "kubelet", name = "podPidsLimit", value = "10", source = "/etc/default/kubeletconfig.json" },
            { scope = "kubelet", name = "podPidsLimit", value = "20", source = "/etc/kubelet.d/10-pids.conf" },
            { scope = "os", name = "maxPods", value = "5", source = "elsewhere" },
        ]"#,
    );
    check(
        &connection,
        "SELECT key, origin, in_force, value FROM kubelet_setting ORDER BY key, value",
        &[
            "maxpods|file|0|110",
            "maxpods|flag|1|30",
            "podpidslimit|file|0|10",
            "podpidslimit|file|1|20",
        ],
    );
}

#[test]
fn maintenance_is_told_by_events_and_by_the_condition() {
    let connection = bundle(
        r#"object = [
            { json = '{"kind":"Event","metadata":{"name":"f.1","namespace":"default"},"involvedObject":{"kind":"Node","name":"node-1"},"reason":"RedeployScheduled","message":"soon","firstTimestamp":"2026-11-22T11:00:00Z","lastTimestamp":"2026-11-22T11:10:00Z","count":3}' },
            { json = '{"kind":"Event","metadata":{"name":"f.2","namespace":"default"},"involvedObject":{"kind":"Node","name":"node-1"},"reason":"NoVMEventScheduled","message":"none"}' },
            { json = '{"kind":"Node","metadata":{"name":"node-1"},"status":{"conditions":[{"type":"VMEventScheduled","status":"True","message":"some","lastTransitionTime":"2026-11-22T11:00:05Z"},5]}}' },
        ]"#,
    );
    check(
        &connection,
        "SELECT node, substr(ts, 12, 8), substr(until, 12, 8), kind, message, count, source
         FROM maintenance ORDER BY ts",
        &[
            "node-1|11:00:00|11:10:00|Redeploy|soon|3|event",
            "node-1|11:00:05|12:00:00|Unknown|some|1|condition",
        ],
    );
}

#[test]
fn a_log_has_the_volume_of_its_lines() {
    let connection = bundle(
        r#"log = [
            { container = "shop/web-1/app", at = "12:00:00", over = "60s", times = 600, message = "x" },
            { unit = "kubelet.service", at = "12:00:30", message = "a single line" },
        ]
        sample = [{ family = "memory", name = "memory_available_bytes", at = "12:00:10", value = 5 }]"#,
    );
    check(
        &connection,
        "SELECT source, name, sum(lines), max(seconds) BETWEEN 59 AND 60, min(bytes) > 0
         FROM log_volume GROUP BY source, name",
        &["container|shop/web-1/app|600|1|1", "unit|kubelet.service|1|0|1"],
    );
}
