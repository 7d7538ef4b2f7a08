//! What the targets in `fuzz/` need and nobody else may use.

use super::columns::put_varint;
use super::filter;
use super::frames::Frames;
use super::{
    Declared, Encoded, LIVE_LEVEL, LogColumns, PROBE, ProbeColumns, SAMPLE, SampleColumns, Section,
    decode_head, decode_probes, decode_samples, encode_logs, encode_probes, encode_samples,
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
    let head = decode_head(declared, data);
    let Ok(columns) = decode_probes(declared, data) else { return };
    let rows: usize = head.expect("it is part of it").stretches.iter().map(|of| of.row_count).sum();
    assert_eq!(declared.row_count, rows);
    for row in 0..declared.row_count {
        columns.instant(row);
        columns.outcome(row);
        for text in [columns.phase(row), columns.error_class(row), columns.error(row)] {
            assert!(text.len() <= declared.raw_bytes);
        }
        assert!(columns.address(row).len() <= declared.raw_bytes);
        columns.duration_us(row);
    }
    let sections = [Section { row_count: declared.row_count, interval_ns: 5_000_000_000 }];
    let encoded = encode_probes(&columns, &sections, LIVE_LEVEL);
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
    let encoded = encode_samples(&columns, LIVE_LEVEL);
    let again = Declared { raw_bytes: encoded.raw_bytes, ..declared };
    let decoded = decode_samples(again, &encoded.data).expect("ours");
    for row in 0..declared.row_count {
        assert_eq!(decoded.ts_ns(row), columns.ts_ns(row));
        assert_eq!(decoded.name(row), columns.name(row));
        assert_eq!(decoded.value(row).to_bits(), columns.value(row).to_bits());
    }
}

/// Asks a skip filter for a text: length of the text, the text, a filter.
pub fn read_filter(input: &[u8]) {
    let Some((length, rest)) = input.split_first() else { return };
    let Some((text, filter)) = rest.split_at_checked(usize::from(*length)) else { return };
    filter::may_contain(filter, text);
}

/// Makes a skip filter of messages, each of which ends at a newline, and asks for
/// parts of them.
///
/// # Panics
///
/// If it denies one that is there.
pub fn make_filter(input: &[u8]) {
    let messages: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let mut columns = LogColumns::default();
    messages.iter().for_each(|message| columns.push(0, 0, message));
    let Some(filter) = filter::encode(&columns) else {
        assert!(messages.iter().all(|message| message.len() < filter::MIN_TEXT));
        return;
    };
    assert!(filter.len() <= filter::MAX_BYTES);
    for message in messages {
        let half = message.len() / 2;
        for part in [message, &message[..half], &message[half..], &message[half / 2..half]] {
            assert!(filter::may_contain(&filter, part));
            assert!(filter::may_contain(&filter, &part.to_ascii_uppercase()));
        }
    }
}

/// Filters to ask, as [`read_filter`] takes them.
///
/// # Panics
///
/// If what is written here makes no filter.
#[must_use]
pub fn filter_seeds() -> Vec<Vec<u8>> {
    [&[b"abc".as_slice()][..], &[b"dial tcp 10.0.0.1: i/o timeout", b"synced"]]
        .into_iter()
        .zip([b"abc".as_slice(), b"TIMEOUT"])
        .map(|(messages, text)| {
            let mut columns = LogColumns::default();
            messages.iter().for_each(|message| columns.push(0, 0, message));
            let filter = filter::encode(&columns).expect("it has trigrams");
            [&[text.len() as u8], text, &filter].concat()
        })
        .collect()
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
        PROBE => vec![(4, encode_probes(&probes(), &SECTIONS, LIVE_LEVEL))],
        SAMPLE => vec![(2, encode_samples(&samples(), LIVE_LEVEL))],
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

/// Three samples of one target, one of another.
const SECTIONS: [Section; 2] = [
    Section { row_count: 3, interval_ns: 5_000_000_000 },
    Section { row_count: 1, interval_ns: 10_000_000_000 },
];

fn probes() -> ProbeColumns {
    let mut columns = ProbeColumns::default();
    for (seq, late_ns) in [(0, 0), (1, 3_000), (0, 7_000)] {
        let since = seq as i64 * 5_000_000_000 + late_ns;
        columns.push(&ProbeSample {
            seq,
            ts_ns: 100 + since,
            mono_ns: 50 + since,
            address: "::1".to_owned(),
            status: Some(200),
            tcp_us: Some(150),
            duration_us: 155,
            ..ProbeSample::default()
        });
    }
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
