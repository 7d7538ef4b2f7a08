//! Which entries of the journal belong to which unit.

use std::collections::HashMap;
use std::io;

use super::file::JournalFile;

/// Longest message that is kept whole. journald cuts lines at 48 KiB; only
/// programs that speak its own protocol can write longer ones.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Bytes of a field that tell what it is. Names of units have at most 255.
const HEAD_BYTES: usize = 512;

/// Fields of a file whose meaning is remembered.
const MAX_REMEMBERED: usize = 65_536;

/// Message that systemd-coredump writes about a process that crashed.
const COREDUMP_MESSAGE: &[u8] = b"fc2e22bc6ee647b6b90729ab34a250b1";

/// Endings of names that systemd takes for units; any other name is a service's.
const UNIT_SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
    ".device",
];

/// Units whose entries are wanted, and the rule by which an entry is theirs.
///
/// An entry belongs to unit `X`, as for `journalctl -u X`, if one of these
/// holds:
///
/// 1. `_SYSTEMD_UNIT=X`: the unit wrote it.
/// 2. `MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1 _UID=0 COREDUMP_UNIT=X`: it
///    tells of a crash of the unit.
/// 3. `_PID=1 UNIT=X`: systemd wrote it about the unit.
/// 4. `_UID=0 OBJECT_SYSTEMD_UNIT=X`: another daemon of root did.
///
/// And, because some nodes run their services without systemd:
///
/// 5. `SYSLOG_IDENTIFIER=x`, where `X` is `x.service`, unless `_SYSTEMD_UNIT`
///    names another wanted unit: then it is that one's alone.
///
/// What `journalctl -o json` prints for these five, joined by `+`, are the same
/// entries. The kernel's messages are those with `_TRANSPORT=kernel`, of all
/// boots. An entry of two units is in both streams.
#[derive(Debug)]
pub(crate) struct Selection {
    units: Vec<String>,
}

/// What a field says about its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing of interest.
    Nothing,
    /// It is the message.
    Message,
    /// `PRIORITY`.
    Priority(u8),
    /// `_TRANSPORT=kernel`.
    Kernel,
    /// `_PID=1`.
    Systemd,
    /// `_UID=0`.
    Root,
    /// `MESSAGE_ID` of a crash.
    Crash,
    /// `_SYSTEMD_UNIT` is the wanted unit with this number.
    By(usize),
    /// `UNIT` is.
    About(usize),
    /// `COREDUMP_UNIT` is.
    CrashOf(usize),
    /// `OBJECT_SYSTEMD_UNIT` is.
    Object(usize),
    /// `SYSLOG_IDENTIFIER` is the short name of.
    CalledAs(usize),
}

impl Selection {
    /// Selects units by name; `.service` is implied.
    pub(crate) fn new(names: &[String]) -> Self {
        let mut units: Vec<String> = Vec::new();
        for name in names {
            let is_whole = UNIT_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
            let unit = if is_whole { name.clone() } else { format!("{name}.service") };
            if !units.contains(&unit) {
                units.push(unit);
            }
        }
        Self { units }
    }

