//! A table of the host: a window into one of the bundle.
#![expect(
    unsafe_code,
    reason = "SQLite calls these functions, with structs that begin with its own, as #[repr(C)] \
              and the first field make sure"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::rc::Rc;

use rusqlite::ffi;

use crate::api::{Api, guard};
use crate::desk::Desk;
use crate::inner::{Column, Failure, Inner, Statement};
use crate::plan::{Order, Term, plan, quoted};

/// Name of the module: `CREATE VIRTUAL TABLE temp.log USING periscope('log')`.
pub(crate) const NAME: &CStr = c"periscope";

/// What SQLite may ask of a table. Nothing can be written.
pub(crate) static MODULE: ffi::sqlite3_module = ffi::sqlite3_module {
    iVersion: 1,
    xCreate: Some(connect),
    xConnect: Some(connect),
    xBestIndex: Some(best_index),
    xDisconnect: Some(disconnect),
    xDestroy: Some(disconnect),
    xOpen: Some(open),
    xClose: Some(close),
    xFilter: Some(filter),
    xNext: Some(next),
    xEof: Some(eof),
    xColumn: Some(column),
    xRowid: Some(rowid),
    xUpdate: None,
    xBegin: None,
    xSync: None,
    xCommit: None,
    xRollback: None,
    xFindFunction: None,
    xRename: None,
    xSavepoint: None,
    xRelease: None,
    xRollbackTo: None,
    xShadowName: None,
    xIntegrity: None,
};

#[repr(C)]
struct Table {
    base: ffi::sqlite3_vtab,
    api: Api,
    inner: Rc<Inner>,
    name: String,
    columns: Vec<String>,
    rows: f64,
}

#[repr(C)]
struct Cursor {
    base: ffi::sqlite3_vtab_cursor,
    statement: Option<Statement>,
    is_on_row: bool,
    /// Rows before this one.
    number: i64,
}

impl Table {
    /// Notes why a call failed, where SQLite looks for it.
    fn fail(&mut self, failure: &Failure) -> c_int {
        // SAFETY: SQLite leaves it to us until it takes it, and frees it then.
        unsafe { self.api.free(self.base.zErrMsg.cast()) };
        self.base.zErrMsg = self.api.text(&failure.text);
        if failure.is_over { ffi::SQLITE_INTERRUPT } else { ffi::SQLITE_ERROR }
    }
}

unsafe extern "C" fn connect(
    db: *mut ffi::sqlite3,
    desk: *mut c_void,
    count: c_int,
    arguments: *const *const c_char,
    table: *mut *mut ffi::sqlite3_vtab,
    message: *mut *mut c_char,
) -> c_int {
    guard(ffi::SQLITE_ERROR, || {
        // SAFETY: SQLite gives back the desk, and that many texts.
        let (desk, names) = unsafe {
            let count = usize::try_from(count).unwrap_or(0);
            let text = |at| CStr::from_ptr(*arguments.add(at)).to_string_lossy().into_owned();
            (&*desk.cast::<Desk>(), (0..count).map(text).collect::<Vec<_>>())
        };
        match make(desk, db, names.get(3).map_or("", String::as_str)) {
            Ok(made) => {
                // SAFETY: SQLite says where the table belongs.
                unsafe { *table = Box::into_raw(Box::new(made)).cast() };
                ffi::SQLITE_OK
            }
            Err(text) => {
                // SAFETY: as above, of the text.
                unsafe { *message = desk.api.text(&text) };
                ffi::SQLITE_ERROR
            }
        }
    })
}

/// The table of a name, which may be in quotes.
fn make(desk: &Desk, db: *mut ffi::sqlite3, name: &str) -> Result<Table, String> {
    let inner = desk.inner()?;
    let bare = name.trim().strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
    let name = bare.map_or_else(|| name.trim().to_owned(), |name| name.replace("''", "'"));
    let columns = inner.columns(&name)?;
    if columns.is_empty() {
        return Err(format!(
            "the bundle has no table {name}\nhint: SELECT periscope_open('BUNDLE') makes all tables"
        ));
    }
    let cells: Vec<_> =
        columns.iter().map(|Column { name, kind }| format!("{} {kind}", quoted(name))).collect();
    let sql = CString::new(format!("CREATE TABLE x ({})", cells.join(", ")));
    let sql = sql.map_err(|_| "a name holds a NUL".to_owned())?;
    // SAFETY: SQLite has asked for it.
    let code = unsafe {
        desk.api.is_innocuous(db);
        desk.api.declare_vtab(db, sql.as_ptr())
    };
    if code != ffi::SQLITE_OK {
        return Err(format!("SQLite refuses the columns of {name} with code {code}"));
    }
    Ok(Table {
        base: ffi::sqlite3_vtab { pModule: std::ptr::null(), nRef: 0, zErrMsg: null_mut() },
        api: desk.api,
        rows: inner.rows(&name),
        inner,
        name,
        columns: columns.into_iter().map(|column| column.name).collect(),
    })
}

unsafe extern "C" fn disconnect(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: SQLite calls it once, with what `connect` made.
    guard((), || drop(unsafe { Box::from_raw(table.cast::<Table>()) }));
    ffi::SQLITE_OK
}

