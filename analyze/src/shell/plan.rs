//! How SQLite goes about a question, as a tree.

use std::collections::HashMap;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;

use crate::output::one_line;
use crate::query::{self, text};

/// Explains one statement. Its parameters need no values.
///
/// # Errors
///
/// If it is not one sound statement.
pub(super) fn explain(connection: &Connection, sql: &str) -> Result<String> {
    let [range] = &text::statements(sql)[..] else {
        anyhow::bail!("explain takes one statement\nhint: .explain SELECT …");
    };
    // What is wrong with it is told of the statement as it was typed.
    let columns = query::prepare(connection, sql, range.clone())?.column_count();
    ensure!(columns > 0, "the SQL is no question\nhint: write one SELECT");
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {}", &sql[range.clone()]))
        .context("explaining the SQL")?;
    let mut children = HashMap::<i64, Vec<(i64, String)>>::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().context("explaining the SQL")? {
        children.entry(row.get(1)?).or_default().push((row.get(0)?, row.get(3)?));
    }
    let mut tree = "QUERY PLAN\n".to_owned();
    grow(&mut tree, &children, 0, "");
    Ok(tree)
}

fn grow(tree: &mut String, children: &HashMap<i64, Vec<(i64, String)>>, node: i64, indent: &str) {
    let all = children.get(&node).map(Vec::as_slice).unwrap_or_default();
    for (at, (id, text)) in all.iter().enumerate() {
        let is_last = at + 1 == all.len();
        let (branch, below) = if is_last { ("`--", "   ") } else { ("|--", "|  ") };
        // Writing to a String cannot fail.
        let _ = writeln!(tree, "{indent}{branch}{}", one_line(text));
        // A plan numbers what is below after what is above.
        if *id > node {
            grow(tree, children, *id, &format!("{indent}{below}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_tree() {
        let connection = Connection::open_in_memory().expect("SQLite");
        connection.execute_batch("CREATE TABLE t (a, b)").expect("made");
        let tree = explain(&connection, "SELECT a FROM t WHERE a = :a UNION SELECT b FROM t;");
        insta::assert_snapshot!(tree.expect("sound"), @r"
        QUERY PLAN
        `--MERGE (UNION)
           |--LEFT
           |  `--SCAN t
           `--RIGHT
              |--SCAN t
              `--USE TEMP B-TREE FOR ORDER BY
        ");
        let error = explain(&connection, "SELECT c FROM t").expect_err("no such column");
        assert!(
            error.to_string().starts_with("no such column: c\n  at line 1, column 8:"),
            "{error}"
        );
        assert!(explain(&connection, "SELECT 1; SELECT 2").is_err());
        assert!(explain(&connection, "").is_err());
    }
}
