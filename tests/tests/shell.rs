//! The shell: piped into, and typed at.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use periscope_tests::nodefile;
use periscope_tests::programs::{self, Finished};
use periscope_tests::pty::Terminal;

const PROMPT: &str = "periscope> ";

fn bundle() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = nodefile::write(folder.path(), "node-a", 300).expect("a file");
    (folder, path)
}

/// What the shell makes of a text on standard input.
fn pipe(path: &Path, more: &[&str], input: &str) -> Finished {
    let mut command = programs::analyze().expect("built");
    command.arg("shell").arg(path).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut keys = child.stdin.take().expect("an input");
    keys.write_all(input.as_bytes()).expect("written");
    drop(keys);
    let output = child.wait_with_output().expect("finished");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Finished {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn type_at(path: &Path, state: &Path) -> Terminal {
    let program = programs::path("periscope-analyze").expect("built");
    let command = format!("{} shell {}", program.display(), path.display());
    let variables = [("XDG_STATE_HOME", state.to_str().expect("text"))];
    let mut terminal = Terminal::start(&command, &variables).expect("started");
    terminal.wait_for(PROMPT).expect("a prompt");
    terminal
}

#[test]
fn what_is_piped_in_is_answered() {
    let (_folder, path) = bundle();
    let done = pipe(
        &path,
        &["--format", "csv", "-p", "pod=coredns-1"],
        "SELECT count(*) AS n FROM log\n WHERE pod = :pod; -- half\nSELECT 1 AS one;\n\
         .mode jsonl\n.param pod='x'\nSELECT :pod AS pod;\nSELECT 'no end' AS last",
    );
    assert_eq!(done.stdout, "n\n300\none\n1\n{\"pod\":\"x\"}\n{\"last\":\"no end\"}\n", "{done:?}");
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
}

#[test]
fn commands_answer() {
    let (_folder, path) = bundle();
    insta::assert_snapshot!("help", pipe(&path, &[], ".help\n.help mode\n").stdout);
    let tables = pipe(&path, &[], ".tables\n").stdout;
    let names: Vec<&str> = tables.split_whitespace().collect();
    for name in
        ["log", "probe", "pod", "probe_outage", "latest_batch", "raw_batch", "virtual_table"]
    {
        assert!(names.contains(&name), "{name}: {tables}");
    }
    assert_eq!(pipe(&path, &[], ".tables PROBE_*GE\n").stdout, "probe_edge    probe_outage\n");
    let schema = pipe(&path, &[], ".schema log\n.schema pod\n").stdout;
    assert!(schema.starts_with("CREATE TABLE log ("), "{schema}");
    assert!(schema.contains("-- Pods as they were last seen.\nCREATE VIEW pod ("), "{schema}");
    let plan = pipe(&path, &[], ".explain SELECT * FROM log WHERE node = 'a'\n").stdout;
    assert!(plan.starts_with("QUERY PLAN\n`--SCAN log VIRTUAL TABLE INDEX "), "{plan}");
    let timed = pipe(&path, &[], ".timer on\nSELECT * FROM probe;\n").stderr;
    assert!(timed.ends_with(" s, 10 rows\n"), "{timed}");
    let found =
        pipe(&path, &["--format", "csv"], ".diagnose outage-windows\nSELECT 1;\n.diagnose\n");
    assert!(found.stdout.contains("IN THIS BUNDLE"), "{found:?}");
    assert!(found.stdout.contains("on node-a: "), "{found:?}");
    assert!(found.stdout.contains("│ outage-windows "), "{found:?}");
    assert_eq!(found.status, Some(0), "{found:?}");
}

#[test]
fn mistakes_are_told_with_their_line() {
    let (folder, path) = bundle();
    let file = folder.path().join("more.sql");
    fs::write(&file, "SELECT 2 AS two;\n\nSELECT nothing;\n.read nowhere.sql\n").expect("written");
    let mut input = format!("SELECT 1 AS one;\n\nSELECT x FROM log;\n.read {}\n", file.display());
    input.push_str(
        "DELETE FROM raw_node;\nATTACH 'a.db' AS a;\nSELECT writefile('a', 'b');\n\
         SELECT load_extension('a');\n.mode box\n.nothing\n.e\n.schema nothing\n.once\n.timer 1\n.diagnose x\n\
         .explain SELECT\nSELECT :unset;\nSELECT 3 AS three;\n",
    );
    input.extend([".once ", &path.display().to_string(), "\n"]);
    let before = fs::read(&path).expect("the file");
    let done = pipe(&path, &["--format", "csv"], &input);
    assert_eq!(done.stdout, "one\n1\ntwo\n2\nthree\n3\n");
    assert_eq!(done.status, Some(2));
    let told = done.stderr.replace(&folder.path().display().to_string(), "DIR");
    insta::assert_snapshot!("mistakes", told);
    assert_eq!(fs::read(&path).expect("the file"), before, "no file of a bundle is written to");
}

#[test]
fn answers_go_to_files() {
    let (folder, path) = bundle();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (once, all) = (at("once file.csv"), at("all.csv"));
    let input = format!(
        ".mode csv\n.once '{once}'\nSELECT 1 AS a;\nSELECT 2 AS b;\n.output {all}\nSELECT 3 AS c;\n\
         SELECT 4 AS d;\n.output\nSELECT 5 AS e;\n.quit\nSELECT 6 AS f;\n"
    );
    let done = pipe(&path, &[], &input);
    assert_eq!(done.stdout, "b\n2\ne\n5\n", "{done:?}");
    assert_eq!(fs::read_to_string(once).expect("written"), "a\n1\n");
    assert_eq!(fs::read_to_string(all).expect("written"), "c\n3\nd\n4\n");
}

#[test]
fn parquet_wants_a_file_of_its_own() {
    let (folder, path) = bundle();
    let file = folder.path().join("a.parquet");
    let input = format!(
        "SELECT 1 AS a;\n.once {}\nSELECT ts, message FROM log;\nSELECT 1; SELECT 2;\n",
        file.display()
    );
    let done = pipe(&path, &["--format", "parquet"], &input);
    assert_eq!((done.status, done.stdout.as_str()), (Some(2), ""), "{done:?}");
    let told = "that format holds one answer\nhint: .once FILE says where to write the next\n";
    assert_eq!(done.stderr, format!("error: -:1: {told}error: -:4: {told}"));
    let bytes = fs::read(file).expect("written");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{}", bytes.len());
}

#[test]
fn nobody_reads_on() {
    let (_folder, path) = bundle();
    let program = programs::path("periscope-analyze").expect("built");
    let script = format!(
        "(echo '.mode jsonl'; for i in $(seq 200); do echo 'SELECT * FROM log;'; done) | {} shell {} | head -n 1",
        program.display(),
        path.display()
    );
    let mut sh = std::process::Command::new("bash");
    let done = programs::finish(sh.args(["-o", "pipefail", "-c", &script])).expect("ran");
    assert_eq!(done.stdout.lines().count(), 1, "{done:?}");
    assert!(!done.stderr.contains("error"), "{done:?}");
}

#[test]
fn tab_completes_and_the_history_stays() {
    let (folder, path) = bundle();
    let state = folder.path().join("state");
    let mut terminal = type_at(&path, &state);
    terminal.type_keys(".mo\tcs\t\r").expect("typed");
    terminal.wait_for(PROMPT).expect("a prompt");
    terminal.type_keys("SELECT co\tcount(*) AS lines\r").expect("typed");
    terminal.wait_for("...> ").expect("more is asked for");
    terminal.type_keys("FROM lo\t WHERE pod =\x03").expect("typed");
    terminal.wait_for(PROMPT).expect("Ctrl-C drops it");
    terminal
        .type_keys("SELECT count(*) AS lines\rFROM log\rWHERE na\t = 'kube-system';\r")
        .expect("typed");
    let shown = terminal.wait_for("600").expect("an answer");
    assert!(shown.contains("lines\r\n"), "{shown:?}");
    terminal.wait_for(PROMPT).expect("a prompt");
    terminal.type_keys("\x04").expect("typed");
    assert_eq!(terminal.finish().expect("ended"), Some(0));

    let history = state.join("periscope/shell-history");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&history), mode(&state.join("periscope"))), (0o600, 0o700));
    let text = fs::read_to_string(&history).expect("text");
    let whole = "SELECT count(*) AS lines\\nFROM log\\nWHERE namespace = 'kube-system';";
    assert_eq!(text.lines().collect::<Vec<_>>(), ["#V2", ".mode csv", whole]);

    let mut terminal = type_at(&path, &state);
    terminal.type_keys("\x1b[A\r").expect("typed");
    terminal.wait_for("│ 600").expect("the last statement again");
    terminal.type_keys(" SELECT 'secret';\r").expect("typed");
    terminal.wait_for("│ secret").expect("an answer");
    terminal.type_keys(".quit\r").expect("typed");
    assert_eq!(terminal.finish().expect("ended"), Some(0));
    assert!(!fs::read_to_string(&history).expect("text").contains("secret"));
}

