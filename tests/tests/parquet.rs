//! Answers as Parquet files, read by a stranger: `DuckDB`.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use periscope_tests::{nodefile, programs, python};

const DUCKDB: &str = "duckdb==1.4.3";

/// Writes an answer to a file.
fn query(bundle: &Path, sql: &str, to: &Path) {
    let mut command = programs::analyze().expect("built");
    command.arg("query").arg(bundle).args([sql, "--format", "parquet"]);
    command.stdout(File::create(to).expect("a file"));
    let status = command.status().expect("ran");
    assert!(status.success(), "{sql}");
}

/// What `DuckDB` answers, a line for each row.
fn duckdb(sql: &str) -> String {
    let python = python::with(DUCKDB, Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("DuckDB");
    let script = "import duckdb, sys\nfor row in duckdb.sql(sys.argv[1]).fetchall(): print(row)";
    programs::stdout_of(Command::new(python).args(["-c", script, sql])).expect(sql)
}

#[test]
fn duckdb_reads_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    // More rows than a row group has, and more bytes than are held in memory.
    let bundle = nodefile::write(folder.path(), "node-a", 200_000).expect("a file");
    let file = folder.path().join("log.parquet");
    query(&bundle, "SELECT ts, ts_ns, pod, level, message, unit FROM log", &file);
    let path = file.display();
    let count = duckdb(&format!(
        "SELECT count(*), count(DISTINCT pod), min(ts), max(ts_ns) - min(ts_ns), count(unit),
                count(*) FILTER (message LIKE '%timeout%')
         FROM '{path}'"
    ));
    assert_eq!(count, "(400000, 2, '2026-11-22T12:28:00.000000000Z', 199999000000000, 0, 4000)\n");
    let groups = duckdb(&format!(
        "SELECT count(DISTINCT row_group_id), max(row_group_num_rows), any_value(compression)
         FROM parquet_metadata('{path}')"
    ));
    assert_eq!(groups, "(7, 65536, 'SNAPPY')\n");
}

#[test]
fn values_have_the_types_that_are_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = nodefile::write(folder.path(), "node-a", 10).expect("a file");
    let file = folder.path().join("all.parquet");
    query(
        &bundle,
        "SELECT -5 AS i, 0.5 AS r, 'ü' AS t, x'00ff' AS b, NULL AS n, 1 AS ir, 1 AS it, x'61' AS bt, 1 AS i
         UNION ALL
         SELECT 9223372036854775807, -1e300, '', x'', NULL, 0.25, 'a', 'b', NULL
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
        &file,
    );
    let path = file.display();
    let types = duckdb(&format!("SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')"));
    let rows = duckdb(&format!("FROM '{path}'"));
    insta::assert_snapshot!(format!("{types}{rows}"));
    query(&bundle, "SELECT node FROM log WHERE false", &file);
    assert_eq!(duckdb(&format!("SELECT count(*) FROM '{path}'")), "(0,)\n");
}
