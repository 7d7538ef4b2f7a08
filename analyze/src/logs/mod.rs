//! `logs`: lines of all nodes and sources, merged by time, as `kubectl logs` and
//! stern show those of pods.
//!
//! [`select`] says which streams are meant and asks the bundle, [`merge`] puts what
//! it answers in order, [`context`] adds the lines around a match, [`mod@print`] writes.
//! No more than some lines are held at any time, however large the bundle.

mod context;
mod merge;
mod print;
mod select;
mod times;
mod window;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use periscope_store::bundle::Bundle;
use regex::bytes::{Regex, RegexBuilder};

pub(crate) use self::times::end;

use crate::manners;
use crate::open::{open, open_bare, warn_of_damage};
use crate::output::Outcome;
use crate::pager::{self, Paging};

use self::context::Around;
use self::merge::Line;
use self::print::Printer;
use self::select::{Choice, Span};

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    periscope-analyze logs bundle/ -n kube-system --pod 'coredns-*' --level error\n  \
    periscope-analyze logs bundle/ --unit kubelet --since 2026-11-22T12:28 --until 2026-11-22T12:30\n  \
    periscope-analyze logs bundle/ --grep 'i/o timeout' -i -C 3\n  \
    periscope-analyze logs bundle/ --follow-window dns-timeouts\n  \
    periscope-analyze logs bundle/ --tail 100 --output json")]
pub(crate) struct LogsArguments {
    /// Folder with .db files, or the files
    #[arg(required = true, value_name = "BUNDLE")]
    bundle: Vec<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// Show lines from this time on: 2026-11-22T12:28, or 90s, 5m, 2h, 1d before the
    /// end of the bundle
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show lines up to this time; 2026-11-22T12:28 includes that minute
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show the lines around findings, five minutes before and after them: the name
    /// of a diagnostic, or a finding's id or fingerprint
    #[arg(long, value_name = "FINDING", conflicts_with = "tail")]
    follow_window: Option<String>,
    /// Show lines that match this regular expression
    #[arg(long, short, value_name = "REGEX")]
    grep: Option<String>,
    /// Letters of either case match each other
    #[arg(long, short, requires = "grep")]
    ignore_case: bool,
    /// Show this many lines of the same stream after each match
    #[arg(long, short = 'A', value_name = "N", default_value_t = 0)]
    after_context: usize,
    /// Show this many lines of the same stream before each match
    #[arg(long, short = 'B', value_name = "N", default_value_t = 0)]
    before_context: usize,
    /// The same before and after
    #[arg(long, short = 'C', value_name = "N")]
    context: Option<usize>,
    /// Show the last lines only
    #[arg(long, value_name = "N", conflicts_with_all = ["context", "after_context", "before_context"])]
    tail: Option<u64>,
    /// How to write lines
    #[arg(long, short, value_enum, default_value_t = LogFormat::Text)]
    output: LogFormat,
    /// Write to the terminal, not through PAGER
    #[arg(long)]
    no_pager: bool,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Time, node, stream and message, safe for a terminal
    Text,
    /// One object a line, with all that is known of it
    Json,
    /// The message alone, byte by byte
    Raw,
}

impl LogsArguments {
    /// The lines that are shown around each match.
    fn around(&self) -> Around {
        let or = |own: usize| if own > 0 { own } else { self.context.unwrap_or(0) };
        Around { before: or(self.before_context), after: or(self.after_context) }
    }

    /// The regular expression as SQL and as we take it.
    fn pattern(&self) -> Option<String> {
        let pattern = self.grep.as_ref()?;
        Some(if self.ignore_case { format!("(?i){pattern}") } else { pattern.clone() })
    }
}

/// Prints the lines that are asked for. As with grep, finding something is what it
/// is for: the status tells only whether all could be read.
///
/// # Errors
///
/// If the bundle cannot be opened, an argument makes no sense, or a line cannot be
/// written.
pub(crate) fn run(arguments: &LogsArguments) -> Result<Outcome> {
    let pattern = arguments.pattern();
    let regex = pattern.as_deref().map(compile).transpose()?;
    // A diagnostic needs the views; lines do not, and begin sooner without.
    let mut bundle = match arguments.follow_window {
        Some(_) => open(&arguments.bundle)?,
        None => open_bare(&arguments.bundle)?,
    };
    let spans = spans(&mut bundle, arguments)?;
    let streams = select::streams(bundle.connection(), &arguments.choice)?;
    let paging = if arguments.no_pager || arguments.output != LogFormat::Text {
        Paging::Never
    } else {
        Paging::Terminal
    };
    let mut out = pager::start(paging)?;
    let colored = arguments.output == LogFormat::Text && manners::colored();
    let mut printer = Printer::new(&mut out, arguments.output, colored, regex);
    let around = arguments.around();
    ensure!(
        around.is_none() || pattern.is_some() || arguments.choice.level.is_some(),
        "there is nothing to show the context of\nhint: say what to look for with --grep"
    );
    for span in spans {
        let question = select::Question {
            streams: &streams,
            level: arguments.choice.level,
            pattern: pattern.as_deref(),
            span,
        };
        if around.is_none() {
            let tail = match arguments.tail {
                Some(count) => match question.tail(bundle.connection(), count)? {
                    Some(tail) => tail,
                    None => continue,
                },
                None => select::Tail { span, skip: 0 },
            };
            let mut skip = tail.skip;
            question.within(tail.span).each(bundle.connection(), |line: &Line| {
                if skip > 0 {
                    skip -= 1;
                    return Ok(());
                }
                printer.line(line)
            })?;
        } else {
            context::print(&question, around, bundle.connection(), &mut printer)?;
        }
    }
    printer.finish()?;
    out.finish()?;
    let damaged = warn_of_damage(&bundle);
    let whole = bundle.problems().is_empty() && !damaged;
    Ok(if whole { Outcome::NothingFound } else { Outcome::Failed })
}

/// The times that are asked for, earliest first and apart from each other.
fn spans(bundle: &mut Bundle, arguments: &LogsArguments) -> Result<Vec<Span>> {
    let end = times::end(bundle.connection())?;
    let mut whole = Span::default();
    if let Some(text) = &arguments.since {
        whole.from_ns = times::parse(text, end)?.0;
    }
    if let Some(text) = &arguments.until {
        whole.until_ns = times::parse(text, end)?.1;
    }
    ensure!(
        whole.from_ns <= whole.until_ns,
        "--since is later than --until\nhint: both are times, or how long before the end"
    );
    match &arguments.follow_window {
        None => Ok(vec![whole]),
        Some(finding) => window::around(bundle, finding, whole),
    }
}

fn compile(pattern: &str) -> Result<Regex> {
    RegexBuilder::new(pattern).size_limit(1 << 20).build().context(
        "--grep is no regular expression\nhint: put a \\ before signs that mean themselves",
    )
}
