//! Which file is written to, and what becomes of the ones before it.
//!
//! The protocol is that of [`periscope_store::positions`]: the next file is made
//! with all positions before the one in front of it is sealed, also at the end of
//! the process, so that there always is a file that knows how far was read.

use std::sync::Arc;

use anyhow::{Context, Result};
use periscope_store::positions::{Abandoned, Positions};
use periscope_store::writer::{Node, Session, Writer};

use super::recorder::Recorder;
use super::sealing::{Sealer, Unsealed};
use crate::outbox::{Name, Outbox};

/// What a process finds in its folder when it starts.
pub(super) struct Past {
    /// How far everything was read.
    pub(super) positions: Positions,
    /// Run that the last file belongs to.
    pub(super) run_id: Option<String>,
    abandoned: Vec<(Name, Abandoned)>,
}

impl Past {
    /// Opens what was left. What cannot be opened is no reason not to start: it is
    /// left alone, and said.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(super) fn find(outbox: &Outbox) -> Result<Self> {
        let names = outbox.live().context("reading the agent's folder")?;
        let mut abandoned = Vec::new();
        for name in names {
            let path = outbox.live_path(&name);
            match Abandoned::open(&path) {
                Ok(Some(file)) => abandoned.push((name, file)),
                Ok(None) => outbox
                    .remove_live(&name)
                    .with_context(|| format!("cannot remove {}", path.display()))?,
                Err(error) => {
                    tracing::error!("left alone: {}", super::one_line(&error.into()));
                }
            }
        }
        let positions = abandoned.iter().filter_map(|(_, file)| file.positions().cloned());
        Ok(Self {
            positions: Positions::newest(positions),
            run_id: abandoned.last().map(|(name, _)| name.run_id.clone()),
            abandoned,
        })
    }
}

/// The files of this process.
pub(super) struct Files {
    outbox: Arc<Outbox>,
    node: Node,
    sealer: Sealer,
    /// Number of the next file.
    number: u64,
    /// File that is written to.
    current: Option<Name>,
    /// Writer of the current file, while no run has it.
    parked: Option<Writer>,
    /// Files of processes before this one.
    abandoned: Vec<(Name, Abandoned)>,
}

impl Files {
    /// Goes on from what was found; nothing is written yet.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(super) fn new(
        outbox: Arc<Outbox>,
        node: Node,
        sealer: Sealer,
        past: Past,
        now_ns: i64,
    ) -> Result<Self> {
        let number = outbox.next_number(now_ns).context("reading the agent's folder")?;
        let abandoned = past.abandoned;
        Ok(Self { outbox, node, sealer, number, current: None, parked: None, abandoned })
    }

    /// Size of the file that is written to.
    pub(super) fn current_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |name| self.outbox.live_bytes(name))
    }

    /// Whether somebody removed the file that is written to; what goes to it then
    /// is in no folder any more.
    pub(super) fn current_is_gone(&self) -> bool {
        self.current.as_ref().is_some_and(|name| !self.outbox.live_path(name).exists())
    }

    /// The thread that seals.
    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Makes the next file, lets the recorder write to it, and has all files
    /// before it sealed.
    ///
    /// # Errors
    ///
    /// If it cannot be made, as on a full disk. Then all is as it was.
    pub(super) fn change(&mut self, recorder: &mut Recorder, session: &Session) -> Result<()> {
        let before = recorder.writer.as_ref().or(self.parked.as_ref());
        let (name, next) = self.make(before, recorder.positions(), session)?;
        let before = recorder.change_file(next).or(self.parked.take());
        self.hand_over(name, before);
        Ok(())
    }

    /// Keeps the file of a run that has ended, until there is a next.
    pub(super) fn park(&mut self, recorder: &mut Recorder) {
        self.parked = recorder.writer.take().or(self.parked.take());
    }

    /// Makes a file that holds positions only, and has all before it sealed: the
    /// process ends. Nothing happens if the last file has no rows.
    ///
    /// # Errors
    ///
    /// If it cannot be made. Then the next start finds the last file unsealed.
    pub(super) fn rest(&mut self, session: &Session) -> Result<()> {
        let Some(before) = self.parked.take() else { return Ok(()) };
        let made = self.make(Some(&before), before.positions(), session);
        let (name, next) = made?;
        drop(next);
        self.hand_over(name, Some(before));
        Ok(())
    }

    fn make(
        &self,
        before: Option<&Writer>,
        positions: &Positions,
        session: &Session,
    ) -> Result<(Name, Writer)> {
        let name = Name {
            number: self.number,
            run_id: session.run_id.clone(),
            node: self.node.name.clone(),
        };
        let path = self.outbox.live_path(&name);
        let made = self.outbox.make_live(&name).map_err(anyhow::Error::from).and_then(|path| {
            Ok(match before {
                Some(before) => before.begin_next(&path, &self.node, session)?,
                None => Writer::create_at(&path, &self.node, session, positions)?,
            })
        });
        match made {
            Ok(writer) => Ok((name, writer)),
            Err(error) => {
                self.outbox.remove_live(&name).ok();
                Err(error).with_context(|| format!("cannot make {}", path.display()))
            }
        }
    }

    fn hand_over(&mut self, name: Name, before: Option<Writer>) {
        self.number += 1;
        let before_name = self.current.replace(name);
        if let (Some(name), Some(writer)) = (before_name, before) {
            self.sealer.seal(name, Unsealed::Written(writer));
        }
        for (name, file) in self.abandoned.drain(..) {
            if file.batch_count() > 0 {
                self.sealer.seal(name, Unsealed::Abandoned(file));
                continue;
            }
            drop(file);
            if let Err(error) = self.outbox.remove_live(&name) {
                tracing::warn!("cannot remove {}: {error}", name.file_name());
            }
        }
    }
}
