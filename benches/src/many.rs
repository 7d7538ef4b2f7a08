//! Many node files: opening them as one bundle, merging them, and the first row
//! of the merged file, against `cat` of the same files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::node::{copy_as, size};
use crate::process::{Program, Run, Runs, say};
use crate::report::{Report, Target, cell_ms};
use crate::search::Words;
use crate::work::Work;

/// Measures all, and puts the tables into the report.
///
/// # Errors
///
/// If a program fails, or the bundle holds something else than its files.
pub(crate) fn run(work: &Work, words: Words, report: &mut Report) -> Result<()> {
    let bundle = Bundle::make(work)?;
    say("opening, merging and concatenating the node files");
    let merged = work.path("merged.db");
    let mut open = Runs::default();
    let mut merge = Runs::default();
    let mut to_file = Runs::default();
    let mut to_null = Runs::default();
    let rounds = work.rounds.min(3);
    for round in 0..=rounds {
        let runs = [
            (&mut open, bundle.open(work)?),
            (&mut merge, bundle.merge(work, &merged)?),
            (&mut to_file, bundle.cat_to_file(work)?),
            (&mut to_null, bundle.cat_to_null().run()?),
        ];
        for (runs, run) in runs {
            if round > 0 {
                runs.0.push(run);
            }
        }
    }
    let (cat_wall, cat_cpu) = (to_file.wall_s(), to_file.cpu_s());
    report.target(Target {
        name: format!("open {} node files and count chunks, CPU against `cat`", work.nodes),
        limit: 0.15,
        measured: Some(open.cpu_s() / cat_cpu),
        unit: "",
    });
    report.target(Target {
        name: format!("`merge` of {} node files, CPU against `cat`", work.nodes),
        limit: 1.6,
        measured: Some(merge.cpu_s() / cat_cpu),
        unit: "",
    });
    let mut table = format!(
        "{} node files of {:.2} MB each, {:.0} MB together. Ratios are to `cat` into \
         one file.\n\n\
         | what | wall | CPU | memory | wall / `cat` | CPU / `cat` |\n|---|---|---|---|---|---|\n",
        work.nodes,
        bundle.bytes as f64 / 1e6 / f64::from(work.nodes),
        bundle.bytes as f64 / 1e6,
    );
    for (name, runs) in [
        ("**open and count chunks**", &open),
        ("**merge**", &merge),
        ("`cat` into a file", &to_file),
        ("`cat` into /dev/null", &to_null),
    ] {
        table.extend([format!(
            "| {name} | {} | {} | {:.0} MiB | {:.3} | {:.3} |\n",
            cell_ms(runs.wall_s()),
            cell_ms(runs.cpu_s()),
            runs.peak_kib() as f64 / 1024.0,
            runs.wall_s() / cat_wall,
            runs.cpu_s() / cat_cpu,
        )]);
    }
    report.memory("open many files", open.peak_kib());
    report.memory("merge", merge.peak_kib());
    table += &questions(work, words, &bundle, &merged, report)?;
    report.section("Many node files", &table);
    Ok(())
}

/// Questions to the merged file and to the bundle.
fn questions(
    work: &Work,
    words: Words,
    bundle: &Bundle,
    merged: &Path,
    report: &mut Report,
) -> Result<String> {
    let bytes = size(merged)?;
    let first = "SELECT * FROM log LIMIT 10";
    let count = |needle| format!("SELECT count(*) FROM log WHERE message LIKE '%{needle}%'");
    let asked = [
        ("merged", merged, first.to_owned(), work.rounds),
        ("bundle", &bundle.folder, first.to_owned(), work.rounds),
        ("merged", merged, count(words.rare), 2),
        ("merged", merged, count(words.word), 2),
        ("bundle", &bundle.folder, count(words.word), 2),
    ];
    let mut table = format!(
        "\nQuestions to all of them, as one merged file of {:.2} GB and as a bundle:\n\n\
         | of | question | wall | CPU | memory |\n|---|---|---|---|---|\n",
        bytes as f64 / 1e9
    );
    for (of, path, sql, rounds) in asked {
        say(&format!("asking the {of} file: {sql}"));
        let question = work.query(path, &sql);
        question.run()?;
        let runs = Runs((0..rounds).map(|_| question.run()).collect::<Result<Vec<Run>>>()?);
        table.extend([format!(
            "| {of} | `{sql}` | {} | {} | {:.0} MiB |\n",
            cell_ms(runs.wall_s()),
            cell_ms(runs.cpu_s()),
            runs.peak_kib() as f64 / 1024.0
        )]);
        report.memory("questions to many files", runs.peak_kib());
        if (of, sql.as_str()) == ("merged", first) {
            // A small database answers a smaller question.
            let is_large = bytes >= 900_000_000;
            report.target(Target {
                name: format!("first row of `{first}` on {:.2} GB", bytes as f64 / 1e9),
                limit: 50.0,
                measured: is_large.then(|| runs.wall_s() * 1e3),
                unit: " ms",
            });
        }
    }
    Ok(table)
}

/// A folder of node files that differ in their ids.
struct Bundle {
    folder: PathBuf,
    files: Vec<PathBuf>,
    bytes: u64,
    /// Chunks of all files.
    chunks: u64,
}

impl Bundle {
    fn make(work: &Work) -> Result<Self> {
        say(&format!("making {} node files", work.nodes));
        let folder = work.path("nodes");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("removing the node files of an earlier run")?;
        }
        fs::create_dir_all(&folder).context("making a folder for node files")?;
        let (mut files, mut bytes) = (Vec::new(), 0);
        for number in 1..=work.nodes {
            let path = folder.join(format!("node-{number:03}.db"));
            copy_as(&work.node.path, &path, number)?;
            bytes += size(&path)?;
            files.push(path);
        }
        let of_one = work.query(&work.node.path, COUNT_CHUNKS).run()?;
        let chunks = number(&of_one.stdout)? * u64::from(work.nodes);
        Ok(Self { folder, files, bytes, chunks })
    }

    fn open(&self, work: &Work) -> Result<Run> {
        let run = work.query(&self.folder, COUNT_CHUNKS).run()?;
        let counted = number(&run.stdout)?;
        ensure!(
            counted == self.chunks,
            "the bundle has {counted} chunks, but its files {}",
            self.chunks
        );
        Ok(run)
    }

    fn merge(&self, work: &Work, to: &Path) -> Result<Run> {
        remove(to)?;
        Program::new(&work.analyze).arg("merge").arg(&self.folder).arg("-o").arg(to).run()
    }

    fn cat_to_file(&self, work: &Work) -> Result<Run> {
        let to = work.path("cat.out");
        remove(&to)?;
        let script = "to=$1; shift; exec cat -- \"$@\" >\"$to\"";
        let run = Program::shell(script).arg(&to).args(&self.files).run()?;
        ensure!(size(&to)? == self.bytes, "cat wrote something else");
        remove(&to)?;
        Ok(run)
    }

    fn cat_to_null(&self) -> Program {
        Program::shell("exec cat -- \"$@\" >/dev/null").args(&self.files)
    }
}

const COUNT_CHUNKS: &str = "SELECT count(*) FROM log_chunk";

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// The one number of an answer in CSV.
fn number(csv: &str) -> Result<u64> {
    let line = csv.lines().nth(1).context("the answer has no row")?;
    line.parse().with_context(|| format!("{line} is no number"))
}
