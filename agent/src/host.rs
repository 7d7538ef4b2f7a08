//! The one door to the node: its files, its clocks, and the programs it may run.
//!
//! Every path is a path *on the node*. The door opens it below the host root
//! (`/host` in a pod, `/` elsewhere, a folder for a captured tree), and follows
//! symbolic links as the node itself would: `/etc/resolv.conf → /run/…` stays
//! below the root. Nothing is ever written.
//!
//! Nothing else in the agent opens node files, reads a clock or starts a
//! program; `clippy.toml` closes the standard library's doors everywhere else.
#![expect(clippy::disallowed_methods, reason = "this module is the door that the lint points to")]

mod live;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

/// Programs of the node that the agent may run, with fixed arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `iptables-save -c`: all tables of IPv4 with counters.
    IptablesSave,
    /// `ip6tables-save -c`: all tables of IPv6 with counters.
    Ip6tablesSave,
    /// `iptables --version`: names the backend.
    IptablesVersion,
}

impl Program {
    /// Name and arguments.
    fn command(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::IptablesSave => ("iptables-save", &["-c"]),
            Self::Ip6tablesSave => ("ip6tables-save", &["-c"]),
            Self::IptablesVersion => ("iptables", &["--version"]),
        }
    }

    /// Program of a name, for [`exec_in_root`].
    fn parse(name: &str) -> Option<Self> {
        [Self::IptablesSave, Self::Ip6tablesSave, Self::IptablesVersion]
            .into_iter()
            .find(|program| program.command().0 == name)
    }
}

/// What a program printed, within the limits it was run with.
#[derive(Debug)]
pub(crate) struct Output {
    /// Standard output, cut at the limit.
    pub(crate) stdout: Vec<u8>,
    /// Whether there was more than the limit.
    pub(crate) truncated: bool,
    /// First lines of standard error.
    pub(crate) stderr: String,
    /// Whether it exited with status 0.
    pub(crate) success: bool,
}

/// A file of the node, opened for reading.
#[derive(Debug)]
pub(crate) struct HostFile {
    /// The file itself, at its start.
    pub(crate) file: File,
    /// Device and inode: two names of one file share them.
    pub(crate) identity: (u64, u64),
    /// Size in bytes when it was opened.
    pub(crate) size: u64,
    /// Last change, nanoseconds since 1970.
    pub(crate) modified_ns: i64,
}

/// What a name in a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A file to read.
    File,
    /// A folder to list.
    Folder,
    /// A symbolic link to either.
    Link,
    /// A socket, pipe or device: never opened.
    Other,
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name alone.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: EntryKind,
}

/// The node, seen through its root folder.
#[derive(Debug)]
pub(crate) struct Host {
    root: OwnedFd,
    path: PathBuf,
}

impl Host {
    /// Opens the door at a root folder.
    ///
    /// # Errors
    ///
    /// If the folder does not exist or is none.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, Mode::empty()).with_context(|| {
            format!("cannot open host root {}\nhint: on the node itself it is /", root.display())
        })?;
        let path = std::fs::canonicalize(root).context("resolving the host root")?;
        Ok(Self { root: fd, path })
    }

    /// Opens a file. Only regular files are: a pipe or device is
    /// [`io::ErrorKind::InvalidInput`], at once and without waiting for it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the node has no such file, else what the
    /// system says.
    pub(crate) fn open_file(&self, path: &str) -> io::Result<HostFile> {
        let fd = self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(HostFile {
            file: File::from(fd),
            identity: (stat.st_dev, stat.st_ino),
            size: stat.st_size.try_into().unwrap_or_default(),
            modified_ns: stat.st_mtime.saturating_mul(1_000_000_000) + stat.st_mtime_nsec as i64,
        })
    }

    /// Reads a small file, at most `limit` bytes; a longer one is
    /// [`io::ErrorKind::FileTooLarge`].
    ///
    /// # Errors
    ///
    /// As for [`Host::open_file`].
    pub(crate) fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(path)?.file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("larger than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// Reads a small text file, bytes that are no UTF-8 replaced.
    ///
    /// # Errors
    ///
    /// As for [`Host::read`].
    pub(crate) fn read_text(&self, path: &str, limit: usize) -> io::Result<String> {
        self.read(path, limit).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Names in a folder, sorted; names that are no UTF-8 are left out.
    ///
    /// # Errors
    ///
    /// As for [`Host::open_file`].
    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let fd = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::new(fd)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Folder,
                FileType::Symlink => EntryKind::Link,
                _ => EntryKind::Other,
            };
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => entries.push(Entry { name: name.to_owned(), kind }),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Wall clock, nanoseconds since 1970.
    #[expect(clippy::unused_self, reason = "the clock belongs to the node")]
    pub(crate) fn now_ns(&self) -> i64 {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => nanos(since),
            Err(before) => -nanos(before.duration()),
        }
    }

    /// `CLOCK_BOOTTIME`, nanoseconds: never jumps, counts suspends.
    #[expect(clippy::unused_self, reason = "the clock belongs to the node")]
    pub(crate) fn boottime_ns(&self) -> i64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec.saturating_mul(1_000_000_000) + now.tv_nsec
    }

    /// Runs a program of the node inside its root, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// If it cannot be started or does not end in time; then it is killed.
    pub(crate) fn run(&self, program: Program, limit: usize, timeout: Duration) -> Result<Output> {
        let (name, arguments) = program.command();
        let mut command = if self.path == Path::new("/") {
            let mut command = Command::new(name);
            command.args(arguments);
            command
        } else {
            // A child of our own enters the root before it becomes the program:
            // the program finds its libraries, and this process stays outside.
            let mut command = Command::new("/proc/self/exe");
            command.arg(EXEC_IN_ROOT).arg(&self.path).arg(name);
            command
        };
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin");
        run(command, name, limit, timeout)
    }

    /// Runs this program again as a child with a task of its own, so that what goes
    /// wrong there goes wrong there alone.
    ///
    /// # Errors
    ///
    /// As [`Host::run`].
    #[expect(clippy::unused_self, reason = "programs are started through the door")]
    pub(crate) fn run_own(
        &self,
        task: &str,
        file: &Path,
        limit: usize,
        timeout: Duration,
    ) -> Result<Output> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(task).arg(file).env_clear();
        run(command, task, limit, timeout)
    }

    fn open_below(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(rustix::fs::openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
    }
}

