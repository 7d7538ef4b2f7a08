//! `get` and `describe`: recorded objects as kubectl shows those of a cluster.
//!
//! What kubectl computes from the time of day, such as an age, is computed from when
//! the object was read: a bundle shows what was, not what became of it.

mod age;
mod columns;
mod container;
mod kind;
mod pod;
mod sections;
mod volume;

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::open::{open_for, warn_of_damage};
use crate::output::Outcome;
use crate::pager::{self, Paging};

use self::kind::Kind;

/// What is shown, and of which objects.
#[derive(Args, Clone, Debug)]
pub(crate) struct ObjectArguments {
    /// Folder with .db files, or the files; then the kind, as pods, svc or
    /// deployment; KIND/NAME names one object
    #[arg(required = true, num_args = 2.., value_names = ["BUNDLE", "KIND"])]
    bundle_and_kind: Vec<String>,
    /// Show this object only; * stands for any letters
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Show objects of this namespace only; without, of all
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    periscope-analyze get bundle/ pods -n kube-system\n  \
    periscope-analyze get bundle/ nodes -o wide\n  \
    periscope-analyze get bundle/ svc/kube-dns -o yaml")]
pub(crate) struct GetArguments {
    #[command(flatten)]
    object: ObjectArguments,
    /// How to print them
    #[arg(long, short, value_enum, default_value_t = GetFormat::Table)]
    output: GetFormat,
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GetFormat {
    /// A line each
    Table,
    /// A line each, with more columns
    Wide,
    /// As JSON
    Json,
    /// As YAML
    Yaml,
    /// Kind and name, a line each
    Name,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    periscope-analyze describe bundle/ pod/coredns-7f8c9d -n kube-system\n  \
    periscope-analyze describe bundle/ node/aks-nodepool1-0 --no-pager")]
pub(crate) struct DescribeArguments {
    #[command(flatten)]
    object: ObjectArguments,
    /// Write to the terminal, not through PAGER
    #[arg(long)]
    no_pager: bool,
}

/// A recorded object.
pub(crate) struct Object {
    /// When it was read, in nanoseconds since 1970.
    pub(crate) read_ns: i64,
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) json: Value,
}

/// An event about an object.
pub(crate) struct Event {
    last: String,
    first: String,
    kind: String,
    reason: String,
    message: String,
    count: i64,
    about: String,
    component: String,
}

/// Prints objects, a line each or as documents.
///
/// # Errors
///
/// If the bundle cannot be opened, or has no such object.
pub(crate) fn get(arguments: &GetArguments) -> Result<Outcome> {
    let question = Question::of(&arguments.object)?;
    let bundle = open_for(&question.paths, "object event pod_status")?;
    let connection = bundle.connection();
    let mut out = pager::start(Paging::Never)?;
    let table = matches!(arguments.output, GetFormat::Table | GetFormat::Wide);
    if question.kind.name() == "Event" && table {
        let events = events(connection, None)?;
        let events: Vec<_> =
            events.iter().filter(|(ns, _)| question.is_in(ns.as_deref())).collect();
        let end = crate::logs::end(connection)?;
        write!(out, "{}", columns::events(&events, end, question.namespace.is_none()))?;
    } else {
        let mut objects = Vec::new();
        each(connection, &question, |object| {
            objects.push(object);
            Ok(())
        })?;
        ensure!(!objects.is_empty(), "{}", question.nothing(connection)?);
        match arguments.output {
            GetFormat::Table | GetFormat::Wide => {
                let wide = arguments.output == GetFormat::Wide;
                let all = question.namespace.is_none();
                write!(out, "{}", columns::table(&question.kind, &objects, wide, all))?;
            }
            GetFormat::Name => {
                for object in &objects {
                    writeln!(out, "{}/{}", object.kind.to_lowercase(), object.name)?;
                }
            }
            GetFormat::Json => {
                serde_json::to_writer_pretty(&mut out, &document(&objects, question.is_one()))?;
                writeln!(out)?;
            }
            GetFormat::Yaml => {
                let document = document(&objects, question.is_one());
                write!(out, "{}", serde_saphyr::to_string(&document).context("writing YAML")?)?;
            }
        }
    }
    out.finish()?;
    let whole = bundle.problems().is_empty() && !warn_of_damage(&bundle);
    Ok(if whole { Outcome::NothingFound } else { Outcome::Failed })
}

/// One object as it is, or a list of all as kubectl makes it.
fn document(objects: &[Object], one: bool) -> Value {
    match objects {
        [object] if one => object.json.clone(),
        _ => json!({
            "apiVersion": "v1",
            "kind": "List",
            "items": objects.iter().map(|object| &object.json).collect::<Vec<_>>(),
        }),
    }
}

/// Prints all that is known of objects.
///
/// # Errors
///
/// As [`get`].
pub(crate) fn describe(arguments: &DescribeArguments) -> Result<Outcome> {
    let question = Question::of(&arguments.object)?;
    let bundle = open_for(&question.paths, "object event")?;
    let connection = bundle.connection();
    let mut objects = Vec::new();
    each(connection, &question, |object| {
        objects.push(object);
        Ok(())
    })?;
    ensure!(!objects.is_empty(), "{}", question.nothing(connection)?);
    let paging = if arguments.no_pager { Paging::Never } else { Paging::Terminal };
    let mut out = BufWriter::new(pager::start(paging)?);
    for (nth, object) in objects.iter().enumerate() {
        if nth > 0 {
            write!(out, "\n\n")?;
        }
        let mut pods = Vec::new();
        if object.kind == "Node" {
            let all =
                Question { kind: Kind::Known("Pod"), name: None, namespace: None, paths: vec![] };
            each(connection, &all, |pod| {
                if pod.json["spec"]["nodeName"] == object.name.as_str() {
                    pods.push(pod);
                }
                Ok(())
            })?;
        }
        let events: Vec<Event> =
            events(connection, Some(object))?.into_iter().map(|(_, event)| event).collect();
        out.write_all(sections::describe(object, &pods, &events).as_bytes())?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()?;
    let whole = bundle.problems().is_empty() && !warn_of_damage(&bundle);
    Ok(if whole { Outcome::NothingFound } else { Outcome::Failed })
}

/// Which objects are meant.
struct Question {
    paths: Vec<PathBuf>,
    kind: Kind,
    name: Option<globset::GlobMatcher>,
    namespace: Option<String>,
}

impl Question {
    fn of(arguments: &ObjectArguments) -> Result<Self> {
        let (last, paths) =
            arguments.bundle_and_kind.split_last().context("no kind of object was named")?;
        // A bundle may be named with a slash at its end; a kind never is.
        let (kind, name) = match last.split_once('/') {
            Some((kind, name)) if !name.is_empty() => (kind, Some(name.to_owned())),
            _ => (last.as_str(), arguments.name.clone()),
        };
        ensure!(
            !std::path::Path::new(last).exists(),
            "{last} is a file or folder, no kind of object\nhint: the kind comes last: get {last} pods"
        );
        let glob = |name: &str| {
            globset::Glob::new(name)
                .map(|glob| glob.compile_matcher())
                .with_context(|| format!("{name:?} is no pattern"))
        };
        Ok(Self {
            paths: paths.iter().map(Into::into).collect(),
            kind: Kind::parse(kind),
            name: name.as_deref().map(glob).transpose()?,
            namespace: arguments.namespace.clone(),
        })
    }

    fn is_in(&self, namespace: Option<&str>) -> bool {
        self.namespace.as_deref().is_none_or(|ours| namespace == Some(ours))
    }

    /// Whether one object was named, not a list of them asked for.
    fn is_one(&self) -> bool {
        self.name.as_ref().is_some_and(|name| !name.glob().glob().contains(['*', '?', '[', '{']))
    }

    /// Why there is nothing to show, and what there is.
    fn nothing(&self, connection: &Connection) -> Result<String> {
        let mut statement =
            connection.prepare("SELECT kind, count(*) FROM object GROUP BY 1 ORDER BY 1")?;
        let kinds = statement
            .query_map([], |row| {
                Ok(format!("{} {}", row.get::<_, i64>(1)?, row.get::<_, String>(0)?))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
            .context("reading which objects there are")?;
        let name = self.name.as_ref().map_or(String::new(), |name| format!(" {}", name.glob()));
        let place = self.namespace.as_ref().map_or(String::new(), |ns| format!(" in {ns}"));
        let there = if kinds.is_empty() {
            "it has no objects at all: were nodes allowed to ask the API server?".to_owned()
        } else {
            format!("it has {}", kinds.join(", "))
        };
        Ok(format!("the bundle has no {}{name}{place}\nhint: {there}", self.kind.name()))
    }
}

/// Hands over the objects that are meant, by namespace and name.
fn each(
    connection: &Connection,
    question: &Question,
    mut each: impl FnMut(Object) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT kind, namespace, name, json, ts FROM object
         WHERE lower(kind) = lower(?) ORDER BY namespace, name",
    )?;
    let mut rows = statement.query([question.kind.name()]).context("reading objects")?;
    while let Some(row) = rows.next().context("reading objects")? {
        let (namespace, name): (Option<String>, String) = (row.get(1)?, row.get(2)?);
        let is_named = question.name.as_ref().is_none_or(|glob| glob.is_match(&name));
        if !is_named || !question.is_in(namespace.as_deref()) {
            continue;
        }
        let json: String = row.get(3)?;
        let read: String = row.get(4)?;
        each(Object {
            read_ns: periscope_store::time::parse_rfc3339(&read).unwrap_or_default(),
            kind: row.get(0)?,
            namespace,
            json: serde_json::from_str(&json).with_context(|| format!("reading {name}"))?,
            name,
        })?;
    }
    Ok(())
}

/// Events with their namespaces, of one object or of all, by time.
fn events(
    connection: &Connection,
    object: Option<&Object>,
) -> Result<Vec<(Option<String>, Event)>> {
    let mut statement = connection.prepare(
        "SELECT namespace, ts, first, type, reason, message, count, kind, name, component
         FROM event
         WHERE ?1 IS NULL
            OR (kind = ?1 AND name = ?2
                AND (?1 = 'Node' OR coalesce(namespace, '') = coalesce(?3, '')))
         ORDER BY ts",
    )?;
    let kind = object.map(|object| object.kind.as_str());
    let name = object.map(|object| object.name.as_str());
    let namespace = object.and_then(|object| object.namespace.as_deref());
    let rows = statement.query_map((kind, name, namespace), |row| {
        let text = |at: usize| -> rusqlite::Result<String> {
            Ok(row.get::<_, Option<String>>(at)?.unwrap_or_default())
        };
        Ok((
            row.get(0)?,
            Event {
                last: text(1)?,
                first: text(2)?,
                kind: text(3)?,
                reason: text(4)?,
                message: text(5)?,
                count: row.get::<_, Option<i64>>(6)?.unwrap_or(1),
                about: format!("{}/{}", text(7)?.to_lowercase(), text(8)?),
                component: text(9)?,
            },
        ))
    })?;
    rows.collect::<rusqlite::Result<_>>().context("reading events")
}
