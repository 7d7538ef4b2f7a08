//! The functions of the host's SQLite, which hands over a table of them: none of them is
//! linked. A function's place in the table never changes (`sqlite3ext.h`).
#![expect(unsafe_code, reason = "functions are called by their place in the host's table")]
#![expect(clippy::too_many_arguments, reason = "SQLite's own function has that many")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

/// The oldest version whose table has all of the functions that are called always.
pub(crate) const OLDEST: c_int = 3_026_000;

/// The first that tells whether somebody wants to stop.
const TELLS_INTERRUPTS: c_int = 3_041_000;

/// A function that frees what is handed to SQLite.
pub(crate) type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

/// A function in SQL.
pub(crate) type Function =
    unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);

/// The functions of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api {
    functions: *const *const c_void,
    version: c_int,
}

/// The host. There is one for a library, as functions in SQL are not told who calls.
static HOST: OnceLock<Api> = OnceLock::new();

// SAFETY: the host's table is constant.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

macro_rules! functions {
    ($($(#[$doc:meta])* $place:literal $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        impl Api {
            $(
                $(#[$doc])*
                ///
                /// # Safety
                ///
                /// As SQLite's manual says of the function of this name.
                pub(crate) unsafe fn $name(self, $($argument: $kind),*) $(-> $result)? {
                    type Call = unsafe extern "C" fn($($kind),*) $(-> $result)?;
                    // SAFETY: the table has this function at this place; the caller
                    // answers for the arguments.
                    unsafe {
                        let call: Call = std::mem::transmute(*self.functions.add($place));
                        call($($argument),*)
                    }
                }
            )*
        }
    };
}

functions! {
    /// Declares the columns of a virtual table.
    50 declare_vtab(db: *mut ffi::sqlite3, sql: *const c_char) -> c_int;
    /// The last error of a connection.
    53 errmsg(db: *mut ffi::sqlite3) -> *const c_char;
    /// Runs a statement.
    55 exec(db: *mut ffi::sqlite3, sql: *const c_char, callback: *const c_void, argument: *mut c_void, message: *mut *mut c_char) -> c_int;
    /// Frees memory of the host's.
    58 free(memory: *mut c_void);
    /// Version of the host.
    67 libversion_number() -> c_int;
    /// Memory of the host's.
    68 malloc(bytes: c_int) -> *mut c_void;
    /// Answers with a BLOB.
    78 result_blob(context: *mut ffi::sqlite3_context, bytes: *const c_void, length: c_int, destructor: Destructor);
    /// Answers with a number.
    79 result_double(context: *mut ffi::sqlite3_context, value: f64);
    /// Answers with an error.
    80 result_error(context: *mut ffi::sqlite3_context, text: *const c_char, length: c_int);
    /// Answers with a whole number.
    83 result_int64(context: *mut ffi::sqlite3_context, value: i64);
    /// Answers with NULL.
    84 result_null(context: *mut ffi::sqlite3_context);
    /// Answers with a text.
    85 result_text(context: *mut ffi::sqlite3_context, text: *const c_char, length: c_int, destructor: Destructor);
    /// What was handed over with a function.
    101 user_data(context: *mut ffi::sqlite3_context) -> *mut c_void;
    /// Bytes of a BLOB or text.
    102 value_blob(value: *mut ffi::sqlite3_value) -> *const c_void;
    /// How many there are.
    103 value_bytes(value: *mut ffi::sqlite3_value) -> c_int;
    /// A number.
    105 value_double(value: *mut ffi::sqlite3_value) -> f64;
    /// A whole number.
    107 value_int64(value: *mut ffi::sqlite3_value) -> i64;
    /// A text, as UTF-8.
    109 value_text(value: *mut ffi::sqlite3_value) -> *const u8;
    /// Type of a value.
    113 value_type(value: *mut ffi::sqlite3_value) -> c_int;
    /// Makes a kind of virtual tables known.
    119 create_module_v2(db: *mut ffi::sqlite3, name: *const c_char, module: *const ffi::sqlite3_module, data: *mut c_void, destructor: Destructor) -> c_int;
    /// Makes a function known.
    162 create_function_v2(db: *mut ffi::sqlite3, name: *const c_char, arguments: c_int, flags: c_int, data: *mut c_void, function: Option<Function>, step: *const c_void, last: *const c_void, destructor: Destructor) -> c_int;
    /// Collation of a constraint.
    224 vtab_collation(info: *mut ffi::sqlite3_index_info, constraint: c_int) -> *const c_char;
    /// Whether somebody wants to stop.
    266 is_interrupted(db: *mut ffi::sqlite3) -> c_int;
}

/// A value of the host's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Api {
    /// Takes the host's table.
    ///
    /// # Safety
    ///
    /// It must be SQLite's.
    pub(crate) unsafe fn new(functions: *const *const c_void) -> Self {
        let mut api = Self { functions, version: 0 };
        // SAFETY: every table has this function.
        api.version = unsafe { api.libversion_number() };
        api
    }

    /// The host, once the library was loaded.
    pub(crate) fn host() -> Option<Self> {
        HOST.get().copied()
    }

    /// Notes that this is the host. False if another is, as in a program that has an SQLite
    /// beside the system's.
    pub(crate) fn settle(self) -> bool {
        HOST.get_or_init(|| self).functions == self.functions
    }

    /// Version of the host as a number: 3.40.1 is 3040001.
    pub(crate) fn version(self) -> c_int {
        self.version
    }

    /// Says that a virtual table may be used in views and triggers, from when SQLite knows
    /// the difference.
    ///
    /// # Safety
    ///
    /// Only while a table of `db` is being made.
    pub(crate) unsafe fn is_innocuous(self, db: *mut ffi::sqlite3) {
        const PLACE: usize = 177;
        type Call = unsafe extern "C" fn(*mut ffi::sqlite3, c_int, ...) -> c_int;
        // SAFETY: as for the other functions. A host that does not know it refuses it.
        unsafe {
            let call: Call = std::mem::transmute(*self.functions.add(PLACE));
            call(db, ffi::SQLITE_VTAB_INNOCUOUS);
        }
    }

    /// Whether the host was told to stop, if it can tell.
    ///
    /// # Safety
    ///
    /// The connection must be open.
    pub(crate) unsafe fn is_over(self, db: *mut ffi::sqlite3) -> bool {
        // SAFETY: the host is new enough to have it.
        self.version >= TELLS_INTERRUPTS && unsafe { self.is_interrupted(db) } != 0
    }

    /// A text in memory of the host's, which frees it; null if there is none.
    pub(crate) fn text(self, text: &str) -> *mut c_char {
        let Ok(length) = c_int::try_from(text.len() + 1) else { return std::ptr::null_mut() };
        // SAFETY: memory of that length is asked for, and that much is written.
        unsafe {
            let memory = self.malloc(length).cast::<u8>();
            if !memory.is_null() {
                std::ptr::copy_nonoverlapping(text.as_ptr(), memory, text.len());
                *memory.add(text.len()) = 0;
            }
            memory.cast()
        }
    }

    /// Runs statements.
    pub(crate) fn run(self, db: *mut ffi::sqlite3, sql: &str) -> Result<(), String> {
        let sql = CString::new(sql).map_err(|_| "a name holds a NUL".to_owned())?;
        let null = std::ptr::null_mut();
        // SAFETY: the connection is open, as it calls us.
        unsafe {
            match self.exec(db, sql.as_ptr(), null, null, null.cast()) {
                ffi::SQLITE_OK => Ok(()),
                _ => Err(CStr::from_ptr(self.errmsg(db)).to_string_lossy().into_owned()),
            }
        }
    }

    /// Reads a value.
    ///
    /// # Safety
    ///
    /// It must be one that SQLite handed over, and the call must last.
    pub(crate) unsafe fn read(self, value: *mut ffi::sqlite3_value) -> Value {
        // SAFETY: bytes are copied before SQLite is asked for anything else.
        unsafe {
            let bytes = |from: *const u8| {
                let length = usize::try_from(self.value_bytes(value)).unwrap_or(0);
                if from.is_null() {
                    Vec::new()
                } else {
                    std::slice::from_raw_parts(from, length).to_vec()
                }
            };
            match self.value_type(value) {
                ffi::SQLITE_INTEGER => Value::Integer(self.value_int64(value)),
                ffi::SQLITE_FLOAT => Value::Real(self.value_double(value)),
                ffi::SQLITE_TEXT => Value::Text(bytes(self.value_text(value))),
                ffi::SQLITE_BLOB => Value::Blob(bytes(self.value_blob(value).cast())),
                _ => Value::Null,
            }
        }
    }

    /// Answers with bytes, which SQLite copies.
    ///
    /// # Safety
    ///
    /// The call must last.
    pub(crate) unsafe fn give_bytes(
        self,
        context: *mut ffi::sqlite3_context,
        bytes: &[u8],
        is_text: bool,
    ) {
        let copy = ffi::SQLITE_TRANSIENT();
        // SQLite makes no value of two gigabytes.
        let length = c_int::try_from(bytes.len()).unwrap_or(0);
        // SAFETY: the bytes are there until SQLite has copied them.
        unsafe {
            if is_text {
                self.result_text(context, bytes.as_ptr().cast(), length, copy);
            } else {
                self.result_blob(context, bytes.as_ptr().cast(), length, copy);
            }
        }
    }

    /// Answers with an error.
    ///
    /// # Safety
    ///
    /// The call must last.
    pub(crate) unsafe fn fail(self, context: *mut ffi::sqlite3_context, text: &str) {
        let length = c_int::try_from(text.len()).unwrap_or(0);
        // SAFETY: SQLite copies the text.
        unsafe { self.result_error(context, text.as_ptr().cast(), length) };
    }
}

/// Runs what SQLite called. A panic must not leave Rust: it is `failure`.
pub(crate) fn guard<T>(failure: T, work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(failure)
}
