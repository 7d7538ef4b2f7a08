//! `shell`: questions in SQL, one after another, on a terminal or from standard input.
//!
//! What is typed goes line by line from a [`source`](input::Source) into a [`Session`],
//! which gathers statements up to their `;` and hands dot commands to [`commands`].
//! Rows are printed as by `query`, under the same guard: nothing but reading is allowed.

mod input;
mod complete;
mod names;
mod commands;
mod plan;
mod target;

use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use periscope_store::bundle::Bundle;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use self::input::{Line, Source};
use self::names::Names;
use self::target::Target;
use crate::cli::LibraryArguments;
use crate::diagnose::library::{self, Entry};
use crate::manners;
use crate::open;
use crate::output::{self, Outcome};
use crate::query::progress::Progress;
use crate::query::{self, Format, MOST_SQL_BYTES, Param, text};

/// Files that `.read` opens within each other at most.
const MOST_NESTED: usize = 8;

/// What `shell` is told.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Statements end with ; and may take several lines. .help lists commands, Tab completes, \
                  Ctrl-C ends a question, Ctrl-D the shell.\n\n\
                  What is piped in is answered without a prompt; errors name the line, as in -:12, and the \
                  exit status is 2 if there were any.\n\n\
                  Examples:\n  \
                  periscope-analyze shell bundle/\n  \
                  echo \"SELECT count(*) FROM log;\" | periscope-analyze shell bundle/ --format csv"
)]
pub(crate) struct ShellArguments {
    /// Folder with .db files, or the files
    #[arg(required = true, value_name = "BUNDLE")]
    bundle: Vec<std::path::PathBuf>,
    /// How to print rows, until .mode says otherwise
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Give :NAME in the SQL a value; a number unless in single quotes
    #[arg(long, short, value_name = "NAME=VALUE")]
    param: Vec<String>,
    #[command(flatten)]
    library: LibraryArguments,
}

/// Answers until there is nothing more to read.
///
/// # Errors
///
/// If the bundle cannot be opened, or nobody takes the answers any more.
pub(crate) fn run(arguments: &ShellArguments) -> Result<Outcome> {
    let is_talk = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut session = Session::open(arguments, is_talk)?;
    let mut source = if is_talk {
        output::note(&session.greeting());
        heed_interrupts(&session.bundle).context("listening for Ctrl-C")?;
        let ids = session.library.iter().map(|entry| entry.diagnostic.id.clone()).collect();
        Source::terminal(Rc::clone(&session.names), ids)?
    } else {
        Source::text("-", io::stdin())
    };
    session.read(&mut source)?;
    let whole = session.bundle.problems().is_empty() && session.bundle.damage().is_empty();
    Ok(if is_talk || (whole && !session.failed) { Outcome::NothingFound } else { Outcome::Failed })
}

/// Lets Ctrl-C end the question that is being answered, and not the shell. While a line
/// is typed the terminal sends it as a key.
fn heed_interrupts(bundle: &Bundle) -> Result<()> {
    let (watch, handle) = (bundle.watch(), bundle.connection().get_interrupt_handle());
    let mut signals = Signals::new([SIGINT])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            watch.give_up();
            handle.interrupt();
        }
    });
    Ok(())
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    Quit,
}

/// An open bundle, and all that commands change.
struct Session {
    bundle: Bundle,
    names: Rc<Names>,
    library: Vec<Entry>,
    format: Format,
    params: Vec<Param>,
    has_timer: bool,
    target: Target,
    shows_progress: bool,
    /// Damaged chunks that were told.
    told_damage: usize,
    /// Whether anything could not be done.
    failed: bool,
    /// Files that are being read.
    nested: usize,
}

impl Session {
    fn open(arguments: &ShellArguments, with_columns: bool) -> Result<Self> {
        let params = arguments.param.iter().map(|text| Param::parse(text));
        let params = params.collect::<Result<_>>()?;
        let library = library::load(&arguments.library.folders)?;
        let mut bundle = open::open(&arguments.bundle)?;
        let names = Names::read(bundle.connection(), with_columns).context("reading the schema")?;
        guard(&mut bundle)?;
        Ok(Self {
            bundle,
            names: Rc::new(names),
            library,
            format: arguments.format,
            params,
            has_timer: false,
            target: Target::default(),
            shows_progress: manners::progress(),
            told_damage: 0,
            failed: false,
            nested: 0,
        })
    }

