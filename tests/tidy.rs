//! The shape of the tree: who imports whom, how files open, how long they are.
//!
//! Reads text only, with nothing but the standard library, so that it can check every crate.
//! Invariant: a new crate or file is covered without a change here, or makes a test fail.
#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FILE_LINES_MAX: usize = 500;
const LINE_COLUMNS_MAX: usize = 100;

/// What one crate may import from the workspace, and what it must not import from outside.
/// Only normal and build dependencies count: tests may reach further.
struct Arrows {
    name: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static str],
}

const fn arrows(
    name: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static str],
) -> Arrows {
    Arrows { name, may, never }
}

/// Clocks, randomness, files, sockets, threads: nothing for a pure crate.
const IMPURE: &[&str] = &[
    "tokio",
    "futures",
    "getrandom",
    "rand",
    "tempfile",
    "tracing",
    "metrics",
    "hyper",
    "reqwest",
    "axum",
    "tonic",
    "openraft",
    "rocksdb",
];
/// The big libraries with one importer each.
const ENGINES: &[&str] = &["openraft", "rocksdb"];
/// For the crate that assembles all others.
const ALL: &[&str] = &["*"];

/// Lowest level first. Crates of one level never import each other.
#[rustfmt::skip]
const TABLE: &[Arrows] = &[
    arrows("types",    &[], IMPURE),
    arrows("bugs",     &[], IMPURE),
    arrows("machine",  &[], &["openraft", "rocksdb", "axum", "tonic"]),
    arrows("policy",   &["types"], IMPURE),
    arrows("tlog",     &[], IMPURE),
    arrows("meters",   &[], &["openraft", "rocksdb", "axum", "tonic", "tokio"]),
    arrows("tls",      &["machine"], &["openraft", "rocksdb", "axum", "tonic"]),
    arrows("ledger",   &["bugs", "policy", "tlog", "types"], IMPURE),
    arrows("ui",       &[], &["openraft", "rocksdb", "tonic"]),
    arrows("wire",     &[], &["openraft", "rocksdb", "axum"]),
    arrows("outbound", &["machine", "types"], &["openraft", "rocksdb", "axum", "tonic"]),
    arrows("gate",     &["bugs", "ledger", "machine", "meters", "policy", "types"],
                       &["openraft", "rocksdb", "axum", "tonic"]),
    arrows("store",    &["bugs", "ledger", "machine", "meters", "tlog", "types"],
                       &["openraft", "axum", "tonic"]),
    arrows("http-api", &["gate", "ledger", "machine", "meters", "policy", "types", "ui"],
                       &["openraft", "rocksdb", "tonic"]),
    arrows("grpc-api", &["gate", "ledger", "types", "wire"], &["openraft", "rocksdb", "axum"]),
    arrows("mcp",      &["gate", "ledger", "types", "wire"], &["openraft", "rocksdb", "axum"]),
    arrows("executor", &["bugs", "gate", "ledger", "meters", "outbound", "types"],
                       &["openraft", "rocksdb", "axum"]),
    arrows("notifier", &["gate", "ledger", "meters", "outbound", "types"],
                       &["openraft", "rocksdb", "axum"]),
    arrows("replica",  &["bugs", "gate", "ledger", "machine", "meters", "store", "tls", "types",
                         "wire"],
                       &["rocksdb", "axum", "reqwest"]),
    arrows("client",   &[], &["openraft", "rocksdb", "axum"]),
    arrows("cli",      &["client", "policy", "types"], &["openraft", "rocksdb", "axum"]),
    arrows("verify",   &["ledger", "tlog", "types"], IMPURE),
    arrows("checker",  &["types"], ENGINES),
    arrows("faulty-disk", &[], ENGINES),
    arrows("faulty-target", &["checker", "machine"], ENGINES),
    arrows("sim",      &["bugs", "checker", "executor", "faulty-target", "gate", "http-api",
                         "machine", "outbound", "replica", "store", "types"],
                       &["openraft", "rocksdb", "axum", "tonic"]),
    arrows("qgate",    ALL, ENGINES),
];

/// The line that keeps the standard library, and so clocks and sockets, out of a pure crate.
const NO_STD: &[(&str, &str)] = &[
    ("types", "#![no_std]"),
    ("tlog", "#![no_std]"),
    ("ledger", "#![no_std]"),
    ("policy", "#![cfg_attr(not(feature = \"parse\"), no_std)]"),
];

