//! A stranger's program reads a node's file by `store/FORMAT.md` alone, and finds
//! the rows that queries find.

use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::HEXLOWER;
use periscope_store::batch::{
    Batch, HostSample, Level, LineFlags, Outcome, ProbeOutcome, ProbeSample, ProbeTarget, Stream,
};
use periscope_store::bundle::Bundle;
use periscope_store::codec::{self, COMPACT_LEVEL, Declared};
use periscope_store::writer::{Node, Poll, Session, Writer};
use periscope_tests::programs::stdout_of;
use periscope_tests::python;
use rusqlite::types::ValueRef;
use serde_json::Value;

/// 2026-11-22T12:28:03Z
const START: i64 = 1_795_350_483_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// The one package that the reader needs besides Python itself.
const ZSTANDARD: &str = "zstandard==0.25.0";

fn python() -> PathBuf {
    python::with(ZSTANDARD, Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("Python")
}

fn lines() -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = [
        "I1122 12:28:03.000007    4711 proxier.go:820] \"SyncProxyRules complete\" elapsed=\"12.5ms\"",
        "I1122 12:28:04.100007    4711 proxier.go:820] \"SyncProxyRules complete\" elapsed=\"9.25ms\"",
        "E1231 23:59:59.999999       1 a.go:7] \"Failed\" err=\"dial tcp 10.0.0.1:443: i/o timeout\" n=300",
        "I1122 12:28:05.000007       1 a.go:7] \"Synced\" took=1.50s n=18446744073709551615",
        "2026-11-22T12:28:03.123456789Z stdout F GET /healthz 200 0.000123",
        "2026-11-22T12:28:04.123456789Z stderr P GET /healthz 503 12.5",
        "time=\"2026-11-22T12:28:03Z\" level=warning msg=\"a b\" id=web-7f9c4d retries=0",
        "time=\"2026-11-22T12:28:09Z\" level=warning msg=\"\" id=web-abcde retries=12",
        "{\"ts\":\"2026-11-22T12:28:03.1Z\",\"status\":200,\"took\":0.25,\"path\":\"/a\"}",
        "{\"ts\":\"2026-11-22T12:28:08.1Z\",\"status\":404,\"took\":1.125,\"path\":\"/b\"}",
        "00000010  6b 38 73 00 0a 0b 76 31  12 03 4e 61 6d 65 73 70  |k8s...v1..Namesp|",
        "00000020  61 63 65 00 0a 0b 76 31  12 03 4e 61 6d 65 73 70  |ace...v1..Namesp|",
        "2026-11-22 12:28:02,123 [main] INFO at 12:28:01.5 and 23:59:59",
        "2026-11-22 12:28:07,456 [main] INFO at 12:28:06.5 and 00:00:01",
        "1969-12-31T23:59:59Z and 2201-01-01T00:00:00Z and 2026-02-30T00:00:00Z",
        "floats 1.0 0.5 -2.75 007.5 1.0000000001 99999999999999999999.5 3.",
        "floats 1.5 0.25 -3.125 008.5 2.0000000001 99999999999999999998.5 4.",
        "integers -1 007 0 18446744073709551616 9223372036854775807",
        "Ä 日本 \u{f5}",
        "first\nsecond\n\tthird",
        "a\0b",
        "",
        "\"\" \"unclosed",
    ]
    .map(|line| line.as_bytes().to_vec())
    .into();
    lines.push(b"\xff\xf5 no text \xfc 12".to_vec());
    lines.push((0..=255).collect());
    lines.push("x1 ".repeat(70_000).into_bytes());
    lines.push("blob".repeat(50_000).into_bytes());
    // Ids that are packed: alone, after a prefix, of an odd length, of a UUID.
    lines.extend((0..9_u64).map(|n| {
        let id = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{id:016x} trace-{id:017x} {id:x}{id:x} {id:08x}-0a0b-4c0d-8e0f-{:012x}", id >> 16)
            .into_bytes()
    }));
    // Strings that come again soon, late or never.
    lines.extend((0..400).map(|n| format!("pod web-{} of {}", n * n % 37, n % 5).into_bytes()));
    // More templates than one byte can name, the last ones used twice.
    lines.extend((0..600).map(|n| {
        let n = n % 300;
        let words: String =
            (0..9).map(|bit| if n >> bit & 1 == 1 { "yes " } else { "no " }).collect();
        format!("{words}{n}").into_bytes()
    }));
    lines
}

