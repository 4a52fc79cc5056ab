//! A machine's port of its network: threads that carry frames between QEMU's sockets and those of other machines.
//!
//! Each machine has a router of its own (QEMU's user network), so what goes further, and ports of this host, are as
//! without a network: frames of the router never reach other machines. What comes for a machine waits in a queue; when
//! that is full it is lost, as on any wire.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::dns;
use super::frame::{self, Target};
use super::roster::{Member, Roster};
use super::settings::Wire;
use super::subnet::Subnet;

/// Frames that wait for a machine.
const QUEUE: usize = 1024;
/// More than any frame has.
const MOST: usize = 64 << 10;
/// How long another machine's process is waited for until it counts as stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// QEMU's ends of sockets whose datagrams are frames.
#[derive(Debug)]
pub(crate) struct Plugs {
    /// The machine's.
    pub(crate) machine: OwnedFd,
    /// The router's, if there is one.
    pub(crate) router: Option<OwnedFd>,
}

/// Names of machines, and whether they have addresses of IPv6.
struct Directory {
    roster: Arc<Roster>,
    ipv6: bool,
}

impl dns::Names for Directory {
    fn address_of(&self, name: &str) -> Option<Ipv4Addr> {
        self.roster.address_of(name)
    }

    fn name_of(&self, address: Ipv4Addr) -> Option<String> {
        self.roster.name_of(address)
    }

    fn has_ipv6(&self) -> bool {
        self.ipv6
    }
}

impl Member {
    /// Starts carrying frames, which goes on as long as the process.
    pub(crate) fn plug_in(&self) -> Result<Plugs> {
        let pair = || UnixDatagram::pair().context("cannot create a socket");
        let (machine, machine_plug) = pair()?;
        let inbox = self
            .inbox
            .as_ref()
            .context("the machine is in no network")?;
        let trouble = Trouble::new(self.settings.wire, self.address);
        collect(inbox, &deliver(&machine)?, trouble)?;
        // Of its own, so that the router's frames do not wait for those of a slow wire.
        let queue = deliver(&machine)?;
        let mut router = None;
        let mut router_plug = None;
        if !self.settings.internal {
            let (end, plug) = pair()?;
            collect(&end, &queue, Trouble::new(Wire::default(), self.address))?;
            (router, router_plug) = (Some(end), Some(plug.into()));
        }
        let sender = Sender {
            own: self.address,
            subnet: self.settings.subnet,
            directory: Directory {
                roster: Arc::clone(&self.roster),
                ipv6: self.settings.ipv6,
            },
            peers: HashMap::new(),
            router,
            back: queue,
        };
        thread::spawn(move || sender.run(&machine));
        Ok(Plugs {
            machine: machine_plug.into(),
            router: router_plug,
        })
    }
}

/// A frame, and when it arrives, if not at once.
type Arrival = (Vec<u8>, Option<Instant>);

/// What is wrong with a wire, always the same for a machine.
struct Trouble {
    wire: Wire,
    /// A stream of numbers (xorshift64).
    chance: u64,
}

impl Trouble {
    fn new(wire: Wire, machine: Ipv4Addr) -> Self {
        let chance = u64::from(machine.to_bits()) << 32 | 0x9e37_79b9;
        Self { wire, chance }
    }

    fn loses(&mut self) -> bool {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        ((self.chance >> 11) % 10_000) as f64 / 100.0 < self.wire.loss
    }

    /// When a frame arrives that is sent now.
    fn arrival(&self) -> Option<Instant> {
        let delay = Duration::from_millis(self.wire.delay.into());
        (!delay.is_zero()).then(|| Instant::now() + delay)
    }
}

/// Starts to put what comes at `from` into the queue.
fn collect(from: &UnixDatagram, queue: &SyncSender<Arrival>, mut trouble: Trouble) -> Result<()> {
    let from = from.try_clone().context("cannot share a socket")?;
    let queue = queue.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; MOST];
        while let Ok(len) = from.recv(&mut buffer) {
            if !trouble.loses() {
                // When the queue is full, the frame is lost.
                let _ = queue.try_send((buffer[..len].to_vec(), trouble.arrival()));
            }
        }
    });
    Ok(())
}

/// A queue out of which the machine is given frames, as fast as it takes them.
fn deliver(machine: &UnixDatagram) -> Result<SyncSender<Arrival>> {
    let machine = machine.try_clone().context("cannot share a socket")?;
    let (queue, queued) = sync_channel::<Arrival>(QUEUE);
    thread::spawn(move || {
        for (frame, arrival) in queued {
            if let Some(arrival) = arrival {
                thread::sleep(arrival.saturating_duration_since(Instant::now()));
            }
            // It fails when QEMU has ended.
            let _ = machine.send(&frame);
        }
    });
    Ok(queue)
}

