//! The logs that everything is measured on: where they are, and what their lines
//! mean.
//!
//! Three kinds: `klog` (whole lines of Kubernetes components, times from their
//! stamps), `cri` (files of a container runtime, a stamp and an output in front
//! of each line) and `journal` (`journalctl -o short-iso-precise`). Nothing of a
//! line is thrown away but what its row has elsewhere: time and output.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use periscope_store::batch::{LineFlags, Stream};
use periscope_store::time::parse_rfc3339;

use crate::level::level;

/// Year of stamps that name none.
const YEAR: &str = "2026";

/// How the lines of a file are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Klog,
    Cri,
    Journal,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Klog, Self::Cri, Self::Journal];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Klog => "klog",
            Self::Cri => "cri",
            Self::Journal => "journal",
        }
    }

    /// Collector of an agent that reads such files.
    pub(crate) fn collector(self) -> &'static str {
        match self {
            Self::Klog => "provision-logs",
            Self::Cri => "container-logs",
            Self::Journal => "service-logs",
        }
    }
}

/// A log file and its kind.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
}

impl Source {
    /// Name of the file without its extension.
    pub(crate) fn name(&self) -> String {
        self.path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Stream that its rows belong to.
    pub(crate) fn stream(&self) -> Stream {
        let name = self.name();
        match self.kind {
            Kind::Klog => Stream::file(&format!("/var/log/{name}.log")),
            Kind::Journal => Stream::unit(&name),
            Kind::Cri => {
                let (namespace, pod) = name.split_once('_').unwrap_or(("default", &name));
                Stream::container(namespace, pod, "uid", pod, 0)
            }
        }
    }

    /// Argument that names it to another process of this program.
    pub(crate) fn argument(&self) -> String {
        format!("{}:{}", self.kind.name(), self.path.display())
    }

    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        fs::read(&self.path).with_context(|| format!("reading {}", self.path.display()))
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, path) = text.split_once(':').ok_or("expected KIND:PATH")?;
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.name() == kind)
            .ok_or_else(|| format!("no kind {kind}"))?;
        Ok(Self { kind, path: path.into() })
    }
}

/// Puts a corpus into a folder: one folder a kind, unpacked if need be.
///
/// # Errors
///
/// If a kind is missing, or an archive is damaged.
pub(crate) fn unpack(from: &Path, to: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for kind in Kind::ALL {
        let (archive, folder) =
            (from.join(format!("{}.tar.zst", kind.name())), from.join(kind.name()));
        let folder = if archive.is_file() {
            let doing = || format!("unpacking {}", archive.display());
            let file = File::open(&archive).with_context(doing)?;
            let unpacked = to.join(kind.name());
            if unpacked.exists() {
                fs::remove_dir_all(&unpacked).context("removing the corpus of an earlier run")?;
            }
            let mut tar = tar::Archive::new(zstd::Decoder::new(file).with_context(doing)?);
            tar.unpack(to).with_context(doing)?;
            unpacked
        } else {
            folder
        };
        let before = sources.len();
        let entries = fs::read_dir(&folder).with_context(|| {
            format!(
                "the corpus has no {}\nhint: --corpus DIR takes a folder with klog, cri and \
                 journal, as folders or as .tar.zst",
                kind.name()
            )
        })?;
        for entry in entries {
            let path = entry.context("listing the corpus")?.path();
            if path.is_file() {
                sources.push(Source { kind, path });
            }
        }
        ensure!(sources.len() > before, "{} has no log file", folder.display());
        sources[before..].sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(sources)
}

/// All files of a kind as one archive, the same bytes every time.
///
/// # Errors
///
/// If a file cannot be read or the archive not written.
pub(crate) fn pack(kind: Kind, sources: &[Source], to: &Path) -> Result<()> {
    let doing = || format!("writing {}", to.display());
    let mut tar = tar::Builder::new(File::create(to).with_context(doing)?);
    tar.mode(tar::HeaderMode::Deterministic);
    for source in sources.iter().filter(|source| source.kind == kind) {
        let name = Path::new(kind.name()).join(source.path.file_name().unwrap_or_default());
        let mut file = File::open(&source.path).with_context(doing)?;
        tar.append_file(name, &mut file).with_context(doing)?;
    }
    tar.into_inner().and_then(|file| file.sync_all()).with_context(doing)
}

/// First digits of the SHA-256 of a file.
///
/// # Errors
///
/// If it cannot be read.
pub(crate) fn digest(path: &Path) -> Result<String> {
    use sha2::Digest;
    let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let (mut hash, mut buffer) = (sha2::Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).with_context(|| format!("reading {}", path.display()))? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    let digest: [u8; 32] = hash.finalize().into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    Ok(format!("{:016x}", u64::from_be_bytes(first)))
}

/// A line as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) ts_ns: i64,
    pub(crate) flags: LineFlags,
    pub(crate) message: &'a [u8],
}

