//! The compiled form of the user's two documents has the same bytes on every node, for ever.
//! `UPDATE_GOLDEN=1` writes the file anew; a change of it is a change of the durable format.

mod common;

use common::fixture;
use policy::{PolicySet, SourceFile, compile};
use types::codec;

#[test]
fn the_compiled_form_has_stable_bytes() {
    let files = ["gate.yaml", "gates.yaml"]
        .map(|name| SourceFile { name: name.into(), bytes: fixture(name) });
    let set = compile(&files).unwrap().set;
    let bytes = codec::encode(&set);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/incident.cbor.hex");
    let hex: Vec<String> = bytes.chunks(40).map(|line| types::hex(line) + "\n").collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, hex.concat()).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(hex.concat(), golden);
    assert_eq!(codec::decode::<PolicySet>(&bytes, "policy set").unwrap(), set);
}
