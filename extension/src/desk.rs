//! The functions in SQL: what opens and closes a bundle, and what its tables compare by.
#![expect(unsafe_code, reason = "SQLite calls these functions, with pointers")]

use std::cell::RefCell;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use periscope_store::search::{Needle, compile};
use periscope_store::time;
use regex::bytes::Regex;
use rusqlite::ffi;

use crate::api::{Api, Function, OLDEST, Value, guard};
use crate::inner::Inner;
use crate::plan::quoted;
use crate::table;

/// What one connection of the host has open.
///
/// SQLite lets one thread at a time use a connection, so nothing here is shared.
pub(crate) struct Desk {
    /// The host's functions.
    pub(crate) api: Api,
    db: *mut ffi::sqlite3,
    open: RefCell<Option<Rc<Inner>>>,
    /// Tables that were made for it.
    made: RefCell<Vec<String>>,
    /// The last patterns: SQL mostly compares many texts by one.
    needle: RefCell<Option<(Vec<u8>, Needle)>>,
    regex: RefCell<Option<(Vec<u8>, Regex)>>,
}

/// Makes functions and tables known to a connection.
pub(crate) fn install(api: Api, db: *mut ffi::sqlite3) -> Result<(), String> {
    if api.version() < OLDEST {
        return Err("periscope: this SQLite is older than 3.26".to_owned());
    }
    if !api.settle() {
        return Err("periscope: another SQLite of this program has loaded the library".to_owned());
    }
    let desk = Box::into_raw(Box::new(Desk {
        api,
        db,
        open: RefCell::default(),
        made: RefCell::default(),
        needle: RefCell::default(),
        regex: RefCell::default(),
    }))
    .cast::<c_void>();
    // SAFETY: the module owns the desk, and is there as long as the functions are.
    let code = unsafe {
        api.create_module_v2(db, table::NAME.as_ptr(), &raw const table::MODULE, desk, Some(free))
    };
    check(code)?;
    let pure = ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_INNOCUOUS;
    let direct = ffi::SQLITE_UTF8 | ffi::SQLITE_DIRECTONLY;
    let functions: [(&CStr, c_int, c_int, Function); 5] = [
        (c"periscope_open", -1, direct, open),
        (c"periscope_close", 0, direct, close),
        (c"ts", 1, pure, ts),
        (c"match", 2, pure, matches),
        (c"regexp", 2, pure, regexp),
    ];
    for (name, arguments, flags, function) in functions {
        let null = std::ptr::null();
        // SAFETY: as above.
        check(unsafe {
            let function = Some(function);
            api.create_function_v2(
                db,
                name.as_ptr(),
                arguments,
                flags,
                desk,
                function,
                null,
                null,
                None,
            )
        })?;
    }
    Ok(())
}

fn check(code: c_int) -> Result<(), String> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        _ => Err(format!("periscope: SQLite refuses the extension with code {code}")),
    }
}

unsafe extern "C" fn free(desk: *mut c_void) {
    // SAFETY: SQLite calls it once, with what it was given.
    guard((), || drop(unsafe { Box::from_raw(desk.cast::<Desk>()) }));
}

impl Desk {
    /// The bundle that is open.
    pub(crate) fn inner(&self) -> Result<Rc<Inner>, String> {
        let open = self.open.borrow().clone();
        open.ok_or_else(|| {
            "no bundle is open\nhint: SELECT periscope_open('BUNDLE') opens one".to_owned()
        })
    }

    fn open(&self, paths: &[PathBuf]) -> Result<String, String> {
        if paths.is_empty() {
            return Err("no bundle was named\nhint: SELECT periscope_open('BUNDLE')".to_owned());
        }
        let inner = Rc::new(Inner::open(self.api, self.db, paths)?);
        self.close()?;
        *self.open.borrow_mut() = Some(Rc::clone(&inner));
        let made =
            inner.names().and_then(|names| names.into_iter().try_for_each(|name| self.make(name)));
        match made {
            Ok(()) => Ok(inner.summary()),
            Err(error) => {
                self.close()?;
                Err(error)
            }
        }
    }

    fn make(&self, name: String) -> Result<(), String> {
        let text = name.replace('\'', "''");
        let sql = format!("CREATE VIRTUAL TABLE temp.{} USING periscope('{text}')", quoted(&name));
        self.api.run(self.db, &sql).map_err(|error| {
            format!(
                "{error}\nhint: the tables of a bundle are in the schema temp, which must have \
                 none of their names: DROP TABLE temp.{name}"
            )
        })?;
        self.made.borrow_mut().push(name);
        Ok(())
    }

    /// Takes away the tables of the bundle that is open, if one is.
    fn close(&self) -> Result<(), String> {
        loop {
            // SQLite may call back while it drops a table.
            let Some(name) = self.made.borrow_mut().pop() else { break };
            let dropped =
                self.api.run(self.db, &format!("DROP TABLE IF EXISTS temp.{}", quoted(&name)));
            if let Err(error) = dropped {
                self.made.borrow_mut().push(name);
                return Err(format!(
                    "the bundle before cannot be closed: {error}\nhint: end the statements that read it"
                ));
            }
        }
        self.open.borrow_mut().take();
        Ok(())
    }
}

