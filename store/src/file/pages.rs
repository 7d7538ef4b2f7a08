//! Reads rows of tables straight from the pages of a database file.
//!
//! SQLite parses a file's whole schema before it gives the first row, which for
//! hundreds of files takes longer than all their metadata. This reader knows just
//! enough of the format to walk the tables that a bundle is made of, and reads of
//! a chunk's row the columns before its bytes. It is for files that nobody writes
//! to; [`super::Reader`] asks SQLite for the others.
//!
//! No number of a page is trusted: pages, cells and lengths are checked against
//! the file, and a tree cannot be deeper or larger than the file has pages.
//! <https://sqlite.org/fileformat2.html>

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rusqlite::types::ValueRef;

use super::{HEADER_BYTES, SchemaObject};

/// What is wrong with a file, for [`crate::Error::Damaged`].
type Result<T> = std::result::Result<T, String>;

/// Deepest tree that is read; one of a file as large as can be is shallower.
const MAX_DEPTH: usize = 20;

/// How much of a long value is read at once, at first and at most.
const FIRST_READ_BYTES: usize = 1 << 16;
const MOST_READ_BYTES: usize = 1 << 18;

/// Table in which SQLite lists all others.
const SCHEMA_TABLE: &str = "sqlite_schema";

/// A table: first page of its tree, and whether its first column is the key that
/// SQLite stores outside the row.
#[derive(Clone, Copy, Debug)]
struct Table {
    root: u32,
    has_row_key: bool,
}

/// A database file whose tables are read by page.
#[derive(Debug)]
pub(crate) struct Pages {
    file: File,
    page_size: usize,
    /// Bytes of a page that hold data.
    usable: usize,
    page_count: u32,
    tables: HashMap<String, Table>,
    objects: Vec<SchemaObject>,
}

impl Pages {
    /// Reads the schema of a file whose header is sound. `None` if texts are not
    /// in UTF-8 or the file is of a kind that this reader does not know.
    pub(crate) fn open(file: File, header: &[u8; HEADER_BYTES]) -> Result<Option<Self>> {
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        let usable = page_size.saturating_sub(usize::from(header[20]));
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let page_count = u32::try_from(length / page_size.max(1) as u64).unwrap_or(u32::MAX);
        let is_utf8 = header[56..60] == [0, 0, 0, 1];
        let is_rollback = header[18] == 1 && header[19] == 1;
        if !page_size.is_power_of_two() || usable < 480 || !is_utf8 || !is_rollback {
            return Ok(None);
        }
        let mut pages = Self {
            file,
            page_size,
            usable,
            page_count,
            tables: HashMap::new(),
            objects: Vec::new(),
        };
        pages.read_schema()?;
        Ok(Some(pages))
    }

    /// Every object of the schema.
    pub(crate) fn objects(&self) -> &[SchemaObject] {
        &self.objects
    }

