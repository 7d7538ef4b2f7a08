//! What one poll of one collector saw: rows and chunks, ready to be written.
//!
//! A batch is bounded: logs are packed into chunks as they arrive, and
//! [`Batch::is_full`] tells the collector to hand over what it has and go on in
//! a next batch. It knows nothing of the database; a
//! [`Writer`](crate::writer::Writer) puts it there.

mod rows;
mod stream;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

pub use rows::{
    Certificate, CertificateOrigin, HostSample, IptablesChain, IptablesRule, Issue, IssueKind,
    Level, LineFlags, Object, Outcome, ProbeOutcome, ProbeSample, Redaction, Setting,
};
pub(crate) use stream::interval_ns;
pub use stream::{ProbeTarget, Stream, StreamKind};

use crate::codec::{self, LogColumns, ProbeColumns, SampleColumns, Section};

/// Raw bytes of a log chunk: lines of all its streams together.
pub const LOG_CHUNK_BYTES: usize = 4 << 20;

/// Rows of a probe or host-sample chunk.
pub const SAMPLE_CHUNK_ROWS: usize = 16_384;

/// A batch is full when its compressed chunks reach this size.
const FULL_ENCODED_BYTES: usize = 2 << 20;

/// A batch is full when this many raw bytes went into it, however well they
/// compress: what a failed commit costs is bounded.
const FULL_RAW_BYTES: usize = 64 << 20;

/// Masks secrets in every text before it enters a batch.
///
/// Called by [`Batch`] for each log line, setting, rule, object and message, so
/// that no collector can forget it. The agent's rules are in its `redact.rs`.
pub trait Mask: Send + Sync {
    /// The text without its secrets; borrowed if it has none. Tells `found` the
    /// name of the rule, once for each secret.
    fn mask<'a>(&self, text: &'a [u8], found: &mut dyn FnMut(&'static str)) -> Cow<'a, [u8]>;
}

/// Handle of a stream within one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamRef(pub(crate) usize);

/// Rows of one stream inside a chunk, with what queries skip chunks by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stream: StreamRef,
    pub(crate) row_count: usize,
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    pub(crate) failed_count: usize,
    pub(crate) max_gap_ns: i64,
}

/// A chunk as it goes into the database.
#[derive(Clone, Debug)]
pub(crate) struct EncodedChunk {
    pub(crate) kind: StreamKind,
    pub(crate) codec: i64,
    pub(crate) raw_bytes: usize,
    pub(crate) runs: Vec<Run>,
    pub(crate) data: Vec<u8>,
}

/// What one poll of one collector saw.
///
/// ```
/// use periscope_store::batch::{Batch, LineFlags, Stream};
///
/// let mut batch = Batch::new("container-logs");
/// let stream = batch.stream(Stream::container("kube-system", "coredns-1", "uid", "coredns", 0));
/// batch.log(stream, 1_795_350_483_000_000_000, LineFlags::default(), b".:53");
/// assert_eq!(batch.row_count(), 1);
/// ```
#[derive(Default)]
pub struct Batch {
    pub(crate) collector: String,
    mask: Option<Arc<dyn Mask>>,
    pub(crate) streams: Vec<Stream>,
    by_stream: HashMap<Stream, StreamRef>,
    logs: Vec<(StreamKind, Packer<LogColumns>)>,
    probes: Packer<ProbeColumns>,
    samples: Packer<SampleColumns>,
    pub(crate) chunks: Vec<EncodedChunk>,
    encoded_bytes: usize,
    raw_bytes: usize,
    rows: u64,
    pub(crate) issues: Vec<Issue>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) iptables_chains: Vec<IptablesChain>,
    pub(crate) iptables_rules: Vec<IptablesRule>,
    pub(crate) objects: Vec<Object>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) redactions: Vec<Redaction>,
    pub(crate) positions: BTreeMap<String, Option<String>>,
}

impl Batch {
    /// An empty batch of the collector with this name.
    #[must_use]
    pub fn new(collector: &str) -> Self {
        Self { collector: collector.to_owned(), ..Self::default() }
    }

