//! Codec 3: host samples as times, names and values.

use super::columns::{decode_steps, encode_steps};
use super::frames::{FrameWriter, Frames};
use super::texts::Texts;
use super::{Declared, damaged};
use crate::Result;
use crate::batch::HostSample;

/// Columns of host samples, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SampleColumns {
    ts_ns: Vec<i64>,
    name: Texts,
    value: Vec<f64>,
}

impl SampleColumns {
    pub(crate) fn push(&mut self, sample: &HostSample) {
        self.ts_ns.push(sample.ts_ns);
        self.name.push(&sample.name);
        self.value.push(sample.value);
    }

    /// Adds rows of another chunk.
    pub(crate) fn extend(&mut self, from: &Self, rows: std::ops::Range<usize>) {
        self.ts_ns.extend(&from.ts_ns[rows.clone()]);
        self.name.extend(&from.name, rows.clone());
        self.value.extend(&from.value[rows]);
    }

    pub(crate) fn len(&self) -> usize {
        self.ts_ns.len()
    }

    pub(crate) fn ts_ns(&self, row: usize) -> i64 {
        self.ts_ns[row]
    }

    pub(crate) fn name(&self, row: usize) -> &str {
        self.name.get(row)
    }

    pub(crate) fn value(&self, row: usize) -> f64 {
        self.value[row]
    }

    pub(super) fn encode(&self, level: i32) -> (usize, Vec<u8>) {
        let values = self.value.iter().flat_map(|value| value.to_le_bytes()).collect();
        let columns = [encode_steps(&self.ts_ns), self.name.encode(), values];
        let mut frames = FrameWriter::new(level);
        columns.iter().for_each(|column: &Vec<u8>| frames.put(column));
        (columns.iter().map(Vec::len).sum(), frames.finish())
    }

    pub(super) fn decode(declared: Declared, data: &[u8]) -> Result<Self> {
        let rows = declared.row_count;
        let mut frames = Frames::new(data, declared.raw_bytes);
        let ts_ns = decode_steps(&frames.next()?, rows)?;
        let name = Texts::decode(&frames.next()?, rows)?;
        let bytes = frames.next()?;
        frames.end()?;
        let (values, rest) = bytes.as_chunks::<8>();
        if values.len() != rows || !rest.is_empty() {
            return Err(damaged("columns differ in length"));
        }
        Ok(Self { ts_ns, name, value: values.iter().map(|v| f64::from_le_bytes(*v)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode_samples, encode_samples};
    use super::*;

    #[test]
    fn samples_come_back() {
        let mut columns = SampleColumns::default();
        columns.push(&HostSample { ts_ns: 5, name: "load1".into(), value: 0.25 });
        columns.push(&HostSample { ts_ns: 5, name: "load5".into(), value: f64::MAX });
        let encoded = encode_samples(&columns, 3);
        let declared = Declared { codec: 3, row_count: 2, raw_bytes: encoded.raw_bytes };
        assert_eq!(decode_samples(declared, &encoded.data).expect("ours"), columns);
    }
}
