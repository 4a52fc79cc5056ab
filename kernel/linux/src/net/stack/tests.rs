//! Damaged and made-up frames: whatever comes in, nothing panics and what is kept is bounded.
extern crate std;

use super::*;
use super::{device::Device, tcp::segment};
use crate::net::{
    address::family,
    interface::{self, Ethernet, Prefix},
    sock::Kind,
};
use alloc::vec;
use rand::{Damage, MAC};
use smoltcp::{
    iface::Config,
    wire::{EthernetAddress, HardwareAddress, IpCidr},
};

/// Somebody who takes everything, at port 81 when something is sent.
struct Everybody {
    defers: bool,
}

impl Upper for Everybody {
    fn accepting(&self, to: SocketAddr, _from: SocketAddr) -> Option<Arc<dyn Accepting>> {
        let defers = to.port() == 81;
        Some(Arc::new(Self { defers }))
    }
    fn datagram(&self, _: &[u8], _: SocketAddr, _: SocketAddr, _: Header) -> bool {
        false
    }
    fn packet(&self, _: &Packet<'_>) {}
    fn failed(&self, _: &Failure<'_>) {}
}

impl Accepting for Everybody {
    fn has_room(&self) -> bool {
        true
    }
    fn defers(&self) -> bool {
        self.defers
    }
    fn window(&self) -> Option<usize> {
        None
    }
    fn child(&self) -> Option<Arc<Sock>> {
        Some(Sock::of(0, family::INET, Kind::Stream, 6))
    }
    fn established(&self, _sock: Arc<Sock>, _connection: Arc<dyn Connection>) -> bool {
        true
    }
}

/// Frames by a seed.
mod rand {
    use alloc::vec::Vec;

    pub(super) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// A stream of numbers (xorshift64).
    pub(super) struct Damage(pub(super) u64);

    impl Damage {
        pub(super) fn below(&mut self, most: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 8).unwrap_or(0) % most
        }

        fn byte(&mut self) -> u8 {
            u8::try_from(self.below(256)).unwrap_or(0)
        }

        /// A segment or datagram over IPv4 with right checksums, some of it changed before or after they were made.
        pub(super) fn frame(&mut self) -> Vec<u8> {
            let tcp = self.below(4) > 0;
            let data = self.below(40);
            let head = if tcp { 20 } else { 8 };
            let mut body = alloc::vec![0; head + data];
            body.iter_mut().for_each(|byte| *byte = self.byte());
            let port = u16::try_from(40_000 + self.below(4)).unwrap_or(0);
            body[..2].copy_from_slice(&port.to_be_bytes());
            body[2..4].copy_from_slice(&80_u16.to_be_bytes());
            if tcp {
                body[12] = 0x50 | self.byte() & 0x10;
                body[13] = [0x02, 0x10, 0x18, 0x11, 0x04, 0x12, 0x29, 0x00][self.below(8)];
                body[16..18].fill(0);
            } else {
                let len = u16::try_from(body.len()).unwrap_or(0);
                body[4..6].copy_from_slice(&len.to_be_bytes());
                body[6..8].fill(0);
            }
            let (from, to) = ([10, 0, 2, 2], [10, 0, 2, 15]);
            let protocol = if tcp { 6 } else { 17 };
            let len = u16::try_from(body.len()).unwrap_or(0).to_be_bytes();
            let pseudo = [&from[..], &to, &[0, protocol], &len, &body].concat();
            let sum = checksum(&pseudo);
            let at = if tcp { 16 } else { 6 };
            body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            let total = u16::try_from(body.len() + 20).unwrap_or(0).to_be_bytes();
            let mut ip = [
                &[0x45, 0],
                &total[..],
                &[0, 0, 0, 0, 64, protocol, 0, 0],
                &from,
                &to,
            ]
            .concat();
            let sum = checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 2], &[8, 0], &ip, &body].concat();
            for _ in 0..self.below(3) {
                let at = self.below(frame.len());
                frame[at] = self.byte();
            }
            let len = if self.below(8) == 0 {
                self.below(frame.len())
            } else {
                frame.len()
            };
            frame.truncate(len);
            frame
        }
    }

    fn checksum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|pair| {
            u32::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        });
        let sum = words.fold(0, |sum: u32, word| sum + word);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !u16::try_from(sum).unwrap_or(0)
    }
}

/// A stack with an address.
fn stack() -> Stack {
    interface::set_up(Ethernet {
        mac: MAC,
        addresses: vec![Prefix {
            ip: [10, 0, 2, 15].into(),
            len: 24,
        }],
        gateways: Vec::new(),
    });
    let settings = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
    let mut interface = Interface::new(settings, &mut Device(None), instant(0));
    interface.update_ip_addrs(|list| {
        list.push(IpCidr::new(smoltcp::wire::IpAddress::v4(10, 0, 2, 15), 24))
            .unwrap();
    });
    let upper = &Everybody { defers: false };
    Stack::new(interface, isn::Generator::with_key([7; 16]), upper)
}

#[test]
fn damaged_frames_do_no_harm() {
    let mut stack = stack();
    let mut damage = Damage(0x9e37_79b9_7f4a_7c15);
    let mut most = 0;
    let frames = std::env::var("FRAMES").map_or(20_000, |text| text.parse().unwrap());
    for _ in 0..frames {
        stack.take(&damage.frame());
        most = most.max(stack.requests.len());
        assert!(
            stack.requests.len() <= requests::MOST && stack.timers.len() <= stack.connections.len()
        );
    }
    assert!(most > 0, "some frames are good");
}

#[test]
fn connections_are_put_off_until_something_is_sent() {
    let mut stack = stack();
    let ends: Key = (
        "10.0.2.15:81".parse().unwrap(),
        "10.0.2.2:9".parse().unwrap(),
    );
    let send = |stack: &mut Stack, head: &segment::Head, data: &[u8]| {
        let mut payload = vec![0; head.len() + data.len()];
        payload[head.len()..].copy_from_slice(data);
        head.emit(&mut payload, [(ends.1.ip(), 9), (ends.0.ip(), 81)]);
        let header = Header {
            protocol: 6,
            hops: HOPS,
            class: 0,
        };
        stack.take(&link::frame(&payload, ends.1.ip(), ends.0.ip(), header));
    };
    let mut head = segment::Head {
        seq: tcp::seq::Seq(5),
        syn: true,
        window: 1000,
        ..segment::Head::default()
    };
    send(&mut stack, &head, b"");
    let own = stack.requests.get(&ends).unwrap().own;
    (head.syn, head.seq, head.ack) = (false, head.seq.plus(1), Some(own.plus(1)));
    send(&mut stack, &head, b"");
    assert!(stack.connections.is_empty() && stack.requests.len() == 1);
    send(&mut stack, &head, b"request");
    assert!(stack.connections.len() == 1 && stack.requests.len() == 0);
}
