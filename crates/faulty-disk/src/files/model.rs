//! Random work on a disk, with syncs, failed ones and power cuts in between, beside a model that
//! remembers everything and works each answer out anew.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{create, name};
use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Write(usize, u64, Vec<u8>),
    Length(usize, u64),
    Sync(usize),
    FailedSync(usize),
    Remove(usize),
    Rename(usize, usize),
    Link(usize, usize),
    SyncNames,
    /// With what is answered to how much is kept, in parts of 255.
    Cut(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..NAMES.len();
    let bytes = prop::collection::vec(any::<u8>(), 1..20);
    let kept = prop::collection::vec(any::<u8>(), 1..8);
    let step = prop_oneof![
        4 => at().prop_map(Step::Create),
        8 => (at(), 0..40_u64, bytes).prop_map(|(at, from, bytes)| Step::Write(at, from, bytes)),
        2 => (at(), 0..40_u64).prop_map(|(at, length)| Step::Length(at, length)),
        3 => at().prop_map(Step::Sync),
        1 => at().prop_map(Step::FailedSync),
        1 => at().prop_map(Step::Remove),
        2 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Step::Link(from, to)),
        2 => Just(Step::SyncNames),
        1 => kept.prop_map(Step::Cut),
    ];
    prop::collection::vec(step, 0..60)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Pending,
    Synced,
    Failed,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// All that was ever done to a file.
type Story = Vec<(Change, Fate)>;

fn told<'s>(changes: impl IntoIterator<Item = &'s Change>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for change in changes {
        match change {
            Change::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes.splice(*offset..end, written.iter().copied());
            }
            Change::Length(length) => bytes.resize(*length, 0),
        }
    }
    bytes
}

fn seen(story: &Story) -> Vec<u8> {
    told(story.iter().map(|(change, _)| change))
}

/// Everything that may be left of a file.
fn left(story: &Story) -> Vec<Vec<u8>> {
    let of = |fate| story.iter().filter(move |(_, is)| *is == fate).map(|(change, _)| change);
    let mut before: Vec<Change> = of(Fate::Synced).cloned().collect();
    let mut all = vec![told(&before)];
    for next in of(Fate::Pending) {
        if let Change::Write(offset, bytes) = next {
            for end in 1..bytes.len() {
                let torn = Change::Write(*offset, bytes[..end].to_vec());
                all.push(told(before.iter().chain([&torn])));
            }
        }
        before.push(next.clone());
        all.push(told(&before));
    }
    all
}

type Named = BTreeMap<&'static str, Number>;

struct Model {
    stories: BTreeMap<Number, Story>,
    /// Names after each of their changes since the last sync of them, from what it made durable on.
    named: Vec<Named>,
}

impl Model {
    fn now(&self) -> Named {
        self.named.last().cloned().unwrap_or_default()
    }

    fn names(&mut self, change: impl FnOnce(&mut Named)) {
        let mut now = self.now();
        change(&mut now);
        self.named.push(now);
    }

    fn change(&mut self, files: &mut Files, number: Number, change: Change) {
        match &change {
            Change::Write(offset, bytes) => files.write(number, *offset as u64, bytes),
            Change::Length(length) => files.set_length(number, *length as u64),
        }
        .expect("a file");
        self.stories.entry(number).or_default().push((change, Fate::Pending));
    }

    fn decide(&mut self, number: Number, now: Fate) {
        for (_, fate) in self.stories.entry(number).or_default() {
            *fate = if *fate == Fate::Pending { now } else { *fate };
        }
    }

