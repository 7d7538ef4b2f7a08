//! `diff`: two bundles, before and after or good and bad, and what differs between them.
//!
//! [`side`] opens one and asks its diagnostics, [`section`] has the questions about
//! settings, rules and so on, each a file of `sql/diff`; [`findings`], [`mod@compare`] and
//! [`connections`] fill the [`model`], and each format is written from that alone. What
//! a side did not collect is not known there, and is no difference.

mod side;
mod section;

mod model;

mod findings;
mod compare;
mod connections;

mod markdown;
mod text;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::cli::LibraryArguments;
use crate::diagnose::library;
use crate::manners;
use crate::open::warn_of_damage;
use crate::output::{self, Outcome};
use crate::pager::{self, Paging};
use crate::waiting::Waiting;

use self::model::{Differences, Nodes, Pair};
use self::section::Section;
use self::side::Side;

/// Name and version of the JSON document's form, see `docs/diff.md`.
const SCHEMA: &str = "periscope-diff/1";

/// Sections that are no file of `sql/diff`.
const FINDINGS: &str = "finding";
const CONNECTIONS: &str = "connection";

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit status: 0 no difference, 1 differences, 2 could not compare all. What a bundle \
    does not know, because it was not collected, is said and is no difference.\n\n\
    Examples:\n  \
    periscope-analyze diff before/ after/\n  \
    periscope-analyze diff good/ bad/ --section kubelet,setting --format json\n  \
    periscope-analyze diff bundle/ --node-a aks-nodepool1-0 --node-b aks-nodepool1-1\n  \
    periscope-analyze diff before/ after/ --match aks-old-0=aks-new-0"
)]
pub(crate) struct DiffArguments {
    /// The first bundle: a folder with .db files, or one file
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The second; may be left out to compare two nodes of the first
    #[arg(value_name = "B", required_unless_present_all = ["node_a", "node_b"])]
    b: Option<PathBuf>,
    /// Compare this node of the first bundle only
    #[arg(long, value_name = "NAME", requires = "node_b")]
    node_a: Option<String>,
    /// … with this node of the second
    #[arg(long, value_name = "NAME", requires = "node_a")]
    node_b: Option<String>,
    /// Take node A of the first bundle and node B of the second for the same
    #[arg(long = "match", value_name = "A=B", conflicts_with = "node_a")]
    pairs: Vec<String>,
    /// Compare this only: finding, version, agent, setting, kubelet, resolver, iptables,
    /// image, certificate, connection
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    section: Vec<String>,
    #[command(flatten)]
    library: LibraryArguments,
    /// How to write the differences
    #[arg(long, value_enum, default_value_t = DiffFormat::Table)]
    format: DiffFormat,
    /// Write them to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show every difference; without, the first ones of each kind are, the rest counted
    #[arg(long)]
    all: bool,
    /// Write to the terminal, not through PAGER
    #[arg(long)]
    no_pager: bool,
}

/// How differences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// Text, sized to the terminal
    Table,
    /// One document for programs
    Json,
    /// Text for tickets and pull requests
    Markdown,
}

/// How much of a comparison is shown, and how.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// Changes of a section that are shown; the rest is counted.
    shown: usize,
    colored: bool,
}

/// Compares two bundles.
///
/// # Errors
///
/// If one cannot be opened, or a node or section does not exist.
pub(crate) fn run(arguments: &DiffArguments) -> Result<Outcome> {
    let wanted = Wanted::new(arguments)?;
    let (a, b) = sides(arguments, &wanted)?;
    let nodes = pairs(arguments, &a, &b)?;
    let differences = compare(&a, &b, nodes, &wanted)?;
    let style = Style {
        shown: if arguments.all { usize::MAX } else { 40 },
        colored: arguments.output.is_none() && manners::colored(),
    };
    if let Some(path) = &arguments.output {
        let mut text = Vec::new();
        write(&differences, arguments.format, style, &mut text)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        output::note(&format!("wrote {}", path.display()));
    } else {
        let is_text = arguments.format == DiffFormat::Table && !arguments.no_pager;
        let mut out = pager::start(if is_text { Paging::Terminal } else { Paging::Never })?;
        write(&differences, arguments.format, style, &mut out)?;
        out.finish()?;
    }
    let mut is_whole = true;
    for side in [&a, &b] {
        is_whole &= side.bundle.problems().is_empty() && !warn_of_damage(&side.bundle);
        is_whole &= side.report.diagnostics.iter().all(|(_, answer)| answer.error.is_none());
    }
    Ok(match (is_whole, differences.any()) {
        (false, _) => Outcome::Failed,
        (true, true) => Outcome::Findings,
        (true, false) => Outcome::NothingFound,
    })
}

