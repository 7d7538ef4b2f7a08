//! Tests of the views of what a node and a cluster are made of.

use super::fixture::Opened;
use super::views_tests::{bundle, check};

fn objects(jsons: &[&str]) -> Opened {
    let list: Vec<_> = jsons.iter().map(|json| format!("{{ json = '''{json}''' }}")).collect();
    bundle(&format!("object = [{}]", list.join(", ")))
}

#[test]
fn file_systems_are_shown_as_they_were_last() {
    let sample = |at: &str, name: &str, mount: &str, value: f64| {
        format!(
            r#"{{ family = "filesystem", at = "{at}", value = {value:.1},
                name = 'filesystem_{name}{{mount="{mount}"}}' }}"#
        )
        .replace('\n', " ")
    };
    let one = |at: &str, mount: &str, available: f64| {
        [
            sample(at, "size_bytes", mount, 1000.0),
            sample(at, "free_bytes", mount, available + 50.0),
            sample(at, "available_bytes", mount, available),
            sample(at, "inodes", mount, 200.0),
            sample(at, "free_inodes", mount, 50.0),
            sample(at, "read_only", mount, 0.0),
        ]
        .join(", ")
    };
    let all =
        [one("12:00:10", "/", 500.0), one("12:00:40", "/", 150.0), one("12:00:40", "/a b", 950.0)];
    check(
        &bundle(&format!("sample = [{}]", all.join(", "))),
        "SELECT node, substr(ts, 12, 8), mount, size_bytes, available_bytes, used_percent, inodes,
            free_inodes, inodes_used_percent, read_only FROM filesystem ORDER BY mount",
        &[
            "node-1|12:00:40|/|1000|150|84.200|200|50|75.000|0",
            "node-1|12:00:40|/a b|1000|950|0.000|200|50|75.000|0",
        ],
    );
}

#[test]
fn connections_are_told_by_their_end() {
    check(
        &bundle(
            r#"sample = [
                { family = "connection", at = "12:00:10", value = 7,
                  name = 'socket_connections{remote="20.1.2.3:443",state="established"}' },
                { family = "connection", at = "12:00:10", value = 2,
                  name = 'conntrack_connections{remote="[2001:db8::1]:443",state="syn_sent"}' },
                { family = "connection", at = "12:00:10", value = 9, name = 'tcp_sockets{state="listening"}' },
            ]"#
            .replace(",\n                  name", ", name")
            .as_str(),
        ),
        "SELECT source, remote, state, connections FROM connection ORDER BY source DESC",
        &["socket|20.1.2.3:443|established|7", "conntrack|[2001:db8::1]:443|syn_sent|2"],
    );
}

#[test]
fn certificates_say_how_long_they_hold() {
    let connection = bundle(
        r#"certificate = [
            { source = "/etc/kubernetes/certs/a.crt", subject = "CN=a", not_before = "2025-11-22T12:00:01Z", not_after = "2026-12-02T12:00:01Z" },
            { source = "mcr", subject = "CN=m", not_before = "2025-11-22T12:00:01Z", not_after = "2026-11-20T00:00:01Z", verified = false, verification = "expired" },
        ]"#,
    );
    check(
        &connection,
        "SELECT origin, source, subject, substr(not_after, 1, 10), days_left, verified, verification
         FROM certificate ORDER BY origin",
        &[
            "file|/etc/kubernetes/certs/a.crt|CN=a|2026-12-02|10.000|-|-",
            "server|mcr|CN=m|2026-11-20|-2.500|0|expired",
        ],
    );
}

#[test]
fn conditions_and_workloads_say_what_is_wrong() {
    let connection = objects(&[
        r#"{"kind": "Node", "metadata": {"name": "node-9"}, "status": {"conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
             "lastTransitionTime": "2026-11-22T11:00:00Z"},
            {"type": "DiskPressure", "status": "False"}]}}"#,
        r#"{"kind": "Deployment", "metadata": {"namespace": "kube-system", "name": "coredns",
            "annotations": {"meta.helm.sh/release-name": "dns", "meta.helm.sh/release-namespace": "ops"},
            "labels": {"helm.sh/chart": "coredns-1.2.3"}},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "c:1"}]}}},
            "status": {"readyReplicas": 1, "conditions": [
                {"type": "Available", "status": "False", "message": "too few"}]}}"#,
        r#"{"kind": "DaemonSet", "metadata": {"namespace": "kube-system", "name": "cns"},
            "spec": {}, "status": {"desiredNumberScheduled": 3, "numberReady": 3}}"#,
    ]);
    check(
        &connection,
        "SELECT node, seen_by, type, status, reason, since FROM node_condition ORDER BY type",
        &[
            "node-9|node-1|DiskPressure|False|-|-",
            "node-9|node-1|Ready|Unknown|NodeStatusUnknown|2026-11-22T11:00:00Z",
        ],
    );
    check(
        &connection,
        "SELECT kind, name, desired, ready, images, helm_release, message FROM workload ORDER BY name",
        &["DaemonSet|cns|3|3|-|-|-", "Deployment|coredns|2|1|c:1|dns|too few"],
    );
    check(
        &connection,
        "SELECT namespace, release, chart, objects FROM helm_release",
        &["ops|dns|coredns-1.2.3|1"],
    );
}

