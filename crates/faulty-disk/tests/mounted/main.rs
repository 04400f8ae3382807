//! The disk as a process sees it, mounted: as any other file system while nothing fails, and what
//! it does when something does.
#![cfg(test)]

mod killed;
mod like_any_other;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use faulty_disk::{Disk, Lost, Mounted, Operation};
use tempfile::TempDir;

const ROOM_BYTES: u64 = 1 << 30;

struct Place {
    disk: Disk,
    mounted: Mounted,
    /// Last: it goes when nothing is mounted there any more.
    dir: TempDir,
}

impl Place {
    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Makes every name durable.
    fn sync_names(&self) {
        File::open(self.dir.path()).expect("the root").sync_all().expect("no sync fails");
    }

    /// The power goes and comes back; nothing is left of what was not synced.
    fn cut_power(&self) -> Lost {
        let lost = self.disk.cut_power(&mut |_| 0);
        self.disk.power_on();
        lost
    }

    fn free_bytes(&self) -> u64 {
        let space = rustix::fs::statvfs(self.dir.path()).expect("a file system");
        assert_eq!(space.f_bavail, space.f_bfree);
        space.f_bavail * space.f_frsize
    }
}

/// `None` where this process may not mount.
fn place(room_bytes: u64) -> Option<Place> {
    let (disk, dir) = (Disk::new(room_bytes), TempDir::new().expect("a directory"));
    match disk.mount(dir.path()) {
        Ok(mounted) => Some(Place { disk, mounted, dir }),
        // No rights, no `/dev/fuse`, or no program that would lend the rights.
        Err(error)
            if [ErrorKind::PermissionDenied, ErrorKind::NotFound].contains(&error.kind()) =>
        {
            println!("skipped: this process may not mount a file system: {error}");
            None
        }
        Err(error) => panic!("not mounted: {error}"),
    }
}

/// Every name below a directory with its kind, its count of names and its content.
fn tree(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let listed = fs::read_dir(root).expect("a directory");
    let mut names: Vec<_> = listed.map(|entry| entry.expect("a name")).collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let about = entry.metadata().expect("it is there");
        assert_eq!(about.is_dir(), entry.file_type().expect("known").is_dir());
        let name = entry.file_name();
        if about.is_dir() {
            all.push(format!("{name:?}"));
            all.extend(tree(&entry.path()));
        } else {
            let bytes = fs::read(entry.path()).expect("its content");
            assert_eq!(about.len(), bytes.len() as u64);
            all.push(format!("{name:?} {} {:?}", about.nlink(), String::from_utf8_lossy(&bytes)));
        }
    }
    all
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == ErrorKind::StorageFull
}

fn has_failed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(5)
}

#[test]
fn a_cut_is_seen_by_whoever_comes_after_it() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let path = place.at("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_all().unwrap();
    place.sync_names();
    file.write_all(b", and not").unwrap();
    fs::write(place.at("unsynced"), "content").unwrap();
    assert_eq!(text(&path), "synced, and not");
    let lost = place.disk.cut_power(&mut |_| 0);
    assert_eq!(lost, Lost { files: 2, bytes: 16, names: 1 });
    assert!(has_failed(&fs::read(&path).unwrap_err()), "the power is off");
    assert!(has_failed(&fs::write(&path, "x").unwrap_err()));
    assert!(has_failed(&fs::create_dir(place.at("dir")).unwrap_err()));
    assert!(has_failed(&fs::read_dir(place.dir.path()).unwrap_err()));
    place.disk.power_on();
    assert_eq!(tree(place.dir.path()), ["\"file\" 1 \"synced\""]);
}

#[test]
fn what_was_open_when_the_power_went_fails_for_ever() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let path = place.at("file");
    let (root, mut file) = (File::open(place.dir.path()).unwrap(), File::create(&path).unwrap());
    place.sync_names();
    place.cut_power();
    // Somebody new has it open, and takes its name away.
    let mut new = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert!(has_failed(&file.write_all(b"old").unwrap_err()));
    assert!(has_failed(&file.set_len(7).unwrap_err()));
    assert!(has_failed(&file.sync_all().unwrap_err()));
    assert!(has_failed(&root.sync_all().unwrap_err()));
    let allocated = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 9);
    assert_eq!(allocated, Err(rustix::io::Errno::IO));
    fs::remove_file(&path).unwrap();
    place.sync_names();
    drop((root, file));
    // The disk has heard of the drop before it hears of this.
    fs::create_dir(place.at("dir")).unwrap();
    new.write_all(b"new").unwrap();
    new.rewind().unwrap();
    let mut read = String::new();
    new.read_to_string(&mut read).unwrap();
    assert_eq!(read, "new");
}

