//! Fuzzing the core with log entries and rows that nobody meant.
//!
//! Promises held to: an entry is applied or is a fault, never a panic, and gives the same bytes
//! twice; every row it writes can be read; after it a tick still works; a row that decodes has one
//! canonical form.
#![cfg(test)]

mod support;

use ledger::{
    AgentRow, ApprovalState, BatchHeader, ClusterRow, Command, ContentRow, Envelope, Fault, Head,
    KeyRow, Leaf, LeafDetail, MapState, NamespaceRow, OrderRow, PayloadRow, PolicyHead, PolicySet,
    PolicySourceRow, Reply, Session, WindowRow, Writes, decode_batch, encode_batch,
};
use minicbor::{Decode, Encode};
use support::random::Random;
use support::{Target, bytes_of_hex, cbor, mutate, shape};
use types::codec::{decode, encode};
use types::{LogIndex, LogTime, NamespaceId, NodeId};

const GOLDEN: &str = include_str!("../../crates/ledger/tests/golden/formats.txt");
/// Between the golden history's last entry and what the fuzzer sends.
const TICK_AFTER_MS: u64 = 60_000;

/// The golden lines of one kind: what follows the prefix in the name, and the bytes.
fn golden(prefix: &str) -> Vec<(&'static str, Vec<u8>)> {
    let lines = GOLDEN.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once(' '));
    lines.map(|(name, hex)| (name, bytes_of_hex(hex))).collect()
}

/// The golden history: its entries, and the state before each of them and after the last.
struct History {
    entries: Vec<Vec<u8>>,
    states: Vec<MapState>,
}

impl History {
    fn new() -> Self {
        let entries: Vec<Vec<u8>> = golden("entry.").into_iter().map(|(_, bytes)| bytes).collect();
        let mut states = vec![MapState::default()];
        for (position, entry) in entries.iter().enumerate() {
            let mut state = states[position].clone();
            let (_, writes) = applied(&state, index(position), entry).expect("a golden entry");
            state.write(&writes);
            states.push(state);
        }
        assert!(entries.len() > 10);
        Self { entries, states }
    }

    /// Inputs of [`Self::place`]: every entry in its place, every golden command at the end.
    fn seeds(&self) -> Vec<Vec<u8>> {
        let place = |at: usize, entry: &[u8]| {
            let at = u8::try_from(at).expect("a short history");
            [&[at], entry].concat()
        };
        let mut seeds: Vec<Vec<u8>> =
            self.entries.iter().enumerate().map(|(at, entry)| place(at, entry)).collect();
        let last = self.entries.last().expect("a history");
        let (header, _) = decode_batch(last).expect("a golden entry");
        let commands: Vec<Vec<u8>> = golden("command.").into_iter().map(|(_, c)| c).collect();
        for command in &commands {
            let entry = encode_batch(&header, std::slice::from_ref(command));
            seeds.push(place(self.entries.len(), &entry));
        }
        seeds.push(place(self.entries.len(), &encode_batch(&header, &commands)));
        seeds
    }

    /// The first byte says after how many golden entries the rest is applied.
    fn place<'a>(&self, input: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let (at, entry) = input.split_first()?;
        Some((usize::from(*at) % self.states.len(), entry))
    }
}

fn index(position: usize) -> LogIndex {
    LogIndex(u64::try_from(position).expect("a short history") + 1)
}

fn applied(state: &MapState, index: LogIndex, entry: &[u8]) -> Result<(Vec<Reply>, Writes), Fault> {
    let mut session = Session::open(state)?;
    let replies = session.apply(index, entry)?;
    session.take_effects();
    Ok((replies, session.finish()?))
}

/// Mutates one command of an entry, or the header, or mixes commands of two; the rest stays whole.
fn mutate_entry(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let Some((at, entry)) = input.split_first() else {
        return;
    };
    let Ok((mut header, envelopes)) = decode_batch(entry) else {
        return cbor::mutate(random, input, other);
    };
    let theirs = decode_batch(other.get(1..).unwrap_or_default());
    let theirs = theirs.map_or_else(|_| Vec::new(), |(_, envelopes)| envelopes);
    let mut commands: Vec<Vec<u8>> = envelopes.iter().map(encode).collect();
    let mut at = *at;
    for _ in 0..=random.below(3) {
        match random.below(8) {
            0 => at = random.byte(),
            1 => header = mutated_header(random, header),
            2 if !theirs.is_empty() => commands.push(encode(random.pick(&theirs))),
            3 if !envelopes.is_empty() => {
                // The same command again, under its own request id and without it.
                let mut again: Envelope = envelopes[random.below(envelopes.len())].clone();
                again.request[0] = random.byte() & 1;
                again.credential = again.credential.filter(|_| random.below(4) > 0);
                commands.push(encode(&again));
            }
            _ if !commands.is_empty() => {
                let place = random.below(commands.len());
                let donor = theirs.first().map(encode).unwrap_or_default();
                if random.below(4) == 0 {
                    let material = mutate::Material { words: &[], other: &donor };
                    mutate::mutate(random, &mut commands[place], &material);
                } else {
                    cbor::mutate(random, &mut commands[place], &donor);
                }
            }
            _ => commands.push(Vec::new()),
        }
    }
    *input = [&[at], encode_batch(&header, &commands).as_slice()].concat();
}