/// Runs a command to its end, for at most `timeout`, and keeps what it prints.
fn run(mut command: Command, name: &str, limit: usize, timeout: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let stdout = drain(child.stdout.take(), limit);
    let stderr = drain(child.stderr.take(), 4096);
    let deadline = Instant::now() + timeout;
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for a program")? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill().ok();
            child.wait().ok();
            bail!("{name} did not end within {} s", timeout.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let (stdout, truncated) = stdout.join().unwrap_or_default();
    let (stderr, _) = stderr.join().unwrap_or_default();
    Ok(Output {
        stdout,
        truncated,
        stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
        success: status.success(),
    })
}

/// First argument by which the agent's own child process is told apart.
pub(crate) const EXEC_IN_ROOT: &str = "__exec-in-root";

/// Body of the child that [`Host::run`] starts: enters `root` and becomes the
/// program. Returns only if that fails.
pub(crate) fn exec_in_root(root: &Path, program: &str) -> Result<()> {
    let Some(program) = Program::parse(program) else {
        bail!("{program} is not a program the agent may run");
    };
    std::os::unix::fs::chroot(root).context("entering the host root")?;
    std::env::set_current_dir("/").context("entering the host root")?;
    let (name, arguments) = program.command();
    Err(Command::new(name).args(arguments).exec()).with_context(|| format!("cannot start {name}"))
}

/// Reads a pipe to its end in a thread, keeping the first `limit` bytes.
fn drain(
    pipe: Option<impl Read + Send + 'static>,
    limit: usize,
) -> std::thread::JoinHandle<(Vec<u8>, bool)> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let Some(mut pipe) = pipe else { return (kept, false) };
        let read = pipe.by_ref().take(limit as u64).read_to_end(&mut kept);
        let more = io::copy(&mut pipe, &mut io::sink()).unwrap_or_default();
        (kept, more > 0 || read.is_err())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("etc")).expect("a folder");
        std::fs::create_dir_all(root.join("run/systemd")).expect("a folder");
        std::fs::write(root.join("run/systemd/resolv.conf"), "nameserver 1.2.3.4\n")
            .expect("a file");
        std::os::unix::fs::symlink("/run/systemd/resolv.conf", root.join("etc/resolv.conf"))
            .expect("a link");
        let host = Host::open(root).expect("a root");
        (folder, host)
    }

    #[test]
    fn absolute_links_stay_below_the_root() {
        let (_folder, host) = tree();
        let text = host.read_text("/etc/resolv.conf", 100).expect("through the link");
        assert_eq!(text, "nameserver 1.2.3.4\n");
        assert_eq!(
            host.read("/etc/../../../etc/hostname", 100).expect_err("above the root").kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn what_is_too_long_or_no_file_is_said() {
        let (folder, host) = tree();
        let kind = |result: io::Result<Vec<u8>>| result.expect_err("an error").kind();
        assert_eq!(kind(host.read("/etc/resolv.conf", 5)), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(host.read("/etc", 5)), io::ErrorKind::InvalidInput);
        assert_eq!(kind(host.read("/nothing", 5)), io::ErrorKind::NotFound);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("pipe"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .expect("a pipe");
        assert_eq!(kind(host.read("/pipe", 5)), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn folders_are_listed_in_order() {
        let (_folder, host) = tree();
        let names: Vec<_> =
            host.list("/").expect("a list").into_iter().map(|e| (e.name, e.kind)).collect();
        assert_eq!(
            names,
            [("etc".to_owned(), EntryKind::Folder), ("run".to_owned(), EntryKind::Folder)]
        );
    }
}