/// Answers a call with what `work` makes of its arguments.
///
/// # Safety
///
/// SQLite's own call must be going on.
unsafe fn answer(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
    api: Api,
    work: impl FnOnce(Vec<Value>) -> Result<Value, String>,
) {
    // SAFETY: SQLite gives that many values, which last as long as the call.
    unsafe {
        let count = usize::try_from(count).unwrap_or(0);
        let arguments = (0..count).map(|at| api.read(*values.add(at))).collect();
        let made = guard(Err("internal error of periscope".to_owned()), || work(arguments));
        match made {
            Ok(Value::Null) => api.result_null(context),
            Ok(Value::Integer(number)) => api.result_int64(context, number),
            Ok(Value::Real(number)) => api.result_double(context, number),
            Ok(Value::Text(bytes)) => api.give_bytes(context, &bytes, true),
            Ok(Value::Blob(bytes)) => api.give_bytes(context, &bytes, false),
            Err(text) => api.fail(context, &text),
        }
    }
}

/// The desk that a function was made with.
///
/// # Safety
///
/// SQLite's own call must be going on.
unsafe fn desk_of<'a>(api: Api, context: *mut ffi::sqlite3_context) -> &'a Desk {
    // SAFETY: all functions have a desk, which is there as long as they are.
    unsafe { &*api.user_data(context).cast::<Desk>() }
}

macro_rules! function {
    ($(#[$doc:meta])* $name:ident, $body:expr) => {
        $(#[$doc])*
        unsafe extern "C" fn $name(
            context: *mut ffi::sqlite3_context,
            count: c_int,
            values: *mut *mut ffi::sqlite3_value,
        ) {
            // Whoever calls has loaded the library.
            let Some(api) = Api::host() else { return };
            let body: fn(&Desk, &[Value]) -> Result<Value, String> = $body;
            // SAFETY: SQLite calls it.
            unsafe {
                let desk = desk_of(api, context);
                answer(context, count, values, api, |arguments| body(desk, &arguments));
            }
        }
    };
}

function!(
    /// `periscope_open(PATH, …)`: opens files and folders as one bundle, and says how many
    /// files there are and which are left out.
    open,
    |desk, paths| {
        let path = |value: &Value| match value {
            Value::Text(bytes) => Ok(PathBuf::from(OsStr::from_bytes(bytes))),
            _ => Err("a bundle is named by a text".to_owned()),
        };
        let paths = paths.iter().map(path).collect::<Result<Vec<_>, _>>()?;
        desk.open(&paths).map(|text| Value::Text(text.into_bytes()))
    }
);

function!(
    /// `periscope_close()`: takes the tables away.
    close,
    |desk, _| desk.close().map(|()| Value::Null)
);

function!(
    /// `ts(ns)`: a time as the tables write it.
    ts,
    |_, arguments| {
        let ns = match arguments {
            [Value::Integer(ns)] => *ns,
            // A sum of crafted times that no longer fits a whole number.
            [Value::Real(ns)] => *ns as i64,
            [Value::Null] => return Ok(Value::Null),
            _ => return Err("ts takes nanoseconds since 1970".to_owned()),
        };
        Ok(Value::Text(time::format_ns(ns).into_bytes()))
    }
);

function!(
    /// `text MATCH pattern`: contains it, ASCII letters of either case.
    matches,
    |desk, arguments| compare(
        &desk.needle,
        arguments,
        |pattern| Ok(Needle::new(pattern, true)),
        Needle::is_in
    )
);

function!(
    /// `text REGEXP pattern`, as the tables understand it.
    regexp,
    |desk, arguments| compare(&desk.regex, arguments, compile, Regex::is_match)
);

/// Answer of `function(pattern, text)`: NULL if either is.
fn compare<P>(
    last: &RefCell<Option<(Vec<u8>, P)>>,
    arguments: &[Value],
    make: fn(&[u8]) -> Result<P, String>,
    is_in: fn(&P, &[u8]) -> bool,
) -> Result<Value, String> {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Real(number) => Some(number.to_string().into_bytes()),
        Value::Text(bytes) | Value::Blob(bytes) => Some(bytes.clone()),
    };
    let [pattern, value] = arguments else { return Ok(Value::Null) };
    let (Some(pattern), Some(value)) = (text(pattern), text(value)) else {
        return Ok(Value::Null);
    };
    let mut last = last.borrow_mut();
    if last.as_ref().is_none_or(|(known, _)| *known != pattern) {
        *last = Some((pattern.clone(), make(&pattern)?));
    }
    let found = last.as_ref().is_some_and(|(_, made)| is_in(made, &value));
    Ok(Value::Integer(found.into()))
}