    fn read_schema(&mut self) -> Result<()> {
        let (mut tables, mut objects) = (HashMap::new(), Vec::new());
        let schema = Table { root: 1, has_row_key: false };
        self.walk(SCHEMA_TABLE, schema, None, &mut |row| {
            let &[kind, name, _, root, sql] = row else {
                return Err("its schema has other columns than SQLite's".to_owned());
            };
            let text = |value: ValueRef<'_>| match value {
                ValueRef::Text(text) => std::str::from_utf8(text).ok().map(str::to_owned),
                _ => None,
            };
            let (Some(kind), Some(name), sql) = (text(kind), text(name), text(sql)) else {
                return Ok(());
            };
            if let (ValueRef::Integer(root), "table") = (root, kind.as_str()) {
                let is_key = |sql: &str| sql.contains("id INTEGER PRIMARY KEY,");
                let has_row_key = sql.as_deref().is_some_and(is_key);
                let root = u32::try_from(root).unwrap_or_default();
                tables.insert(name.clone(), Table { root, has_row_key });
            }
            objects.push((kind, name, sql));
            Ok(())
        })?;
        (self.tables, self.objects) = (tables, objects);
        Ok(())
    }

    /// Gives every row of a table. If `columns` is given, only so many are, the
    /// next column is given as its length, and none may be long.
    pub(crate) fn for_each(
        &self,
        table: &str,
        columns: Option<usize>,
        take: &mut dyn FnMut(&[ValueRef<'_>]) -> Result<()>,
    ) -> Result<()> {
        let found = self.tables.get(table).ok_or_else(|| format!("its table {table} is gone"))?;
        self.walk(table, *found, columns, take)
    }

    fn walk(
        &self,
        name: &str,
        table: Table,
        columns: Option<usize>,
        take: &mut dyn FnMut(&[ValueRef<'_>]) -> Result<()>,
    ) -> Result<()> {
        let left_bytes = u64::from(self.page_count) * self.page_size as u64;
        let mut walk =
            Walk { pages: self, table, columns, left: self.page_count, left_bytes, take };
        walk.page(table.root, 0).map_err(|wrong| wrong.tell(name))
    }

    /// The last column of the row with a key, column number `column`: bytes.
    /// `None` if the table has no such row.
    pub(crate) fn bytes(&self, table: &str, key: i64, column: usize) -> Result<Option<Vec<u8>>> {
        let found = self.tables.get(table).filter(|table| table.has_row_key);
        let found = found.ok_or_else(|| format!("its table {table} is gone"))?;
        self.find(found.root, key, column).map_err(|wrong| wrong.tell(table))
    }

    fn find(
        &self,
        root: u32,
        key: i64,
        column: usize,
    ) -> std::result::Result<Option<Vec<u8>>, Wrong> {
        let mut number = root;
        for _ in 0..MAX_DEPTH {
            let page = self.read(number)?;
            let head = Head::read(&page, number)?;
            if !head.is_table {
                return Err(Wrong::Pages);
            }
            let mut child = head.last_child;
            for place in head.places(&page)? {
                let mut cell = self.cell(&page, place)?;
                if head.is_inner {
                    let left = cell.split_off(..4).ok_or(Wrong::Pages)?;
                    if key <= varint(&mut cell)? as i64 {
                        child = Some(u32::from_be_bytes([left[0], left[1], left[2], left[3]]));
                        break;
                    }
                    continue;
                }
                let size = usize::try_from(varint(&mut cell)?).map_err(|_| Wrong::Pages)?;
                if varint(&mut cell)? as i64 == key {
                    return self.column(cell, size, column).map(Some);
                }
            }
            let Some(child) = child else { return Ok(None) };
            number = child;
        }
        Err(Wrong::Pages)
    }

    /// The bytes of the last column of a row of `size` bytes that begins in `cell`.
    fn column(
        &self,
        cell: &[u8],
        size: usize,
        column: usize,
    ) -> std::result::Result<Vec<u8>, Wrong> {
        let local = self.local(size, true);
        let payload = cell.get(..local).ok_or(Wrong::Pages)?;
        let mut head = payload;
        let head_size = usize::try_from(varint(&mut head)?).map_err(|_| Wrong::Pages)?;
        let mut types = payload.get(payload.len() - head.len()..head_size).ok_or(Wrong::Pages)?;
        let mut start = head_size;
        for _ in 0..column {
            start = start.saturating_add(value_size(varint(&mut types)?)?);
        }
        let code = varint(&mut types)?;
        let is_bytes = code >= 12 && code.is_multiple_of(2);
        let length = value_size(code)?;
        if !is_bytes || !types.is_empty() || start.checked_add(length) != Some(size) {
            return Err(Wrong::Pages);
        }
        let local_bytes = payload.get(start..).ok_or(Wrong::Pages)?;
        if local == size {
            return Ok(local_bytes.to_vec());
        }
        let first = cell.get(local..).and_then(<[u8]>::first_chunk::<4>).ok_or(Wrong::Pages)?;
        self.overflow(local_bytes, length, u32::from_be_bytes(*first))
    }

    /// What a page has from a place on.
    fn cell<'a>(&self, page: &'a [u8], place: usize) -> std::result::Result<&'a [u8], Wrong> {
        page.get(place..self.usable).ok_or(Wrong::Pages)
    }

    /// Bytes of a row that are in its page.
    fn local(&self, size: usize, is_table: bool) -> usize {
        let most = if is_table { self.usable - 35 } else { (self.usable - 12) * 64 / 255 - 23 };
        if size <= most {
            return size;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (size - least) % (self.usable - 4);
        if fitting <= most { fitting } else { least }
    }

    /// Bytes that begin with `local` and go on in pages from `first` on. These mostly
    /// lie one after another, so they are read many at a time, as long as they do.
    fn overflow(
        &self,
        local: &[u8],
        size: usize,
        first: u32,
    ) -> std::result::Result<Vec<u8>, Wrong> {
        if size as u64 > u64::from(self.page_count) * self.page_size as u64 {
            return Err(Wrong::Pages);
        }
        let (mut whole, mut next) = (Vec::with_capacity(size), first);
        whole.extend_from_slice(local);
        let (mut block, mut most) = (Vec::new(), FIRST_READ_BYTES / self.page_size);
        while whole.len() < size {
            let wanted = (size - whole.len()).div_ceil(self.usable - 4).min(most.max(1)) as u32;
            let first = next;
            self.read_some(first, wanted, &mut block)?;
            most = (2 * most).min(MOST_READ_BYTES / self.page_size);
            for (page, number) in block.chunks_exact(self.page_size).zip(first..) {
                if next != number {
                    most = 1;
                    break;
                }
                next = u32::from_be_bytes([page[0], page[1], page[2], page[3]]);
                let more = (size - whole.len()).min(self.usable - 4);
                whole.extend_from_slice(&page[4..4 + more]);
            }
        }
        Ok(whole)
    }

    fn read(&self, page: u32) -> std::result::Result<Vec<u8>, Wrong> {
        let mut bytes = Vec::new();
        self.read_some(page, 1, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads pages into `bytes`: the first, and as many of the next ones as there are.
    fn read_some(
        &self,
        page: u32,
        wanted: u32,
        bytes: &mut Vec<u8>,
    ) -> std::result::Result<(), Wrong> {
        if page == 0 || page > self.page_count {
            return Err(Wrong::Pages);
        }
        let wanted = wanted.min(self.page_count - page + 1);
        bytes.resize(wanted as usize * self.page_size, 0);
        let at = u64::from(page - 1) * self.page_size as u64;
        self.file.read_exact_at(bytes, at).map_err(Wrong::Io)
    }
}

/// Why a walk ends early.
enum Wrong {
    /// Who takes the rows says so.
    Rows(String),
    Pages,
    Io(std::io::Error),
}

impl Wrong {
    fn tell(self, table: &str) -> String {
        match self {
            Self::Rows(reason) => reason,
            Self::Pages => format!("the pages of its table {table} are wrong"),
            Self::Io(error) => format!("its table {table} cannot be read: {error}"),
        }
    }
}

/// What a page of a tree begins with.
struct Head {
    is_inner: bool,
    is_table: bool,
    /// Where the places of its cells are.
    places: std::ops::Range<usize>,
    /// The page behind the last cell, if it is an inner one.
    last_child: Option<u32>,
}

impl Head {
    fn read(page: &[u8], number: u32) -> std::result::Result<Self, Wrong> {
        let start = if number == 1 { HEADER_BYTES } else { 0 };
        let head = page.get(start..start + 12).ok_or(Wrong::Pages)?;
        let (is_inner, is_table) = match head[0] {
            2 => (true, false),
            5 => (true, true),
            10 => (false, false),
            13 => (false, true),
            _ => return Err(Wrong::Pages),
        };
        let cell_count = usize::from(u16::from_be_bytes([head[3], head[4]]));
        let places = start + if is_inner { 12 } else { 8 };
        let last_child = [head[8], head[9], head[10], head[11]];
        Ok(Self {
            is_inner,
            is_table,
            places: places..places + 2 * cell_count,
            last_child: is_inner.then(|| u32::from_be_bytes(last_child)),
        })
    }

    /// Where each cell of the page begins.
    fn places<'a>(
        &self,
        page: &'a [u8],
    ) -> std::result::Result<impl Iterator<Item = usize> + 'a, Wrong> {
        let places = page.get(self.places.clone()).ok_or(Wrong::Pages)?;
        Ok(places.as_chunks::<2>().0.iter().map(|place| usize::from(u16::from_be_bytes(*place))))
    }
}

/// A walk through the tree of one table.
struct Walk<'a> {
    pages: &'a Pages,
    table: Table,
    columns: Option<usize>,
    /// Pages that the tree may still have.
    left: u32,
    /// Bytes that its rows may still have: cells may name the same bytes again.
    left_bytes: u64,
    take: &'a mut dyn FnMut(&[ValueRef<'_>]) -> Result<()>,
}

