//! What must be in the files of the agents, and what must not.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use periscope_tests::keeper::Keeper;
use periscope_tests::secrets::{PIECES, SECRETS};
use periscope_tests::{cri, database, programs};

use super::CHATTER;

/// Rows of the writers, against all files that were kept of them.
#[expect(clippy::print_stdout, reason = "figures that somebody may want to note")]
pub(crate) fn lines_are_equal(node: &str, files: &[PathBuf], keeper: &Keeper) {
    let contents = keeper.contents().expect("kept files");
    let bundle = periscope_store::bundle::Bundle::open(files).expect("a bundle");
    let mut actual = BTreeMap::<(String, String, String), Vec<cri::Row>>::new();
    let mut statement = bundle
        .connection()
        .prepare(
            "SELECT container, restart, ts_ns, output, message, pod FROM log
             WHERE source = 'container' AND namespace = ?1 AND pod LIKE 'chatter-%'",
        )
        .expect("a query");
    let mut rows = statement.query([CHATTER]).expect("rows");
    while let Some(row) = rows.next().expect("a row") {
        let restart: i64 = row.get(1).expect("a number");
        let pod = row.get(5).expect("text");
        let key = (pod, row.get(0).expect("text"), restart.to_string());
        // Text as it was written, which may be no UTF-8.
        let text = row.get_ref(4).expect("a column").as_bytes().expect("text");
        let text = String::from_utf8_lossy(text).into_owned();
        let (ts_ns, output) = (row.get(2).expect("a time"), row.get(3).expect("text"));
        actual.entry(key).or_default().push((ts_ns, output, text));
    }
    let (mut lines, mut file_count) = (0, 0);
    for ((pod, container, restart), contents) in &contents {
        let expected = cri::rows(contents);
        lines += expected.len();
        file_count += contents.len();
        // A folder is called after namespace, pod and uid.
        let name = pod.split('_').nth(1).unwrap_or_default().to_owned();
        let key = (name, container.clone(), restart.clone());
        let ours = actual.remove(&key).unwrap_or_default();
        let difference = cri::difference(ours, expected);
        assert_eq!(difference, None, "{node} {pod} {container} {restart}");
    }
    assert!(actual.is_empty(), "rows of no file: {:?}", actual.keys());
    let fast: Vec<usize> = contents
        .iter()
        .filter(|((_, container, _), _)| container == "fast")
        .map(|(_, files)| files.len())
        .collect();
    println!("{node}: {lines} lines of {file_count} files are there, each once");
    assert!(fast.iter().all(|count| *count >= 3), "the kubelet did not rotate: {fast:?}");
    let again = contents.keys().filter(|(_, container, _)| container == "again").count();
    assert!(again >= 2, "a container started {again} times");
}

/// No secret in the bytes of the files, nor in anything that is decoded from them; and
/// each place where they were planted was read.
pub(crate) fn nothing_secret_is_there(files: &[PathBuf]) {
    let mut bytes: Vec<Vec<u8>> =
        files.iter().map(|path| fs::read(path).expect("a file")).collect();
    for sql in [
        "SELECT * FROM log",
        "SELECT * FROM setting",
        "SELECT * FROM object",
        "SELECT * FROM pod",
        "SELECT * FROM event",
        "SELECT * FROM issue",
        "SELECT * FROM collection",
        "SELECT * FROM redaction",
        "SELECT * FROM raw_session",
        "SELECT * FROM raw_stream",
    ] {
        let mut query = programs::analyze().expect("built");
        query.arg("query").args(files).args([sql, "--format", "json"]);
        bytes.push(programs::stdout_of(&mut query).expect(sql).into_bytes());
    }
    for secret in SECRETS.iter().map(|(_, _, secret)| *secret).chain(PIECES) {
        for bytes in &bytes {
            let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            let around = at.map(|at| {
                let from = at.saturating_sub(100);
                String::from_utf8_lossy(&bytes[from..(at + 100).min(bytes.len())]).into_owned()
            });
            assert_eq!(around, None, "{secret}");
        }
    }
    let count = |sql: &str| database::number(files, sql).expect(sql);
    for (place, sql) in [
        ("logs", "SELECT count(*) FROM log WHERE pod LIKE 'teller-%' AND message LIKE '%‹%'"),
        (
            "the journal",
            "SELECT count(*) FROM log WHERE unit = 'kubelet.service' AND message LIKE '%‹account-key:%'",
        ),
        ("arguments", "SELECT count(*) FROM setting WHERE name = '--token' AND value LIKE '%‹%'"),
        (
            "the kubelet's file",
            "SELECT count(*) FROM setting WHERE name LIKE 'staticPodURLHeader%'",
        ),
        ("azure.json", "SELECT count(*) FROM setting WHERE source LIKE '%azure.json'"),
        (
            "the environment",
            "SELECT count(*) FROM object WHERE name LIKE 'teller-%' AND json LIKE '%DB_PASSWORD%'",
        ),
    ] {
        assert!(count(sql) > 0, "{place} was not read");
    }
    for (rule, text, _) in SECRETS {
        let sql = format!("SELECT count(*) FROM redaction WHERE rule = '{rule}'");
        assert!(count(&sql) > 0, "{rule} did not find {text:?}");
    }
}
