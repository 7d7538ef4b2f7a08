//! Polls of the API server: what is asked for, what comes of it, and what is
//! said about the rest.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use periscope_store::batch::Mask;
use serde_json::{Value, json};

use super::record::whole_object;
use super::*;
use crate::kube_client::fake::{Answer, Asked, FakeServer, kubeconfig, list, node, quick};

/// Keeps the JSON of all objects that enter a batch, which shows none.
#[derive(Default)]
struct Kept(Mutex<Vec<Value>>);

impl Mask for Kept {
    fn mask<'a>(&self, text: &'a [u8], _: &mut dyn FnMut(&'static str)) -> Cow<'a, [u8]> {
        if text.starts_with(b"{\"apiVersion\"") {
            let object = serde_json::from_slice(text).expect("JSON");
            self.0.lock().expect("objects").push(object);
        }
        Cow::Borrowed(text)
    }
}

/// What a poll gave.
struct Given {
    progress: Result<Progress>,
    objects: Vec<Value>,
    batches: usize,
    /// The batches as text: they show their issues.
    issues: String,
}

impl Given {
    /// `Kind namespace/name` of every object.
    fn names(&self) -> Vec<String> {
        let text = |object: &Value, field: &str| {
            object["metadata"][field].as_str().unwrap_or_default().to_owned()
        };
        self.objects
            .iter()
            .map(|object| {
                let kind = object["kind"].as_str().unwrap_or_default();
                format!("{kind} {}/{}", text(object, "namespace"), text(object, "name"))
            })
            .collect()
    }

    fn error(&self) -> String {
        self.progress.as_ref().expect_err("a failure").to_string()
    }
}

fn poll_with(collector: &mut Objects, host: &Host) -> Given {
    let kept = Arc::new(Kept::default());
    let (mut batches, mut issues) = (0, String::new());
    let progress = loop {
        let mut batch = Batch::masked("t", Arc::clone(&kept) as Arc<dyn Mask>);
        let progress = collector.collect(host, &mut batch);
        batches += 1;
        writeln!(issues, "{batch:?}").expect("text");
        if !matches!(progress, Ok(Progress::More)) {
            break progress;
        }
    };
    let objects = std::mem::take(&mut *kept.0.lock().expect("objects"));
    Given { progress, objects, batches, issues }
}

fn collector(namespaces: &[&str], limits: Limits) -> Objects {
    let namespaces = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
    let access = KubeAccess::default();
    Objects { limits, ..Objects::new(access, namespaces, "node-1".to_owned()) }
}

fn poll(server: &FakeServer, namespaces: &[&str], limits: Limits) -> Given {
    let (_folder, host) = server.node();
    poll_with(&mut collector(namespaces, limits), &host)
}

fn item(namespace: &str, name: &str) -> Value {
    json!({ "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-{name}") } })
}

/// A cluster where `a` has a pod and a service, and the node an event.
fn cluster(asked: &Asked) -> Answer {
    match (asked.path.as_str(), asked.parameter("fieldSelector")) {
        ("/api/v1/namespaces/a/pods", "") => list("PodList", &[item("a", "p-1")], None),
        ("/api/v1/namespaces/a/services", "") => list("ServiceList", &[item("a", "s-1")], None),
        ("/api/v1/namespaces/a/events", "") => list("EventList", &[item("a", "e-1")], None),
        ("/api/v1/nodes/node-1", "") => Answer::Object(json!({
            "kind": "Node", "apiVersion": "v1", "metadata": { "name": "node-1" },
        })),
        ("/api/v1/events", "involvedObject.kind=Node,involvedObject.name=node-1") => {
            list("EventList", &[item("default", "e-2"), item("a", "e-1")], None)
        }
        _ => Answer::Status(404, "no such path"),
    }
}

#[test]
fn everything_asked_for_is_in_the_batch_once() {
    let server = FakeServer::start(cluster);
    let given = poll(&server, &["a"], quick());
    assert_eq!(given.progress.as_ref().expect("a poll"), &Progress::Done);
    assert_eq!(
        given.names(),
        ["Pod a/p-1", "Service a/s-1", "Node /node-1", "Event a/e-1", "Event default/e-2"]
    );
    assert!(given.issues.contains("issues: []"), "{}", given.issues);
    assert!(given.objects.iter().all(|object| object["apiVersion"] == "v1"));
    assert!(!server.paths().iter().any(|path| path.contains("secrets")));
}

