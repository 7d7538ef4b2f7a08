//! Logs of containers as the runtime writes them, read by rules of the tests' own.

use periscope_store::time::parse_rfc3339;

/// A line of a container: its time, `stdout` or `stderr`, and its text.
pub type Row = (i64, String, String);

/// Lines of one restart of a container, given its files in their order. Parts are put
/// together, each output's for itself, also from one file to the next.
///
/// # Panics
///
/// If a line is none of the runtime's.
#[must_use]
pub fn rows(files: &[Vec<u8>]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut open: [Option<(i64, Vec<u8>)>; 2] = [None, None];
    for line in files.iter().flat_map(|bytes| bytes.split_inclusive(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let mut field = || fields.next().unwrap_or_default();
        let (time, output, tag, text) = (field(), field(), field(), field());
        let ts_ns = std::str::from_utf8(time).ok().and_then(parse_rfc3339);
        assert!(ts_ns.is_some(), "no line of a runtime: {:?}", String::from_utf8_lossy(line));
        let is_stderr = output == b"stderr";
        let part = &mut open[usize::from(is_stderr)];
        let whole = part.get_or_insert((ts_ns.unwrap_or_default(), Vec::new()));
        whole.1.extend_from_slice(text);
        if tag == b"F" {
            let (ts_ns, text) = part.take().unwrap_or_default();
            let output = if is_stderr { "stderr" } else { "stdout" };
            rows.push((ts_ns, output.to_owned(), String::from_utf8_lossy(&text).into_owned()));
        }
    }
    rows
}

/// What is in one list of rows and not in the other, a few of each: rows of `actual`
/// that are too many, and rows of `expected` that are missing.
#[must_use]
pub fn difference(mut actual: Vec<Row>, mut expected: Vec<Row>) -> Option<String> {
    actual.sort_unstable();
    expected.sort_unstable();
    if actual == expected {
        return None;
    }
    let (mut more, mut missing) = (Vec::new(), Vec::new());
    let (mut ours, mut theirs) = (actual.into_iter().peekable(), expected.into_iter().peekable());
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => break,
        };
        match order {
            std::cmp::Ordering::Less => more.extend(ours.next()),
            std::cmp::Ordering::Greater => missing.extend(theirs.next()),
            std::cmp::Ordering::Equal => drop((ours.next(), theirs.next())),
        }
    }
    let head = |rows: &[Row]| format!("{:?}", &rows[..rows.len().min(3)]);
    let text = format!("{} too many: {}", more.len(), head(&more));
    Some(format!("{text}; {} missing: {}", missing.len(), head(&missing)))
}
