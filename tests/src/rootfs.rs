//! The root folder of the image, as the last stage of the Dockerfile makes it,
//! without Docker and without a registry.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Folder of the build stage that the last stage copies from.
const BUILT: &str = "/out/";

/// What the last stage of a Dockerfile says.
#[derive(Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it starts from.
    pub base: String,
    /// Files that it copies: name in the build stage's folder, path in the image.
    pub copies: Vec<(String, String)>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Names of its labels.
    pub labels: Vec<String>,
}

impl Stage {
    /// Reads the last stage. An instruction that a root folder would not show is an
    /// error: what the lab runs and what is shipped must not drift apart.
    ///
    /// # Errors
    ///
    /// If an instruction is not one of those that are understood.
    pub fn last(dockerfile: &str) -> Result<Self> {
        let mut stage =
            Self { base: String::new(), copies: vec![], entrypoint: vec![], labels: vec![] };
        for line in logical_lines(dockerfile) {
            let (word, rest) = line.split_once(' ').context("an instruction without arguments")?;
            match word {
                "FROM" => {
                    let base = rest.split(' ').find(|part| !part.starts_with("--"));
                    let base = base.context("FROM nothing")?.to_owned();
                    stage = Self { base, copies: vec![], entrypoint: vec![], labels: vec![] };
                }
                "COPY" => stage.copies.extend(copy(rest)),
                "ENTRYPOINT" => stage.entrypoint = serde_json::from_str(rest)?,
                "LABEL" => stage.labels = labels(rest),
                "ARG" => {}
                // Only the build stage may have more.
                _ => stage.base = "not understood: ".to_owned() + &line,
            }
        }
        ensure!(stage.base == "scratch", "the last stage is from {}", stage.base);
        Ok(stage)
    }
}

/// Lines with their continuations, without comments.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(part) => open.push_str(part),
            None => lines.push(std::mem::take(&mut open) + line),
        }
    }
    lines
}

/// A copy of one file from the build stage's folder; none if it is from elsewhere.
fn copy(rest: &str) -> Option<(String, String)> {
    let mut words = rest.split(' ');
    let (_from, source, path) = (words.next()?, words.next()?, words.next()?);
    Some((source.strip_prefix(BUILT)?.to_owned(), path.to_owned()))
}

fn labels(rest: &str) -> Vec<String> {
    let names = rest.split(' ').filter_map(|word| word.split_once('='));
    names.map(|(name, _)| name.to_owned()).filter(|name| name.contains('.')).collect()
}

/// Makes the image's root folder in an empty folder, of an agent that was built as
/// one static program; gives its entrypoint.
///
/// # Errors
///
/// If the Dockerfile's last stage is not understood, or the program would not start
/// in a folder without a loader.
pub fn build(folder: &Path, agent: &Path) -> Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dockerfile = std::fs::read_to_string(root.join("Dockerfile")).context("Dockerfile")?;
    let stage = Stage::last(&dockerfile)?;
    ensure!(!is_dynamic(&std::fs::read(agent)?)?, "{} needs a loader", agent.display());
    for (name, path) in &stage.copies {
        let source = built(&root, agent, name)?;
        let target = folder.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().context("no folder")?)?;
        std::fs::copy(&source, &target).with_context(|| format!("{}", source.display()))?;
    }
    ensure!(!stage.entrypoint.is_empty(), "the image starts nothing");
    Ok(stage.entrypoint)
}

/// Where a file of the build stage's folder is on this machine.
fn built(root: &Path, agent: &Path, name: &str) -> Result<PathBuf> {
    match name {
        "periscope-agent" => Ok(agent.to_owned()),
        "LICENSE" => Ok(root.join(name)),
        _ => bail!("the build stage's {name} is not known here"),
    }
}

/// Whether a program needs a loader, and so files that an empty image does not have.
///
/// # Errors
///
/// If it is no ELF file of 64 bits in little endian.
pub fn is_dynamic(program: &[u8]) -> Result<bool> {
    const LOADER: u32 = 3;
    let word = |at: usize, length: usize| {
        let bytes = program.get(at..at + length).context("the program is cut off")?;
        Ok::<_, anyhow::Error>(
            bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    ensure!(program.starts_with(b"\x7fELF\x02\x01"), "no ELF file of 64 bits in little endian");
    let (table, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
    for at in 0..count {
        let header = usize::try_from(table + at * size).context("a table beyond memory")?;
        if word(header, 4)? == u64::from(LOADER) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_is_read() {
        let text = "# x\nFROM rust AS build\nRUN a \\\n  && b\nFROM scratch\nARG V=1\n\
                    LABEL a.b=\"1\" \\\n  c.d=\"x y\"\nCOPY --from=build /out/p /p\n\
                    ENTRYPOINT [\"/p\"]\n";
        let stage = Stage::last(text).expect("understood");
        assert_eq!(stage.copies, [("p".to_owned(), "/p".to_owned())]);
        assert_eq!(stage.entrypoint, ["/p"]);
        assert_eq!(stage.labels, ["a.b", "c.d"]);
        let error = Stage::last(&(text.to_owned() + "USER 7\n")).expect_err("not understood");
        assert_eq!(error.to_string(), "the last stage is from not understood: USER 7");
        assert!(Stage::last("FROM debian\n").is_err());
    }

    #[test]
    fn the_image_is_one_program_with_labels() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Dockerfile");
        let stage = Stage::last(&std::fs::read_to_string(path).expect("text")).expect("understood");
        let paths: Vec<&str> = stage.copies.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, ["/periscope-agent", "/LICENSE"]);
        assert_eq!(stage.entrypoint, ["/periscope-agent"]);
        for label in ["title", "description", "licenses", "version", "revision", "source"] {
            let label = format!("org.opencontainers.image.{label}");
            assert!(stage.labels.contains(&label), "{label}: {:?}", stage.labels);
        }
    }

    #[test]
    fn a_dynamic_program_is_known() {
        let this = std::env::current_exe().expect("this program");
        assert!(is_dynamic(&std::fs::read(this).expect("read")).expect("ELF"));
        assert!(is_dynamic(b"#!/bin/sh").is_err());
        assert!(is_dynamic(b"\x7fELF\x02\x01").is_err());
    }
}
