//! Search: how many lines contain a text, by the analyst's program and by rivals.
//!
//! What each must find is counted first, line by line, in the raw lines and in
//! the messages: `rg` also sees the stamps in front of container lines, and LIKE
//! takes letters of either case. An answer that differs ends the command.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use memchr::memmem;

use crate::corpus::{Lines, Source};
use crate::process::{Program, Run, Runs, say};
use crate::report::{Report, Target, cell_ms};
use crate::rivals::Rivals;
use crate::work::Work;

/// What a needle is an example of, and texts of which the first that suits is
/// taken.
const NEEDLES: [(&str, Suits, &[&str]); 5] = [
    ("word", Suits::Many, &["timeout", "error", "watch", "status"]),
    ("rare", Suits::Few, &["deadline exceeded", "failed to start", "connection refused"]),
    ("address", Suits::Some, &["10.244.1.96", "10.244.2.54", "10.96.0.1", "127.0.0.1"]),
    ("absent", Suits::None, &["zebra crossing", "purple elephant"]),
    ("digits", Suits::Some, &["10.244", "10.96", "127.0"]),
];

/// How many lines of a corpus a needle of a sort should be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suits {
    None,
    Few,
    Some,
    Many,
}

impl Suits {
    fn takes(self, lines: u64, all: u64) -> bool {
        match self {
            Self::None => lines == 0,
            Self::Few => lines > 0 && lines <= all / 500,
            Self::Some => lines > 0,
            Self::Many => lines > all / 500,
        }
    }
}

/// A text to search for, and how many lines contain it.
#[derive(Clone, Debug)]
struct Needle {
    sort: &'static str,
    text: &'static str,
    /// Lines, as they are in the files.
    raw: u64,
    /// Lines, letters of either case.
    raw_folded: u64,
    /// Messages.
    message: u64,
    /// Messages, letters of either case.
    message_folded: u64,
}

/// Needles that other questions search for too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// One that many lines have.
    pub(crate) word: &'static str,
    /// One that few lines have.
    pub(crate) rare: &'static str,
}

