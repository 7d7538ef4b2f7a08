//! Tables that are lists: they answer from what is known of chunks, and read none.
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
    Context, Filters, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
};
use rusqlite::{Connection, Result, ffi};

use crate::bundle::Catalogue;

/// A table whose rows are all known when a query begins.
pub(crate) trait ListTable: 'static {
    /// Name in SQL.
    const NAME: &'static CStr;
    /// `CREATE TABLE` statement that declares the columns, each with a comment.
    const SCHEMA: &'static CStr;
    /// A row.
    type Row: 'static;

    /// All rows, asked for once a scan.
    fn rows(catalogue: &Catalogue) -> Vec<Self::Row>;

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
        info.set_estimated_cost(self.catalogue.chunks.len() as f64 + 100.0);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Cursor<T>> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            catalogue: self.catalogue.clone(),
            rows: Vec::new(),
            row: 0,
        })
    }
}

#[repr(C)]
struct Cursor<T: ListTable> {
    base: ffi::sqlite3_vtab_cursor,
    catalogue: Arc<Catalogue>,
    rows: Vec<T::Row>,
    row: usize,
}

// SAFETY: `Cursor` is #[repr(C)] and begins with `sqlite3_vtab_cursor`.
unsafe impl<T: ListTable> VTabCursor for Cursor<T> {
    fn filter(&mut self, _: c_int, _: Option<&str>, _: &Filters<'_>) -> Result<()> {
        self.rows = T::rows(&self.catalogue);
        self.row = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.row += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row >= self.rows.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        T::column(&self.catalogue, &self.rows[self.row], column, context)
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.row as i64)
    }
}
