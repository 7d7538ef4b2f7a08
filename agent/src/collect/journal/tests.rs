//! Journals made by systemd's own writer, read here and by `journalctl`.
#![expect(clippy::disallowed_methods, reason = "tests read the files that they damage")]

mod node;

use serde_json::Value;

use self::node::{Entries, MACHINE, Node, START_US, message_of, time_of};
use super::*;

/// What a node writes, and what only looks like it.
fn mixed() -> Entries {
    let mut entries = Entries::default();
    let long = "pod \"x\" failed ".repeat(400);
    let crash: &[u8] = b"fc2e22bc6ee647b6b90729ab34a250b1";
    for round in 0..40 {
        entries.unit(
            "kubelet.service",
            &format!("I1122 12:28:03.000000     812 kubelet.go:{round}] syncing"),
        );
        entries.unit("containerd.service", &format!("level=info msg=\"round {round}\""));
        entries.unit("ssh.service", "not wanted");
    }
    entries.unit("kubelet.service", &long);
    entries.unit("kubelet.service", "first line\nsecond line\n\n\tat end");
    entries.unit("kubelet.service", "é ‹unicode› \u{1f680}");
    entries.unit("kubelet.service", "");
    entries.add(&[
        ("_SYSTEMD_UNIT", b"kubelet.service"),
        ("MESSAGE", b"\x00\xff\xfe binary \x1b[31m"),
    ]);
    entries.add(&[
        ("_SYSTEMD_UNIT", b"kubelet.service"),
        ("PRIORITY", b"3"),
        ("NOTE", b"no message"),
    ]);
    entries.add(&[("_SYSTEMD_UNIT", b"kubelet.service"), ("MESSAGE", b"one"), ("MESSAGE", b"two")]);
    entries.add(&[
        ("_SYSTEMD_UNIT", b"init.scope"),
        ("_PID", b"1"),
        ("UNIT", b"kubelet.service"),
        ("MESSAGE", b"Started kubelet.service"),
    ]);
    entries.add(&[
        ("_SYSTEMD_UNIT", b"evil.service"),
        ("_PID", b"99"),
        ("UNIT", b"kubelet.service"),
        ("MESSAGE", b"not of systemd"),
    ]);
    entries.add(&[
        ("_UID", b"0"),
        ("OBJECT_SYSTEMD_UNIT", b"kubelet.service"),
        ("MESSAGE", b"about"),
    ]);
    entries.add(&[
        ("_UID", b"4"),
        ("OBJECT_SYSTEMD_UNIT", b"kubelet.service"),
        ("MESSAGE", b"no right"),
    ]);
    entries.add(&[
        ("MESSAGE_ID", crash),
        ("_UID", b"0"),
        ("COREDUMP_UNIT", b"kubelet.service"),
        ("MESSAGE", b"Process 812 (kubelet) dumped core"),
    ]);
    entries.add(&[
        ("MESSAGE_ID", crash),
        ("_UID", b"1000"),
        ("COREDUMP_UNIT", b"kubelet.service"),
        ("MESSAGE", b"forged"),
    ]);
    entries.add(&[
        ("_TRANSPORT", b"kernel"),
        ("PRIORITY", b"4"),
        ("SYSLOG_IDENTIFIER", b"kernel"),
        ("MESSAGE", b"oom-kill:constraint=CONSTRAINT_MEMCG"),
    ]);
    entries
}

/// Matches that the doc comment of [`Selection`] gives for a service.
fn documented(unit: &str) -> Vec<String> {
    let terms = [
        format!("_SYSTEMD_UNIT={unit}.service"),
        format!("MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1 _UID=0 COREDUMP_UNIT={unit}.service"),
        format!("_PID=1 UNIT={unit}.service"),
        format!("_UID=0 OBJECT_SYSTEMD_UNIT={unit}.service"),
        format!("SYSLOG_IDENTIFIER={unit}"),
    ];
    terms.join(" + ").split(' ').map(str::to_owned).collect()
}

fn check(compact: &str, compress: &str) {
    let Some(node) = Node::new() else { return };
    node.write_as("system.journal", &mixed(), compact, compress);
    for unit in ["kubelet", "containerd"] {
        let expected = node.journalctl(&["-u", unit]);
        assert!(expected.len() >= 40);
        assert_eq!(node.rows(unit), expected, "{unit}, compact {compact}, compress {compress}");
    }
    assert_eq!(node.journalctl(&["-u", "kubelet"]).len(), 50);
    let kernel = node.journalctl(&["_TRANSPORT=kernel"]);
    assert_eq!((node.rows("kernel").len(), node.rows("kernel")), (1, kernel));
}

#[test]
fn rows_are_those_of_journalctl() {
    check("1", "yes");
    check("1", "no");
}

