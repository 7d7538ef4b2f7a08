//! What files answer, and the object against a server that keeps it as the real one
//! does.

use std::sync::{Arc, Mutex};

use periscope_store::batch::{
    Batch, Outcome, ProbeOutcome, ProbeSample, ProbeTarget, Setting, Stream,
};
use periscope_store::writer::{Node, Poll, Session, Writer};

use super::*;
use crate::kube_client::fake::{Answer, Asked, FakeServer, quick};

const PATH: &str = "/apis/aks-periscope.azure.github.com/v1/namespaces/aks-periscope/diagnostics";

const NAME: &str = "/aks-periscope-diagnostic-node-1";

fn summary(run_id: &str, parts: [(bool, &str); 3]) -> Summary {
    let fields = parts.map(|(looked, json)| Field { looked, json: json.to_owned() });
    Summary { run_id: run_id.to_owned(), file: "node-1-7.db".to_owned(), fields }
}

fn desk() -> Desk {
    let access = KubeAccess::default();
    let desk = Desk::new(access, "aks-periscope".to_owned(), "node-1".to_owned());
    Desk { limits: quick(), ..desk }
}

/// A server that keeps one object, and prunes and counts versions like the real one.
fn server() -> (FakeServer, Arc<Mutex<Option<Value>>>) {
    let object = Arc::new(Mutex::new(None::<Value>));
    let kept = Arc::clone(&object);
    let answer = move |asked: &Asked| {
        let mut object = kept.lock().expect("an object");
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        match (asked.method.as_str(), asked.path.strip_prefix(PATH)) {
            ("GET", Some(NAME)) => match &*object {
                Some(object) => Answer::Object(object.clone()),
                None => Answer::Status(404, "not there"),
            },
            ("POST", Some("")) | ("PUT", Some(NAME)) => {
                let known = object.as_ref().map_or(Value::Null, version);
                if known != version(&asked.body) {
                    return Answer::Status(409, "changed");
                }
                let mut new = asked.body.clone();
                let next = known.as_str().and_then(|text| text.parse::<u32>().ok());
                new["metadata"]["resourceVersion"] =
                    (next.unwrap_or_default() + 1).to_string().into();
                *object = Some(new.clone());
                Answer::Object(new)
            }
            ("GET", None) if asked.path == "/api/v1/nodes/node-1" => {
                Answer::Object(json!({ "metadata": { "name": "node-1", "uid": "u1" } }))
            }
            _ => Answer::Status(404, "no such path"),
        }
    };
    (FakeServer::start(answer), object)
}

fn write(server: &FakeServer, summary: &Summary) -> Result<Written> {
    let (_folder, host) = server.node();
    desk().write(&host, summary)
}

#[test]
fn it_is_made_changed_left_and_made_again() {
    let (server, object) = server();
    let first = summary("run-1", [(true, "{\"a\":1}"), (true, "[]"), (true, "{}")]);
    assert_eq!(write(&server, &first).expect("written"), Written::Made);
    let made = object.lock().expect("an object").clone().expect("made");
    assert_eq!(made["metadata"]["name"], "aks-periscope-diagnostic-node-1");
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "u1");
    assert_eq!(
        made["spec"],
        json!({ "networkconfig": "{\"a\":1}", "networkoutbound": "[]", "dns": "{}" })
    );

    let before = server.asked().len();
    assert_eq!(write(&server, &first).expect("written"), Written::Same);
    assert_eq!(server.asked().len(), before + 1, "nothing is written twice");

    let second = summary("run-2", [(true, "{\"a\":1}"), (true, "[]"), (true, "{}")]);
    assert_eq!(write(&server, &second).expect("written"), Written::Changed);
    let changed = object.lock().expect("an object").clone().expect("changed");
    assert_eq!(changed["metadata"]["annotations"][RUN], "run-2");
    assert_eq!(changed["metadata"]["ownerReferences"], made["metadata"]["ownerReferences"]);

    *object.lock().expect("an object") = None;
    assert_eq!(write(&server, &second).expect("written"), Written::Made);
}

#[test]
fn without_definition_or_rights_it_says_what_to_do() {
    let texts = [404, 403].map(|status| {
        let server = FakeServer::start(move |_: &Asked| Answer::Status(status, "no"));
        let summary = summary("r", [(true, "{}"), (true, "[]"), (true, "{}")]);
        format!("{:#}", write(&server, &summary).expect_err("refused"))
    });
    assert_eq!(
        texts[0],
        "the API server knows no diagnostics in namespace aks-periscope\nhint: apply the \
         definition of the resource, which comes with the agent"
    );
    assert!(texts[1].starts_with("refused with status 403: no\nhint: "), "{}", texts[1]);
}