    fn greeting(&self) -> String {
        let files = self.bundle.files().len();
        let noun = if files == 1 { "file" } else { "files" };
        format!(
            "periscope-analyze {}, {files} {noun}\n\
             .help lists commands, .tables all tables; statements end with ;",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Reads and answers to the end of a source, or until somebody quits. What goes wrong
    /// is told, and the next line is read.
    fn read(&mut self, source: &mut Source) -> Result<Flow> {
        let (mut sql, mut place) = (String::new(), None);
        loop {
            let line = match source.line(&sql)? {
                Line::Text(line) => line,
                Line::Dropped => {
                    sql.clear();
                    continue;
                }
                Line::End => break,
            };
            if sql.is_empty() {
                place = source.place();
                let command = line.trim();
                if command.starts_with('.') {
                    source.remember(line.trim_end());
                    if self.attempt(place.as_deref(), |this| commands::run(this, command))?
                        == Some(Flow::Quit)
                    {
                        return Ok(Flow::Quit);
                    }
                    continue;
                }
            }
            sql.push_str(&line);
            sql.push('\n');
            if text::is_whole(&sql) || sql.len() as u64 > MOST_SQL_BYTES {
                let sql = std::mem::take(&mut sql);
                if !text::statements(&sql).is_empty() {
                    source.remember(sql.trim_end());
                    self.attempt(place.as_deref(), |this| this.ask(&sql))?;
                }
            }
        }
        if !text::statements(&sql).is_empty() && !source.is_terminal() {
            self.attempt(place.as_deref(), |this| this.ask(&sql))?;
        }
        Ok(Flow::GoOn)
    }

    /// Does it, and tells what went wrong. An error is that nobody reads the answers.
    fn attempt<T>(
        &mut self,
        place: Option<&str>,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let watch = self.bundle.watch();
        watch.go_on();
        let error = match work(self) {
            Ok(done) => return Ok(Some(done)),
            Err(error) if output::is_broken_pipe(&error) => return Err(error),
            Err(error) => error,
        };
        self.failed = true;
        if watch.is_over() {
            output::note("interrupted");
        } else {
            output::error(&match place {
                Some(place) => error.context(place.to_owned()),
                None => error,
            });
        }
        Ok(None)
    }

    /// Answers all statements of a text.
    fn ask(&mut self, sql: &str) -> Result<()> {
        ensure!(
            sql.len() as u64 <= MOST_SQL_BYTES,
            "the statement is longer than {MOST_SQL_BYTES} bytes"
        );
        ensure!(
            !self.format.is_file() || self.target.is_once(),
            "that format holds one answer\nhint: .once FILE says where to write the next"
        );
        let began = Instant::now();
        let watch = self.bundle.watch();
        let progress =
            Progress::start(watch.clone(), self.shows_progress, self.target.is_terminal());
        let mut out = self.target.open()?;
        let connection = self.bundle.connection();
        let asked = query::print(connection, sql, &self.params, self.format, &progress, &mut out);
        let flushed = out.flush().context("writing the answer");
        drop(out);
        let rows = progress.rows();
        drop(progress);
        self.tell_damage();
        // A table that gives up may have told so after the last row.
        ensure!(!watch.is_over(), "interrupted");
        asked.and(flushed)?;
        if self.has_timer {
            let noun = if rows == 1 { "row" } else { "rows" };
            output::note(&format!("{:.3} s, {rows} {noun}", began.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    /// Tells of chunks that could not be read since the last time.
    fn tell_damage(&mut self) {
        let damage = open::damage(&self.bundle);
        damage.iter().skip(self.told_damage).for_each(|text| output::warning(text));
        self.told_damage = damage.len();
    }

    /// Reads a file as if it were typed.
    fn read_file(&mut self, path: &str) -> Result<Flow> {
        ensure!(self.nested < MOST_NESTED, "files read each other more than {MOST_NESTED} deep");
        let file = std::fs::File::open(path).with_context(|| format!("opening {path}"))?;
        self.nested += 1;
        let flow = self.read(&mut Source::text(path, file));
        self.nested -= 1;
        flow
    }
}

/// Allows reading and nothing else.
fn guard(bundle: &mut Bundle) -> Result<()> {
    bundle.connection_mut().authorizer(Some(query::read_only)).context("guarding the bundle")
}
