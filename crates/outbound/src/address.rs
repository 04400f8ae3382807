//! The address rule: what a node may connect to.
//!
//! Public addresses pass. Everything else (loopback, private, link-local and its metadata service,
//! shared, reserved, multicast and the rest of the special registries) passes only where an allowed
//! network of the node's configuration contains it. An IPv6 address that carries an IPv4 address is
//! judged by the one it carries, since that is where the packets go.
//! Invariant: an address of no known kind is not public.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 networks that are not public, with the word for people.
const SPECIAL_V4: &[(Ipv4Net, &str)] = &[
    (v4([0, 0, 0, 0], 8), "an address of this host"),
    (v4([10, 0, 0, 0], 8), "a private address"),
    (v4([100, 64, 0, 0], 10), "an address shared by a carrier"),
    (v4([127, 0, 0, 0], 8), "a loopback address"),
    (v4([169, 254, 0, 0], 16), "a link-local address"),
    (v4([172, 16, 0, 0], 12), "a private address"),
    (v4([192, 0, 0, 0], 24), "a reserved address"),
    (v4([192, 0, 2, 0], 24), "an address for documentation"),
    (v4([192, 88, 99, 0], 24), "a reserved address"),
    (v4([192, 168, 0, 0], 16), "a private address"),
    (v4([198, 18, 0, 0], 15), "an address for benchmarks"),
    (v4([198, 51, 100, 0], 24), "an address for documentation"),
    (v4([203, 0, 113, 0], 24), "an address for documentation"),
    (v4([224, 0, 0, 0], 4), "a multicast address"),
    (v4([240, 0, 0, 0], 4), "a reserved address"),
];

/// Only these IPv6 addresses are public at all: what is handed out for the whole internet.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// IPv6 networks with a word for people. Those inside [`GLOBAL_V6`] are not public either.
const SPECIAL_V6: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "the unspecified address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "an address of a local translator"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "a reserved address"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "an address for documentation"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "an address for documentation"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a site-local address"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
];

/// What a node may connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRule {
    allowed: Vec<IpNet>,
}

/// A text of the node's configuration is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no network: write an address and its prefix length, such as 10.0.0.0/8")]
pub struct BadNetwork {
    /// As written.
    pub text: String,
}

/// The rule forbids an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is {kind}, and this node's configuration allows no network that contains it; \
     add the network there if the target is meant to be reached"
)]
pub struct AddressRefused {
    /// What would have been connected to.
    pub address: IpAddr,
    kind: &'static str,
}

impl AddressRule {
    /// Public addresses, and those in the networks named: `10.0.0.0/8`, `::1/128`.
    ///
    /// # Errors
    /// A text that is no network.
    pub fn new<T: AsRef<str>>(allowed: &[T]) -> Result<Self, BadNetwork> {
        let parsed = |text: &T| {
            let text = text.as_ref();
            // `trunc` takes 10.1.2.3/8 as the network that it lies in.
            text.parse::<IpNet>()
                .map(|net| net.trunc())
                .map_err(|_| BadNetwork { text: text.into() })
        };
        allowed.iter().map(parsed).collect::<Result<_, _>>().map(|allowed| Self { allowed })
    }

    /// Public addresses alone.
    #[must_use]
    pub fn public_only() -> Self {
        Self::default()
    }

    /// Whether an address may be connected to.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        self.check(address).is_ok()
    }

    /// Whether an address may be connected to, and if not, why.
    ///
    /// # Errors
    /// What kind of address it is.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let carried = carried(address);
        let judged = if carried.is_empty() { vec![address] } else { carried };
        for one in judged {
            let Some(kind) = special(one) else { continue };
            if !self.allowed.iter().any(|network| network.contains(&one)) {
                return Err(AddressRefused { address, kind });
            }
        }
        Ok(())
    }
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("public addresses")?;
        self.allowed.iter().try_for_each(|network| write!(f, ", {network}"))
    }
}