fn flags(row: usize) -> LineFlags {
    let levels =
        [Level::None, Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Fatal];
    LineFlags {
        stderr: row % 2 == 1,
        partial: row % 7 == 3,
        inferred_time: row % 11 == 5,
        level: levels[row % levels.len()],
    }
}

fn logs() -> Batch {
    let mut batch = Batch::new("logs");
    let streams = [
        Stream::container("kube-system", "coredns-1", "uid", "coredns", 0),
        Stream::container("kube-system", "proxy-2", "uid", "proxy", 3),
        Stream::unit("kubelet.service"),
        Stream::file("/var/log/waagent.log"),
    ];
    // Whole seconds, microseconds, and steps back.
    let times: [fn(i64) -> i64; 4] = [
        |row| START + row * SECOND,
        |row| START + row * 1_000 - row % 3 * 500_000,
        |row| START - row * 7,
        |_| -1,
    ];
    for (stream, time) in streams.into_iter().zip(times) {
        let stream = batch.stream(stream);
        for (row, line) in lines().iter().enumerate() {
            batch.log(stream, time(row as i64), flags(row), line);
        }
    }
    let stream = batch.stream(Stream::unit("empty.service"));
    batch.log(stream, START, LineFlags::default(), b"");
    batch
}

fn probes() -> Batch {
    let mut batch = Batch::new("probe");
    for name in ["mcr", "api"] {
        let stream = batch.stream(Stream::probe(&ProbeTarget {
            name: name.to_owned(),
            kind: "custom".to_owned(),
            url: "https://127.0.0.1/".to_owned(),
            interval_ns: 5 * SECOND,
            timeout_ns: 4 * SECOND,
        }));
        for seq in 0..100_u64 {
            let ok = seq % 3 != 0;
            batch.probe(
                stream,
                &ProbeSample {
                    seq,
                    ts_ns: START + seq as i64 * 5 * SECOND - i64::from(seq == 50) * 60 * SECOND,
                    mono_ns: seq as i64 * 5 * SECOND,
                    outcome: match seq % 6 {
                        0 => ProbeOutcome::Fail,
                        3 => ProbeOutcome::Skipped,
                        _ => ProbeOutcome::Ok,
                    },
                    phase: if seq % 6 == 0 { "tcp".to_owned() } else { String::new() },
                    error_class: if seq % 6 == 0 { "refused".to_owned() } else { String::new() },
                    error: if seq % 6 == 0 { format!("refusé {seq}") } else { String::new() },
                    address: if ok { "[::1]:443".to_owned() } else { String::new() },
                    status: ok.then_some(200),
                    dns_us: ok.then_some(0),
                    tcp_us: ok.then_some(seq * 1_000_000),
                    tls_us: None,
                    http_us: ok.then_some(900),
                    duration_us: seq,
                },
            );
        }
    }
    batch
}

fn samples() -> Batch {
    let mut batch = Batch::new("host");
    let values = [0.25, -2.0, 0.0, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, 0.1 + 0.2];
    for family in ["memory", "cpu"] {
        let stream = batch.stream(Stream::host(family));
        for (row, value) in values.into_iter().enumerate() {
            let ts_ns = START + row as i64;
            batch.sample(stream, &HostSample { ts_ns, name: format!("n{}", row % 3), value });
        }
    }
    batch
}

fn write(path: &Path) {
    let node = Node { name: "node-a".to_owned(), machine_id: "machine".to_owned() };
    let session = Session {
        run_id: "run-1".to_owned(),
        cluster: None,
        agent_version: "0.1.0".to_owned(),
        boot_id: "boot".to_owned(),
        started_ns: START,
        process: 1,
        config: "{}".to_owned(),
    };
    let mut writer = Writer::create(path, &node, &session).expect("a new file");
    for batch in [logs(), probes(), samples()] {
        let poll = Poll {
            seq: 0,
            round: 0,
            started_ns: START,
            ended_ns: START,
            outcome: Outcome::Complete,
            message: None,
        };
        writer.commit(batch, &poll).expect("committed");
    }
    writer.seal().expect("sealed");
    compact_some(path);
}

