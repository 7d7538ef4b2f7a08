//! Log chunks: decoded within their bounds or refused; what decodes also encodes
//! and comes back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use periscope_store::codec::fuzzing::chunk;
use periscope_store::codec::{COMPACT_LEVEL, Declared, LOG, decode_logs, encode_logs};

fuzz_target!(|input: &[u8]| {
    let Some((declared, data)) = chunk(LOG, input) else { return };
    let Ok(columns) = decode_logs(declared, data) else { return };
    assert_eq!(columns.len(), declared.row_count);
    assert_eq!(columns.raw_bytes(), declared.raw_bytes);
    let encoded = encode_logs(&columns, COMPACT_LEVEL).expect("it is not too large");
    let declared = Declared { raw_bytes: encoded.raw_bytes, ..declared };
    assert!(decode_logs(declared, &encoded.data).is_ok_and(|decoded| decoded == columns));
});