/// The array of a C struct, which is null if it is empty.
///
/// # Safety
///
/// It must have that many elements, and outlive what is done with it.
unsafe fn array<'a, T>(first: *const T, count: c_int) -> &'a [T] {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the caller says so.
    if first.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

unsafe extern "C" fn best_index(
    table: *mut ffi::sqlite3_vtab,
    info: *mut ffi::sqlite3_index_info,
) -> c_int {
    guard(ffi::SQLITE_ERROR, || {
        // SAFETY: SQLite gives a table of ours, and a struct that it lets us fill.
        unsafe {
            let (table, info) = (&*table.cast::<Table>(), &mut *info);
            let api = table.api;
            let info_address = std::ptr::from_mut(info);
            let terms: Vec<_> = array(info.aConstraint, info.nConstraint)
                .iter()
                .enumerate()
                .map(|(at, constraint)| Term {
                    column: constraint.iColumn,
                    operator: constraint.op,
                    is_usable: constraint.usable != 0,
                    is_binary: {
                        let name = api.vtab_collation(info_address, at as c_int);
                        !name.is_null() && CStr::from_ptr(name) == c"BINARY"
                    },
                })
                .collect();
            let order: Vec<_> = array(info.aOrderBy, info.nOrderBy)
                .iter()
                .map(|order| Order { column: order.iColumn, is_descending: order.desc != 0 })
                .collect();
            let made = plan(&table.name, &table.columns, table.rows, &terms, &order, info.colUsed);
            for (argument, (at, is_owned)) in made.used.iter().enumerate() {
                let usage = &mut *info.aConstraintUsage.add(*at);
                usage.argvIndex = argument as c_int + 1;
                usage.omit = u8::from(*is_owned);
            }
            info.idxStr = api.text(&made.sql);
            info.needToFreeIdxStr = 1;
            info.orderByConsumed = c_int::from(made.is_ordered);
            info.estimatedCost = made.cost;
            info.estimatedRows = made.rows as i64;
            if info.idxStr.is_null() { ffi::SQLITE_NOMEM } else { ffi::SQLITE_OK }
        }
    })
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vtab,
    cursor: *mut *mut ffi::sqlite3_vtab_cursor,
) -> c_int {
    guard(ffi::SQLITE_ERROR, || {
        let base = ffi::sqlite3_vtab_cursor { pVtab: null_mut() };
        let made = Cursor { base, statement: None, is_on_row: false, number: 0 };
        // SAFETY: SQLite says where the cursor belongs.
        unsafe { *cursor = Box::into_raw(Box::new(made)).cast() };
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn close(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: SQLite calls it once, with what `open` made.
    guard((), || drop(unsafe { Box::from_raw(cursor.cast::<Cursor>()) }));
    ffi::SQLITE_OK
}

unsafe extern "C" fn filter(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    _: c_int,
    sql: *const c_char,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) -> c_int {
    guard(ffi::SQLITE_ERROR, || {
        // SAFETY: SQLite gives a cursor of ours, what `best_index` wrote, and that many
        // values.
        unsafe {
            let cursor = &mut *cursor.cast::<Cursor>();
            let table = &mut *cursor.base.pVtab.cast::<Table>();
            let sql = CStr::from_ptr(sql).to_string_lossy();
            let values: Vec<_> =
                array(values, count).iter().map(|value| table.api.read(*value)).collect();
            match cursor.begin(&table.inner, &sql, &values) {
                Ok(()) => ffi::SQLITE_OK,
                Err(failure) => table.fail(&failure),
            }
        }
    })
}

impl Cursor {
    /// Goes to the first row. A join asks the same again and again with other values.
    fn begin(
        &mut self,
        inner: &Rc<Inner>,
        sql: &str,
        values: &[crate::api::Value],
    ) -> Result<(), Failure> {
        self.is_on_row = false;
        self.number = 0;
        let statement = match self.statement.take() {
            Some(statement) if statement.sql == sql => statement,
            _ => Statement::new(inner, sql)?,
        };
        let statement = self.statement.insert(statement);
        statement.begin(values)?;
        self.is_on_row = statement.step()?;
        Ok(())
    }
}

unsafe extern "C" fn next(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    guard(ffi::SQLITE_ERROR, || {
        // SAFETY: SQLite gives a cursor of ours.
        let (cursor, table) = unsafe {
            let cursor = &mut *cursor.cast::<Cursor>();
            let table = &mut *cursor.base.pVtab.cast::<Table>();
            (cursor, table)
        };
        let step = cursor.statement.as_mut().map_or(Ok(false), Statement::step);
        cursor.is_on_row = matches!(step, Ok(true));
        cursor.number += 1;
        step.map_or_else(|failure| table.fail(&failure), |_| ffi::SQLITE_OK)
    })
}

unsafe extern "C" fn eof(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: SQLite gives a cursor of ours.
    c_int::from(!unsafe { &*cursor.cast::<Cursor>() }.is_on_row)
}

unsafe extern "C" fn column(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    context: *mut ffi::sqlite3_context,
    at: c_int,
) -> c_int {
    guard(ffi::SQLITE_ERROR, || {
        // SAFETY: SQLite gives a cursor of ours, and waits for the value.
        unsafe {
            let cursor = &*cursor.cast::<Cursor>();
            let table = &*cursor.base.pVtab.cast::<Table>();
            if let Some(statement) = &cursor.statement {
                statement.give(table.api, context, at);
            }
        }
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn rowid(cursor: *mut ffi::sqlite3_vtab_cursor, number: *mut i64) -> c_int {
    // SAFETY: SQLite gives a cursor of ours, and says where the number belongs.
    unsafe { *number = (*cursor.cast::<Cursor>()).number };
    ffi::SQLITE_OK
}
