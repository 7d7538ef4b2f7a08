//! In a real cluster: the DaemonSet as it is shipped, on every node, while containers
//! write, the kubelet rotates, the agent is killed twice and a new run is asked for.
//! No line is lost or doubled, nothing secret is written, and its ceilings hold.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts), with
//! small logs so that they are rotated. `PERISCOPE_LAB_MINUTES` makes it longer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use periscope_tests::keeper::Keeper;
use periscope_tests::lab::Lab;
use periscope_tests::{database, programs};

mod manifests;
mod planted;
mod meter;
mod checks;

use checks::{lines_are_equal, nothing_secret_is_there};
use manifests::{WRITERS, settings, shipped, teller};
use meter::{Meter, ceilings_hold};
use planted::{Planted, kill};

/// Namespace of what writes.
const CHATTER: &str = "periscope-chatter";

/// The agent looks every ten seconds, and not when it ends.
const LAST_LOOK: Duration = Duration::from_secs(25);

/// Name of its process.
const AGENT: &str = "periscope-agent";

/// Minutes that it takes between the agent's start and the last line.
fn minutes() -> f64 {
    std::env::var("PERISCOPE_LAB_MINUTES").map_or(1.5, |text| text.parse().expect("a number"))
}

/// The cluster, with an agent and writers on every node.
struct Stage {
    lab: Arc<Lab>,
    nodes: Vec<String>,
}

impl Stage {
    fn clean(&self) {
        let gone = |words: &[&str]| {
            let more = ["--ignore-not-found", "--wait=true"];
            self.lab.kubectl(&[&["delete"], words, &more].concat()).expect("deleted");
        };
        gone(&["daemonset", "-n", "aks-periscope", "aks-periscope"]);
        gone(&["namespace", CHATTER]);
        for node in &self.nodes {
            for folder in ["aks-periscope", "periscope-chatter"] {
                fs::remove_dir_all(self.lab.var_log(node).join(folder)).ok();
            }
            fs::remove_dir_all(self.kept(node)).ok();
        }
        // The kubelet removes them some time after the pods; new ones have other names.
        self.wait("logs of old writers are gone", |node| {
            let pods = fs::read_dir(self.lab.var_log(node).join("pods")).into_iter().flatten();
            let of_old =
                pods.flatten().filter(|pod| pod.file_name().to_string_lossy().starts_with(CHATTER));
            of_old.filter(|pod| fs::remove_dir_all(pod.path()).is_ok()).count() == 0
        });
    }

    fn kept(&self, node: &str) -> PathBuf {
        self.lab.folder().join("nodes").join(node).join("kept")
    }

    fn live(&self, node: &str, run: &str) -> PathBuf {
        self.lab.var_log(node).join("aks-periscope/live").join(run)
    }

    /// Waits until something is so on every node.
    fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(3);
        while !self.nodes.iter().all(|node| is_so(node)) {
            assert!(Instant::now() < deadline, "{what}: not within three minutes");
            sleep(Duration::from_millis(200));
        }
    }

    /// Kills the agent of every node, without a word of warning.
    fn kill_agents(&self) {
        for node in &self.nodes {
            let pids = self.lab.processes(node, AGENT);
            assert!(!pids.is_empty(), "no agent runs on {node}");
            pids.iter().copied().for_each(kill);
            self.wait("the kubelet starts it again", |other| {
                let now = self.lab.processes(other, AGENT);
                other != node || now.iter().any(|pid| !pids.contains(pid))
            });
        }
    }

    /// Asks for another run. The kubelet looks at a pod's files again when the pod has
    /// changed; else that takes a minute.
    fn change_run(&self, run: &str) {
        self.lab.apply(&settings(&self.lab, run)).expect("applied");
        let label = format!("asked={run}");
        let words = ["label", "pods", "-n", "aks-periscope", "-l", "app=aks-periscope", &label];
        self.lab.kubectl(&words).expect("labelled");
        self.wait("the new run begins", |node| self.live(node, run).exists());
    }

    /// Sealed files of a node, of all runs.
    fn sealed(&self, node: &str) -> Vec<PathBuf> {
        let outbox = self.lab.var_log(node).join("aks-periscope/outbox");
        let runs = fs::read_dir(outbox).expect("an outbox");
        let mut files: Vec<_> =
            runs.flat_map(|run| database::files(&run.expect("a run").path())).collect();
        files.sort();
        files
    }
}

#[test]
fn nothing_is_lost_doubled_or_told_and_the_ceilings_hold() {
    let lab = Arc::new(Lab::find().expect("the lab's scripts"));
    lab.image("docker.io/lab/periscope:test", &programs::static_agent().expect("built"))
        .expect("imported");
    let stage = Stage { nodes: lab.nodes().expect("nodes"), lab: lab.clone() };
    stage.clean();
    let time = Duration::from_secs_f64(minutes() * 60.0);
    let planted: Vec<_> = stage.nodes.iter().map(|node| Planted::on(&lab, node)).collect();
    let keepers: Vec<_> = stage
        .nodes
        .iter()
        .map(|node| {
            let pods = lab.var_log(node).join("pods");
            Keeper::start(&pods, &format!("{CHATTER}_chatter-"), &stage.kept(node)).expect("kept")
        })
        .collect();
    let tellers: Vec<_> =
        stage.nodes.iter().enumerate().map(|(at, node)| teller(node, at)).collect();
    lab.apply(&format!("{WRITERS}{}", tellers.concat())).expect("applied");

    let manifest = shipped((time / 4).max(Duration::from_secs(15)));
    lab.apply(&format!("{manifest}---\n{}", settings(&lab, "first"))).expect("applied");
    stage.wait("the agent runs", |node| stage.live(node, "first").exists());
    let meter = Meter::start(&lab, &stage.nodes);
    sleep(time / 3);
    stage.kill_agents();
    sleep(time / 6);
    stage.change_run("second");
    sleep(time / 6);
    stage.kill_agents();
    sleep(time / 3);
    for node in &stage.nodes {
        fs::write(lab.var_log(node).join("periscope-chatter/stop"), "").expect("written");
    }
    sleep(LAST_LOOK);
    let costs = meter.stop();
    let words = ["delete", "daemonset", "-n", "aks-periscope", "aks-periscope", "--wait=true"];
    lab.kubectl(&words).expect("deleted");
    stage.wait("the agent has ended", |node| lab.processes(node, AGENT).is_empty());
    drop(planted);

    ceilings_hold(&costs);
    for (node, keeper) in stage.nodes.iter().zip(&keepers) {
        let files = stage.sealed(node);
        files.iter().for_each(|path| database::check(path).expect("whole"));
        for run in ["first", "second"] {
            let folder = Path::new("outbox").join(run).display().to_string();
            let of_run = |path: &&PathBuf| path.display().to_string().contains(&folder);
            assert!(files.iter().any(|path| of_run(&path)), "{run} has no file: {files:?}");
        }
        lines_are_equal(node, &files, keeper);
        nothing_secret_is_there(&files);
    }
    stage.clean();
}
