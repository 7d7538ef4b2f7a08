//! The continuous run: one run after another, until the process is asked to end.
//!
//! **What a run is.** A run has a name, a session and collectors of its own, so
//! that a new run takes every snapshot afresh; positions in logs go on. Its first
//! file is sealed when its collection is complete: every collector has ended its
//! first poll, logs have been read to their end, and the probes have sampled for
//! `probe_for`. After that, files follow by age and size.
//!
//! **Which run.** The name that is asked for, else the run that the folder's last
//! file belongs to, else the time. The agents before this one did nothing until
//! they were given a name; this one records from its first second, because what
//! broke has mostly broken by the time somebody asks, and one who deploys it
//! without a word about runs wants just that. A restart goes on with the run it
//! was in and does not seal by completeness again, so that an agent which is
//! restarted often makes no more files than it must.
#![expect(clippy::disallowed_methods, reason = "the runner starts the threads")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{Issue, IssueKind, Mask};
use periscope_store::positions::Positions;
use periscope_store::writer::Session;
use sha2::{Digest, Sha256};

use super::ceilings::Ceilings;
use super::exporting::Exporting;
use super::files::{Files, Past};
use super::notes::Notes;
use super::probes::Probes;
use super::publishing::Publishing;
use super::recorder::{Recorder, Totals};
use super::sealing::{Around, Sealer};
use super::slot::{Polls, Slot};
use super::worker::{Life, Shared};
use crate::config::Config;
use crate::export::{Exporter, Site};
use crate::health::{self, CollectorHealth, Health, Status};
use crate::host::Host;
use crate::outbox::Outbox;
use crate::redact::{Redactor, random_salt};
use crate::setup::Setup;
use crate::{duration, export, size};

/// How often the name of the run is looked up.
const RUN_ID_EVERY_NS: i64 = 10_000_000_000;

/// Time between two tries to make a file.
const FILE_RETRY_NS: i64 = 5_000_000_000;

/// How often the state is told to those who ask for the agent's health.
const HEALTH_EVERY_NS: i64 = 1_000_000_000;

/// Time that probes have to hand over their last samples.
const LAST_SAMPLES: Duration = Duration::from_secs(1);

/// Reads the configuration; again for each run, because files may have changed.
pub(crate) type LoadConfig = Box<dyn Fn() -> Result<Config>>;

/// Why a run ended.
enum Ended {
    /// The process shall end.
    Stopped,
    /// Another run is asked for.
    NextRun(String),
}

/// What outlives runs.
struct Service {
    load: LoadConfig,
    config: Config,
    around: Arc<Around>,
    files: Files,
    exporting: Exporting,
    status: Arc<Status>,
    stop: Arc<AtomicBool>,
    positions: Positions,
    /// Threads of the run before, by collector.
    lives: HashMap<&'static str, Life>,
}

/// Runs until `stop` is set.
///
/// # Errors
///
/// If the agent's folder cannot be used, or the node not be read at all.
pub(crate) fn run(load: LoadConfig, stop: Arc<AtomicBool>) -> Result<()> {
    let config = load()?;
    let setup = Setup::new(&config)?;
    let outbox = Arc::new(Outbox::open(&config.output.value)?);
    let past = Past::find(&outbox)?;
    let (positions, last_run) = (past.positions.clone(), past.run_id.clone());
    let around = Arc::new(Around {
        host: setup.host.clone(),
        outbox: outbox.clone(),
        notes: Arc::new(Notes::default()),
        turns: Arc::default(),
        sealed: 0.into(),
        exported: 0.into(),
        export_failures: 0.into(),
    });
    let nice = niceness(&config);
    let exporting = Exporting::start(around.clone(), nice)?;
    let look = exporting.clone();
    let publishing = Publishing::start(setup.desk(), around.clone(), nice)?;
    let queue = outbox.clone();
    let sealer = Sealer::start(around.clone(), nice, move |name| {
        // Before it is exported, which removes it.
        publishing.sealed(name, &queue.sealed_path(name));
        look.look();
    })?;
    let now_ns = setup.host.now_ns();
    let files = Files::new(outbox, setup.node.clone(), sealer, past, now_ns)?;
    let status = Arc::new(Status::default());
    if let Some(address) = config.run.health.value {
        let listener = health::listen(address)?;
        let status = status.clone();
        std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || {
                if let Err(error) = health::blocking_serve(listener, &status) {
                    tracing::error!("nobody answers for the agent's health: {error:#}");
                }
            })
            .context("cannot start a thread that answers for the agent's health")?;
    }
    let asked = config.run_id.value.clone();
    let resumes = asked.is_none() || asked == last_run;
    let run_id = asked.or(last_run.clone()).unwrap_or_else(|| super::run_id_at(now_ns));
    let service = Service {
        load,
        config,
        around,
        files,
        exporting,
        status,
        stop,
        positions,
        lives: HashMap::new(),
    };
    service.runs(setup, run_id, resumes && last_run.is_some())
}

