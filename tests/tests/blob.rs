//! What the agent sends to a storage service: where it lies, and what becomes of it
//! when the service, the line or the right fails. The service is Azurite.

use std::path::Path;

use periscope_tests::azurite::{Azurite, Right, block_on};
use periscope_tests::sender::Sender;

/// Names of all blobs of a container.
fn names(azurite: &Azurite, container: &str) -> Vec<String> {
    let container = azurite.container(container).expect("a container");
    let blobs = block_on(container.list("")).expect("a runtime").expect("a list");
    blobs.into_iter().map(|blob| blob.name).collect()
}

/// Whether blobs of a run are there that a client waits for.
fn has(azurite: &Azurite, container: &str, ending: &str) -> bool {
    names(azurite, container).iter().any(|name| name.ends_with(ending))
}

/// No signature is in what was said or written.
fn no_signature(sender: &Sender) {
    let said = sender.said();
    assert!(!said.contains("sig="), "{said}");
}

#[test]
fn files_arrive_under_run_and_node_and_leave_the_outbox() {
    let azurite = Azurite::start().expect("azurite");
    let sender = Sender::new("node-a", "a1").expect("a node");
    let sas = format!("?{}", Right::to("rlacw").account_sas().expect("a token"));
    sender.send_to(&azurite.endpoint(), "shop", &sas).expect("settings");
    let mut agent = sender.start().expect("an agent");
    agent
        .wait_until("a database is sent", || {
            has(&azurite, "shop", ".db") && sender.waiting().is_empty()
        })
        .expect("sent");
    sender.write("config/DIAGNOSTIC_RUN_ID", "run-2").expect("asked");
    agent
        .wait_until("the next run is sent", || {
            names(&azurite, "shop").iter().any(|name| name.starts_with("run-2/node-a/node-a-"))
        })
        .expect("sent");
    assert!(agent.terminate().expect("an end").success());
    let names = names(&azurite, "shop");
    assert!(names.iter().any(|name| name.starts_with("run-1/node-a/node-a-")), "{names:?}");
    assert!(sender.waiting().is_empty());
    no_signature(&sender);
    assert!(Path::new(&sender.path("own/outbox")).exists());
}
