//! Network interfaces: the loopback and, if there is one, the Ethernet device; which addresses are this machine's.
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

/// Of the loopback.
pub static LOOPBACK: Counters = Counters::new();

/// All interfaces, by index.
pub fn all() -> Vec<Interface> {
    vec![Interface {
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
        counters: LOOPBACK.get(),
    }]
}

/// Whether an address is this machine's: what is sent there stays here.
pub fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback()
        || all()
            .iter()
            .any(|one| one.addresses.iter().any(|own| own.ip == ip))
}

/// The address that what is sent to `ip` comes from; `None` if there is no way there.
pub fn source(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) if v4.is_loopback() => Some(Ipv4Addr::LOCALHOST.into()),
        ip if is_local(ip) => Some(ip),
        _ => None,
    }
}

/// `SIOCGIF*` names an interface by its name or its index.
pub fn by_name(name: &[u8]) -> Option<Interface> {
    all().into_iter().find(|one| one.name.as_bytes() == name)
}

/// A route: where to, by which interface, over whom.
pub struct Route {
    /// The network; of no length for all.
    pub to: Prefix,
    /// Who passes it on.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub name: &'static str,
    /// The same by its index.
    pub index: u32,
}

/// Routes to other machines.
pub fn routes() -> Vec<Route> {
    Vec::new()
}