#[test]
fn rows_are_those_of_journalctl_in_the_wide_format() {
    check("0", "yes");
    check("0", "no");
}

#[test]
fn services_outside_systemd_are_those_of_the_documented_match() {
    let Some(node) = Node::new() else { return };
    let mut entries = mixed();
    for (fields, count) in [
        (&[("SYSLOG_IDENTIFIER", "kubelet")][..], 30),
        (&[("SYSLOG_IDENTIFIER", "containerd"), ("_SYSTEMD_UNIT", "session-1.scope")], 5),
        (&[("SYSLOG_IDENTIFIER", "containerd"), ("_SYSTEMD_UNIT", "docker.service")], 3),
        (&[("SYSLOG_IDENTIFIER", "kubelet-exporter")], 2),
    ] {
        for number in 0..count {
            let message = format!("E1122 12:28:03.000000 {fields:?} {number}\n\ttrace");
            let mut fields: Vec<_> =
                fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            fields.push(("MESSAGE", message.as_bytes()));
            entries.add(&fields);
        }
    }
    node.write("system.journal", &entries);
    let mut collector = ServiceLogs::default().with_window(Duration::MAX);
    let (texts, ..) = node.poll(&mut collector);
    let mut expected = 0;
    for (unit, others, count) in
        [("kubelet", ["docker", "containerd"], 80), ("containerd", ["docker", "kubelet"], 45)]
    {
        let matches = documented(unit);
        let entries = node.entries(&matches.iter().map(String::as_str).collect::<Vec<_>>());
        let is_others = |entry: &Value| {
            let by = entry["_SYSTEMD_UNIT"].as_str().unwrap_or_default();
            entry["SYSLOG_IDENTIFIER"] == unit
                && others.iter().any(|o| by == format!("{o}.service"))
        };
        let wanted: Vec<_> = entries
            .iter()
            .filter(|entry| !is_others(entry))
            .map(|entry| (time_of(entry), message_of(entry)))
            .collect();
        assert_eq!(wanted.len(), count);
        for (_, message) in &wanted {
            assert!(texts.contains(message), "{}", String::from_utf8_lossy(message));
        }
        expected += count;
    }
    // The rest: three of docker, one of the kernel.
    assert_eq!(texts.len(), expected + 3 + 1);
}

#[test]
fn the_clock_and_the_dns_server_of_a_node_are_read_by_default() {
    let Some(node) = Node::new() else { return };
    let mut entries = Entries::default();
    let said = [
        ("chrony.service", "System clock wrong by 2.417 seconds"),
        ("chronyd.service", "Can't synchronise: no selectable sources"),
        ("localdns.service", "[ERROR] plugin/errors: 2 mcr.microsoft.com. A: i/o timeout"),
    ];
    said.iter().for_each(|(unit, text)| entries.unit(unit, text));
    entries.unit("ssh.service", "not wanted");
    node.write("system.journal", &entries);
    let mut collector = ServiceLogs::default().with_window(Duration::MAX);
    let (mut texts, ..) = node.poll(&mut collector);
    let mut expected = said.map(|(_, text)| text.as_bytes().to_vec());
    texts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(texts, expected);
}

#[test]
fn a_poll_goes_on_where_the_last_one_ended() {
    let Some(node) = Node::new() else { return };
    let mut collector = ServiceLogs::new(vec!["kubelet".to_owned()]).with_window(Duration::MAX);
    let mut texts = Vec::new();
    for round in 0..4_u64 {
        let mut entries = Entries::default();
        // The clock is set back by an hour each time, and the file is renamed.
        for number in 0..3 {
            let message = format!("{round}-{number}");
            let fields: [(&str, &[u8]); 2] =
                [("_SYSTEMD_UNIT", b"kubelet.service"), ("MESSAGE", message.as_bytes())];
            entries.add_at(START_US - round * 3_600_000_000 + number, &fields);
            texts.push(message.into_bytes());
        }
        node.write("system.journal", &entries);
        if round == 2 {
            std::fs::rename(node.file("system.journal"), node.file("system@1.journal~"))
                .expect("renamed");
        }
        let (found, ..) = node.poll(&mut collector);
        assert_eq!(found, texts[texts.len() - 3..], "round {round}");
    }
    assert_eq!(node.poll(&mut collector).0, Vec::<Vec<u8>>::new());
    let (all, ..) = node.poll(&mut ServiceLogs::default().with_window(Duration::MAX));
    assert_eq!(all.len(), texts.len());
}

