//! In a real cluster: one manifest in, every node sends its files to Azurite and tells of
//! itself under the shipped rights, run after run; one command brings a run and another
//! reports on it; and nothing is left behind.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts), its
//! services, and kustomize.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use periscope_tests::azurite::{self, Right, block_on, container_of};
use periscope_tests::lab::{GATEWAY, Lab};
use periscope_tests::programs;
use serde_json::Value;

const NAMESPACE: &str = "aks-periscope";

const ACCOUNT: &str = "system:serviceaccount:aks-periscope:aks-periscope-service-account";

/// Time within which a run's files arrive.
const PATIENCE: Duration = Duration::from_mins(2);

/// What nodes of the lab do not have, or have elsewhere than AKS.
const ABSENT: [&str; 3] = ["certificates", "provision", "provision-logs"];

fn deployment() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deployment")
}

/// Where the storage of the lab is, for who has no DNS of the lab.
fn endpoint() -> String {
    format!("http://{GATEWAY}:10000/{}", azurite::ACCOUNT)
}

/// A container of this test's own.
fn container() -> String {
    format!("lab-{}", std::process::id())
}

/// The lab's overlay with the name of a run and a right to send it.
fn manifest(run: &str) -> String {
    let sas = Right::to("rcw").account_sas().expect("a token");
    let container = container();
    let folder =
        tempfile::Builder::new().prefix(".test-").tempdir_in(deployment()).expect("a folder");
    let text = format!(
        "namespace: {NAMESPACE}\nresources: [../overlays/lab]\n\
         generatorOptions: {{disableNameSuffixHash: true}}\n\
         configMapGenerator:\n- name: diagnostic-config\n  behavior: merge\n  literals:\n  \
         - DIAGNOSTIC_RUN_ID={run}\n\
         secretGenerator:\n- name: azureblob-secret\n  behavior: merge\n  literals:\n  \
         - AZURE_BLOB_SAS_KEY=?{sas}\n  - AZURE_BLOB_CONTAINER_NAME={container}\n"
    );
    fs::write(folder.path().join("kustomization.yaml"), text).expect("written");
    programs::stdout_of(Command::new("kustomize").arg("build").arg(folder.path()))
        .expect("rendered")
}

