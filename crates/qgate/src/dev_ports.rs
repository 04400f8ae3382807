//! The ports of the nodes that `qgate dev` and `qgate demo` start.
//!
//! Promise: two processes that look for free ports at one time find different ones.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::failure::Failure;

/// From one node's ports to the next.
const PORT_STEP: u16 = 10;
/// Ports of one node.
const PORTS_PER_NODE: u16 = 4;
/// The port, of those of one node, that says that they are taken.
const MARK_OFFSET: u16 = PORT_STEP - 1;
/// Where free ports are looked for: below those that systems give to outgoing connections, so that
/// none is taken between the look and its use by chance.
const FREE_FROM: u16 = 20_000;
/// How many places there are to look at.
const FREE_PLACES: u16 = 1_200;

/// The ports of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    first: u16,
}

impl Ports {
    /// The ports of a node, counted from 0.
    ///
    /// # Errors
    /// If they do not fit below 65536.
    pub(crate) fn of(base: u16, position: u16) -> Result<Self, Failure> {
        let first = PORT_STEP.checked_mul(position).and_then(|step| base.checked_add(step));
        let fits = |first: &u16| base > 0 && first.checked_add(PORTS_PER_NODE - 1).is_some();
        first.filter(fits).map(|first| Self { first }).ok_or_else(|| {
            Failure::usage(format!("--base-port {base} leaves no room for the ports of a node"))
        })
    }

    /// The ports of so many nodes from a base on.
    ///
    /// # Errors
    /// If they do not fit below 65536.
    pub(crate) fn row(base: u16, nodes: u16) -> Result<Vec<Self>, Failure> {
        (0..nodes).map(|position| Self::of(base, position)).collect()
    }

    /// Of the node, the address with this offset.
    pub(crate) fn address(self, offset: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.first + offset))
    }

    /// Refuses ports that something else listens on.
    ///
    /// # Errors
    /// Names the address.
    pub(crate) fn check_free(self) -> Result<(), Failure> {
        for offset in 0..PORTS_PER_NODE {
            let address = self.address(offset);
            TcpListener::bind(address).map_err(|error| {
                Failure::refused(format!("{address} cannot be listened on: {error}"))
                    .next("stop what listens there, or choose others with --base-port")
            })?;
        }
        Ok(())
    }

    /// Where other nodes reach the node.
    pub(crate) fn peer(self) -> String {
        self.address(2).to_string()
    }
}

/// Ports in a row for the nodes of a cluster, free until its nodes listen on them.
pub(crate) struct Taken {
    pub(crate) nodes: Vec<Ports>,
    _marks: Vec<TcpListener>,
}

impl Taken {
    /// Those from a base on.
    ///
    /// # Errors
    /// If they do not fit below 65536, or something else listens on one.
    pub(crate) fn named(base: u16, nodes: u16) -> Result<Self, Failure> {
        let nodes = Ports::row(base, nodes)?;
        nodes.iter().try_for_each(|ports| ports.check_free())?;
        Ok(Self { nodes, _marks: Vec::new() })
    }

    /// Any, which no other process finds by this call while this lives: nodes listen on theirs
    /// later than it was looked whether they are free, so until then a mark says it.
    ///
    /// # Errors
    /// If there are none.
    pub(crate) fn free(nodes: u16) -> Result<Self, Failure> {
        let own = u16::try_from(std::process::id() % u32::from(FREE_PLACES)).unwrap_or_default();
        let places =
            (0..FREE_PLACES).map(|step| FREE_FROM + (own + step) % FREE_PLACES * PORT_STEP);
        let rows = places.filter_map(|first| Ports::row(first, nodes).ok());
        rows.filter_map(Self::marked).next().ok_or_else(|| {
            Failure::refused("this machine has not enough free ports in a row")
                .next("name some with --base-port")
        })
    }

    fn marked(nodes: Vec<Ports>) -> Option<Self> {
        let marks = nodes.iter().map(|ports| TcpListener::bind(ports.address(MARK_OFFSET)));
        let marks = marks.collect::<Result<_, _>>().ok()?;
        let free = nodes.iter().all(|ports| ports.check_free().is_ok());
        free.then_some(Self { nodes, _marks: marks })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn ports_follow_the_base() {
        let cases = [
            // base, position, http and metrics
            (4_000,  0, Some((4_000, 4_003))),
            (4_000,  2, Some((4_020, 4_023))),
            (65_532, 0, Some((65_532, 65_535))),
            (65_533, 0, None),
            (65_530, 1, None),
            (0,      0, None),
        ];
        for (base, position, expected) in cases {
            let found = Ports::of(base, position).ok();
            let found = found.map(|ports| (ports.address(0).port(), ports.address(3).port()));
            assert_eq!(found, expected, "{base} {position}");
        }
    }

    #[test]
    fn free_ports_are_taken_once_though_nobody_listens_on_them_yet() {
        let taken: Vec<Taken> = (0..4).map(|_| Taken::free(3).unwrap()).collect();
        let mut firsts: Vec<u16> =
            taken.iter().flat_map(|row| row.nodes.iter().map(|ports| ports.first)).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 12);
    }
}
