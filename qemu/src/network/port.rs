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
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::dns;
use super::frame::{self, Target};
use super::roster::{Member, Roster};
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

impl dns::Names for Roster {
    fn address_of(&self, name: &str) -> Option<Ipv4Addr> {
        self.address_of(name)
    }

    fn name_of(&self, address: Ipv4Addr) -> Option<String> {
        self.name_of(address)
    }
}

impl Member {
    /// Starts carrying frames, which goes on as long as the process.
    pub(crate) fn plug_in(&self) -> Result<Plugs> {
        let pair = || UnixDatagram::pair().context("cannot create a socket");
        let (machine, machine_plug) = pair()?;
        let (queue, queued) = sync_channel(QUEUE);
        let inbox = self
            .inbox
            .as_ref()
            .context("the machine is in no network")?;
        collect(inbox, &queue)?;
        let mut router = None;
        let mut router_plug = None;
        if !self.settings.internal {
            let (end, plug) = pair()?;
            collect(&end, &queue)?;
            (router, router_plug) = (Some(end), Some(plug.into()));
        }
        let receiving = machine.try_clone().context("cannot share a socket")?;
        thread::spawn(move || hand_over(&queued, &receiving));
        let sender = Sender {
            own: self.address,
            subnet: self.settings.subnet,
            roster: Arc::clone(&self.roster),
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

/// Starts to put what comes at `from` into the queue.
fn collect(from: &UnixDatagram, queue: &SyncSender<Vec<u8>>) -> Result<()> {
    let from = from.try_clone().context("cannot share a socket")?;
    let queue = queue.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; MOST];
        while let Ok(len) = from.recv(&mut buffer) {
            // When the queue is full, the frame is lost.
            let _ = queue.try_send(buffer[..len].to_vec());
        }
    });
    Ok(())
}

/// Gives the machine what is in its queue, as fast as it takes it.
fn hand_over(queued: &Receiver<Vec<u8>>, machine: &UnixDatagram) {
    for frame in queued {
        // It fails when QEMU has ended.
        let _ = machine.send(&frame);
    }
}

/// What carries a machine's frames to others.
struct Sender {
    own: Ipv4Addr,
    subnet: Subnet,
    roster: Arc<Roster>,
    peers: HashMap<Ipv4Addr, Peer>,
    router: Option<UnixDatagram>,
    /// To the machine itself.
    back: SyncSender<Vec<u8>>,
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
            match frame::target(frame, self.own, self.subnet, &*self.roster) {
                Target::Machine(to) => {
                    if self.send(to, frame).is_err()
                        && let Some(answer) = frame::reset(frame)
                    {
                        let _ = self.back.try_send(answer);
                    }
                }
                Target::Machines => {
                    for to in self.roster.addresses().unwrap_or_default() {
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
                    }
                }
                Target::Sender(answer) => {
                    let _ = self.back.try_send(answer);
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
        let socket = self.roster.reach(to)?;
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
}
