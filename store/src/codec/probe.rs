//! Codec 2: probe samples as stretches, and one column for each other field.
//!
//! What all samples of a stretch have in common is in the head ([`stretch`]).
//! Samples begin on a grid, so a time is stored as how far it is off, in the
//! largest unit that all times of the chunk are whole numbers of.
//!
//! [`stretch`]: super::stretch

use super::columns::{from_option, put_numbers, take_numbers, unzigzag, zigzag};
use super::frames::{FrameWriter, Frames};
use super::log::bits::bit_cost;
use super::stretch::{Head, Instant, Section};
use super::texts::Texts;
use super::{Declared, damaged};
use crate::Result;
use crate::batch::{ProbeOutcome, ProbeSample};

/// Nanoseconds of each unit of time, by its number.
const UNITS: [i64; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

/// Offsets from the grid as they are.
const PLAIN: u8 = 0;
/// Each offset as a difference to that of the row before.
const DIFFERENCES: u8 = 1;

/// Columns of probe samples, row after row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProbeColumns {
    instant: Vec<Instant>,
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
    duration_us: Vec<u64>,
}

impl ProbeColumns {
    pub(crate) fn push(&mut self, sample: &ProbeSample) {
        let ProbeSample { ts_ns, mono_ns, .. } = *sample;
        self.instant.push(Instant { ts_ns, mono_ns, seq: sample.seq as i64 });
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
        self.duration_us.push(sample.duration_us);
    }

    /// Adds rows of another chunk.
    pub(crate) fn extend(&mut self, from: &Self, rows: std::ops::Range<usize>) {
        self.instant.extend(&from.instant[rows.clone()]);
        self.outcome.extend(&from.outcome[rows.clone()]);
        self.phase.extend(&from.phase, rows.clone());
        self.error_class.extend(&from.error_class, rows.clone());
        self.error.extend(&from.error, rows.clone());
        self.address.extend(&from.address, rows.clone());
        self.status.extend(&from.status[rows.clone()]);
        self.dns_us.extend(&from.dns_us[rows.clone()]);
        self.tcp_us.extend(&from.tcp_us[rows.clone()]);
        self.tls_us.extend(&from.tls_us[rows.clone()]);
        self.http_us.extend(&from.http_us[rows.clone()]);
        self.duration_us.extend(&from.duration_us[rows]);
    }

    pub(crate) fn len(&self) -> usize {
        self.instant.len()
    }

    /// When a sample began, and its number.
    pub(crate) fn instant(&self, row: usize) -> Instant {
        self.instant[row]
    }

    pub(crate) fn outcome(&self, row: usize) -> ProbeOutcome {
        ProbeOutcome::from_byte(self.outcome[row])
    }

