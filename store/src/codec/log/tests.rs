//! Whole chunks: what goes in comes out, whatever it is, and what was tampered
//! with is refused or stays within its bounds.

use proptest::prelude::*;

use super::*;
use crate::codec::frames::{FrameWriter, Frames};
use crate::codec::{Encoded, LIVE_LEVEL, decode_logs, encode_logs};

/// 2026-11-22T12:28:03Z
const START: i64 = 1_795_350_483_000_000_000;

/// A row: time, flags and message.
type Row = (i64, u8, Vec<u8>);

fn columns(rows: &[Row]) -> LogColumns {
    let mut columns = LogColumns::default();
    rows.iter().for_each(|(ts_ns, flags, message)| columns.push(*ts_ns, *flags, message));
    columns
}

fn declared(encoded: &Encoded, row_count: usize) -> Declared {
    Declared { codec: encoded.codec, row_count, raw_bytes: encoded.raw_bytes }
}

/// Encodes and decodes.
fn check(rows: &[Row]) -> Encoded {
    let columns = columns(rows);
    let encoded = encode_logs(&columns, LIVE_LEVEL).expect("not too large");
    let decoded = decode_logs(declared(&encoded, rows.len()), &encoded.data).expect("ours");
    for (row, (ts_ns, flags, message)) in rows.iter().enumerate() {
        assert_eq!(decoded.ts_ns(row), *ts_ns);
        assert_eq!(decoded.flags(row), *flags);
        assert_eq!(
            decoded.message(row).escape_ascii().to_string(),
            message.escape_ascii().to_string()
        );
    }
    assert_eq!(decoded, columns);
    encoded
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..300_u32).prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        "0{0,3}[0-9]{1,22}",
        "[0-9]{1,14}\\.[0-9]{1,11}(ms|s|MiB|mins|)",
        "-?[0-9]{1,3}(\\.[0-9]{1,3}){1,3}",
    ]
}

fn stamp() -> impl Strategy<Value = String> {
    let part = |most: u32| (0..most).prop_map(|n| format!("{n:02}"));
    (part(25), part(61), part(61), "([.,][0-9]{1,10}|)", part(14), part(33), 0..5_u8).prop_map(
        |(hour, minute, second, fraction, month, day, form)| match form {
            0 => format!("I{month}{day} {hour}:{minute}:{second}.123456"),
            1 => format!("2026-{month}-{day}T{hour}:{minute}:{second}{fraction}Z"),
            2 => format!("2026-{month}-{day} {hour}:{minute}:{second}{fraction}"),
            3 => format!("{hour}:{minute}:{second}{fraction}"),
            _ => format!("2026-11-22T12:28:{second}.000000001+00:00"),
        },
    )
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        number(),
        stamp(),
        prop::sample::select(vec![
            "Starting",
            "timeout",
            "deadline exceeded",
            "level=info",
            "err=\"\"",
            "=",
            "\"",
            "\\",
            "main.go:42]",
            "GET",
            "\"GET /api/v1/pods?limit=500 HTTP/1.1\"",
            "{\"status\":200}",
            "pod/web-7f9c4d.",
            "...",
            "Ä",
            "日本",
            "\n\tat x.y(Z.java:10)",
            "::",
            "[::1]:443",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,8}=[a-zA-Z0-9.-]{0,12}",
        "\"[a-zA-Z0-9 ./:-]{0,12}\":? ?",
        "[a-f0-9]{8}-[a-f0-9]{4}",
        "[a-z-]{0,3}[a-f0-9]{14,40}",
        "[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}",
        any::<[u8; 16]>().prop_map(|bytes| {
            String::from_utf8_lossy(&hexdump::print(i64::from(bytes[0]) * 16, &bytes)).into_owned()
        }),
    ]
}

/// Lines that share sentences, as logs do.
fn log_lines() -> impl Strategy<Value = Vec<Row>> {
    let line =
        prop::collection::vec((word(), prop::sample::select(vec![" ", "", ",", ": "])), 0..8)
            .prop_map(|words| {
                words.into_iter().flat_map(|(word, gap)| [word, gap.to_owned()]).collect::<String>()
            });
    let sentences = prop::collection::vec(line, 1..8);
    sentences.prop_flat_map(|sentences| {
        let row =
            (prop::sample::select(sentences), word(), any::<bool>(), 0..2_000_000_000_i64, 0..3_u8);
        prop::collection::vec(row, 0..60).prop_map(|rows| {
            let mut ts_ns = START;
            rows.into_iter()
                .map(|(sentence, word, with_word, step, flags)| {
                    ts_ns += step;
                    let message = if with_word { sentence + &word } else { sentence };
                    (ts_ns, flags, message.into_bytes())
                })
                .collect()
        })
    })
}