#[test]
fn lists_are_read_page_by_page() {
    let server = FakeServer::start(|asked| match (&*asked.path, asked.parameter("continue")) {
        ("/api/v1/namespaces/a/pods", "") => list("PodList", &[item("a", "1")], Some("x")),
        ("/api/v1/namespaces/a/pods", "x") => list("PodList", &[item("a", "2")], Some("y")),
        ("/api/v1/namespaces/a/pods", "y") => list("PodList", &[item("a", "3")], None),
        _ => cluster(asked),
    });
    let given = poll(&server, &["a"], quick());
    assert_eq!(given.names()[..3], ["Pod a/1", "Pod a/2", "Pod a/3"]);
}

#[test]
fn a_list_that_is_gone_starts_again_once() {
    let server = FakeServer::start(|asked| match (&*asked.path, asked.parameter("continue")) {
        ("/api/v1/namespaces/a/pods", "") => list("PodList", &[item("a", "1")], Some("x")),
        ("/api/v1/namespaces/a/pods", "x") => Answer::Status(410, "expired"),
        _ => cluster(asked),
    });
    let given = poll(&server, &["a"], quick());
    let pods = server.paths().iter().filter(|path| path.ends_with("/pods")).count();
    assert_eq!(pods, 4);
    assert_eq!(given.names()[..2], ["Pod a/1", "Service a/s-1"]);
    assert!(given.issues.contains("the rest of the list is gone"), "{}", given.issues);
}

#[test]
fn what_fails_costs_only_itself() {
    let server = FakeServer::start(|asked| match &*asked.path {
        "/api/v1/namespaces/a/services" => Answer::Status(403, "no services for you"),
        "/api/v1/namespaces/a/events" => Answer::Status(500, "etcd"),
        "/api/v1/nodes/node-1" => Answer::Hang,
        _ => cluster(asked),
    });
    let given = poll(&server, &["a"], quick());
    assert_eq!(given.progress.as_ref().expect("a poll"), &Progress::Done);
    assert_eq!(given.names(), ["Pod a/p-1", "Event default/e-2", "Event a/e-1"]);
    for expected in [
        r#"source: "services in namespace a", kind: Unreadable"#,
        "refused with status 403: no services for you",
        r#"source: "events in namespace a", kind: Unreadable"#,
        "failed with status 500: etcd",
        r#"source: "node node-1", kind: Unreadable"#,
        "no answer within 300ms",
    ] {
        assert!(given.issues.contains(expected), "{expected} in {}", given.issues);
    }
}

/// A kubelet of Kubernetes 1.32 may read the pods of its own node only.
fn for_kubelet(asked: &Asked) -> Answer {
    match (asked.path.as_str(), asked.parameter("fieldSelector")) {
        ("/api/v1/pods", "spec.nodeName=node-1") => {
            list("PodList", &[item("a", "own"), item("other", "own"), item("b", "own")], None)
        }
        ("/api/v1/namespaces/c/pods", "") => list("PodList", &[item("c", "any")], None),
        (path, _) if path.contains("/services") => list("ServiceList", &[], None),
        ("/api/v1/nodes/node-1", _) => cluster(asked),
        _ => Answer::Status(403, "can only list pods with a field selector"),
    }
}

#[test]
fn a_kubelet_reads_the_pods_of_its_own_node() {
    let server = FakeServer::start(for_kubelet);
    let given = poll(&server, &["a", "b", "c"], quick());
    assert_eq!(given.names(), ["Pod c/any", "Pod a/own", "Pod b/own", "Node /node-1"]);
    let issue = |source: &str, kind: &str| format!("source: \"{source}\", kind: {kind}");
    for expected in [
        issue("pods in namespace a", "Truncated"),
        issue("pods in namespace b", "Truncated"),
        issue("events in namespace a", "Unreadable"),
        "only the pods of this node were readable".to_owned(),
    ] {
        assert!(given.issues.contains(&expected), "{expected} in {}", given.issues);
    }
    assert!(!given.issues.contains("pods in namespace c"), "{}", given.issues);
}

