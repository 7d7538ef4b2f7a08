use periscope_store::batch::{Level, LineFlags};
use periscope_store::time::{format_ns, parse_rfc3339};

use super::super::log_file::Limits;
use super::super::recorder::{Recorder, node};
use super::*;

const COREDNS: &str = "var/log/pods/kube-system_coredns-1_uid-1/coredns";

fn record(host: &Host, namespaces: &[&str], room: usize) -> Recorder {
    let filter = Filter::new(namespaces.iter().map(|entry| (*entry).to_owned()).collect());
    let mut found = Recorder::default();
    let files = ContainerFiles::find(host, &filter, &mut found);
    let files = files.expect("can be listed").expect("is there");
    let mut recorder = Recorder::record(Reading::new(files, Limits::default()), host, room);
    recorder.issues.splice(..0, found.issues);
    recorder
}

fn cri(second: u32, rest: &str) -> String {
    format!("2026-11-22T12:28:{second:02}.5Z {rest}\n")
}

#[test]
fn lines_have_their_stream_time_output_and_level() {
    let text = cri(3, "stdout F [INFO] ready") + &cri(4, "stderr F [ERROR] plugin/errors: x");
    let (_folder, host) = node(&[(&format!("{COREDNS}/7.log"), &text)]);
    let got = record(&host, &[], 100);
    assert_eq!(got.streams, [Stream::container("kube-system", "coredns-1", "uid-1", "coredns", 7)]);
    assert_eq!(got.messages(), ["[INFO] ready", "[ERROR] plugin/errors: x"]);
    assert_eq!(format_ns(got.lines[0].ts_ns), "2026-11-22T12:28:03.500000000Z");
    assert_eq!(got.lines[0].flags, LineFlags { level: Level::Info, ..LineFlags::default() });
    assert_eq!(
        got.lines[1].flags,
        LineFlags { stderr: true, level: Level::Error, ..LineFlags::default() }
    );
    assert!(got.issues.is_empty(), "{:?}", got.issues);
}

#[test]
fn lines_are_joined_across_rotation() {
    let (_folder, host) = node(&[
        (&format!("{COREDNS}/0.log"), &(cri(5, "stdout F three") + &cri(6, "stdout P open"))),
        (
            &format!("{COREDNS}/0.log.20261122-122804"),
            &(cri(3, "stderr F err") + &cri(4, "stdout P two ")),
        ),
        (
            &format!("{COREDNS}/0.log.20261122-122802.gz"),
            &(cri(1, "stdout F zero") + &cri(2, "stdout P one ")),
        ),
        (&format!("{COREDNS}/0.log.20261122-122802.gz.tmp"), "not this"),
        (&format!("{COREDNS}/1.log"), &cri(9, "stdout F another restart")),
    ]);
    for room in [1, 2, 100] {
        let got = record(&host, &[], room);
        assert_eq!(got.messages(), ["zero", "err", "one two three", "open", "another restart"]);
        let partial: Vec<_> = got.lines.iter().map(|line| line.flags.partial).collect();
        assert_eq!(partial, [false, false, false, true, false]);
        assert_eq!(got.streams.len(), 2);
    }
}

#[test]
fn a_full_batch_is_gone_on_from_where_it_ended() {
    let text: String = (0..50).map(|i| cri(i, &format!("stdout F line {i}"))).collect();
    let paths: Vec<_> = (0..3).map(|i| format!("var/log/pods/ns_pod-{i}_u/c/0.log")).collect();
    let files: Vec<_> = paths.iter().map(|path| (path.as_str(), text.as_str())).collect();
    let (_folder, host) = node(&files);
    let whole = record(&host, &[], 1_000);
    assert_eq!(whole.lines.len(), 150);
    for room in [1, 7, 50] {
        assert_eq!(record(&host, &[], room).lines, whole.lines, "room for {room}");
    }
}

#[test]
fn what_is_no_line_of_a_runtime_is_kept_with_the_time_before() {
    let text = "torn head\n".to_owned()
        + &cri(3, "stdout F a")
        + "no runtime wrote this\n"
        + &cri(4, "stdout F no end");
    let (folder, host) = node(&[(&format!("{COREDNS}/0.log"), text.trim_end())]);
    let got = record(&host, &[], 100);
    assert_eq!(got.messages(), ["torn head", "a", "no runtime wrote this", "no end"]);
    let modified_ns = host.open_file(&format!("/{COREDNS}/0.log")).expect("a file").modified_ns;
    assert_eq!(got.lines[0].ts_ns, modified_ns);
    assert_eq!(got.lines[2].ts_ns, got.lines[1].ts_ns);
    let flags: Vec<_> =
        got.lines.iter().map(|line| (line.flags.inferred_time, line.flags.partial)).collect();
    assert_eq!(flags, [(true, false), (false, false), (true, false), (false, true)]);
    drop(folder);
}

