//! Large commands are packed where they come in: how much that saves of the incidents' payloads,
//! and that a batch with packed commands does what one without does.
#![cfg(test)]

mod support;

use std::fs;
use std::path::Path;

use ledger::{
    BatchHeader, Command, Envelope, Reply, Session, Writes, batch_work, encode_batch,
    encode_command, unpacked_bytes,
};
use serde_json::Value;
use support::Node;
use types::codec::encode;
use types::{LogIndex, NodeId, Role};

fn fixture(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/incident");
    fs::read_to_string(dir.join(name)).unwrap()
}

/// A submit of an incident on a node that is made for it, the same each time.
fn submit(incident: &str) -> (Node, Envelope) {
    let mut node = Node::with_policies(&[("gates.yaml", &fixture("gates.yaml"))]);
    let key = node.register("agent", Role::Agent, None);
    let request: Value = serde_json::from_str(&fixture(incident)).unwrap();
    let submit = Command::Submit(Box::new(node.submission(&request)));
    let envelope = node.envelope(Some(key), submit);
    (node, envelope)
}

#[test]
fn a_batch_says_whether_it_holds_nothing_but_submits() {
    let (mut node, submit) = submit("duplicate-call.json");
    let tick = encode(&node.envelope(None, Command::Tick));
    let header = BatchHeader { level: 1, time: node.now, proposer: NodeId(1) };
    let holds = |commands: &[&[u8]]| batch_work(&encode_batch(&header, commands)).is_only_submits;
    let submit = encode(&submit);
    assert!(holds(&[]) && holds(&[&submit]) && holds(&[&submit, &submit]));
    assert!(!holds(&[&tick]) && !holds(&[&submit, &tick]) && !holds(&[&tick, &submit]));
    assert!(!holds(&[b"no command"]));
    assert!(!batch_work(b"").is_only_submits && !batch_work(b"\x01").is_only_submits);
}

/// What an entry of these commands does, and how many bytes it has.
fn applied(node: &Node, commands: &[Vec<u8>]) -> (Vec<Reply>, Writes, usize) {
    let header = BatchHeader { level: 1, time: node.now, proposer: NodeId(1) };
    let batch = encode_batch(&header, commands);
    let unpacked: usize = commands.iter().map(|command| unpacked_bytes(command)).sum();
    assert_eq!(batch_work(&batch).bytes, unpacked);
    let mut session = Session::open(&node.state).unwrap();
    let index = LogIndex(node.entries.len() as u64 + 1);
    let replies = session.apply(index, &batch).unwrap();
    (replies, session.finish().unwrap(), batch.len())
}

#[test]
fn the_incidents_are_the_same_packed_and_take_less() {
    for (name, least_saved) in [("bulk-overwrite.json", 3), ("broken-template.json", 3)] {
        let (node, envelope) = submit(name);
        let (raw, packed) = (encode(&envelope), encode_command(&envelope));
        assert_eq!(unpacked_bytes(&packed), raw.len());
        let as_raw = applied(&node, &[raw]);
        let as_packed = applied(&node, &[packed]);
        assert!(as_raw.0 == as_packed.0 && as_raw.1 == as_packed.1, "{name}");
        println!("{name}: an entry of {} bytes, packed {}", as_raw.2, as_packed.2);
        assert!(as_packed.2 * least_saved < as_raw.2, "{name}: {} bytes", as_packed.2);
    }
}

#[test]
fn small_commands_stay_as_they_are_beside_packed_ones() {
    let (node, small) = submit("duplicate-call.json");
    let (_, mut large) = submit("bulk-overwrite.json");
    large.request = [9; 16];
    assert_eq!(encode_command(&small), encode(&small));
    let packed = applied(&node, &[&small, &large, &small].map(encode_command));
    let raw = applied(&node, &[&small, &large, &small].map(encode));
    assert!(packed.0 == raw.0 && packed.1 == raw.1);
}

#[test]
fn an_entry_whose_command_is_damaged_stops_the_node() {
    let (node, envelope) = submit("bulk-overwrite.json");
    let packed = encode_command(&envelope);
    let header = BatchHeader { level: 1, time: node.now, proposer: NodeId(1) };
    for (place, byte) in [(0, 2), (1, 0xff), (4, packed[4] ^ 1)] {
        let mut damaged = packed.clone();
        damaged[place] = byte;
        let batch = encode_batch(&header, &[damaged]);
        let mut session = Session::open(&node.state).unwrap();
        assert!(session.apply(LogIndex(node.entries.len() as u64 + 1), &batch).is_err());
    }
    let cut = encode_batch(&header, &[&packed[..packed.len() - 1]]);
    assert!(Session::open(&node.state).unwrap().apply(LogIndex(99), &cut).is_err());
    assert_eq!(batch_work(&[]).bytes, 0);
    assert_eq!(batch_work(b"no batch").bytes, 8);
}
