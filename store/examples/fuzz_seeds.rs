//! Writes the seeds of all targets into `fuzz/seeds`, from where a fuzzer starts.

use std::fs;
use std::path::Path;

use periscope_store::codec::fuzzing::{filter_seeds, seeds};
use periscope_store::codec::{LOG, PROBE, SAMPLE};

/// What is searched for in the seeds of `search_log`: across slots, in strings,
/// in stamps, nowhere.
const NEEDLES: [&[u8]; 4] = [b"7] \"Syn", b"web-", b"12:28:0", b"OK"];

/// A chunk of two rows with two runs, one of them of no batch.
const OPENED: &[u8] = &[2, 0, 0, 0, 2, 0, 1, 1, 0, 1, 0, 4, 0, 0, 0, 1, 0, 3, 0];

fn main() -> std::io::Result<()> {
    let searches = seeds(LOG).into_iter().zip(NEEDLES.iter().cycle()).map(|(chunk, needle)| {
        let head = (needle.len() as u8) << 1 | 1;
        [&[head], *needle, &chunk].concat()
    });
    let all = [
        ("decode_log", seeds(LOG)),
        ("search_log", searches.collect()),
        ("decode_probe", seeds(PROBE)),
        ("decode_sample", seeds(SAMPLE)),
        ("read_filter", filter_seeds()),
        ("make_filter", vec![b"dial tcp: i/o timeout\nab\n\xff\0\xfe".to_vec()]),
        ("open_file", vec![OPENED.to_vec()]),
    ];
    for (target, seeds) in all {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{number:02}")), seed)?;
        }
    }
    Ok(())
}
