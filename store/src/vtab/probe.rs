//! Table `probe`: every try to reach a target.

use std::ffi::{CStr, c_int};

use rusqlite::Result;
use rusqlite::vtab::Context;

use super::plan::Push;
use super::scan::{Opened, Task};
use super::table::{ChunkTable, Row};
use crate::batch::{ProbeOutcome, StreamKind};
use crate::codec::{self, ProbeColumns};
use crate::time;

pub(super) struct Probe;

impl ChunkTable for Probe {
    const NAME: &'static CStr = c"probe";
    const SCHEMA: &'static CStr = c"CREATE TABLE probe (
        node TEXT, -- node that tried
        ts TEXT, -- wall clock at the start, RFC 3339 UTC with nanoseconds
        ts_ns INTEGER, -- the same in nanoseconds since 1970
        target TEXT, -- name of the target
        kind TEXT, -- 'internet', 'api-server', 'tunnel', 'acr', 'mcr', 'custom'
        url TEXT, -- what was connected to
        seq INTEGER, -- number of the sample in its session and target, from 0
        outcome TEXT, -- 'ok', 'fail', or 'skipped' if it was not tried
        ok INTEGER, -- 1 if ok, 0 if it failed, NULL if skipped
        phase TEXT, -- phase that failed: 'dns', 'tcp', 'tls', 'http'
        error_class TEXT, -- stable class of the failure, such as 'timeout'
        error TEXT, -- what the system said
        address TEXT, -- address that was connected to
        status INTEGER, -- HTTP status
        dns_us INTEGER, -- microseconds of name resolution
        tcp_us INTEGER, -- microseconds of the TCP handshake
        tls_us INTEGER, -- microseconds of the TLS handshake
        http_us INTEGER, -- microseconds from request to response head
        duration_us INTEGER, -- microseconds of the whole sample
        mono_ns INTEGER, -- CLOCK_BOOTTIME at the start, never jumps
        interval_ns INTEGER, -- time from one sample to the next
        timeout_ns INTEGER, -- time after which a sample has failed
        boot_id TEXT, -- boot of the node's kernel; mono_ns is of one boot
        session_id INTEGER, -- life of the agent's process; seq is of one session
        batch_id INTEGER, -- batch that holds the sample, see collection
        stream_id INTEGER -- stream: node, target, URL, interval and timeout
    )";
    const KINDS: &'static [StreamKind] = &[StreamKind::Probe];
    const PUSHES: &'static [(c_int, Push)] = &[
        (0, Push::Node),
        (1, Push::Ts),
        (2, Push::TsNs),
        (3, Push::Name),
        (4, Push::Attribute("kind")),
        (5, Push::Attribute("url")),
        (7, Push::Outcome),
        (8, Push::Ok),
    ];
    type Chunk = ProbeColumns;

    fn open(task: &mut Task<'_>) -> crate::Result<Opened<ProbeColumns>> {
        let filter = &task.request.filter;
        let columns = codec::decode_probes(task.meta().declared, &task.data()?)?;
        let is_wanted = |row: &u32| {
            let row = *row as usize;
            filter.has_time(columns.instant(row).ts_ns)
                && (!filter.failed_only || columns.outcome(row) == ProbeOutcome::Fail)
        };
        Ok(Opened { rows: task.job.rows().filter(is_wanted).collect(), chunk: columns })
    }

    fn column(row: &Row<'_, Self>, column: c_int, context: &mut Context) -> Result<()> {
        let (columns, at, stream) = (row.chunk, row.at(), row.stream);
        let batch = row.catalogue.batches.get(&row.batch_id);
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let number = |number: Option<u64>| number.map(|n| n as i64);
        match column {
            0 => context.set_result(&*stream.node),
            1 => context.set_result(time::format_ns(columns.instant(at).ts_ns)),
            2 => context.set_result(columns.instant(at).ts_ns),
            3 => context.set_result(stream.name.as_str()),
            4 => context.set_result(stream.text("kind")),
            5 => context.set_result(stream.text("url")),
            6 => context.set_result(columns.instant(at).seq),
            7 => context.set_result(columns.outcome(at).as_str()),
            8 => context.set_result(match columns.outcome(at) {
                ProbeOutcome::Ok => Some(1),
                ProbeOutcome::Fail => Some(0),
                ProbeOutcome::Skipped => None,
            }),
            9 => context.set_result(text(columns.phase(at))),
            10 => context.set_result(text(columns.error_class(at))),
            11 => context.set_result(text(columns.error(at))),
            12 => context.set_result(text(columns.address(at))),
            13 => context.set_result(number(columns.status(at))),
            14 => context.set_result(number(columns.dns_us(at))),
            15 => context.set_result(number(columns.tcp_us(at))),
            16 => context.set_result(number(columns.tls_us(at))),
            17 => context.set_result(number(columns.http_us(at))),
            18 => context.set_result(columns.duration_us(at) as i64),
            19 => context.set_result(columns.instant(at).mono_ns),
            20 => context.set_result(stream.integer("interval_ns")),
            21 => context.set_result(stream.integer("timeout_ns")),
            22 => context.set_result(batch.and_then(|batch| text(&batch.boot_id))),
            23 => context.set_result(batch.map(|batch| batch.session_id)),
            24 => context.set_result(row.batch_id),
            _ => context.set_result(stream.id),
        }
    }
}