/// What a pure crate must not name even where a feature lets `std` in.
const IMPURE_WORDS: &[&str] = &[
    "SystemTime",
    "Instant::now",
    "HashMap",
    "HashSet",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
];

#[test]
fn crates_import_only_along_the_arrows() {
    let crates = crate_folders();
    let names: BTreeSet<String> = crates.iter().map(|path| file_name(path)).collect();
    let mut faults = Vec::new();
    for folder in &crates {
        let name = file_name(folder);
        let manifest = read(&folder.join("Cargo.toml"));
        if !manifest.lines().any(|line| line.trim() == format!("name = \"{name}\"")) {
            faults.push(format!("crates/{name}: the package is not named like its folder"));
        }
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            faults.push(format!("crates/{name}: give it a row in the table of tests/tidy.rs"));
            continue;
        };
        for import in imports(&manifest) {
            let ours = names.contains(&import);
            if ours && row.may != ALL && !row.may.contains(&import.as_str()) {
                faults.push(format!("crates/{name} must not import our crate {import}"));
            }
            if row.never.contains(&import.as_str()) {
                faults.push(format!("crates/{name} must not import {import}"));
            }
        }
    }
    assert_none(&faults);
}

/// The code map of ARCHITECTURE.md says of each crate what the table says, as far as it exists.
#[test]
fn the_code_map_is_the_table() {
    let names: BTreeSet<String> = crate_folders().iter().map(|path| file_name(path)).collect();
    let mut faults = Vec::new();
    let mut mapped = BTreeSet::new();
    for line in read(&root().join("ARCHITECTURE.md")).lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", link, _, imports, ""] = cells.as_slice() else { continue };
        let name = link.strip_prefix("[`").and_then(|rest| rest.split_once("`](crates/"));
        let Some((name, _)) = name else { continue };
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            faults.push(format!("{name} is on the map and not in the table"));
            continue;
        };
        mapped.insert(name.to_owned());
        let shown: BTreeSet<&str> = imports.split(", ").collect();
        let expected: BTreeSet<&str> = match row.may {
            [] => ["nothing"].into(),
            may if may == ALL => ["all"].into(),
            may => may.iter().copied().filter(|import| names.contains(*import)).collect(),
        };
        if shown != expected {
            faults.push(format!("{name}: the map says {shown:?}, the table {expected:?}"));
        }
    }
    faults.extend(names.difference(&mapped).map(|name| format!("{name} is not on the map")));
    assert_none(&faults);
}

