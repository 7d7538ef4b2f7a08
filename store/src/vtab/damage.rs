//! Table `damage`: chunks that queries so far could not decode.

use std::ffi::{CStr, c_int};
use std::sync::Arc;

use rusqlite::Result;
use rusqlite::vtab::Context;

use super::list::ListTable;
use super::plan::Filter;
use crate::bundle::{Catalogue, Damage, display};
use crate::time;

pub(super) struct Damages;

impl ListTable for Damages {
    const NAME: &'static CStr = c"damage";
    const SCHEMA: &'static CStr = c"CREATE TABLE damage (
        node TEXT, -- node that the chunk belongs to
        ts TEXT, -- smallest time of its rows, RFC 3339 UTC with nanoseconds
        collector TEXT, -- collector that wrote it
        file TEXT, -- file that holds it
        chunk_id INTEGER, -- its id in that file
        batch_id INTEGER, -- first batch that has rows in it, see collection
        row_count INTEGER, -- how many rows are missing from answers
        reason TEXT -- what is wrong with it
    )";
    type Row = Damage;

    fn rows(catalogue: &Arc<Catalogue>, _: &Filter) -> impl Iterator<Item = Damage> + 'static {
        catalogue.damage().into_iter()
    }

    fn column(_: &Catalogue, row: &Damage, column: c_int, context: &mut Context) -> Result<()> {
        match column {
            0 => context.set_result(row.node.as_str()),
            1 => context.set_result(time::format_ns(row.first_ns)),
            2 => context.set_result(row.collector.as_str()),
            3 => context.set_result(display(&row.path)),
            4 => context.set_result(row.chunk_id),
            5 => context.set_result(row.batch_id),
            6 => context.set_result(row.row_count as i64),
            _ => context.set_result(row.reason.as_str()),
        }
    }
}
