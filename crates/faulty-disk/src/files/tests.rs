//! What survives a cut, case by case.

use super::*;
use crate::operations::new;

pub(super) const FILE: &str = "file";

pub(super) fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

pub(super) fn create(files: &mut Files, text: &str) -> Number {
    files.create(ROOT, name(text), new(false, 0o600, (0, 0))).expect("a new name")
}

/// A file with a durable name.
pub(super) fn made() -> (Files, Number) {
    let mut files = Files::new();
    let number = create(&mut files, FILE);
    files.sync_names();
    (files, number)
}

fn shown_below(files: &Files, directory: Number) -> String {
    let listed = files.list(directory).map(|(name, number)| {
        let name = name.to_string_lossy();
        if files.is_directory(number) {
            return format!("{name}/[{}]", shown_below(files, number));
        }
        let bytes = files.read(number, 0, u32::MAX).expect("a file");
        format!("{name}={}", String::from_utf8_lossy(bytes))
    });
    listed.collect::<Vec<_>>().join(" ")
}

/// Every name with what its file has, as text.
pub(super) fn shown(files: &Files) -> String {
    shown_below(files, ROOT)
}

fn write(files: &mut Files, number: Number, offset: u64, text: &str) {
    files.write(number, offset, text.as_bytes()).expect("a file");
}

/// Writes at the beginning of a file, and syncs it.
fn write_synced(files: &mut Files, number: Number, text: &str) {
    write(files, number, 0, text);
    files.sync(number).expect("a file");
}

/// A file with content, all of it durable.
fn put(files: &mut Files, text: &str, content: &str) -> Number {
    let number = create(files, text);
    write_synced(files, number, content);
    files.sync_names();
    number
}

fn rename(files: &mut Files, from: &str, to: &str) {
    files.rename((ROOT, name(from)), (ROOT, name(to)), true).expect("there is such a name");
}

#[test]
#[rustfmt::skip]
fn what_survives_a_cut_is_what_was_synced_and_a_beginning_of_the_rest() {
    type Done = fn(&mut Files, Number);
    // What survives where nothing of the rest does, half of each count, and all of it.
    let cases: [(&str, Done, [&str; 3]); 20] = [
        ("a write", |files, at| write(files, at, 0, "abcd"), ["file=", "file=ab", "file=abcd"]),
        ("two writes", |files, at| {
            write(files, at, 0, "ab");
            write(files, at, 2, "cd");
        }, ["file=", "file=abc", "file=abcd"]),
        ("a synced write", |files, at| write_synced(files, at, "abcd"),
            ["file=abcd", "file=abcd", "file=abcd"]),
        ("more after a sync", |files, at| {
            write_synced(files, at, "ab");
            write(files, at, 2, "cdef");
        }, ["file=ab", "file=abcd", "file=abcdef"]),
        ("a write over another", |files, at| {
            write_synced(files, at, "abcd");
            write(files, at, 1, "xy");
        }, ["file=abcd", "file=axcd", "file=axyd"]),
        ("a length", |files, at| {
            write_synced(files, at, "abcd");
            files.set_length(at, 1).unwrap();
        }, ["file=abcd", "file=abcd", "file=a"]),
        ("a synced length", |files, at| {
            write_synced(files, at, "abcd");
            files.set_length(at, 1).unwrap();
            files.sync(at).unwrap();
        }, ["file=a", "file=a", "file=a"]),
        ("a failed sync", |files, at| {
            write(files, at, 0, "ab");
            files.sync_failed(at);
        }, ["file=", "file=", "file="]),
        ("a failed sync, and a good one of nothing more", |files, at| {
            write(files, at, 0, "ab");
            files.sync_failed(at);
            files.sync(at).unwrap();
        }, ["file=", "file=", "file="]),
        ("a failed sync, and a good one of what came after", |files, at| {
            write(files, at, 0, "ab");
            files.sync_failed(at);
            write(files, at, 2, "c");
            files.sync(at).unwrap();
        }, ["file=\0\0c", "file=\0\0c", "file=\0\0c"]),
        ("a new name", |files, _| {
            let new = create(files, "new");
            write_synced(files, new, "ab");
        }, ["file=", "file=", "file= new=ab"]),
        ("a new name that was synced", |files, _| {
            let new = create(files, "new");
            files.sync_names();
            write(files, new, 0, "ab");
        }, ["file= new=", "file= new=a", "file= new=ab"]),
        ("a directory and a name in it", |files, _| {
            let made = files.create(ROOT, name("dir"), new(true, 0, (0, 0))).unwrap();
            files.create(made, name("in"), new(false, 0, (0, 0))).unwrap();
        }, ["file=", "dir/[] file=", "dir/[in=] file="]),
        ("a rename", |files, _| rename(files, FILE, "other"), ["file=", "file=", "other="]),
        ("a rename that was synced", |files, _| {
            rename(files, FILE, "other");
            files.sync_names();
        }, ["other=", "other=", "other="]),
        ("a rename over another", |files, _| {
            _ = put(files, "new", "new");
            rename(files, "new", FILE);
        }, ["file= new=new", "file= new=new", "file=new"]),
        ("a rename over another that was synced", |files, _| {
            _ = put(files, "new", "new");
            rename(files, "new", FILE);
            files.sync_names();
        }, ["file=new", "file=new", "file=new"]),
        ("a removal", |files, at| {
            write_synced(files, at, "ab");
            files.remove(ROOT, name(FILE), false).unwrap();
        }, ["file=ab", "file=ab", ""]),
        ("a removal that was synced", |files, _| {
            files.remove(ROOT, name(FILE), false).unwrap();
            files.sync_names();
        }, ["", "", ""]),
        ("a second name", |files, at| {
            files.link(at, ROOT, name("link")).unwrap();
            write_synced(files, at, "ab");
        }, ["file=ab", "file=ab", "file=ab link=ab"]),
    ];
    for (what, done, expected) in cases {
        let kept: [fn(usize) -> usize; 3] = [|_| 0, |count| count / 2, |count| count];
        for (kept, expected) in kept.into_iter().zip(expected) {
            let (mut files, at) = made();
            done(&mut files, at);
            let seen = shown(&files);
            let lost = files.cut(&mut |count| kept(count));
            assert_eq!(shown(&files), expected, "{what}");
            assert_eq!(lost.bytes + lost.names > 0, expected != seen, "{what}: {lost:?}");
            // Nothing is left that another cut could take.
            assert_eq!(files.cut(&mut |_| 0), Lost::default(), "{what}");
            assert_eq!(shown(&files), expected, "{what}");
        }
    }
}

