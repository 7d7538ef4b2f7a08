//! What a user wants of every command alike: colours, signs of progress, and the zone of
//! times. Set once, from the command line, before anything is done.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use clap::{Args, ValueEnum};

use crate::zone::Zone;

static CHOSEN: OnceLock<Manners> = OnceLock::new();

/// Options of every command.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Manners")]
pub(crate) struct Manners {
    /// Whether to use colours; the variable `NO_COLOR` turns them off
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    color: Color,
    /// Show no progress on a terminal
    #[arg(long, global = true)]
    no_progress: bool,
    /// Zone of times in texts, and of times given without one: utc, local, +02:00 or
    /// Europe/Berlin. JSON and SQL have UTC
    #[arg(
        long,
        global = true,
        value_name = "ZONE",
        default_value = "utc",
        hide_default_value = true
    )]
    time_zone: Zone,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// If standard output is a terminal and the variable `NO_COLOR` is not set
    Auto,
    /// Always, as for less -R
    Always,
    /// Never
    Never,
}

impl Manners {
    /// Makes these hold from now on. The first that are set do.
    pub(crate) fn hold(self) {
        let _ = CHOSEN.set(self);
    }
}

/// Whether colours are wanted on standard output.
pub(crate) fn colored() -> bool {
    match CHOSEN.get().map(|manners| manners.color) {
        Some(Color::Always) => true,
        Some(Color::Auto) => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            !refused && io::stdout().is_terminal()
        }
        Some(Color::Never) | None => false,
    }
}

/// A text in a colour, as terminals number them, if colours are used.
pub(crate) fn painted(colored: bool, color: &str, text: &str) -> String {
    if colored { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Whether somebody is at a terminal who wants to be told of progress.
pub(crate) fn progress() -> bool {
    CHOSEN.get().is_some_and(|manners| !manners.no_progress) && io::stderr().is_terminal()
}

/// The zone that was chosen.
pub(crate) fn zone() -> Zone {
    CHOSEN.get().map_or(Zone::Utc, |manners| manners.time_zone)
}

/// A text with the times that it names in the zone that was chosen.
pub(crate) fn zoned(text: &str) -> Cow<'_, str> {
    zone().text(text)
}

/// What the head of a text says of its times, if they are not in UTC.
pub(crate) fn zone_note() -> Option<String> {
    zone().name()
}