impl Walk<'_> {
    fn page(&mut self, number: u32, depth: usize) -> std::result::Result<(), Wrong> {
        self.left = self.left.checked_sub(1).ok_or(Wrong::Pages)?;
        if depth > MAX_DEPTH {
            return Err(Wrong::Pages);
        }
        let page = self.pages.read(number)?;
        let head = Head::read(&page, number)?;
        for place in head.places(&page)? {
            let mut cell = self.pages.cell(&page, place)?;
            if head.is_inner {
                let child = cell.split_off(..4).ok_or(Wrong::Pages)?;
                let child = [child[0], child[1], child[2], child[3]];
                self.page(u32::from_be_bytes(child), depth + 1)?;
            }
            // Only the leaves of a table hold its rows, but all pages of an index.
            if !(head.is_inner && head.is_table) {
                self.cell(cell, head.is_table)?;
            }
        }
        if let Some(last) = head.last_child {
            self.page(last, depth + 1)?;
        }
        Ok(())
    }

    fn cell(&mut self, mut cell: &[u8], is_table: bool) -> std::result::Result<(), Wrong> {
        let size = usize::try_from(varint(&mut cell)?).map_err(|_| Wrong::Pages)?;
        let key = if is_table { Some(varint(&mut cell)? as i64) } else { None };
        let key = key.filter(|_| self.table.has_row_key);
        let local = self.pages.local(size, is_table);
        let payload = cell.get(..local).ok_or(Wrong::Pages)?;
        let is_whole = local == size || self.columns.is_some();
        let taken = if is_whole { local } else { size } as u64;
        self.left_bytes = self.left_bytes.checked_sub(taken).ok_or(Wrong::Pages)?;
        if is_whole {
            return self.record(payload, key);
        }
        let rest = cell.get(local..).and_then(<[u8]>::first_chunk::<4>).ok_or(Wrong::Pages)?;
        let whole = self.pages.overflow(payload, size, u32::from_be_bytes(*rest))?;
        self.record(&whole, key)
    }

    fn record(&mut self, payload: &[u8], key: Option<i64>) -> std::result::Result<(), Wrong> {
        let mut head = payload;
        let head_size = usize::try_from(varint(&mut head)?).map_err(|_| Wrong::Pages)?;
        let mut types = payload.get(payload.len() - head.len()..head_size).ok_or(Wrong::Pages)?;
        let mut body = &payload[head_size..];
        let mut values = [ValueRef::Null; 24];
        let mut count = 0;
        while !types.is_empty() {
            let code = varint(&mut types)?;
            let value = values.get_mut(count).ok_or(Wrong::Pages)?;
            if self.columns == Some(count) {
                let length = code.checked_sub(12).ok_or(Wrong::Pages)? / 2;
                *value = ValueRef::Integer(length as i64);
                count += 1;
                break;
            }
            *value = read_value(code, &mut body)?;
            count += 1;
        }
        if let (Some(key), Some(first)) = (key, values.first_mut()) {
            *first = ValueRef::Integer(key);
        }
        (self.take)(&values[..count]).map_err(Wrong::Rows)
    }
}

