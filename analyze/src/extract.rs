//! `extract`: a bundle as plain files, for people and tools that want files.
//!
//! Names come from nodes and are made harmless: no file is outside of the folder, and
//! none takes the place of another.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;

use crate::open::{open_for, warn_of_damage};
use crate::output::{self, Outcome};
use crate::waiting::Waiting;

/// Bytes of a name; file systems take 255, and an ending follows.
const MOST_NAME_BYTES: usize = 200;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    periscope-analyze extract bundle/ -o files\n  \
    rg -i 'i/o timeout' files")]
pub(crate) struct ExtractArguments {
    /// Folder with .db files, or the files
    #[arg(required = true, value_name = "BUNDLE")]
    bundle: Vec<PathBuf>,
    /// Folder to write to; made, or empty
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
}

/// Writes logs, objects, rules and settings as files.
///
/// # Errors
///
/// If the bundle cannot be opened, the folder holds something, or a file cannot be
/// written.
pub(crate) fn run(arguments: &ExtractArguments) -> Result<Outcome> {
    let bundle =
        open_for(&arguments.bundle, "object iptables_rule iptables_chain setting kubelet_setting")?;
    let mut folder = Folder::make(&arguments.output)?;
    let connection = bundle.connection();
    let waiting = Waiting::start("writing logs");
    logs(connection, &mut folder)?;
    waiting.now("writing objects, rules and settings");
    objects(connection, &mut folder).context("writing objects")?;
    iptables(connection, &mut folder).context("writing iptables rules")?;
    settings(connection, &mut folder).context("writing settings")?;
    drop(waiting);
    output::note(&format!("wrote {} files to {}", folder.files, arguments.output.display()));
    let whole = !warn_of_damage(&bundle) && bundle.problems().is_empty();
    Ok(if whole { Outcome::NothingFound } else { Outcome::Failed })
}

/// The folder that all files are in.
struct Folder {
    root: PathBuf,
    files: usize,
}

impl Folder {
    fn make(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("making {}", root.display()))?;
        let mut there =
            fs::read_dir(root).with_context(|| format!("reading {}", root.display()))?;
        ensure!(
            there.next().is_none(),
            "{} holds something already\nhint: name a folder that does not exist",
            root.display()
        );
        Ok(Self { root: root.to_owned(), files: 0 })
    }

    /// A new file; of two that would have one name, the second has a number.
    fn file(&mut self, folders: &[&str], name: &str, ending: &str) -> Result<BufWriter<File>> {
        let folder =
            folders.iter().fold(self.root.clone(), |path, folder| path.join(harmless(folder)));
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let name = harmless(name);
        let mut number = 1;
        loop {
            let mark = if number == 1 { String::new() } else { format!("~{number}") };
            let path = folder.join(format!("{name}{mark}{ending}"));
            match File::create_new(&path) {
                Ok(file) => {
                    self.files += 1;
                    return Ok(BufWriter::new(file));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("making {}", path.display()));
                }
            }
        }
    }
}

/// A name that is one of a file in every file system, and of none above it.
fn harmless(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@+=,".contains(c);
    let mut plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    plain.truncate(MOST_NAME_BYTES);
    if plain.is_empty() || plain.starts_with(['.', '-']) {
        plain.insert(0, '_');
    }
    plain
}

/// The name of a stream without what its file's path and ending say.
fn plain_name(name: &str) -> &str {
    let name = name.trim_matches('/');
    name.strip_suffix(".log").unwrap_or(name)
}

/// One file for each stream: the time, a blank and the line as it was.
fn logs(connection: &Connection, folder: &mut Folder) -> Result<()> {
    let mut streams = connection.prepare(
        "SELECT DISTINCT raw_stream.id, raw_node.name, raw_stream.kind, raw_stream.name,
                raw_stream.attributes
         FROM raw_stream JOIN raw_node ON raw_node.id = raw_stream.node_id
         WHERE raw_stream.kind IN ('container', 'unit', 'file') ORDER BY 2, 3, 4, 5",
    )?;
    // LIMIT has the lines come by time without a sort of all of them.
    let mut lines = connection.prepare(
        "SELECT ts, message FROM log WHERE stream_id = ? ORDER BY ts_ns LIMIT 9223372036854775807",
    )?;
    let mut rows = streams.query([]).context("reading which logs there are")?;
    while let Some(row) = rows.next().context("reading which logs there are")? {
        let id: i64 = row.get(0)?;
        let (node, kind, name): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let attributes: String = row.get(4)?;
        let attributes: Value = serde_json::from_str(&attributes).unwrap_or_default();
        let name = match attributes["restart"].as_i64() {
            Some(restart) => format!("{name}_{restart}"),
            None => name,
        };
        let kinds = match kind.as_str() {
            "container" => "containers",
            "unit" => "units",
            _ => "files",
        };
        let mut file = folder.file(&[&node, "logs", kinds], plain_name(&name), ".log")?;
        let mut found = lines.query([id]).context("reading lines")?;
        while let Some(row) = found.next().context("reading lines")? {
            let ts: String = row.get(0)?;
            write!(file, "{ts} ").context("writing a log")?;
            if let ValueRef::Text(bytes) = row.get_ref(1)? {
                file.write_all(bytes).context("writing a log")?;
            }
            file.write_all(b"\n").context("writing a log")?;
        }
        file.flush().context("writing a log")?;
    }
    Ok(())
}