    /// An empty batch whose texts all pass through `mask`.
    #[must_use]
    pub fn masked(collector: &str, mask: Arc<dyn Mask>) -> Self {
        Self { mask: Some(mask), ..Self::new(collector) }
    }

    /// Name of the collector.
    #[must_use]
    pub fn collector(&self) -> &str {
        &self.collector
    }

    /// Handle of a stream, to push rows with. Asking twice gives the same one.
    pub fn stream(&mut self, stream: Stream) -> StreamRef {
        if let Some(found) = self.by_stream.get(&stream) {
            return *found;
        }
        let handle = StreamRef(self.streams.len());
        self.streams.push(stream.clone());
        self.by_stream.insert(stream, handle);
        handle
    }

    /// Adds a log line without its newline. Any bytes will do.
    pub fn log(&mut self, stream: StreamRef, ts_ns: i64, flags: LineFlags, message: &[u8]) {
        let kind = self.streams[stream.0].kind;
        let message = &*mask_bytes(self.mask.as_deref(), message, &mut self.redactions, || {
            self.streams[stream.0].name.clone()
        });
        let at = self.logs.iter().position(|(k, _)| *k == kind).unwrap_or_else(|| {
            self.logs.push((kind, Packer::default()));
            self.logs.len() - 1
        });
        let packer = &mut self.logs[at].1;
        packer.push(stream, ts_ns, false, |columns| columns.push(ts_ns, flags.to_byte(), message));
        packer.raw_bytes += message.len() + 16;
        self.raw_bytes += message.len() + 16;
        self.rows += 1;
        if packer.raw_bytes >= LOG_CHUNK_BYTES {
            self.flush_log(at);
        }
    }

    /// Adds a probe sample. Its times are kept to the microsecond: what is below
    /// is noise of the clocks, and would be half of what is stored.
    pub fn probe(&mut self, stream: StreamRef, sample: &ProbeSample) {
        let mut sample = sample.clone();
        for ns in [&mut sample.ts_ns, &mut sample.mono_ns] {
            *ns = ns.saturating_sub(ns.rem_euclid(1_000));
        }
        if self.mask.is_some() && !(sample.error.is_empty() && sample.address.is_empty()) {
            let name = self.streams[stream.0].name.clone();
            self.mask_text(&mut sample.error, &name);
            self.mask_text(&mut sample.address, &name);
        }
        let failed = sample.outcome == ProbeOutcome::Fail;
        self.probes.push(stream, sample.ts_ns, failed, |columns| columns.push(&sample));
        self.rows += 1;
        if self.probes.rows >= SAMPLE_CHUNK_ROWS {
            self.flush_probes();
        }
    }

    /// Adds a host sample.
    pub fn sample(&mut self, stream: StreamRef, sample: &HostSample) {
        let mut sample = Cow::Borrowed(sample);
        // Only a label can hold what somebody wants to hide.
        if self.mask.is_some() && sample.name.contains('{') {
            let name = self.streams[stream.0].name.clone();
            self.mask_text(&mut sample.to_mut().name, &name);
        }
        self.samples.push(stream, sample.ts_ns, false, |columns| columns.push(&sample));
        self.rows += 1;
        if self.samples.rows >= SAMPLE_CHUNK_ROWS {
            self.flush_samples();
        }
    }

    /// Notes something that the batch does not hold.
    pub fn issue(&mut self, mut issue: Issue) {
        self.mask_text(&mut issue.message, &issue.source);
        self.issues.push(issue);
    }

    /// Leaves out the issues for which `keep` says no.
    pub fn retain_issues(&mut self, keep: impl FnMut(&Issue) -> bool) {
        self.issues.retain(keep);
    }

    /// Adds a setting.
    pub fn setting(&mut self, mut setting: Setting) {
        if let Some(value) = &mut setting.value {
            self.mask_text(value, &setting.source);
        }
        self.rows += 1;
        self.settings.push(setting);
    }

