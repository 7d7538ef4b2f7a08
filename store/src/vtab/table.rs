//! What the three tables over chunks have in common: a virtual table of SQLite.
#![expect(
    unsafe_code,
    reason = "rusqlite's virtual table traits are unsafe: their structs begin with SQLite's own, \
              as #[repr(C)] and the first field make sure"
)]

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection,
    VTabCursor,
};
use rusqlite::{Connection, Error, Result, ffi};

use super::order::{Direction, Ordered, Ranks};
use super::pattern;
use super::plan::{Comparison, Filter, Push};
use super::scan::{Done, Opened, Request, Scan, Task};
use crate::batch::StreamKind;
use crate::bundle::{Catalogue, RunMeta, StreamMeta};

/// Bits of a rowid that number the row in its chunk; the others number the
/// chunk in the bundle. A chunk has fewer rows than raw bytes.
const ROW_BITS: u32 = 28;
const _: () = assert!(crate::codec::MAX_RAW_BYTES <= 1 << ROW_BITS);

/// Bits of a plan's number that say which columns the query names. The last of
/// them stands for all columns from there on in SQLite, but no table has so many.
const NAMED: u64 = (1 << 30) - 1;

/// Steps of a plan that say that rows are to come in the order of their times.
const ASCENDING: [u8; 2] = *b"!A";
const DESCENDING: [u8; 2] = *b"!D";

/// How a table gives its rows in the order of their times.
pub(crate) struct TimeOrder<C> {
    /// Columns that have this order.
    pub(crate) columns: &'static [c_int],
    /// Takes out of a chunk the order that [`Slice::choose`] found.
    ///
    /// [`Slice::choose`]: super::order::Slice::choose
    pub(crate) ranks: fn(&mut C) -> Ranks,
}

/// A table over the chunks of some kinds of streams.
pub(crate) trait ChunkTable: 'static {
    /// Name in SQL.
    const NAME: &'static CStr;
    /// `CREATE TABLE` statement that declares the columns, each with a comment.
    const SCHEMA: &'static CStr;
    /// Kinds of streams whose chunks it reads.
    const KINDS: &'static [StreamKind];
    /// How rows come in the order of their times, if they can.
    const ORDER: Option<TimeOrder<Self::Chunk>> = None;
    /// Columns that help to choose chunks, by number.
    const PUSHES: &'static [(c_int, Push)];
    /// What of a chunk stays until its rows were shown.
    type Chunk: Send + 'static;

    /// Reads a chunk, in a worker: chooses the rows that the filter lets through
    /// and opens the columns that the query names.
    ///
    /// # Errors
    ///
    /// If the chunk is damaged; then all of its rows are missing from the answer.
    fn open(task: &mut Task<'_>) -> crate::Result<Opened<Self::Chunk>>;

    /// Gives column number `column` of a row to SQLite.
    fn column(row: &Row<'_, Self>, column: c_int, context: &mut Context) -> Result<()>;
}

/// A row, with all that is known about it.
pub(crate) struct Row<'a, T: ChunkTable + ?Sized> {
    /// The bundle.
    pub(crate) catalogue: &'a Catalogue,
    /// Stream that the row belongs to.
    pub(crate) stream: &'a StreamMeta,
    /// Batch that saw it.
    pub(crate) batch_id: i64,
    /// What the query wants.
    pub(crate) request: &'a Request,
    /// Position of its chunk in the catalogue.
    pub(crate) number: usize,
    /// Its chunk.
    pub(crate) chunk: &'a T::Chunk,
    /// Rows of the chunk that are shown.
    pub(crate) rows: &'a [u32],
    /// Which of these it is.
    pub(crate) nth: usize,
}

impl<T: ChunkTable> Row<'_, T> {
    /// Number of the row in its chunk.
    pub(crate) fn at(&self) -> usize {
        self.rows[self.nth] as usize
    }
}

/// Makes a table known to a connection.
pub(crate) fn register<T: ChunkTable>(
    connection: &Connection,
    catalogue: &Arc<Catalogue>,
) -> Result<()> {
    connection.create_module(T::NAME, const { &module::<T>() }, Some(catalogue.clone()))?;
    super::document(connection, T::NAME, T::SCHEMA)
}

const fn module<T: ChunkTable>() -> Module<'static, Table<T>> {
    Module::eponymous_only_module()
}

#[repr(C)]
struct Table<T> {
    base: ffi::sqlite3_vtab,
    catalogue: Arc<Catalogue>,
    marker: PhantomData<T>,
}

