//! Search in log chunks: whatever decodes, a search finds what reading it all
//! finds, and rows read alone are the rows that were read with all others.
//!
//! Input: length of the needle, its lowest bit for whether case is folded; the
//! needle; a chunk.

#![no_main]

use libfuzzer_sys::fuzz_target;
use periscope_store::codec::fuzzing::chunk;
use periscope_store::codec::{LOG, LogReader, Needle, decode_logs};

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first() else { return };
    let Some((needle, rest)) = rest.split_at_checked(usize::from(head >> 1)) else { return };
    let Some((declared, data)) = chunk(LOG, rest) else { return };
    let needle = Needle::new(needle, head & 1 != 0);
    let found = LogReader::open(declared, data).and_then(|reader| reader.rows_matching(&needle));
    let Ok(columns) = decode_logs(declared, data) else { return };
    let expected: Vec<u32> = (0..columns.len())
        .filter(|row| needle.is_in(columns.message(*row)))
        .map(|row| row as u32)
        .collect();
    assert_eq!(found.expect("it decodes"), expected);
    let reader = LogReader::open(declared, data).expect("it decodes");
    let some = reader.expand(&expected).expect("it decodes");
    for (place, row) in expected.into_iter().enumerate() {
        let row = row as usize;
        assert_eq!(some.ts_ns(place), columns.ts_ns(row));
        assert_eq!(some.flags(place), columns.flags(row));
        assert_eq!(some.message(place), columns.message(row));
    }
});
