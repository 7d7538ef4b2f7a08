//! Every answer is that of a plain table with the same rows.

use super::*;

#[test]
fn conditions_hold_for_the_same_rows_as_in_a_plain_table() {
    let bundle = bundle();
    let db = bundle.connection();
    for (condition, has_rows) in [
        ("message LIKE '%timeout%'", true),
        ("message LIKE '%TimeOut%'", true),
        ("message LIKE '%deadline exceeded'", true),
        ("message LIKE 'Get%10.244.1%'", true),
        ("message LIKE '%244.1%'", true),
        ("message LIKE '%10%'", true),
        ("message LIKE '%GRÖßE%'", false),
        ("message LIKE '%größe%'", true),
        ("message LIKE '%grÖße%'", false),
        ("message LIKE '%apf_filter%'", true),
        ("message LIKE '%apfxfilter%'", true),
        ("message LIKE '100\\%%' ESCAPE '\\'", true),
        ("message LIKE '%done\\_%' ESCAPE '\\'", true),
        ("message LIKE '%absent%'", false),
        ("message LIKE '%'", true),
        ("message LIKE ''", true),
        ("message LIKE '%\u{85}%'", true),
        ("message LIKE NULL", false),
        ("message LIKE 14", false),
        ("message LIKE '15%'", true),
        ("message LIKE x'2574696d656f757425'", true),
        ("message NOT LIKE '%timeout%'", true),
        ("NOT message LIKE '%timeout%'", true),
        ("message LIKE '%timeout%' OR message LIKE '%10.244%'", true),
        ("message LIKE '%timeout%' AND message LIKE '%after%'", true),
        ("message LIKE '%timeout%' AND message LIKE '%exceeded%'", false),
        ("message GLOB '*TIMEOUT*'", true),
        ("message GLOB '*timeout*'", true),
        ("message GLOB '*[Tt]imeout*'", true),
        ("message GLOB '*[[]ok[]]*'", true),
        ("message GLOB '*Timeout after ?.5s*'", true),
        ("message GLOB NULL", false),
        ("message MATCH 'TIMEOUT'", true),
        ("message MATCH ''", true),
        ("message MATCH '%'", true),
        ("message MATCH 'größe'", true),
        ("message MATCH x'ff'", true),
        ("message MATCH x'00'", true),
        ("message MATCH 10", true),
        ("message MATCH NULL", false),
        ("message MATCH 'timeout' OR message MATCH 'exceeded'", true),
        ("NOT (message MATCH 'timeout')", true),
        ("message REGEXP 'timeout'", true),
        ("message REGEXP '(?i)timeout'", true),
        ("message REGEXP 'req-[0-9a-f]{2}$'", true),
        ("message REGEXP '^$'", true),
        ("message REGEXP '(?-u)\\xff'", true),
        ("message REGEXP 'timeout|exceeded'", true),
        ("message REGEXP '^[0-9]+$' AND message LIKE '1%'", true),
        ("message NOT REGEXP 'timeout'", true),
        ("message REGEXP NULL", false),
        ("instr(message, 'timeout') > 0", true),
        ("lower(message) LIKE '%timeout%'", true),
        ("message = '150'", true),
        ("level = 'error'", true),
        ("level = 'error' AND level = 'info'", false),
        ("level = 'ERROR'", false),
        ("level IS NULL", true),
        ("level = 'error' AND message MATCH 'timeout' AND ts < '2026-11-22T12:29'", true),
        ("node = 'A' COLLATE NOCASE AND message MATCH 'timeout'", true),
        ("unit = 'kubelet.service' AND message LIKE '%timeout%'", true),
        ("stream_id = (SELECT max(stream_id) FROM plain) AND message LIKE '%timeout%'", true),
        ("stream_id = CAST((SELECT max(stream_id) FROM plain) AS TEXT)", true),
        ("stream_id IN (SELECT stream_id FROM plain WHERE node = 'a') AND level = 'error'", true),
        ("stream_id = 1", false),
        ("node IN ('a', 'b', 'c') AND message MATCH 'timeout'", true),
        ("node IN ('a', 'b') AND level IN ('error', 'fatal') AND message LIKE '%o%'", true),
    ] {
        assert_eq!(check(db, condition, &[]) > 0, has_rows, "{condition}");
    }
    assert!(bundle.damage().is_empty());
}

#[test]
fn times_of_any_type_are_compared_as_sql_compares_them() {
    let bundle = bundle();
    for condition in [
        "ts > '2026-11-22'",
        "ts > '2026-11-22T12:29' AND message MATCH 'timeout'",
        "ts > 1795350500",
        "ts < x'00'",
        "ts_ns > '1795350500000000000'",
        "ts_ns > 1795350500000000000.0",
        "ts_ns BETWEEN 1795350500000000000 AND 1795350600000000000 AND message LIKE '%timeout%'",
        "ts > strftime('%Y-%m-%dT%H:%M', 1795350540, 'unixepoch')",
        "ts = NULL",
    ] {
        check(bundle.connection(), condition, &[]);
    }
}