#[test]
fn refused_pods_are_told_when_the_poll_ends_early() {
    let server = FakeServer::start(|asked| match &*asked.path {
        "/api/v1/namespaces/a/pods" => Answer::Status(403, "not yours"),
        "/api/v1/namespaces/b/pods" => list("PodList", &[item("b", "p"), json!(7), json!(8)], None),
        "/api/v1/namespaces/c/pods" => Answer::Hang,
        _ => cluster(asked),
    });
    let limits = Limits { overall: Duration::from_millis(300), ..quick() };
    let limits = Limits { request: Duration::from_secs(1), ..limits };
    let given = poll(&server, &["a", "b", "c"], limits);
    assert_eq!(given.names(), ["Pod b/p"]);
    for expected in [
        r#"source: "pods in namespace a", kind: Unreadable"#,
        "refused with status 403: not yours",
        r#"source: "pods in namespace b", kind: Damaged, amount: Some(2)"#,
        r#"source: "pods in namespace c", kind: Truncated"#,
    ] {
        assert!(given.issues.contains(expected), "{expected} in {}", given.issues);
    }
}

#[test]
fn where_everything_is_refused_the_poll_fails() {
    let server = FakeServer::start(|_| Answer::Status(403, "nothing for you"));
    let given = poll(&server, &["a"], quick());
    let error = given.error();
    assert!(
        error.starts_with("every request was refused, the first so: API server 127."),
        "{error}"
    );
    assert!(error.contains("403: nothing for you\nhint: "), "{error}");
    let server = FakeServer::start(|_| Answer::Status(500, "etcd"));
    let error = poll(&server, &["a"], quick()).error();
    assert!(error.starts_with("every request failed, the first so: API server 127."), "{error}");
}

#[test]
fn where_no_server_answers_there_is_none() {
    let absent = |given: Given| match given.progress.expect("an outcome") {
        Progress::Absent(reason) => reason,
        progress => panic!("{progress:?}"),
    };
    let server = FakeServer::start(|_| Answer::Hang);
    let reason = absent(poll(&server, &["a", "b"], quick()));
    assert!(reason.starts_with("no API server in reach: API server 127.0.0.1:"), "{reason}");
    assert!(reason.ends_with("no answer within 300ms"), "{reason}");
    assert_eq!(server.paths().len(), 1);

    let (_folder, host) = node(&[]);
    let reason = absent(poll_with(&mut collector(&["a"], quick()), &host));
    assert_eq!(reason, "no API server in reach: no kubeconfig at /var/lib/kubelet/kubeconfig");

    let text = kubeconfig("http://127.0.0.1:1");
    let (_folder, host) = node(&[("var/lib/kubelet/kubeconfig", &text)]);
    let reason = absent(poll_with(&mut collector(&["a"], quick()), &host));
    assert!(reason.ends_with("Connection refused (os error 111)"), "{reason}");
}

#[test]
fn a_server_that_goes_away_is_a_loss() {
    let server = FakeServer::start(|asked| match &*asked.path {
        "/api/v1/namespaces/a/pods" => cluster(asked),
        _ => Answer::Close,
    });
    let given = poll(&server, &["a"], quick());
    assert_eq!(given.progress.as_ref().expect("a poll"), &Progress::Done);
    assert_eq!(given.names(), ["Pod a/p-1"]);
    assert!(given.issues.contains("cannot be reached"), "{}", given.issues);
}

#[test]
fn objects_bytes_and_time_of_a_poll_are_bounded() {
    let many: Vec<_> = (0..5).map(|at| item("a", &format!("p-{at}"))).collect();
    let server = FakeServer::start(move |asked| match &*asked.path {
        "/api/v1/namespaces/a/pods" => list("PodList", &many, Some("x")),
        _ => cluster(asked),
    });
    let given = poll(&server, &["a"], Limits { objects: 3, ..quick() });
    assert_eq!(given.names(), ["Pod a/p-0", "Pod a/p-1", "Pod a/p-2"]);
    assert!(given.issues.contains("kind: Truncated, amount: Some(9)"), "{}", given.issues);

    let given = poll(&server, &["a"], Limits { bytes: 700, ..quick() });
    assert_eq!(given.names().len(), 5);
    assert!(given.issues.contains("larger than the 700 bytes"), "{}", given.issues);

    let slow = FakeServer::start(|asked| match &*asked.path {
        "/api/v1/namespaces/a/pods" => cluster(asked),
        _ => Answer::Hang,
    });
    let limits = Limits { overall: Duration::from_millis(500), ..quick() };
    let given = poll(&slow, &["a"], limits);
    assert_eq!(given.names(), ["Pod a/p-1"]);
    assert!(given.issues.contains("the poll took longer than"), "{}", given.issues);
    assert_eq!(slow.paths().len(), 3);
}

