//! Rows as a Parquet file, for programs that read columns.
//!
//! A column of Parquet has one type; SQLite's values have one each. So all rows are read
//! first, into memory and beyond a bound into a file without a name, and the types follow
//! from them:
//!
//! - whole numbers are INT64;
//! - numbers are DOUBLE, unless a whole one among them would lose digits;
//! - texts are `BYTE_ARRAY` annotated as UTF-8, BLOBs `BYTE_ARRAY`;
//! - anything else, and a column of nothing but NULL, is text, each value as CSV has it.
//!
//! Every column may have NULL.

use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use rusqlite::Statement;
use rusqlite::types::ValueRef;
use tempfile::SpooledTempFile;

use super::format::text;
use super::progress::Progress;

/// Bytes of rows that are held in memory; more are in a file.
const HELD_BYTES: usize = 32 << 20;

/// Rows and bytes after which a row group ends.
const GROUP_ROWS: usize = 1 << 16;
const GROUP_BYTES: usize = 32 << 20;

/// Whole numbers up to this are numbers without a loss.
const EXACT: u64 = 1 << 53;

/// Writes the rows of a statement whose parameters are set.
///
/// # Errors
///
/// If it fails, or there is no room for its rows.
pub(super) fn print(
    statement: &mut Statement<'_>,
    names: &[String],
    progress: &Progress,
    out: &mut (impl Write + Send),
) -> Result<()> {
    let (mut spool, kinds, mut left) = spool(statement, names.len(), progress)?;
    let kinds: Vec<Kind> = kinds.into_iter().map(Seen::kind).collect();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(out, schema(names, &kinds)?, Arc::new(properties))?;
    while left > 0 {
        let mut columns: Vec<Cells> = kinds.iter().map(|kind| Cells::new(*kind)).collect();
        let (mut rows, mut bytes) = (0, 0);
        while left > 0 && rows < GROUP_ROWS && bytes < GROUP_BYTES {
            for column in &mut columns {
                let value = read(&mut spool).context("reading rows back")?;
                bytes += 16 + value.length();
                column.push(&value);
            }
            rows += 1;
            left -= 1;
        }
        let mut group = writer.next_row_group()?;
        columns.iter().try_for_each(|column| column.write(&mut group))?;
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

/// All rows one after another, what was seen of each column, and how many rows there are.
fn spool(
    statement: &mut Statement<'_>,
    count: usize,
    progress: &Progress,
) -> Result<(BufReader<SpooledTempFile>, Vec<Seen>, u64)> {
    let mut spool = BufWriter::new(SpooledTempFile::new(HELD_BYTES));
    let mut seen = vec![Seen::default(); count];
    let mut left = 0;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().context("asking")? {
        for (at, seen) in seen.iter_mut().enumerate() {
            let value = row.get_ref(at)?;
            seen.add(value);
            write(&mut spool, value).context(
                "keeping rows until their types are known\nhint: TMPDIR names the folder",
            )?;
        }
        left += 1;
        progress.row_held();
    }
    let mut spool = spool.into_inner().context("keeping rows until their types are known")?;
    spool.seek(SeekFrom::Start(0)).context("reading rows back")?;
    Ok((BufReader::new(spool), seen, left))
}

/// What kinds of values a column has.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind of value")]
struct Seen {
    integer: bool,
    /// A whole number that DOUBLE cannot hold.
    large: bool,
    real: bool,
    text: bool,
    blob: bool,
}

impl Seen {
    fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(number) => {
                self.integer = true;
                self.large |= number.unsigned_abs() > EXACT;
            }
            ValueRef::Real(_) => self.real = true,
            ValueRef::Text(_) => self.text = true,
            ValueRef::Blob(_) => self.blob = true,
        }
    }

    fn kind(self) -> Kind {
        match (self.integer, self.real, self.text, self.blob) {
            (true, false, false, false) => Kind::Integer,
            (_, true, false, false) if !self.large => Kind::Real,
            (false, false, false, true) => Kind::Blob,
            _ => Kind::Text,
        }
    }
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Real,
    Text,
    Blob,
}

/// One value of a row, kept.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Value {
    fn length(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Blob(bytes) => bytes.len(),
            _ => 0,
        }
    }

    fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

/// Writes a value: a byte that says what it is, then it.
fn write(to: &mut impl Write, value: ValueRef<'_>) -> std::io::Result<()> {
    let bytes = |to: &mut _, tag, bytes: &[u8]| {
        let to: &mut dyn Write = to;
        to.write_all(&[tag])?;
        to.write_all(&(bytes.len() as u64).to_le_bytes())?;
        to.write_all(bytes)
    };
    match value {
        ValueRef::Null => to.write_all(&[0]),
        ValueRef::Integer(number) => {
            to.write_all(&[1])?;
            to.write_all(&number.to_le_bytes())
        }
        ValueRef::Real(number) => {
            to.write_all(&[2])?;
            to.write_all(&number.to_le_bytes())
        }
        ValueRef::Text(text) => bytes(to, 3, text),
        ValueRef::Blob(blob) => bytes(to, 4, blob),
    }
}