/// Waits until each node's database and archive of a run are in storage.
fn wait_for_run(lab: &Lab, run: &str, since: Instant) {
    let nodes = lab.nodes().expect("nodes");
    let container = container_of(&endpoint(), &container()).expect("a container");
    loop {
        // The first agent makes it.
        let list = async { container.list(&format!("{run}/")).await };
        let blobs = block_on(list).expect("a runtime").unwrap_or_default();
        let names: BTreeSet<String> = blobs.into_iter().map(|blob| blob.name).collect();
        let databases = |node: &String| {
            let folder = format!("{run}/{node}/{node}-");
            let is_database = |name: &&String| {
                name.starts_with(&folder) && Path::new(name).extension().is_some_and(|e| e == "db")
            };
            names.iter().filter(is_database).count()
        };
        let has_zip = |node: &String| names.contains(&format!("{run}/{node}/{node}.zip"));
        if nodes.iter().all(has_zip) {
            // One of each, and the list of nodes.
            assert!(nodes.iter().all(|node| databases(node) == 1), "{names:?}");
            assert!(names.contains(&format!("{run}/run.json")), "{names:?}");
            assert_eq!(names.len(), 2 * nodes.len() + 1, "{names:?}");
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{run}: {names:?}\n{}", logs(lab));
        sleep(Duration::from_secs(1));
    }
}

/// Brings a run as an analyst does. Its folder.
fn fetch(lab: &Lab, run: &str, into: &Path) -> PathBuf {
    let sas = Right::to("rl").container_sas(&container()).expect("a token");
    let url = format!("{}/{}?{sas}", endpoint(), container());
    let mut command = programs::analyze().expect("built");
    command.args(["fetch", &url, "--latest"]).arg(into);
    let fetched = programs::finish(&mut command).expect("ran");
    assert_eq!(fetched.status, Some(0), "{fetched:?}");
    assert!(!fetched.stderr.contains("sig="), "{fetched:?}");
    assert!(!fetched.stderr.contains("never reported"), "{fetched:?}");
    let folder = into.join(run);
    assert_eq!(fetched.stdout.trim(), folder.display().to_string());
    let list = fs::read_to_string(folder.join("run.json")).expect("a list of nodes");
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let expected = list["nodes"].as_array().expect("nodes").iter();
    let expected: BTreeSet<String> =
        expected.map(|node| node["node"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(expected, lab.nodes().expect("nodes").into_iter().collect());
    folder
}

fn logs(lab: &Lab) -> String {
    let words = ["logs", "-n", NAMESPACE, "-l", "app=aks-periscope", "--tail=40", "--prefix"];
    lab.kubectl(&words).unwrap_or_else(|error| error.to_string())
}

/// Each node has an object whose fields are what `az aks kanalyze` parses.
fn diagnostics_are_whole(lab: &Lab, run: &str) {
    let until = Instant::now() + Duration::from_mins(1);
    let nodes = lab.nodes().expect("nodes");
    let names: BTreeSet<String> =
        nodes.iter().map(|node| format!("aks-periscope-diagnostic-{node}")).collect();
    let items = loop {
        // kubectl may not have heard of a new definition yet.
        let list = lab.kubectl(&["get", "apd", "-n", NAMESPACE, "-o", "json"]);
        let list: Value =
            list.map_or(Value::Null, |list| serde_json::from_str(&list).expect("JSON"));
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let of_run = |item: &&Value| item["metadata"]["annotations"]["periscope-run"] == run;
        if items.iter().filter(of_run).count() == nodes.len() {
            break items;
        }
        assert!(Instant::now() < until, "{items:?}\n{}", logs(lab));
        sleep(Duration::from_secs(1));
    };
    let found: BTreeSet<String> = items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(found, names);
    for item in &items {
        let field = |name: &str| -> Value {
            let text = item["spec"][name].as_str().expect(name);
            serde_json::from_str(text).expect("JSON")
        };
        let config = field("networkconfig");
        assert_eq!(config["MaxPodsPerNode"], "110", "{config}");
        assert_eq!(config["NetworkPlugin"], "azurecni", "{config}");
        assert_eq!(config["VirtualMachineDNS"], serde_json::json!([GATEWAY]), "{config}");
        assert_eq!(config["KubernetesDNS"][0], "10.96.0.10", "{config}");
        assert_eq!(field("dns")["VirtualNetwork"], "custom");
        let outbound = field("networkoutbound");
        let targets = outbound.as_array().expect("a list");
        assert_eq!(targets.len(), 5, "{outbound}");
        for target in targets {
            assert_eq!(target["Status"], "Connected", "{outbound}");
        }
        let owner = &item["metadata"]["ownerReferences"][0];
        assert_eq!(owner["kind"], "Node", "{item}");
    }
}

/// Resources that the README's table of rights names, with their verbs.
fn promised() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(deployment().join("README.md")).expect("the README");
    let table = text.split_once("| resources | verbs | why |").expect("the table").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut promised = BTreeMap::<String, BTreeSet<String>>::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (names, group) = cells[1].split_once(" (").unwrap_or((cells[1], ")"));
        let group = group.trim_end_matches(')');
        let verbs = cells[2].split([' ', ',', ';']);
        let verbs = verbs.filter(|word| ["get", "list", "create", "update"].contains(word));
        let verbs: BTreeSet<String> = verbs.map(str::to_owned).collect();
        for name in names.split(", ") {
            let name = if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") };
            promised.entry(name).or_default().extend(verbs.clone());
        }
    }
    promised
}

/// What the service account may do is what the README says, and no more.
fn rights_are_as_promised(lab: &Lab) {
    let account = format!("--as={ACCOUNT}");
    let list =
        lab.kubectl(&["auth", "can-i", "--list", "-n", NAMESPACE, &account]).expect("a list");
    let mut held = BTreeMap::<String, BTreeSet<String>>::new();
    for line in list.lines().skip(1).filter(|line| !line.starts_with(' ')) {
        let (resource, rest) = line.split_once(' ').expect("columns");
        let verbs = rest.rsplit_once('[').expect("verbs").1.trim_end_matches(']');
        if !resource.starts_with("selfsubject") {
            let verbs = verbs.split(' ').map(str::to_owned);
            held.entry(resource.to_owned()).or_default().extend(verbs);
        }
    }
    assert_eq!(held, promised(), "{list}");
    let secrets = lab.kubectl(&["auth", "can-i", "get", "secrets", "-n", NAMESPACE, &account]);
    assert!(secrets.is_err(), "{secrets:?}");
}

fn query(bundle: &[PathBuf], sql: &str) -> Vec<Value> {
    let mut command = programs::analyze().expect("built");
    command.arg("query").args(bundle).arg(sql).args(["--format", "json"]);
    let text = programs::stdout_of(&mut command).expect(sql);
    serde_json::from_str(&text).expect("JSON")
}

/// A run's files speak of every node, and of nothing that failed.
fn a_run_is_whole(lab: &Lab, folder: PathBuf) {
    let bundle = &[folder];
    let mut report = programs::analyze().expect("built");
    let report = programs::finish(report.arg("report").args(bundle)).expect("ran");
    assert_eq!(report.status, Some(1), "{report:?}");
    let nodes = lab.nodes().expect("nodes");
    for node in &nodes {
        assert!(report.stdout.contains(node.as_str()), "{node}:\n{}", report.stdout);
    }
    assert!(report.stdout.contains("custom-dns"), "{}", report.stdout);

    let outcomes = query(bundle, "SELECT node, collector, outcome, message, issue FROM collection");
    assert!(outcomes.len() >= nodes.len() * 15, "{outcomes:?}");
    for row in outcomes.iter().filter(|row| row["outcome"] != "complete") {
        let collector = row["collector"].as_str().expect("a name");
        // One agent of a run reads the cluster; the others say who.
        let is_honest = row["outcome"] == "absent"
            && (collector == "cluster-objects" || ABSENT.contains(&collector));
        // The lab's nodes share a machine, whose kubelets see each other.
        let message = row["issue"].as_str().unwrap_or_default();
        let is_shared = collector == "kubelet-arguments" && message.contains("first kubelet");
        // The lab's storage speaks no TLS, which the agents remark.
        let is_remark = collector == "agent" && message.contains("is not https");
        assert!(is_honest || is_shared || is_remark, "{row}");
    }
    let readers = query(
        bundle,
        "SELECT node FROM collection WHERE collector = 'cluster-objects' AND outcome = 'complete'",
    );
    assert_eq!(readers.len(), 1, "{readers:?}");
}

/// What the clean-up of `az aks kollect` does: all of some kinds in the namespace, and
/// some names of the cluster.
fn clean_up_as_kollect(lab: &Lab) {
    let all = ["--all", "-n", NAMESPACE];
    let namespaced = [&["delete", "serviceaccount,configmap,daemonset,secret"][..], &all].concat();
    lab.kubectl(&namespaced).expect("deleted");
    for name in ["aks-periscope-role-binding", "aks-periscope-role-binding-view"] {
        lab.kubectl(&["delete", "clusterrolebinding", name, "--ignore-not-found"])
            .expect("deleted");
    }
    lab.kubectl(&["delete", "clusterrole", "aks-periscope-role"]).expect("deleted");
    lab.kubectl(&[&["delete", "apd"][..], &all].concat()).expect("deleted");
    let definition = "diagnostics.aks-periscope.azure.github.com";
    lab.kubectl(&["delete", "crd", definition]).expect("deleted");
    wait_until_only(lab, &["namespace/aks-periscope"]);
}

/// Waits until nothing of ours is there but this.
fn wait_until_only(lab: &Lab, expected: &[&str]) {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let left: String = [
            &["get", "namespaces", "-o", "name"][..],
            &["get", "clusterroles,clusterrolebindings,crds", "-o", "name"],
            &["get", "leases,pods,roles,rolebindings", "--all-namespaces", "-o", "name"],
        ]
        .map(|words| lab.kubectl(words).expect("a list"))
        .concat();
        let left: Vec<&str> = left.lines().filter(|line| line.contains("periscope")).collect();
        if left == expected {
            return;
        }
        assert!(Instant::now() < until, "left behind: {left:?}");
        sleep(Duration::from_secs(1));
    }
}

