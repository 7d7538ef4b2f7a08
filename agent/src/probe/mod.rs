//! Probes: what the node can reach, tried at a fixed rate.
//!
//! A [`Prober`] is made of checked targets and runs in one thread, which the
//! runner starts with [`blocking_run`]. Each target has its own timer; successes
//! are samples too. It reads files and clocks through [`Host`], writes nothing,
//! and keeps nothing: samples leave by a bounded channel. What a row of failures
//! means is not judged here.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result};
use periscope_store::batch::{Issue, ProbeSample};

use crate::host::Host;

mod target;
mod defaults;
mod names;
mod failure;
mod surroundings;
mod dns;
mod proxy;
mod witness;
mod check;
mod schedule;

#[cfg(test)]
mod testing;

pub(crate) use defaults::{Defaults, Facts, discover};
pub(crate) use proxy::Proxies;
pub(crate) use schedule::{Dropped, Stop};
pub(crate) use target::{Target, TargetConfig, targets};
pub(crate) use witness::Shows;

use surroundings::Keeper;

/// Name in column `collector`, as users select it.
pub(crate) const NAME: &str = "probe";

/// Targets with all that is needed to try them.
#[derive(Debug)]
pub(crate) struct Prober {
    targets: Vec<Target>,
    host: Arc<Host>,
    keeper: Keeper,
    proxies: Proxies,
    node_name: String,
    dropped: Arc<Dropped>,
    shows: Arc<Shows>,
}

impl Prober {
    /// Makes a prober of checked [`targets`].
    ///
    /// `pod` is the root of the agent's own pod, if it runs in one: targets with
    /// `resolver = "pod"` are resolved as it says. `node_name` spreads the tries of
    /// many nodes over the interval. Files that could not be read are issues; the
    /// targets that need them are skipped until they can be.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up at all.
    pub(crate) fn new(
        targets: Vec<Target>,
        host: Arc<Host>,
        pod: Option<Arc<Host>>,
        proxies: Proxies,
        node_name: &str,
    ) -> Result<(Self, Vec<Issue>)> {
        let (keeper, issues) = Keeper::new(Arc::clone(&host), pod, &targets)?;
        let node_name = node_name.to_owned();
        let (dropped, shows) = (Arc::default(), Arc::default());
        Ok((Self { targets, host, keeper, proxies, node_name, dropped, shows }, issues))
    }

    /// The targets; samples name them by their place here.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Certificates that the targets show.
    pub(crate) fn shows(&self) -> Arc<Shows> {
        Arc::clone(&self.shows)
    }

    /// Count of the samples that found the channel full.
    pub(crate) fn dropped(&self) -> Arc<Dropped> {
        Arc::clone(&self.dropped)
    }
}

/// Tries all targets, in this thread, until `stop` is asked or the receiver is
/// gone; without targets there is nothing to do and it returns at once. A sample comes with the place of its target in [`Prober::targets`].
///
/// It never waits for the receiver: a sample that finds the channel full is
/// dropped and counted in [`Prober::dropped`].
///
/// # Errors
///
/// If the system gives no room for an event loop.
pub(crate) fn blocking_run(
    prober: Prober,
    out: SyncSender<(usize, ProbeSample)>,
    stop: Arc<Stop>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the event loop of the probes")?;
    runtime.block_on(schedule::run(Arc::new(prober), out, stop));
    Ok(())
}
