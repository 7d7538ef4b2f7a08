//! Checks the test vectors in `store/FORMAT.md`, in both directions.

use super::{
    Declared, Encoded, LIVE_LEVEL, LogColumns, ProbeColumns, SampleColumns, Section, decode_logs,
    decode_probes, decode_samples, encode_logs, encode_probes, encode_samples,
};
use crate::batch::{HostSample, ProbeOutcome, ProbeSample};

/// Declaration and bytes of the vector of a codec: a code block that starts with
/// `vector codec=… row_count=… raw_bytes=…`; what follows a `#` is for people.
fn vector(codec: i64) -> (Declared, Vec<u8>) {
    let head = format!("```vector codec={codec} ");
    let document = include_str!("../../FORMAT.md");
    let (_, block) = document.split_once(&head).expect("the document has a vector of each codec");
    let (declaration, rest) = block.split_once('\n').expect("a block has lines");
    let number = |name: &str| {
        let (_, value) = declaration.split_once(name).expect("it is declared");
        value.split(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    };
    let (block, _) = rest.split_once("```").expect("a block has an end");
    let data = block
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect();
    let declared =
        Declared { codec, row_count: number("row_count="), raw_bytes: number("raw_bytes=") };
    (declared, data)
}

/// Checks that a chunk is the vector, and shows it if it is not.
fn check(encoded: &Encoded, row_count: usize) -> (Declared, Vec<u8>) {
    let (declared, data) = vector(encoded.codec);
    let hex =
        |data: &[u8]| data.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    assert_eq!(hex(&encoded.data), hex(&data));
    let written = Declared { codec: encoded.codec, row_count, raw_bytes: encoded.raw_bytes };
    assert_eq!(written, declared);
    (declared, data)
}

#[test]
fn the_log_vector_holds() {
    const SECOND: i64 = 1_000_000_000;
    // 2026-11-22T12:28:03Z
    let start = 1_795_350_483 * SECOND;
    let mut columns = LogColumns::default();
    columns.push(
        start,
        0,
        b"I1122 12:28:03.000007 1 a.go:7] \"Synced\" took=1.50s n=1 id=67024643b6b221d9",
    );
    columns.push(start + SECOND, 0, b"I1122 12:28:04.000009 1 a.go:7] \"Failed\" took=2.5s n=300 id=40c39ea8-a2e0-4c79-99e4-d8866e2a9441");
    columns.push(start - SECOND, 1, b"at 2026-11-22T12:28:02Z");
    columns.push(start - SECOND, 1, b"\xff!");
    let (declared, data) = check(&encode_logs(&columns, LIVE_LEVEL).expect("small"), 4);
    assert_eq!(decode_logs(declared, &data).expect("valid"), columns);
}

#[test]
fn the_probe_vector_holds() {
    let mut columns = ProbeColumns::default();
    for (seq, late_ns) in [(7, 0), (8, 3_000)] {
        let since = (seq as i64 - 7) * 5_000_000_000 + late_ns;
        columns.push(&ProbeSample {
            seq,
            ts_ns: 100 + since,
            mono_ns: 50 + since,
            address: "::1".into(),
            status: Some(200),
            dns_us: Some(0),
            tcp_us: Some(150),
            http_us: Some(900),
            duration_us: 1_060,
            ..ProbeSample::default()
        });
    }
    columns.push(&ProbeSample {
        seq: 9,
        ts_ns: 90,
        mono_ns: 60,
        outcome: ProbeOutcome::Fail,
        phase: "tcp".into(),
        error_class: "refused".into(),
        error: "refused".into(),
        address: "::1".into(),
        dns_us: Some(0),
        duration_us: 31,
        ..ProbeSample::default()
    });
    let sections = [Section { row_count: 3, interval_ns: 5_000_000_000 }];
    let (declared, data) = check(&encode_probes(&columns, &sections, LIVE_LEVEL), 3);
    assert_eq!(decode_probes(declared, &data).expect("valid"), columns);
}

#[test]
fn the_sample_vector_holds() {
    let mut columns = SampleColumns::default();
    columns.push(&HostSample { ts_ns: 5, name: "load1".into(), value: 0.25 });
    columns.push(&HostSample { ts_ns: 5, name: "load5".into(), value: -2.0 });
    let (declared, data) = check(&encode_samples(&columns, LIVE_LEVEL), 2);
    assert_eq!(decode_samples(declared, &data).expect("valid"), columns);
}