#[test]
fn docker_files_are_read_once_by_the_best_name() {
    let json = |text: &str| {
        format!(
            "{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-22T12:28:03Z\"}}\n"
        )
    };
    let labels = |pod: &str| {
        format!(
            "{{\"Config\":{{\"Labels\":{{\"io.kubernetes.pod.namespace\":\"app\",\"io.kubernetes.pod.name\":\"{pod}\",\"io.kubernetes.pod.uid\":\"u\",\"io.kubernetes.container.name\":\"c\"}}}}}}"
        )
    };
    let docker = "var/lib/docker/containers";
    let (_folder, host) = node(&[
        ("var/log/pods/app_linked_u/c/0.log", "-> /var/lib/docker/containers/aa/aa-json.log"),
        ("var/log/pods/app_dangling_u/c/0.log", "-> /var/lib/docker/containers/zz/zz-json.log"),
        (&format!("{docker}/aa/aa-json.log"), &json("linked")),
        (&format!("{docker}/aa/config.v2.json"), &labels("linked")),
        (&format!("{docker}/bb/bb-json.log"), &json("new")),
        (&format!("{docker}/bb/bb-json.log.1"), &json("old")),
        (&format!("{docker}/bb/config.v2.json"), &labels("unlinked")),
        (&format!("{docker}/cc/cc-json.log"), &json("of no pod")),
        (&format!("{docker}/cc/config.v2.json"), "{\"Config\":{\"Labels\":{}}}"),
    ]);
    let got = record(&host, &[], 100);
    let lines: Vec<_> =
        got.lines.iter().map(|line| (line.stream.as_str(), line.message.as_str())).collect();
    assert_eq!(
        lines,
        [
            ("app/linked/c", "linked"),
            ("app/unlinked/c", "old"),
            ("app/unlinked/c", "new"),
            ("/var/lib/docker/containers/cc/cc-json.log", "of no pod"),
        ]
    );
    assert_eq!(got.issues(), [(IssueKind::Absent, "/var/log/pods/app_dangling_u/c/0.log")]);
    assert_eq!(record(&host, &["app/un"], 100).messages(), ["old", "new"]);
}

#[test]
fn other_namespaces_are_not_read() {
    let (_folder, host) = node(&[
        (&format!("{COREDNS}/0.log"), &cri(3, "stdout F dns")),
        ("var/log/pods/app_web-1_u/web/0.log", &cri(3, "stdout F web")),
    ]);
    assert_eq!(record(&host, &["kube-system"], 100).messages(), ["dns"]);
    assert_eq!(record(&host, &["app/web"], 100).messages(), ["web"]);
    assert_eq!(record(&host, &["app/api"], 100).messages(), [""; 0]);
}

#[test]
fn what_cannot_be_read_is_an_issue_and_the_rest_is_read() {
    let (folder, host) = node(&[
        (&format!("{COREDNS}/0.log"), &cri(3, "stdout F good")),
        (&format!("{COREDNS}/0.log.20261122-120000.gz"), &cri(1, "stdout F packed").repeat(5_000)),
        ("var/log/pods/odd folder/c/0.log", &cri(3, "stdout F odd")),
    ]);
    let packed = folder.path().join(format!("{COREDNS}/0.log.20261122-120000.gz"));
    let file = std::fs::OpenOptions::new().write(true).open(packed).expect("a file");
    let size = file.metadata().expect("a file").len();
    file.set_len(size / 2).expect("cut");
    let got = record(&host, &[], 1_000);
    assert!(got.lines.len() > 1_000, "{}", got.lines.len());
    assert_eq!(got.messages().last(), Some(&"good"));
    assert_eq!(
        got.issues(),
        [
            (IssueKind::Damaged, &*format!("/{COREDNS}/0.log.20261122-120000.gz")),
            (IssueKind::Unreadable, "/var/log/pods/odd folder"),
        ]
    );
}

#[test]
fn a_long_line_is_cut_and_counted() {
    let text = cri(3, &format!("stdout F {}", "x".repeat(2 << 20)));
    let (_folder, host) = node(&[(&format!("{COREDNS}/0.log"), &text)]);
    let got = record(&host, &[], 100);
    assert!(got.lines[0].flags.partial);
    let kept = got.lines[0].message.len() as u64;
    assert_eq!(got.issues[0].kind, IssueKind::Truncated);
    assert_eq!(got.issues[0].amount, Some((2 << 20) - kept));
}

#[test]
fn a_node_without_logs_says_so() {
    let (_folder, host) = node(&[("etc/hostname", "x")]);
    let mut logs = ContainerLogs::new(Vec::new());
    let mut batch = Batch::new(logs.name());
    let progress = logs.collect(&host, &mut batch).expect("no failure");
    let text = "neither /var/log/pods nor /var/lib/docker/containers exists";
    assert_eq!(progress, Progress::Absent(text.to_owned()));
}

#[test]
fn full_batches_add_up_and_a_poll_starts_anew() {
    let start_ns = parse_rfc3339("2026-11-22T12:28:03Z").expect("a time");
    // Text that does not compress fills a batch soon.
    let mut random = 42_u64;
    let lines: Vec<String> = (0..120_000)
        .map(|i| {
            let words = [0; 6].map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                random ^ random >> 29
            });
            format!("{} stdout F {words:016x?}\n", format_ns(start_ns + i))
        })
        .collect();
    let (_folder, host) = node(&[(&format!("{COREDNS}/0.log"), &lines.concat())]);
    let mut logs = ContainerLogs::new(Vec::new());
    for _ in 0..2 {
        let (mut rows, mut batches) = (0, 0);
        loop {
            let mut batch = Batch::new(logs.name());
            let progress = logs.collect(&host, &mut batch).expect("no failure");
            rows += batch.row_count();
            batches += 1;
            assert!(!batch.has_losses(), "{batch:?}");
            if progress == Progress::Done {
                break;
            }
            assert_eq!(progress, Progress::More);
            assert!(batch.is_full());
        }
        assert_eq!(rows, 120_000);
        assert!(batches > 1, "one batch holds all");
    }
}