fn niceness(config: &Config) -> i32 {
    i32::try_from(config.run.nice.value).unwrap_or(0)
}

impl Service {
    /// One run after another.
    fn runs(mut self, mut setup: Setup, mut run_id: String, mut resumes: bool) -> Result<()> {
        loop {
            self.exporting.use_exporter(self.exporter(&setup));
            let (session, ended) = self.one_run(&setup, run_id, resumes)?;
            match ended {
                Ended::Stopped => {
                    self.end(&session);
                    return Ok(());
                }
                Ended::NextRun(next) => {
                    self.read_config_again(&mut setup);
                    (run_id, resumes) = (next, false);
                }
            }
        }
    }

    /// The exporter that is configured now.
    fn exporter(&self, setup: &Setup) -> Option<Box<dyn Exporter>> {
        let site = || Site {
            host: setup.host.clone(),
            node: setup.node.clone(),
            api_server: setup.api_server(),
            service_host: std::env::var("KUBERNETES_SERVICE_HOST").ok(),
        };
        let notes = self.around.notes.clone();
        let tell = Box::new(move |issue| notes.add(issue));
        export::configured(&self.config, site, tell).unwrap_or_else(|error| {
            self.around.notes.add(Issue {
                source: "exporter".to_owned(),
                kind: IssueKind::Excluded,
                amount: None,
                unit: None,
                message: format!("no file can be exported: {}", super::one_line(&error)),
            });
            None
        })
    }

    /// A new run may come with other settings. Wrong ones leave the old.
    fn read_config_again(&mut self, setup: &mut Setup) {
        let read = (self.load)().and_then(|config| Ok((Setup::new(&config)?, config)));
        match read {
            Ok((new_setup, config)) => (*setup, self.config) = (new_setup, config),
            Err(error) => self.around.notes.add(Issue {
                source: "configuration".to_owned(),
                kind: IssueKind::Excluded,
                amount: None,
                unit: None,
                message: format!("the one before holds: {}", super::one_line(&error)),
            }),
        }
    }

    fn one_run(
        &mut self,
        setup: &Setup,
        run_id: String,
        resumes: bool,
    ) -> Result<(Session, Ended)> {
        let host = setup.host.clone();
        let (session, to_probe) = setup.session_and_prober(run_id)?;
        let salt = || self.around.outbox.salt(&session.run_id, random_salt);
        let redactor = Redactor::of_run(&self.config.redaction.value, &session.run_id, salt)?;
        let mask: Arc<dyn Mask> = Arc::new(redactor);
        tracing::info!(run = session.run_id, resumes, "run begins");
        let (sender, events) = sync_channel(1);
        let shared = Shared {
            host: host.clone(),
            mask: mask.clone(),
            events: sender,
            turns: self.around.turns.clone(),
            nice: niceness(&self.config),
        };
        let mut recorder = Recorder::new(
            host.clone(),
            mask,
            events,
            self.around.notes.clone(),
            self.positions.clone(),
            false,
        );
        self.fill_slots(setup, &session.run_id, &shared, &mut recorder);
        drop(shared);
        let mut probes = to_probe
            .map(|(prober, issues)| Probes::start(prober, issues, &host, None))
            .transpose()?;
        let mut run = OneRun {
            started_ns: host.boottime_ns(),
            file_since_ns: host.boottime_ns(),
            file_retry_ns: i64::MIN,
            complete: resumes,
            run_id_ns: i64::MIN,
            health_ns: i64::MIN,
            ceilings: Ceilings::new(&self.config.run),
            exported_before: self.around.exported.load(Ordering::Relaxed),
            sealed_before: self.around.sealed.load(Ordering::Relaxed),
        };
        let ended = loop {
            if self.stop.load(Ordering::Relaxed) {
                break Ended::Stopped;
            }
            if let Some(next) = self.next_run(&mut run, &session.run_id, &host) {
                break Ended::NextRun(next);
            }
            recorder.logs_paused =
                !run.ceilings.check(&host, &self.around.outbox, &self.around.notes);
            self.change_file_if_due(&mut run, &mut recorder, probes.as_mut(), &session)?;
            recorder.step()?;
            if let Some(probes) = &mut probes {
                recorder.step_probes(probes, false)?;
            }
            self.tell_health(&mut run, &recorder);
        };
        self.end_run(&run, recorder, probes, &session)?;
        Ok((session, ended))
    }

