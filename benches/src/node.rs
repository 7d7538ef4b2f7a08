//! Makes node files of logs as an agent does: line after line into a batch,
//! batch after batch into a file, and sealed at the end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use periscope_store::batch::{Batch, Outcome};
use periscope_store::writer::{Node, Poll, Session, Writer};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::corpus::{Kind, Lines, Source};
use crate::heap;
use crate::process::{Program, Run, answer, own_peak_kib};

/// When everything is said to have been read: 2026-11-22T15:00:00Z.
const READ_NS: i64 = 1_795_359_600_000_000_000;

/// A node file and what making it took.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Most that Rust's heap held before sealing, in bytes.
    pub(crate) live_heap: u64,
    /// Peak of resident memory before sealing.
    pub(crate) live_peak_kib: u64,
    /// Peak of resident memory to the end of sealing.
    pub(crate) peak_kib: u64,
    /// The process that made it.
    pub(crate) run: Run,
}

/// Makes a node file in a process of its own.
///
/// # Errors
///
/// If a file cannot be read or written.
pub(crate) fn make<'a>(path: &Path, sources: impl IntoIterator<Item = &'a Source>) -> Result<Made> {
    if path.exists() {
        fs::remove_file(path).context("removing the node file of an earlier run")?;
    }
    let arguments = sources.into_iter().map(Source::argument);
    let run = Program::this("write-node")?.arg(path).args(arguments).run()?;
    let taken: Value = serde_json::from_str(&run.stdout).context("reading what it took")?;
    let number = |field: &str| taken[field].as_u64().unwrap_or_default();
    Ok(Made {
        path: path.to_owned(),
        bytes: size(path)?,
        live_heap: number("live_heap"),
        live_peak_kib: number("live_peak_kib"),
        peak_kib: number("peak_kib"),
        run,
    })
}

/// Size of a file.
///
/// # Errors
///
/// If there is none.
pub(crate) fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?.len())
}

/// Makes a node file in this process and answers what it took.
///
/// # Errors
///
/// If a file cannot be read or written.
pub(crate) fn write_here(output: &Path, sources: &[Source]) -> Result<()> {
    heap::take_peak();
    let mut writer = create(output, "node-000")?;
    for kind in Kind::ALL {
        write_kind(&mut writer, kind, sources)?;
    }
    let (live_heap, live_peak_kib) = (heap::take_peak(), own_peak_kib());
    writer.seal()?;
    answer(&json!({
        "live_heap": live_heap, "live_peak_kib": live_peak_kib, "peak_kib": own_peak_kib(),
    }));
    Ok(())
}

/// A new file of a node.
pub(crate) fn create(path: &Path, name: &str) -> Result<Writer> {
    let node = Node { name: name.to_owned(), machine_id: format!("machine of {name}") };
    let session = Session {
        run_id: "bench".to_owned(),
        cluster: None,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: format!("boot of {name}"),
        started_ns: READ_NS,
        process: 1,
        config: "{}".to_owned(),
    };
    Ok(Writer::create(path, &node, &session)?)
}

/// Batch number `seq` of a poll that was read at `READ_NS`.
pub(crate) fn poll(seq: u64) -> Poll {
    Poll {
        seq,
        round: 0,
        started_ns: READ_NS,
        ended_ns: READ_NS,
        outcome: Outcome::Complete,
        message: None,
    }
}

fn write_kind(writer: &mut Writer, kind: Kind, sources: &[Source]) -> Result<()> {
    let (mut batch, mut seq) = (Batch::new(kind.collector()), 0);
    let mut line = Vec::new();
    for source in sources.iter().filter(|source| source.kind == kind) {
        let doing = || format!("reading {}", source.path.display());
        let mut file = BufReader::new(File::open(&source.path).with_context(doing)?);
        let mut lines = Lines::new(kind);
        let mut stream = batch.stream(source.stream());
        loop {
            line.clear();
            if file.read_until(b'\n', &mut line).with_context(doing)? == 0 {
                break;
            }
            let row = lines.row(&line);
            batch.log(stream, row.ts_ns, row.flags, row.message);
            if batch.is_full() {
                let full = std::mem::replace(&mut batch, Batch::new(kind.collector()));
                writer.commit(full, &poll(seq))?;
                seq += 1;
                stream = batch.stream(source.stream());
            }
        }
    }
    if batch.row_count() > 0 {
        writer.commit(batch, &poll(seq))?;
    }
    Ok(())
}

/// Copies a node file and makes it that of another node: every id becomes
/// another one, as if the same logs had been read elsewhere.
///
/// # Errors
///
/// If the copy cannot be written, or the file is none of a node.
pub(crate) fn copy_as(original: &Path, copy: &Path, number: u32) -> Result<()> {
    let doing = || format!("writing {}", copy.display());
    fs::copy(original, copy).with_context(doing)?;
    let connection = Connection::open(copy).with_context(doing)?;
    // Exclusive or with a number of this node's: `a ^ b` as SQL can say it.
    let salt = periscope_store::identity::identity(&["bench", &number.to_string()]);
    let other = |column: &str| format!("{column} = ({column} | {salt}) - ({column} & {salt})");
    let mut script = String::from("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;");
    for (table, columns) in [
        ("raw_node", &["id"][..]),
        ("raw_session", &["id", "node_id"]),
        ("raw_batch", &["id", "session_id"]),
        ("raw_stream", &["id", "node_id"]),
        ("raw_chunk", &["id"]),
        ("raw_chunk_run", &["chunk_id", "batch_id", "stream_id"]),
        ("raw_chunk_filter", &["chunk_id"]),
    ] {
        let columns: Vec<String> = columns.iter().map(|column| other(column)).collect();
        script.extend([format!("UPDATE {table} SET {};", columns.join(", "))]);
    }
    script.extend([format!("UPDATE raw_node SET name = 'node-{number:03}'; COMMIT;")]);
    // The copy is laid out anew, as the one that an agent seals.
    script += "VACUUM; PRAGMA journal_mode = DELETE;";
    connection.execute_batch(&script).with_context(doing)?;
    let rows: i64 = connection
        .query_row("SELECT count(*) FROM raw_batch", [], |row| row.get(0))
        .with_context(doing)?;
    ensure!(rows > 0, "{} holds no batch", original.display());
    Ok(())
}
