//! Tests of [`run`](super::run): the guards, the states, and how they are told.

use rusqlite::Connection;

use super::fixture::{self, Opened};
use super::notation::Bundle;
use super::parse::{Diagnostic, Severity, parse};
use super::run::{Answer, Limits, State, Survey, run};

const ROW: &str = "SELECT 'node-1' AS node, '2026' AS ts, 'm' AS message";

fn bundle(text: &str) -> Opened {
    let bundle: Bundle = toml::from_str(text).unwrap();
    fixture::open(&bundle)
}

fn diagnostic(header: &str, sql: &str) -> Diagnostic {
    let text = format!("-- title: T\n-- severity: warning\n{header}{sql}\n");
    parse("x", "x.sql", &text).unwrap()
}

fn ask_with(connection: &mut Connection, diagnostic: &Diagnostic, limits: Limits) -> Answer {
    let survey = Survey::read(connection).unwrap();
    run(connection, diagnostic, &survey, limits)
}

fn ask(sql: &str) -> Answer {
    let mut connection = bundle("probe = [{ pattern = 'oo' }]");
    ask_with(&mut connection, &diagnostic("", sql), Limits::default())
}

fn error(sql: &str) -> String {
    let answer = ask(sql);
    let error = answer.error.expect(sql);
    assert!(answer.findings.is_empty(), "{sql}");
    assert_eq!(answer.nodes[0].state, State::Error { message: error.clone() });
    error
}

#[test]
fn a_row_becomes_a_finding_with_evidence_in_order() {
    let answer = ask(&format!("{ROW}, 1 AS z, 2.5 AS a, NULL AS n, x'00' AS b"));
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        r#"{"diagnostic":"x","title":"T","findings":[{"diagnostic":"x","severity":"warning","node":"node-1","ts":"2026","message":"m","evidence":{"z":1,"a":2.5,"n":null,"b":"blob of 1 bytes"}}],"nodes":[{"node":"node-1","state":"finding","findings":1}],"truncated":false}"#
    );
}

#[test]
fn a_row_may_have_a_severity_of_its_own() {
    let answer = ask(&format!("{ROW}, 'error' AS severity UNION ALL {ROW}, NULL"));
    let severities: Vec<_> = answer.findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning]);
    assert!(answer.findings[0].evidence.is_empty());
    assert_eq!(
        error(&format!("{ROW}, 'bad' AS severity")),
        "x.sql:3: a row has severity \"bad\"\nhint: column severity is error, warning, info, blind or NULL"
    );
}

#[test]
fn a_result_without_the_columns_is_an_error() {
    assert_eq!(
        error("SELECT 1 AS node, 2 AS ts"),
        "x.sql:3: the statement has no column message\nhint: name it with AS message"
    );
    assert_eq!(error("SELECT nowhere"), "x.sql:3: no such column: nowhere");
}

#[test]
fn a_statement_can_only_read() {
    for sql in [
        format!("{ROW} WHERE current_timestamp > ''"),
        format!("{ROW} WHERE random() > 0"),
        format!("{ROW} WHERE load_extension('x')"),
        format!("{ROW} FROM pragma_database_list"),
    ] {
        let found = error(&sql);
        assert!(found.starts_with("x.sql:3: "), "{found}");
        assert!(found.contains("hint: a diagnostic only reads"), "{found}");
    }
    let mut connection = bundle("");
    let mut write = diagnostic("", ROW);
    write.sql = "DELETE FROM raw_node RETURNING name AS node, 1 AS ts, 2 AS message".to_owned();
    let answer = ask_with(&mut connection, &write, Limits::default());
    assert!(answer.error.expect("a write is refused").contains("not authorized"));
    for sql in ["ATTACH ':memory:' AS x", "PRAGMA user_version = 1", "DROP TABLE raw_node"] {
        write.sql = sql.to_owned();
        let answer = ask_with(&mut connection, &write, Limits::default());
        assert!(answer.error.expect(sql).contains("not authorized"), "{sql}");
    }
}

#[test]
fn guards_are_taken_down_after_a_run() {
    let mut connection = bundle("");
    let limits = Limits { deadline: std::time::Duration::ZERO, ..Limits::default() };
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT 'node-1' AS node, i AS ts, 'm' AS message FROM n WHERE i < 0";
    let answer = ask_with(&mut connection, &diagnostic("", endless), limits);
    assert_eq!(answer.error.as_deref(), Some("x.sql: took longer than 0 s and was given up"));
    connection.execute_batch("CREATE TABLE mine (x); PRAGMA user_version = 7;").unwrap();
    let count: i64 = connection
        .query_row(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)
             SELECT count(*) FROM n",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(count, 100_000);
}