    /// A slot for each collector. What asks the API server begins a little later
    /// on one node than on another.
    fn fill_slots(
        &mut self,
        setup: &Setup,
        run_id: &str,
        shared: &Shared,
        recorder: &mut Recorder,
    ) {
        let now_ns = setup.host.boottime_ns();
        for (at, collector) in setup.collectors(run_id).into_iter().enumerate() {
            let offset = spread(&setup.node.name, collector.name(), collector.spread());
            let by = self.lives.remove(collector.name());
            let resume = Some(self.positions.clone());
            let due_ns = now_ns.saturating_add(offset);
            let shared = shared.clone();
            let slot = Slot::new(at, collector, shared, Polls::Forever, resume, by, due_ns);
            self.lives.extend(slot.life().map(|life| (slot.name, life)));
            recorder.slots.push(slot);
        }
    }

    /// Name of the next run, if another one is asked for.
    fn next_run(&self, run: &mut OneRun, run_id: &str, host: &Host) -> Option<String> {
        let now_ns = host.boottime_ns();
        if now_ns.saturating_sub(run.run_id_ns) < RUN_ID_EVERY_NS {
            return None;
        }
        run.run_id_ns = now_ns;
        match self.config.asked_run_id() {
            Ok(asked) => asked.filter(|asked| asked != run_id),
            Err(error) => {
                tracing::warn!("the run goes on: {}", super::one_line(&error));
                None
            }
        }
    }

    fn change_file_if_due(
        &mut self,
        run: &mut OneRun,
        recorder: &mut Recorder,
        mut probes: Option<&mut Probes>,
        session: &Session,
    ) -> Result<()> {
        let now_ns = self.around.host.boottime_ns();
        let age_ns = now_ns - run.file_since_ns;
        let completes = !run.complete
            && recorder.writer.is_some()
            && !recorder.is_stuck()
            && recorder.slots.iter().all(Slot::has_ended_once)
            && now_ns - run.started_ns >= duration::nanos(self.config.probe_for.value);
        let due = recorder.writer.is_none()
            || completes
            || self.files.current_is_gone()
            || age_ns >= duration::nanos(self.config.run.seal_after.value)
            || self.files.current_bytes() >= self.config.run.seal_bytes.value;
        // Files are not made faster than they are sealed.
        let waits = recorder.writer.is_some() && !self.files.sealer().is_idle();
        if !due || waits || now_ns < run.file_retry_ns {
            return Ok(());
        }
        run.file_retry_ns = now_ns + FILE_RETRY_NS;
        if let Some(probes) = &mut probes {
            recorder.write_probes(probes)?;
        }
        if let Err(error) = self.files.change(recorder, session) {
            tracing::warn!("{}", super::one_line(&error));
            return Ok(());
        }
        if let Some(probes) = probes {
            probes.begin_batch(&self.around.host);
        }
        run.file_since_ns = now_ns;
        run.file_retry_ns = i64::MIN;
        if completes {
            run.complete = true;
            self.tell("run is complete and goes on", run, recorder, session);
        }
        Ok(())
    }

