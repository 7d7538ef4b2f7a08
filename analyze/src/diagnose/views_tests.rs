//! Tests of [`views`](super::views) beyond what cases of diagnostics show.

use periscope_store::batch::{Batch, Issue, IssueKind, Outcome, Redaction, Setting};
use periscope_store::time::parse_rfc3339;
use periscope_store::writer::{Poll, Writer};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::fixture::{self, Opened, SECOND, START};

pub(super) fn bundle(text: &str) -> Opened {
    fixture::open(&toml::from_str(text).unwrap())
}

/// Rows of a query, columns parted by `|`, NULL as `-`.
pub(super) fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let show = |value: ValueRef<'_>| match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:.3}"),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("{bytes:?}"),
    };
    statement
        .query_map([], |row| {
            let cells: Vec<_> = (0..width).map(|at| show(row.get_ref(at).unwrap())).collect();
            Ok(cells.join("|"))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

pub(super) fn check(connection: &Connection, sql: &str, expected: &[&str]) {
    assert_eq!(rows(connection, sql), expected, "{sql}");
}

#[test]
fn cases_fill_logs_and_host_samples() {
    let connection = bundle(
        r#"nodes = ["node-1", "node-2"]
        log = [
            { unit = "kubelet.service", at = "12:00:10", level = "error", message = "no space" },
            { unit = "kubelet.service", at = "12:00:11", message = "again" },
            { node = "node-2", path = "/var/log/azure/cse.log", at = "12:00:12", message = "ok" },
            { container = "shop/web-1/app", at = "12:00:13.5", level = "info", message = "up" },
        ]
        sample = [{ family = "memory", name = "memory_available_bytes", at = "12:00:10", value = 5 }]"#,
    );
    check(
        &connection,
        "SELECT node, substr(ts, 12, 10), source, unit, path, pod, level, message
         FROM log ORDER BY ts",
        &[
            "node-1|12:00:10.0|unit|kubelet.service|-|-|error|no space",
            "node-1|12:00:11.0|unit|kubelet.service|-|-|-|again",
            "node-2|12:00:12.0|file|-|/var/log/azure/cse.log|-|-|ok",
            "node-1|12:00:13.5|container|-|-|web-1|info|up",
        ],
    );
    check(
        &connection,
        "SELECT node, substr(ts, 12, 8), family, name, value FROM sample",
        &["node-1|12:00:10|memory|memory_available_bytes|5.000"],
    );
    check(
        &connection,
        "SELECT node, collector, outcome FROM collection WHERE outcome <> 'missing'
         ORDER BY node, collector",
        &[
            "node-1|container-logs|complete",
            "node-1|host-samples|complete",
            "node-1|service-logs|complete",
            "node-2|provision-logs|complete",
        ],
    );
}

#[test]
fn gaps_say_how_long_and_why() {
    let check_gaps = |pattern: &str, expected: &[&str]| {
        let step = if pattern.contains('|') { "-3600s" } else { "-3s" };
        let connection = bundle(&format!("probe = [{{ step = '{step}', pattern = '{pattern}' }}]"));
        let sql = "SELECT reason, seconds, missing, clock_step_s, substr(ts, 12, 8),
            substr(until, 12, 8) FROM probe_gap ORDER BY ts";
        check(&connection, sql, expected);
    };
    check_gaps("ooo_ooo", &[]);
    check_gaps("oo____oo", &["silence|49.980|0|0.000|12:00:10|12:01:00"]);
    check_gaps("oo ssss oo", &["skipped|49.980|4|0.000|12:00:10|12:01:00"]);
    check_gaps("ooo__ooo", &["silence|29.980|0|0.000|12:00:20|12:00:50"]);
    check_gaps("oo ~ oo", &["clock|9.980|0|-3.000|12:00:10|12:00:17"]);
    check_gaps("oo __ | oo", &["restart|29.980|-|-|12:00:10|12:00:40"]);
    // The clock is set while no agent runs: back, before all samples but these.
    check_gaps("oo __ ~ | oo", &["restart|29.980|-|-|11:00:10|11:00:40"]);
    check_gaps(
        "oo ! o ~ | o __ | o",
        &[
            "restart|9.980|-|-|11:00:20|11:00:30",
            "restart|29.980|-|-|11:00:30|11:01:00",
            "reboot|9.980|-|-|12:00:10|12:00:20",
        ],
    );
    check_gaps(
        "oo ! oo | oo",
        &["reboot|9.980|-|-|12:00:10|12:00:20", "restart|9.980|-|-|12:00:30|12:00:40"],
    );
}

#[test]
fn availability_counts_what_is_known() {
    let connection = bundle(
        "probe = [
            { target = 'a', pattern = 'ooooooooff' },
            { target = 'b', pattern = 'oof ssssssss ooo' },
            { target = 'c', pattern = 'oo | oo' },
            { target = 'd', pattern = 'sss' },
        ]",
    );
    check(
        &connection,
        "SELECT target, ok, fail, skipped, availability, coverage, unknown_s, outages, blips,
            avg_ms
         FROM probe_availability ORDER BY target",
        &[
            "a|8|2|0|0.800|1.000|0.000|1|0|20.000",
            "b|5|1|8|0.833|0.346|85.000|0|1|20.000",
            "c|4|0|0|1.000|0.668|9.980|0|0|20.000",
            "d|0|0|3|-|1.000|0.000|0|0|-",
        ],
    );
}

#[test]
fn a_constraint_on_the_node_finds_the_same_outages() {
    let connection = bundle(
        "nodes = ['node-1', 'node-2']
         probe = [{ pattern = 'ooffoofffoo' }, { node = 'node-2', pattern = 'offo' }]",
    );
    let sql = "SELECT node, started_by, fails FROM probe_outage";
    let all = rows(&connection, &format!("{sql} ORDER BY node, ts"));
    assert_eq!(all.len(), 3);
    let one = rows(&connection, &format!("{sql} WHERE node = 'node-1' ORDER BY ts"));
    let two = rows(&connection, &format!("{sql} WHERE node = 'node-2' AND target = 'mcr'"));
    assert_eq!([one, two].concat(), all);
}

/// A node with batches of a collector, a second apart: number of the round and
/// its outcome. All but failed ones hold a setting with the batch's number.
fn rounds(batches: &[(u64, &str)]) -> Opened {
    fixture::open_files(|folder| {
        let start = parse_rfc3339(START).unwrap();
        let (node, session) = (fixture::node("node-1"), fixture::session(0, 0, start));
        let mut writer = Writer::create(&folder.join("node-1.db"), &node, &session).unwrap();
        for (seq, (round, outcome)) in batches.iter().enumerate() {
            let started_ns = start + seq as i64 * SECOND;
            let poll = Poll {
                seq: seq as u64,
                round: *round,
                started_ns,
                ended_ns: started_ns,
                outcome: fixture::outcome(outcome).unwrap(),
                message: Some(format!("{outcome} {seq}")),
            };
            writer.commit(one_setting(seq, poll.outcome), &poll).unwrap();
        }
        writer.seal().unwrap();
    })
}

fn one_setting(seq: usize, outcome: Outcome) -> Batch {
    let mut batch = Batch::new("dns-node");
    if outcome != Outcome::Failed {
        batch.setting(Setting {
            scope: "dns.node".to_owned(),
            name: "n".to_owned(),
            value: Some(seq.to_string()),
            source: "s".to_owned(),
        });
    }
    if outcome == Outcome::Partial {
        batch.issue(Issue {
            source: "/x".to_owned(),
            kind: IssueKind::Dropped,
            amount: Some(3),
            unit: Some("lines"),
            message: "full".to_owned(),
        });
        batch.redaction(Redaction { rule: "sas".to_owned(), source: "/x".to_owned(), amount: 2 });
    }
    batch
}

#[test]
fn settings_are_those_of_the_newest_round_that_did_not_fail() {
    let value = "SELECT value FROM setting";
    let collected = "SELECT outcome, message, substr(ts, 18, 2) FROM collection";
    let check_both = |batches: &[(u64, &str)], setting: &[&str], collection: &str| {
        let connection = rounds(batches);
        check(&connection, value, setting);
        check(&connection, collected, &[collection]);
    };
    check_both(&[(0, "complete"), (1, "partial")], &["1"], "partial|partial 1|01");
    check_both(&[(0, "complete"), (1, "failed")], &["0"], "failed|failed 1|01");
    check_both(&[(0, "failed")], &[], "failed|failed 0|00");
}

#[test]
fn a_round_is_as_good_as_its_worst_batch() {
    let connection = rounds(&[(0, "complete"), (0, "partial"), (0, "failed"), (0, "complete")]);
    check(
        &connection,
        "SELECT outcome, rows, issues, issue FROM collection",
        &["failed|3|1|/x: full"],
    );
    check(&connection, "SELECT value FROM setting ORDER BY value", &["0", "1", "3"]);
}

#[test]
fn a_collector_that_ran_elsewhere_only_is_missing() {
    let connection = bundle("nodes = ['node-1', 'node-2']\nprobe = [{ pattern = 'o' }]");
    check(
        &connection,
        "SELECT node, collector, outcome FROM collection ORDER BY node",
        &["node-1|probe|complete", "node-2|probe|missing"],
    );
}

#[test]
fn an_issue_met_again_is_one_row() {
    let connection = rounds(&[(0, "partial"), (1, "partial")]);
    check(
        &connection,
        "SELECT source, kind, amount, times, substr(ts, 18, 2), substr(last, 18, 2) FROM issue",
        &["/x|dropped|6|2|00|01"],
    );
    check(&connection, "SELECT rule, source, amount FROM redaction", &["sas|/x|4"]);
}

const POD: &str = r#"{"kind": "Pod", "metadata": {"namespace": "shop", "name": "web-1",
    "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true}]},
    "spec": {"nodeName": "node-1", "initContainers": [{"name": "init", "image": "i:1"}],
        "containers": [{"name": "app", "image": "a:1", "resources": {"limits": {"memory": "1Gi"}}},
            {"name": "side", "image": "s:1"}]},
    "status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "False"}],
        "initContainerStatuses": [{"name": "init", "ready": true, "restartCount": 1,
            "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}],
        "containerStatuses": [
            {"name": "side", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-11-22T11:00:00Z"}}},
            {"name": "app", "ready": false, "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}}"#;

fn objects(list: &[&str]) -> Opened {
    let objects: Vec<_> = list.iter().map(|json| format!("{{ json = '''{json}''' }}")).collect();
    bundle(&format!("object = [{}]", objects.join(", ")))
}

#[test]
fn a_pod_and_its_containers_come_out_of_the_object() {
    let connection = objects(&[POD]);
    check(
        &connection,
        "SELECT node, seen_by, namespace, name, phase, ready, containers_ready, containers,
            restarts, reason, owner, host_network FROM pod",
        &["node-1|node-1|shop|web-1|Running|0|1|2|5|CrashLoopBackOff|ReplicaSet/web|0"],
    );
    check(
        &connection,
        "SELECT container, type, image, ready, restarts, state, reason, exit_code, last_reason,
            last_exit_code, memory_limit FROM container ORDER BY container",
        &[
            "app|container|a:1|0|4|waiting|CrashLoopBackOff|-|OOMKilled|137|1Gi",
            "init|init|i:1|1|1|terminated|Completed|0|-|-|-",
            "side|container|s:1|1|0|running|-|-|-|-|-",
        ],
    );
}

#[test]
fn a_pod_without_a_status_is_a_pod() {
    let connection =
        objects(&[r#"{"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{}]}}"#]);
    check(
        &connection,
        "SELECT node, phase, ready, containers_ready, containers, restarts FROM pod",
        &["-|-|0|0|1|0"],
    );
    check(&connection, "SELECT container, state, restarts FROM container", &["-|-|0"]);
}

#[test]
fn a_service_lists_its_ports() {
    let connection = objects(&[r#"{"kind": "Service",
        "metadata": {"namespace": "kube-system", "name": "kube-dns"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.10", "selector": {"k8s-app": "kube-dns"},
            "ports": [{"port": 53, "targetPort": "dns", "protocol": "UDP"}, {"port": 9153}]}}"#]);
    check(
        &connection,
        "SELECT name, type, cluster_ip, ports, selector FROM service",
        &[r#"kube-dns|ClusterIP|10.0.0.10|53:dns/UDP, 9153:9153/TCP|{"k8s-app":"kube-dns"}"#],
    );
}

#[test]
fn an_event_has_a_time_that_sorts_whatever_its_form() {
    let connection = objects(&[
        r#"{"kind": "Event", "metadata": {"name": "old"}, "reason": "NodeNotReady", "count": 3,
            "involvedObject": {"kind": "Node", "name": "node-9"}, "type": "Warning",
            "firstTimestamp": "2026-11-22T11:00:00Z", "lastTimestamp": "2026-11-22T11:30:00Z"}"#,
        r#"{"kind": "Event", "metadata": {"name": "new"}, "reason": "Scheduled",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-1"},
            "reportingComponent": "default-scheduler", "eventTime": "2026-11-22T11:10:00.123456Z",
            "source": {}}"#,
    ]);
    check(
        &connection,
        "SELECT node, ts, first, reason, count, kind, namespace, name, component
         FROM event ORDER BY ts",
        &[
            "-|2026-11-22T11:10:00.123456000Z|2026-11-22T11:10:00.123456000Z|Scheduled|1|Pod|shop\
             |web-1|default-scheduler",
            "node-9|2026-11-22T11:30:00.000000000Z|2026-11-22T11:00:00.000000000Z|NodeNotReady|3\
             |Node|-|node-9|-",
        ],
    );
}

#[test]
fn a_node_tells_what_its_object_says() {
    let connection = bundle(
        r#"nodes = ["node-1", "node-2"]
        probe = [{ pattern = "o | o ! o" }]
        object = [{ json = '''{"kind": "Node", "metadata": {"name": "node-1",
            "labels": {"kubernetes.azure.com/agentpool": "np1"}},
            "status": {"nodeInfo": {"kubeletVersion": "v1.35.1"},
                "conditions": [{"type": "Ready", "status": "True"}]}}''' }]"#,
    );
    check(
        &connection,
        "SELECT node, sessions, boots, run_ids, kubelet_version, node_pool, ready
         FROM node ORDER BY node",
        &["node-1|3|2|run-1|v1.35.1|np1|True", "node-2|1|1|run-1|-|-|-"],
    );
}

#[test]
fn an_object_seen_twice_is_shown_once_and_broken_json_not_at_all() {
    let text = r#"nodes = ["node-1", "node-2"]
        object = [
            { json = '{"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": "old"}}' },
            { node = "node-2", at = "12:00:01", json = '{"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": "new"}}' },
        ]"#;
    check(&bundle(text), "SELECT node, json ->> '$.data.v' FROM object", &["node-2|new"]);
    let cut = "UPDATE raw_object SET json = substr(json, 1, 20)";
    let connection = fixture::open_crafted(&toml::from_str(text).unwrap(), cut);
    check(&connection, "SELECT node FROM object", &[]);
}

#[test]
fn resolvers_are_told_apart_by_layer() {
    let connection = bundle(
        r#"setting = [
            { scope = "dns.node", name = "nameserver", value = "169.254.10.10", source = "/etc/resolv.conf" },
            { scope = "dns.localdns", name = "upstream", value = "10.1.0.4 10.1.0.5", source = "/etc/localdns/upstream-dns" },
            { scope = "dns.localdns", name = "forward", value = "dns://10.1.0.4:53", source = "corefile" },
            { scope = "dns.pod", name = "nameserver", value = "fd00::a", source = "/etc/resolv.conf" },
            { scope = "kubelet", name = "clusterDNS", value = '["10.0.0.10"]', source = "file" },
        ]"#,
    );
    check(
        &connection,
        "SELECT layer, ord, value, source FROM resolver ORDER BY layer, ord",
        &[
            "kubelet|1|10.0.0.10|file",
            "localdns|1|10.1.0.4|corefile",
            "node|1|169.254.10.10|/etc/resolv.conf",
            "pod|1|fd00::a|/etc/resolv.conf",
            "vnet|1|10.1.0.4|/etc/localdns/upstream-dns",
            "vnet|2|10.1.0.5|/etc/localdns/upstream-dns",
        ],
    );
}
