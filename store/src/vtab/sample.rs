//! Table `sample`: counters and gauges of the host over time.

use std::ffi::{CStr, c_int};

use rusqlite::Result;
use rusqlite::vtab::Context;

use super::plan::Push;
use super::scan::{Opened, Task};
use super::table::{ChunkTable, Row};
use crate::batch::StreamKind;
use crate::codec::{self, SampleColumns};
use crate::time;

pub(super) struct Sample;

impl ChunkTable for Sample {
    const NAME: &'static CStr = c"sample";
    const SCHEMA: &'static CStr = c"CREATE TABLE sample (
        node TEXT, -- node that was measured
        ts TEXT, -- time of the reading, RFC 3339 UTC with nanoseconds
        ts_ns INTEGER, -- the same in nanoseconds since 1970
        family TEXT, -- family of counters: 'memory', 'cpu', 'pressure', …
        name TEXT, -- what was measured, with its unit
        value REAL, -- the value in that unit
        batch_id INTEGER, -- batch that read it, see collection
        stream_id INTEGER -- stream: node and family
    )";
    const KINDS: &'static [StreamKind] = &[StreamKind::Host];
    const PUSHES: &'static [(c_int, Push)] =
        &[(0, Push::Node), (1, Push::Ts), (2, Push::TsNs), (3, Push::Name), (4, Push::Metric)];
    type Chunk = SampleColumns;

    fn open(task: &mut Task<'_>) -> crate::Result<Opened<SampleColumns>> {
        let filter = &task.request.filter;
        let columns = codec::decode_samples(task.meta().declared, &task.data()?)?;
        let is_wanted = |row: &u32| {
            let row = *row as usize;
            filter.has_time(columns.ts_ns(row))
                && filter.metric.as_ref().is_none_or(|wanted| wanted == columns.name(row))
        };
        Ok(Opened { rows: task.job.rows().filter(is_wanted).collect(), chunk: columns })
    }

    fn column(row: &Row<'_, Self>, column: c_int, context: &mut Context) -> Result<()> {
        match column {
            0 => context.set_result(&*row.stream.node),
            1 => context.set_result(time::format_ns(row.chunk.ts_ns(row.at()))),
            2 => context.set_result(row.chunk.ts_ns(row.at())),
            3 => context.set_result(row.stream.name.as_str()),
            4 => context.set_result(row.chunk.name(row.at())),
            5 => context.set_result(row.chunk.value(row.at())),
            6 => context.set_result(row.batch_id),
            _ => context.set_result(row.stream.id),
        }
    }
}
