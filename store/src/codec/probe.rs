//! Codec 2: probe samples as one column a field.

use super::columns::{
    FrameWriter, Frames, Texts, decode_options, decode_steps, encode_options, encode_steps,
};
use super::{Declared, LIVE_LEVEL, damaged};
use crate::Result;
use crate::batch::{ProbeOutcome, ProbeSample};

/// Columns of probe samples, row after row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProbeColumns {
    seq: Vec<i64>,
    ts_ns: Vec<i64>,
    mono_ns: Vec<i64>,
    outcome: Vec<u8>,
    phase: Texts,
    error_class: Texts,
    error: Texts,
    address: Texts,
    status: Vec<Option<u64>>,
    dns_us: Vec<Option<u64>>,
    tcp_us: Vec<Option<u64>>,
    tls_us: Vec<Option<u64>>,
    http_us: Vec<Option<u64>>,
    duration_us: Vec<Option<u64>>,
}

impl ProbeColumns {
    pub(crate) fn push(&mut self, sample: &ProbeSample) {
        self.seq.push(sample.seq as i64);
        self.ts_ns.push(sample.ts_ns);
        self.mono_ns.push(sample.mono_ns);
        self.outcome.push(sample.outcome as u8);
        self.phase.push(&sample.phase);
        self.error_class.push(&sample.error_class);
        self.error.push(&sample.error);
        self.address.push(&sample.address);
        self.status.push(sample.status.map(u64::from));
        self.dns_us.push(sample.dns_us);
        self.tcp_us.push(sample.tcp_us);
        self.tls_us.push(sample.tls_us);
        self.http_us.push(sample.http_us);
        self.duration_us.push(Some(sample.duration_us));
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.seq.extend(other.seq);
        self.ts_ns.extend(other.ts_ns);
        self.mono_ns.extend(other.mono_ns);
        self.outcome.extend(other.outcome);
        self.phase.append(&other.phase);
        self.error_class.append(&other.error_class);
        self.error.append(&other.error);
        self.address.append(&other.address);
        self.status.extend(other.status);
        self.dns_us.extend(other.dns_us);
        self.tcp_us.extend(other.tcp_us);
        self.tls_us.extend(other.tls_us);
        self.http_us.extend(other.http_us);
        self.duration_us.extend(other.duration_us);
    }

    pub(crate) fn ts_ns(&self, row: usize) -> i64 {
        self.ts_ns[row]
    }

    pub(crate) fn outcome(&self, row: usize) -> ProbeOutcome {
        match self.outcome[row] {
            0 => ProbeOutcome::Ok,
            1 => ProbeOutcome::Fail,
            _ => ProbeOutcome::Skipped,
        }
    }

    /// Whether two samples have the same outcome, phase and class of error.
    pub(crate) fn ended_alike(&self, row: usize, other: usize) -> bool {
        self.outcome(row) == self.outcome(other)
            && self.phase.is_same(row, other)
            && self.error_class.is_same(row, other)
    }

    pub(crate) fn seq(&self, row: usize) -> i64 {
        self.seq[row]
    }

    pub(crate) fn mono_ns(&self, row: usize) -> i64 {
        self.mono_ns[row]
    }

    pub(crate) fn phase(&self, row: usize) -> &str {
        self.phase.get(row)
    }

    pub(crate) fn error_class(&self, row: usize) -> &str {
        self.error_class.get(row)
    }

    pub(crate) fn error(&self, row: usize) -> &str {
        self.error.get(row)
    }

    pub(crate) fn address(&self, row: usize) -> &str {
        self.address.get(row)
    }

    pub(crate) fn status(&self, row: usize) -> Option<u64> {
        self.status[row]
    }

    pub(crate) fn dns_us(&self, row: usize) -> Option<u64> {
        self.dns_us[row]
    }

    pub(crate) fn tcp_us(&self, row: usize) -> Option<u64> {
        self.tcp_us[row]
    }

    pub(crate) fn tls_us(&self, row: usize) -> Option<u64> {
        self.tls_us[row]
    }

    pub(crate) fn http_us(&self, row: usize) -> Option<u64> {
        self.http_us[row]
    }

    pub(crate) fn duration_us(&self, row: usize) -> Option<u64> {
        self.duration_us[row]
    }

    pub(super) fn encode(&self) -> (usize, Vec<u8>) {
        let columns = [
            encode_steps(&self.ts_ns),
            self.outcome.clone(),
            encode_steps(&self.seq),
            encode_steps(&self.mono_ns),
            self.phase.encode(),
            self.error_class.encode(),
            self.error.encode(),
            self.address.encode(),
            encode_options(&self.status),
            encode_options(&self.dns_us),
            encode_options(&self.tcp_us),
            encode_options(&self.tls_us),
            encode_options(&self.http_us),
            encode_options(&self.duration_us),
        ];
        let mut frames = FrameWriter::new(LIVE_LEVEL);
        columns.iter().for_each(|column| frames.put(column));
        (columns.iter().map(Vec::len).sum(), frames.finish())
    }

    pub(super) fn decode(declared: Declared, data: &[u8]) -> Result<Self> {
        let rows = declared.row_count;
        let mut frames = Frames::new(data, declared.raw_bytes);
        let ts_ns = decode_steps(&frames.next()?, rows)?;
        let outcome = frames.next()?;
        if outcome.len() != rows || outcome.iter().any(|code| *code > 2) {
            return Err(damaged("outcomes are wrong"));
        }
        let columns = Self {
            ts_ns,
            outcome,
            seq: decode_steps(&frames.next()?, rows)?,
            mono_ns: decode_steps(&frames.next()?, rows)?,
            phase: Texts::decode(&frames.next()?, rows)?,
            error_class: Texts::decode(&frames.next()?, rows)?,
            error: Texts::decode(&frames.next()?, rows)?,
            address: Texts::decode(&frames.next()?, rows)?,
            status: decode_options(&frames.next()?, rows)?,
            dns_us: decode_options(&frames.next()?, rows)?,
            tcp_us: decode_options(&frames.next()?, rows)?,
            tls_us: decode_options(&frames.next()?, rows)?,
            http_us: decode_options(&frames.next()?, rows)?,
            duration_us: decode_options(&frames.next()?, rows)?,
        };
        frames.end()?;
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode_probes, encode_probes};
    use super::*;

    #[test]
    fn samples_come_back() {
        let samples = [
            ProbeSample {
                seq: 0,
                ts_ns: 1_795_350_483_000_000_042,
                mono_ns: 77,
                address: "127.0.0.1:443".into(),
                status: Some(200),
                dns_us: Some(0),
                tcp_us: Some(150),
                tls_us: Some(900),
                http_us: Some(1_200),
                duration_us: 2_400,
                ..ProbeSample::default()
            },
            ProbeSample {
                seq: 1,
                ts_ns: 1_795_350_488_000_000_000,
                mono_ns: 5_000_000_077,
                outcome: ProbeOutcome::Fail,
                phase: "tcp".into(),
                error_class: "refused".into(),
                error: "connection refused".into(),
                duration_us: 31,
                ..ProbeSample::default()
            },
        ];
        let mut columns = ProbeColumns::default();
        samples.iter().for_each(|sample| columns.push(sample));
        let encoded = encode_probes(&columns);
        let declared =
            Declared { codec: 2, row_count: samples.len(), raw_bytes: encoded.raw_bytes };
        let decoded = decode_probes(declared, &encoded.data).expect("ours");
        assert_eq!(decoded, columns);
    }
}
