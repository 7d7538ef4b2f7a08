//! The client library against Azurite through a line that fails: what was sent is not
//! sent again, what arrived is what was sent, and each failure has words.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use periscope_blob::{Container, Content, Fetched, Kind, Reason, Uploaded};
use periscope_tests::azurite::{Azurite, block_on};
use periscope_tests::relay::{Fault, Relay};

const MIB: u64 = 1 << 20;

/// A file that does not repeat itself.
fn file(folder: &Path, bytes: u64) -> std::path::PathBuf {
    let mut seed = 1_u64;
    let mut content = Vec::with_capacity(bytes as usize);
    while (content.len() as u64) < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        content.extend_from_slice(&seed.to_le_bytes());
    }
    content.truncate(bytes as usize);
    let path = folder.join("sent.db");
    fs::write(&path, content).expect("written");
    path
}

fn upload(container: &Container, path: &Path) -> Result<Uploaded, periscope_blob::BlobError> {
    let sent = async {
        let blob = container.blob("r/n/n-1.db");
        blob.upload(Content::File(path), "text/plain", &HashMap::new()).await
    };
    let sent = block_on(sent).expect("a runtime");
    if let Err(error) = &sent {
        assert!(!error.to_string().contains("sig="), "{error}");
    }
    sent
}

fn download(container: &Container, target: &Path) -> Fetched {
    let fetched = async { container.blob("r/n/n-1.db").download(target, &|_| {}).await };
    block_on(fetched).expect("a runtime").expect("fetched")
}

struct Way {
    azurite: Azurite,
    relay: Relay,
    container: Container,
    folder: tempfile::TempDir,
}

fn way() -> Way {
    let azurite = Azurite::start().expect("azurite");
    let relay = Relay::to(azurite.port()).expect("a relay");
    azurite.container("shop").expect("a container");
    let container = azurite.container_at(relay.port(), "shop").expect("a container");
    Way { azurite, relay, container, folder: tempfile::tempdir().expect("a folder") }
}

#[test]
fn what_was_sent_before_a_line_broke_is_not_sent_again() {
    let way = way();
    let path = file(way.folder.path(), 41 * MIB + 17);
    // Each connection takes two blocks; with the tries of a request that is not all.
    way.relay.set(Fault::CutAfter(9 * MIB));
    let first = upload(&way.container, &path);
    if let Err(error) = &first {
        assert_eq!(error.kind, Kind::Away, "{error}");
    }
    // Nothing more passes; what there is stays.
    way.relay.set(Fault::Status(503));
    let error = upload(&way.container, &path).expect_err("busy");
    assert!(error.to_string().contains("busy or out of order (503"), "{error}");
    way.relay.set(Fault::None);
    match (first, upload(&way.container, &path).expect("sent")) {
        (Ok(_), Uploaded::AlreadyThere) => {}
        (Err(_), Uploaded::Sent { bytes, verified }) => {
            assert!(verified && bytes < 36 * MIB, "{bytes}");
        }
        other => panic!("{other:?}"),
    }
    let target = way.folder.path().join("fetched.db");
    let bytes = 41 * MIB + 17;
    let fetched = download(&way.container, &target);
    assert_eq!(fetched, Fetched::New { bytes, checked: Reason::Sha256 });
    assert!(fs::read(&target).expect("fetched") == fs::read(&path).expect("sent"));
}

#[test]
fn a_service_that_forgets_blocks_gets_them_again() {
    let mut way = way();
    let path = file(way.folder.path(), 20 * MIB);
    way.relay.set(Fault::CutAfter(5 * MIB));
    upload(&way.container, &path).ok();
    // Azurite keeps the list of blocks that are not committed in its memory for a while.
    way.azurite.kill();
    way.relay.set(Fault::None);
    let error = upload(&way.container, &path).expect_err("away");
    assert_eq!(error.kind, Kind::Away, "{error}");
    way.azurite.restart().expect("azurite");
    way.azurite.container("shop").expect("a container, which it may have forgotten too");
    upload(&way.container, &path).expect("sent");
    let target = way.folder.path().join("fetched.db");
    download(&way.container, &target);
    assert!(fs::read(&target).expect("fetched") == fs::read(&path).expect("sent"));
}

#[test]
fn a_fetch_goes_on_where_its_line_breaks() {
    let way = way();
    let path = file(way.folder.path(), 20 * MIB);
    upload(&way.container, &path).expect("sent");
    let before = way.relay.answered();
    way.relay.set(Fault::CutAfter(3 * MIB));
    let target = way.folder.path().join("fetched.db");
    download(&way.container, &target);
    assert!(fs::read(&target).expect("fetched") == fs::read(&path).expect("sent"));
    let came = way.relay.answered() - before;
    assert!(came < 24 * MIB, "{came}");
    assert_eq!(download(&way.container, &target), Fetched::AlreadyThere);
}

#[test]
fn a_slow_line_takes_long_and_does_not_fail() {
    let way = way();
    let path = file(way.folder.path(), 9 * MIB);
    way.relay.set(Fault::Slow(2 * MIB));
    upload(&way.container, &path).expect("sent");
    let target = way.folder.path().join("fetched.db");
    download(&way.container, &target);
    assert!(fs::read(&target).expect("fetched") == fs::read(&path).expect("sent"));
}

#[test]
fn a_busy_service_is_told_and_asked_again() {
    let way = way();
    let path = file(way.folder.path(), 1000);
    for status in [500, 503, 429] {
        way.relay.set(Fault::Status(status));
        let error = upload(&way.container, &path).expect_err("busy");
        assert_eq!(error.kind, Kind::Away, "{error}");
        assert!(error.to_string().contains(&format!("out of order ({status},")), "{error}");
    }
    way.relay.set(Fault::Status(503));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(700));
            way.relay.set(Fault::None);
        });
        upload(&way.container, &path).expect("sent by a later try");
    });
}
