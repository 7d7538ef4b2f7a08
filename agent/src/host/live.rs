//! What only a running node has: file systems that fill up, and a clock that
//! somebody keeps right.

use std::io;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use super::Host;

/// Where the kernel says which of its lives this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// `STA_UNSYNC`: nobody has set the clock for a while (man 2 adjtimex).
const STATUS_UNSYNCHRONIZED: i32 = 0x40;

/// `STA_NANO`: the offset is in nanoseconds instead of microseconds.
const STATUS_NANOSECONDS: i32 = 0x2000;

/// Return value `TIME_ERROR`: the clock is not synchronized.
const TIME_ERROR: i32 = 5;

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Size of it all.
    pub(crate) size_bytes: u64,
    /// What is free, that for root included.
    pub(crate) free_bytes: u64,
    /// What is free for all.
    pub(crate) available_bytes: u64,
    /// Files that it can hold, 0 if it has no such limit.
    pub(crate) inodes: u64,
    /// Files that it can still take.
    pub(crate) free_inodes: u64,
    /// Whether nothing can be written, as after an error of the disk.
    pub(crate) is_read_only: bool,
}

/// What the kernel believes of its clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct KernelClock {
    /// Whether somebody keeps it right.
    pub(crate) is_synchronized: bool,
    /// What it is still to be moved by, nanoseconds.
    pub(crate) offset_ns: i64,
    /// How far it can be off, microseconds.
    pub(crate) max_error_us: i64,
    /// How far it probably is off, microseconds.
    pub(crate) estimated_error_us: i64,
    /// By how much it is made to run faster, millionths.
    pub(crate) frequency_ppm: f64,
}

impl Host {
    /// Whether the root is that of the node this process runs on, and no tree
    /// that was captured.
    pub(crate) fn is_live(&self) -> bool {
        let own = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
        !own.is_empty() && self.read_text(BOOT_ID, 4096).is_ok_and(|text| text == own)
    }

    /// How full the file system is that a path lies on. Never ask this of one on
    /// the network: it waits for the server.
    ///
    /// # Errors
    ///
    /// As for [`Host::open_file`].
    pub(crate) fn room(&self, path: &str) -> io::Result<Room> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let fd = rustix::fs::openat2(
            &self.root,
            path,
            flags,
            Mode::empty(),
            rustix::fs::ResolveFlags::IN_ROOT,
        )?;
        let stat = rustix::fs::fstatvfs(&fd)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Room {
            size_bytes: bytes(stat.f_blocks),
            free_bytes: bytes(stat.f_bfree),
            available_bytes: bytes(stat.f_bavail),
            inodes: stat.f_files,
            free_inodes: stat.f_ffree,
            is_read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    /// What the kernel believes of its clock; `None` if the node is not running.
    ///
    /// # Errors
    ///
    /// If the kernel does not let this process ask.
    pub(crate) fn kernel_clock(&self) -> io::Result<Option<KernelClock>> {
        if !self.is_live() {
            return Ok(None);
        }
        let (state, time) = ask_clock()?;
        let unit = if time.status & STATUS_NANOSECONDS == 0 { 1_000 } else { 1 };
        Ok(Some(KernelClock {
            is_synchronized: state != TIME_ERROR && time.status & STATUS_UNSYNCHRONIZED == 0,
            offset_ns: time.offset.saturating_mul(unit),
            max_error_us: time.maxerror,
            estimated_error_us: time.esterror,
            // In units of 2^-16 millionths.
            frequency_ppm: time.freq as f64 / 65_536.0,
        }))
    }
}

/// Asks the kernel for the state of its clock, and changes nothing.
#[expect(unsafe_code, reason = "no file tells the state of the clock, and no safe wrapper asks")]
fn ask_clock() -> io::Result<(i32, libc::timex)> {
    // SAFETY: timex is plain numbers, for which all zeros are a value; with no
    // mode set the call only writes to the structure it is given.
    let (state, time) = unsafe {
        let mut time: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut time), time)
    };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok((state, time)) }
}