/// Removes what a manifest made, and waits until nothing of it is there.
fn remove(lab: &Lab, manifest: &str) {
    lab.delete(manifest).expect("deleted");
    wait_until_only(lab, &[]);
    for node in lab.nodes().expect("nodes") {
        fs::remove_dir_all(lab.var_log(&node).join("aks-periscope")).ok();
    }
}

#[test]
fn every_node_tells_and_nothing_is_left() {
    let lab = Lab::find().expect("the lab's scripts");
    lab.wait_until_up(2).expect("a cluster");
    lab.image("docker.io/lab/periscope:test", &programs::static_agent().expect("built"))
        .expect("imported");
    let stamp = std::process::id();
    let runs = [1, 2, 3].map(|number| format!("run-{stamp}-{number}"));
    let whole = manifest(&runs[0]);
    remove(&lab, &whole);

    let folder = tempfile::tempdir().expect("a folder");
    lab.apply(&whole).expect("applied");
    wait_for_run(&lab, &runs[0], Instant::now());
    a_run_is_whole(&lab, fetch(&lab, &runs[0], folder.path()));
    diagnostics_are_whole(&lab, &runs[0]);
    rights_are_as_promised(&lab);
    for run in &runs[1..] {
        let patch = format!("{{\"data\":{{\"DIAGNOSTIC_RUN_ID\":\"{run}\"}}}}");
        let words = ["patch", "configmap", "diagnostic-config", "-n", NAMESPACE, "-p", &patch];
        lab.kubectl(&words).expect("patched");
        // A pod that changes makes the kubelet look at what it mounts.
        let (pods, note) = ("app=aks-periscope", format!("periscope-run={run}"));
        let words = ["annotate", "pods", "-n", NAMESPACE, "-l", pods, "--overwrite", &note];
        lab.kubectl(&words).expect("annotated");
        wait_for_run(&lab, run, Instant::now());
        a_run_is_whole(&lab, fetch(&lab, run, folder.path()));
        diagnostics_are_whole(&lab, run);
    }

    // An object that somebody removed is there again soon: it is looked for half a
    // minute after it was written.
    lab.kubectl(&["delete", "apd", "--all", "-n", NAMESPACE]).expect("deleted");
    diagnostics_are_whole(&lab, &runs[2]);

    clean_up_as_kollect(&lab);
    remove(&lab, &whole);
}
