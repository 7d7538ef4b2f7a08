//! Who reads the cluster, what is asked for, and what the others say.

use serde_json::{Value, json};

use super::*;
use crate::kube_client::fake::{Answer, Asked, FakeServer, kubeconfig, list, node, quick};

/// A server with a lease and a few objects.
fn answer(lease: &std::sync::Mutex<Value>, asked: &Asked) -> Answer {
    let mut lease = lease.lock().expect("a lease");
    if asked.path.contains("/leases") {
        return match asked.method.as_str() {
            "GET" if lease.is_null() => Answer::Status(404, "none"),
            "GET" => Answer::Object(lease.clone()),
            _ => {
                *lease = asked.body.clone();
                Answer::Object(lease.clone())
            }
        };
    }
    let named = |name: &str| json!({ "metadata": { "name": name, "uid": name } });
    match asked.path.as_str() {
        "/api/v1/nodes" => {
            let node = json!({
                "metadata": { "name": "node-1" },
                "status": { "images": [{ "names": ["x"] }], "phase": "up" },
            });
            list("NodeList", &[node], None)
        }
        "/api/v1/services" if asked.parameter("continue").is_empty() => {
            list("ServiceList", &[named("a")], Some("more"))
        }
        "/api/v1/services" => list("ServiceList", &[named("b")], None),
        "/api/v1/namespaces/kube-system/configmaps/coredns" => Answer::Object(named("coredns")),
        "/apis/apps/v1/deployments" => list("DeploymentList", &[named("d")], None),
        "/api/v1/pods" | "/api/v1/events" | "/api/v1/namespaces/aks-periscope/pods" => {
            list("List", &[], None)
        }
        _ => Answer::Status(404, "not served"),
    }
}

fn server() -> FakeServer {
    let lease = std::sync::Mutex::new(Value::Null);
    FakeServer::start(move |asked| answer(&lease, asked))
}

/// An agent in a pod of a node, with credentials for the server.
fn collector(server: &FakeServer, node_name: &str) -> (tempfile::TempDir, Host, ClusterObjects) {
    let text = kubeconfig(&format!("http://{}", server.address));
    let (folder, host) = node(&[
        ("var/lib/kubelet/kubeconfig", text.as_str()),
        ("var/run/secrets/kubernetes.io/serviceaccount/namespace", "aks-periscope\n"),
    ]);
    let pod = Host::open(folder.path()).expect("a root");
    let access = KubeAccess { in_pod: true, ..KubeAccess::default() };
    let mut collector =
        ClusterObjects::new(access, Some(Arc::new(pod)), node_name.to_owned(), "run-1".to_owned());
    collector.limits = quick();
    collector.pace = Pace {
        look: Duration::from_millis(10),
        hold: Duration::from_millis(100),
        patience: Duration::from_millis(50),
        ..Pace::default()
    };
    (folder, host, collector)
}

fn collect(collector: &mut ClusterObjects, host: &Host) -> (Result<Progress>, Batch) {
    let mut batch = Batch::new("cluster-objects");
    (collector.collect(host, &mut batch), batch)
}

#[test]
fn one_agent_reads_all_and_the_next_says_who_did() {
    let server = server();
    let (_folder, host, mut first) = collector(&server, "node-1");
    let (progress, batch) = collect(&mut first, &host);
    assert_eq!(progress.expect("no failure"), Progress::Done);
    // node-1, services a and b, coredns, deployment d.
    assert_eq!(batch.row_count(), 5, "{batch:?}");
    assert!(!batch.has_losses(), "what is not served is no loss: {batch:?}");
    let paths = server.paths();
    assert!(paths.contains(&"/apis/metrics.k8s.io/v1beta1/nodes".to_owned()), "{paths:?}");
    assert!(!paths.iter().any(|path| path.contains("secrets")), "{paths:?}");
    let asked = server.asked();
    let parameter = |path: &str, name: &str| {
        let asked = asked.iter().find(|asked| asked.path == path).expect(path);
        asked.parameter(name).to_owned()
    };
    assert_eq!(parameter("/api/v1/pods", "fieldSelector"), "status.phase=Pending");
    assert_eq!(parameter("/api/v1/events", "fieldSelector"), "type=Warning");

    let (_folder, host, mut second) = collector(&server, "node-2");
    let (progress, batch) = collect(&mut second, &host);
    let Ok(Progress::Absent(reason)) = progress else { panic!("{progress:?}") };
    assert!(reason.starts_with("the agent on node-1 read them for the cluster at "), "{reason}");
    assert_eq!(batch.row_count(), 0);
}

#[test]
fn outside_of_a_pod_a_kubeconfig_must_be_named_and_no_lease_is_taken() {
    let server = server();
    let (_folder, host, mut collector) = collector(&server, "node-1");
    collector.access.in_pod = false;
    collector.pod = None;
    let (progress, _) = collect(&mut collector, &host);
    let Ok(Progress::Absent(reason)) = progress else { panic!("{progress:?}") };
    assert!(reason.contains("hint: name a kubeconfig"), "{reason}");
    assert_eq!(server.paths(), Vec::<String>::new());

    collector.access.kubeconfig = Some("/var/lib/kubelet/kubeconfig".to_owned());
    let (progress, batch) = collect(&mut collector, &host);
    assert_eq!(progress.expect("no failure"), Progress::Done);
    assert_eq!(batch.row_count(), 5, "{batch:?}");
    assert!(!server.paths().iter().any(|path| path.contains("lease")), "{:?}", server.paths());
}

#[test]
fn without_the_right_to_the_lease_it_fails_with_a_hint() {
    let server = FakeServer::start(|_| Answer::Status(403, "no"));
    let (_folder, host, mut collector) = collector(&server, "node-1");
    let error = collect(&mut collector, &host).0.expect_err("refused").to_string();
    assert!(error.contains("lease") && error.contains("hint: "), "{error}");
}

#[test]
fn a_server_that_is_busy_is_asked_again_a_little_later() {
    let (lease, count) = (std::sync::Mutex::new(Value::Null), std::sync::atomic::AtomicU32::new(0));
    let server = FakeServer::start(move |asked| {
        // Every other request is too much.
        if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 == 0 {
            return Answer::Status(429, "slow down");
        }
        answer(&lease, asked)
    });
    let (_folder, host, mut collector) = collector(&server, "node-1");
    let (progress, batch) = collect(&mut collector, &host);
    assert_eq!(progress.expect("no failure"), Progress::Done);
    assert_eq!(batch.row_count(), 5, "{batch:?}");
}
