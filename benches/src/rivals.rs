//! What the store is measured against: which rivals are here, and their files of
//! the corpus.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::corpus::Lines;
use crate::node::size;
use crate::process::{Run, answer, say};
use crate::work::Work;

/// The rivals and their files.
#[derive(Debug)]
pub(crate) struct Rivals {
    pub(crate) rg: Rival,
    pub(crate) grep: Rival,
    pub(crate) zstd: Rival,
    pub(crate) xz: Rival,
    pub(crate) gzip: Rival,
    pub(crate) duckdb: std::result::Result<DuckDb, String>,
    /// All log files in one, compressed by zstd -3.
    pub(crate) one_zst: PathBuf,
    /// A folder with each log file compressed by zstd -3.
    pub(crate) many_zst: PathBuf,
    /// A plain SQLite table with one row a line.
    pub(crate) rows: PathBuf,
}

/// A program of the system and its version, or how to install it.
pub(crate) type Rival = std::result::Result<String, String>;

impl Rivals {
    /// Looks for the programs and makes their files.
    ///
    /// # Errors
    ///
    /// If a file cannot be written. A program that is not there is no error.
    pub(crate) fn prepare(work: &Work) -> Result<Self> {
        say("making the files of the rivals");
        let rivals = Self {
            rg: find("rg", "ripgrep"),
            grep: find("grep", "grep"),
            zstd: find("zstd", "zstd"),
            xz: find("xz", "xz-utils"),
            gzip: find("gzip", "gzip"),
            duckdb: DuckDb::prepare(work)
                .and_then(|duckdb| duckdb.write_parquet(work).map(|()| duckdb))
                .map_err(|error| format!("{error:#}")),
            one_zst: work.path("all.zst"),
            many_zst: work.path("zst"),
            rows: work.path("rows.db"),
        };
        rivals.compress(work)?;
        rivals.write_rows(work)?;
        for missing in [&rivals.rg, &rivals.grep, &rivals.zstd, &rivals.xz, &rivals.gzip]
            .into_iter()
            .filter_map(|rival| rival.as_ref().err())
            .chain(rivals.duckdb.as_ref().err())
        {
            say(&format!("not measured: {missing}"));
        }
        Ok(rivals)
    }

    /// What is compared, in words.
    pub(crate) fn versions(&self) -> Vec<String> {
        let mut all: Vec<String> = [&self.rg, &self.grep, &self.zstd, &self.xz, &self.gzip]
            .into_iter()
            .map(|rival| match rival {
                Ok(version) => version.clone(),
                Err(why) => format!("not measured: {why}"),
            })
            .collect();
        all.push(format!("SQLite {} (rows)", rusqlite::version()));
        all.push(format!("zstd library {} (encoding)", zstd::zstd_safe::version_string()));
        all.push(match &self.duckdb {
            Ok(duckdb) => format!("DuckDB {}", duckdb.version),
            Err(why) => format!("DuckDB not measured: {why}"),
        });
        all
    }

    fn compress(&self, work: &Work) -> Result<()> {
        let doing = || "compressing the log files".to_owned();
        if self.many_zst.exists() {
            fs::remove_dir_all(&self.many_zst).with_context(doing)?;
        }
        fs::create_dir_all(&self.many_zst).with_context(doing)?;
        let one = File::create(&self.one_zst).with_context(doing)?;
        let mut one = zstd::Encoder::new(one, 3).with_context(doing)?;
        for source in &work.sources {
            let bytes = source.read()?;
            one.write_all(&bytes).with_context(doing)?;
            let name = format!("{}__{}.zst", source.kind.name(), source.name());
            let file = File::create(self.many_zst.join(name)).with_context(doing)?;
            zstd::stream::copy_encode(&*bytes, file, 3).with_context(doing)?;
        }
        one.finish().with_context(doing)?;
        Ok(())
    }

    fn write_rows(&self, work: &Work) -> Result<()> {
        let doing = || "writing the rows of a plain SQLite table".to_owned();
        if self.rows.exists() {
            fs::remove_file(&self.rows).with_context(doing)?;
        }
        let mut connection = Connection::open(&self.rows).with_context(doing)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
                 CREATE TABLE row (stream INTEGER, ts_ns INTEGER, flags INTEGER, message TEXT);",
            )
            .with_context(doing)?;
        let transaction = connection.transaction().with_context(doing)?;
        let mut insert =
            transaction.prepare("INSERT INTO row VALUES (?, ?, ?, ?)").with_context(doing)?;
        for (stream, source) in work.sources.iter().enumerate() {
            let bytes = source.read()?;
            let mut lines = Lines::new(source.kind);
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let row = lines.row(line);
                let message = ToSqlOutput::Borrowed(ValueRef::Text(row.message));
                insert
                    .execute(params![stream as i64, row.ts_ns, row.flags.to_byte(), message])
                    .with_context(doing)?;
            }
        }
        drop(insert);
        transaction.commit().with_context(doing)
    }
}

/// Counts rows that contain a text, in this process, and answers.
///
/// # Errors
///
/// If the database is not the one that this program made.
pub(crate) fn count_rows_here(database: &Path, needle: &str) -> Result<()> {
    let connection = Connection::open(database).context("opening the rows")?;
    let count: i64 = connection
        .query_row(
            "SELECT count(*) FROM row WHERE message LIKE ?",
            [format!("%{needle}%")],
            |row| row.get(0),
        )
        .context("counting rows")?;
    answer(&json!(count));
    Ok(())
}

/// First line of what a program says of its version.
fn find(program: &str, package: &str) -> Rival {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok()
        .and_then(|text| text.lines().next().map(|line| line.trim_matches('*').trim().to_owned()))
        .ok_or_else(|| format!("{program} is not installed (apt-get install {package})"))
}