#[test]
fn budgets_and_endpoints_are_told() {
    let connection = objects(&[
        r#"{"kind": "PodDisruptionBudget", "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}},
            "status": {"expectedPods": 2, "currentHealthy": 1, "disruptionsAllowed": 0}}"#,
        r#"{"kind": "EndpointSlice", "metadata": {"namespace": "shop", "name": "web-x7",
            "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}],
            "endpoints": [{"addresses": ["10.244.0.5"], "conditions": {"ready": false},
                "nodeName": "node-2", "targetRef": {"kind": "Pod", "name": "web-1"}}]}"#,
    ]);
    check(
        &connection,
        "SELECT name, min_available, max_unavailable, healthy_pods, allowed_disruptions, selector
         FROM disruption_budget",
        &[r#"web|50%|-|1|0|{"app":"web"}"#],
    );
    check(
        &connection,
        "SELECT node, service, address, ports, ready, target FROM endpoint",
        &["node-2|web|10.244.0.5|80/TCP, 53/UDP|0|Pod/web-1"],
    );
}

#[test]
fn objects_of_nonsense_are_no_error() {
    let connection = objects(&[
        r#"{"kind": "Node", "metadata": {"name": "n"}, "status": {"conditions": ["x", 1, null, [2]]}}"#,
        r#"{"kind": "Deployment", "metadata": {"name": "d", "annotations": "x"},
            "spec": {"template": {"spec": {"containers": ["x"]}}}, "status": {"conditions": ["x"]}}"#,
        r#"{"kind": "EndpointSlice", "metadata": {"name": "e"}, "ports": ["x"], "endpoints": ["x", {}]}"#,
        r#"{"kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": "x"}"#,
        r#"{"kind": "Pod", "metadata": {"namespace": "s", "name": "lists", "ownerReferences": ["x", {}]},
            "spec": {"containers": ["x", {"name": "c"}], "initContainers": ["x"]},
            "status": {"conditions": ["x", {}], "containerStatuses": ["x", {"state": "x"}, 1],
                "initContainerStatuses": [[], "x"]}}"#,
        r#"{"kind": "Pod", "metadata": {"namespace": "s", "name": "texts", "ownerReferences": "x"},
            "spec": {"containers": "x", "initContainers": "x"},
            "status": {"conditions": "x", "containerStatuses": "x", "initContainerStatuses": "x"}}"#,
        r#"{"kind": "Service", "metadata": {"namespace": "kube-system", "name": "kube-dns"},
            "spec": {"ports": ["x"], "clusterIPs": "x", "selector": "x"}}"#,
        r#"{"kind": "Node", "metadata": {"name": "node-1", "labels": "x"},
            "status": {"conditions": ["x"], "nodeInfo": "x"}}"#,
        r#"{"kind": "Event", "metadata": {"name": "e"}, "involvedObject": "x", "series": "x"}"#,
    ]);
    for (view, rows) in [
        ("node_condition", "0"),
        ("workload", "1"),
        ("endpoint", "1"),
        ("disruption_budget", "1"),
        ("helm_release", "0"),
        ("certificate", "0"),
        ("node", "1"),
        ("pod", "2"),
        ("pod_status", "2"),
        ("container", "1"),
        ("container_termination", "0"),
        ("service", "1"),
        ("event", "1"),
        ("event_series", "1"),
        ("node_condition_change", "0"),
    ] {
        check(&connection, &format!("SELECT count(*) FROM (SELECT * FROM {view})"), &[rows]);
        // Counting builds no columns.
        let all = super::views_tests::rows(&connection, &format!("SELECT * FROM {view}"));
        assert_eq!(all.len().to_string(), rows, "{view}");
    }
}
