//! A machine of a network that is none: it sends and takes segments of TCP one by one, and so can misbehave.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// What the options of a SYN say that knows everything: a segment's size, selective acknowledgements, a window scale.
pub(crate) const OPTIONS: &[u8] = &[2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 0];

/// A segment, with the port of the peer's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) port: u16,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) options: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// See the module.
pub(crate) struct Peer {
    socket: UnixDatagram,
    machine: PathBuf,
    ends: [Ipv4Addr; 2],
}

/// The sum of RFC 1071, without its complement.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    words.sum()
}

fn checksum(sum: u32) -> [u8; 2] {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}

impl Peer {
    /// One with the address `own` in the network whose directory is given, which talks to the machine with `other`.
    pub(crate) fn new(network: &Path, own: Ipv4Addr, other: Ipv4Addr) -> Self {
        let machines = network.join("machines");
        let socket = UnixDatagram::bind(machines.join(own.to_string())).expect("it is free");
        // So long as nothing is lost, nothing takes so long.
        let patience = Some(Duration::from_secs(60));
        socket.set_read_timeout(patience).expect("it can be set");
        Self {
            socket,
            machine: machines.join(other.to_string()),
            ends: [own, other],
        }
    }

    /// Sends a segment to the machine's port 7.
    pub(crate) fn send(&self, segment: &Segment) {
        let [own, other] = self.ends.map(|end| end.octets());
        let mut tcp = [segment.port.to_be_bytes(), 7u16.to_be_bytes()].concat();
        tcp.extend(segment.seq.to_be_bytes());
        tcp.extend(segment.ack.to_be_bytes());
        let words = 5 + segment.options.len() / 4;
        tcp.extend([(words as u8) << 4, segment.flags, 255, 255, 0, 0, 0, 0]);
        tcp.extend(&segment.options);
        tcp.extend(&segment.data);
        let pseudo = [&own[..], &other, &[0, 6], &(tcp.len() as u16).to_be_bytes()].concat();
        let check = checksum(sum(&pseudo) + sum(&tcp));
        tcp[16..18].copy_from_slice(&check);
        let mut ip = vec![0x45, 0];
        ip.extend((20 + tcp.len() as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend([own, other].concat());
        let check = checksum(sum(&ip));
        ip[10..12].copy_from_slice(&check);
        let mac = |end: [u8; 4]| [&[0x52, 0x54][..], &end].concat();
        let frame = [mac(other), mac(own), vec![8, 0], ip, tcp].concat();
        self.socket
            .send_to(&frame, &self.machine)
            .expect("the machine is there");
    }

    /// The next segment that comes from the machine's port 7.
    pub(crate) fn receive(&self) -> Segment {
        let mut frame = [0; 2000];
        loop {
            let len = self.socket.recv(&mut frame).expect("something comes");
            let frame = &frame[..len];
            if frame[12..14] != [8, 0] || frame[23] != 6 {
                continue;
            }
            let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let tcp = &frame[34..14 + total];
            let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().expect("four"));
            let header = usize::from(tcp[12] >> 4) * 4;
            return Segment {
                port: u16::from_be_bytes([tcp[2], tcp[3]]),
                flags: tcp[13],
                seq: number(4),
                ack: number(8),
                options: tcp[20..header].to_vec(),
                data: tcp[header..].to_vec(),
            };
        }
    }
}
