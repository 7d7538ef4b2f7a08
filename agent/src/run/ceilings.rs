//! What the agent may take of the node's disk: its folder has a cap, and the file
//! system keeps a part free.

use periscope_store::batch::{Issue, IssueKind};

use super::notes::Notes;
use crate::config::RunConfig;
use crate::host::Host;
use crate::outbox::{Outbox, Room};
use crate::size;

/// How often the disk is looked at.
const EVERY_NS: i64 = 2_000_000_000;

/// How often it is said again that no logs are read.
const REMIND_NS: i64 = 3_600_000_000_000;

/// The ceilings, and what became of them.
#[derive(Debug)]
pub(super) struct Ceilings {
    folder_bytes: u64,
    free_percent: u64,
    free_bytes: u64,
    checked_ns: i64,
    /// Since when no logs are read, and up to when that has been noted.
    paused: Option<(i64, i64)>,
    /// Size of the folder when it was looked at.
    pub(super) used_bytes: u64,
    /// Room on the file system when it was looked at.
    pub(super) room: Option<Room>,
}

impl Ceilings {
    pub(super) fn new(config: &RunConfig) -> Self {
        Self {
            folder_bytes: config.folder_bytes.value,
            free_percent: config.free_percent.value,
            free_bytes: config.free_bytes.value,
            checked_ns: i64::MIN,
            paused: None,
            used_bytes: 0,
            room: None,
        }
    }

    /// Removes what is above the cap. Whether logs may be read.
    pub(super) fn check(&mut self, host: &Host, outbox: &Outbox, notes: &Notes) -> bool {
        let now_ns = host.boottime_ns();
        if now_ns.saturating_sub(self.checked_ns) < EVERY_NS {
            return self.paused.is_none();
        }
        self.checked_ns = now_ns;
        let why = self.hold_cap(outbox, notes).or_else(|| self.keep_free(outbox));
        match (why, self.paused) {
            (Some(why), None) => {
                self.paused = Some((now_ns, now_ns));
                notes.add(note(outbox, None, format!("no logs are read: {why}")));
            }
            (Some(_), Some((since_ns, noted_ns))) if now_ns - noted_ns >= REMIND_NS => {
                self.paused = Some((since_ns, now_ns));
                notes.add(unread(outbox, now_ns - noted_ns));
            }
            (None, Some((_, noted_ns))) => {
                self.paused = None;
                notes.add(unread(outbox, now_ns - noted_ns));
            }
            _ => {}
        }
        self.paused.is_none()
    }

    /// Removes the oldest sealed files above the cap. Why logs must wait if that
    /// is not enough.
    fn hold_cap(&mut self, outbox: &Outbox, notes: &Notes) -> Option<String> {
        let cap = size::round(self.folder_bytes);
        match outbox.make_room(self.folder_bytes) {
            Ok(removed) => {
                for sealed in removed {
                    notes.add(Issue {
                        source: sealed.name.file_name(),
                        kind: IssueKind::Dropped,
                        amount: Some(sealed.bytes),
                        unit: Some("bytes"),
                        message: format!(
                            "removed as the oldest of a folder that reached its cap of {cap}"
                        ),
                    });
                }
            }
            Err(error) => tracing::warn!("cannot make room in the agent's folder: {error}"),
        }
        self.used_bytes = outbox.bytes().unwrap_or(self.used_bytes);
        (self.used_bytes > self.folder_bytes)
            .then(|| format!("the folder is above its cap of {cap}, and nothing in it is sealed"))
    }

    /// Why logs must wait if the file system has too little room.
    fn keep_free(&mut self, outbox: &Outbox) -> Option<String> {
        self.room = outbox.room().ok();
        let room = self.room?;
        let least = self.least(room);
        // A little more must be free to go on than to stop.
        let margin = if self.paused.is_some() { least / 20 } else { 0 };
        (room.free_bytes < least + margin).then(|| {
            let (free, least) = (size::round(room.free_bytes), size::round(least));
            format!("the file system has {free} free, and {least} shall stay free")
        })
    }

    fn least(&self, room: Room) -> u64 {
        let percent = u128::from(room.all_bytes) * u128::from(self.free_percent) / 100;
        self.free_bytes.max(u64::try_from(percent).unwrap_or(u64::MAX)).min(u64::MAX / 2)
    }
}

fn unread(outbox: &Outbox, time_ns: i64) -> Issue {
    let seconds = time_ns.unsigned_abs() / 1_000_000_000;
    note(outbox, Some(seconds), "no logs were read for want of room on the disk".to_owned())
}

fn note(outbox: &Outbox, seconds: Option<u64>, message: String) -> Issue {
    Issue {
        source: outbox.folder().display().to_string(),
        kind: IssueKind::Truncated,
        amount: seconds,
        unit: seconds.map(|_| "seconds"),
        message,
    }
}