#[test]
fn parameters_and_columns_can_be_patterns() {
    let bundle = bundle();
    let db = bundle.connection();
    for operator in ["LIKE", "GLOB", "MATCH", "REGEXP"] {
        for pattern in ["%timeout%", "*timeout*", "timeout", "%time_ut%", "10\\.244"] {
            if operator == "REGEXP" && pattern.starts_with('*') {
                continue;
            }
            check(db, &format!("message {operator} ?"), &[Value::Text(pattern.to_owned())]);
        }
        check(db, &format!("message {operator} ?"), &[Value::Null]);
    }
    db.execute_batch(
        "CREATE TEMP TABLE wanted (pattern);
         INSERT INTO wanted VALUES ('timeout'), ('%timeout%'), ('*exceeded*'), (NULL), (10), ('('), ('absent');",
    )
    .expect("patterns");
    for operator in ["LIKE", "GLOB", "MATCH"] {
        let ask = |table: &str| {
            let sql = format!(
                "SELECT pattern, count(*), count(message) FROM wanted
                 LEFT JOIN {table} ON message {operator} pattern GROUP BY 1 ORDER BY 1"
            );
            rows(db, &sql, &[])
        };
        assert_eq!(ask("log"), ask("plain"), "{operator}");
    }
    let wrong =
        db.query_row("SELECT count(*) FROM wanted JOIN log ON message REGEXP pattern", [], |row| {
            row.get::<_, i64>(0)
        });
    assert!(wrong.expect_err("no expression").to_string().contains("regex parse error"));
}

#[test]
fn like_cannot_be_made_to_mean_something_else() {
    let bundle = bundle();
    let db = bundle.connection();
    assert!(db.execute_batch("PRAGMA case_sensitive_like = ON").is_err());
    assert!(db.execute_batch("pragma Case_Sensitive_Like(1)").is_err());
    check(db, "message LIKE '%TIMEOUT%'", &[]);
}

#[test]
fn a_row_has_one_number_in_every_plan() {
    let bundle = bundle();
    let db = bundle.connection();
    let distinct = "SELECT count(*) = count(DISTINCT rowid) FROM log";
    assert!(one::<bool>(db, distinct));
    let joined = "SELECT count(*) FROM log AS x JOIN plain ON number = x.rowid
                  WHERE x.message MATCH 'timeout' AND plain.message IS NOT x.message";
    assert_eq!(one::<i64>(db, joined), 0);
}

#[test]
fn limits_and_offsets_leave_rows_to_the_other_conditions() {
    let bundle = bundle();
    let db = bundle.connection();
    let ask = |end: &str| {
        let condition = "message LIKE '%timeout%' AND instr(message, 'after') > 0";
        let sql = format!("SELECT rowid FROM log WHERE {condition} {end}");
        rows(db, &sql, &[])
    };
    let all = ask("");
    assert!(all.len() > 20);
    assert_eq!(ask("LIMIT 7"), all[..7]);
    assert_eq!(ask("LIMIT 7 OFFSET 5"), all[5..12]);
}

#[test]
fn bytes_come_out_as_they_went_in() {
    let bundle = bundle();
    let expected = line(6);
    let found = rows(bundle.connection(), "SELECT message FROM log WHERE message MATCH x'ff'", &[]);
    assert!(found.contains(&vec![Value::Blob(expected)]), "{found:?}");
}

#[test]
fn more_files_than_can_be_attached_are_searched() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..12 {
        write_node(folder.path(), &format!("n{number}"));
    }
    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("a bundle");
    assert!(bundle.problems().is_empty());
    let count = "SELECT count(*) FROM log WHERE message MATCH 'exceeded'";
    assert_eq!(one::<i64>(bundle.connection(), count), 12 * 3 * 15);
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0..210_usize, 0..60_usize, 1..12_usize).prop_map(|(number, from, length)| {
            let line = line(number);
            let from = from.min(line.len());
            line[from..(from + length).min(line.len())].to_vec()
        }),
        2 => prop::sample::select(vec![
            "%", "_", "*", "?", "[a-z]", "[^0]", ".", ".*", "\\d+", "(a|t)", "[Tt]", "x?", "\\", "ö",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (prop::sample::select(vec!["", "%", "*", ".*", "(?i)"]), prop::collection::vec(piece, 0..4))
        .prop_map(|(around, pieces)| {
            let after = if around == "(?i)" { "" } else { around };
            [around.as_bytes(), &pieces.concat(), after.as_bytes()].concat()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any pattern, in the statement or as a parameter.
    #[test]
    fn search_finds_what_walking_finds(pattern in pattern(), operator in 0..4_usize, literal: bool) {
        thread_local! {
            static BUNDLE: Bundle = bundle();
        }
        let operator = ["LIKE", "GLOB", "MATCH", "REGEXP"][operator];
        BUNDLE.with(|bundle| {
            let db = bundle.connection();
            let text = String::from_utf8(pattern.clone()).ok().filter(|text| !text.contains('\0'));
            let (shown, parameter) = match text {
                Some(text) if literal => (format!("'{}'", text.replace('\'', "''")), None),
                _ => ("?".to_owned(), Some(pattern)),
            };
            let ask = |sql: &str| -> rusqlite::Result<Vec<i64>> {
                let mut statement = db.prepare(sql)?;
                let parameter = parameter.as_deref().map(|bytes| {
                    ToSqlOutput::Borrowed(ValueRef::Text(bytes))
                });
                statement
                    .query_map(rusqlite::params_from_iter(parameter), |row| row.get(0))?
                    .collect()
            };
            let condition = format!("message {operator} {shown}");
            let expected = ask(&format!("SELECT number FROM plain WHERE {condition} ORDER BY 1"));
            let found = ask(&format!("SELECT rowid FROM log WHERE {condition} ORDER BY 1"));
            let counted = ask(&format!("SELECT count(*) FROM log WHERE {condition}"));
            match (expected, found, counted) {
                (Ok(expected), Ok(found), Ok(counted)) => {
                    assert_eq!(counted, [expected.len() as i64], "{condition}");
                    assert_eq!(found, expected, "{condition}");
                }
                (Err(_), Err(_), Err(_)) => assert_eq!(operator, "REGEXP"),
                other => panic!("{condition}: {other:?}"),
            }
            assert!(bundle.damage().is_empty());
        });
    }
}
