//! The same done to the disk and to a plain directory.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};
use tempfile::TempDir;

use crate::{ROOM_BYTES, append, place, tree};

#[derive(Debug, Clone)]
enum Step {
    Write(u8, u8, Vec<u8>),
    Replace(u8, Vec<u8>),
    Append(u8, Vec<u8>),
    Length(u8, u16),
    Allocate(u8, u16, bool),
    Remove(u8),
    Rename(u8, u8),
    RenameToNew(u8, u8),
    RenameDirectory(u8, u8),
    Link(u8, u8),
    MakeDirectory(u8),
    RemoveDirectory(u8),
    Sync(u8),
}

/// Few names, so that they meet; some lie in directories.
fn path(root: &Path, number: u8) -> PathBuf {
    match number % 8 {
        number @ 0..4 => root.join(format!("file-{number}")),
        number => root.join(format!("dir-{}/file-{}", number % 2, number / 3)),
    }
}

fn directory(root: &Path, number: u8) -> PathBuf {
    root.join(format!("dir-{}", number % 3))
}

fn opened(path: PathBuf) -> std::io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

impl Step {
    fn take(&self, root: &Path) -> Result<(), ErrorKind> {
        let done = match self {
            Self::Write(at, offset, bytes) => {
                let mut open = OpenOptions::new();
                let file = open.write(true).create(true).truncate(false).open(path(root, *at));
                file.and_then(|file| file.write_all_at(bytes, u64::from(*offset) * 100))
            }
            Self::Replace(at, bytes) => fs::write(path(root, *at), bytes),
            Self::Append(at, bytes) => {
                append(&path(root, *at)).and_then(|mut file| file.write_all(bytes))
            }
            Self::Length(at, length) => {
                opened(path(root, *at)).and_then(|file| file.set_len((*length).into()))
            }
            Self::Allocate(at, end, keeps_size) => opened(path(root, *at)).and_then(|file| {
                let keep = FallocateFlags::KEEP_SIZE;
                let flags = if *keeps_size { keep } else { FallocateFlags::empty() };
                Ok(fallocate(&file, flags, 0, u64::from(*end) + 1)?)
            }),
            Self::Remove(at) => fs::remove_file(path(root, *at)),
            Self::Rename(from, to) => fs::rename(path(root, *from), path(root, *to)),
            Self::RenameToNew(from, to) => {
                let (from, to) = (path(root, *from), path(root, *to));
                renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(Into::into)
            }
            Self::RenameDirectory(from, to) => {
                fs::rename(directory(root, *from), directory(root, *to))
            }
            Self::Link(from, to) => fs::hard_link(path(root, *from), path(root, *to)),
            Self::MakeDirectory(at) => fs::create_dir(directory(root, *at)),
            Self::RemoveDirectory(at) => fs::remove_dir(directory(root, *at)),
            Self::Sync(at) => File::open(path(root, *at)).and_then(|file| file.sync_all()),
        };
        done.map_err(|error| error.kind())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || prop::collection::vec(prop::char::range('a', 'z').prop_map(|c| c as u8), 0..300);
    let at = any::<u8>;
    let step = prop_oneof![
        6 => (at(), at(), bytes()).prop_map(|(at, offset, bytes)| Step::Write(at, offset, bytes)),
        2 => (at(), bytes()).prop_map(|(at, bytes)| Step::Replace(at, bytes)),
        3 => (at(), bytes()).prop_map(|(at, bytes)| Step::Append(at, bytes)),
        2 => (at(), any::<u16>()).prop_map(|(at, length)| Step::Length(at, length)),
        2 => (at(), any::<u16>(), any::<bool>())
            .prop_map(|(at, end, keeps_size)| Step::Allocate(at, end, keeps_size)),
        2 => at().prop_map(Step::Remove),
        2 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Step::RenameToNew(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Step::RenameDirectory(from, to)),
        2 => (at(), at()).prop_map(|(from, to)| Step::Link(from, to)),
        3 => at().prop_map(Step::MakeDirectory),
        1 => at().prop_map(Step::RemoveDirectory),
        2 => at().prop_map(Step::Sync),
    ];
    prop::collection::vec(step, 0..60)
}

#[test]
fn while_nothing_fails_it_is_as_any_other() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let mut runner = TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    let tested = runner.run(&steps(), |steps| {
        let (own, plain) = (TempDir::new_in(place.dir.path()), TempDir::new());
        let (own, plain) = (own.expect("a directory"), plain.expect("a directory"));
        for step in &steps {
            prop_assert_eq!(step.take(own.path()), step.take(plain.path()), "{:?}", step);
        }
        prop_assert_eq!(tree(own.path()), tree(plain.path()));
        Ok(())
    });
    tested.expect("the same");
}