#[test]
fn a_long_query_says_how_far_it_is() {
    let (_folder, path) = bundle();
    let program = programs::path("periscope-analyze").expect("built");
    // It never ends, and its first row is held back for a table.
    let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
               SELECT (SELECT max(message) FROM log) AS m FROM c WHERE x < 2";
    let shown = |more: &str| {
        let (program, path) = (program.display(), path.display());
        let query = format!("timeout --foreground 3 {program} query {path} \"{sql}\" {more}");
        let command = format!("sh -c '{query}; echo ended with $?'");
        let mut terminal = Terminal::start(&command, &[]).expect("started");
        terminal.wait_for("ended with 124").expect("the end")
    };
    let told = shown("");
    assert!(told.contains("\r\u{1b}[2K1 s, 1 row, "), "{told:?}");
    assert!(told.contains(" B of chunks read") && !told.contains(" 0 B of"), "{told:?}");
    assert_eq!(shown("--no-progress"), "ended with 124");
}

#[test]
fn ctrl_c_ends_the_question_and_not_the_shell() {
    let (folder, path) = bundle();
    let mut terminal = type_at(&path, folder.path());
    let endless =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c;\r";
    terminal.type_keys(endless).expect("typed");
    terminal.wait_for(" s, 0 rows, 0 B of chunks read").expect("progress");
    terminal.type_keys("\x03").expect("typed");
    terminal.wait_for("interrupted").expect("told");
    terminal.wait_for(PROMPT).expect("a prompt");
    terminal.type_keys("SELECT count(*) FROM probe;\r").expect("typed");
    terminal.wait_for("│ 10").expect("an answer");
    terminal.wait_for(PROMPT).expect("a prompt");
    terminal.type_keys("\x03").expect("typed");
    terminal.wait_for(PROMPT).expect("a prompt");
    terminal.type_keys("\x04").expect("typed");
    assert_eq!(terminal.finish().expect("ended"), Some(0));
}