fn write(
    differences: &Differences,
    format: DiffFormat,
    style: Style,
    out: &mut impl Write,
) -> Result<()> {
    match format {
        DiffFormat::Table => Ok(text::write(differences, style, out)?),
        DiffFormat::Markdown => Ok(markdown::write(differences, style, out)?),
        DiffFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, differences)?;
            Ok(writeln!(out)?)
        }
    }
}

/// What is compared.
struct Wanted {
    sections: Vec<Section>,
    findings: bool,
    connections: bool,
}

impl Wanted {
    fn new(arguments: &DiffArguments) -> Result<Self> {
        let all = Section::all()?;
        for name in &arguments.section {
            let known = all.iter().map(|section| section.id);
            let known: Vec<&str> =
                [FINDINGS].into_iter().chain(known).chain([CONNECTIONS]).collect();
            ensure!(
                known.contains(&name.as_str()),
                "there is no section {name}\nhint: one of {}",
                known.join(", ")
            );
        }
        let is_wanted = |id: &str| {
            arguments.section.is_empty() || arguments.section.iter().any(|name| name == id)
        };
        Ok(Self {
            sections: all.into_iter().filter(|section| is_wanted(section.id)).collect(),
            findings: is_wanted(FINDINGS),
            connections: is_wanted(CONNECTIONS),
        })
    }
}

fn sides(arguments: &DiffArguments, wanted: &Wanted) -> Result<(Side, Side)> {
    let diagnostics = || {
        if !wanted.findings {
            return Ok(Vec::new());
        }
        library::choose(library::load(&arguments.library.folders)?, &[], &[])
    };
    let a = Side::read(&arguments.a, diagnostics()?)?;
    let b = Side::read(arguments.b.as_ref().unwrap_or(&arguments.a), diagnostics()?)?;
    Ok((a, b))
}

/// Which nodes are compared: those that were chosen, else those of one name.
fn pairs(arguments: &DiffArguments, a: &Side, b: &Side) -> Result<Nodes> {
    if let (Some(node_a), Some(node_b)) = (&arguments.node_a, &arguments.node_b) {
        a.check_node(node_a)?;
        b.check_node(node_b)?;
        return Ok(Nodes {
            compared: vec![Pair { a: node_a.clone(), b: node_b.clone() }],
            only_a: Vec::new(),
            only_b: Vec::new(),
            chosen: true,
        });
    }
    let mut compared: Vec<Pair> = Vec::new();
    for text in &arguments.pairs {
        let Some((of_a, of_b)) = text.split_once('=') else {
            bail!("{text:?} matches no nodes\nhint: --match NODE_OF_A=NODE_OF_B")
        };
        a.check_node(of_a)?;
        b.check_node(of_b)?;
        let pair = Pair { a: of_a.to_owned(), b: of_b.to_owned() };
        ensure!(
            compared.iter().all(|other| other.a != pair.a && other.b != pair.b),
            "{text:?} matches a node that is matched already"
        );
        compared.push(pair);
    }
    let is_taken = |compared: &[Pair], of_a: Option<&str>, of_b: Option<&str>| {
        let is = |pair: &Pair| of_a == Some(&pair.a) || of_b == Some(&pair.b);
        compared.iter().any(is)
    };
    for name in a.nodes() {
        let is_free = !is_taken(&compared, Some(name), Some(name));
        if is_free && b.nodes().contains(name) {
            compared.push(Pair { a: name.clone(), b: name.clone() });
        }
    }
    compared.sort_by(|x, y| x.a.cmp(&y.a));
    let left = |nodes: &[String], is_taken: &dyn Fn(&str) -> bool| -> Vec<String> {
        nodes.iter().filter(|name| !is_taken(name)).cloned().collect()
    };
    Ok(Nodes {
        only_a: left(a.nodes(), &|name| is_taken(&compared, Some(name), None)),
        only_b: left(b.nodes(), &|name| is_taken(&compared, None, Some(name))),
        compared,
        chosen: false,
    })
}

fn compare(a: &Side, b: &Side, nodes: Nodes, wanted: &Wanted) -> Result<Differences> {
    let pairs = &nodes.compared;
    let findings = wanted.findings.then(|| findings::compare(a, b, pairs, nodes.chosen));
    let waiting = Waiting::start("comparing");
    let sections = wanted
        .sections
        .iter()
        .map(|section| {
            waiting.now(&format!("comparing {}", section.title.to_lowercase()));
            compare::section(*section, (a, b), pairs, nodes.chosen)
        })
        .collect::<Result<_>>()?;
    waiting.now("comparing connections");
    let connections =
        if wanted.connections { Some(connections::compare(a, b, pairs)?) } else { None };
    Ok(Differences {
        schema: SCHEMA,
        periscope: env!("CARGO_PKG_VERSION"),
        a: a.named(),
        b: b.named(),
        nodes,
        findings,
        sections,
        connections,
    })
}