    /// Names of streams by their number: the units, then the kernel.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(String::as_str).chain(["kernel"])
    }

    /// What a field, `NAME=value`, says.
    pub(crate) fn mark(&self, field: &[u8]) -> Mark {
        let Some(at) = field.iter().position(|&byte| byte == b'=') else { return Mark::Nothing };
        let (name, value) = (&field[..at], &field[at + 1..]);
        let unit = || self.units.iter().position(|unit| unit.as_bytes() == value);
        let mark = match name {
            b"MESSAGE" => Some(Mark::Message),
            b"PRIORITY" => match value {
                [digit @ b'0'..=b'7'] => Some(Mark::Priority(digit - b'0')),
                _ => None,
            },
            b"_TRANSPORT" => (value == b"kernel").then_some(Mark::Kernel),
            b"_PID" => (value == b"1").then_some(Mark::Systemd),
            b"_UID" => (value == b"0").then_some(Mark::Root),
            b"MESSAGE_ID" => (value == COREDUMP_MESSAGE).then_some(Mark::Crash),
            b"_SYSTEMD_UNIT" => unit().map(Mark::By),
            b"UNIT" => unit().map(Mark::About),
            b"COREDUMP_UNIT" => unit().map(Mark::CrashOf),
            b"OBJECT_SYSTEMD_UNIT" => unit().map(Mark::Object),
            b"SYSLOG_IDENTIFIER" => self
                .units
                .iter()
                .position(|unit| {
                    unit.strip_suffix(".service").is_some_and(|x| x.as_bytes() == value)
                })
                .map(Mark::CalledAs),
            _ => None,
        };
        mark.unwrap_or(Mark::Nothing)
    }

    /// Numbers of the streams that an entry with these marks belongs to.
    pub(crate) fn assign(&self, marks: &[Mark], streams: &mut Vec<usize>) {
        let has = |mark: Mark| marks.contains(&mark);
        streams.clear();
        for mark in marks {
            let stream = match *mark {
                Mark::By(unit) => unit,
                Mark::About(unit) if has(Mark::Systemd) => unit,
                Mark::CrashOf(unit) if has(Mark::Crash) && has(Mark::Root) => unit,
                Mark::Object(unit) if has(Mark::Root) => unit,
                Mark::CalledAs(unit)
                    if !marks.iter().any(|m| matches!(m, Mark::By(other) if *other != unit)) =>
                {
                    unit
                }
                Mark::Kernel => self.units.len(),
                _ => continue,
            };
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
    }
}

/// An entry of at least one stream.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// Numbers of its streams.
    pub(crate) streams: &'a [usize],
    /// Wall clock when journald received it, microseconds since 1970.
    pub(crate) realtime_us: u64,
    /// `PRIORITY`, 0 to 7, `None` if it has none.
    pub(crate) priority: Option<u8>,
    /// `MESSAGE`, empty if it has none.
    pub(crate) message: &'a [u8],
    /// Whether the message was longer than [`MAX_MESSAGE_BYTES`].
    pub(crate) is_cut: bool,
}

/// Reads the rows of one file.
///
/// Most fields of a file are shared by many entries, so what they say is
/// remembered by their place: a field is looked at once, and messages of other
/// units never.
#[derive(Debug)]
pub(crate) struct RowReader<'a> {
    /// The file.
    pub(crate) file: JournalFile,
    selection: &'a Selection,
    remembered: HashMap<u64, Mark>,
    fields: Vec<u64>,
    marks: Vec<Mark>,
    streams: Vec<usize>,
    bytes: Vec<u8>,
}