/// What carries a machine's frames to others.
struct Sender {
    own: Ipv4Addr,
    subnet: Subnet,
    directory: Directory,
    peers: HashMap<Ipv4Addr, Peer>,
    router: Option<UnixDatagram>,
    /// To the machine itself.
    back: SyncSender<Arrival>,
}

/// Another machine.
struct Peer {
    socket: UnixDatagram,
    /// Its process does not take frames; it may be stopped.
    stuck: bool,
}

impl Sender {
    fn run(mut self, machine: &UnixDatagram) {
        let mut buffer = vec![0; MOST];
        while let Ok(len) = machine.recv(&mut buffer) {
            let frame = &buffer[..len];
            match frame::target(frame, self.own, self.subnet, &self.directory) {
                Target::Machine(to) => {
                    if self.send(to, frame).is_err()
                        && let Some(answer) = frame::reset(frame)
                    {
                        let _ = self.back.try_send((answer, None));
                    }
                }
                Target::Machines => {
                    for to in self.directory.roster.addresses().unwrap_or_default() {
                        if to != self.own {
                            // Who is not there misses nothing.
                            let _ = self.send(to, frame);
                        }
                    }
                }
                Target::Router => {
                    if let Some(router) = &self.router {
                        // It fails when QEMU has ended.
                        let _ = router.send(frame);
                    } else if let Some(answer) = frame::without_router(frame, self.subnet) {
                        let _ = self.back.try_send((answer, None));
                    }
                }
                Target::Sender(answer) => {
                    let _ = self.back.try_send((answer, None));
                }
                Target::Nobody => {}
            }
        }
    }

    /// Sends a frame to a machine; an error if it is not there.
    fn send(&mut self, to: Ipv4Addr, frame: &[u8]) -> io::Result<()> {
        if let Some(peer) = self.peers.get_mut(&to) {
            if peer.send(frame).is_ok() {
                return Ok(());
            }
            // It has gone. Another may have come in its place.
            self.peers.remove(&to);
        }
        let socket = self.directory.roster.reach(to)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut peer = Peer {
            socket,
            stuck: false,
        };
        peer.send(frame)?;
        self.peers.insert(to, peer);
        Ok(())
    }
}

impl Peer {
    /// Sends a frame, which is lost if the other process does not take it in time; an error if it has gone.
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(frame);
        let stuck = match sent {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        if stuck != self.stuck {
            self.stuck = stuck;
            self.socket.set_nonblocking(stuck)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::settings::Settings;

    fn frame(to: &Member, from: &Member, number: u32) -> Vec<u8> {
        let mac = |machine: &Member| [&[0x52, 0x54][..], &machine.address.octets()].concat();
        [
            &mac(to)[..],
            &mac(from),
            &[0x88, 0xb5],
            &number.to_be_bytes(),
        ]
        .concat()
    }

    #[test]
    fn frames_reach_the_other_machine_in_order() {
        let dir = tempfile::tempdir().unwrap();
        Roster::prepare(dir.path()).unwrap();
        let settings = Settings {
            subnet: Subnet::DEFAULT,
            internal: true,
            ipv6: false,
            wire: Wire::default(),
        };
        let join = || {
            Roster::open(dir.path())
                .unwrap()
                .join(settings, None, None)
                .unwrap()
        };
        let (a, b) = (join(), join());
        let plug = |member: &Member| {
            let plugs = member.plug_in().unwrap();
            assert!(plugs.router.is_none());
            UnixDatagram::from(plugs.machine)
        };
        let (a_nic, b_nic) = (plug(&a), plug(&b));
        let mut buffer = [0; 100];
        for number in 0..500 {
            a_nic.send(&frame(&b, &a, number)).unwrap();
            let len = b_nic.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..len], frame(&b, &a, number));
        }
        b_nic.send(&frame(&a, &b, 1)).unwrap();
        assert_eq!(a_nic.recv(&mut buffer).unwrap(), 18);
        drop(b);
        assert!(a.roster.reach(Ipv4Addr::new(10, 0, 2, 16)).is_err());
    }

    #[test]
    fn so_many_of_a_hundred_are_lost() {
        let machine = Ipv4Addr::new(10, 0, 2, 15);
        for (loss, least, most) in [(0.0, 0, 0), (5.0, 400, 600), (100.0, 10_000, 10_000)] {
            let lost = |_| {
                let mut trouble = Trouble::new(Wire { loss, delay: 0 }, machine);
                (0..10_000).filter(|_| trouble.loses()).count()
            };
            let counts = [1, 2].map(lost);
            assert!(
                (least..=most).contains(&counts[0]) && counts[0] == counts[1],
                "{counts:?}"
            );
        }
    }
}