    /// Whether two samples have the same outcome, phase and class of error.
    pub(super) fn ended_alike(&self, row: usize, other: usize) -> bool {
        self.outcome(row) == self.outcome(other)
            && self.phase.is_same(row, other)
            && self.error_class.is_same(row, other)
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

    pub(crate) fn duration_us(&self, row: usize) -> u64 {
        self.duration_us[row]
    }

    /// Microseconds of the phases that a sample came to, together.
    fn phases_us(&self, row: usize) -> u64 {
        [&self.dns_us, &self.tcp_us, &self.tls_us, &self.http_us]
            .into_iter()
            .filter_map(|phase| phase[row])
            .fold(0, u64::wrapping_add)
    }

    /// How far each row but the first of each stretch is off the grid, and how
    /// far the wall clock is off the other one.
    fn offsets(&self, head: &Head) -> (Vec<i64>, Vec<i64>) {
        let (mut grid, mut wall) = (Vec::new(), Vec::new());
        let mut first = 0;
        for stretch in &head.stretches {
            for row in first + 1..first + stretch.row_count {
                let (this, before) = (self.instant[row], self.instant[row - 1]);
                let steps = (row - first) as i64;
                let expected = stretch.interval_ns.wrapping_mul(steps);
                let since = this.mono_ns.wrapping_sub(self.instant[first].mono_ns);
                grid.push(since.wrapping_sub(expected));
                let mono = this.mono_ns.wrapping_sub(before.mono_ns);
                wall.push(this.ts_ns.wrapping_sub(before.ts_ns).wrapping_sub(mono));
            }
            first += stretch.row_count;
        }
        (grid, wall)
    }

    /// Raw size and bytes. Sections must have as many rows as there are.
    pub(super) fn encode(&self, sections: &[Section], level: i32) -> (usize, Vec<u8>) {
        let head = Head::of(self, sections);
        let (mut grid, mut wall) = self.offsets(&head);
        let grid_unit = take_unit(&mut grid);
        let wall_unit = take_unit(&mut wall);
        let differences: Vec<i64> = std::iter::once(&0)
            .chain(&grid)
            .zip(&grid)
            .map(|(before, this)| this.wrapping_sub(*before))
            .collect();
        let cost = |values: &[i64]| values.iter().map(|v| bit_cost(zigzag(*v))).sum::<u64>();
        let (way, grid) = if cost(&differences) < cost(&grid) {
            (DIFFERENCES, differences)
        } else {
            (PLAIN, grid)
        };
        let mut columns = vec![head.encode(), vec![grid_unit, way, wall_unit]];
        put_numbers(&mut columns, grid.iter().map(|value| zigzag(*value)));
        put_numbers(&mut columns, wall.iter().map(|value| zigzag(*value)));
        for option in [&self.status, &self.dns_us, &self.tcp_us, &self.tls_us, &self.http_us] {
            put_numbers(&mut columns, option.iter().map(|value| from_option(*value)));
        }
        let rests = self
            .duration_us
            .iter()
            .enumerate()
            .map(|(row, duration)| zigzag(duration.wrapping_sub(self.phases_us(row)) as i64));
        put_numbers(&mut columns, rests);
        columns.extend([self.error.encode(), self.address.encode()]);
        let mut frames = FrameWriter::new(level);
        columns.iter().for_each(|column| frames.put(column));
        (columns.iter().map(Vec::len).sum(), frames.finish())
    }

    pub(super) fn decode(declared: Declared, data: &[u8]) -> Result<Self> {
        let rows = declared.row_count;
        let mut frames = Frames::new(data, declared.raw_bytes);
        let head = Head::decode(&frames.next()?, &declared)?;
        let mut columns = Self { instant: instants(&head, &mut frames, rows)?, ..Self::default() };
        let mut options = || -> Result<Vec<Option<u64>>> {
            let numbers = take_numbers(&mut frames, rows)?;
            Ok(numbers.into_iter().map(|number| number.checked_sub(1)).collect())
        };
        columns.status = options()?;
        columns.dns_us = options()?;
        columns.tcp_us = options()?;
        columns.tls_us = options()?;
        columns.http_us = options()?;
        let rests = take_numbers(&mut frames, rows)?.into_iter().enumerate();
        columns.duration_us = rests
            .map(|(row, rest)| columns.phases_us(row).wrapping_add(unzigzag(rest) as u64))
            .collect();
        columns.error = Texts::decode(&frames.next()?, rows)?;
        columns.address = Texts::decode(&frames.next()?, rows)?;
        frames.end()?;
        let mut first = 0;
        for stretch in &head.stretches {
            let durations = &columns.duration_us[first..first + stretch.row_count];
            let total = durations.iter().fold(0, |sum: u64, us| sum.saturating_add(*us));
            if durations.last() != Some(&stretch.last_duration_us)
                || durations.iter().max() != Some(&stretch.max_duration_us)
                || total != stretch.total_duration_us
                || columns.instant[first + stretch.row_count - 1] != stretch.last
                || columns.error(first) != head.words.get(stretch.error)
                || columns.address(first) != head.words.get(stretch.address)
            {
                return Err(damaged("the rows of a stretch are not what its head says"));
            }
            first += stretch.row_count;
        }
        columns.outcome = spread(&head, |stretch| stretch.outcome);
        columns.phase = head.words.texts(spread(&head, |stretch| stretch.phase))?;
        columns.error_class = head.words.texts(spread(&head, |stretch| stretch.error_class))?;
        Ok(columns)
    }
}

/// What a stretch says, for each of its rows.
fn spread<T: Clone>(head: &Head, field: fn(&super::Stretch) -> T) -> Vec<T> {
    let rows = |stretch| std::iter::repeat_n(field(stretch), stretch.row_count);
    head.stretches.iter().flat_map(rows).collect()
}

/// Divides by the largest unit that all values are whole numbers of. Its number.
fn take_unit(values: &mut [i64]) -> u8 {
    let fits = |unit: &i64| values.iter().all(|value| value % unit == 0);
    let at = UNITS.iter().rposition(fits).unwrap_or(0);
    values.iter_mut().for_each(|value| *value /= UNITS[at]);
    at as u8
}

/// When each sample began.
fn instants(head: &Head, frames: &mut Frames<'_>, rows: usize) -> Result<Vec<Instant>> {
    let ways = frames.next()?;
    let [grid_unit, way, wall_unit] = ways[..] else {
        return Err(damaged("times have an unknown form"));
    };
    let unit = |unit: u8| UNITS.get(usize::from(unit)).ok_or_else(|| damaged("a unit is unknown"));
    let (grid_unit, wall_unit) = (unit(grid_unit)?, unit(wall_unit)?);
    if way > DIFFERENCES {
        return Err(damaged("times have an unknown form"));
    }
    let others = rows - head.stretches.len();
    let mut grid = take_numbers(frames, others)?.into_iter();
    let mut wall = take_numbers(frames, others)?.into_iter();
    let mut instants = Vec::with_capacity(rows);
    let mut offset = 0_i64;
    for stretch in &head.stretches {
        let mut instant = stretch.first;
        instants.push(instant);
        for step in 1..stretch.row_count as i64 {
            let number = unzigzag(grid.next().unwrap_or_default());
            offset = if way == PLAIN { number } else { offset.wrapping_add(number) };
            let expected = stretch.interval_ns.wrapping_mul(step);
            let mono_ns = stretch
                .first
                .mono_ns
                .wrapping_add(expected)
                .wrapping_add(offset.wrapping_mul(*grid_unit));
            let wall = unzigzag(wall.next().unwrap_or_default()).wrapping_mul(*wall_unit);
            let ts_ns = instant
                .ts_ns
                .wrapping_add(mono_ns.wrapping_sub(instant.mono_ns))
                .wrapping_add(wall);
            instant = Instant { ts_ns, mono_ns, seq: instant.seq.wrapping_add(1) };
            instants.push(instant);
        }
    }
    Ok(instants)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{decode_head, decode_probes, encode_probes, head_length};
    use super::*;

    /// Encodes and decodes samples in sections.
    fn check(samples: &[ProbeSample], sections: &[Section]) {
        let mut columns = ProbeColumns::default();
        samples.iter().for_each(|sample| columns.push(sample));
        let encoded = encode_probes(&columns, sections, 3);
        let declared =
            Declared { codec: 2, row_count: samples.len(), raw_bytes: encoded.raw_bytes };
        let decoded = decode_probes(declared, &encoded.data).expect("ours");
        assert_eq!(decoded, columns);
        let length = head_length(&encoded.data).expect("ours");
        let head = decode_head(declared, &encoded.data[..length]).expect("ours");
        assert_eq!(head, Head::of(&columns, sections));
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[a-c]", any::<String>()]
    }

    /// Samples that mostly go on as they were, and now and then do not.
    fn samples() -> impl Strategy<Value = Vec<ProbeSample>> {
        let time = prop_oneof![8 => Just(0_i64), 4 => -9_000_000..9_000_000_i64, 1 => any::<i64>()];
        let texts = (text(), text(), text(), text());
        let us = || proptest::option::of(prop_oneof![0..10_000_u64, 0..u64::MAX]);
        let phases = (proptest::option::of(any::<u16>()), us(), us(), us(), us());
        let sample = (0..3_u8, time, any::<u64>(), texts, phases);
        proptest::collection::vec((sample, 1..6_u64), 0..20).prop_map(|parts| {
            let mut all = Vec::new();
            for ((outcome, time, number, texts, phases), count) in parts {
                for nth in 0..count {
                    let grid = (all.len() as i64).wrapping_mul(5_000_000_000);
                    all.push(ProbeSample {
                        seq: if number % 5 == 0 { number } else { all.len() as u64 },
                        ts_ns: grid.wrapping_add(1_795_350_483_000_000_000),
                        mono_ns: grid.wrapping_add(time),
                        outcome: ProbeOutcome::from_byte(outcome),
                        phase: texts.0.clone(),
                        error_class: texts.1.clone(),
                        error: texts.2.clone(),
                        address: texts.3.clone(),
                        status: phases.0,
                        dns_us: phases.1,
                        tcp_us: phases.2,
                        tls_us: phases.3,
                        http_us: phases.4,
                        duration_us: number.wrapping_mul(nth),
                    });
                }
            }
            all
        })
    }

    proptest! {
        #[test]
        fn any_samples_come_back(
            samples in samples(),
            cut in any::<prop::sample::Index>(),
            interval_ns in prop_oneof![Just(5_000_000_000), Just(0), any::<i64>()],
        ) {
            let first = if samples.is_empty() { 0 } else { cut.index(samples.len()) };
            let section = |row_count| Section { row_count, interval_ns };
            if !samples.is_empty() {
                check(&samples, &[section(first), section(samples.len() - first)]);
            }
        }

        #[test]
        fn any_bytes_are_refused(
            bytes: Vec<u8>, row_count in 0..100_usize, raw_bytes in 0..1000_usize,
        ) {
            let _ = decode_head(Declared { codec: 2, row_count, raw_bytes }, &bytes);
            let _ = decode_probes(Declared { codec: 2, row_count, raw_bytes }, &bytes);
        }
    }

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
        check(&samples, &[Section { row_count: 2, interval_ns: 5_000_000_000 }]);
    }
}