#[test]
fn pure_crates_keep_the_world_out() {
    let mut faults = Vec::new();
    for (name, line) in NO_STD {
        let folder = root().join("crates").join(name).join("src");
        if !read(&folder.join("lib.rs")).lines().any(|found| found == *line) {
            faults.push(format!("crates/{name}/src/lib.rs lacks the line {line}"));
        }
        for file in rust_files(&folder) {
            for (number, text) in numbered(&file) {
                let code = text.split("//").next().unwrap_or_default();
                for word in IMPURE_WORDS.iter().filter(|word| code.contains(*word)) {
                    faults.push(format!("{}:{number} names {word}", shown(&file)));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn files_open_with_their_purpose_and_keep_their_size() {
    let mut faults = Vec::new();
    for file in all_rust_files() {
        let (text, name) = (read(&file), shown(&file));
        if !text.starts_with("//! ") {
            faults.push(format!("{name} does not open with //! and its purpose"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{name} has {lines} lines, at most {FILE_LINES_MAX} are allowed"));
        }
        for (number, line) in numbered(&file) {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                faults.push(format!("{name}:{number} has {columns} columns"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn nothing_is_put_off() {
    // In two parts, or this file would find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut faults = Vec::new();
    for file in all_rust_files() {
        for (number, line) in numbered(&file) {
            // Code may name the words: they are what people leave behind in templates.
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            let mut found = comment.split(|letter: char| !letter.is_alphanumeric());
            if found.any(|word| words.contains(&word)) {
                faults.push(format!("{}:{number} puts work off", shown(&file)));
            }
        }
    }
    assert_none(&faults);
}

/// Error codes are the strings of the list `CODES`; each has the page `docs/errors/<code>.md`,
/// and no page is without its code.
#[test]
fn every_error_code_has_a_page() {
    let list = root().join("crates/gate/src/errors.rs");
    let codes = error_codes(&read(&list));
    assert!(!codes.is_empty(), "{} has no list named CODES", shown(&list));
    let mut pages: BTreeSet<String> = entries(&root().join("docs/errors"))
        .iter()
        .filter_map(|path| file_name(path).strip_suffix(".md").map(str::to_owned))
        .collect();
    pages.remove("README");
    let mut faults = Vec::new();
    faults.extend(codes.difference(&pages).map(|code| format!("docs/errors/{code}.md is missing")));
    faults.extend(pages.difference(&codes).map(|page| format!("docs/errors/{page}.md: no code")));
    assert_none(&faults);
}

#[test]
fn manifests_are_read_in_every_spelling() {
    let manifest = r#"
        [package]
        name = "example"
        [dependencies]
        plain = "1"
        inherited.workspace = true # why
        "quoted" = { version = "1" }
        renamed = { package = "real-name", version = "1" }
        several = { version = "1", features = [
            "not-a-name",
        ] }
        [dependencies.table]
        version = "1"
        [target.'cfg(unix)'.dependencies]
        targeted = "1"
        [build-dependencies]
        build = "1"
        [dev-dependencies]
        dev = "1"
        [features]
        feature = ["dep:plain"]
    "#;
    let expected = [
        "build",
        "inherited",
        "plain",
        "quoted",
        "real-name",
        "renamed",
        "several",
        "table",
        "targeted",
    ];
    assert_eq!(imports(manifest), expected.map(str::to_owned).into());
}

#[test]
fn error_codes_are_read_from_their_list() {
    let source = r#"
        const OTHER: &str = "other";
        pub const CODES: &[(&str, u16)] = &[
            ("not_held", 409), // "commented"
            ("forbidden", 403),
        ];
        const LATER: &str = "later";
    "#;
    assert_eq!(error_codes(source), ["forbidden", "not_held"].map(str::to_owned).into());
}

/// The names under `[dependencies]` and its kin, without those of tests.
fn imports(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    let mut depth = 0_usize;
    for line in manifest.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if depth == 0 && line.starts_with('[') {
            let section = line.trim_matches(['[', ']']);
            let (before, last) = section.rsplit_once('.').unwrap_or(("", section));
            inside = is_section(last);
            if is_section(before.rsplit('.').next().unwrap_or_default()) {
                found.insert(unquoted(last));
            }
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or(("", line));
        if inside && depth == 0 && !key.is_empty() {
            let name = key.trim().split('.').next().unwrap_or_default();
            found.insert(unquoted(name));
            if let Some((_, rest)) = value.split_once("package = \"") {
                found.extend(rest.split('"').next().map(str::to_owned));
            }
        }
        depth += value.matches(['[', '{']).count();
        depth = depth.saturating_sub(value.matches([']', '}']).count());
    }
    found
}

fn is_section(name: &str) -> bool {
    matches!(name, "dependencies" | "build-dependencies")
}

fn unquoted(name: &str) -> String {
    name.trim().trim_matches('"').to_owned()
}

/// The strings between `CODES` and the end of that list.
fn error_codes(source: &str) -> BTreeSet<String> {
    let list = source.split_once("CODES").map_or("", |(_, rest)| rest);
    let list = list.split_once("];").map_or("", |(list, _)| list);
    list.lines()
        .flat_map(|line| line.split("//").next().unwrap_or_default().split('"').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn crate_folders() -> Vec<PathBuf> {
    let mut folders = entries(&root().join("crates"));
    folders.retain(|path| path.join("Cargo.toml").exists());
    assert!(!folders.is_empty(), "no crates below {}", root().display());
    folders
}

fn all_rust_files() -> Vec<PathBuf> {
    let folders = ["crates", "tests", "benches", "examples", "fuzz"].map(|name| root().join(name));
    let files: Vec<_> = folders
        .iter()
        .filter(|folder| folder.exists())
        .flat_map(|folder| rust_files(folder))
        .collect();
    assert!(!files.is_empty(), "no Rust files below {}", root().display());
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            if file_name(&path) != "target" {
                found.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// What a folder holds, in order of names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", shown(folder)));
    let mut paths: Vec<_> =
        listing.map(|entry| entry.expect("an entry is readable").path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", shown(path)))
}

fn numbered(path: &Path) -> Vec<(usize, String)> {
    (1..).zip(read(path).lines().map(str::to_owned)).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The path from the root of the workspace on.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n{}", faults.len(), faults.join("\n"));
}
