//! The head of a probe chunk: samples in a row that ended alike, as one stretch.
//!
//! Most of a day is one success after another. Whoever asks when something
//! changed reads this first frame of a chunk and never its latencies. A stretch
//! ends wherever anybody could see a change, a gap or a step of the clock, and
//! ends once too often rather than not. It never reaches beyond its stream.
//!
//! What rows of a stretch have in common is stored here and nowhere else.

use super::columns::{Reader, put_varint, unzigzag, zigzag};
use super::frames::Frames;
use super::probe::ProbeColumns;
use super::texts::Texts;
use super::{Declared, damaged};
use crate::Result;
use crate::batch::ProbeOutcome;

/// Longest time between two samples of a stretch, in intervals of its target.
const MAX_STEP_INTERVALS: i64 = 2;

/// Most that the wall clock gains or loses between two samples of a stretch.
const MAX_CLOCK_STEP_NS: u64 = 1_000_000_000;

/// When a sample began, and its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instant {
    /// Wall clock in nanoseconds since 1970.
    pub(crate) ts_ns: i64,
    /// Clock that never jumps.
    pub(crate) mono_ns: i64,
    /// Number of the sample in its session and target.
    pub(crate) seq: i64,
}

impl Instant {
    /// Whether a sample may be of one stretch with that which began at `before`.
    pub(crate) fn follows(&self, before: &Self, interval_ns: i64) -> bool {
        let wall = self.ts_ns.saturating_sub(before.ts_ns);
        let mono = self.mono_ns.saturating_sub(before.mono_ns);
        self.seq.checked_sub(1) == Some(before.seq)
            && wall > 0
            && mono > 0
            && mono <= interval_ns.saturating_mul(MAX_STEP_INTERVALS)
            && wall.abs_diff(mono) <= MAX_CLOCK_STEP_NS
    }
}

/// Rows of one stream, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// How many they are.
    pub(crate) row_count: usize,
    /// Time from one sample to the next as it should be, 0 if nobody knows.
    pub(crate) interval_ns: i64,
}

/// Samples in a row that ended alike. Texts are numbers of words of the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) row_count: usize,
    pub(crate) outcome: u8,
    pub(crate) phase: u32,
    pub(crate) error_class: u32,
    /// What the system said to the first.
    pub(crate) error: u32,
    /// Address that the first connected to.
    pub(crate) address: u32,
    /// Step of the grid that the times of its rows are near to.
    pub(crate) interval_ns: i64,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
    pub(crate) last_duration_us: u64,
    pub(crate) total_duration_us: u64,
    pub(crate) max_duration_us: u64,
}

impl Stretch {
    pub(crate) fn outcome(&self) -> ProbeOutcome {
        ProbeOutcome::from_byte(self.outcome)
    }
}

/// All stretches of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) words: Words,
    pub(crate) stretches: Vec<Stretch>,
}

/// Texts, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    texts: Vec<String>,
}

impl Words {
    pub(crate) fn get(&self, word: u32) -> &str {
        self.texts.get(word as usize).map_or("", String::as_str)
    }

    /// A column of these words.
    pub(super) fn texts(&self, codes: Vec<u32>) -> Result<Texts> {
        Texts::of(&self.texts, codes)
    }

    fn number_of(&mut self, text: &str) -> u32 {
        // The last few are nearly always the ones that come again; one that is
        // not found among them is stored twice, which is no mistake.
        let recent = self.texts.len().saturating_sub(64);
        let found = self.texts[recent..].iter().rposition(|known| known == text);
        let at = found.map_or_else(
            || {
                self.texts.push(text.to_owned());
                self.texts.len() - 1
            },
            |at| recent + at,
        );
        at as u32
    }
}

impl Head {
    /// Finds the stretches of rows.
    pub(super) fn of(columns: &ProbeColumns, sections: &[Section]) -> Self {
        let mut head = Self::default();
        let mut at = 0;
        for section in sections {
            let past = at + section.row_count;
            while at < past {
                let next = (at + 1..past)
                    .find(|row| !goes_on(columns, *row, section.interval_ns))
                    .unwrap_or(past);
                head.push(columns, at, next, section.interval_ns);
                at = next;
            }
        }
        head
    }

    fn push(&mut self, columns: &ProbeColumns, first: usize, past: usize, interval_ns: i64) {
        let durations = (first..past).map(|row| columns.duration_us(row));
        let stretch = Stretch {
            row_count: past - first,
            outcome: columns.outcome(first) as u8,
            phase: self.words.number_of(columns.phase(first)),
            error_class: self.words.number_of(columns.error_class(first)),
            error: self.words.number_of(columns.error(first)),
            address: self.words.number_of(columns.address(first)),
            interval_ns,
            first: columns.instant(first),
            last: columns.instant(past - 1),
            last_duration_us: columns.duration_us(past - 1),
            total_duration_us: durations.clone().fold(0, u64::saturating_add),
            max_duration_us: durations.max().unwrap_or(0),
        };
        self.stretches.push(stretch);
    }