    fn take(&mut self, files: &mut Files, step: Step) -> Result<(), TestCaseError> {
        let now = self.now();
        let known = |at: usize| now.get(NAMES[at]).copied();
        match step {
            Step::Create(at) if known(at).is_none() => {
                let number = create(files, NAMES[at]);
                self.names(|names| _ = names.insert(NAMES[at], number));
            }
            Step::Write(at, offset, bytes) => {
                let Some(number) = known(at) else { return Ok(()) };
                let offset = usize::try_from(offset).expect("small");
                self.change(files, number, Change::Write(offset, bytes));
            }
            Step::Length(at, length) => {
                let Some(number) = known(at) else { return Ok(()) };
                let length = usize::try_from(length).expect("small");
                self.change(files, number, Change::Length(length));
            }
            Step::Sync(at) => {
                let Some(number) = known(at) else { return Ok(()) };
                files.sync(number).expect("a file");
                self.decide(number, Fate::Synced);
            }
            Step::FailedSync(at) => {
                let Some(number) = known(at) else { return Ok(()) };
                files.sync_failed(number);
                self.decide(number, Fate::Failed);
            }
            Step::Remove(at) if known(at).is_some() => {
                files.remove(ROOT, name(NAMES[at]), false).expect("it is there");
                self.names(|names| _ = names.remove(NAMES[at]));
            }
            Step::Rename(from, to) => {
                let Some(number) = known(from) else { return Ok(()) };
                files
                    .rename((ROOT, name(NAMES[from])), (ROOT, name(NAMES[to])), true)
                    .expect("it is there");
                // Two names of one file: POSIX has it that nothing happens.
                if known(to) != Some(number) {
                    self.names(|names| {
                        names.remove(NAMES[from]);
                        names.insert(NAMES[to], number);
                    });
                }
            }
            Step::Link(from, to) if known(to).is_none() => {
                let Some(number) = known(from) else { return Ok(()) };
                files.link(number, ROOT, name(NAMES[to])).expect("a new name");
                self.names(|names| _ = names.insert(NAMES[to], number));
            }
            Step::SyncNames => {
                files.sync_names();
                self.named = vec![now];
            }
            Step::Cut(kept) => self.cut(files, &kept)?,
            Step::Create(_) | Step::Remove(_) | Step::Link(..) => {}
        }
        Ok(())
    }

    fn cut(&mut self, files: &mut Files, kept: &[u8]) -> Result<(), TestCaseError> {
        let mut kept = kept.iter().cycle().map(|kept| usize::from(*kept));
        let lost = files.cut(&mut |count| count * kept.next().expect("endless") / 255);
        let there = now(files);
        let last = self.named.len().checked_sub(lost.names + 1);
        prop_assert_eq!(Some(&there), last.map(|last| &self.named[last]));
        self.named = vec![there.clone()];
        for number in there.into_values() {
            let bytes = read(files, number);
            let story = self.stories.entry(number).or_default();
            prop_assert!(left(story).contains(&bytes), "{:?} of {:?}", bytes, story);
            *story = vec![(Change::Write(0, bytes), Fate::Synced)];
        }
        Ok(())
    }

    fn agrees(&self, files: &Files) -> Result<(), TestCaseError> {
        prop_assert_eq!(now(files), self.now());
        for number in self.now().into_values() {
            let story = self.stories.get(&number).cloned().unwrap_or_default();
            prop_assert_eq!(read(files, number), seen(&story));
            let names = self.now().values().filter(|other| **other == number).count();
            prop_assert_eq!(files.names(number).map(|names| names as usize), Ok(names));
        }
        Ok(())
    }
}

fn read(files: &Files, number: Number) -> Vec<u8> {
    files.read(number, 0, u32::MAX).expect("a file").to_vec()
}

fn now(files: &Files) -> Named {
    NAMES.into_iter().filter_map(|at| Some((at, files.look_up(ROOT, name(at)).ok()?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// What is there after a cut are the names after some change of them and the content of each
    /// file after some change of it, or in the middle of one, and both no earlier than what was
    /// synced last.
    #[test]
    fn a_cut_goes_back_to_no_earlier_than_the_last_sync(steps in steps()) {
        let mut files = Files::new();
        let mut model = Model { named: vec![Named::new()], stories: BTreeMap::new() };
        for step in steps {
            model.take(&mut files, step)?;
            model.agrees(&files)?;
        }
        // Nothing is kept for longer than a cut could bring it back.
        files.sync_names();
        let named: BTreeSet<Number> = now(&files).into_values().collect();
        prop_assert_eq!(files.nodes.len(), named.len() + 1, "with the root");
    }
}
