//! What the targets in `fuzz/` need and nobody else may use.

use super::columns::{Frames, put_varint};
use super::{
    Declared, Encoded, LIVE_LEVEL, LogColumns, PROBE, ProbeColumns, SAMPLE, SampleColumns,
    decode_probes, decode_samples, encode_logs, encode_probes, encode_samples,
};
use crate::batch::{HostSample, ProbeOutcome, ProbeSample};

/// Bytes that a made-up chunk may declare: a larger one finds no other mistakes,
/// only takes longer to make.
const MAX_RAW_BYTES: u32 = 1 << 20;

/// Declaration and bytes of a made-up chunk: number of rows and raw size, 32
/// bits each and little endian, then the bytes.
#[must_use]
pub fn chunk(codec: i64, input: &[u8]) -> Option<(Declared, &[u8])> {
    let (rows, rest) = input.split_first_chunk()?;
    let (raw_bytes, data) = rest.split_first_chunk()?;
    let raw_bytes = u32::from_le_bytes(*raw_bytes);
    let row_count = u32::from_le_bytes(*rows) as usize;
    let declared = Declared { codec, row_count, raw_bytes: raw_bytes as usize };
    (raw_bytes <= MAX_RAW_BYTES).then_some((declared, data))
}

/// The opposite of [`chunk`]: a seed for the fuzzer.
fn seed(row_count: usize, encoded: &Encoded) -> Vec<u8> {
    let mut input = (row_count as u32).to_le_bytes().to_vec();
    input.extend((encoded.raw_bytes as u32).to_le_bytes());
    input.extend(&encoded.data);
    input
}

/// Reads a made-up chunk of probe samples, all of each row.
///
/// # Panics
///
/// If it decodes and its rows do not come back once they are encoded.
pub fn read_probe(input: &[u8]) {
    let Some((declared, data)) = chunk(PROBE, input) else { return };
    let Ok(columns) = decode_probes(declared, data) else { return };
    for row in 0..declared.row_count {
        columns.ts_ns(row);
        columns.outcome(row);
        for text in [columns.phase(row), columns.error_class(row), columns.error(row)] {
            assert!(text.len() <= declared.raw_bytes);
        }
        assert!(columns.address(row).len() <= declared.raw_bytes);
        columns.duration_us(row);
    }
    let encoded = encode_probes(&columns);
    let declared = Declared { raw_bytes: encoded.raw_bytes, ..declared };
    assert!(decode_probes(declared, &encoded.data).is_ok_and(|decoded| decoded == columns));
}

/// Reads a made-up chunk of host samples, all of each row.
///
/// # Panics
///
/// If it decodes and its rows do not come back once they are encoded.
pub fn read_sample(input: &[u8]) {
    let Some((declared, data)) = chunk(SAMPLE, input) else { return };
    let Ok(columns) = decode_samples(declared, data) else { return };
    let encoded = encode_samples(&columns);
    let again = Declared { raw_bytes: encoded.raw_bytes, ..declared };
    let decoded = decode_samples(again, &encoded.data).expect("ours");
    for row in 0..declared.row_count {
        assert_eq!(decoded.ts_ns(row), columns.ts_ns(row));
        assert_eq!(decoded.name(row), columns.name(row));
        assert_eq!(decoded.value(row).to_bits(), columns.value(row).to_bits());
    }
}

/// Small chunks of a codec to start from, as they are written and with nothing
/// compressed: a fuzzer gets further where each byte counts.
///
/// # Panics
///
/// If what was just encoded cannot be read.
#[must_use]
pub fn seeds(codec: i64) -> Vec<Vec<u8>> {
    let chunks = match codec {
        PROBE => vec![(2, encode_probes(&probes()))],
        SAMPLE => vec![(2, encode_samples(&samples()))],
        _ => logs(),
    };
    chunks
        .into_iter()
        .flat_map(|(row_count, encoded)| {
            let plain = Encoded { data: without_compression(&encoded.data), ..encoded.clone() };
            [seed(row_count, &encoded), seed(row_count, &plain)]
        })
        .collect()
}

fn without_compression(data: &[u8]) -> Vec<u8> {
    let mut frames = Frames::new(data, MAX_RAW_BYTES as usize);
    let mut out = Vec::new();
    while frames.end().is_err() {
        let raw = frames.next().expect("it was just encoded");
        put_varint(&mut out, raw.len() as u64);
        put_varint(&mut out, raw.len() as u64);
        out.push(0);
        out.extend(raw);
    }
    out
}

fn logs() -> Vec<(usize, Encoded)> {
    // 2026-11-22T12:28:03Z
    const START: i64 = 1_795_350_483_000_000_000;
    let lines: [&[&[u8]]; 4] = [
        &[
            b"I1122 12:28:03.000007 1 a.go:7] \"Synced\" took=1.50s n=1",
            b"I1122 12:28:04.000009 1 a.go:7] \"Failed\" took=2.5s n=300",
            b"I1122 12:28:04.000010 1 a.go:7] \"Synced\" took=12.125s n=70000",
        ],
        &[
            b"at 2026-11-22T12:28:02Z",
            b"at 2026-11-22 12:28:02,123 from 12:28:01.5",
            b"time=\"2026-11-22T12:28:03.123456789Z\" level=info msg=\"a b\" id=web-1",
            b"{\"ts\":\"2026-11-22T12:28:03.1Z\",\"status\":200,\"path\":\"/healthz\"}",
        ],
        &[
            b"00000010  6b 38 73 00 0a 0b 76 31  12 03 4e 61 6d 65 73 70  |k8s...v1..Namesp|",
            b"00000020  61 63 65 00 0a 0b 76 31  12 03 4e 61 6d 65 73 70  |ace...v1..Namesp|",
            b"\xff!",
            b"",
            b"two\nlines\0",
        ],
        &[b"GET /a", b"GET /b", b"GET /a", b"GET /c", b"GET /b", b"pod web-1", b"pod web-2"],
    ];
    lines
        .iter()
        .map(|lines| {
            let mut columns = LogColumns::default();
            for (row, line) in lines.iter().enumerate() {
                columns.push(START + (row as i64 % 3) * 1_000_000, row as u8 & 1, line);
            }
            (lines.len(), encode_logs(&columns, LIVE_LEVEL).expect("it is not too large"))
        })
        .collect()
}

fn probes() -> ProbeColumns {
    let mut columns = ProbeColumns::default();
    columns.push(&ProbeSample {
        ts_ns: 100,
        address: "::1".to_owned(),
        status: Some(200),
        tcp_us: Some(150),
        ..ProbeSample::default()
    });
    columns.push(&ProbeSample {
        seq: 1,
        ts_ns: 90,
        outcome: ProbeOutcome::Fail,
        phase: "tcp".to_owned(),
        error_class: "refused".to_owned(),
        error: "connection refused".to_owned(),
        ..ProbeSample::default()
    });
    columns
}

fn samples() -> SampleColumns {
    let mut columns = SampleColumns::default();
    for (name, value) in [("load1", 0.25), ("load5", f64::NAN)] {
        columns.push(&HostSample { ts_ns: 5, name: name.to_owned(), value });
    }
    columns
}