fn mutated_header(random: &mut Random, header: BatchHeader) -> BatchHeader {
    match random.below(4) {
        0 => BatchHeader { level: *random.pick(&[0, 2, u32::MAX]), ..header },
        1 => BatchHeader { time: LogTime(*random.pick(&[0, 1, u64::MAX])), ..header },
        2 => BatchHeader { proposer: NodeId(*random.pick(&[0, u64::MAX])), ..header },
        _ => BatchHeader { time: header.time.plus_ms(random.next() >> 24), ..header },
    }
}

/// The first word of a value's debug form: its variant.
fn variant(value: &impl core::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '{', '[']).next().unwrap_or_default().to_owned()
}

#[test]
fn batches_decode_or_are_faults() {
    let history = History::new();
    let target = Target {
        name: "decode",
        iterations: 300_000,
        words: &[],
        seeds: history.seeds().into_iter().map(|seed| seed[1..].to_vec()).collect(),
        structure: Some(cbor_after_format),
    };
    target.run(|bytes| match decode_batch(bytes) {
        Ok((header, envelopes)) => {
            let commands: Vec<Vec<u8>> = envelopes.iter().map(encode).collect();
            let again = decode_batch(&encode_batch(&header, &commands));
            assert_eq!(again.as_ref(), Ok(&(header, envelopes)));
            let (_, envelopes) = again.expect("just compared");
            envelopes.iter().take(2).map(|envelope| variant(&envelope.command)).collect()
        }
        Err(fault) => shape(&fault.0),
    });
}

/// The first byte of an entry is its format, and no CBOR.
fn cbor_after_format(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let mut rest = input.split_off(1.min(input.len()));
    cbor::mutate(random, &mut rest, other.get(1..).unwrap_or_default());
    input.append(&mut rest);
}

#[test]
fn entries_apply_or_are_faults() {
    let history = History::new();
    let target = Target {
        name: "apply",
        iterations: 40_000,
        words: &[],
        seeds: history.seeds(),
        structure: Some(mutate_entry),
    };
    target.run(|input| {
        let Some((at, entry)) = history.place(input) else {
            return String::new();
        };
        let state = &history.states[at];
        let outcome = applied(state, index(at), entry);
        assert_eq!(outcome, applied(state, index(at), entry), "not the same twice");
        let (replies, writes) = match outcome {
            Ok(done) => done,
            Err(fault) => return shape(&fault.0),
        };
        for (key, value) in writes.sorted() {
            if let Some(value) = value {
                let row = read_row(key.get(4).copied(), value);
                assert!(!matches!(row, Some(Err(_))), "unreadable row {key:02x?}: {row:?}");
            }
        }
        let mut after = state.clone();
        after.write(&writes);
        tick(&after, index(at + 1));
        replies.iter().map(|reply| variant(reply) + &refusal(reply) + " ").collect()
    });
}

fn refusal(reply: &Reply) -> String {
    match reply {
        Reply::Refused(refusal) => variant(refusal),
        Reply::Submitted(head, _) => head.phase.name().into(),
        _ => String::new(),
    }
}

/// What was applied must not make the next entry a fault.
fn tick(state: &MapState, index: LogIndex) {
    let time = Session::open(state).expect("the state opens").time().plus_ms(TICK_AFTER_MS);
    let command = Envelope {
        request: [0xff; 16],
        credential: None,
        namespace: NamespaceId::CLUSTER,
        request_key: None,
        command: Command::Tick,
    };
    let header = BatchHeader { level: 1, time, proposer: NodeId(1) };
    let entry = encode_batch(&header, &[encode(&command)]);
    if let Err(fault) = applied(state, index, &entry) {
        panic!("the tick after it is a fault: {fault}");
    }
}

#[test]
fn rows_decode_to_one_canonical_form() {
    let rows = golden("row.");
    let seeds = rows.iter().map(|(key, value)| {
        let table = bytes_of_hex(&key[8..10]);
        [table.as_slice(), value].concat()
    });
    let target = Target {
        name: "rows",
        iterations: 400_000,
        words: &[],
        seeds: seeds.collect(),
        structure: Some(cbor_after_format),
    };
    target.run(|input| match input.split_first() {
        Some((table, value)) => match read_row(Some(*table), value) {
            Some(Ok(())) => format!("{table} reads"),
            Some(Err(error)) => format!("{table} {}", shape(&error)),
            None => String::new(),
        },
        None => String::new(),
    });
}

/// Reads a row of the table with this byte; `None` for tables whose rows are the ledger's own.
fn read_row(table: Option<u8>, value: &[u8]) -> Option<Result<(), String>> {
    Some(match table? {
        2 => canonical::<NamespaceRow>(value),
        4 => canonical::<KeyRow>(value),
        8 => canonical::<Leaf>(value),
        20 => canonical::<AgentRow>(value),
        23 => canonical::<PolicyHead>(value),
        24 => canonical::<PolicySet>(value),
        25 => canonical::<PolicySourceRow>(value),
        30 => canonical::<Head>(value),
        31 => canonical::<ContentRow>(value),
        32 => canonical::<PayloadRow>(value),
        34 => canonical::<WindowRow>(value),
        43 => canonical::<LeafDetail>(value),
        50 => canonical::<OrderRow>(value),
        // Not rows of their own, but read wherever rows are.
        0x80 => canonical::<ApprovalState>(value),
        0x81 => canonical::<ClusterRow>(value),
        _ => return None,
    })
}

/// What decodes is written in one form, and reads back from it as the same value.
fn canonical<T>(value: &[u8]) -> Result<(), String>
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + core::fmt::Debug,
{
    let row: T = decode(value, "row").map_err(|error| error.to_string())?;
    let written = encode(&row);
    assert_eq!(decode::<T>(&written, "row").as_ref(), Ok(&row));
    Ok(())
}