/// Encodes every second log chunk again as compaction does.
fn compact_some(path: &Path) {
    let connection = rusqlite::Connection::open(path).expect("a database");
    let sql = "SELECT id, row_count, raw_bytes, data FROM raw_chunk WHERE codec = 1 ORDER BY id";
    let mut statement = connection.prepare(sql).expect("valid");
    let mut rows = statement.query([]).expect("run");
    let mut chunks = Vec::new();
    while let Some(row) = rows.next().expect("a row") {
        let number = |column| row.get::<_, i64>(column).expect("a number");
        let declared = Declared {
            codec: codec::LOG,
            row_count: number(1) as usize,
            raw_bytes: number(2) as usize,
        };
        chunks.push((number(0), declared, row.get::<_, Vec<u8>>(3).expect("bytes")));
    }
    assert!(chunks.len() >= 3, "a chunk for each kind of stream");
    for (id, declared, data) in chunks.into_iter().step_by(2) {
        let columns = codec::decode_logs(declared, &data).expect("ours");
        let encoded = codec::encode_logs(&columns, COMPACT_LEVEL).expect("not too large");
        connection
            .execute("UPDATE raw_chunk SET data = ? WHERE id = ?", (encoded.data, id))
            .expect("written");
    }
}

/// Rows of a query as text, in an order of their own.
fn ask(bundle: &Bundle, sql: &str) -> Vec<String> {
    let mut statement = bundle.connection().prepare(sql).expect("valid");
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("run");
    let mut found = Vec::new();
    while let Some(row) = rows.next().expect("a row") {
        let cells = (0..columns).map(|column| match row.get_ref(column).expect("a cell") {
            ValueRef::Null => String::new(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => format!("{:016x}", number.to_bits()),
            ValueRef::Text(text) | ValueRef::Blob(text) => HEXLOWER.encode(text),
        });
        found.push(cells.collect::<Vec<_>>().join("|"));
    }
    found.sort();
    found
}

/// The same of what the reader printed: fields of the rows of some kinds.
fn pick(printed: &[Value], kinds: &[&str], fields: &[&str]) -> Vec<String> {
    let cell = |row: &Value, field: &str| match &row[field] {
        // Bytes that are no text come as hexadecimal digits.
        Value::Null if field == "message" => row["message_hex"].as_str().expect("hex").to_owned(),
        Value::Null => String::new(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if field == "value_bits" => text.clone(),
        other => HEXLOWER.encode(other.as_str().expect("a text").as_bytes()),
    };
    let mut rows: Vec<_> = printed
        .iter()
        .filter(|row| kinds.iter().any(|kind| row["kind"] == *kind))
        .map(|row| fields.iter().map(|field| cell(row, field)).collect::<Vec<_>>().join("|"))
        .collect();
    rows.sort();
    rows
}

/// Compares row by row: a whole list of both is too long to be read.
fn compare(printed: &[String], expected: &[String]) {
    for (printed, expected) in printed.iter().zip(expected) {
        assert_eq!(printed, expected);
    }
    assert_eq!(printed.len(), expected.len());
}

#[test]
fn a_stranger_reads_a_file_by_its_description() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node-a.db");
    write(&path);
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("reader/periscope_reader.py");
    let printed = stdout_of(Command::new(python()).arg(reader).arg(&path)).expect("it reads");
    let printed: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let bundle = Bundle::open(&[path]).expect("opened");

    let logs = ask(
        &bundle,
        "SELECT kind, name, ts_ns, output, level, partial, inferred_time, message
         FROM log JOIN raw_stream ON raw_stream.id = stream_id",
    );
    assert_eq!(logs.len(), 4 * lines().len() + 1);
    let fields =
        ["kind", "name", "ts_ns", "output", "level", "partial", "inferred_time", "message"];
    compare(&pick(&printed, &["container", "unit", "file"], &fields), &logs);

    let probes = ask(
        &bundle,
        "SELECT target, ts_ns, seq, mono_ns, outcome, phase, error_class, error, address, status,
                dns_us, tcp_us, tls_us, http_us, duration_us
         FROM probe",
    );
    assert_eq!(probes.len(), 200);
    let fields = [
        "name",
        "ts_ns",
        "seq",
        "mono_ns",
        "outcome",
        "phase",
        "error_class",
        "error",
        "address",
        "status",
        "dns_us",
        "tcp_us",
        "tls_us",
        "http_us",
        "duration_us",
    ];
    compare(&pick(&printed, &["probe"], &fields), &probes);

    let samples = ask(&bundle, "SELECT family, ts_ns, name, value FROM sample");
    assert_eq!(samples.len(), 14);
    compare(&pick(&printed, &["host"], &["name", "ts_ns", "counter", "value_bits"]), &samples);
    assert!(bundle.damage().is_empty());
}
