//! `periscope-analyze fetch`, and `report` with a URL, against Azurite: what arrives,
//! what is said, and what becomes of it when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use periscope_store::writer::{Node, Session, Writer};
use periscope_tests::azurite::{Azurite, Right, without_times};
use periscope_tests::entra;
use periscope_tests::programs::{self, Finished};
use periscope_tests::relay::{Fault, Relay};

const CONTAINER: &str = "shop";

const MIB: usize = 1 << 20;

/// A service with a container, and a folder to fetch into.
struct Shop {
    azurite: Azurite,
    folder: tempfile::TempDir,
}

fn shop() -> Shop {
    let azurite = Azurite::start().expect("azurite");
    azurite.container(CONTAINER).expect("a container");
    Shop { azurite, folder: tempfile::tempdir().expect("a folder") }
}

impl Shop {
    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn url(&self) -> String {
        self.azurite.url(CONTAINER, &Right::to("rl")).expect("a token")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = programs::analyze().expect("built");
        command.args(words).current_dir(self.folder.path());
        command.env("XDG_CACHE_HOME", self.path("cache")).env("PATH", self.path("bin"));
        command
    }

    fn run(&self, words: &[&str]) -> Finished {
        self.finish(&mut self.command(words))
    }

    /// What a command said, with what is not the same in every run left out.
    fn finish(&self, command: &mut Command) -> Finished {
        let mut finished = programs::finish(command).expect("ran");
        for text in [&mut finished.stdout, &mut finished.stderr] {
            assert!(!text.contains("sig="), "{text}");
            *text = text
                .replace(&self.azurite.port().to_string(), "PORT")
                .replace(&self.folder.path().display().to_string(), "FOLDER");
        }
        finished
    }