#[test]
fn a_new_process_goes_on_where_the_last_one_committed() {
    let Some(node) = Node::new() else { return };
    let wide = || ServiceLogs::default().with_window(Duration::MAX);
    let mut positions = Positions::default();
    let mut entries = Entries::default();
    entries.unit("kubelet.service", "one");
    node.write("system.journal", &entries);
    let mut texts = Vec::new();
    for (round, text) in ["two", "three", "four"].into_iter().enumerate() {
        let mut collector = wide();
        collector.resume(&positions);
        texts.extend(node.poll_and_commit(&mut collector, &mut positions).0);
        let mut entries = Entries::default();
        // The clock is set back by a day before the process ends.
        let ago_us = round as u64 * 86_400_000_000;
        entries.add_at(
            START_US - ago_us,
            &[("_SYSTEMD_UNIT", b"kubelet.service"), ("MESSAGE", text.as_bytes())],
        );
        if round == 1 {
            std::fs::rename(node.file("system.journal"), node.file("system@1.journal"))
                .expect("renamed");
        }
        node.write("system.journal", &entries);
    }
    let mut collector = ServiceLogs::default().with_window(Duration::ZERO);
    collector.resume(&positions);
    texts.extend(node.poll_and_commit(&mut collector, &mut positions).0);
    assert_eq!(texts, [&b"one"[..], b"two", b"three", b"four"]);
    assert_eq!(positions.len(), 2);
}

#[test]
fn what_journald_removed_before_it_was_read_is_counted() {
    let Some(node) = Node::new() else { return };
    let mut entries = Entries::default();
    entries.unit("kubelet.service", "one");
    node.write("system.journal", &entries);
    let mut positions = Positions::default();
    let mut collector = ServiceLogs::default().with_window(Duration::MAX);
    collector.resume(&positions);
    node.poll_and_commit(&mut collector, &mut positions);
    // Entries 2 to 9 come and go with the file; another one begins with the tenth.
    node.write("other.journal", &entries);
    let mut bytes = std::fs::read(node.file("other.journal")).expect("a file");
    let known = std::fs::read(node.file("system.journal")).expect("a file");
    bytes[72..88].copy_from_slice(&known[72..88]);
    bytes[160..168].copy_from_slice(&10_u64.to_le_bytes());
    bytes[168..176].copy_from_slice(&10_u64.to_le_bytes());
    std::fs::write(node.file("other.journal"), bytes).expect("a file");
    std::fs::remove_file(node.file("system.journal")).expect("removed");
    let (texts, debug) = node.poll_and_commit(&mut collector, &mut positions);
    assert_eq!(texts, [b"one"]);
    assert!(debug.contains("kind: Dropped, amount: Some(8), unit: Some(\"entries\")"), "{debug}");
    assert_eq!(positions.len(), 1, "the file that is gone is forgotten");
    let (texts, debug) = node.poll_and_commit(&mut collector, &mut positions);
    assert!(texts.is_empty() && !debug.contains("Dropped"), "{debug}");
}

#[test]
fn a_window_leaves_out_what_is_older_and_says_how_much() {
    let Some(node) = Node::new() else { return };
    let now_us = node.host.now_ns() as u64 / 1000;
    let mut entries = Entries::default();
    for number in 0..100 {
        let message = format!("{number}");
        // One a minute, the last one half a minute ago.
        entries.add_at(
            now_us - 30_000_000 - (99 - number) * 60_000_000,
            &[("_SYSTEMD_UNIT", b"kubelet.service"), ("MESSAGE", message.as_bytes())],
        );
    }
    node.write("system.journal", &entries);
    let window = Duration::from_mins(10);
    let mut collector = ServiceLogs::default().with_window(window);
    let (texts, debug, _) = node.poll(&mut collector);
    let expected: Vec<_> = (90..100).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(texts, expected);
    assert!(debug.contains("kind: Excluded, amount: Some(90), unit: Some(\"entries\")"), "{debug}");
    let (texts, debug, _) = node.poll(&mut collector);
    assert!(texts.is_empty() && !debug.contains("Truncated"), "{debug}");
}

#[test]
fn a_full_batch_is_handed_over() {
    let Some(node) = Node::new() else { return };
    let mut entries = Entries::default();
    let mut noise = 1_u64;
    for number in 0..4000 {
        // Text that does not compress, so that a batch is full early.
        let message: String = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (noise >> 33) as u8 % 90)
        })
        .take(4000)
        .collect();
        entries.unit("kubelet.service", &format!("{number} {message}"));
    }
    node.write("system.journal", &entries);
    let mut collector = ServiceLogs::default().with_window(Duration::MAX);
    let (texts, debug, calls) = node.poll(&mut collector);
    assert!(calls > 2, "{calls} calls");
    assert!(!debug.contains("Damaged"), "{debug}");
    for (number, text) in texts.iter().enumerate() {
        assert!(text.starts_with(format!("{number} ").as_bytes()));
    }
    assert_eq!(texts.len(), 4000);
}

