//! What comes in: whom a frame is for, and what is answered at once.
use super::{
    Key, Packet, SECOND, Stack,
    connection::{Remote, Step},
    device::Device,
    dhcp,
    fragments::Taken,
    frame::{self, Frame},
    instant, link, now,
    tcp::segment::{self, Segment},
    time_wait::Answer,
};
use crate::net::{inet::failure::Failure, interface};
use alloc::{sync::Arc, vec};
use smoltcp::{iface::SocketSet, wire::IpProtocol};

/// Answers a second to what is for nobody: resets, and ICMP's unreachable and echo.
const ANSWERS: u32 = 1000;

/// A packet has come that is neither TCP's nor UDP's.
fn count(packet: &Packet<'_>) {
    let counts = interface::mib().of(packet.to.is_ipv6());
    let kinds = match packet.header.protocol {
        1 => [3, 8, 0],
        58 => [1, 128, 129],
        _ => return,
    };
    counts.icmp_in_msgs.count();
    let which = [
        &counts.icmp_in_dest_unreachs,
        &counts.icmp_in_echos,
        &counts.icmp_in_echo_reps,
    ];
    for (kind, counter) in kinds.iter().zip(which) {
        if packet.payload.first() == Some(kind) {
            counter.count();
        }
    }
}

impl Stack {
    /// A frame has come.
    pub(super) fn take(&mut self, frame: &[u8]) {
        let counts = interface::mib().of_frame(frame);
        if let Some((counts, len)) = counts {
            counts.in_receives.count();
            counts.in_octets.add(len);
        }
        let taken = self.fragments.take(frame, now());
        if let Some((counts, _)) = counts {
            match &taken {
                Taken::Whole => (),
                Taken::Packet(_) => {
                    counts.reasm_reqds.count();
                    counts.reasm_oks.count();
                }
                Taken::Kept => counts.reasm_reqds.count(),
            }
        }
        match taken {
            Taken::Whole => self.take_whole(frame),
            Taken::Packet(frame) => self.take_whole(&frame),
            Taken::Kept => (),
        }
    }

    fn take_whole(&mut self, frame: &[u8]) {
        let parsed = frame::parse(frame);
        if !matches!(parsed, Frame::Segment { .. } | Frame::Datagram { .. })
            && let Some(packet) = frame::packet(frame)
            && interface::is_local(packet.to)
        {
            count(&packet);
            self.upper.packet(&packet);
        }
        if !matches!(parsed, Frame::Other)
            && let Some((counts, _)) = interface::mib().of_frame(frame)
        {
            counts.in_delivers.count();
        }
        match parsed {
            Frame::Segment { from, to, segment } => {
                let mut mac = [0; 6];
                mac.copy_from_slice(&frame[6..12]);
                self.segment((to, from), &segment, mac);
            }
            Frame::Datagram {
                from,
                to,
                data,
                header,
            } => {
                if to.port() == dhcp::PORT && self.renew(Some(frame)) {
                    return;
                }
                let own = interface::is_local(to.ip());
                if !self.upper.datagram(data, from, to, header) && own {
                    interface::mib().of(to.is_ipv6()).udp_no_ports.count();
                    self.answer(frame);
                }
            }
            Frame::Neighbour(from, mac) => {
                self.neighbours.heard(from, mac, now());
                self.answer(frame);
                self.send_waiting();
            }
            Frame::Failed(failure) => self.tell(&failure),
            Frame::Control => self.answer(frame),
            Frame::Other => (),
        }
    }