/// Measures all, and puts the tables into the report.
///
/// # Errors
///
/// If a tool fails or counts wrong.
pub(crate) fn run(work: &Work, rivals: &Rivals, report: &mut Report) -> Result<Words> {
    say("counting what is to be found");
    let needles = choose(&work.sources)?;
    let mut table = String::from(
        "Time from start to end of the process (DuckDB: of the question), medians; CPU with all \
         threads. Ratios are to the one `.zst` and to the raw files.\n\n\
         | needle | tool | lines | wall | CPU | memory | wall / `rg -z` | wall / `rg` | \
         CPU / `rg -z` | CPU / `rg` |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut peak_kib = 0;
    for needle in &needles {
        say(&format!("searching for {:?}", needle.text));
        let tools = tools(work, rivals, needle)?;
        let mut runs = vec![Runs::default(); tools.len()];
        // The first round fills the page cache and is not counted.
        for round in 0..=work.rounds {
            for (tool, runs) in tools.iter().zip(&mut runs) {
                let run = tool.run(needle)?;
                if round > 0 {
                    runs.0.push(run);
                }
            }
        }
        let of = |name: &str| {
            let at = tools.iter().position(|tool| tool.name == name)?;
            Some((runs[at].wall_s(), runs[at].cpu_s()))
        };
        let (compressed, raw) = (of(RG_COMPRESSED), of(RG_RAW));
        for (tool, runs) in tools.iter().zip(&runs) {
            let (wall_s, cpu_s) = (runs.wall_s(), runs.cpu_s());
            table.extend([format!(
                "| {} `{}` | {} | {} | {} | {} | {:.0} MiB | {} | {} | {} | {} |\n",
                needle.sort,
                needle.text,
                tool.name,
                tool.expected,
                cell_ms(wall_s),
                cell_ms(cpu_s),
                runs.peak_kib() as f64 / 1024.0,
                ratio(wall_s, compressed.map(|rival| rival.0)),
                ratio(wall_s, raw.map(|rival| rival.0)),
                ratio(cpu_s, compressed.map(|rival| rival.1)),
                ratio(cpu_s, raw.map(|rival| rival.1)),
            )]);
            if tool.is_ours {
                peak_kib = peak_kib.max(runs.peak_kib());
            }
        }
        let wall = |times: Option<(f64, f64)>| times.map(|(wall, _)| wall);
        let ours = wall(of(OURS)).unwrap_or(f64::NAN);
        targets(needle, ours, wall(compressed), wall(raw), report);
    }
    report.memory("search", peak_kib);
    report.section("Search", &table);
    let text = |sort| {
        let needle = needles.iter().find(|needle| needle.sort == sort);
        needle.map(|needle| needle.text).unwrap_or_default()
    };
    Ok(Words { word: text("word"), rare: text("rare") })
}

/// How many times a rival's, if it is here.
fn ratio(ours: f64, rival: Option<f64>) -> String {
    rival.map_or_else(|| "–".to_owned(), |rival| format!("{:.3}", ours / rival))
}

fn targets(
    needle: &Needle,
    ours: f64,
    compressed: Option<f64>,
    raw: Option<f64>,
    report: &mut Report,
) {
    let mut add = |against: &str, rival: Option<f64>, limit: f64| {
        report.target(Target {
            name: format!("search, wall against {against}: {} `{}`", needle.sort, needle.text),
            limit,
            measured: rival.map(|rival| ours / rival),
            unit: "",
        });
    };
    let (zst, files) = ("`rg -z` on the `.zst`", "`rg` on the raw files");
    match needle.sort {
        "word" => {
            add(zst, compressed, 0.10);
            add(files, raw, 0.35);
        }
        "rare" => {
            add(zst, compressed, 0.05);
            add(files, raw, 0.15);
        }
        "address" => add(zst, compressed, 0.15),
        "digits" => add(zst, compressed, 0.5),
        _ => {}
    }
}

const OURS: &str = "**periscope LIKE**";
const RG_RAW: &str = "rg -F, files";
const RG_COMPRESSED: &str = "rg -z -F, one .zst";

/// Something that counts.
struct Tool<'a> {
    name: &'static str,
    is_ours: bool,
    expected: u64,
    ask: Box<dyn Fn() -> Result<Run> + 'a>,
}

impl Tool<'_> {
    /// Asks once, and checks the answer.
    fn run(&self, needle: &Needle) -> Result<Run> {
        let run = (self.ask)()?;
        let numbers = run.stdout.lines().filter_map(|line| line.trim().parse::<u64>().ok());
        let counted: u64 = numbers.sum();
        ensure!(
            counted == self.expected,
            "{} counts {counted} lines with {:?}, but there are {}",
            self.name,
            needle.text,
            self.expected
        );
        Ok(run)
    }
}

