//! `fetch`: brings the files of a run from a storage account into a folder, where
//! they lie as they lay there, `RUN/NODE/NODE-NUMBER.db`.
//!
//! What is whole here is not fetched twice, and what broke off is gone on with. A SAS
//! is part of no text: `periscope-blob` never puts it into one, and `output` masks
//! what a user typed.

mod source;
mod az;
mod runs;
mod files;
mod cache;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use indicatif::HumanBytes;
use periscope_blob::{Container, Login, Patience, Proxies, Transport};

use crate::cli::{ChoiceArguments, FetchArguments};
use crate::expected;
use crate::output::{self, Outcome, printable};

use self::files::Tally;
use self::runs::{Run, Runs};
use self::source::Source;

/// Tries of one request, which a person waits for.
const PATIENCE: Patience = Patience { tries: 6, within: Duration::from_mins(2) };

/// What a fetch made.
struct Fetched {
    /// Folder of the run.
    folder: PathBuf,
    /// Whether all of it is there.
    is_whole: bool,
}

/// Fetches and says what to do next.
///
/// # Errors
///
/// If nothing could be fetched, or there are several runs and none was chosen.
pub(crate) fn run(arguments: &FetchArguments) -> Result<Outcome> {
    let (source, folder) = Source::of(arguments)?;
    let fetched = fetch(&source, &arguments.choice, &arguments.node, &folder)?;
    output::note(&format!("next: periscope-analyze report {}", quoted(&fetched.folder)));
    output::line(&fetched.folder.display().to_string())?;
    Ok(if fetched.is_whole { Outcome::NothingFound } else { Outcome::Failed })
}

/// A bundle whose URLs were fetched.
pub(crate) struct Local {
    /// Folders and files, none of them a URL.
    pub(crate) paths: Vec<PathBuf>,
    /// Whether all of it is there.
    pub(crate) is_whole: bool,
}

/// Fetches what of a bundle is a URL, into the user's cache.
///
/// # Errors
///
/// As [`run`]; if a choice was made and there is no URL to make it of.
pub(crate) fn localise(bundle: &[PathBuf], choice: &ChoiceArguments) -> Result<Local> {
    let mut local = Local { paths: Vec::new(), is_whole: true };
    let mut has_url = false;
    for path in bundle {
        let Some(url) = path.to_str().filter(|text| is_url(text)) else {
            local.paths.push(path.clone());
            continue;
        };
        has_url = true;
        let source = Source::of_url(url)?;
        let folder = cache::folder(source.place())?;
        let fetched = fetch(&source, choice, &[], &folder)?;
        output::note(&format!(
            "the files stay in {} until somebody removes them",
            fetched.folder.display()
        ));
        local.paths.push(fetched.folder);
        local.is_whole &= fetched.is_whole;
    }
    if !has_url && choice.is_made() {
        bail!("--run and --latest choose what is fetched, and the bundle is no URL");
    }
    Ok(local)
}

fn is_url(text: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
}

/// Fetches a run into its own folder below `folder`.
fn fetch(
    source: &Source,
    choice: &ChoiceArguments,
    nodes: &[String],
    folder: &Path,
) -> Result<Fetched> {
    let login = source.login()?;
    let by = login.describe();
    check(&login)?;
    let transport = Transport::new(&Proxies::Environment, &[])?;
    let container = Container::open(source.place().clone(), login, &transport, PATIENCE)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot begin to fetch")?;
    let (choice, nodes) = source.narrow(choice, nodes)?;
    let run = runtime.block_on(find(&container, &choice))?;
    let files = run.files(&nodes)?;
    let bytes = files.iter().map(|file| file.bytes).sum();
    output::note(&format!(
        "run {}: {} of {}, {} from {} by {by}",
        printable(&run.id),
        count(files.iter().filter(|file| file.is_database()).count(), "file"),
        count(run.nodes(&nodes).len(), "node"),
        HumanBytes(bytes),
        container.place(),
    ));
    let folder = folder.join(&run.id);
    let tally = runtime.block_on(files::fetch(&container, &files, &folder))?;
    tell(&tally, &folder);
    if nodes.is_empty() {
        for text in expected::missing_from(&folder, &run.nodes(&[])) {
            output::warning(&text);
        }
    }
    Ok(Fetched { folder, is_whole: tally.failed.is_empty() })
}

/// Says what is wrong with a token before the service is asked.
fn check(login: &Login) -> Result<()> {
    let Login::Sas(sas) = login else { return Ok(()) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    match sas.remarks_for_fetching(now_ns).into_iter().next() {
        Some(remark) => bail!(
            "{}\nhint: az storage container generate-sas --permissions rl --expiry … makes one",
            remark.text
        ),
        None => Ok(()),
    }
}

/// Lists what there is and chooses.
async fn find(container: &Container, choice: &ChoiceArguments) -> Result<Run> {
    if let Some(id) = &choice.run {
        let runs = Runs::of(container.list(&format!("{id}/")).await?);
        if let Some(run) = runs.all.into_iter().find(|run| run.id == *id) {
            return Ok(run);
        }
    }
    Runs::of(container.list("").await?).choose(choice, container.place())
}

fn tell(tally: &Tally, folder: &Path) {
    for text in &tally.failed {
        output::warning(text);
    }
    let mut text = format!(
        "fetched {} ({}) into {}",
        count(tally.new, "file"),
        HumanBytes(tally.bytes),
        folder.display()
    );
    for (what, files) in [
        ("here already", tally.here),
        ("checked by length alone, as their sender left no checksum", tally.by_length),
    ] {
        if files > 0 {
            text = format!("{text}; {what}: {files}");
        }
    }
    output::note(&text);
    if !tally.failed.is_empty() {
        output::note(&format!(
            "{} not fetched; the same command goes on where this one ended",
            count(tally.failed.len(), "file")
        ));
    }
}

pub(crate) fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-:+@".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_a_shell_takes() {
        assert_eq!(quoted(Path::new("a/run-1")), "a/run-1");
        assert_eq!(quoted(Path::new("it's here")), "'it'\\''s here'");
    }

    #[test]
    fn a_choice_without_a_url_is_refused() {
        let choice = ChoiceArguments { latest: true, ..ChoiceArguments::default() };
        assert!(localise(&[PathBuf::from("bundle")], &choice).is_err());
        let local = localise(&[PathBuf::from("bundle")], &ChoiceArguments::default());
        assert_eq!(local.expect("paths").paths, [PathBuf::from("bundle")]);
    }
}