/// Every object as YAML, below its kind and namespace.
fn objects(connection: &Connection, folder: &mut Folder) -> Result<()> {
    let mut statement =
        connection.prepare("SELECT kind, coalesce(namespace, ''), name, json FROM object")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, namespace, name): (String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let json: String = row.get(3)?;
        let object: Value = serde_json::from_str(&json)?;
        let mut folders = vec!["objects", kind.as_str()];
        if !namespace.is_empty() {
            folders.push(&namespace);
        }
        let mut file = folder.file(&folders, &name, ".yaml")?;
        file.write_all(serde_saphyr::to_string(&object)?.as_bytes())?;
        file.flush()?;
    }
    Ok(())
}

/// Rules of each node as `iptables-save -c` prints them.
fn iptables(connection: &Connection, folder: &mut Folder) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT node, family, backend, table_name, chain,
                format(':%s %s [%d:%d]', chain, coalesce(policy, '-'), packets, bytes), 0, 0
         FROM iptables_chain
         UNION ALL
         SELECT node, family, backend, table_name, chain,
                format('[%d:%d] %s', packets, bytes, rule), 1, position
         FROM iptables_rule
         ORDER BY 1, 2, 3, 4, 7, 5, 8",
    )?;
    let mut rows = statement.query([])?;
    let mut open: Option<([String; 3], String, BufWriter<File>)> = None;
    while let Some(row) = rows.next()? {
        let key: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
        let (table, line): (String, String) = (row.get(3)?, row.get(5)?);
        let is_same = open.as_ref().is_some_and(|(known, _, _)| *known == key);
        if !is_same {
            if let Some((_, _, mut file)) = open.take() {
                writeln!(file, "COMMIT")?;
                file.flush()?;
            }
            let mut file =
                folder.file(&[&key[0]], &format!("iptables-{}-{}", key[1], key[2]), ".save")?;
            writeln!(file, "*{table}")?;
            open = Some((key, table.clone(), file));
        }
        if let Some((_, known, file)) = &mut open {
            if *known != table {
                writeln!(file, "COMMIT\n*{table}")?;
                *known = table;
            }
            writeln!(file, "{}", line.replace('\n', " "))?;
        }
    }
    if let Some((_, _, mut file)) = open {
        writeln!(file, "COMMIT")?;
        file.flush()?;
    }
    Ok(())
}

/// Arguments of each kubelet, `resolv.conf`, and all settings.
fn settings(connection: &Connection, folder: &mut Folder) -> Result<()> {
    let texts = [
        (
            "kubelet-arguments",
            ".txt",
            "SELECT node, name || coalesce('=' || value, '') FROM kubelet_setting
             WHERE origin = 'flag' ORDER BY node, name",
        ),
        (
            "resolv",
            ".conf",
            "SELECT node, name || ' ' || coalesce(value, '') FROM setting
             WHERE scope = 'dns.node' ORDER BY node, source, ord",
        ),
        (
            "settings",
            ".txt",
            "SELECT node, format('%s %s=%s  # %s', scope, name, value, source)
             FROM setting ORDER BY node, scope, source, ord",
        ),
    ];
    for (name, ending, sql) in texts {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut open: Option<(String, BufWriter<File>)> = None;
        while let Some(row) = rows.next()? {
            let (node, line): (String, String) = (row.get(0)?, row.get(1)?);
            if open.as_ref().is_none_or(|(known, _)| *known != node) {
                if let Some((_, mut file)) = open.take() {
                    file.flush()?;
                }
                let file = folder.file(&[&node], name, ending)?;
                open = Some((node, file));
            }
            if let Some((_, file)) = &mut open {
                writeln!(file, "{line}")?;
            }
        }
        if let Some((_, mut file)) = open {
            file.flush()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for (name, expected) in [
            ("coredns", "coredns"),
            ("var/log/azure/x.log", "var_log_azure_x.log"),
            ("..", "_.."),
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("/etc", "_etc"),
            ("", "_"),
            ("-rf", "_-rf"),
            ("a\0b\nc\\d:e", "a_b_c_d_e"),
        ] {
            assert_eq!(harmless(name), expected);
        }
        assert_eq!(harmless(&"ü".repeat(300)).len(), MOST_NAME_BYTES);
    }

    #[test]
    fn files_of_one_name_are_told_apart_and_a_used_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("new");
        let mut files = Folder::make(&root).expect("made");
        drop(files.file(&["a/b"], "x:y", ".log").expect("made"));
        drop(files.file(&["a_b"], "x/y", ".log").expect("made"));
        assert!(root.join("a_b/x_y.log").exists() && root.join("a_b/x_y~2.log").exists());
        let again = Folder::make(&root).err().expect("refused").to_string();
        assert!(again.contains("holds something already\nhint: "), "{again}");
    }
}
