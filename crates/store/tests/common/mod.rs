//! What the state tests share: a state in which every entry writes one row of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::fs;
use std::path::Path;

use ledger::Writes;
use ledger::table::Table;
use store::state::{AppliedMeta, StateStore};

pub fn key(namespace: u32, table: Table, number: u64) -> Vec<u8> {
    let mut key = namespace.to_be_bytes().to_vec();
    key.push(table as u8);
    key.extend(number.to_be_bytes());
    key
}

/// The row that entry `index` writes; entries take turns over the column families.
pub fn row(index: u64) -> Vec<u8> {
    let table = match index % 5 {
        0 => Table::Intents,
        1 => Table::Payloads,
        2 => Table::Leaves,
        3 => Table::Contents,
        _ => Table::IntentLeaves,
    };
    key(1, table, index)
}

pub fn applied(index: u64) -> AppliedMeta {
    AppliedMeta { index, applied: format!("id {index}").into(), membership: b"voters".to_vec() }
}

pub fn write(store: &StateStore, index: u64) {
    let rows = Writes::from([(row(index), Some(format!("value {index}").into()))]);
    store.write(&rows, &applied(index)).expect("write");
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("create");
    for file in fs::read_dir(from).expect("list") {
        let path = file.expect("file").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copy");
    }
}