// SAFETY: `Table` is #[repr(C)] and begins with `sqlite3_vtab`.
unsafe impl<'vtab, T: ChunkTable> VTab<'vtab> for Table<T> {
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
            let Some(push) = push.filter(|_| constraint.is_usable()) else { continue };
            let Some(comparison) = comparison(info, at, &constraint.operator()) else { continue };
            let takes = match T::PUSHES[push].1 {
                Push::Ts | Push::TsNs => comparison.is_of_values(),
                Push::Message => !comparison.is_of_values(),
                _ => comparison == Comparison::Equal,
            };
            // Texts under another collation are equal more often than we think.
            if takes && (!comparison.is_of_values() || info.collation(at)? == "BINARY") {
                plan.push(char::from(b'a' + push as u8));
                plan.push(char::from(comparison.code()));
                used.push((at, comparison.is_owned()));
            }
        }
        if let Some(direction) = T::ORDER.and_then(|order| direction(info, &order)) {
            info.set_order_by_consumed(true);
            let step = match direction {
                Direction::Ascending => ASCENDING,
                Direction::Descending => DESCENDING,
            };
            plan.extend(step.map(char::from));
        }
        for (argument, (at, is_owned)) in used.iter().enumerate() {
            let mut usage = info.constraint_usage(*at);
            usage.set_argv_index(argument as c_int + 1);
            usage.set_omit(*is_owned);
        }
        // What a full scan costs, halved twice by each constraint: the planner
        // compares this with other tables, which are far cheaper per row.
        let rows: usize = self.catalogue.chunks.iter().map(|c| c.declared.row_count).sum();
        let share = 4_f64.powi(-(used.len() as i32));
        info.set_estimated_cost((rows as f64).mul_add(share, 1_000.0));
        info.set_estimated_rows((rows as f64 * share) as i64 + 1);
        let columns = info.col_used() & NAMED;
        info.set_idx_num(columns as c_int);
        info.set_idx_str(&plan);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Cursor<T>> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            catalogue: self.catalogue.clone(),
            request: None,
            rows: Rows::None,
        })
    }
}

/// How a constraint compares, if we know what to do with it.
fn comparison(info: &IndexInfo, at: usize, operator: &IndexConstraintOp) -> Option<Comparison> {
    // The pattern, where it stands in the statement itself.
    let is_plain = |is_plain: fn(&[u8]) -> bool| matches!(info.rhs_value(at), Ok(Some(ValueRef::Text(text))) if is_plain(text));
    Some(match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Comparison::Equal,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Comparison::Greater,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Comparison::GreaterOrEqual,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Comparison::Less,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Comparison::LessOrEqual,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIKE if is_plain(pattern::is_plain_like) => {
            Comparison::PlainLike
        }
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIKE => Comparison::Like,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GLOB if is_plain(pattern::is_plain_glob) => {
            Comparison::PlainGlob
        }
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GLOB => Comparison::Glob,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_MATCH => Comparison::Match,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_REGEXP => Comparison::Regexp,
        _ => return None,
    })
}

/// The order by time that is asked for, if but the first rows are: all of them
/// SQLite sorts faster. `max(ts)` asks for the order as well, and stops after one
/// row without saying so; it can be told by naming nothing but the time.
fn direction<C>(info: &IndexInfo, order: &TimeOrder<C>) -> Option<Direction> {
    let mut terms = info.order_bys();
    let (term, None) = (terms.next()?, terms.next()) else { return None };
    if !order.columns.contains(&term.column()) {
        return None;
    }
    let has_limit = info.constraints().any(|constraint| {
        constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIMIT
    });
    let names_time_alone = info.col_used() == 1 << term.column();
    let direction =
        if term.is_order_by_desc() { Direction::Descending } else { Direction::Ascending };
    (has_limit || names_time_alone).then_some(direction)
}

#[repr(C)]
struct Cursor<T: ChunkTable> {
    base: ffi::sqlite3_vtab_cursor,
    catalogue: Arc<Catalogue>,
    request: Option<Arc<Request>>,
    rows: Rows<T::Chunk>,
}

/// Where rows come from.
enum Rows<C> {
    None,
    /// In the order of chunks.
    Plain(Plain<C>),
    /// In the order of their times.
    Ordered(Box<Ordered<C>>),
}

/// Rows in the order of chunks, and within them as they lie.
struct Plain<C> {
    scan: Scan<C>,
    chunk: Option<Done<C>>,
    /// Position in the rows of the chunk.
    nth: usize,
}