/// Bytes of a value of this type.
fn value_size(code: u64) -> std::result::Result<usize, Wrong> {
    Ok(match code {
        0 | 8 | 9 => 0,
        1..=4 => code as usize,
        5 => 6,
        6 | 7 => 8,
        10 | 11 => return Err(Wrong::Pages),
        _ => usize::try_from((code - 12) / 2).map_err(|_| Wrong::Pages)?,
    })
}

/// A value of a record, cut off the front of its bytes.
fn read_value<'a>(code: u64, body: &mut &'a [u8]) -> std::result::Result<ValueRef<'a>, Wrong> {
    let (bytes, rest) = body.split_at_checked(value_size(code)?).ok_or(Wrong::Pages)?;
    *body = rest;
    Ok(match code {
        0 => ValueRef::Null,
        1..=6 => {
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            ValueRef::Integer(bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte)))
        }
        7 => {
            let bits = bytes.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
            ValueRef::Real(f64::from_bits(bits))
        }
        8 => ValueRef::Integer(0),
        9 => ValueRef::Integer(1),
        code if code % 2 == 0 => ValueRef::Blob(bytes),
        _ => ValueRef::Text(bytes),
    })
}

/// A number of one to nine bytes, cut off the front of some bytes.
fn varint(bytes: &mut &[u8]) -> std::result::Result<u64, Wrong> {
    let mut value = 0;
    for at in 0..9 {
        let byte = *bytes.get(at).ok_or(Wrong::Pages)?;
        if at == 8 {
            value = value << 8 | u64::from(byte);
        } else {
            value = value << 7 | u64::from(byte & 0x7f);
        }
        if at == 8 || byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Ok(value);
        }
    }
    Err(Wrong::Pages)
}