    fn put(&self, blobs: &[(&str, Vec<u8>)]) {
        let blobs: Vec<_> = blobs.iter().map(|(n, c)| ((*n).to_owned(), c.clone())).collect();
        self.azurite.put_all(CONTAINER, &blobs, "").expect("put");
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// A database in which nothing was collected.
fn database(run: &str, node: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.db");
    let node = Node { name: node.to_owned(), machine_id: format!("{node}-id") };
    let session = Session {
        run_id: run.to_owned(),
        cluster: None,
        agent_version: "0".to_owned(),
        boot_id: "boot".to_owned(),
        started_ns: 0,
        process: 1,
        config: "{}".to_owned(),
    };
    Writer::create(&path, &node, &session).and_then(Writer::seal).expect("a database");
    fs::read(path).expect("a database")
}

const LIST: &str = r#"{"schema": "periscope-run/1", "run": "run-1",
    "nodes": [{"node": "node-a"}, {"node": "node-b"}, {"node": "node-c"}]}"#;

/// Two runs, the second of which began first.
fn two_runs() -> Shop {
    let shop = shop();
    shop.put(&[("run-2/node-a/node-a-9.db", database("run-2", "node-a"))]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    shop.put(&[
        ("run-1/node-a/node-a-1.db", database("run-1", "node-a")),
        ("run-1/node-b/node-b-1.db", database("run-1", "node-b")),
        ("run-1/node-a/node-a.zip", b"a zip".to_vec()),
        ("run-1/node-b/node-b.zip", b"a zip".to_vec()),
        ("run-1/run.json", LIST.as_bytes().to_vec()),
        ("something/else", b"x".to_vec()),
    ]);
    shop
}

#[test]
fn a_run_is_chosen_fetched_and_reported() {
    let shop = two_runs();
    let url = shop.url();
    let several = shop.run(&["fetch", &url, "bundle"]);
    assert_eq!(several.status, Some(2), "{several:?}");
    assert!(several.stdout.contains("run-1") && several.stdout.contains("run-2"), "{several:?}");
    insta::assert_snapshot!("several", several.stderr);

    let fetched = shop.run(&["fetch", &url, "bundle", "--latest"]);
    assert_eq!((fetched.status, fetched.stdout.as_str()), (Some(0), "bundle/run-1\n"));
    insta::assert_snapshot!("fetched", fetched.stderr);
    for node in ["node-a", "node-b"] {
        let path = format!("bundle/run-1/{node}/{node}-1.db");
        assert_eq!(shop.read(&path), database("run-1", node));
    }
    assert_eq!(shop.read("bundle/run-1/run.json"), LIST.as_bytes());
    let again = shop.run(&["fetch", &url, "bundle", "--run", "run-1"]);
    assert!(again.stderr.contains("fetched 0 files (0 B)"), "{again:?}");
    assert!(again.stderr.contains("here already: 5"), "{again:?}");

    let report = shop.run(&["report", "bundle"]);
    assert!(report.stdout.contains("Never reported: node-c (run run-1)"), "{report:?}");
    assert!(report.stdout.contains("on node-c: never reported in run run-1"), "{report:?}");
    let json = shop.run(&["report", "bundle/run-1", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["never_reported"][0]["nodes"], serde_json::json!(["node-c"]));
}

#[test]
fn a_report_takes_a_url_and_says_where_its_files_stay() {
    let shop = two_runs();
    let report = shop.run(&["report", &shop.url(), "--run", "run-1"]);
    assert_eq!(report.status, Some(0), "{report:?}");
    assert!(report.stdout.contains("2 (node-a, node-b)"), "{report:?}");
    let place = format!("cache/periscope/127.0.0.1-{}/shop/run-1", shop.azurite.port());
    let told = format!("the files stay in FOLDER/{place}")
        .replace(&shop.azurite.port().to_string(), "PORT");
    assert!(report.stderr.contains(&told), "{report:?}");
    assert!(shop.path(&place).join("node-a/node-a-1.db").exists());
    // A URL that names the run, and no command.
    let url = shop.url().replace("/shop?", "/shop/run-2?");
    let report = shop.run(&[&url]);
    assert!(report.stdout.contains("1 (node-a)"), "{report:?}");
    let twice = shop.run(&["report", &url, "--run", "run-1"]);
    assert!(twice.stderr.contains("the URL names the run run-2"), "{twice:?}");
}

#[test]
fn nodes_are_chosen_by_name() {
    let shop = two_runs();
    let words = ["fetch", &shop.url(), "bundle", "--run", "run-1", "--node", "node-b"];
    let fetched = shop.run(&words);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(!shop.path("bundle/run-1/node-a").exists());
    assert!(shop.path("bundle/run-1/node-b/node-b-1.db").exists());
    // Nobody says that a node never reported which was not asked for.
    assert!(!shop.path("bundle/run-1/run.json").exists());
    let words = ["fetch", &shop.url(), "bundle", "--run", "run-1", "--node", "node-c"];
    let unknown = shop.run(&words);
    assert_eq!(unknown.status, Some(2), "{unknown:?}");
    insta::assert_snapshot!("unknown_node", unknown.stderr);
}

#[test]
fn what_is_wrong_with_a_right_or_a_name_is_said() {
    let shop = two_runs();
    let azurite = &shop.azurite;
    let with = |right: Right| azurite.url(CONTAINER, &right).expect("a token");
    let base = format!("{}/{CONTAINER}", azurite.endpoint());
    let elsewhere = Right::to("rl").container_sas("other").expect("a token");
    let absent = azurite.url("nothing", &Right::to("rl")).expect("a token");
    let unknown = with(Right::to("rl")).replace("devstoreaccount1", "devstoreaccount2");
    let cases = [
        ("expired", with(Right::to("rl").within((-120, -60)))),
        ("not yet valid", with(Right::to("rl").within((60, 120)))),
        ("another key", with(Right::to("rl").foreign())),
        ("another container's", format!("{base}?{elsewhere}")),
        ("may write only", with(Right::to("cw"))),
        ("may list only", with(Right::to("l"))),
        ("no such container", absent),
        ("no such account", unknown),
        ("no SAS over http", base),
        ("no container", format!("{}?sp=rl&sig=x", azurite.endpoint())),
        ("no URL", "shop/logs?sp=rl&sig=x".to_owned()),
        ("a file", with(Right::to("rl")).replace("/shop?", "/shop/a/b/c.db?")),
    ];
    let mut all = Vec::new();
    for (name, url) in cases {
        let finished = shop.run(&["fetch", &url, "--run", "run-1"]);
        assert_eq!(finished.status, Some(2), "{name}: {finished:?}");
        all.push(format!("# {name}\n{}\n", finished.stderr));
    }
    assert!(!shop.path("run-1").exists());
    insta::assert_snapshot!("refusals", without_times(&all.concat()));
    // Where a URL does not belong, its signature is not repeated either.
    for words in [
        vec!["fetch", "a", "b", "https://a/b?sp=rl&sig=hunter22"],
        vec!["query", "https://a/b?sp=rl&sig=hunter22", "SELECT 1"],
        vec!["merge", "https://a/b?sp=rl&sig=hunter22", "-o", "x.db"],
        vec!["report", "here", "--run", "x", "--only", "sig=hunter22"],
    ] {
        let finished = shop.run(&words);
        assert_eq!(finished.status, Some(2), "{finished:?}");
        assert!(!finished.stderr.contains("hunter22"), "{finished:?}");
    }
}

#[test]
fn what_is_here_of_a_file_is_not_fetched_again() {
    let shop = shop();
    let content: Vec<u8> = (0..24 * MIB as u32 / 4).flat_map(u32::to_le_bytes).collect();
    shop.put(&[("run/node/node-1.db", content.clone())]);
    let relay = Relay::to(shop.azurite.port()).expect("a relay");
    let url = shop.url().replace(&shop.azurite.port().to_string(), &relay.port().to_string());
    let part = shop.path("run/node/node-1.db.part");
    fs::create_dir_all(part.parent().expect("a folder")).expect("made");
    fs::write(&part, &content[..10 * MIB]).expect("written");
    let fetched = shop.run(&["fetch", &url]);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(fetched.stderr.contains("fetched 1 file (14.00 MiB) into run"), "{fetched:?}");
    assert!(relay.answered() < 15 * MIB as u64, "{}", relay.answered());
    assert!(shop.read("run/node/node-1.db") == content);
    assert!(!part.exists());

    // What is here is of another file: its checksum tells.
    let content = database("wrong", "node");
    let md5 = md5_of(&content);
    let header = format!("x-ms-blob-content-md5: {md5}\r\n");
    let blobs = [("wrong/node/node-1.db".to_owned(), content.clone())];
    shop.azurite.put_all(CONTAINER, &blobs, &header).expect("put");
    fs::create_dir_all(shop.path("wrong/node")).expect("made");
    fs::write(shop.path("wrong/node/node-1.db.part"), "not its beginning").expect("written");
    let fetched = shop.run(&["fetch", &url, "--run", "wrong"]);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(shop.read("wrong/node/node-1.db") == content);
}

/// MD5 as the service writes it, by a program of the system.
fn md5_of(content: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("content");
    fs::write(&path, content).expect("written");
    let mut command = Command::new("sh");
    command.args(["-c", "openssl dgst -md5 -binary \"$0\" | base64"]).arg(path);
    programs::stdout_of(&mut command).expect("a hash").trim().to_owned()
}

#[test]
fn a_damaged_file_is_told_and_the_others_are_fetched() {
    let shop = shop();
    shop.put(&[("run/a/a-1.db", database("run", "a"))]);
    let blobs = [("run/b/b-1.db".to_owned(), database("run", "b"))];
    let header = format!("x-ms-meta-sha256: {}\r\n", "0".repeat(64));
    shop.azurite.put_all(CONTAINER, &blobs, &header).expect("put");
    let fetched = shop.run(&["fetch", &shop.url()]);
    assert_eq!(fetched.status, Some(2), "{fetched:?}");
    assert!(shop.path("run/a/a-1.db").exists() && !shop.path("run/b/b-1.db").exists());
    insta::assert_snapshot!("damaged", fetched.stderr);
    let report = shop.run(&["report", "run"]);
    assert!(report.stdout.contains("1 (a)"), "{report:?}");
}

#[test]
fn what_is_no_database_is_fetched_and_left_out() {
    let shop = shop();
    let text = b"this was never a database".to_vec();
    shop.put(&[("run/a/a-1.db", database("run", "a")), ("run/b/b-1.db", text)]);
    let report = shop.run(&["report", &shop.url()]);
    assert_eq!(report.status, Some(2), "{report:?}");
    assert!(report.stderr.contains("left out: ") && report.stderr.contains("b-1.db"), "{report:?}");
    assert!(report.stdout.contains("1 (a)"), "{report:?}");
}

#[test]
fn a_service_that_goes_away_leaves_what_came() {
    let mut shop = shop();
    let content: Vec<u8> = (0..24 * MIB as u32 / 4).flat_map(u32::to_le_bytes).collect();
    shop.put(&[("run/node/node-1.db", content.clone())]);
    let relay = Relay::to(shop.azurite.port()).expect("a relay");
    let url = shop.url().replace(&shop.azurite.port().to_string(), &relay.port().to_string());
    relay.set(Fault::Slow(4 * MIB as u64));
    let mut fetching = shop.command(&["fetch", &url]);
    let part = shop.path("run/node/node-1.db.part");
    let fetched = std::thread::scope(|scope| {
        let fetching = scope.spawn(|| shop.finish(&mut fetching));
        while fs::metadata(&part).map_or(0, |data| data.len()) < 8 * MIB as u64 {
            assert!(!fetching.is_finished(), "ended before it was interrupted");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        relay.set(Fault::Status(503));
        fetching.join().expect("ran")
    });
    assert_eq!(fetched.status, Some(2), "{fetched:?}");
    assert!(fetched.stderr.contains("is busy or out of order (503"), "{fetched:?}");
    assert!(fetched.stderr.contains("the same command goes on"), "{fetched:?}");
    assert!(fs::metadata(&part).expect("kept").len() >= 8 * MIB as u64);
    shop.azurite.restart().expect("azurite");
    relay.set(Fault::None);
    let fetched = shop.run(&["fetch", &url]);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(shop.read("run/node/node-1.db") == content);
}

/// The disk is a file system in memory, of the command's own.
#[test]
fn a_full_disk_is_told_and_what_came_stays() {
    let shop = shop();
    shop.put(&[("run/node/node-1.db", vec![7; 12 * MIB])]);
    fs::create_dir(shop.path("small")).expect("made");
    let script = "mount -t tmpfs -o size=6m none \"$1\" && shift && \
                  { \"$@\"; status=$?; stat -c %s small/run/node/*; exit $status; }";
    let mut inner = Command::new("unshare");
    inner.args(["--mount", "bash", "-c", script, "bash"]).arg(shop.path("small"));
    inner.arg(programs::path("periscope-analyze").expect("built"));
    inner.args(["fetch", &shop.url(), "small"]).current_dir(shop.folder.path());
    let fetched = shop.finish(&mut inner);
    assert_eq!(fetched.status, Some(2), "{fetched:?}");
    insta::assert_snapshot!("full", fetched.stderr);
    let kept: usize = fetched.stdout.trim().parse().expect("the size of what came");
    assert!(kept >= 4 * MIB, "{kept}");
}

#[test]
fn a_thousand_files_of_a_run_among_six_thousand() {
    let shop = shop();
    let name = |run: usize, at: usize| format!("run-{run}/node-{at:04}/node-{at:04}-1.db");
    let blobs: Vec<(String, Vec<u8>)> = (0..6)
        .flat_map(|run| (0..1000).map(move |at| (name(run, at), vec![run as u8; at % 7])))
        .collect();
    shop.azurite.put_all(CONTAINER, &blobs, "").expect("put");
    let all = shop.run(&["fetch", &shop.url(), "bundle"]);
    assert!(all.stderr.contains("6 runs are in"), "{all:?}");
    assert_eq!(all.stdout.matches(" 1000 ").count(), 12, "{all:?}");
    let fetched = shop.run(&["fetch", &shop.url(), "bundle", "--run", "run-3"]);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(fetched.stderr.contains("fetched 1000 files"), "{fetched:?}");
    for at in [0, 1, 500, 999] {
        let content = shop.read(&format!("bundle/{}", name(3, at)));
        assert_eq!(content, vec![3; at % 7], "{at}");
    }
    assert_eq!(fs::read_dir(shop.path("bundle/run-3")).expect("a folder").count(), 1000);
}

#[test]
fn who_is_logged_in_with_az_needs_no_sas() {
    let azurite = Azurite::start_with_tls().expect("azurite");
    azurite.container(CONTAINER).expect("a container");
    let shop = Shop { azurite, folder: tempfile::tempdir().expect("a folder") };
    let blobs = [("run/node/node-1.db", database("run", "node"))];
    for (name, content) in &blobs {
        let container = shop.azurite.container(CONTAINER).expect("a container");
        let content = periscope_blob::Content::Bytes(content);
        let metadata = std::collections::HashMap::new();
        let blob = container.blob(name);
        let sent = blob.upload(content, "application/vnd.sqlite3", &metadata);
        periscope_tests::azurite::block_on(sent).expect("a runtime").expect("sent");
    }
    let certificate = shop.azurite.certificate().expect("TLS").to_owned();
    let url = format!("{}/{CONTAINER}", shop.azurite.endpoint());
    let fetch = |folder: &str, with: &[(&str, &str)]| {
        let mut command = shop.command(&["fetch", &url, folder]);
        command.env("SSL_CERT_FILE", &certificate).envs(with.iter().copied());
        shop.finish(&mut command)
    };
    let path = shop.path("bin");
    fs::create_dir(&path).expect("made");
    let none = fetch("none", &[]);
    assert_eq!(none.status, Some(2), "{none:?}");
    assert!(none.stderr.contains("az is not installed"), "{none:?}");
    entra::write_az(&path, false).expect("a program");
    let nobody = fetch("none", &[]);
    assert_eq!(nobody.status, Some(2), "{nobody:?}");
    insta::assert_snapshot!("nobody", nobody.stderr);
    entra::write_az(&path, true).expect("a program");
    let fetched = fetch("by-az", &[]);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(fetched.stderr.contains("by the login of az"), "{fetched:?}");
    assert_eq!(shop.read("by-az/run/node/node-1.db"), database("run", "node"));

    let sas = Right::to("rl").container_sas(CONTAINER).expect("a token");
    let fetched = fetch("by-sas", &[("AZURE_STORAGE_SAS_TOKEN", &sas)]);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(fetched.stderr.contains("by a SAS"), "{fetched:?}");

    let endpoint = entra::Entra::start().expect("a server");
    let token = shop.path("token");
    fs::write(&token, entra::ASSERTION).expect("written");
    let workload = |client: &'static str| {
        [
            ("AZURE_AUTHORITY_HOST".to_owned(), endpoint.url()),
            ("AZURE_TENANT_ID".to_owned(), entra::TENANT.to_owned()),
            ("AZURE_CLIENT_ID".to_owned(), client.to_owned()),
            ("AZURE_FEDERATED_TOKEN_FILE".to_owned(), token.display().to_string()),
        ]
    };
    let with = workload(entra::CLIENT);
    let with: Vec<(&str, &str)> = with.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let fetched = fetch("by-workload", &with);
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert_eq!(endpoint.given(), ["workload"]);
    let with = workload("somebody-else");
    let with: Vec<(&str, &str)> = with.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let refused = fetch("none", &with);
    assert_eq!(refused.status, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("AADSTS700213"), "{refused:?}");
    assert!(refused.stderr.contains("federated credential"), "{refused:?}");
    assert!(!Path::new(&shop.path("none")).exists());
}