    /// Adds a chain of iptables.
    pub fn iptables_chain(&mut self, chain: IptablesChain) {
        self.rows += 1;
        self.iptables_chains.push(chain);
    }

    /// Adds a rule of iptables.
    pub fn iptables_rule(&mut self, mut rule: IptablesRule) {
        self.mask_text(&mut rule.rule, "iptables");
        let IptablesRule { comment, source, destination, .. } = &mut rule;
        for text in [comment, source, destination].into_iter().flatten() {
            self.mask_text(text, "iptables");
        }
        self.rows += 1;
        self.raw_bytes += rule.rule.len();
        self.iptables_rules.push(rule);
    }

    /// Adds a Kubernetes object.
    pub fn object(&mut self, mut object: Object) {
        let source = format!(
            "{} {}/{}",
            object.kind,
            object.namespace.as_deref().unwrap_or_default(),
            object.name
        );
        self.mask_text(&mut object.json, &source);
        self.rows += 1;
        self.raw_bytes += object.json.len();
        self.encoded_bytes += object.json.len();
        self.objects.push(object);
    }

    /// Adds a certificate.
    pub fn certificate(&mut self, mut certificate: Certificate) {
        let Certificate { source, subject, alternative_names, untrusted, .. } = &mut certificate;
        for text in alternative_names.iter_mut().chain(untrusted).chain([subject]) {
            self.mask_text(text, source);
        }
        self.rows += 1;
        self.certificates.push(certificate);
    }

    /// Counts masked secrets; counts of one rule and source add up.
    pub fn redaction(&mut self, redaction: Redaction) {
        count(&mut self.redactions, redaction);
    }

    /// Notes how far a source was read: this batch and those before it hold all
    /// that comes before. `None` forgets the source. The value is the collector's
    /// own and holds nothing of what was read; it is committed with the rows
    /// ([`crate::positions`]).
    pub fn set_position(&mut self, source: &str, value: Option<String>) {
        self.positions.insert(source.to_owned(), value);
    }

    /// Masks a text that does not enter the batch as a row, such as a message.
    pub(crate) fn mask_text(&mut self, text: &mut String, source: &str) {
        let mask = self.mask.as_deref();
        let masked = mask_bytes(mask, text.as_bytes(), &mut self.redactions, || source.to_owned());
        if let Cow::Owned(masked) = masked {
            *text = String::from_utf8_lossy(&masked).into_owned();
        }
    }

    /// Rows of all kinds so far, issues and redactions not counted.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.rows
    }

    /// Whether something is missing that the node has.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        self.issues.iter().any(|issue| issue.kind.is_loss())
    }

    /// How many things are missing that the node has.
    #[must_use]
    pub fn loss_count(&self) -> u64 {
        self.issues.iter().filter(|issue| issue.kind.is_loss()).count() as u64
    }

    /// How many secrets were masked.
    #[must_use]
    pub fn redaction_count(&self) -> u64 {
        self.redactions.iter().map(|redaction| redaction.amount).sum()
    }

    /// Whether it is time to hand this batch over and go on in a next one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.encoded_bytes >= FULL_ENCODED_BYTES || self.raw_bytes >= FULL_RAW_BYTES
    }

    /// Packs what is still loose. Calling it twice does nothing more.
    pub fn finish(&mut self) {
        for at in 0..self.logs.len() {
            self.flush_log(at);
        }
        self.flush_probes();
        self.flush_samples();
    }

    fn flush_log(&mut self, at: usize) {
        let (kind, packer) = &mut self.logs[at];
        let kind = *kind;
        let (columns, runs) = packer.take(LogColumns::append);
        let row_count = columns.len();
        match codec::encode_logs(&columns, codec::LIVE_LEVEL) {
            Ok(encoded) => self.push_chunk(kind, runs, encoded),
            Err(error) => self.issue(Issue {
                source: self.collector.clone(),
                kind: IssueKind::Dropped,
                amount: Some(row_count as u64),
                unit: Some("lines"),
                message: error.to_string(),
            }),
        }
    }

    fn flush_probes(&mut self) {
        let (columns, runs) = self.probes.take(|all, of| all.extend(&of, 0..of.len()));
        let section = |run: &Run| Section {
            row_count: run.row_count,
            interval_ns: self.streams[run.stream.0].interval_ns(),
        };
        let sections: Vec<Section> = runs.iter().map(section).collect();
        let encoded = codec::encode_probes(&columns, &sections, codec::LIVE_LEVEL);
        self.push_chunk(StreamKind::Probe, runs, encoded);
    }

    fn flush_samples(&mut self) {
        let (columns, runs) = self.samples.take(|all, of| all.extend(&of, 0..of.len()));
        let encoded = codec::encode_samples(&columns, codec::LIVE_LEVEL);
        self.push_chunk(StreamKind::Host, runs, encoded);
    }

    fn push_chunk(&mut self, kind: StreamKind, runs: Vec<Run>, encoded: codec::Encoded) {
        if runs.is_empty() {
            return;
        }
        self.encoded_bytes += encoded.data.len();
        self.chunks.push(EncodedChunk {
            kind,
            codec: encoded.codec,
            raw_bytes: encoded.raw_bytes,
            runs,
            data: encoded.data,
        });
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("collector", &self.collector)
            .field("rows", &self.rows)
            .field("issues", &self.issues)
            .finish_non_exhaustive()
    }
}

