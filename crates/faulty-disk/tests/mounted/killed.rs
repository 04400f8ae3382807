//! A process that ends at a point, and what is there afterwards.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use faulty_disk::{Operation, Point, When};

use crate::{Place, ROOM_BYTES, append, place, tree};

/// The directory in which [`the_work_of_a_child`] works.
const DIRECTORY: &str = "FAULTY_DISK_TEST_DIRECTORY";
const KILL: i32 = 9;

/// What a child does, each line another operation.
fn work(root: &Path) -> io::Result<()> {
    fs::create_dir(root.join("dir"))?;
    fs::write(root.join("dir/one"), "1")?;
    append(&root.join("dir/one"))?.write_all(b"2")?;
    File::open(root.join("dir/one"))?.sync_data()?;
    File::open(root.join("dir"))?.sync_all()?;
    fs::rename(root.join("dir/one"), root.join("two"))?;
    fs::hard_link(root.join("two"), root.join("dir/three"))?;
    append(&root.join("two"))?.write_all(b"3")?;
    fs::remove_file(root.join("two"))?;
    Ok(())
}

/// No test: the program of the children, which begin once their input ends.
#[test]
#[ignore = "done by children"]
fn the_work_of_a_child() {
    let Some(root) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    io::stdin().lock().read_until(b'\n', &mut Vec::new()).expect("an end");
    work(&root).expect("nothing fails");
}

fn child(place: &Place) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "killed::the_work_of_a_child"]);
    command.env(DIRECTORY, place.dir.path()).stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("a child")
}

fn shown(place: &Place) -> String {
    tree(place.dir.path()).join(" ").replace('"', "")
}

#[test]
#[rustfmt::skip]
fn a_process_ends_where_it_is_told_to() {
    use Operation::{Create, Link, Remove, Rename, Sync, SyncDirectory, Write};
    type Case = (Operation, fn(&str) -> bool, u32, [&'static str; 2], [&'static str; 2]);
    // Operation, path, so many skipped; what is there where it was not done and where it was, and
    // what is left of that without power.
    let cases: [Case; 10] = [
        (Create,        |path| path == "dir",      0, ["", "dir"],                  ["", ""]),
        (Create,        |path| path == "dir/one",  0, ["dir", "dir one 1 "],        ["", ""]),
        (Create,        |_| true,                  1, ["dir", "dir one 1 "],        ["", ""]),
        (Write,         |path| path == "dir/one",  0, ["dir one 1 ", "dir one 1 1"], ["", ""]),
        (Write,         |path| path == "dir/one",  1, ["dir one 1 1", "dir one 1 12"], ["", ""]),
        (Sync,          |_| true,                  0, ["dir one 1 12", "dir one 1 12"], ["", ""]),
        (SyncDirectory, |path| path == "dir",      0, ["dir one 1 12", "dir one 1 12"],
                                                      ["", "dir one 1 12"]),
        (Rename,        |path| path == "two",      0, ["dir one 1 12", "dir two 1 12"],
                                                      ["dir one 1 12", "dir one 1 12"]),
        (Link,          |path| path == "dir/three", 0, ["dir two 1 12", "dir three 2 12 two 2 12"],
                                                      ["dir one 1 12", "dir one 1 12"]),
        (Remove,        |path| path == "two",      0,
            ["dir three 2 123 two 2 123", "dir three 1 123"], ["dir one 1 12", "dir one 1 12"]),
    ];
    for (operation, path, skip, there, left) in cases {
        let expected = there.into_iter().zip(left);
        for (when, (there, left)) in [When::Before, When::After].into_iter().zip(expected) {
            let Some(place) = place(ROOM_BYTES) else { return };
            let mut child = child(&place);
            let what = format!("{when:?} {operation:?} number {skip}");
            place.disk.kill_at(child.id(), Point::new(operation, path).when(when).skip(skip));
            assert!(!place.disk.point_hit());
            drop(child.stdin.take());
            assert_eq!(child.wait().unwrap().signal(), Some(KILL), "{what}");
            assert!(place.disk.point_hit());
            assert_eq!(shown(&place), there, "{what}");
            place.cut_power();
            assert_eq!(shown(&place), left, "{what}");
        }
    }
}

/// A file has each of its names, and no other; a name that it had is none.
#[test]
fn a_point_is_found_by_any_name_of_a_file() {
    for (name, is_hit) in [("two", true), ("dir/three", true), ("dir/one", false)] {
        let Some(place) = place(ROOM_BYTES) else { return };
        let mut child = child(&place);
        let before = if is_hit { 0 } else { 2 };
        let point = Point::new(Operation::Write, move |path| path == name).skip(before);
        place.disk.kill_at(child.id(), point);
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().signal(), is_hit.then_some(KILL), "{name}");
        assert_eq!(place.disk.point_hit(), is_hit);
        let there = if is_hit { "dir three 2 12 two 2 12" } else { "dir three 1 123" };
        assert_eq!(shown(&place), there, "{name}");
    }
}

/// Nothing that fails is done, and so it is not after it.
#[test]
fn an_operation_that_fails_is_no_point_to_end_after() {
    let Some(place) = place(ROOM_BYTES) else { return };
    let mut child = child(&place);
    place.disk.fail_syncs(1, |_| true);
    place.disk.kill_at(child.id(), Point::new(Operation::Sync, |_| true).when(When::After));
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    assert_eq!((status.success(), status.signal()), (false, None), "it sees the error");
    assert!(!place.disk.point_hit());
    assert_eq!(shown(&place), "dir one 1 12");
}
