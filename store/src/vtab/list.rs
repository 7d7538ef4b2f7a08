//! Tables that are lists: they answer from what is known of chunks, and read
//! little or nothing of them.
#![expect(
    unsafe_code,
    reason = "rusqlite's virtual table traits are unsafe: their structs begin with SQLite's own, \
              as #[repr(C)] and the first field make sure"
)]

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection,
    VTabCursor,
};
use rusqlite::{Connection, Error, Result, ffi};

use super::plan::{Comparison, Filter, Push};
use crate::bundle::Catalogue;

/// A table whose rows come from an iterator.
pub(crate) trait ListTable: 'static {
    /// Name in SQL.
    const NAME: &'static CStr;
    /// `CREATE TABLE` statement that declares the columns, each with a comment.
    const SCHEMA: &'static CStr;
    /// Columns that, compared with `=`, help to choose rows, by number.
    const PUSHES: &'static [(c_int, Push)] = &[];
    /// A row.
    type Row: 'static;

    /// All rows that the filter lets through, asked for once a scan.
    fn rows(
        catalogue: &Arc<Catalogue>,
        filter: &Filter,
    ) -> impl Iterator<Item = Self::Row> + 'static;

    /// Number of a row, which is the `nth` of its scan: the same in every scan, as SQLite
    /// tells by it whether two conditions joined by OR found the same row. Tables that
    /// push nothing have one scan.
    fn rowid(_: &Self::Row, nth: i64) -> i64 {
        nth
    }

    /// Gives column number `column` of a row to SQLite.
    fn column(
        catalogue: &Catalogue,
        row: &Self::Row,
        column: c_int,
        context: &mut Context,
    ) -> Result<()>;
}

/// Makes a table known to a connection.
pub(crate) fn register<T: ListTable>(
    connection: &Connection,
    catalogue: &Arc<Catalogue>,
) -> Result<()> {
    connection.create_module(T::NAME, const { &module::<T>() }, Some(catalogue.clone()))?;
    super::document(connection, T::NAME, T::SCHEMA)
}

const fn module<T: ListTable>() -> Module<'static, Table<T>> {
    Module::eponymous_only_module()
}

#[repr(C)]
struct Table<T> {
    base: ffi::sqlite3_vtab,
    catalogue: Arc<Catalogue>,
    marker: PhantomData<T>,
}

// SAFETY: `Table` is #[repr(C)] and begins with `sqlite3_vtab`.
unsafe impl<'vtab, T: ListTable> VTab<'vtab> for Table<T> {
    type Aux = Arc<Catalogue>;
    type Cursor = Cursor<T>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module_name: &[u8],
        _database_name: &[u8],
        _table_name: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        db.config(VTabConfig::Innocuous)?;
        let catalogue = aux.cloned().unwrap_or_default();
        let table = Self { base: ffi::sqlite3_vtab::default(), catalogue, marker: PhantomData };
        Ok((Cow::Borrowed(T::SCHEMA), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let mut plan = String::new();
        let mut used = Vec::new();
        for (at, constraint) in info.constraints().enumerate() {
            let push = T::PUSHES.iter().position(|(column, _)| *column == constraint.column());
            let is_equal = constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ;
            // Texts under another collation are equal more often than we think.
            if let Some(push) = push.filter(|_| is_equal && constraint.is_usable())
                && info.collation(at)? == "BINARY"
            {
                plan.push(char::from(b'a' + push as u8));
                used.push(at);
            }
        }
        for (argument, at) in used.iter().enumerate() {
            info.constraint_usage(*at).set_argv_index(argument as c_int + 1);
        }
        let share = 4_f64.powi(-(used.len() as i32));
        info.set_estimated_cost((self.catalogue.chunks.len() as f64).mul_add(share, 100.0));
        info.set_idx_str(&plan);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Cursor<T>> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            catalogue: self.catalogue.clone(),
            rows: Box::new(std::iter::empty()),
            row: None,
            number: 0,
        })
    }
}

#[repr(C)]
struct Cursor<T: ListTable> {
    base: ffi::sqlite3_vtab_cursor,
    catalogue: Arc<Catalogue>,
    rows: Box<dyn Iterator<Item = T::Row>>,
    row: Option<T::Row>,
    number: i64,
}

// SAFETY: `Cursor` is #[repr(C)] and begins with `sqlite3_vtab_cursor`.
unsafe impl<T: ListTable> VTabCursor for Cursor<T> {
    fn filter(&mut self, _: c_int, plan: Option<&str>, values: &Filters<'_>) -> Result<()> {
        let mut filter = Filter::default();
        for (step, value) in plan.unwrap_or_default().bytes().zip(values.iter()) {
            let (_, push) = T::PUSHES[usize::from(step - b'a')];
            filter.add(push, Comparison::Equal, value).map_err(Error::ModuleError)?;
        }
        self.rows = Box::new(T::rows(&self.catalogue, &filter));
        self.number = 0;
        self.row = self.rows.next();
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.number += 1;
        self.row = self.rows.next();
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        match &self.row {
            Some(row) => T::column(&self.catalogue, row, column, context),
            None => context.set_result(rusqlite::types::Null),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.row.as_ref().map_or(0, |row| T::rowid(row, self.number)))
    }
}
