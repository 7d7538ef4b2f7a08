//! Table `probe_stretch`: probe samples in a row that ended alike, as one row.
//!
//! What asks when something changed reads a thousandth of the rows here, and
//! decides the same: see [`codec`](crate::codec) for where a stretch ends. Rows of
//! a stream and session come in the order of time, and each tells what was before
//! and after it, so that a query need not look for it.

use std::ffi::{CStr, c_int};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rusqlite::Result;
use rusqlite::vtab::Context;

use super::list::ListTable;
use super::plan::{Filter, Push};
use super::stretches::{Row, Stretches};
use crate::bundle::Catalogue;
use crate::time;

pub(super) struct ProbeStretch;

impl ListTable for ProbeStretch {
    const NAME: &'static CStr = c"probe_stretch";
    const SCHEMA: &'static CStr = c"CREATE TABLE probe_stretch (
        node TEXT, -- node that tried
        ts TEXT, -- when the first sample began, RFC 3339 in UTC
        ts_ns INTEGER, -- ts in nanoseconds since 1970
        target TEXT, -- name of the target
        kind TEXT, -- kind of the target, as in probe
        url TEXT, -- what is connected to
        outcome TEXT, -- how all of the samples ended: 'ok', 'fail' or 'skipped'
        phase TEXT, -- phase in which all of them failed
        error_class TEXT, -- stable class of all their failures
        error TEXT, -- what the system said to the first
        address TEXT, -- address that the first connected to
        samples INTEGER, -- how many they are
        position INTEGER, -- place of the first in its session, from 1, none skipped
        seq INTEGER, -- number of the first in its session and target
        mono_ns INTEGER, -- CLOCK_BOOTTIME at the start of the first
        last_ns INTEGER, -- when the last sample began, in nanoseconds since 1970
        last_mono_ns INTEGER, -- CLOCK_BOOTTIME at the start of the last
        last_seq INTEGER, -- number of the last
        last_duration_us INTEGER, -- microseconds of the last
        total_duration_us INTEGER, -- microseconds of all of them
        max_duration_us INTEGER, -- microseconds of the longest
        before_outcome TEXT, -- how the one before ended, none skipped
        before_phase TEXT, -- phase in which it failed
        before_error_class TEXT, -- stable class of its failure
        before_ns INTEGER, -- when it began, in nanoseconds since 1970
        before_mono_ns INTEGER, -- CLOCK_BOOTTIME at its start
        before_seq INTEGER, -- its number
        before_duration_us INTEGER, -- its microseconds
        after_ns INTEGER, -- when the next one began, none skipped
        after_mono_ns INTEGER, -- CLOCK_BOOTTIME at its start
        interval_ns INTEGER, -- time from one sample to the next
        timeout_ns INTEGER, -- time after which a sample has failed
        session_id INTEGER, -- life of the agent's process; all is of one session
        stream_id INTEGER -- stream: node, target, URL, interval and timeout
    )";
    const PUSHES: &'static [(c_int, Push)] = &[
        (0, Push::Node),
        (3, Push::Name),
        (4, Push::Attribute("kind")),
        (5, Push::Attribute("url")),
        (33, Push::StreamId),
    ];
    type Row = Row;

    fn rows(catalogue: &Arc<Catalogue>, filter: &Filter) -> impl Iterator<Item = Row> + 'static {
        Stretches::new(catalogue, filter)
    }

    fn rowid(row: &Row, _: i64) -> i64 {
        let first = row.start.stretch().first;
        let mut hasher = DefaultHasher::new();
        (row.stream, row.session_id, first.mono_ns, first.seq).hash(&mut hasher);
        hasher.finish() as i64
    }

    fn column(
        catalogue: &Catalogue,
        row: &Row,
        column: c_int,
        context: &mut Context,
    ) -> Result<()> {
        let (stretch, stream) = (row.start.stretch(), &catalogue.streams[row.stream]);
        let before = row.before.as_ref();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match column {
            0 => context.set_result(&*stream.node),
            1 => context.set_result(time::format_ns(stretch.first.ts_ns)),
            2 => context.set_result(stretch.first.ts_ns),
            3 => context.set_result(stream.name.as_str()),
            4 => context.set_result(stream.text("kind")),
            5 => context.set_result(stream.text("url")),
            6 => context.set_result(stretch.outcome().as_str()),
            7..=10 => set_text(context, row.start.texts()[column as usize - 7]),
            11 => context.set_result(number(row.row_count)),
            12 => context.set_result(number(row.position)),
            13 => context.set_result(stretch.first.seq),
            14 => context.set_result(stretch.first.mono_ns),
            15 => context.set_result(row.last.ts_ns),
            16 => context.set_result(row.last.mono_ns),
            17 => context.set_result(row.last.seq),
            18 => context.set_result(number(row.last_duration_us)),
            19 => context.set_result(number(row.total_duration_us)),
            20 => context.set_result(number(row.max_duration_us)),
            21 => context.set_result(before.map(|it| it.part.stretch().outcome().as_str())),
            22 | 23 => {
                set_text(context, before.map_or("", |it| it.part.texts()[column as usize - 22]))
            }
            24 => context.set_result(before.map(|it| it.last.ts_ns)),
            25 => context.set_result(before.map(|it| it.last.mono_ns)),
            26 => context.set_result(before.map(|it| it.last.seq)),
            27 => context.set_result(before.map(|it| number(it.last_duration_us))),
            28 => context.set_result(row.after.map(|it| it.ts_ns)),
            29 => context.set_result(row.after.map(|it| it.mono_ns)),
            30 => context.set_result(stream.integer("interval_ns")),
            31 => context.set_result(stream.integer("timeout_ns")),
            32 => context.set_result(row.session_id),
            _ => context.set_result(stream.id),
        }
    }
}

/// Gives a text to SQLite, NULL if it is empty.
fn set_text(context: &mut Context, text: &str) -> Result<()> {
    context.set_result((!text.is_empty()).then_some(text))
}
