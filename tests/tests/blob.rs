//! What the agent sends to a storage service: where it lies, and what becomes of it
//! when the service, the line or the right fails. The service is Azurite.

use std::fs;
use std::path::Path;
use std::process::Command;

use periscope_tests::agent::Agent;
use periscope_tests::azurite::{ACCOUNT, Azurite, Right, block_on, without_times};
use periscope_tests::entra::{self, Entra};
use periscope_tests::relay::{Fault, Relay};
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
    for folder in ["own/live", "own/outbox"] {
        for run in fs::read_dir(sender.path(folder)).into_iter().flatten().flatten() {
            for file in fs::read_dir(run.path()).into_iter().flatten().flatten() {
                let bytes = fs::read(file.path()).unwrap_or_default();
                let has_one = bytes.windows(4).any(|part| part == b"sig=");
                assert!(!has_one, "{}", file.path().display());
            }
        }
    }
}

/// Waits until a sender's files have arrived, and ends it.
fn arrives(sender: &Sender, mut agent: Agent, azurite: &Azurite, container: &str) {
    let is_there = || has(azurite, container, ".zip") && sender.waiting().is_empty();
    agent.wait_until("the files are sent", is_there).expect("sent");
    assert!(agent.terminate().expect("an end").success());
    no_signature(sender);
}

/// Waits until an agent says why nothing arrives, which it keeps. What it said.
fn is_refused(sender: &Sender, mut agent: Agent, word: &str) -> String {
    let is_told = || sender.said().contains(word) && !sender.waiting().is_empty();
    agent.wait_until(word, is_told).expect("told");
    assert!(agent.terminate().expect("an end").success());
    assert!(!sender.waiting().is_empty(), "the file is gone:\n{}", sender.said());
    no_signature(sender);
    let said = sender.said();
    let line = said.lines().find(|line| line.contains(word)).unwrap_or_default();
    let (_, text) = line.split_once(word).unwrap_or_default();
    let text = text.split(" source=").next().unwrap_or_default();
    format!("{word}{}", without_numbers(text))
}

/// A text in which the numbers of files are left out, which are times.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split("/node-a-");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("/node-a-NUMBER");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
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
    assert!(names.contains(&"run-1/node-a/node-a.zip".to_owned()), "{names:?}");
    assert!(sender.waiting().is_empty());
    no_signature(&sender);
    assert!(Path::new(&sender.path("own/outbox")).exists());
}

