//! Columns of texts with few different values.

use std::collections::HashMap;

use super::columns::{Reader, put_varint};
use super::damaged;
use crate::Result;

/// Column of texts with few different values: a dictionary, then a code a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    words: Vec<String>,
    codes: Vec<u32>,
    /// Codes by word, once there are more than a few; only while it is built.
    by_word: HashMap<String, u32>,
}

/// Words that are found faster one by one than by a table.
const FEW_WORDS: usize = 8;

impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        let rows = self.codes.len();
        rows == other.codes.len() && (0..rows).all(|row| self.get(row) == other.get(row))
    }
}

impl Eq for Texts {}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        // The last few words are nearly always the ones that come again.
        let recent = self.words.len().saturating_sub(FEW_WORDS);
        let code = self.words[recent..]
            .iter()
            .rposition(|word| word == text)
            .map(|at| (recent + at) as u32)
            .or_else(|| self.by_word.get(text).copied())
            .unwrap_or_else(|| {
                let code = self.words.len() as u32;
                self.words.push(text.to_owned());
                self.by_word.insert(text.to_owned(), code);
                code
            });
        self.codes.push(code);
    }

    /// A column of known words, each row of which has one of them.
    pub(super) fn of(words: &[String], codes: Vec<u32>) -> Result<Self> {
        if codes.iter().any(|code| *code as usize >= words.len()) {
            return Err(damaged("a row names a word that its dictionary lacks"));
        }
        Ok(Self { words: words.to_vec(), codes, by_word: HashMap::new() })
    }

    /// Adds rows of another column.
    pub(super) fn extend(&mut self, other: &Self, rows: std::ops::Range<usize>) {
        for row in rows {
            self.push(other.get(row));
        }
    }

    /// Whether two rows have the same text.
    pub(super) fn is_same(&self, row: usize, other: usize) -> bool {
        self.codes[row] == self.codes[other] || self.get(row) == self.get(other)
    }

    pub(crate) fn get(&self, row: usize) -> &str {
        &self.words[self.codes[row] as usize]
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.words.len() as u64);
        for word in &self.words {
            put_varint(&mut out, word.len() as u64);
            out.extend_from_slice(word.as_bytes());
        }
        for code in &self.codes {
            put_varint(&mut out, u64::from(*code));
        }
        out
    }

    pub(super) fn decode(bytes: &[u8], row_count: usize) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let word_count = reader.varint()?;
        if word_count > bytes.len() as u64 {
            return Err(damaged("a dictionary has more words than bytes"));
        }
        let words = (0..word_count)
            .map(|_| {
                let length = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
                let word = std::str::from_utf8(reader.take(length)?)
                    .map_err(|_| damaged("a word of a dictionary is no text"))?;
                Ok(word.to_owned())
            })
            .collect::<Result<Vec<_>>>()?;
        let codes = (0..row_count)
            .map(|_| {
                let code = reader.varint()?;
                if code < words.len() as u64 {
                    Ok(code as u32)
                } else {
                    Err(damaged("a row names a word that its dictionary lacks"))
                }
            })
            .collect::<Result<_>>()?;
        reader.end()?;
        Ok(Self { words, codes, by_word: HashMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_come_back(values: Vec<String>) {
            let mut texts = Texts::default();
            values.iter().for_each(|text| texts.push(text));
            let decoded = Texts::decode(&texts.encode(), values.len()).expect("ours");
            prop_assert_eq!(&decoded, &texts);
            for (row, text) in values.iter().enumerate() {
                prop_assert_eq!(decoded.get(row), text);
            }
            let mut words: Vec<&String> = texts.words.iter().collect();
            words.sort();
            words.dedup();
            prop_assert_eq!(words.len(), texts.words.len(), "each word once");
        }

        #[test]
        fn any_bytes_are_refused(bytes: Vec<u8>, rows in 0..100_usize) {
            let _ = Texts::decode(&bytes, rows);
        }
    }
}