#[test]
fn a_full_batch_is_handed_over_and_the_poll_goes_on() {
    let large: Vec<_> = (0..6)
        .map(|at| {
            let mut pod = item("a", &format!("p-{at}"));
            pod["spec"] = "x".repeat(1 << 20).into();
            pod
        })
        .collect();
    let server = FakeServer::start(move |asked| match &*asked.path {
        "/api/v1/namespaces/a/pods" => list("PodList", &large, None),
        _ => cluster(asked),
    });
    let (_folder, host) = server.node();
    let mut collector = collector(&["a"], Limits { request: Duration::from_secs(10), ..quick() });
    let given = poll_with(&mut collector, &host);
    assert_eq!((given.batches, given.names().len()), (4, 10));
    let asked = server.paths().len();
    let again = poll_with(&mut collector, &host);
    assert_eq!((again.names().len(), server.paths().len()), (10, 2 * asked));
}

#[test]
fn objects_lose_their_secrets_and_what_repeats_them() {
    let pod = json!({
        "metadata": {
            "name": "p", "namespace": "a", "uid": "u", "managedFields": [{ "manager": "kubectl" }],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"password\":\"hunter2\"}",
                "kept": "yes",
            },
        },
        "spec": { "containers": [{
            "command": ["sh", "-c", "run"],
            "args": ["--password=hunter2", "--token", "hunter2", "--token-file", "/etc/token", "--v=2"],
            "env": [
                { "name": "DB_PASSWORD", "value": "hunter2" },
                { "name": "HTTPS_PROXY", "value": "http://bob:hunter2@10.0.0.4:3128" },
                { "name": "TOKEN_PATH", "value": "/var/run/token" },
                { "name": "API_TOKEN", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
            ],
        }] },
    });
    let Value::Object(fields) = pod else { panic!("an object") };
    let (object, masked) = whole_object(&PODS, fields);
    assert_eq!((object.kind.as_str(), object.uid.as_deref()), ("Pod", Some("u")));
    assert_eq!((object.namespace.as_deref(), object.name.as_str()), (Some("a"), "p"));
    assert!(object.json.starts_with(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"#));
    assert!(!object.json.contains("hunter2") && !object.json.contains("manager"));
    for kept in ["/var/run/token", "/etc/token", "--v=2", "10.0.0.4:3128", "bob", "kept"] {
        assert!(object.json.contains(kept), "{kept} in {}", object.json);
    }
    assert_eq!(
        masked,
        [
            "last-applied-configuration",
            "secret-argument",
            "secret-argument",
            "secret-env",
            "proxy-credentials",
        ]
    );
}

/// Against a real cluster: `PERISCOPE_LAB_KUBECONFIG` names a kubeconfig, and
/// `PERISCOPE_LAB_NODE` a node of its cluster.
#[test]
fn a_real_cluster_is_read() {
    let Some(path) = std::env::var_os("PERISCOPE_LAB_KUBECONFIG") else {
        println!("skipped: PERISCOPE_LAB_KUBECONFIG names no kubeconfig");
        return;
    };
    let host = Host::open(std::path::Path::new("/")).expect("a root");
    let access = KubeAccess {
        kubeconfig: Some(path.into_string().expect("a path")),
        ..KubeAccess::default()
    };
    let node = std::env::var("PERISCOPE_LAB_NODE").unwrap_or_default();
    let namespaces = ["default", "kube-system"].map(str::to_owned).to_vec();
    let given = poll_with(&mut Objects::new(access, namespaces, node.clone()), &host);
    println!("{:?}\n{}", given.progress, given.issues);
    for name in given.names() {
        println!("{name}");
    }
    assert_eq!(given.progress.as_ref().expect("a poll"), &Progress::Done);
    assert!(given.names().contains(&format!("Node /{node}")));
    assert!(given.objects.iter().all(|object| object["metadata"]["uid"].is_string()));
}