/// What is told of a token before a file is sent, and what the service says of one
/// that nothing is seen of.
#[test]
fn what_is_wrong_with_a_right_is_told_and_files_stay() {
    let azurite = Azurite::start().expect("azurite");
    azurite.container("shop").expect("a container");
    let account = |right: Right| right.account_sas().expect("a token");
    let container = |right: Right, name: &str| right.container_sas(name).expect("a token");
    let endpoint = azurite.endpoint();
    let elsewhere = endpoint.replace("devstoreaccount1", "devstoreaccount2");
    let blocked = "no file can be exported, all are kept: ";
    let cases = [
        ("expired", "shop", account(Right::to("rcw").within((-120, -60))), "no file will arrive: "),
        ("future", "shop", account(Right::to("rcw").within((60, 120))), "no file will arrive: "),
        ("read only", "shop", account(Right::to("rl")), "no file will arrive: "),
        ("too much", "shop", account(Right::to("rlacwd")), "files will arrive, at a risk: "),
        ("another key", "shop", account(Right::to("rcw").foreign()), blocked),
        ("another container", "shop", container(Right::to("rcw"), "other"), blocked),
        ("expired, refused", "shop", account(Right::to("rcw").within((-120, -60))), blocked),
        ("no container", "none-here", container(Right::to("rcw"), "none-here"), blocked),
        ("no such account", "shop", account(Right::to("rcw")), blocked),
        ("no SAS", "shop", "hunter22".to_owned(), blocked),
    ];
    let azurite = &azurite;
    let told: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .map(|(name, to, sas, word)| {
                let is_wrong = *name == "no such account";
                let endpoint = if is_wrong { &elsewhere } else { &endpoint };
                scope.spawn(move || {
                    let sender = Sender::new("node-a", "a1").expect("a node");
                    sender.send_to(endpoint, to, sas).expect("settings");
                    let agent = sender.start().expect("an agent");
                    if *name == "too much" {
                        arrives(&sender, agent, azurite, to);
                        let said = sender.said();
                        let line = said.lines().find(|line| line.contains(word)).expect(word);
                        let line = line.split(" source=").next().unwrap_or_default();
                        return format!("{name}: {}", &line[line.find(word).expect(word)..]);
                    }
                    let told = is_refused(&sender, agent, word);
                    assert!(!sender.said().contains("hunter22"), "{}", sender.said());
                    format!("{name}: {told}")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("as it should")).collect()
    });
    let told = told.join("\n").replace(&azurite.port().to_string(), "PORT");
    insta::assert_snapshot!("rights", without_times(&told));
}

#[test]
fn an_account_that_does_not_exist_has_no_address() {
    let sender = Sender::new("node-a", "a1").expect("a node");
    let sas = Right::to("rcw").account_sas().expect("a token");
    sender.send_to("https://shopp.blob.lab.invalid", "shop", &sas).expect("settings");
    // No network but loopback: nobody is asked for the name.
    let command = sender.command().expect("built");
    let mut alone = Command::new("unshare");
    alone.arg("--net").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => alone.env(name, value),
            None => alone.env_remove(name),
        };
    }
    let agent = Agent::start(&mut alone, &sender.path("log")).expect("an agent");
    let told = is_refused(&sender, agent, "there is no host shopp.blob.lab.invalid");
    assert!(told.contains("is the name of the storage account right"), "{told}");
}

#[test]
fn another_node_of_the_same_name_is_not_written_over() {
    let azurite = Azurite::start().expect("azurite");
    let sas = Right::to("rcw").account_sas().expect("a token");
    let node = |machine_id: &str| {
        let sender = Sender::new("node-a", machine_id).expect("a node");
        sender.send_to(&azurite.endpoint(), "shop", &sas).expect("settings");
        // Numbers of files begin with the time; here both begin alike.
        let live = sender.path("own/outbox/run-0");
        fs::create_dir_all(&live).expect("made");
        fs::write(live.join("node-a-4000000000000000.db"), machine_id).expect("written");
        sender
    };
    let (one, two) = (node("a1"), node("b2"));
    let agent = one.start().expect("an agent");
    arrives(&one, agent, &azurite, "shop");
    let agent = two.start().expect("an agent");
    let told = is_refused(&two, agent, "is of another node");
    assert!(told.contains("give each cluster a container of its own"), "{told}");
    let left: Vec<_> = two.waiting();
    assert!(left[0].ends_with("run-0/node-a-4000000000000000.db"), "{left:?}");
    let container = azurite.container("shop").expect("a container");
    let target = one.path("fetched");
    let blob = container.blob("run-0/node-a/node-a-4000000000000000.db");
    let fetched = async { blob.download(&target, &|_| {}).await };
    block_on(fetched).expect("a runtime").expect("fetched");
    assert_eq!(fs::read_to_string(target).expect("fetched"), "a1");
}