#[test]
fn a_damaged_file_costs_only_what_is_damaged() {
    let Some(node) = Node::new() else { return };
    node.write("a.journal", &mixed());
    node.write("b.journal", &mixed());
    std::fs::write(node.file("c.journal"), vec![7; 5000]).expect("a file");
    std::fs::write(node.file("d.journal"), b"LPKSHHRH").expect("a file");
    let whole = std::fs::read(node.file("b.journal")).expect("a file");
    // A hole in the middle, as a crash leaves where blocks never reached the disk.
    let middle = position(&whole, b"MESSAGE=level=info msg=\"round 20\"");
    let mut torn = whole.clone();
    torn[middle..middle + 2048].fill(0);
    std::fs::write(node.file("b.journal"), torn).expect("a file");
    let mut collector = ServiceLogs::default().with_window(Duration::MAX);
    let (texts, debug, _) = node.poll(&mut collector);
    let fine = 50 + 40 + 1;
    assert!((fine + 50..2 * fine).contains(&texts.len()), "{} rows", texts.len());
    for damaged in ["b.journal", "c.journal", "d.journal"] {
        let issue = format!("{MACHINE}/{damaged}\", kind: Damaged");
        assert!(debug.contains(&issue), "{damaged}: {debug}");
    }
    assert!(!debug.contains("a.journal\", kind: Damaged"), "{debug}");
    assert_eq!(node.poll(&mut collector).0, Vec::<Vec<u8>>::new());
}

/// Whatever bytes a file has, reading it ends, and soon, and does not fail.
#[test]
fn no_bytes_make_reading_fail() {
    let Some(node) = Node::new() else { return };
    node.write("a.journal", &mixed());
    let whole = std::fs::read(node.file("a.journal")).expect("a file");
    let first = position(&whole, b"_SYSTEMD_UNIT=") - 64;
    let used = whole.iter().rposition(|&byte| byte != 0).expect("bytes") + 1;
    let mut noise = 7_u64;
    let mut random = |from: usize, to: usize| {
        noise =
            noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (noise >> 33) as usize % (to - from)
    };
    let mut damaged = 0;
    for round in 0..300 {
        let mut bytes = whole[..used].to_vec();
        for _ in 0..=round % 30 {
            // The header, and the objects; the hash tables between are not read.
            let at = if random(0, 8) == 0 { random(16, 208) } else { random(first, used) };
            bytes[at] = random(0, 256) as u8;
        }
        if round % 3 == 0 {
            bytes.truncate(random(first, used));
        }
        std::fs::write(node.file("a.journal"), &bytes).expect("a file");
        let mut collector = ServiceLogs::default().with_window(Duration::MAX);
        let (texts, debug, _) = node.poll(&mut collector);
        assert!(texts.len() <= used / 32, "{} rows", texts.len());
        damaged += usize::from(debug.contains("kind: Damaged"));
    }
    assert!(damaged > 200, "only {damaged} were damaged");
}

fn position(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).expect("the text")
}

#[test]
fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::open(folder.path()).expect("a root");
    let progress = ServiceLogs::default().collect(&host, &mut Batch::new("t")).expect("a poll");
    assert_eq!(
        progress,
        Progress::Absent("no journal file in /var/log/journal or /run/log/journal".to_owned())
    );
    // What cannot be listed is no absence.
    std::fs::create_dir_all(folder.path().join("var/log")).expect("a folder");
    std::fs::write(folder.path().join("var/log/journal"), "").expect("a file");
    let error = ServiceLogs::default().collect(&host, &mut Batch::new("t")).expect_err("an error");
    assert_eq!(error.to_string(), "cannot list /var/log/journal");
    let Some(node) = Node::new() else { return };
    node.write("system.journal", &mixed());
    let (_, debug, _) = node.poll(&mut ServiceLogs::default().with_window(Duration::MAX));
    assert!(debug.contains("the journal has no entry of docker.service"), "{debug}");
    assert!(!debug.contains("no entry of kubelet"), "{debug}");
}

#[test]
fn levels_are_those_of_syslog() {
    let levels: Vec<_> = (0..=8).map(|priority| priority_level(Some(priority)).as_str()).collect();
    assert_eq!(
        levels,
        [
            Some("fatal"),
            Some("fatal"),
            Some("fatal"),
            Some("error"),
            Some("warning"),
            Some("info"),
            Some("info"),
            Some("debug"),
            None
        ]
    );
    assert_eq!(priority_level(None), Level::None);
    assert_eq!(level(b"E1122 12:28:03.000000 1 main.go:7] no", Some(6)), Level::Error);
    assert_eq!(level(b"plain", Some(6)), Level::Info);
}
