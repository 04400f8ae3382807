//! Ports on which nobody listens, and that nobody else takes before they are used.
//!
//! They lie below those that the system gives to outgoing connections, since a node that is started
//! again needs those that it had. Whoever takes some listens on one port more of each node, its
//! mark, as `qgate demo` does.
#![allow(unreachable_pub, reason = "the tests and a bench have it as a module")]

use std::net::{Ipv4Addr, TcpListener};

/// Ports from one node to the next, as `qgate dev` has them.
const PORT_STEP: u16 = 10;
/// Ports of one node.
const PORTS_PER_NODE: u16 = 4;
/// The port, of those of one node, that says that they are taken.
const MARK_OFFSET: u16 = PORT_STEP - 1;
/// Nodes that there is room for in a row.
const NODES_MAX: u16 = 5;
const PORTS_FROM: u16 = 20_000;
const PORT_ROWS: u16 = 240;

/// The first port of a row for five nodes, taken until this process ends.
pub fn base_port() -> u16 {
    let own = u16::try_from(std::process::id() % u32::from(PORT_ROWS)).expect("a small number");
    let rows = (0..PORT_ROWS).map(|step| (own + step) % PORT_ROWS);
    let mut firsts = rows.map(|row| PORTS_FROM + row * PORT_STEP * NODES_MAX);
    firsts.find(|first| take(*first)).expect("free ports in a row")
}

fn take(first: u16) -> bool {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let nodes = || (0..NODES_MAX).map(|node| first + node * PORT_STEP);
    let Ok(marks) = nodes().map(|node| bind(node + MARK_OFFSET)).collect::<Result<Vec<_>, _>>()
    else {
        return false;
    };
    let mut ports = nodes().flat_map(|node| (node..).take(usize::from(PORTS_PER_NODE)));
    let free = ports.all(|port| bind(port).is_ok());
    if free {
        // They stay open as long as the process: nodes are started again on the same ports.
        marks.into_iter().for_each(std::mem::forget);
    }
    free
}