/// Reads the lines of one file.
#[derive(Debug)]
pub(crate) struct Lines {
    kind: Kind,
    last_ns: i64,
}

impl Lines {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, last_ns: 0 }
    }

    /// Row of a line, which may still have its newline. One without a time has
    /// that of the line before, and a flag that says so.
    pub(crate) fn row<'a>(&mut self, line: &'a [u8]) -> Row<'a> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let parsed = match self.kind {
            Kind::Klog => klog(line),
            Kind::Cri => cri(line),
            Kind::Journal => journal(line),
        };
        let mut row = parsed.unwrap_or(Row {
            ts_ns: self.last_ns,
            flags: LineFlags { inferred_time: true, ..LineFlags::default() },
            message: line,
        });
        row.flags.level = level(row.message);
        self.last_ns = row.ts_ns;
        row
    }
}

/// Row of a line of this time that was all there was.
fn plain(ts_ns: i64, message: &[u8]) -> Row<'_> {
    Row { ts_ns, flags: LineFlags::default(), message }
}

/// `I1122 12:29:23.508283   22705 …`, or a date in front as etcd writes it.
fn klog(line: &[u8]) -> Option<Row<'_>> {
    let text = |from, to| std::str::from_utf8(line.get(from..to)?).ok();
    let stamp = || {
        let (month, day, time) = (text(1, 3)?, text(3, 5)?, text(6, 21)?);
        parse_rfc3339(&format!("{YEAR}-{month}-{day}T{time}Z"))
    };
    let date = || parse_rfc3339(&format!("{}T{}Z", text(0, 10)?, text(11, 26)?));
    Some(plain(stamp().or_else(date)?, line))
}

/// `2026-11-22T13:10:50.000061637Z stdout F …`.
fn cri(line: &[u8]) -> Option<Row<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let ts_ns = parse_rfc3339(std::str::from_utf8(parts.next()?).ok()?)?;
    let stderr = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = parts.next()? == b"P";
    let flags = LineFlags { stderr, partial, ..LineFlags::default() };
    Some(Row { flags, ..plain(ts_ns, parts.next()?) })
}

/// `2026-11-22T12:29:28.654997+0000 host program[1]: …`; host and program stay in
/// the message.
fn journal(line: &[u8]) -> Option<Row<'_>> {
    let text = |from, to| std::str::from_utf8(line.get(from..to)?).ok();
    let ts_ns = parse_rfc3339(&format!("{}:{}", text(0, 29)?, text(29, 31)?))?;
    Some(plain(ts_ns, line.get(32..)?))
}

#[cfg(test)]
mod tests {
    use periscope_store::batch::Level;
    use periscope_store::time::format_ns;

    use super::*;

    fn check(kind: Kind, line: &str, ts: &str, level: Level, message: &str) {
        let row = Lines::new(kind).row(line.as_bytes());
        assert_eq!(format_ns(row.ts_ns), ts, "{line}");
        assert_eq!(row.flags.level, level, "{line}");
        assert_eq!(row.message, message.as_bytes(), "{line}");
        assert!(!row.flags.inferred_time, "{line}");
    }

    #[test]
    fn lines_of_every_kind_have_their_time_and_text() {
        let klog = "E1122 12:29:23.508283   22705 flags.go:59] FLAG";
        check(Kind::Klog, klog, "2026-11-22T12:29:23.508283000Z", Level::Error, klog);
        let etcd = "2026-11-22 12:29:23.432157 I | etcdmain: etcd";
        check(Kind::Klog, etcd, "2026-11-22T12:29:23.432157000Z", Level::None, etcd);
        check(
            Kind::Cri,
            "2026-11-22T13:10:50.000061637Z stderr F  two  blanks \n",
            "2026-11-22T13:10:50.000061637Z",
            Level::None,
            " two  blanks ",
        );
        check(
            Kind::Journal,
            "2026-11-22T12:29:28.654997+0000 node kernel: x",
            "2026-11-22T12:29:28.654997000Z",
            Level::None,
            "node kernel: x",
        );
    }

    #[test]
    fn a_line_without_a_time_has_the_last_one() {
        let mut lines = Lines::new(Kind::Cri);
        let first = lines.row(b"2026-11-22T13:10:50Z stdout P a");
        assert!(first.flags.partial && !first.flags.stderr);
        let second = lines.row(b"no runtime wrote this");
        assert_eq!((second.ts_ns, second.message), (first.ts_ns, &b"no runtime wrote this"[..]));
        assert!(second.flags.inferred_time);
    }
}