    /// The frame's raw bytes: the words, then a column for each field.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.stretches.len() as u64);
        put_varint(&mut out, self.words.texts.len() as u64);
        for text in &self.words.texts {
            put_varint(&mut out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        let plain: [fn(&Stretch) -> u64; 6] = [
            |stretch| stretch.row_count as u64,
            |stretch| u64::from(stretch.outcome),
            |stretch| u64::from(stretch.phase),
            |stretch| u64::from(stretch.error_class),
            |stretch| u64::from(stretch.error),
            |stretch| u64::from(stretch.address),
        ];
        for field in plain {
            self.stretches.iter().for_each(|stretch| put_varint(&mut out, field(stretch)));
        }
        let signed: [fn(&Stretch, &Stretch) -> i64; 6] = [
            |stretch, before| stretch.interval_ns.wrapping_sub(before.interval_ns),
            |stretch, before| stretch.first.seq.wrapping_sub(before.last.seq),
            |stretch, before| stretch.first.ts_ns.wrapping_sub(before.last.ts_ns),
            |stretch, before| stretch.first.mono_ns.wrapping_sub(before.last.mono_ns),
            |stretch, _| {
                let steps = (stretch.row_count as i64).wrapping_sub(1);
                let grid = stretch.interval_ns.wrapping_mul(steps);
                stretch.last.mono_ns.wrapping_sub(stretch.first.mono_ns).wrapping_sub(grid)
            },
            |stretch, _| {
                let mono = stretch.last.mono_ns.wrapping_sub(stretch.first.mono_ns);
                stretch.last.ts_ns.wrapping_sub(stretch.first.ts_ns).wrapping_sub(mono)
            },
        ];
        let nothing = Stretch::default();
        for field in signed {
            let mut before = &nothing;
            for stretch in &self.stretches {
                put_varint(&mut out, zigzag(field(stretch, before)));
                before = stretch;
            }
        }
        let durations: [fn(&Stretch) -> u64; 3] = [
            |stretch| stretch.last_duration_us,
            |stretch| stretch.max_duration_us,
            |stretch| stretch.total_duration_us,
        ];
        for field in durations {
            self.stretches.iter().for_each(|stretch| put_varint(&mut out, field(stretch)));
        }
        out
    }

    /// The opposite of [`Head::encode`], all checked but what only rows can tell.
    pub(super) fn decode(raw: &[u8], declared: &Declared) -> Result<Self> {
        let mut reader = Reader::new(raw);
        let count = reader.count(declared.row_count)?;
        let word_count = reader.count(raw.len())?;
        let texts = (0..word_count)
            .map(|_| {
                let length = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
                let text = std::str::from_utf8(reader.take(length)?)
                    .map_err(|_| damaged("a word of a dictionary is no text"))?;
                Ok(text.to_owned())
            })
            .collect::<Result<Vec<_>>>()?;
        let mut stretches = vec![Stretch::default(); count.min(raw.len())];
        let mut rows = 0_usize;
        for stretch in &mut stretches {
            stretch.row_count = reader.count(declared.row_count)?;
            rows = rows.saturating_add(stretch.row_count);
            if stretch.row_count == 0 {
                return Err(damaged("a stretch has no rows"));
            }
        }
        if rows != declared.row_count || stretches.len() != count {
            return Err(damaged("stretches have another number of rows"));
        }
        for stretch in &mut stretches {
            stretch.outcome = reader.count(2)? as u8;
        }
        let texts_of: [fn(&mut Stretch) -> &mut u32; 4] = [
            |stretch| &mut stretch.phase,
            |stretch| &mut stretch.error_class,
            |stretch| &mut stretch.error,
            |stretch| &mut stretch.address,
        ];
        for field in texts_of {
            for stretch in &mut stretches {
                let word = reader.count(word_count)?;
                if word == word_count {
                    return Err(damaged("a row names a word that its dictionary lacks"));
                }
                *field(stretch) = word as u32;
            }
        }
        decode_instants(&mut reader, &mut stretches)?;
        let durations: [fn(&mut Stretch) -> &mut u64; 3] = [
            |stretch| &mut stretch.last_duration_us,
            |stretch| &mut stretch.max_duration_us,
            |stretch| &mut stretch.total_duration_us,
        ];
        for field in durations {
            for stretch in &mut stretches {
                *field(stretch) = reader.varint()?;
            }
        }
        reader.end()?;
        Ok(Self { words: Words { texts }, stretches })
    }
}

/// Reads the six signed columns, some of which are told by the stretch before.
fn decode_instants(reader: &mut Reader<'_>, stretches: &mut [Stretch]) -> Result<()> {
    let mut column =
        || stretches.iter().map(|_| Ok(unzigzag(reader.varint()?))).collect::<Result<Vec<i64>>>();
    let (intervals, seqs) = (column()?, column()?);
    let (times, monos) = (column()?, column()?);
    let (grid_errors, clock_errors) = (column()?, column()?);
    let (mut interval_ns, mut before) = (0_i64, Instant::default());
    for (at, stretch) in stretches.iter_mut().enumerate() {
        let steps = stretch.row_count as i64 - 1;
        interval_ns = interval_ns.wrapping_add(intervals[at]);
        let first = Instant {
            ts_ns: before.ts_ns.wrapping_add(times[at]),
            mono_ns: before.mono_ns.wrapping_add(monos[at]),
            seq: before.seq.wrapping_add(seqs[at]),
        };
        let mono = interval_ns.wrapping_mul(steps).wrapping_add(grid_errors[at]);
        let last = Instant {
            ts_ns: first.ts_ns.wrapping_add(mono).wrapping_add(clock_errors[at]),
            mono_ns: first.mono_ns.wrapping_add(mono),
            seq: first.seq.wrapping_add(steps),
        };
        (stretch.interval_ns, stretch.first, stretch.last) = (interval_ns, first, last);
        before = last;
    }
    Ok(())
}

/// Whether a sample belongs to the stretch of the one before it.
fn goes_on(columns: &ProbeColumns, row: usize, interval_ns: i64) -> bool {
    columns.ended_alike(row, row - 1)
        && columns.instant(row).follows(&columns.instant(row - 1), interval_ns)
}

/// The head of a probe chunk from the first bytes of it.
pub(crate) fn decode_head(declared: Declared, data: &[u8]) -> Result<Head> {
    declared.expect(super::PROBE)?;
    Head::decode(&Frames::new(data, declared.raw_bytes).next()?, &declared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::ProbeSample;

    const SECOND: i64 = 1_000_000_000;

    /// Lengths of the stretches of six samples, the fourth and later of which
    /// `change` has changed.
    fn lengths(change: impl Fn(&mut ProbeSample)) -> Vec<usize> {
        let mut columns = ProbeColumns::default();
        for seq in 0..6 {
            let offset = seq as i64 * 5 * SECOND;
            let (ts_ns, mono_ns) = (1_795_350_483 * SECOND + offset, offset);
            let mut sample = ProbeSample { seq, ts_ns, mono_ns, ..ProbeSample::default() };
            if seq >= 3 {
                change(&mut sample);
            }
            columns.push(&sample);
        }
        let head = Head::of(&columns, &[Section { row_count: 6, interval_ns: 5 * SECOND }]);
        head.stretches.iter().map(|stretch| stretch.row_count).collect()
    }

    fn late(sample: &mut ProbeSample, ns: i64) {
        sample.ts_ns += ns;
        sample.mono_ns += ns;
    }

    #[test]
    fn a_stretch_ends_where_something_changes() {
        let whole: &[usize] = &[6];
        let parted: &[usize] = &[3, 3];
        let check = |expected: &[usize], change: fn(&mut ProbeSample)| {
            assert_eq!(lengths(change), expected);
        };
        check(whole, |_| {});
        check(whole, |sample| sample.duration_us = 7);
        check(whole, |sample| sample.error = "no answer from 192.0.2.7".to_owned());
        check(parted, |sample| sample.outcome = ProbeOutcome::Fail);
        check(parted, |sample| sample.phase = "tcp".to_owned());
        check(parted, |sample| sample.error_class = "timeout".to_owned());
        check(parted, |sample| sample.seq += 1);
        // A sample up to an interval late, and the wall clock up to a second.
        check(whole, |sample| late(sample, 5 * SECOND));
        check(parted, |sample| late(sample, 5 * SECOND + 1));
        check(parted, |sample| late(sample, -5 * SECOND));
        check(whole, |sample| sample.ts_ns -= SECOND);
        check(parted, |sample| sample.ts_ns -= SECOND + 1);
        check(parted, |sample| sample.ts_ns += SECOND + 1);
        check(&[3, 1, 1, 1], |sample| (sample.ts_ns, sample.mono_ns) = (i64::MIN, i64::MAX));
    }

    #[test]
    fn without_an_interval_every_sample_is_a_stretch() {
        let mut columns = ProbeColumns::default();
        for seq in 0..3 {
            let ns = seq as i64 + 1;
            columns.push(&ProbeSample { seq, ts_ns: ns, mono_ns: ns, ..ProbeSample::default() });
        }
        let head = Head::of(&columns, &[Section { row_count: 3, interval_ns: 0 }]);
        assert_eq!(head.stretches.len(), 3);
    }
}