#[test]
fn a_service_that_is_away_or_busy_gets_the_files_later() {
    let mut azurite = Azurite::start().expect("azurite");
    azurite.container("shop").expect("a container");
    let relay = Relay::to(azurite.port()).expect("a relay");
    relay.set(Fault::Status(503));
    let sender = Sender::new("node-a", "a1").expect("a node");
    let sas = Right::to("rcw").container_sas("shop").expect("a token");
    sender.send_to(&azurite.endpoint_at(relay.port()), "shop", &sas).expect("settings");
    let mut agent = sender.start().expect("an agent");
    let is_busy = || sender.said().contains("is busy or out of order (503");
    agent.wait_until("it is told that the service is busy", is_busy).expect("told");
    // Away: whoever asks is refused.
    azurite.kill();
    relay.set(Fault::None);
    let broke = || sender.said().contains("the connection to 127.0.0.1 broke off");
    agent.wait_until("it is told that nobody answers", broke).expect("told");
    assert!(!sender.waiting().is_empty());
    azurite.restart().expect("azurite");
    arrives(&sender, agent, &azurite, "shop");
}

#[test]
fn a_proxy_passes_files_to_a_name_that_only_it_knows() {
    let azurite = Azurite::start_with_tls().expect("azurite");
    let relay = Relay::to(azurite.port()).expect("a proxy");
    let name = format!("{ACCOUNT}.blob.lab.invalid");
    let sas = Right::to("rcw").account_sas().expect("a token");
    let node = || {
        let sender = Sender::new("node-a", "a1").expect("a node");
        sender.send_to(&format!("https://{name}"), "shop", &sas).expect("settings");
        // The node trusts it, as a company's nodes trust their company.
        let trusted = fs::read_to_string(azurite.certificate().expect("TLS")).expect("PEM");
        sender.write("root/etc/ssl/certs/ca-certificates.crt", &trusted).expect("written");
        let mut command = sender.command().expect("built");
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{}", relay.port()));
        let agent = Agent::start(&mut command, &sender.path("log")).expect("an agent");
        (sender, agent)
    };
    let (sender, agent) = node();
    arrives(&sender, agent, &azurite, "shop");
    let asked = relay.asked_for();
    assert!(!asked.is_empty() && asked.iter().all(|host| *host == format!("{name}:443")));

    relay.set(Fault::Status(403));
    let (sender, agent) = node();
    let told = is_refused(&sender, agent, "the proxy does not let requests to");
    assert!(told.contains("HTTPS_PROXY"), "{told}");
}

#[test]
fn an_identity_sends_what_a_sas_would() {
    let azurite = Azurite::start_with_tls().expect("azurite");
    let entra = Entra::start().expect("a server");
    let trusted = fs::read_to_string(azurite.certificate().expect("TLS")).expect("PEM");
    let node = |container: &str, client: Option<&str>| {
        let sender = Sender::new("node-a", "a1").expect("a node");
        sender.send_to(&azurite.endpoint(), container, "").expect("settings");
        sender.write("root/etc/ssl/certs/ca-certificates.crt", &trusted).expect("written");
        sender.write("token", entra::ASSERTION).expect("written");
        let mut command = sender.command().expect("built");
        if let Some(client) = client {
            command.env("AZURE_AUTHORITY_HOST", entra.url()).env("AZURE_CLIENT_ID", client);
            command.env("AZURE_TENANT_ID", entra::TENANT);
            command.env("AZURE_FEDERATED_TOKEN_FILE", sender.path("token"));
        } else {
            command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url());
        }
        let agent = Agent::start(&mut command, &sender.path("log")).expect("an agent");
        (sender, agent)
    };
    let (sender, agent) = node("workload", Some(entra::CLIENT));
    arrives(&sender, agent, &azurite, "workload");
    assert!(entra.given().contains(&"workload".to_owned()), "{:?}", entra.given());
    let (sender, agent) = node("managed", None);
    arrives(&sender, agent, &azurite, "managed");
    assert!(entra.given().contains(&"managed".to_owned()), "{:?}", entra.given());
    let (sender, agent) = node("nobody", Some("somebody-else"));
    let told = is_refused(&sender, agent, "gets no token (401)");
    assert!(told.contains("AADSTS700213") && told.contains("federated credential"), "{told}");
    assert!(!sender.said().contains(entra::ASSERTION), "{}", sender.said());
}
