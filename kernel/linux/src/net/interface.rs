//! Network interfaces: the loopback and, if there is one, the Ethernet device; which addresses are this machine's.
use super::mib::Mib;
use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicU64, Ordering};

/// An address of an interface, with the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the network.
    pub len: u8,
}

impl Prefix {
    /// The netmask.
    pub fn netmask(self) -> Ipv4Addr {
        let bits = u32::MAX
            .checked_shl(32 - u32::from(self.len.min(32)))
            .unwrap_or(0);
        Ipv4Addr::from_bits(bits)
    }

    /// The network, which is the address of no machine.
    pub fn network(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & self.netmask().to_bits()).into(),
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.len.min(128)));
                Ipv6Addr::from_bits(ip.to_bits() & mask.unwrap_or(0)).into()
            }
        };
        Self { ip, len: self.len }
    }

    /// Whether another address is in the same network.
    pub fn has(self, ip: IpAddr) -> bool {
        let other = Self { ip, len: self.len };
        self.ip.is_ipv4() == ip.is_ipv4() && self.network() == other.network()
    }

    /// The broadcast address of an IPv4 network.
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.ip {
            IpAddr::V4(ip) => Some(Ipv4Addr::from_bits(
                ip.to_bits() | !self.netmask().to_bits(),
            )),
            IpAddr::V6(_) => None,
        }
    }
}

/// Packets and bytes, received and sent.
#[derive(Default)]
pub struct Counters([AtomicU64; 4]);

impl Counters {
    /// None so far.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 4])
    }
    /// A packet of `len` bytes has come.
    pub fn received(&self, len: usize) {
        self.add(0, len);
    }
    /// A packet of `len` bytes was sent.
    pub fn sent(&self, len: usize) {
        self.add(2, len);
    }
    fn add(&self, at: usize, len: usize) {
        self.0[at].fetch_add(1, Ordering::Relaxed);
        let len = u64::try_from(len).unwrap_or(0);
        self.0[at + 1].fetch_add(len, Ordering::Relaxed);
    }
    /// Packets and bytes received, packets and bytes sent.
    pub fn get(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|at: usize| self.0[at].load(Ordering::Relaxed))
    }
}

/// What there is to know about an interface.
pub struct Interface {
    /// `lo`, `eth0`
    pub name: &'static str,
    /// From 1 on.
    pub index: u32,
    /// `IFF_*`
    pub flags: u32,
    /// `ARPHRD_*`
    pub hardware: u16,
    /// The hardware address.
    pub mac: [u8; 6],
    /// The largest packet.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<Prefix>,
    /// Packets and bytes received, packets and bytes sent.
    pub counters: [u64; 4],
}

impl Interface {
    /// Whether what it sends comes back.
    pub fn is_loopback(&self) -> bool {
        self.index == 1
    }
}

const ARPHRD_LOOPBACK: u16 = 772;
/// `IFF_UP`, `IFF_LOOPBACK`, `IFF_RUNNING`, `IFF_LOWER_UP`
const LOOPBACK_FLAGS: u32 = 0x1 | 0x8 | 0x40 | 0x10000;

const ARPHRD_ETHER: u16 = 1;
/// `IFF_UP`, `IFF_BROADCAST`, `IFF_RUNNING`, `IFF_MULTICAST`, `IFF_LOWER_UP`
const ETHERNET_FLAGS: u32 = 0x1 | 0x2 | 0x40 | 0x1000 | 0x10000;
/// `ETH_DATA_LEN`
const ETHERNET_MTU: u32 = 1500;

/// The Ethernet device, as it was set up.
pub struct Ethernet {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: Vec<Prefix>,
    /// Who passes on what goes further, at most one a family.
    pub gateways: Vec<IpAddr>,
}

struct Interfaces {
    loopback: Counters,
    ethernet_counters: Counters,
    ethernet: spin::Once<Ethernet>,
    mib: Mib,
}

static INTERFACES: Interfaces = Interfaces {
    loopback: Counters::new(),
    ethernet_counters: Counters::new(),
    ethernet: spin::Once::new(),
    mib: Mib::new(),
};

/// What is counted of protocols.
pub fn mib() -> &'static Mib {
    &INTERFACES.mib
}

/// Of the loopback.
pub fn loopback() -> &'static Counters {
    &INTERFACES.loopback
}

/// Of the Ethernet device.
pub fn ethernet() -> &'static Counters {
    &INTERFACES.ethernet_counters
}

/// Sets up the Ethernet device, once.
pub fn set_up(ethernet: Ethernet) -> &'static Ethernet {
    INTERFACES.ethernet.call_once(|| ethernet)
}

/// The Ethernet device, if there is one.
pub fn ethernet_device() -> Option<&'static Ethernet> {
    INTERFACES.ethernet.get()
}

/// The address by which neighbours know a device with a hardware address (RFC 4291, "Link-Local IPv6 Unicast
/// Addresses").
pub fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Prefix {
    let pair = |high, low| u16::from_be_bytes([high, low]);
    let last = [pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f)];
    Prefix {
        ip: Ipv6Addr::new(0xfe80, 0, 0, 0, last[0], last[1], last[2], last[3]).into(),
        len: 64,
    }
}

