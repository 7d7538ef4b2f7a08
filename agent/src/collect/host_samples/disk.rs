//! Disks and what lies on them: operations of devices, room of file systems.

use std::collections::HashSet;

use periscope_store::batch::{Issue, IssueKind};

use super::kernel::number;
use super::{MAX_FILE_BYTES, Values, damaged, issue, labelled, unread};
use crate::host::Host;

/// Devices and file systems that are sampled at most.
const MAX_DEVICES: usize = 64;

/// A sector of `/proc/diskstats`, whatever the device's own are (kernel,
/// `admin-guide/iostats`).
const SECTOR_BYTES: f64 = 512.0;

/// File systems on devices of the node. Asking one on the network how full it
/// is can take for ever.
const LOCAL: [&str; 8] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "zfs"];

/// Mounts of the node itself that lie in memory, and the root of a node that is
/// itself a container.
const ALWAYS: [&str; 4] = ["/", "/run", "/tmp", "/dev/shm"];

/// Columns of `/proc/diskstats` behind the name, their names here, and what they
/// are multiplied by.
const DEVICE: [(usize, &str, f64); 8] = [
    (0, "disk_reads_total", 1.0),
    (2, "disk_read_bytes_total", SECTOR_BYTES),
    (3, "disk_read_seconds_total", 1e-3),
    (4, "disk_writes_total", 1.0),
    (6, "disk_written_bytes_total", SECTOR_BYTES),
    (7, "disk_write_seconds_total", 1e-3),
    (8, "disk_operations_in_progress", 1.0),
    (9, "disk_busy_seconds_total", 1e-3),
];

/// `   8       0 sda 1 2 3 …`: whole devices only, as partitions repeat them.
pub(super) fn devices(text: &str) -> Option<Values> {
    let mut values = Values::new();
    let mut count = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, _, name, columns @ ..] = words.as_slice() else { return None };
        let is_used = columns.iter().take(8).any(|column| *column != "0");
        if !is_whole_device(name) || !is_used || count == MAX_DEVICES {
            continue;
        }
        count += 1;
        for (at, value, unit) in DEVICE {
            let value = labelled(value, &[("device", name)]);
            values.push((value, number(columns.get(at)?)? * unit));
        }
    }
    (!text.is_empty()).then_some(values)
}

/// `sda`, `vdb`, `nvme0n1` and `dm-0`, but not `sda1`, `nvme0n1p1` or `loop0`.
fn is_whole_device(name: &str) -> bool {
    let is_letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let lettered = ["sd", "vd", "xvd", "hd"];
    lettered.iter().any(|start| name.strip_prefix(start).is_some_and(is_letters))
        || ["dm-", "md"].iter().any(|start| name.strip_prefix(start).is_some_and(is_digits))
        || name
            .strip_prefix("nvme")
            .and_then(|rest| rest.split_once('n'))
            .is_some_and(|(controller, space)| is_digits(controller) && is_digits(space))
}

/// Room of each file system of the node.
pub(super) fn sample(host: &Host) -> (Values, Vec<Issue>) {
    const MOUNTS: &str = "/proc/1/mountinfo";
    let text = match host.read_text(MOUNTS, MAX_FILE_BYTES) {
        Ok(text) => text,
        Err(error) => return (Values::new(), vec![unread(MOUNTS, &error)]),
    };
    let Some(mounts) = mounts(&text) else { return (Values::new(), vec![damaged(MOUNTS)]) };
    // Paths of a tree that was captured lie on somebody else's disk.
    if !host.is_live() {
        let text = "file systems of a node that is not running are not measured".to_owned();
        return (Values::new(), vec![issue(MOUNTS, IssueKind::Absent, text)]);
    }
    let mut values = Values::new();
    let mut issues = Vec::new();
    if mounts.len() > MAX_DEVICES {
        issues.push(Issue {
            amount: Some((mounts.len() - MAX_DEVICES) as u64),
            unit: Some("file systems"),
            ..issue(MOUNTS, IssueKind::Truncated, format!("only {MAX_DEVICES} are sampled"))
        });
    }
    for mount in mounts.iter().take(MAX_DEVICES) {
        match host.room(mount) {
            Ok(room) => {
                let mut push = |name: &str, value: u64| {
                    values.push((labelled(name, &[("mount", mount)]), value as f64));
                };
                push("filesystem_size_bytes", room.size_bytes);
                push("filesystem_free_bytes", room.free_bytes);
                push("filesystem_available_bytes", room.available_bytes);
                push("filesystem_inodes", room.inodes);
                push("filesystem_free_inodes", room.free_inodes);
                push("filesystem_read_only", u64::from(room.is_read_only));
            }
            Err(error) => {
                let text = format!("cannot be asked how full it is: {error}");
                issues.push(issue(mount, IssueKind::Unreadable, text));
            }
        }
    }
    (values, issues)
}

