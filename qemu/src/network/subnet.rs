//! The addresses of a network: whose the first ones are, and which are the machines'.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 network. Its second and third address are the router's and the resolver's, as in QEMU's user network; the
/// first and the fourth are left free for this host and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    base: Ipv4Addr,
    bits: u8,
}

/// The first address of a machine's, counted from the network's.
const FIRST: u32 = 4;
/// The one that is given first, where there is room: QEMU's choice for machines that ask.
const USUAL: u32 = 15;

/// What IPv6 addresses of machines begin with, where they have some: unique local ones (RFC 4193). The address of IPv4
/// is their end. No network leads to another one, so all have the same.
const V6: [u16; 4] = [0xfd65, 0x6c66, 0x696e, 0];

/// The IPv6 address of a machine.
pub(crate) fn v6_of(machine: Ipv4Addr) -> Ipv6Addr {
    let ([s, t, u, v], [a, b, c, d]) = (V6, machine.octets());
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(s, t, u, v, 0, 0, pair(a, b), pair(c, d))
}

/// The machine that has an IPv6 address.
pub(crate) fn v4_of(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    let machine = Ipv4Addr::new(a, b, c, d);
    (v6_of(machine) == address).then_some(machine)
}

impl Subnet {
    /// Length of the prefix of IPv6 addresses.
    pub(crate) const V6_BITS: u8 = 64;

    /// QEMU's own choice.
    pub(crate) const DEFAULT: Self = Self {
        base: Ipv4Addr::new(10, 0, 2, 0),
        bits: 24,
    };

    fn size(self) -> u32 {
        1 << (32 - self.bits)
    }

    fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + n)
    }

    /// Length of the prefix.
    pub(crate) fn bits(self) -> u8 {
        self.bits
    }

    /// Who passes on what goes further; this host, to the machines.
    pub(crate) fn router(self) -> Ipv4Addr {
        self.nth(2)
    }

    /// Who is asked for names.
    pub(crate) fn resolver(self) -> Ipv4Addr {
        self.nth(3)
    }

    /// All addresses for machines, in the order in which they are given.
    pub(crate) fn machines(self) -> impl Iterator<Item = Ipv4Addr> {
        let (usual, end) = (USUAL.min(self.size() - 1), self.size() - 1);
        (usual..end).chain(FIRST..usual).map(move |n| self.nth(n))
    }

    /// Whether a machine may have the address.
    pub(crate) fn has(self, address: Ipv4Addr) -> bool {
        let n = address.to_bits().wrapping_sub(self.base.to_bits());
        (FIRST..self.size() - 1).contains(&n)
    }

    /// The address that may be a machine's of which the last three bytes are known.
    pub(crate) fn ending(self, [b, c, d]: [u8; 3]) -> Ipv4Addr {
        let [a, ..] = self.base.octets();
        Ipv4Addr::new(a, b, c, d)
    }

    /// Which addresses machines may have, for messages.
    pub(crate) fn range(self) -> String {
        let last = self.nth(self.size() - 2);
        format!("{} to {last}", self.nth(FIRST))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected an IPv4 network such as 10.1.0.0/16".to_owned();
        let (base, bits) = text.split_once('/').ok_or_else(expected)?;
        let base: Ipv4Addr = base.parse().map_err(|_| expected())?;
        let bits: u8 = bits.parse().map_err(|_| expected())?;
        if !(8..=28).contains(&bits) {
            return Err("a network has 8 to 28 bits".to_owned());
        }
        let subnet = Self { base, bits };
        if !base.to_bits().is_multiple_of(subnet.size()) {
            let base = Ipv4Addr::from_bits(base.to_bits() & !(subnet.size() - 1));
            return Err(format!("{base}/{bits} is the network that {text} is in"));
        }
        if base.is_loopback()
            || base.is_multicast()
            || base.octets()[0] == 0
            || base.octets()[0] >= 240
        {
            return Err(format!("{text} is no network of machines"));
        }
        Ok(subnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_addresses_are() {
        let subnet = Subnet::DEFAULT;
        let mut machines = subnet.machines();
        assert_eq!(machines.next(), Some(Ipv4Addr::new(10, 0, 2, 15)));
        assert_eq!(machines.last(), Some(Ipv4Addr::new(10, 0, 2, 14)));
        assert_eq!(subnet.machines().count(), 251);
        assert!(subnet.machines().all(|address| subnet.has(address)));
        assert_eq!(subnet.range(), "10.0.2.4 to 10.0.2.254");
        let small: Subnet = "192.168.7.16/28".parse().unwrap();
        assert_eq!(small.machines().count(), 11);
        assert!(small.machines().all(|address| small.has(address)));
        assert!(!small.has(small.router()) && !small.has(Ipv4Addr::new(192, 168, 7, 31)));
    }

    #[test]
    fn addresses_of_ipv6_end_with_those_of_ipv4() {
        let machine = Ipv4Addr::new(10, 0, 2, 15);
        let address = v6_of(machine);
        assert_eq!(address.to_string(), "fd65:6c66:696e::a00:20f");
        assert_eq!(v4_of(address), Some(machine));
        assert_eq!(v4_of(Ipv6Addr::LOCALHOST), None);
        assert_eq!(Subnet::DEFAULT.ending([0, 2, 15]), machine);
    }

    #[test]
    fn networks() {
        let parse = |text: &str| text.parse::<Subnet>().map(|subnet| subnet.to_string());
        assert_eq!(parse("10.1.0.0/16"), Ok("10.1.0.0/16".to_owned()));
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/7",
            "10.0.0.0/29",
            "10.0.0.1/24",
            "a/24",
            "127.0.0.0/8",
            "224.0.0.0/8",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