/// `DuckDB` in a Python that runs as long as this program, so that its answers are
/// timed without the start of a process.
#[derive(Debug)]
pub(crate) struct DuckDb {
    pub(crate) version: String,
    pub(crate) parquet: PathBuf,
    asked: Mutex<Asked>,
}

#[derive(Debug)]
struct Asked {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// Answers one question a line, with the time it took.
const SCRIPT: &str = r"
import json, resource, sys, time, duckdb
connection = duckdb.connect()
connection.execute('SET threads = 2')
connection.execute('SET enable_progress_bar = false')
print(json.dumps(duckdb.__version__), flush=True)
for line in sys.stdin:
    cpu, start = time.process_time(), time.perf_counter()
    rows = connection.execute(json.loads(line)).fetchall()
    print(json.dumps({
        'wall_s': time.perf_counter() - start, 'cpu_s': time.process_time() - cpu,
        'peak_kib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        'first': str(rows[0][0]) if rows else '',
    }), flush=True)
";

impl DuckDb {
    /// Starts it, after installing it into the work folder if need be.
    fn prepare(work: &Work) -> Result<Self> {
        let python = Self::python(work)?;
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting Python")?;
        let stdin = child.stdin.take().context("talking to Python")?;
        let mut stdout = BufReader::new(child.stdout.take().context("talking to Python")?);
        let mut line = String::new();
        stdout.read_line(&mut line).context("talking to Python")?;
        let version: String = serde_json::from_str(&line).context("asking DuckDB its version")?;
        let asked = Mutex::new(Asked { child, stdin, stdout });
        Ok(Self { version, parquet: work.path("rows.parquet"), asked })
    }

    /// A Python that has `DuckDB`.
    fn python(work: &Work) -> Result<PathBuf> {
        let has_it = |python: &Path| {
            let check = Command::new(python)
                .args(["-c", "import duckdb"])
                .stderr(Stdio::null())
                .stdin(Stdio::null())
                .status();
            check.is_ok_and(|status| status.success())
        };
        // Beside the folders of the corpora, which share it.
        let folder = work.folder.with_file_name("python");
        let ours = folder.join("bin/python");
        for python in [ours.clone(), PathBuf::from("python3")] {
            if has_it(&python) {
                return Ok(python);
            }
        }
        say("installing DuckDB into the work folder");
        let hint = "hint: python3 with venv and pip is needed (apt-get install python3-venv), \
                    and a package index that pip can reach";
        for (program, arguments) in [
            (Path::new("python3"), vec!["-m", "venv"]),
            (&ours, vec!["-m", "pip", "install", "--quiet", "duckdb"]),
        ] {
            let mut command = Command::new(program);
            command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null());
            if program == Path::new("python3") {
                command.arg(&folder);
            }
            let status =
                command.status().with_context(|| format!("python3 is not installed\n{hint}"))?;
            ensure!(status.success(), "DuckDB could not be installed\n{hint}");
        }
        ensure!(has_it(&ours), "DuckDB does not load in Python\n{hint}");
        Ok(ours)
    }

    /// Asks one question; the run's output is the first value of the first row.
    ///
    /// # Errors
    ///
    /// If `DuckDB` refuses it, which ends it.
    pub(crate) fn ask(&self, sql: &str) -> Result<Run> {
        let mut asked = self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(asked.stdin, "{}", json!(sql)).context("asking DuckDB")?;
        let mut line = String::new();
        asked.stdout.read_line(&mut line).context("asking DuckDB")?;
        let taken: Value =
            serde_json::from_str(&line).with_context(|| format!("DuckDB refused {sql}"))?;
        let number = |field: &str| taken[field].as_f64().unwrap_or(f64::NAN);
        Ok(Run {
            wall_s: number("wall_s"),
            cpu_s: number("cpu_s"),
            user_s: f64::NAN,
            peak_kib: taken["peak_kib"].as_u64().unwrap_or_default(),
            stdout: taken["first"].as_str().unwrap_or_default().to_owned(),
        })
    }

    fn write_parquet(&self, work: &Work) -> Result<()> {
        let doing = || "writing rows for DuckDB".to_owned();
        let path = work.path("rows.csv");
        let file = BufWriter::new(File::create(&path).with_context(doing)?);
        let mut csv =
            csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(file);
        csv.write_record(["stream", "ts_ns", "flags", "message"]).with_context(doing)?;
        for (stream, source) in work.sources.iter().enumerate() {
            let bytes = source.read()?;
            let mut lines = Lines::new(source.kind);
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let row = lines.row(line);
                // Parquet's texts are UTF-8.
                let message = String::from_utf8_lossy(row.message);
                let (stream, ts_ns) = (stream.to_string(), row.ts_ns.to_string());
                let flags = row.flags.to_byte().to_string();
                csv.write_record([&stream, &ts_ns, &flags, &*message]).with_context(doing)?;
            }
        }
        csv.flush().with_context(doing)?;
        let quoted = |path: &Path| path.display().to_string().replace('\'', "''");
        self.ask(&format!(
            "COPY (SELECT * FROM read_csv('{}', header = true, quote = '\"', escape = '\"', \
             columns = {{'stream': 'INTEGER', 'ts_ns': 'BIGINT', 'flags': 'UTINYINT', \
             'message': 'VARCHAR'}})) TO '{}' (FORMAT parquet, COMPRESSION zstd)",
            quoted(&path),
            quoted(&self.parquet)
        ))?;
        fs::remove_file(&path).with_context(doing)?;
        ensure!(size(&self.parquet)? > 0, "DuckDB wrote nothing");
        Ok(())
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let asked = self.asked.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Ours to end; it holds nothing that is not in its files.
        let _ = asked.child.kill();
        let _ = asked.child.wait();
    }
}
