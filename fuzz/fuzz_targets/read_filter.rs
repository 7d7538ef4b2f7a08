//! Skip filters of any bytes: asking them does no harm.

#![no_main]

use libfuzzer_sys::fuzz_target;
use periscope_store::codec::fuzzing::read_filter;

fuzz_target!(|input: &[u8]| read_filter(input));
