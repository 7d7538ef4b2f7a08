//! Two crafted bundles, compared and written in every format.

use std::collections::BTreeSet;
use std::path::Path;

use super::model::{Change, Differences, State};
use super::section::{FILES, Section};
use super::side::Side;
use super::{DiffArguments, DiffFormat, Style, Wanted, compare, pairs, write};
use crate::cli::{Cli, Command};
use crate::diagnose::{cases, library};

use clap::Parser;

/// A side by the name of its case; the folder lives as long as its files are read.
fn side(name: &str) -> (Side, tempfile::TempDir) {
    let cases = cases::parse("sample.toml", include_str!("sample.toml")).unwrap();
    let case = cases.iter().find(|case| case.name == name).expect(name);
    let (bundle, folder) = case.open().unwrap().into_parts();
    let asked = ["outage-windows", "custom-dns", "iptables-drift"];
    let mut diagnostics = library::built_in().unwrap();
    diagnostics.retain(|diagnostic| asked.contains(&diagnostic.id.as_str()));
    (Side::new(bundle, Path::new(name), diagnostics).unwrap(), folder)
}

fn arguments(options: &[&str]) -> DiffArguments {
    let words = ["periscope-analyze", "diff", "before", "after"].iter().chain(options);
    let Command::Diff(arguments) = Cli::try_parse_from(words).unwrap().into_command() else {
        panic!("no diff")
    };
    *arguments
}

fn differences(names: (&str, &str), options: &[&str]) -> anyhow::Result<Differences> {
    let ((a, _of_a), (b, _of_b)) = (side(names.0), side(names.1));
    let arguments = arguments(options);
    let nodes = pairs(&arguments, &a, &b)?;
    compare(&a, &b, nodes, &Wanted::new(&arguments)?)
}

fn changes<'a>(all: &'a Differences, section: &str) -> &'a [Change] {
    &all.sections.iter().find(|answer| answer.id == section).expect(section).changes
}

#[test]
fn each_format_of_two_bundles() {
    let all = differences(("before", "after"), &[]).unwrap();
    assert!(all.any());
    let style = Style { shown: 40, colored: false };
    for (name, format) in [
        ("table", DiffFormat::Table),
        ("json", DiffFormat::Json),
        ("markdown", DiffFormat::Markdown),
    ] {
        let mut out = Vec::new();
        write(&all, format, style, &mut out).unwrap();
        insta::assert_snapshot!(format!("format_{name}"), String::from_utf8(out).unwrap());
    }
}

#[test]
fn a_bundle_is_like_itself() {
    for name in ["before", "after"] {
        let all = differences((name, name), &[]).unwrap();
        assert!(!all.any(), "{all:?}");
        assert!(all.sections.iter().all(|section| section.unknown.is_empty()), "{all:?}");
    }
}

#[test]
fn what_was_not_read_is_neither_new_nor_gone() {
    for (names, state, side) in
        [(("before", "after"), State::Gone, 'B'), (("after", "before"), State::New, 'A')]
    {
        let all = differences(names, &["--section", "iptables,image"]).unwrap();
        let rules = all.sections.iter().find(|section| section.id == "iptables").unwrap();
        // Of node-2 the other side has rules, and this one could not read any.
        assert!(rules.changes.iter().all(|change| change.nodes == ["node-1"]), "{rules:?}");
        assert!(rules.changes.iter().all(|change| change.state == state), "{rules:?}");
        let [unknown] = rules.unknown.as_slice() else { panic!("{rules:?}") };
        assert_eq!(unknown.unsure.side, side);
        assert_eq!(unknown.unsure.reason, "iptables is failed: iptables-save: permission denied");
        assert_eq!(unknown.nodes, ["node-2"]);
        let [image] = changes(&all, "image") else { panic!("{all:?}") };
        assert_eq!((image.state, image.item.as_str()), (State::Changed, "shop/web main"));
    }
}

#[test]
fn nodes_of_two_names_are_compared_when_somebody_says_so() {
    let all = differences(("before", "after"), &["--match", "old=new"]).unwrap();
    assert!(all.nodes.only_a.is_empty() && all.nodes.only_b.is_empty(), "{:?}", all.nodes);
    let kubelet = changes(&all, "kubelet");
    assert!(kubelet.iter().any(|change| change.nodes == ["old → new"]), "{kubelet:?}");

    let two = ["--node-a", "node-1", "--node-b", "node-2", "--section", "kubelet"];
    let all = differences(("before", "before"), &two).unwrap();
    let [change] = changes(&all, "kubelet") else { panic!("{all:?}") };
    assert_eq!((change.state, change.item.as_str()), (State::Gone, "--token"));
    for (options, words) in [
        (&["--match", "old"][..], "hint: --match"),
        (&["--match", "old=nobody"], "has no node nobody"),
        (&["--match", "old=new", "--match", "old=node-1"], "is matched already"),
        (&["--section", "kublet"], "there is no section kublet\nhint: one of finding, version"),
    ] {
        let error = differences(("before", "after"), options).unwrap_err().to_string();
        assert!(error.contains(words), "{options:?}: {error}");
    }
}

#[test]
fn lists_and_folders_hold_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/diff");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files, FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, sql) in FILES {
        for (index, line) in sql.lines().enumerate() {
            assert!(line.chars().count() <= 80, "{name}.sql:{}: {line}", index + 1);
            assert_eq!(line, line.trim_end(), "{name}.sql:{}", index + 1);
        }
    }
}

#[test]
fn every_section_answers_in_five_columns() {
    let (side, _folder) = side("before");
    for section in Section::all().unwrap() {
        section.ask(side.bundle.connection()).unwrap().of(Some("node-1")).expect(section.id);
        let statement = side.bundle.connection().prepare(section.sql).expect(section.id);
        let columns: Vec<_> = statement.column_names().collect();
        assert_eq!(columns, ["node", "collector", "family", "item", "value"], "{}", section.id);
    }
}