/// Every tool that is here, with what it must find.
fn tools<'a>(work: &'a Work, rivals: &'a Rivals, needle: &'a Needle) -> Result<Vec<Tool<'a>>> {
    let text = needle.text;
    let mut tools = Vec::new();
    let mut add = |name, expected, ask: Box<dyn Fn() -> Result<Run> + 'a>| {
        tools.push(Tool { name, is_ours: name.starts_with("**"), expected, ask });
    };
    let mut program = |name, expected, program: Program| {
        add(name, expected, Box::new(move || program.run()));
    };
    let count = |condition: String| {
        work.query(&work.node.path, &format!("SELECT count(*) FROM log WHERE message {condition}"))
    };
    program(OURS, needle.message_folded, count(format!("LIKE '%{text}%'")));
    program("**periscope GLOB**", needle.message, count(format!("GLOB '*{text}*'")));
    if rivals.rg.is_ok() {
        let files: Vec<&Path> = work.sources.iter().map(|source| source.path.as_path()).collect();
        let rg = |flags: &[&str]| {
            Program::new("rg")
                .args(["-a", "-c", "-j2", "-uu", "--no-filename", "-F"])
                .args(flags)
                .args(["-e", text, "--"])
                .may_find_nothing()
        };
        program(RG_RAW, needle.raw, rg(&[]).args(&files));
        program("rg -i -F, files", needle.raw_folded, rg(&["-i"]).args(&files));
        if rivals.zstd.is_ok() {
            program(RG_COMPRESSED, needle.raw, rg(&["-z"]).arg(&rivals.one_zst));
            program("rg -z -F, a .zst a file", needle.raw, rg(&["-z"]).arg(&rivals.many_zst));
        }
    }
    if rivals.zstd.is_ok() && rivals.grep.is_ok() {
        let pipe = Program::shell("zstd -q -dc \"$1\" | grep -a -c -F -e \"$2\"");
        let pipe = pipe.arg(&rivals.one_zst).arg(text).may_find_nothing();
        program("zstd -dc \\| grep -c -F", needle.raw, pipe);
    }
    let rows = Program::this("count-rows")?.arg(&rivals.rows).arg(text);
    program("SQLite rows LIKE", needle.message_folded, rows);
    if let Ok(duckdb) = &rivals.duckdb {
        let parquet = duckdb.parquet.display().to_string().replace('\'', "''");
        for (name, operator, expected) in [
            ("DuckDB, Parquet LIKE", "LIKE", needle.message),
            ("DuckDB, Parquet ILIKE", "ILIKE", needle.message_folded),
        ] {
            let sql =
                format!("SELECT count(*) FROM '{parquet}' WHERE message {operator} '%{text}%'");
            add(name, expected, Box::new(move || duckdb.ask(&sql)));
        }
    }
    Ok(tools)
}

/// A needle of every sort that the corpus has.
fn choose(sources: &[Source]) -> Result<Vec<Needle>> {
    let mut needles: Vec<(usize, Suits, Needle)> = Vec::new();
    for (sort, (name, suits, texts)) in NEEDLES.iter().enumerate() {
        needles.extend(texts.iter().map(|text| {
            let needle =
                Needle { sort: name, text, raw: 0, raw_folded: 0, message: 0, message_folded: 0 };
            (sort, *suits, needle)
        }));
    }
    let mut all = 0;
    for source in sources {
        all += count(source, needles.iter_mut().map(|(_, _, needle)| needle).collect())?;
    }
    (0..NEEDLES.len())
        .map(|sort| {
            let fits = |(of, suits, needle): &&(usize, Suits, Needle)| {
                *of == sort && suits.takes(needle.message_folded, all)
            };
            match needles.iter().find(fits) {
                Some((_, _, needle)) => Ok(needle.clone()),
                None => bail!("the corpus has no needle of the sort {:?}", NEEDLES[sort].0),
            }
        })
        .collect()
}

/// Counts needles in the lines of a file, in the plainest way. How many lines.
fn count(source: &Source, mut needles: Vec<&mut Needle>) -> Result<u64> {
    let bytes = source.read()?;
    let mut lines = Lines::new(source.kind);
    let mut all = 0;
    let mut lower = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        all += 1;
        lower.clear();
        lower.extend(line.iter().map(u8::to_ascii_lowercase));
        let mut message = None;
        for needle in &mut needles {
            let text = needle.text.as_bytes();
            if memmem::find(&lower, text).is_none() {
                continue;
            }
            let message = *message.get_or_insert_with(|| lines.row(line).message);
            needle.raw_folded += 1;
            needle.raw += u64::from(memmem::find(line, text).is_some());
            needle.message += u64::from(memmem::find(message, text).is_some());
            let folded = memmem::find(&message.to_ascii_lowercase(), text).is_some();
            needle.message_folded += u64::from(folded);
        }
    }
    Ok(all)
}
