//! Host-sample chunks: decoded within their bounds or refused; what decodes also
//! encodes and comes back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use periscope_store::codec::fuzzing::read_sample;

fuzz_target!(|input: &[u8]| read_sample(input));