#[test]
fn a_file_that_was_put_in_the_place_of_another_is_one_or_the_other() {
    for is_synced in [false, true] {
        let Some(place) = place(ROOM_BYTES) else { return };
        let (path, new) = (place.at("file"), place.at("new"));
        fs::write(&path, "old").unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        place.sync_names();
        fs::write(&new, "new").unwrap();
        File::open(&new).unwrap().sync_all().unwrap();
        fs::rename(&new, &path).unwrap();
        if is_synced {
            place.sync_names();
        }
        assert_eq!(text(&path), "new");
        let lost = place.cut_power();
        let (expected, names) = if is_synced { ("new", 0) } else { ("old", 2) };
        assert_eq!(
            (tree(place.dir.path()), lost.names),
            (vec![format!("\"file\" 1 {expected:?}")], names)
        );
    }
}

#[test]
fn a_full_disk_takes_nothing_that_needs_room() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let path = place.at("file");
    fs::write(&path, [7; 10_000]).unwrap();
    let free = place.free_bytes();
    assert!((ROOM_BYTES - 12_288..=ROOM_BYTES - 10_000).contains(&free), "{free}");
    let mut file = append(&path).unwrap();
    for round in 1..=2 {
        place.disk.fill();
        assert_eq!(place.free_bytes(), 0);
        let refused = place.disk.refused_for_room();
        assert_eq!(file.write(&[8; 100]).unwrap(), 50, "the one that filled it");
        assert!(is_refused(&file.write(&[8; 50]).unwrap_err()));
        assert!(is_refused(&file.write(&[8; 50]).unwrap_err()));
        assert!(is_refused(&File::create(place.at("new")).unwrap_err()));
        assert!(is_refused(&fs::create_dir(place.at("new")).unwrap_err()));
        assert!(is_refused(&fs::hard_link(&path, place.at("new")).unwrap_err()));
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        let allocated = rustix::fs::fallocate(&file, keep, 0, 20_000);
        assert_eq!(allocated, Err(rustix::io::Errno::NOSPC));
        assert_eq!(place.disk.refused_for_room() - refused, 6);
        // What needs none is done.
        File::options().write(true).open(&path).unwrap().write_all_at(&[9; 100], 0).unwrap();
        fs::rename(&path, place.at("other")).unwrap();
        fs::rename(place.at("other"), &path).unwrap();
        file.sync_all().unwrap();
        place.disk.make_room();
        file.write_all(b"more").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 10_000 + round * 54);
    }
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(&[9; 100]) && bytes.ends_with(b"more"));
}

#[test]
fn a_small_disk_takes_as_much_as_it_has_room_for() {
    // No whole blocks, at which the kernel would divide a write.
    let Some(place) = place(12_000) else { return };
    let mut file = File::create(place.at("file")).unwrap();
    assert_eq!(place.free_bytes(), 2 * 4096);
    assert_eq!(file.write(&[1; 10_000]).unwrap(), 10_000);
    assert_eq!(place.free_bytes(), 0);
    assert_eq!(file.write(&[2; 10_000]).unwrap(), 2_000);
    assert!(is_refused(&file.write(&[3]).unwrap_err()));
    assert!(is_refused(&file.set_len(12_001).unwrap_err()));
    assert_eq!(place.disk.refused_for_room(), 2);
    file.set_len(3_000).unwrap();
    assert_eq!(place.free_bytes(), 2 * 4096);
    file.set_len(4_000).unwrap();
    assert_eq!(place.free_bytes(), 4096);
    // A file that is still open takes its room.
    fs::remove_file(place.at("file")).unwrap();
    assert_eq!(place.free_bytes(), 4096);
    file.set_len(0).unwrap();
    assert_eq!(place.free_bytes(), 2 * 4096);
}