#[test]
fn an_answer_that_is_no_object_is_an_error() {
    let answers = ["[]", "7", "{}", "{\"metadata\":[]}", "{\"metadata\":{\"annotations\":3}}"];
    for answer in answers {
        let server = FakeServer::start(move |asked: &Asked| match asked.method.as_str() {
            "GET" => Answer::Text(answer.to_owned()),
            _ => Answer::Object(asked.body.clone()),
        });
        let summary = summary("r", [(true, "{}"), (true, "[]"), (true, "{}")]);
        let written = write(&server, &summary);
        assert_eq!(written.is_ok(), answer.contains("annotations"), "{answer}: {written:?}");
    }
}

#[test]
fn what_a_later_file_does_not_know_stays() {
    let first = summary("r", [(true, "config"), (true, "probes"), (true, "dns")]);
    let later = summary("r", [(false, "?"), (true, "newer"), (false, "?")]);
    let both = later.clone().after(Some(&first));
    assert_eq!(both, summary("r", [(true, "config"), (true, "newer"), (true, "dns")]));
    let other = summary("s", [(false, "?"), (true, "newer"), (false, "?")]);
    assert_eq!(other.clone().after(Some(&first)), other, "another run knows nothing of this");
    assert_eq!(later.clone().after(None), later);
}

#[test]
fn a_field_is_bounded() {
    let row = |json: String| {
        let row = json!({ "looked": 1, "json": json });
        Field::of(row.as_object().expect("an object"))
    };
    assert!(row("x".repeat(FIELD_BYTES)).is_ok());
    let text = format!("{:#}", row("x".repeat(FIELD_BYTES + 1)).expect_err("too large"));
    assert_eq!(text, "65537 bytes are more than the 65536 that a field may have");
}

const STARTED_NS: i64 = 1_795_350_000_000_000_000;

/// A sealed file with these batches: collector, how it went, and what it says.
struct Sealed {
    _folder: tempfile::TempDir,
    name: Name,
    path: std::path::PathBuf,
}

fn sealed(batches: Vec<(Batch, Outcome, Option<&str>)>) -> Sealed {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node-1-7.db");
    let node = Node { name: "node-1".to_owned(), machine_id: "0a".to_owned() };
    let session = Session {
        run_id: "run-1".to_owned(),
        cluster: None,
        agent_version: "test".to_owned(),
        boot_id: String::new(),
        started_ns: STARTED_NS,
        process: 1,
        config: "{}".to_owned(),
    };
    let mut writer = Writer::create(&path, &node, &session).expect("a file");
    for (batch, outcome, message) in batches {
        let poll = Poll {
            seq: 1,
            round: 1,
            started_ns: STARTED_NS,
            ended_ns: STARTED_NS,
            outcome,
            message: message.map(str::to_owned),
        };
        writer.commit(batch, &poll).expect("committed");
    }
    writer.seal().expect("sealed");
    let name = Name { number: 7, run_id: "run-1".to_owned(), node: "node-1".to_owned() };
    Sealed { _folder: folder, name, path }
}

fn settings(collector: &str, scope: &str, settings: &[(&str, &str, &str)]) -> Batch {
    let mut batch = Batch::new(collector);
    for (name, value, source) in settings {
        batch.setting(Setting {
            scope: scope.to_owned(),
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            source: (*source).to_owned(),
        });
    }
    batch
}

/// Samples of a target, ten seconds apart.
fn samples(batch: &mut Batch, name: &str, kind: &str, outcomes: &str) {
    let stream = batch.stream(Stream::probe(&ProbeTarget {
        name: name.to_owned(),
        kind: kind.to_owned(),
        url: format!("https://{name}.example/"),
        interval_ns: 10_000_000_000,
        timeout_ns: 5_000_000_000,
    }));
    for (seq, outcome) in outcomes.chars().enumerate() {
        let fails = outcome == 'x';
        let text = |text: &str| if fails { text.to_owned() } else { String::new() };
        let at_ns = 10_000_000_000 * seq as i64;
        batch.probe(
            stream,
            &ProbeSample {
                seq: seq as u64,
                ts_ns: STARTED_NS + at_ns,
                mono_ns: 1_000_000_000 + at_ns,
                outcome: if fails { ProbeOutcome::Fail } else { ProbeOutcome::Ok },
                phase: text("tcp"),
                error_class: text("refused"),
                error: text("connection refused"),
                address: String::new(),
                status: None,
                dns_us: None,
                tcp_us: None,
                tls_us: None,
                http_us: None,
                duration_us: 1_000,
            },
        );
    }
}