    /// A segment has come for the first of two ends.
    pub(super) fn segment(&mut self, key: Key, segment: &Segment<'_>, mac: [u8; 6]) {
        let now = now();
        interface::mib().tcp.in_segs.count();
        let head = &segment.head;
        if let Some(remote) = self.connections.get(&key).cloned() {
            let (accepted, step) = remote.segment(segment, mac, now);
            self.has_got(&remote, step, now);
            // An answer to a SYN that was not sent, from an old connection of the same ends.
            if !accepted && remote.is_asked_for() {
                self.refuse(key, segment, mac);
            }
            return;
        }
        match self.time_wait.segment(&key, segment) {
            Answer::Unknown | Answer::Opens => (),
            Answer::Nothing => return,
            Answer::Send(head) => {
                if self.may_answer() {
                    link::send_segment(mac, [key.0, key.1], &head, 0, |_| ());
                }
                return;
            }
        }
        if !interface::is_local(key.0.ip()) {
            return;
        }
        if head.syn && head.ack.is_none() {
            let accepting = self.upper.accepting(key.0, key.1);
            match accepting {
                Some(accepting) => self.asked(key, segment, mac, &*accepting, now),
                None => self.refuse(key, segment, mac),
            }
        } else if head.rst {
            if self
                .requests
                .get(&key)
                .is_some_and(|request| request.syn.seq.plus(1) == head.seq)
            {
                self.requests.remove(&key);
            }
        } else if !self.open(key, segment, mac, now) {
            self.refuse(key, segment, mac);
        }
    }

    /// A connection has got a segment. Without a step it waits for more that has come.
    pub(super) fn has_got(&mut self, remote: &Arc<Remote>, step: Option<Step>, now: u64) {
        match step {
            Some(step) => self.settle(remote, step, now),
            None if self.receiving.iter().any(|one| Arc::ptr_eq(one, remote)) => (),
            None => self.receiving.push(remote.clone()),
        }
    }

    /// All frames that had come were taken: connections that have got data go on.
    pub(super) fn have_received(&mut self) {
        for remote in core::mem::take(&mut self.receiving) {
            self.look_after(&remote);
        }
    }

    /// What was sent from here has not arrived.
    pub(super) fn tell(&mut self, failure: &Failure<'_>) {
        match IpProtocol::from(failure.protocol) {
            IpProtocol::Udp | IpProtocol::Icmp | IpProtocol::Icmpv6 => self.upper.failed(failure),
            // One that is there already goes on trying (RFC 5461).
            IpProtocol::Tcp => {
                if let Some((error, _)) = failure.error()
                    && let Some(remote) = self.connections.get(&(failure.from, failure.to)).cloned()
                    && remote.is_asked_for()
                {
                    remote.give_up(error);
                    self.look_after(&remote);
                }
            }
            _ => (),
        }
    }

    /// Whether there were not many answers in this second.
    pub(super) fn may_answer(&mut self) -> bool {
        let second = now() / SECOND;
        if self.answers.0 != second {
            self.answers = (second, 0);
        }
        self.answers.1 += 1;
        self.answers.1 <= ANSWERS
    }

    /// A segment is for no connection.
    pub(super) fn refuse(&mut self, (local, peer): Key, segment: &Segment<'_>, mac: [u8; 6]) {
        if let Some(head) = segment::refusal(segment)
            && self.may_answer()
        {
            link::send_segment(mac, [local, peer], &head, 0, |_| ());
        }
    }

    /// Has smoltcp answer a frame.
    pub(super) fn answer(&mut self, frame: &[u8]) {
        if self.may_answer() {
            let mut none = SocketSet::new(vec![]);
            let mut device = Device(Some(frame));
            self.interface
                .poll_ingress_single(instant(now()), &mut device, &mut none);
        }
    }

    /// Takes a frame about the address that was given, or asks for it again; whether there is one.
    pub(super) fn renew(&mut self, frame: Option<&[u8]>) -> bool {
        let Some(lease) = &mut self.lease else {
            return false;
        };
        let given = lease.go_on(&mut self.interface, frame);
        if let Some((own, _)) = given
            && !interface::is_local(own.ip)
        {
            log::warn!(
                "DHCP gives {}, which is not the address that programs know",
                own.ip
            );
        }
        true
    }
}