fn mask_bytes<'a>(
    mask: Option<&dyn Mask>,
    text: &'a [u8],
    redactions: &mut Vec<Redaction>,
    source: impl Fn() -> String,
) -> Cow<'a, [u8]> {
    let Some(mask) = mask else { return Cow::Borrowed(text) };
    mask.mask(text, &mut |rule| {
        count(redactions, Redaction { rule: rule.to_owned(), source: source(), amount: 1 });
    })
}

fn count(redactions: &mut Vec<Redaction>, more: Redaction) {
    match redactions.iter_mut().find(|r| r.rule == more.rule && r.source == more.source) {
        Some(known) => known.amount += more.amount,
        None => redactions.push(more),
    }
}

/// Gathers rows by stream until they make a chunk.
#[derive(Debug, Default)]
struct Packer<C> {
    open: Vec<(Run, C)>,
    by_stream: HashMap<StreamRef, usize>,
    /// Stream of the last row, which is mostly that of the next one, and where its
    /// rows are.
    last: Option<(StreamRef, usize)>,
    rows: usize,
    raw_bytes: usize,
}

impl<C: Default> Packer<C> {
    fn push(&mut self, stream: StreamRef, ts_ns: i64, failed: bool, push: impl FnOnce(&mut C)) {
        let known = self.last.filter(|(last, _)| *last == stream).map(|(_, at)| at);
        let at = known.unwrap_or_else(|| {
            *self.by_stream.entry(stream).or_insert_with(|| {
                let run = Run {
                    stream,
                    row_count: 0,
                    first_ns: ts_ns,
                    last_ns: ts_ns,
                    failed_count: 0,
                    max_gap_ns: 0,
                };
                self.open.push((run, C::default()));
                self.open.len() - 1
            })
        });
        self.last = Some((stream, at));
        let (run, columns) = &mut self.open[at];
        run.max_gap_ns = run.max_gap_ns.max(ts_ns.saturating_sub(run.last_ns));
        run.first_ns = run.first_ns.min(ts_ns);
        run.last_ns = run.last_ns.max(ts_ns);
        run.failed_count += usize::from(failed);
        run.row_count += 1;
        self.rows += 1;
        push(columns);
    }

    /// All columns, stream after stream, and the runs that tell them apart.
    fn take(&mut self, append: impl Fn(&mut C, C)) -> (C, Vec<Run>) {
        let open = std::mem::take(self).open;
        let mut all = C::default();
        let mut runs = Vec::with_capacity(open.len());
        for (run, columns) in open {
            append(&mut all, columns);
            runs.push(run);
        }
        (all, runs)
    }
}
