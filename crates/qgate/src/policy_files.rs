//! Policy files on disk: a directory, or single files, become the sets that belong together.
//!
//! Files of one directory are judged together. Invariant: a problem names the file as the caller
//! would open it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use policy::{Compiled, Problem, SourceFile};
use serde_json::{Value, json};
use types::limits::POLICY_BYTES_MAX;

use crate::failure::Failure;
use crate::files;
use crate::output::harmless;

/// Files that are judged together.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// Where they lie.
    pub(crate) directory: PathBuf,
    /// Their names inside the set and their bytes.
    pub(crate) files: Vec<SourceFile>,
}

impl Sources {
    /// Reads every policy file of a directory: `*.yaml` and `*.yml` without `*.test.yaml`.
    ///
    /// # Errors
    /// A directory without policy files, and what the file system says.
    pub(crate) fn of_directory(directory: &Path) -> Result<Self, Failure> {
        let unread = |error| cannot_read(&format!("{}: {error}", directory.display()));
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if policy::is_policy_file(name) && path.is_file() {
                files.push(source_file(&path)?);
            }
        }
        if files.is_empty() {
            let what = format!("{}: no policy files (*.yaml or *.yml)", directory.display());
            return Err(Failure::usage(what).next("name the directory that holds your policies"));
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { directory: directory.to_path_buf(), files })
    }

    /// Reads directories and single files; files of one directory come together.
    ///
    /// # Errors
    /// As [`Sources::of_directory`].
    pub(crate) fn of_paths(paths: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        let mut all = Vec::new();
        let mut single: BTreeMap<PathBuf, Vec<SourceFile>> = BTreeMap::new();
        for path in paths {
            if path.is_dir() {
                all.push(Self::of_directory(path)?);
                continue;
            }
            let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
            let file = source_file(path)?;
            let together = single.entry(directory).or_default();
            if !together.contains(&file) {
                together.push(file);
            }
        }
        all.extend(single.into_iter().map(|(directory, files)| Self { directory, files }));
        Ok(all)
    }

    /// Compiles them.
    ///
    /// # Errors
    /// Every problem, with the path of its file.
    pub(crate) fn compile(&self) -> Result<Compiled, Vec<Problem>> {
        let placed = |mut problem: Problem| {
            problem.file = self.directory.join(&problem.file).display().to_string();
            problem
        };
        match policy::compile(&self.files) {
            Ok(mut compiled) => {
                compiled.warnings = compiled.warnings.into_iter().map(placed).collect();
                Ok(compiled)
            }
            Err(problems) => Err(problems.into_iter().map(placed).collect()),
        }
    }

    /// The documents by id, as `PUT /v1/policies` takes them.
    ///
    /// # Errors
    /// A document that is not UTF-8; two files with one id.
    pub(crate) fn documents(&self) -> Result<Value, Failure> {
        let mut documents = serde_json::Map::new();
        for file in &self.files {
            let path = self.directory.join(&file.name);
            let text = String::from_utf8(file.bytes.clone())
                .map_err(|_| Failure::refused(format!("{}: not UTF-8 text", path.display())))?;
            let id = file.name.rsplit_once('.').map_or(file.name.as_str(), |(stem, _)| stem);
            if documents.insert(id.to_owned(), Value::from(text)).is_some() {
                let what = format!("{}: another file has the id `{id}` too", path.display());
                return Err(Failure::refused(what));
            }
        }
        Ok(Value::Object(documents))
    }
}

/// A problem as lint prints it: ``file:line:column: message (did you mean `word`?)``.
pub(crate) fn shown(problem: &Problem) -> String {
    harmless(&problem.to_string())
}

/// A problem as JSON.
pub(crate) fn as_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "nearest": problem.nearest,
    })
}

fn source_file(path: &Path) -> Result<SourceFile, Failure> {
    // One byte more than is allowed and no more, so that the compiler says it with a line.
    let bytes = files::read_start(path, POLICY_BYTES_MAX + 1)
        .map_err(|error| cannot_read(&error.to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(SourceFile { name, bytes })
}

fn cannot_read(what: &str) -> Failure {
    Failure::usage(format!("cannot read policies: {what}"))
        .next("name a directory of policies, or a policy file, that can be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "gates:\n  - name: g\n    resource: r\n    policies:\n      - \
                        require_approval_over: 1\n";

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_directory_is_its_policy_files_in_order() {
        let dir = directory(&[
            ("b.yml", "x: 1"),
            ("a.yaml", GOOD),
            ("a.test.yaml", "no policy"),
            ("README.md", "text"),
        ]);
        let sources = Sources::of_directory(dir.path()).unwrap();
        let names: Vec<_> = sources.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.yaml", "b.yml"]);
        let documents = sources.documents().unwrap();
        assert_eq!(documents, json!({"a": GOOD, "b": "x: 1"}));
    }

    #[test]
    fn what_cannot_be_read_says_what_to_name() {
        let failure = Sources::of_paths(&[PathBuf::from("/nowhere/gates.yaml")]).unwrap_err();
        assert!(failure.what.contains("/nowhere/gates.yaml"), "{failure}");
        assert!(failure.next.unwrap_or_default().contains("policy file"));
    }

    #[test]
    fn an_empty_directory_is_a_mistake() {
        let dir = directory(&[("README.md", "text")]);
        let failure = Sources::of_directory(dir.path()).unwrap_err();
        assert!(failure.what.contains("no policy files"), "{failure}");
    }

    #[test]
    fn problems_name_the_file_as_the_caller_would_open_it() {
        let wrong = GOOD.replace("resource", "resuorce");
        let dir = directory(&[("gates.yaml", &wrong)]);
        let path = dir.path().join("gates.yaml");
        let sources = Sources::of_paths(std::slice::from_ref(&path)).unwrap();
        let problems = sources[0].compile().unwrap_err();
        let text = shown(&problems[0]);
        assert!(text.starts_with(&format!("{}:3:5: ", path.display())), "{text}");
        assert!(text.ends_with("(did you mean `resource`?)"), "{text}");
    }
}
