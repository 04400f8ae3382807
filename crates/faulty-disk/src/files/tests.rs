//! What survives a cut, case by case, and by chance.

use proptest::prelude::*;

use super::*;

const FILE: &str = "file";

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

/// A file with a durable name.
fn made() -> (Files, Number) {
    let mut files = Files::new();
    let number = files.create(ROOT, name(FILE), false, 0o600, (0, 0)).expect("a file");
    files.sync_names();
    (files, number)
}

/// Every name of the root with what its file has, as text.
fn shown(files: &Files) -> String {
    let listed = files.list(ROOT).into_iter().map(|(number, name)| {
        let bytes = files.read(number, 0, u32::MAX).expect("a file");
        format!("{}={}", name.to_string_lossy(), String::from_utf8_lossy(bytes))
    });
    listed.collect::<Vec<_>>().join(" ")
}

#[test]
#[rustfmt::skip]
fn what_survives_a_cut_is_what_was_synced_and_a_beginning_of_the_rest() {
    type Done = fn(&mut Files, Number);
    // What survives where nothing of the rest does, half of each count, and all of it.
    let cases: [(&str, Done, [&str; 3]); 12] = [
        ("a write", |files, at| files.write(at, 0, b"abcd").unwrap(),
            ["file=", "file=ab", "file=abcd"]),
        ("a synced write", |files, at| {
            files.write(at, 0, b"abcd").unwrap();
            files.sync(at).unwrap();
        }, ["file=abcd", "file=abcd", "file=abcd"]),
        ("more after a sync", |files, at| {
            files.write(at, 0, b"ab").unwrap();
            files.sync(at).unwrap();
            files.write(at, 2, b"cdef").unwrap();
        }, ["file=ab", "file=abcd", "file=abcdef"]),
        ("a write over another", |files, at| {
            files.write(at, 0, b"abcd").unwrap();
            files.sync(at).unwrap();
            files.write(at, 1, b"xy").unwrap();
        }, ["file=abcd", "file=axcd", "file=axyd"]),
        ("a length", |files, at| {
            files.write(at, 0, b"abcd").unwrap();
            files.sync(at).unwrap();
            files.set_length(at, 1).unwrap();
        }, ["file=abcd", "file=abcd", "file=a"]),
        ("a failed sync, and a good one of what came after", |files, at| {
            files.write(at, 0, b"ab").unwrap();
            files.sync_failed(at);
            files.write(at, 2, b"c").unwrap();
            files.sync(at).unwrap();
        }, ["file=\0\0c", "file=\0\0c", "file=\0\0c"]),
        ("a new name", |files, _| {
            let new = files.create(ROOT, name("new"), false, 0, (0, 0)).unwrap();
            files.write(new, 0, b"ab").unwrap();
            files.sync(new).unwrap();
        }, ["file=", "file=", "file= new=ab"]),
        ("a new name that was synced", |files, _| {
            let new = files.create(ROOT, name("new"), false, 0, (0, 0)).unwrap();
            files.sync_names();
            files.write(new, 0, b"ab").unwrap();
        }, ["file= new=", "file= new=a", "file= new=ab"]),
        ("a rename", |files, _| {
            files.rename((ROOT, name(FILE)), (ROOT, name("other")), true).unwrap();
        }, ["file=", "file=", "other="]),
        ("a rename over another", |files, _| {
            let new = files.create(ROOT, name("new"), false, 0, (0, 0)).unwrap();
            files.write(new, 0, b"new").unwrap();
            files.sync(new).unwrap();
            files.sync_names();
            files.rename((ROOT, name("new")), (ROOT, name(FILE)), true).unwrap();
        }, ["file= new=new", "file= new=new", "file=new"]),
        ("a removal", |files, at| {
            files.write(at, 0, b"ab").unwrap();
            files.sync(at).unwrap();
            files.remove(ROOT, name(FILE), false).unwrap();
        }, ["file=ab", "file=ab", ""]),
        ("a second name", |files, at| {
            files.link(at, ROOT, name("link")).unwrap();
            files.write(at, 0, b"ab").unwrap();
            files.sync(at).unwrap();
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
            let is_changed = expected != seen;
            assert_eq!(lost.bytes + lost.names > 0, is_changed, "{what}: {lost:?}");
        }
    }
}

#[test]
fn names_are_counted_and_files_without_any_are_given_up() {
    let (mut files, at) = made();
    let names = |files: &Files| files.described(at).map(|(described, _)| described.names);
    files.write(at, 0, b"abc").unwrap();
    files.link(at, ROOT, name("link")).unwrap();
    assert_eq!((names(&files), files.used()), (Ok(2), 3));
    files.remove(ROOT, name(FILE), false).unwrap();
    assert_eq!(names(&files), Ok(1));
    files.open(at).unwrap();
    files.remove(ROOT, name("link"), false).unwrap();
    files.sync_names();
    assert_eq!(files.read(at, 0, 9).unwrap(), b"abc", "somebody has it open");
    files.close(at);
    assert_eq!((names(&files), files.used()), (Err(Trouble::NotThere), 0));
    // One whose removal is not durable comes back, and so it is kept.
    let (mut files, at) = made();
    files.remove(ROOT, name(FILE), false).unwrap();
    assert!(files.described(at).is_ok());
    files.cut(&mut |_| 0);
    assert_eq!(files.described(at).unwrap().0.names, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Write(u8, Vec<u8>),
    Length(u8),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (any::<u8>(), prop::collection::vec(any::<u8>(), 1..20));
    let step = prop_oneof![
        4 => write.prop_map(|(offset, bytes)| Step::Write(offset, bytes)),
        1 => any::<u8>().prop_map(Step::Length),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    /// What is there after a cut was there after some step, or in the middle of a write, and no
    /// earlier than the last sync.
    #[test]
    fn a_cut_goes_back_to_no_earlier_than_the_last_sync(steps in steps(), kept in any::<u8>()) {
        let (mut files, at) = made();
        let now = |files: &Files| files.read(at, 0, u32::MAX).expect("a file").to_vec();
        let mut possible = vec![Vec::new()];
        for step in steps {
            match step {
                Step::Write(offset, bytes) => {
                    for end in 1..=bytes.len() {
                        let mut torn = now(&files);
                        let from = usize::from(offset);
                        torn.resize(torn.len().max(from + end), 0);
                        torn[from..from + end].copy_from_slice(&bytes[..end]);
                        possible.push(torn);
                    }
                    files.write(at, offset.into(), &bytes).expect("written");
                }
                Step::Length(length) => files.set_length(at, length.into()).expect("set"),
                Step::Sync => {
                    files.sync(at).expect("synced");
                    possible.clear();
                }
            }
            possible.push(now(&files));
        }
        files.cut(&mut |count| count * usize::from(kept) / 255);
        prop_assert!(possible.contains(&now(&files)));
    }
}
