//! Which ports are taken, and by whom: bind(2), and finding who is meant by what comes in.
use abi::Errno;
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use machine::{drivers::random, sync::SpinLock};

/// `net.ipv4.ip_local_port_range`
pub const EPHEMERAL: core::ops::RangeInclusive<u16> = 32768..=60999;

/// A local address and port that a socket has.
pub struct Binding<T: 'static> {
    /// The address as an IPv4 one if it is one written as IPv6.
    pub address: SocketAddr,
    /// Sharing that its socket has asked for.
    pub sharing: Sharing,
    /// Who has it.
    owner: Weak<T>,
    table: &'static Ports<T>,
}

/// How a port may be shared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sharing {
    /// `IPV6_V6ONLY`: the unspecified address of IPv6 is not all of IPv4, too.
    pub v6only: bool,
    /// `SO_REUSEADDR`
    pub address: bool,
    /// `SO_REUSEPORT`: the user who may share it.
    pub port: Option<u32>,
}

/// Whose ports they are.
pub trait Owner: Sized + 'static {
    /// Whether a port can be shared with it by `SO_REUSEADDR`.
    fn shares(&self) -> bool;
    /// Whether it takes what comes in from `from`; `Some(true)`: from there only.
    fn takes(&self, from: SocketAddr) -> Option<bool>;
}

/// The ports of a protocol.
pub struct Ports<T: 'static> {
    bound: SpinLock<BTreeMap<u16, Vec<Weak<Binding<T>>>>>,
}

impl<T> Drop for Binding<T> {
    fn drop(&mut self) {
        let mut bound = self.table.bound.lock();
        let port = self.address.port();
        let left = bound.get_mut(&port).map(|all| {
            all.retain(|one| !core::ptr::eq(one.as_ptr(), self));
            all.len()
        });
        if left == Some(0) {
            bound.remove(&port);
        }
    }
}

impl<T> Binding<T> {
    /// Whether a packet to `ip` is for it.
    fn covers(&self, ip: IpAddr) -> bool {
        covers(self.address.ip(), self.sharing.v6only, ip)
    }
}

fn covers(own: IpAddr, v6only: bool, ip: IpAddr) -> bool {
    match own {
        own if own == ip => true,
        own if !own.is_unspecified() => false,
        IpAddr::V4(_) => ip.is_ipv4(),
        IpAddr::V6(_) => ip.is_ipv6() || !v6only,
    }
}

impl<T: Owner> Default for Ports<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Owner> Ports<T> {
    /// None taken.
    pub const fn new() -> Self {
        Self {
            bound: SpinLock::new(BTreeMap::new()),
        }
    }

    /// Takes a port, a random one if none is asked for; `EADDRINUSE`.
    pub fn bind(
        &'static self,
        address: SocketAddr,
        sharing: Sharing,
        owner: &Arc<T>,
    ) -> Result<Arc<Binding<T>>, Errno> {
        if address.port() != 0 {
            return self.take(address, sharing, owner);
        }
        let (first, count) = (*EPHEMERAL.start(), EPHEMERAL.end() - EPHEMERAL.start() + 1);
        let mut seed = [0; 2];
        random::fill(&mut seed);
        let start = u16::from_le_bytes(seed) % count;
        for step in 0..count {
            let offset = (u32::from(start) + u32::from(step)) % u32::from(count);
            let mut address = address;
            address.set_port(first + u16::try_from(offset).unwrap_or(0));
            // None that anybody has: sharing is for those who ask for a port.
            if self.bound.lock().contains_key(&address.port()) {
                continue;
            }
            if let Ok(binding) = self.take(address, sharing, owner) {
                return Ok(binding);
            }
        }
        Err(Errno::EADDRINUSE)
    }

    fn take(
        &'static self,
        address: SocketAddr,
        sharing: Sharing,
        owner: &Arc<T>,
    ) -> Result<Arc<Binding<T>>, Errno> {
        let binding = Arc::new(Binding {
            address,
            sharing,
            owner: Arc::downgrade(owner),
            table: self,
        });
        let mut bound = self.bound.lock();
        let all = bound.entry(address.port()).or_default();
        // What is dropped under the lock would want it.
        let others: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        let taken = others.iter().any(|other| {
            let meet = binding.covers(other.address.ip()) || other.covers(address.ip());
            meet && !may_share(other, sharing)
        });
        if !taken {
            all.push(Arc::downgrade(&binding));
        } else if all.is_empty() {
            bound.remove(&address.port());
        }
        drop(bound);
        if taken {
            Err(Errno::EADDRINUSE)
        } else {
            Ok(binding)
        }
    }

    /// Who takes what comes from `from` to `to`: first who is connected to there, then by how exactly the address is
    /// said. Among equals one is chosen by where it comes from.
    pub fn find(&self, to: SocketAddr, from: SocketAddr) -> Option<Arc<T>> {
        let bindings: Vec<_> = {
            let bound = self.bound.lock();
            bound
                .get(&to.port())?
                .iter()
                .filter_map(Weak::upgrade)
                .collect()
        };
        let mut best = 0;
        let mut found = Vec::new();
        for binding in bindings.iter().filter(|binding| binding.covers(to.ip())) {
            let Some(owner) = binding.owner.upgrade() else {
                continue;
            };
            let Some(connected) = owner.takes(from) else {
                continue;
            };
            let score = match binding.address.ip() {
                _ if connected => 4,
                ip if ip == to.ip() => 3,
                IpAddr::V4(_) => 2,
                IpAddr::V6(_) => 1,
            };
            if score > best {
                best = score;
                found.clear();
            }
            if score == best {
                found.push(owner);
            }
        }
        let count = found.len().max(1);
        let index = usize::from(from.port()) % count;
        found.into_iter().nth(index)
    }