impl<'a> RowReader<'a> {
    /// Reads a file with a selection.
    pub(crate) fn new(file: JournalFile, selection: &'a Selection) -> Self {
        Self {
            file,
            selection,
            remembered: HashMap::new(),
            fields: Vec::new(),
            marks: Vec::new(),
            streams: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Reads the entry with this number, `None` if no stream wants it.
    ///
    /// # Errors
    ///
    /// If it is damaged or cannot be read; other entries may be fine.
    pub(crate) fn row(&mut self, index: u64) -> io::Result<Option<Row<'_>>> {
        let realtime_us = self.file.entry(index, &mut self.fields)?;
        self.marks.clear();
        let (mut message_offset, mut priority, mut broken) = (None, None, None);
        for at in 0..self.fields.len() {
            let offset = self.fields[at];
            match self.mark_of(offset) {
                Ok(Mark::Nothing) => {}
                Ok(Mark::Message) => {
                    message_offset.get_or_insert(offset);
                }
                Ok(Mark::Priority(value)) => {
                    priority.get_or_insert(value);
                }
                Ok(mark) => self.marks.push(mark),
                Err(error) => broken = Some(error),
            }
        }
        self.selection.assign(&self.marks, &mut self.streams);
        // A field that cannot be read matters if it may have named a wanted unit
        // or been the message of one.
        if let Some(error) = broken
            && (self.streams.is_empty() || message_offset.is_none())
        {
            return Err(error);
        }
        if self.streams.is_empty() {
            return Ok(None);
        }
        let mut is_cut = false;
        self.bytes.clear();
        if let Some(offset) = message_offset {
            let limit = "MESSAGE=".len() + MAX_MESSAGE_BYTES;
            is_cut = self.file.field(offset, limit, &mut self.bytes)?;
        }
        let message = self.bytes.get("MESSAGE=".len()..).unwrap_or_default();
        Ok(Some(Row { streams: &self.streams, realtime_us, priority, message, is_cut }))
    }

    fn mark_of(&mut self, offset: u64) -> io::Result<Mark> {
        if let Some(mark) = self.remembered.get(&offset) {
            return Ok(*mark);
        }
        self.file.field(offset, HEAD_BYTES, &mut self.bytes)?;
        let mark = self.selection.mark(&self.bytes);
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(offset, mark);
        Ok(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection() -> Selection {
        Selection::new(
            &["docker", "containerd", "kubelet", "dbus.socket", "kubelet.service"]
                .map(str::to_owned),
        )
    }

    fn check(fields: &[&str], expected: &[&str]) {
        let selection = selection();
        let marks: Vec<_> = fields.iter().map(|field| selection.mark(field.as_bytes())).collect();
        let mut streams = Vec::new();
        selection.assign(&marks, &mut streams);
        let names: Vec<_> = selection.streams().collect();
        let streams: Vec<_> = streams.into_iter().map(|stream| names[stream]).collect();
        assert_eq!(streams, expected, "{fields:?}");
    }

    #[test]
    fn service_is_implied_and_repetition_means_nothing() {
        let selection = selection();
        assert_eq!(
            selection.streams().collect::<Vec<_>>(),
            ["docker.service", "containerd.service", "kubelet.service", "dbus.socket", "kernel"]
        );
    }

    #[test]
    fn entries_belong_to_units_as_for_journalctl() {
        check(&["_SYSTEMD_UNIT=kubelet.service", "MESSAGE=x"], &["kubelet.service"]);
        check(&["_SYSTEMD_UNIT=kubelet.service2"], &[]);
        check(&["_SYSTEMD_UNIT=dbus.socket"], &["dbus.socket"]);
        check(&["_PID=1", "UNIT=docker.service", "_SYSTEMD_UNIT=init.scope"], &["docker.service"]);
        check(&["_PID=17", "UNIT=docker.service"], &[]);
        check(&["_UID=0", "OBJECT_SYSTEMD_UNIT=kubelet.service"], &["kubelet.service"]);
        check(&["_UID=1", "OBJECT_SYSTEMD_UNIT=kubelet.service"], &[]);
        let crash = "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1";
        check(&[crash, "_UID=0", "COREDUMP_UNIT=kubelet.service"], &["kubelet.service"]);
        check(&[crash, "_UID=7", "COREDUMP_UNIT=kubelet.service"], &[]);
        check(&["_UID=0", "COREDUMP_UNIT=kubelet.service"], &[]);
        check(&["_TRANSPORT=kernel", "SYSLOG_IDENTIFIER=kernel"], &["kernel"]);
        check(&["_TRANSPORT=journal", "NOT A FIELD", ""], &[]);
    }

    #[test]
    fn services_outside_systemd_are_known_by_what_they_are_called() {
        check(&["SYSLOG_IDENTIFIER=kubelet"], &["kubelet.service"]);
        check(&["SYSLOG_IDENTIFIER=kubelet", "_SYSTEMD_UNIT=session.scope"], &["kubelet.service"]);
        check(
            &["SYSLOG_IDENTIFIER=containerd", "_SYSTEMD_UNIT=docker.service"],
            &["docker.service"],
        );
        check(&["SYSLOG_IDENTIFIER=dbus"], &[]);
        check(
            &["_SYSTEMD_UNIT=docker.service", "_PID=1", "UNIT=kubelet.service"],
            &["docker.service", "kubelet.service"],
        );
    }
}