/// Reads what [`write()`] wrote.
fn read(from: &mut impl Read) -> std::io::Result<Value> {
    let mut tag = [0];
    from.read_exact(&mut tag)?;
    if tag[0] == 0 {
        return Ok(Value::Null);
    }
    let mut number = [0; 8];
    from.read_exact(&mut number)?;
    match tag[0] {
        1 => return Ok(Value::Integer(i64::from_le_bytes(number))),
        2 => return Ok(Value::Real(f64::from_le_bytes(number))),
        _ => {}
    }
    let mut bytes = Vec::new();
    let length = u64::from_le_bytes(number);
    if from.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(if tag[0] == 3 { Value::Text(bytes) } else { Value::Blob(bytes) })
}

/// Names and types of the columns. Readers ask columns by name, so that one which is there
/// twice gets a number.
fn schema(names: &[String], kinds: &[Kind]) -> Result<Arc<Type>> {
    let mut fields = Vec::new();
    let mut given: Vec<String> = Vec::new();
    for (name, kind) in names.iter().zip(kinds) {
        let mut unique = name.clone();
        let mut number = 2;
        while given.contains(&unique) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        let (physical, logical) = match kind {
            Kind::Integer => (Physical::INT64, None),
            Kind::Real => (Physical::DOUBLE, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Blob => (Physical::BYTE_ARRAY, None),
        };
        let field = Type::primitive_type_builder(&unique, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()?;
        fields.push(Arc::new(field));
        given.push(unique);
    }
    ensure!(!fields.is_empty(), "the answer has no columns");
    Ok(Arc::new(Type::group_type_builder("rows").with_fields(fields).build()?))
}

/// Values of a column in a row group, and which rows have one.
struct Cells {
    there: Vec<i16>,
    values: Values,
}

enum Values {
    Integers(Vec<i64>),
    Reals(Vec<f64>),
    Texts(Vec<ByteArray>),
    Blobs(Vec<ByteArray>),
}

impl Cells {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Integer => Values::Integers(Vec::new()),
            Kind::Real => Values::Reals(Vec::new()),
            Kind::Text => Values::Texts(Vec::new()),
            Kind::Blob => Values::Blobs(Vec::new()),
        };
        Self { there: Vec::new(), values }
    }

    fn push(&mut self, value: &Value) {
        self.there.push(i16::from(*value != Value::Null));
        match (&mut self.values, value) {
            (_, Value::Null) => {}
            (Values::Integers(all), Value::Integer(number)) => all.push(*number),
            (Values::Reals(all), Value::Integer(number)) => all.push(*number as f64),
            (Values::Reals(all), Value::Real(number)) => all.push(*number),
            (Values::Blobs(all), Value::Blob(bytes)) => all.push(bytes.clone().into()),
            (Values::Texts(all) | Values::Blobs(all), value) => {
                let text = text(value.as_ref()).unwrap_or_default();
                all.push(text.into_bytes().into());
            }
            // A kind holds all values that were seen.
            (Values::Integers(_) | Values::Reals(_), _) => {
                if let Some(there) = self.there.last_mut() {
                    *there = 0;
                }
            }
        }
    }

    fn write<W: Write + Send>(&self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        let mut column = group.next_column()?.context("a column more than the schema has")?;
        let there = Some(&self.there[..]);
        match &self.values {
            Values::Integers(all) => column.typed::<Int64Type>().write_batch(all, there, None)?,
            Values::Reals(all) => column.typed::<DoubleType>().write_batch(all, there, None)?,
            Values::Texts(all) | Values::Blobs(all) => {
                column.typed::<ByteArrayType>().write_batch(all, there, None)?
            }
        };
        Ok(column.close()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_from_values() {
        let check = |values: &[ValueRef<'_>], expected| {
            let mut seen = Seen::default();
            values.iter().for_each(|value| seen.add(*value));
            assert_eq!(seen.kind(), expected, "{values:?}");
        };
        let (one, half) = (ValueRef::Integer(1), ValueRef::Real(0.5));
        let (word, bytes) = (ValueRef::Text(b"a"), ValueRef::Blob(b"b"));
        check(&[], Kind::Text);
        check(&[ValueRef::Null], Kind::Text);
        check(&[one, ValueRef::Null, ValueRef::Integer(i64::MIN)], Kind::Integer);
        check(&[half], Kind::Real);
        check(&[one, half], Kind::Real);
        check(&[half, ValueRef::Integer(i64::MAX)], Kind::Text);
        check(&[word, one], Kind::Text);
        check(&[bytes, ValueRef::Null], Kind::Blob);
        check(&[bytes, word], Kind::Text);
    }

    #[test]
    fn values_are_kept_as_they_are() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real(-0.5),
            Value::Text(b"\xff text".to_vec()),
            Value::Blob(Vec::new()),
        ];
        let mut bytes = Vec::new();
        values.iter().for_each(|value| write(&mut bytes, value.as_ref()).expect("written"));
        let mut from = &bytes[..];
        let found: Vec<_> = values.iter().map(|_| read(&mut from).expect("read")).collect();
        assert_eq!(found, values);
        assert!(read(&mut from).is_err() && read(&mut &bytes[..3]).is_ok());
        assert!(read(&mut &[3, 9, 0, 0, 0, 0, 0, 0, 0, 1][..]).is_err());
    }

    #[test]
    fn a_name_that_is_there_twice_gets_a_number() {
        let names = ["a", "a", "a_2", "a"].map(str::to_owned);
        let schema = schema(&names, &[Kind::Text; 4]).expect("a schema");
        let found: Vec<_> = schema.get_fields().iter().map(|field| field.name()).collect();
        assert_eq!(found, ["a", "a_2", "a_2_2", "a_3"]);
    }
}