    /// All owners, with where they are.
    pub fn all(&self) -> Vec<(SocketAddr, Arc<T>)> {
        let bindings: Vec<_> = {
            let bound = self.bound.lock();
            bound.values().flatten().filter_map(Weak::upgrade).collect()
        };
        bindings
            .iter()
            .filter_map(|binding| Some((binding.address, binding.owner.upgrade()?)))
            .collect()
    }
}

fn may_share<T: Owner>(other: &Binding<T>, sharing: Sharing) -> bool {
    let by_port = sharing.port.is_some() && sharing.port == other.sharing.port;
    let by_address = sharing.address
        && other.sharing.address
        && other.owner.upgrade().is_none_or(|owner| owner.shares());
    by_port || by_address
}

/// The address that stands for all of a family.
pub fn unspecified(v6: bool) -> IpAddr {
    if v6 {
        core::net::Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One {
        listens: bool,
        from: Option<SocketAddr>,
    }

    impl Owner for One {
        fn shares(&self) -> bool {
            !self.listens
        }
        fn takes(&self, from: SocketAddr) -> Option<bool> {
            match self.from {
                None => Some(false),
                Some(only) => (only == from).then_some(true),
            }
        }
    }

    fn one(listens: bool) -> Arc<One> {
        Arc::new(One {
            listens,
            from: None,
        })
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const FROM: &str = "9.9.9.9:9";

    #[test]
    fn the_unspecified_address_is_all_of_its_family() {
        static PORTS: Ports<One> = Ports::new();
        let (a, b) = (one(true), one(true));
        let none = Sharing::default();
        let v6only = Sharing {
            v6only: true,
            ..none
        };
        let first = PORTS.bind(at("[::]:80"), none, &a).unwrap();
        for taken in ["0.0.0.0:80", "127.0.0.1:80", "[::1]:80"] {
            assert_eq!(
                PORTS.bind(at(taken), none, &b).err(),
                Some(Errno::EADDRINUSE)
            );
        }
        drop(first);
        let _first = PORTS.bind(at("[::]:80"), v6only, &a).unwrap();
        let _second = PORTS.bind(at("0.0.0.0:80"), none, &b).unwrap();
        let found = |to| PORTS.find(at(to), at(FROM)).unwrap();
        assert!(Arc::ptr_eq(&found("1.2.3.4:80"), &b) && Arc::ptr_eq(&found("[::1]:80"), &a));
        assert!(PORTS.find(at("1.2.3.4:81"), at(FROM)).is_none());
    }

    #[test]
    fn ports_are_shared_by_those_who_ask() {
        static PORTS: Ports<One> = Ports::new();
        let (listens, other) = (one(true), one(false));
        let reuse = Sharing {
            address: true,
            ..Sharing::default()
        };
        let port = Sharing {
            port: Some(1),
            ..Sharing::default()
        };
        let bound = PORTS.bind(at("0.0.0.0:1"), reuse, &listens).unwrap();
        assert!(PORTS.bind(at("0.0.0.0:1"), reuse, &other).is_err());
        drop(bound);
        let bound = PORTS.bind(at("0.0.0.0:1"), reuse, &other).unwrap();
        assert!(PORTS.bind(at("0.0.0.0:1"), reuse, &listens).is_ok());
        assert!(
            PORTS
                .bind(at("0.0.0.0:1"), Sharing::default(), &listens)
                .is_err()
        );
        drop(bound);
        let _bound = PORTS.bind(at("0.0.0.0:1"), port, &listens).unwrap();
        assert!(PORTS.bind(at("0.0.0.0:1"), port, &other).is_ok());
        let stranger = Sharing {
            port: Some(2),
            ..port
        };
        assert!(PORTS.bind(at("0.0.0.0:1"), stranger, &other).is_err());
    }

    #[test]
    fn who_is_connected_comes_first() {
        static PORTS: Ports<One> = Ports::new();
        let any = one(false);
        let peer = Arc::new(One {
            listens: false,
            from: Some(at(FROM)),
        });
        let reuse = Sharing {
            address: true,
            ..Sharing::default()
        };
        let _any = PORTS.bind(at("127.0.0.1:5"), reuse, &any).unwrap();
        let _peer = PORTS.bind(at("0.0.0.0:5"), reuse, &peer).unwrap();
        let found = |from| PORTS.find(at("127.0.0.1:5"), at(from)).unwrap();
        assert!(Arc::ptr_eq(&found(FROM), &peer) && Arc::ptr_eq(&found("8.8.8.8:8"), &any));
    }

    #[test]
    fn random_ports_are_free_ones() {
        static PORTS: Ports<One> = Ports::new();
        let owner = one(false);
        let bound: Vec<_> = (0..2000)
            .map(|_| {
                PORTS
                    .bind(at("127.0.0.1:0"), Sharing::default(), &owner)
                    .unwrap()
            })
            .collect();
        let mut ports: Vec<_> = bound.iter().map(|one| one.address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() == 2000 && ports.iter().all(|port| EPHEMERAL.contains(port)));
        drop(bound);
        assert!(PORTS.all().is_empty());
    }
}