#[test]
fn a_sync_that_fails_is_not_made_good_by_the_next() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let path = place.at("file");
    let mut file = File::create(&path).unwrap();
    place.sync_names();
    file.write_all(b"kept").unwrap();
    place.disk.fail_syncs(1, |path| path == "other");
    file.sync_data().unwrap();
    assert_eq!(place.disk.failed_syncs(), 0, "only those at the path fail");
    file.write_all(b" lost").unwrap();
    place.disk.fail_syncs(1, |path| path == "file");
    place.sync_names();
    assert_eq!(place.disk.failed_syncs(), 0, "only those of files fail");
    assert!(has_failed(&file.sync_data().unwrap_err()));
    assert_eq!(place.disk.failed_syncs(), 1);
    file.sync_data().unwrap();
    assert_eq!(place.disk.operations(Operation::Sync), 3);
    assert_eq!(text(&path), "kept lost", "it is seen until the power goes");
    place.disk.cut_power(&mut |count| count);
    place.disk.power_on();
    assert_eq!(text(&path), "kept");
}

#[test]
fn what_a_sync_is_for_is_durable_at_its_end() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let path = place.at("file");
    let mut file = File::create(&path).unwrap();
    place.sync_names();
    place.disk.syncs_take(Duration::from_micros(1)..Duration::from_millis(1));
    file.write_all(b"synced").unwrap();
    file.sync_data().unwrap();
    file.write_all(b", and not").unwrap();
    place.disk.syncs_take(Duration::from_secs(3_600)..Duration::from_secs(3_601));
    let syncing = thread::spawn(move || file.sync_data().map_err(|error| has_failed(&error)));
    // Others go on while it takes its time.
    fs::write(place.at("other"), "content").unwrap();
    place.disk.cut_power(&mut |_| 0);
    assert_eq!(syncing.join().unwrap(), Err(true));
    place.disk.power_on();
    assert_eq!(text(&path), "synced");
}

#[test]
fn a_file_without_a_name_is_there_as_long_as_it_is_open() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let path = place.at("file");
    fs::write(&path, "content").unwrap();
    let mut file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    place.sync_names();
    let mut read = String::new();
    file.read_to_string(&mut read).unwrap();
    assert_eq!((read.as_str(), path.exists()), ("content", false));
    assert_eq!(file.metadata().unwrap().nlink(), 0);
}

#[test]
fn a_bit_flips() {
    let Some(place) = place(ROOM_BYTES) else { return };
    fs::create_dir(place.at("dir")).unwrap();
    let path = place.at("dir/file");
    fs::write(&path, "aaa").unwrap();
    assert_eq!(text(&path), "aaa");
    place.disk.flip_bit("dir/file", 9).unwrap();
    assert_eq!(text(&path), "aca");
    let refused = [("dir/file", 24), ("dir/other", 0), ("dir", 0)];
    let refused = refused.map(|(path, bit)| place.disk.flip_bit(path, bit).unwrap_err().kind());
    assert_eq!(refused, [ErrorKind::InvalidInput, ErrorKind::NotFound, ErrorKind::IsADirectory]);
}

#[test]
fn a_program_runs_from_it_and_files_are_locked_on_it() {
    let Some(place) = place(ROOM_BYTES) else { return };
    // The kernel maps it into memory.
    let program = place.at("program");
    fs::copy("/bin/sh", &program).unwrap();
    let output = Command::new(&program).args(["-c", "echo it runs"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "it runs\n");
    let (one, other) = (File::open(&program).unwrap(), File::open(&program).unwrap());
    one.try_lock().unwrap();
    assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
    drop(one);
    other.try_lock().unwrap();
}

#[test]
fn it_is_mounted_no_more_though_somebody_has_a_file_open() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let path = place.at("file");
    let mut file = File::create(&path).unwrap();
    let Place { disk, mounted, dir } = place;
    drop(mounted);
    assert!(!path.exists());
    file.write_all(b"still there").unwrap();
    drop(file);
    // What it holds is there for whoever mounts it again.
    let _mounted = disk.mount(dir.path()).unwrap();
    assert_eq!(text(&path), "still there");
}