proptest! {
    #[test]
    fn log_lines_come_back(rows in log_lines()) {
        check(&rows);
    }

    #[test]
    fn any_bytes_come_back(rows: Vec<Row>) {
        check(&rows);
    }

    #[test]
    fn bytes_that_mean_something_come_back(
        rows in prop::collection::vec(
            (
                any::<i64>(),
                any::<u8>(),
                prop::collection::vec(
                    prop::sample::select(b"0179:.-, T\"=\\\n|aI\x00\x80\xf4\xf5\xf9\xfa\xff".as_slice()),
                    0..40,
                ),
            ),
            0..50,
        ),
    ) {
        check(&rows);
    }

    #[test]
    fn a_tampered_chunk_is_refused_or_bounded(
        rows in log_lines(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        row_count in 0..80_usize,
        raw_bytes in 0..10_000_usize,
        redeclare: bool,
    ) {
        // Frames that are stored as they are let tampering through to the columns.
        let encoded = encode_logs(&columns(&rows), LIVE_LEVEL).expect("not too large");
        let mut data = encoded.data.clone();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        let declared = if redeclare {
            Declared { codec: 1, row_count, raw_bytes }
        } else {
            declared(&encoded, rows.len())
        };
        if let Ok(decoded) = decode_logs(declared, &data) {
            prop_assert_eq!(decoded.len(), declared.row_count);
            prop_assert_eq!(decoded.raw_bytes(), declared.raw_bytes);
        }
    }
}

#[test]
fn an_id_that_is_most_of_a_chunk_comes_back() {
    let row = |text: &str| (1_795_350_483_000_000_000, 0, text.as_bytes().to_vec());
    check(&[row("1000000000000000000"), row("aa00a00a0aa00000")]);
}

#[test]
fn long_lines_come_back() {
    let text: Vec<u8> =
        (0..20_000_000_u32).flat_map(|n| (n % 251).to_string().into_bytes()).collect();
    let encoded = check(&[(START, 0, text), (START, 1, vec![0xff; 10_000_000])]);
    assert!(encoded.data.len() < 1_000_000);
}

#[test]
fn a_row_with_more_than_a_chunk_may_hold_is_refused() {
    let mut columns = LogColumns::default();
    columns.push(START, 0, &vec![b'a'; crate::codec::MAX_RAW_BYTES - 15]);
    assert!(encode_logs(&columns, LIVE_LEVEL).is_err());
}

#[test]
fn rows_come_alone_or_in_any_choice() {
    let rows: Vec<Row> = (0..100)
        .map(|n| {
            (START + n, n as u8, format!("\"req-{n}\" took {n}.5ms, 12:28:{:02}", n % 60).into())
        })
        .collect();
    let encoded = check(&rows);
    let reader = LogReader::open(declared(&encoded, 100), &encoded.data).expect("ours");
    let some = reader.expand(&[0, 7, 8, 99]).expect("ours");
    let expected = columns(&[0, 7, 8, 99].map(|row| rows[row].clone()));
    assert_eq!(some, expected);
    assert!(reader.expand(&[]).expect("none").is_empty());
    assert!(reader.expand(&[8, 7]).is_err());
    assert!(reader.expand(&[100]).is_err());
    assert_eq!(reader.ts().expect("ours")[99], START + 99);
    assert_eq!(reader.flags().expect("ours")[98], 98);
}

/// A frame for each part, as a writer with bad intent would make it.
fn forge(parts: &[&[u8]; 17]) -> Vec<u8> {
    let mut frames = FrameWriter::new(LIVE_LEVEL);
    parts.iter().for_each(|part| frames.put(part));
    frames.finish()
}

#[test]
fn a_small_chunk_cannot_make_much_text() {
    // A template of 1000 slots that all name the same string of a megabyte.
    let mut template = vec![STRING; 1000];
    template.push(END);
    let mut dictionary = vec![b'a'; 1_000_000];
    dictionary.push(END);
    let mut codes = vec![9; 1000];
    codes[0] = 0;
    let parts: [&[u8]; 17] = [
        &[1, 1, 0, 0],
        &template,
        &dictionary,
        &[],
        &[],
        &[],
        &[0],
        &[],
        &[0],
        &[],
        &[0],
        &codes,
        &[0; 999],
        &[],
        &[],
        &[],
        &[],
    ];
    let data = forge(&parts);
    assert!(data.len() < 300);
    let decode = |raw_bytes| decode_logs(Declared { codec: 1, row_count: 1, raw_bytes }, &data);
    let error = decode(1_500_016).expect_err("too long");
    assert!(error.to_string().contains("longer than declared"), "{error}");
    // What a chunk declares is what it may have, up to the limit of all chunks.
    assert!(decode(crate::codec::MAX_RAW_BYTES + 1).is_err());
    let mut honest = parts;
    honest[1] = &[STRING, STRING, END];
    honest[11] = &[0, 9];
    honest[12] = &[0];
    let declared = Declared { codec: 1, row_count: 1, raw_bytes: 2_000_016 };
    assert_eq!(decode_logs(declared, &forge(&honest)).expect("honest").message(0).len(), 2_000_000);
}

/// Searches a chunk as a reader does and row by row.
fn check_search(rows: &[Row], needles: &[Vec<u8>]) {
    let encoded = encode_logs(&columns(rows), LIVE_LEVEL).expect("not too large");
    let declared = declared(&encoded, rows.len());
    for needle in needles {
        for fold_case in [true, false] {
            let searched = Needle::new(needle, fold_case);
            let reader = LogReader::open(declared, &encoded.data).expect("ours");
            let expected: Vec<u32> = (0..rows.len() as u32)
                .filter(|row| searched.is_in(&rows[*row as usize].2))
                .collect();
            let found = reader.rows_matching(&searched).expect("ours");
            assert_eq!(found, expected, "{:?} {fold_case}", needle.escape_ascii().to_string());
        }
    }
}

/// Needles that are somewhere in the rows, and some that hardly are.
fn needles(
    rows: &[Row],
    places: &[(prop::sample::Index, prop::sample::Index, usize)],
) -> Vec<Vec<u8>> {
    let mut needles: Vec<Vec<u8>> =
        [&b""[..], b"e", b"1", b".", b"\"", b" ", b":0", b"timeout", b"T1", b"\x83", b"\xff", b"|"]
            .map(<[u8]>::to_vec)
            .into();
    for (row, place, length) in places {
        if rows.is_empty() {
            break;
        }
        let message = &rows[row.index(rows.len())].2;
        if !message.is_empty() {
            let start = place.index(message.len());
            let end = message.len().min(start + length);
            needles.push(message[start..end].to_vec());
            needles.push(message[start..end].to_ascii_uppercase());
            let mut other = message[start..end].to_vec();
            other[length % (end - start)] ^= 1;
            needles.push(other);
        }
    }
    needles
}

proptest! {
    #[test]
    fn search_finds_what_reading_finds(
        rows in log_lines(),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..90_usize), 12),
    ) {
        let needles = needles(&rows, &places);
        check_search(&rows, &needles);
    }

    #[test]
    fn search_finds_any_bytes(
        rows in prop::collection::vec(
            (0..9_i64, 0..2_u8, prop::collection::vec(prop::sample::select(b"01.:- \"=a\xc3\x83\xf5\xff".as_slice()), 0..30)),
            0..30,
        ),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..9_usize), 12),
    ) {
        let needles = needles(&rows, &places);
        check_search(&rows, &needles);
    }

    #[test]
    fn tampered_columns_are_refused_or_say_the_same_to_all(
        rows in log_lines(),
        changes in prop::collection::vec((0..17_usize, any::<prop::sample::Index>(), any::<u8>(), 0..6_u8), 1..4),
        needle in prop::sample::select(vec!["e", "1", "timeout", "=x", "00 ", "12:", "a.b", "t1"]),
    ) {
        let encoded = encode_logs(&columns(&rows), LIVE_LEVEL).expect("not too large");
        let mut frames = Frames::new(&encoded.data, usize::MAX);
        let mut parts: Vec<Vec<u8>> = (0..17).map(|_| frames.next().expect("ours")).collect();
        for (part, at, byte, way) in changes {
            let part = &mut parts[part];
            let at = at.index(part.len() + 1);
            match (way, part.get_mut(at)) {
                (0, Some(_)) => { part.remove(at); }
                (1, _) | (_, None) => part.insert(at, byte),
                (2, Some(old)) => *old = old.wrapping_add(1),
                (_, Some(old)) => *old = byte,
            }
        }
        let data = forge(&std::array::from_fn(|part| parts[part].as_slice()));
        let declared = declared(&encoded, rows.len());
        if let Ok(decoded) = decode_logs(declared, &data) {
            let needle = Needle::new(needle.as_bytes(), true);
            let expected: Vec<u32> = (0..decoded.len() as u32)
                .filter(|row| needle.is_in(decoded.message(*row as usize)))
                .collect();
            let reader = LogReader::open(declared, &data).expect("it was decoded");
            prop_assert_eq!(reader.rows_matching(&needle).expect("it was decoded"), expected);
        }
    }

    #[test]
    fn a_tampered_chunk_can_be_searched(
        rows in log_lines(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        needle in prop::sample::select(vec!["e", "1", "timeout", "=x", "00 "]),
    ) {
        let encoded = encode_logs(&columns(&rows), LIVE_LEVEL).expect("not too large");
        let mut data = encoded.data.clone();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        if let Ok(reader) = LogReader::open(declared(&encoded, rows.len()), &data)
            && let Ok(found) = reader.rows_matching(&Needle::new(needle.as_bytes(), true))
        {
            prop_assert!(found.is_sorted() && found.last().is_none_or(|row| (*row as usize) < rows.len()));
            let _ = reader.expand(&found);
        }
    }
}