    fn end_run(
        &mut self,
        run: &OneRun,
        mut recorder: Recorder,
        mut probes: Option<Probes>,
        session: &Session,
    ) -> Result<()> {
        let host = &self.around.host;
        if let Some(probes) = &mut probes {
            probes.stop();
            let until_ns = host.boottime_ns() + duration::nanos(LAST_SAMPLES);
            while recorder.step_probes(probes, true)? && host.boottime_ns() < until_ns {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        recorder.stop("the run ended before it did")?;
        self.tell("run has ended", run, &recorder, session);
        self.positions = recorder.positions().clone();
        self.files.park(&mut recorder);
        Ok(())
    }

    /// Seals and exports what there is, within the grace period.
    fn end(mut self, session: &Session) {
        let host = self.around.host.clone();
        let begun_ns = host.boottime_ns();
        let grace_ns = duration::nanos(self.config.run.grace.value);
        self.around.turns.end();
        self.files.sealer().compress_until(begun_ns.saturating_add(grace_ns / 2));
        if let Err(error) = self.files.rest(session) {
            tracing::warn!("the next start seals the last file: {}", super::one_line(&error));
        }
        let wait = |part_ns: i64, done: &dyn Fn() -> bool| {
            while !done() && host.boottime_ns() < begun_ns.saturating_add(part_ns) {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        // A file that cannot be sealed must not keep others from being exported.
        wait(grace_ns / 4 * 3, &|| self.files.sealer().is_idle());
        self.exporting.hurry();
        wait(grace_ns, &|| self.exporting.is_done());
        let left = self.around.outbox.sealed().map_or(0, |sealed| sealed.len());
        let exported = self.around.exported.load(Ordering::Relaxed);
        tracing::info!(exported, left, "the agent ends; what is left goes on at the next start");
    }

    /// One line that says what a run came to.
    fn tell(&self, what: &str, run: &OneRun, recorder: &Recorder, session: &Session) {
        let Totals { rows, batches, losses, masked, dropped_rows } = recorder.totals;
        tracing::info!(
            run = session.run_id,
            rows,
            batches,
            losses,
            dropped_rows,
            masked,
            sealed = self.around.sealed.load(Ordering::Relaxed) - run.sealed_before,
            exported = self.around.exported.load(Ordering::Relaxed) - run.exported_before,
            folder = size::round(run.ceilings.used_bytes),
            "{what}"
        );
    }

    fn tell_health(&self, run: &mut OneRun, recorder: &Recorder) {
        let now_ns = self.around.host.boottime_ns();
        if now_ns.saturating_sub(run.health_ns) < HEALTH_EVERY_NS {
            return;
        }
        run.health_ns = now_ns;
        let collectors = recorder.slots.iter().map(|slot| CollectorHealth {
            name: slot.name,
            outcome: slot.has_ended_once().then_some(slot.report().outcome),
            rows: slot.report().rows,
        });
        self.status.tell(Health {
            totals: recorder.totals,
            collectors: collectors.collect(),
            is_writable: !recorder.is_stuck(),
            is_complete: run.complete,
            logs_are_paused: recorder.logs_paused,
            folder_bytes: run.ceilings.used_bytes,
            free_bytes: run.ceilings.room.map(|room| room.free_bytes),
            sealed: self.around.sealed.load(Ordering::Relaxed),
            exported: self.around.exported.load(Ordering::Relaxed),
            export_failures: self.around.export_failures.load(Ordering::Relaxed),
        });
    }
}

/// Where one run is.
struct OneRun {
    started_ns: i64,
    file_since_ns: i64,
    /// When a file may be made that could not be made before.
    file_retry_ns: i64,
    complete: bool,
    run_id_ns: i64,
    health_ns: i64,
    ceilings: Ceilings,
    exported_before: u64,
    sealed_before: u64,
}

/// Where within `time` a collector of a node begins: by a hash of both names, so
/// that not all nodes ask at once.
fn spread(node: &str, collector: &str, time: Duration) -> i64 {
    let digest =
        Sha256::new().chain_update(node).chain_update([0]).chain_update(collector).finalize();
    let random = digest.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    ((u128::from(random) * time.as_nanos()) >> 64) as i64
}