/// Whom a packet to `ip` is handed to on the wire; `None` if to nobody alone.
pub fn next_hop(ip: IpAddr) -> Option<IpAddr> {
    let ethernet = INTERFACES.ethernet.get()?;
    let of_family = |other: &&IpAddr| other.is_ipv4() == ip.is_ipv4();
    match ethernet.addresses.iter().find(|own| own.has(ip)) {
        Some(own) => Some(ip).filter(|_| own.broadcast().is_none_or(|all| IpAddr::from(all) != ip)),
        None if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => None,
        None => ethernet.gateways.iter().find(of_family).copied(),
    }
}

/// All interfaces, by index.
pub fn all() -> Vec<Interface> {
    let mut all = vec![Interface {
        name: "lo",
        index: 1,
        flags: LOOPBACK_FLAGS,
        hardware: ARPHRD_LOOPBACK,
        mac: [0; 6],
        mtu: 65536,
        addresses: vec![
            Prefix {
                ip: Ipv4Addr::LOCALHOST.into(),
                len: 8,
            },
            Prefix {
                ip: Ipv6Addr::LOCALHOST.into(),
                len: 128,
            },
        ],
        counters: INTERFACES.loopback.get(),
    }];
    if let Some(ethernet) = INTERFACES.ethernet.get() {
        all.push(Interface {
            name: "eth0",
            index: 2,
            flags: ETHERNET_FLAGS,
            hardware: ARPHRD_ETHER,
            mac: ethernet.mac,
            mtu: ETHERNET_MTU,
            addresses: ethernet.addresses.clone(),
            counters: INTERFACES.ethernet_counters.get(),
        });
    }
    all
}

/// Whether an address is this machine's: what is sent there stays here.
pub fn is_local(ip: IpAddr) -> bool {
    let own = |ethernet: &Ethernet| ethernet.addresses.iter().any(|own| own.ip == ip);
    ip.is_loopback() || INTERFACES.ethernet.get().is_some_and(own)
}

/// The address that what is sent to `ip` comes from; `None` if there is no way there.
pub fn source(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) if v4.is_loopback() => return Some(Ipv4Addr::LOCALHOST.into()),
        ip if is_local(ip) => return Some(ip),
        _ => (),
    }
    let ethernet = INTERFACES.ethernet.get()?;
    let of_family = |other: IpAddr| other.is_ipv4() == ip.is_ipv4();
    let passed_on = ethernet.gateways.iter().any(|&gateway| of_family(gateway));
    let near = is_near(ip);
    let mut own = ethernet.addresses.iter().filter(|own| of_family(own.ip));
    own.find(|own| is_near(own.ip) == near && (passed_on || own.has(ip) || ip.is_multicast()))
        .map(|own| own.ip)
}

/// Whether an address means something to neighbours only (RFC 4007, the scope link-local).
pub fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Whether an address is one of the site's, as QEMU's router gives out (RFC 3879 speaks against them).
pub fn is_site_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfec0)
}

/// A route: where to, by which interface, over whom.
pub struct Route {
    /// The network; of no length for all.
    pub to: Prefix,
    /// Who passes it on.
    pub gateway: Option<IpAddr>,
    /// The address that it comes from, if it is the network of one.
    pub own: Option<IpAddr>,
    /// The interface.
    pub name: &'static str,
    /// The same by its index.
    pub index: u32,
}

/// Routes to other machines.
pub fn routes() -> Vec<Route> {
    let Some(ethernet) = INTERFACES.ethernet.get() else {
        return Vec::new();
    };
    let route = |to, gateway, own| Route {
        to,
        gateway,
        own,
        name: "eth0",
        index: 2,
    };
    let everywhere = |gateway: &IpAddr| {
        let ip = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        route(Prefix { ip, len: 0 }, Some(*gateway), None)
    };
    let networks = ethernet
        .addresses
        .iter()
        .map(|own| route(own.network(), None, Some(own.ip)));
    ethernet
        .gateways
        .iter()
        .map(everywhere)
        .chain(networks)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let prefix = |ip: &str, len| Prefix {
            ip: ip.parse().unwrap(),
            len,
        };
        let own = prefix("10.0.2.15", 24);
        assert_eq!(own.network(), prefix("10.0.2.0", 24));
        assert_eq!(own.netmask().octets(), [255, 255, 255, 0]);
        assert_eq!(own.broadcast(), Some(Ipv4Addr::new(10, 0, 2, 255)));
        assert!(own.has("10.0.2.200".parse().unwrap()));
        assert!(!own.has("10.0.3.1".parse().unwrap()));
        assert_eq!(prefix("1.2.3.4", 0).network(), prefix("0.0.0.0", 0));
        assert_eq!(prefix("fec0::15", 64).network(), prefix("fec0::", 64));
        assert!(!own.has("::1".parse().unwrap()));
    }
}