fn answers(sealed: &Sealed) -> Vec<(bool, Value)> {
    let summary = Summary::of(&sealed.name, &sealed.path).expect("answers");
    let answer = |field: &Field| (field.looked, serde_json::from_str(&field.json).expect("JSON"));
    summary.fields.iter().map(answer).collect()
}

#[test]
fn a_whole_file_answers_everything() {
    let resolv = "/run/systemd/resolve/resolv.conf";
    let node_dns = settings(
        "dns-node",
        "dns.node",
        &[("nameserver", "168.63.129.16", resolv), ("nameserver", "10.1.0.4", resolv)],
    );
    let pod_dns =
        settings("dns-pod", "dns.pod", &[("nameserver", "10.0.0.10", "/etc/resolv.conf")]);
    let kubelet = settings(
        "kubelet-arguments",
        "kubelet",
        &[
            ("maxPods", "30", "/etc/default/kubeletconfig.json"),
            ("--max-pods", "110", "command line of pid 1"),
        ],
    );
    let mut probes = Batch::new("probe");
    samples(&mut probes, "api", "api-server", "....");
    samples(&mut probes, "mcr", "mcr", ".xx.");
    samples(&mut probes, "web", "internet", "..xx");
    let whole = sealed(
        [node_dns, pod_dns, kubelet, probes].map(|batch| (batch, Outcome::Complete, None)).into(),
    );
    let [config, outbound, dns] = &answers(&whole)[..] else { panic!("three fields") };
    assert_eq!(
        *config,
        (
            true,
            json!({
                "HostName": "node-1",
                "NetworkPlugin": "not a flag of the kubelet",
                "VirtualMachineDNS": ["168.63.129.16", "10.1.0.4"],
                "KubernetesDNS": ["10.0.0.10"],
                "MaxPodsPerNode": "110",
                "NotKnown": "",
            })
        )
    );
    let (looked, outbound) = outbound;
    assert!(looked);
    let columns = |at: usize| {
        ["Type", "Target", "Status", "Outages", "Down", "Available"]
            .map(|column| outbound[at][column].to_string().replace('"', ""))
            .join(" | ")
    };
    // What does not answer comes first.
    assert_eq!(
        columns(0),
        "Internet | web | Error: tcp refused: connection refused | 1 | 10 s | 50.0 %"
    );
    assert_eq!(columns(1), "AKS API Server | api | Connected | 0 | 0 s | 100.0 %");
    assert_eq!(columns(2), "Microsoft Container Registry | mcr | Connected | 1 | 10 s | 50.0 %");
    assert_eq!(outbound[1]["URL"], "https://api.example/");
    let at = outbound[1]["TimeStamp"].as_str().expect("a time");
    assert_eq!(at, periscope_store::time::format_ns(STARTED_NS + 30_000_000_000));
    assert_eq!(dns.1["VirtualNetwork"], "mixed");
    assert_eq!(dns.1["Servers"][0]["Source"], resolv);
}

#[test]
fn what_was_not_looked_at_is_said() {
    let none = sealed(vec![(Batch::new("host-samples"), Outcome::Complete, None)]);
    let fields = answers(&none);
    assert!(fields.iter().all(|(looked, _)| !looked), "{fields:?}");
    assert_eq!(
        fields[0].1["NotKnown"],
        "dns-node: not read yet; dns-pod: not read yet; kubelet-arguments: not read yet"
    );
    assert_eq!(fields[1].1[0]["Status"], "Unknown: no target was probed");
    assert_eq!(fields[2].1["VirtualNetwork"], "unknown");

    let failed = sealed(vec![
        (Batch::new("dns-node"), Outcome::Failed, Some("cannot read /etc/resolv.conf")),
        (Batch::new("dns-pod"), Outcome::Absent, Some("not running in a pod")),
        (Batch::new("kubelet-arguments"), Outcome::Complete, None),
        (Batch::new("probe"), Outcome::Failed, Some("no CA file")),
    ]);
    let fields = answers(&failed);
    assert!(fields[0].0 && fields[2].0, "{fields:?}");
    assert_eq!(
        fields[0].1["NotKnown"],
        "dns-node: failed, cannot read /etc/resolv.conf; dns-pod: absent, not running in a pod"
    );
    assert_eq!(fields[0].1["NetworkPlugin"], "not known");
    assert_eq!(fields[1].1[0]["Status"], "Unknown: no target was probed, failed: no CA file");
}

#[test]
fn a_file_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node-1-7.db");
    std::fs::write(&path, "no database").expect("written");
    let name = Name { number: 7, run_id: "r".to_owned(), node: "node-1".to_owned() };
    assert!(Summary::of(&name, &path).is_err());
}