/// Where the node's file systems are mounted, each once: of several mounts of
/// one device the first, which is not that of a pod.
///
/// `36 35 98:0 / /mnt rw,noatime master:1 - ext4 /dev/sda1 rw`
fn mounts(text: &str) -> Option<Vec<String>> {
    let mut seen = HashSet::new();
    let mut mounts = Vec::new();
    for line in text.lines() {
        let (mount, source) = line.split_once(" - ")?;
        let words: Vec<_> = mount.split(' ').collect();
        let (device, path) = (*words.get(2)?, unescape(words.get(4)?));
        let kind = source.split(' ').next()?;
        let is_local = LOCAL.contains(&kind) && !path.starts_with("/var/lib/kubelet/pods/");
        let is_wanted = is_local || ALWAYS.contains(&path.as_str());
        // A mount over another hides it.
        if is_wanted && seen.insert(device) && !mounts.contains(&path) {
            mounts.push(path);
        }
    }
    (!text.is_empty()).then_some(mounts)
}

/// Blanks and backslashes of paths stand as `\040` and `\134`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[3..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_sampled_whole_and_if_used() {
        for name in ["sda", "sdab", "vdb", "nvme0n1", "nvme12n1", "dm-0", "md127"] {
            assert!(is_whole_device(name), "{name}");
        }
        for name in ["sda1", "nvme0n1p1", "nvme0", "loop0", "sr0", "ram1", "zram0", ""] {
            assert!(!is_whole_device(name), "{name}");
        }
        let text = "   7       0 loop0 5 0 5 5 0 0 0 0 0 5 5\n   8       0 sda 10 1 2048 500 20 2 \
            4096 1500 3 2500 2000 0 0 0 0\n   8       1 sda1 10 1 2048 500 20 2 4096 1500 3 25 2\n   \
            8      16 sdb 0 0 0 0 0 0 0 0 0 0 0\n";
        let values = devices(text).expect("a table");
        let named = |name: &str| {
            let name = labelled(name, &[("device", "sda")]);
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        };
        assert_eq!(values.len(), 8, "{values:?}");
        assert_eq!(named("disk_read_bytes_total"), Some(2048.0 * 512.0));
        assert_eq!(named("disk_write_seconds_total"), Some(1.5));
        assert_eq!(named("disk_operations_in_progress"), Some(3.0));
        assert_eq!(named("disk_busy_seconds_total"), Some(2.5));
        assert_eq!(devices("8 0"), None);
        assert_eq!(devices("8 0 sda 1 2 x 4 5 6 7 8 9 10"), None);
    }

    #[test]
    fn file_systems_of_the_node_are_found_once_each() {
        let text = "\
            24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            25 24 0:23 / /proc rw shared:2 - proc proc rw\n\
            26 24 0:25 / / rw,relatime shared:1 - overlay overlay rw\n\
            30 24 0:24 / /run rw shared:3 - tmpfs tmpfs rw,size=1k\n\
            40 24 8:17 / /mnt/a\\040disk rw shared:4 - xfs /dev/sdb1 rw\n\
            41 24 8:1 /var/lib /var/lib/bound rw shared:1 - ext4 /dev/sda1 rw\n\
            50 24 0:50 / /mnt/share rw - nfs4 10.0.0.4:/share rw\n\
            60 24 8:33 / /var/lib/kubelet/pods/u/volumes/x rw - ext4 /dev/sdc rw\n\
            61 24 0:60 / /var/lib/kubelet/pods/u/tmp rw - tmpfs tmpfs rw\n";
        assert_eq!(mounts(text).expect("a table"), ["/", "/run", "/mnt/a disk"]);
        assert_eq!(mounts("24 1 8:1 / / rw"), None);
        assert_eq!(mounts(""), None);
        assert_eq!(unescape(r"/a\040b\134c\x"), r"/a b\c\x");
    }
}