#[test]
fn names_are_counted_and_files_without_any_are_given_up() {
    let (mut files, at) = made();
    write(&mut files, at, 0, "abc");
    files.link(at, ROOT, name("link")).unwrap();
    assert_eq!((files.names(at), files.used()), (Ok(2), 3));
    files.remove(ROOT, name(FILE), false).unwrap();
    assert_eq!(files.names(at), Ok(1));
    files.open(at).unwrap();
    files.remove(ROOT, name("link"), false).unwrap();
    files.sync_names();
    assert_eq!(files.read(at, 0, 9).unwrap(), b"abc", "somebody has it open");
    files.close(at);
    assert_eq!((files.names(at), files.used()), (Err(Trouble::NotThere), 0));
}

#[test]
fn a_file_is_kept_while_a_cut_may_bring_it_back() {
    let (mut files, at) = made();
    write_synced(&mut files, at, "abc");
    files.remove(ROOT, name(FILE), false).unwrap();
    assert_eq!((files.names(at), files.used()), (Ok(0), 0));
    files.cut(&mut |_| 0);
    assert_eq!((files.names(at), shown(&files).as_str()), (Ok(1), "file=abc"));
    // One of which no name was ever durable, but may become so: as it was made or renamed.
    for stay in 1..=2 {
        let (mut files, _) = made();
        let new = create(&mut files, "new");
        rename(&mut files, "new", "other");
        files.remove(ROOT, name("other"), false).unwrap();
        assert_eq!(files.names(new), Ok(0));
        files.cut(&mut |_| stay);
        assert_eq!(shown(&files), ["file= new=", "file= other="][stay - 1]);
        files.remove(ROOT, name(["new", "other"][stay - 1]), false).unwrap();
        files.sync_names();
        assert_eq!(files.names(new), Err(Trouble::NotThere), "no cut brings it back");
    }
}

#[test]
fn directories_are_counted_as_any_other_file_system_does() {
    let (mut files, at) = made();
    let made = files.create(ROOT, name("dir"), new(true, 0, (0, 0))).unwrap();
    files.link(at, made, name("link")).unwrap();
    files.sync_names();
    assert_eq!((files.names(ROOT), files.names(made)), (Ok(2), Ok(2)));
    files.cut(&mut |_| 0);
    assert_eq!((files.names(ROOT), files.names(made)), (Ok(2), Ok(2)));
    assert_eq!(files.remove(ROOT, name("dir"), true), Err(Trouble::NotEmpty));
    assert_eq!(files.remove(ROOT, name("dir"), false), Err(Trouble::IsDirectory));
    assert_eq!(files.remove(ROOT, name(FILE), true), Err(Trouble::NotDirectory));
    let replaced = files.rename((ROOT, name("dir")), (ROOT, name(FILE)), false);
    assert_eq!(replaced, Err(Trouble::Exists));
    rename(&mut files, "dir", "moved");
    assert_eq!(files.paths(at), ["file", "moved/link"]);
    files.remove(made, name("link"), false).unwrap();
    assert_eq!(files.paths(at), ["file"]);
}

#[test]
fn a_flipped_bit_stays_flipped_through_syncs_and_cuts() {
    let (mut files, at) = made();
    write_synced(&mut files, at, "aaa");
    assert_eq!(files.flip(at, 8), Ok(true));
    assert_eq!(shown(&files), "file=a`a");
    files.cut(&mut |_| 0);
    assert_eq!(shown(&files), "file=a`a");
    write(&mut files, at, 1, "ab");
    assert_eq!(files.flip(at, 17), Ok(true));
    files.sync(at).unwrap();
    files.cut(&mut |_| 0);
    assert_eq!(shown(&files), "file=aa`");
    assert_eq!((files.flip(at, 24), shown(&files).as_str()), (Ok(false), "file=aa`"));
}
