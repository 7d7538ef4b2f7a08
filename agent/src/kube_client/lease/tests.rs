//! Agents that share a lease, against a server that keeps it as the real one does.

use std::sync::{Arc, Mutex};

use super::super::fake::{Answer, Asked, FakeServer, list, quick};
use super::*;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/aks-periscope/leases";

fn claim(node: &str, run: &str) -> Claim {
    Claim {
        namespace: "aks-periscope".to_owned(),
        node_name: node.to_owned(),
        run_id: run.to_owned(),
        pace: Pace {
            hold: Duration::from_millis(150),
            renew: Duration::ZERO,
            look: Duration::from_millis(20),
            patience: Duration::from_millis(400),
            fresh: Duration::from_mins(1),
        },
    }
}

/// A server that keeps one lease as the real one does: versions, conflicts.
fn server() -> (FakeServer, Arc<Mutex<Option<Value>>>) {
    let lease = Arc::new(Mutex::new(None::<Value>));
    let kept = Arc::clone(&lease);
    let answer = move |asked: &Asked| {
        let mut lease = kept.lock().expect("a lease");
        let version = |lease: &Value| {
            lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
        };
        match (asked.method.as_str(), asked.path.strip_prefix(PATH)) {
            ("GET", Some("/aks-periscope-cluster-objects")) => match &*lease {
                Some(lease) => Answer::Object(lease.clone()),
                None => Answer::Status(404, "no lease"),
            },
            ("POST", Some("")) | ("PUT", Some("/aks-periscope-cluster-objects")) => {
                let known = lease.as_ref().map(version).unwrap_or_default();
                if known != version(&asked.body) {
                    return Answer::Status(409, "changed");
                }
                let mut new = asked.body.clone();
                let next = known.parse::<u32>().unwrap_or_default() + 1;
                new["metadata"]["resourceVersion"] = next.to_string().into();
                *lease = Some(new.clone());
                Answer::Object(new)
            }
            ("GET", None) => list("PodList", &pods(), None),
            _ => Answer::Status(405, "no"),
        }
    };
    (FakeServer::start(answer), lease)
}

fn pods() -> [Value; 3] {
    let pod = |name: &str, app: &str, owners: Value| {
        json!({ "metadata": {
            "name": name, "uid": format!("uid of {name}"), "labels": { "app": app },
            "ownerReferences": owners,
        }})
    };
    let set = json!([{
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "aks-periscope", "uid": "d",
        "controller": true, "blockOwnerDeletion": true,
    }]);
    [
        pod("other", "other", Value::Null),
        pod("aks-periscope-x1", "aks-periscope", set),
        pod("aks-periscope-once", "aks-periscope", Value::Null),
    ]
}

fn take(server: &FakeServer, claim: &Claim) -> Turn {
    let (_folder, host) = server.node();
    claim.take(&mut server.api(quick()), &host).expect("a turn")
}

fn held(turn: Turn) -> Box<Held> {
    match turn {
        Turn::Held(held) => held,
        Turn::NotOurs(reason) => panic!("{reason}"),
    }
}

fn not_ours(turn: Turn) -> String {
    match turn {
        Turn::Held(held) => panic!("{held:?}"),
        Turn::NotOurs(reason) => reason,
    }
}

#[test]
fn one_agent_reads_and_the_others_are_told_who() {
    let (server, lease) = server();
    let (_folder, host) = server.node();
    let mut first = held(take(&server, &claim("node-1", "run-1")));
    let made = lease.lock().expect("a lease").clone().expect("a lease");
    assert_eq!(made["spec"]["holderIdentity"], "node-1");
    let renewed = made["spec"]["renewTime"].as_str().expect("a time");
    assert_eq!(renewed.len(), "2026-11-22T12:28:03.123456Z".len());
    assert_eq!(
        made["metadata"]["ownerReferences"],
        json!([{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "aks-periscope", "uid": "d" }])
    );
    let mut api = server.api(quick());
    first.keep(&mut api, &host);
    first.complete(&mut api, &host);
    let reason = not_ours(take(&server, &claim("node-2", "run-1")));
    assert!(reason.starts_with("the agent on node-1 read them for the cluster at 2"), "{reason}");
    // Another run is read anew, whoever held the lease before.
    let second = held(take(&server, &claim("node-2", "run-2")));
    second.complete(&mut api, &host);
    let now = lease.lock().expect("a lease").clone().expect("a lease");
    assert_eq!(now["spec"]["holderIdentity"], "node-2");
    assert_eq!(now["spec"]["leaseTransitions"], 2);
    assert_eq!(now["metadata"]["annotations"][RUN], "run-2");
}

#[test]
fn a_holder_that_dies_is_followed_and_one_that_lives_is_not() {
    let (server, lease) = server();
    let (_folder, host) = server.node();
    let mut dead = held(take(&server, &claim("node-1", "run-1")));
    let mut heir = held(take(&server, &claim("node-2", "run-1")));
    let holder = || {
        lease.lock().expect("a lease").clone().expect("a lease")["spec"]["holderIdentity"].clone()
    };
    assert_eq!(holder(), "node-2");
    // Risen from the dead, it does not take the lease back.
    let mut api = server.api(quick());
    dead.keep(&mut api, &host);
    dead.complete(&mut api, &host);
    assert_eq!(holder(), "node-2");
    // A holder that renews is waited for, up to a limit.
    let waiting = claim("node-3", "run-1");
    let reason = std::thread::scope(|scope| {
        let turn = scope.spawn(|| take(&server, &waiting));
        while !turn.is_finished() {
            heir.keep(&mut api, &host);
            std::thread::sleep(Duration::from_millis(10));
        }
        not_ours(turn.join().expect("a turn"))
    });
    assert!(reason.contains("node-2") && reason.contains("not finished"), "{reason}");
}

#[test]
fn an_agent_that_restarts_goes_on_with_its_own_lease() {
    let (server, _) = server();
    drop(held(take(&server, &claim("node-1", "run-1"))));
    held(take(&server, &claim("node-1", "run-1")));
}

#[test]
fn what_is_no_lease_is_damaged() {
    for lease in [json!([]), json!({ "metadata": "x", "spec": {} }), json!("x")] {
        let server = FakeServer::start(move |_| Answer::Object(lease.clone()));
        let (_folder, host) = server.node();
        let error = claim("n", "r").take(&mut server.api(quick()), &host).expect_err("damaged");
        assert_eq!(error, ApiError::Damaged("no lease".to_owned()));
    }
}

#[test]
fn who_may_not_write_leases_is_told() {
    let server = FakeServer::start(|_| Answer::Status(403, "no"));
    let (_folder, host) = server.node();
    let error = claim("n", "r").take(&mut server.api(quick()), &host).expect_err("refused");
    assert_eq!(error, ApiError::Refused { code: 403, message: "no".to_owned() });
}