impl<C: Send + 'static> Plain<C> {
    /// Moves on to the first row at or after the current place.
    fn settle(&mut self) {
        while self.chunk.as_ref().is_none_or(|done| self.nth >= done.opened.rows.len()) {
            self.chunk = self.scan.next();
            self.nth = 0;
            if self.chunk.is_none() {
                return;
            }
        }
    }
}

impl<T: ChunkTable> Cursor<T> {
    /// An error if the question is given up: its rows may have ended too early.
    fn go_on(&self) -> Result<()> {
        if self.catalogue.watch.is_over() {
            let code = ffi::Error::new(ffi::SQLITE_INTERRUPT);
            return Err(Error::SqliteFailure(code, Some("interrupted".to_owned())));
        }
        Ok(())
    }

    /// The chunk of the current row, and which of its rows it is.
    fn current(&self) -> Option<(&Done<T::Chunk>, usize)> {
        match &self.rows {
            Rows::None => None,
            Rows::Plain(plain) => plain.chunk.as_ref().map(|done| (done, plain.nth)),
            Rows::Ordered(ordered) => ordered.current(),
        }
    }
}

// SAFETY: `Cursor` is #[repr(C)] and begins with `sqlite3_vtab_cursor`.
unsafe impl<T: ChunkTable> VTabCursor for Cursor<T> {
    fn filter(&mut self, named: c_int, plan: Option<&str>, values: &Filters<'_>) -> Result<()> {
        let mut filter = Filter::default();
        let (steps, _) = plan.unwrap_or_default().as_bytes().as_chunks::<2>();
        for (step, value) in steps.iter().zip(values.iter()) {
            let (_, push) = T::PUSHES[usize::from(step[0] - b'a')];
            filter.add(push, Comparison::parse(step[1]), value).map_err(Error::ModuleError)?;
        }
        let direction = match steps.last() {
            Some(&ASCENDING) => Some(Direction::Ascending),
            Some(&DESCENDING) => Some(Direction::Descending),
            _ => None,
        };
        let kinds: Vec<&str> = T::KINDS.iter().map(|kind| kind.as_str()).collect();
        let jobs = filter.jobs(&self.catalogue, &kinds);
        let columns = named as u64 & NAMED;
        if let (Some(direction), Some(order)) = (direction, T::ORDER) {
            let wanted = (filter, columns, direction);
            let mut ordered = Ordered::start(&self.catalogue, jobs, wanted, T::open, order.ranks);
            ordered.next();
            self.rows = Rows::Ordered(Box::new(ordered));
            return self.go_on();
        }
        let request =
            Arc::new(Request { filter, columns, shows_text: AtomicBool::new(false), slice: None });
        let scan = Scan::start(&self.catalogue, jobs, &request, T::open);
        let mut first = Plain { scan, chunk: None, nth: 0 };
        first.settle();
        self.rows = Rows::Plain(first);
        self.request = Some(request);
        self.go_on()
    }

    fn next(&mut self) -> Result<()> {
        match &mut self.rows {
            Rows::None => {}
            Rows::Plain(plain) => {
                plain.nth += 1;
                plain.settle();
            }
            Rows::Ordered(ordered) => {
                ordered.next();
            }
        }
        self.go_on()
    }

    fn eof(&self) -> bool {
        self.current().is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let request = match &self.rows {
            Rows::Ordered(ordered) => Some(ordered.request()),
            _ => self.request.as_deref(),
        };
        let (Some((Done { job, opened }, nth)), Some(request)) = (self.current(), request) else {
            return context.set_result(rusqlite::types::Null);
        };
        let run = run_of(&job.runs, opened.rows[nth]);
        let row = Row {
            catalogue: &self.catalogue,
            stream: &self.catalogue.streams[run.stream],
            batch_id: run.batch_id,
            request,
            number: job.chunk,
            chunk: &opened.chunk,
            rows: &opened.rows,
            nth,
        };
        T::column(&row, column, context)
    }

    fn rowid(&self) -> Result<i64> {
        let row = |(done, nth): (&Done<T::Chunk>, usize)| {
            (done.job.chunk as i64) << ROW_BITS | i64::from(done.opened.rows[nth])
        };
        Ok(self.current().map_or(0, row))
    }
}

/// The run that a row is in.
fn run_of(runs: &[RunMeta], row: u32) -> &RunMeta {
    let after = |run: &RunMeta| run.first_row + run.row_count <= row as usize;
    // A job's rows are all in its runs.
    &runs[runs.partition_point(after)]
}
