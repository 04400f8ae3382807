//! The disk as a process sees it, mounted: as any other file system while nothing fails, and what
//! it does when something does.
#![cfg(test)]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use faulty_disk::{Disk, Mounted, Operation, Point, When};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

const ROOM_BYTES: u64 = 1 << 30;

struct Place {
    disk: Disk,
    _mounted: Mounted,
    /// Last: it goes when nothing is mounted there any more.
    dir: TempDir,
}

/// `None` where this process may not mount.
fn place() -> Option<Place> {
    let (disk, dir) = (Disk::new(ROOM_BYTES), TempDir::new().expect("a directory"));
    match disk.mount(dir.path()) {
        Ok(mounted) => Some(Place { disk, _mounted: mounted, dir }),
        Err(error) => {
            println!("skipped: this process may not mount a file system: {error}");
            None
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(u8, u8, Vec<u8>),
    Append(u8, Vec<u8>),
    Length(u8, u16),
    Remove(u8),
    Rename(u8, u8),
    Link(u8, u8),
    MakeDirectory(u8),
    RemoveDirectory(u8),
    Sync(u8),
}

/// Few names, so that they meet; those of one digit more lie in a directory.
fn path(root: &Path, number: u8) -> std::path::PathBuf {
    match number % 8 {
        number @ 0..5 => root.join(format!("file-{number}")),
        number => root.join(format!("dir-0/file-{number}")),
    }
}

impl Step {
    fn take(&self, root: &Path) -> Result<(), ErrorKind> {
        let done = match self {
            Self::Write(at, offset, bytes) => {
                let mut open = OpenOptions::new();
                let file = open.write(true).create(true).truncate(false).open(path(root, *at));
                file.and_then(|file| file.write_all_at(bytes, u64::from(*offset) * 100))
            }
            Self::Append(at, bytes) => OpenOptions::new()
                .append(true)
                .open(path(root, *at))
                .and_then(|mut file| file.write_all(bytes)),
            Self::Length(at, length) => OpenOptions::new()
                .write(true)
                .open(path(root, *at))
                .and_then(|file| file.set_len((*length).into())),
            Self::Remove(at) => fs::remove_file(path(root, *at)),
            Self::Rename(from, to) => fs::rename(path(root, *from), path(root, *to)),
            Self::Link(from, to) => fs::hard_link(path(root, *from), path(root, *to)),
            Self::MakeDirectory(at) => fs::create_dir(root.join(format!("dir-{}", at % 3))),
            Self::RemoveDirectory(at) => fs::remove_dir(root.join(format!("dir-{}", at % 3))),
            Self::Sync(at) => File::open(path(root, *at)).and_then(|file| file.sync_all()),
        };
        done.map_err(|error| error.kind())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let at = any::<u8>;
    let step = prop_oneof![
        6 => (at(), at(), bytes()).prop_map(|(at, offset, bytes)| Step::Write(at, offset, bytes)),
        3 => (at(), bytes()).prop_map(|(at, bytes)| Step::Append(at, bytes)),
        2 => (at(), any::<u16>()).prop_map(|(at, length)| Step::Length(at, length)),
        2 => at().prop_map(Step::Remove),
        2 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (at(), at()).prop_map(|(from, to)| Step::Link(from, to)),
        2 => at().prop_map(Step::MakeDirectory),
        1 => at().prop_map(Step::RemoveDirectory),
        2 => at().prop_map(Step::Sync),
    ];
    prop::collection::vec(step, 0..60)
}

/// Every name below a directory with its kind, its count of names and its content.
fn tree(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut names: Vec<_> =
        fs::read_dir(root).expect("a directory").map(|entry| entry.expect("a name")).collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let about = entry.metadata().expect("it is there");
        if about.is_dir() {
            all.push(format!("{:?}", entry.file_name()));
            all.extend(tree(&entry.path()));
        } else {
            let bytes = fs::read(entry.path()).expect("its content");
            assert_eq!(about.len(), bytes.len() as u64);
            all.push(format!("{:?} {} {bytes:?}", entry.file_name(), about.nlink()));
        }
    }
    all
}

#[test]
fn while_nothing_fails_it_is_as_any_other() {
    let Some(place) = place() else { return };
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

#[test]
fn a_cut_is_seen_by_whoever_comes_after_it() {
    let Some(place) = place() else { return };
    let path = place.dir.path().join("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_all().unwrap();
    File::open(place.dir.path()).unwrap().sync_all().unwrap();
    file.write_all(b", and not").unwrap();
    fs::write(place.dir.path().join("unsynced"), "content").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"synced, and not");
    let lost = place.disk.cut_power(&mut |_| 0);
    assert_eq!((lost.bytes, lost.names), (16, 1));
    assert!(file.write_all(b"x").is_err() && fs::read(&path).is_err(), "the power is off");
    place.disk.power_on();
    assert_eq!(fs::read(&path).unwrap(), b"synced");
    assert_eq!(tree(place.dir.path()).len(), 1);
}

#[test]
fn a_full_disk_takes_nothing_that_needs_room() {
    let Some(place) = place() else { return };
    let path = place.dir.path().join("file");
    fs::write(&path, [7; 10_000]).unwrap();
    place.disk.fill();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    let refused = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::StorageFull);
    refused(file.write_all(&[8; 10_000]).unwrap_err());
    refused(File::create(place.dir.path().join("new")).unwrap_err());
    refused(fs::create_dir(place.dir.path().join("new")).unwrap_err());
    assert!(place.disk.refused_for_room() >= 3);
    let space = rustix::fs::statvfs(place.dir.path()).unwrap();
    assert_eq!(space.f_bavail, 0);
    // What needs none is done.
    File::options().write(true).open(&path).unwrap().write_all_at(&[9; 100], 0).unwrap();
    place.disk.make_room();
    file.write_all(b"more").unwrap();
    let space = rustix::fs::statvfs(place.dir.path()).unwrap();
    assert_eq!(space.f_blocks * space.f_frsize, ROOM_BYTES);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(&[9; 100]) && bytes.ends_with(b"more"));
}

#[test]
fn a_sync_that_fails_is_not_made_good_by_the_next() {
    let Some(place) = place() else { return };
    let path = place.dir.path().join("file");
    let mut file = File::create(&path).unwrap();
    File::open(place.dir.path()).unwrap().sync_all().unwrap();
    file.write_all(b"lost").unwrap();
    place.disk.fail_syncs(1);
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    assert_eq!(place.disk.failed_syncs(), 1);
    file.sync_data().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"lost", "it is seen until the power goes");
    place.disk.cut_power(&mut |count| count);
    place.disk.power_on();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_file_without_a_name_is_there_as_long_as_it_is_open() {
    let Some(place) = place() else { return };
    let path = place.dir.path().join("file");
    fs::write(&path, "content").unwrap();
    let mut file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), path.exists()), ("content", false));
}

/// A shell that makes three files, by itself, once its input ends.
fn waiting(place: &Place) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read line; : >first; : >second; : >third"]);
    command.current_dir(place.dir.path()).stdin(Stdio::piped()).spawn().expect("a shell")
}

#[test]
fn a_process_ends_where_it_is_told_to() {
    for (when, is_done) in [(When::Before, false), (When::After, true)] {
        let Some(place) = place() else { return };
        let mut child = waiting(&place);
        let point = Point::new(Operation::Create, |path| path != "other").when(when).skip(1);
        place.disk.kill_at(child.id(), point);
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        assert!(!status.success() && place.disk.point_hit(), "{status}");
        let there = ["first", "second", "third"].map(|name| place.dir.path().join(name).exists());
        assert_eq!(there, [true, is_done, false]);
    }
}