/// The IPv4 addresses that packets to an IPv6 address end at; none for an address of its own.
fn carried(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(address) = address else { return Vec::new() };
    let [.., c6, c7] = address.segments();
    let last = v4_of(c6, c7);
    match address.segments() {
        // ::ffff:a.b.c.d, and the outdated ::a.b.c.d; :: and ::1 are addresses of their own.
        [0, 0, 0, 0, 0, 0xffff, ..] => vec![last],
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        [0, 0, 0, 0, 0, 0, ..] => vec![last],
        // The form of stateless translators, ::ffff:0:a.b.c.d, and that of NAT64.
        [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![last],
        // 6to4.
        [0x2002, high, low, ..] => vec![v4_of(high, low)],
        // Teredo: the server, and the client with every bit turned over.
        [0x2001, 0, high, low, ..] => vec![v4_of(high, low), v4_of(!c6, !c7)],
        _ => Vec::new(),
    }
}

fn v4_of(high: u16, low: u16) -> IpAddr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// What kind of address it is, if it is not public.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            SPECIAL_V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, kind)| *kind)
        }
        IpAddr::V6(address) => {
            let known = SPECIAL_V6.iter().find(|(network, _)| network.contains(&address));
            let other = (!GLOBAL_V6.contains(&address)).then_some("no public address");
            known.map(|(_, kind)| *kind).or(other)
        }
    }
}

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    #[rustfmt::skip]
    fn only_public_addresses_pass_by_themselves() {
        let cases = [
            ("8.8.8.8", true),                  ("1.1.1.1", true),
            ("0.0.0.0", false),                 ("0.1.2.3", false),
            ("9.255.255.255", true),            ("10.0.0.1", false),
            ("11.0.0.0", true),                 ("100.63.255.255", true),
            ("100.64.0.1", false),              ("100.127.255.255", false),
            ("100.128.0.0", true),              ("127.0.0.1", false),
            ("127.255.255.254", false),         ("169.254.169.254", false),
            ("172.15.255.255", true),           ("172.16.0.1", false),
            ("172.31.255.255", false),          ("172.32.0.0", true),
            ("192.0.0.192", false),             ("192.0.2.1", false),
            ("192.88.99.1", false),             ("192.168.1.1", false),
            ("198.17.255.255", true),           ("198.18.0.1", false),
            ("198.19.255.255", false),          ("198.51.100.7", false),
            ("203.0.113.7", false),             ("223.255.255.255", true),
            ("224.0.0.1", false),               ("239.255.255.255", false),
            ("240.0.0.1", false),               ("255.255.255.255", false),
            ("2606:4700:4700::1111", true),     ("2a00:1450::1", true),
            ("::", false),                      ("::1", false),
            ("::2", false),                     ("fc00::1", false),
            ("fd12:3456::1", false),            ("fe80::1", false),
            ("fec0::1", false),                 ("ff02::1", false),
            ("2001:db8::1", false),             ("3fff::1", false),
            ("2001:2::1", false),               ("2001:10::1", false),
            ("100::1", false),                  ("5f00::1", false),
            ("4000::1", false),                 ("64:ff9b:1::808:808", false),
            ("::ffff:127.0.0.1", false),        ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false),             ("::8.8.8.8", true),
            ("::ffff:0:10.0.0.1", false),       ("::ffff:0:8.8.8.8", true),
            ("64:ff9b::169.254.169.254", false), ("64:ff9b::8.8.8.8", true),
            ("2002:7f00:1::", false),           ("2002:808:808::1", true),
            // The Teredo client is 8.8.8.8 turned over, or 127.0.0.1 turned over.
            ("2001:0:808:808::f7f7:f7f7", true), ("2001:0:808:808::80ff:fffe", false),
            ("2001:0:a00:1::f7f7:f7f7", false),
        ];
        let rule = AddressRule::public_only();
        for (text, passes) in cases {
            assert_eq!(rule.permits(address(text)), passes, "{text}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn allowed_networks_open_what_they_contain() {
        let cases = [
            // allowed, address, passes
            (&["127.0.0.0/8"][..],          "127.0.0.1",              true),
            (&["127.0.0.0/8"],              "::ffff:127.0.0.1",       true),
            (&["127.0.0.0/8"],              "::1",                    false),
            (&["127.0.0.0/8", "::1/128"],   "::1",                    true),
            (&["10.1.2.3/8"],               "10.200.0.1",             true),
            (&["10.0.0.0/24"],              "10.0.1.1",               false),
            (&["10.0.0.0/8"],               "64:ff9b::10.1.1.1",      true),
            (&["10.0.0.0/8"],               "2002:a00:1::",           true),
            (&["10.0.0.0/8"],               "192.168.0.1",            false),
            (&["0.0.0.0/0"],                "169.254.169.254",        true),
            (&["0.0.0.0/0"],                "fd00::1",                false),
            // What an address carries is judged as IPv4, so a network of IPv6 opens none of it.
            (&["::/0"],                     "::ffff:127.0.0.1",       false),
            (&["::/0"],                     "fd00::1",                true),
        ];
        for (allowed, text, passes) in cases {
            let rule = AddressRule::new(allowed).unwrap();
            assert_eq!(rule.permits(address(text)), passes, "{allowed:?} {text}");
        }
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "loopback", "::1/129", "10.0.0.0/8 "] {
            let error = AddressRule::new(&[bad]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{bad}`")), "{error}");
        }
    }

    #[test]
    fn a_refusal_says_what_and_what_next() {
        let refused = AddressRule::public_only().check(address("::ffff:10.0.0.1")).unwrap_err();
        let text = refused.to_string();
        assert!(text.starts_with("::ffff:10.0.0.1 is a private address"), "{text}");
        assert!(text.contains("add the network"), "{text}");
        let rule = AddressRule::new(&["10.1.1.1/8"]).unwrap();
        assert_eq!(rule.to_string(), "public addresses, 10.0.0.0/8");
    }

    proptest! {
        /// However an IPv4 address is wrapped, it is judged as itself.
        #[test]
        fn wrapping_changes_nothing(bits: u32, prefix in 0..=32_u8, network: u32) {
            let inner = Ipv4Addr::from(bits);
            let allowed = Ipv4Net::new(Ipv4Addr::from(network), prefix).unwrap().to_string();
            let [high, low] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
            for rule in [AddressRule::public_only(), AddressRule::new(&[allowed]).unwrap()] {
                let expected = rule.permits(IpAddr::V4(inner));
                let mut forms = vec![
                    [0, 0, 0, 0, 0, 0xffff, high, low],
                    [0, 0, 0, 0, 0xffff, 0, high, low],
                    [0x64, 0xff9b, 0, 0, 0, 0, high, low],
                    [0x2002, high, low, 7, 0, 0, 0, 1],
                    // A Teredo address whose server and client are the same.
                    [0x2001, 0, high, low, 0, 0, !high, !low],
                ];
                if bits > 1 {
                    forms.push([0, 0, 0, 0, 0, 0, high, low]);
                }
                for form in forms {
                    let form = IpAddr::V6(Ipv6Addr::from(form));
                    prop_assert_eq!(rule.permits(form), expected, "{} as {}", inner, form);
                }
            }
        }

        /// An IPv6 address outside of what is handed out never passes by itself, unless it carries
        /// a public IPv4 address.
        #[test]
        fn nothing_outside_the_global_range_is_public(bits: u128) {
            let address = Ipv6Addr::from(bits);
            let rule = AddressRule::public_only();
            if !GLOBAL_V6.contains(&address) && carried(IpAddr::V6(address)).is_empty() {
                prop_assert!(!rule.permits(IpAddr::V6(address)));
            }
        }
    }
}