#[test]
fn what_is_cut_says_so() {
    let mut connection = bundle("nodes = ['node-1', 'node-2']");
    let limits = Limits { max_findings: 1, ..Limits::default() };
    let sql = format!("{ROW} UNION ALL {ROW}");
    let answer = ask_with(&mut connection, &diagnostic("", &sql), limits);
    assert!(answer.truncated);
    assert_eq!(answer.findings.len(), 1);
    let reason = "only the first 1 findings were read".to_owned();
    assert_eq!(answer.nodes[1].state, State::Blind { reason });

    let answer = ask("SELECT 'node-1' AS node, '' AS ts, printf('%.20000c', 'é') AS message");
    let message = &answer.findings[0].message;
    assert!(message.ends_with("é… (40000 bytes)"), "{message}");
    assert!(message.len() < 17_000);
}

#[test]
fn a_node_is_blind_without_what_is_needed() {
    let states = |bundle_text: &str, needs: &str| -> Vec<State> {
        let mut connection = bundle(bundle_text);
        let quiet = diagnostic(&format!("-- needs: {needs}\n"), &format!("{ROW} WHERE 0"));
        let answer = ask_with(&mut connection, &quiet, Limits::default());
        answer.nodes.into_iter().map(|node| node.state).collect()
    };
    let blind = |reason: &str| State::Blind { reason: reason.to_owned() };
    let two = "nodes = ['node-1', 'node-2']\nprobe = [{ pattern = 'o' }]\n";
    assert_eq!(states(two, "probe"), [State::Healthy, blind("probe was not collected")]);
    assert_eq!(states(two, "iptables")[0], blind("iptables was not collected"));
    let outcome = |outcome: &str| {
        format!("collection = [{{ collector = 'iptables', outcome = '{outcome}', message = 'm' }}]")
    };
    assert_eq!(states(&outcome("partial"), "iptables"), [State::Healthy]);
    assert_eq!(states(&outcome("failed"), "iptables"), [blind("iptables is failed: m")]);
    assert_eq!(states(&outcome("absent"), "iptables"), [blind("iptables is absent: m")]);
    assert_eq!(states(&outcome("complete"), "iptables, probe"), [blind("probe was not collected")]);
}

#[test]
fn a_row_may_say_that_its_node_is_blind() {
    let blind = "SELECT 'node-1' AS node, '' AS ts, 'no server' AS message, 'blind' AS severity";
    let answer = ask(&format!("{blind} UNION ALL SELECT 'node-1', '', 'again', 'blind'"));
    assert_eq!(answer.findings, []);
    assert_eq!(answer.nodes[0].state, State::Blind { reason: "no server".to_owned() });
    let answer = ask(&format!("{blind} UNION ALL SELECT 'node-1', '', 'found', NULL"));
    assert_eq!(answer.nodes[0].state, State::Finding { findings: 1 });
    for node in ["'nobody'", "NULL"] {
        let answer = ask(&blind.replace("'node-1'", node));
        assert_eq!((answer.findings.len(), &answer.nodes[0].state), (0, &State::Healthy), "{node}");
    }
}

#[test]
fn a_finding_outweighs_blindness() {
    let mut connection = bundle("");
    let found = diagnostic("-- needs: probe\n", ROW);
    let answer = ask_with(&mut connection, &found, Limits::default());
    assert_eq!(answer.nodes[0].state, State::Finding { findings: 1 });
}

#[test]
fn parameters_and_the_end_of_the_bundle_are_bound() {
    let mut connection = bundle("probe = [{ pattern = 'ooo' }]");
    let sql = "SELECT 'node-1' AS node, :collected_until AS ts, :a || :b || :c AS message";
    let header = "-- param: a = 2\n-- param: b = 0.5\n-- param: c = 'x'\n";
    let answer = ask_with(&mut connection, &diagnostic(header, sql), Limits::default());
    let finding = &answer.findings[0];
    assert_eq!(finding.ts.as_deref(), Some("2026-11-22T12:00:20.020000000Z"));
    assert_eq!(finding.message, "20.5x");
}
