//! A segment has come (RFC 9293, 3.10.7).
use super::{
    Late, Phase, Tcb,
    congestion::Congestion,
    receive::Came,
    segment::{Head, Segment},
    seq::{count, len},
};
use crate::net::inet::connection::State;
use abi::Errno;

/// How long an acknowledgement may wait for data to go with (Linux: `TCP_DELACK_MIN`).
const DELAY: u64 = 40_000_000;
const SECOND: u64 = 1_000_000_000;
/// Answers a second to what is strange (`tcp_challenge_ack_limit` is for all; this is a connection's).
const CHALLENGES: u32 = 10;

impl Tcb {
    /// A segment has come. Whether it was acceptable: from the other end, as far as one can tell.
    pub(in super::super) fn segment(&mut self, segment: &Segment<'_>, now: u64) -> bool {
        self.counts.segments_in = self.counts.segments_in.wrapping_add(1);
        match self.state {
            State::Close | State::Listen => false,
            State::SynSent => self.answer(&segment.head, now),
            _ => self.proceed(segment, now),
        }
    }

    /// An answer to the SYN.
    fn answer(&mut self, head: &Head, now: u64) -> bool {
        let right = head.ack == Some(self.next);
        if head.ack.is_some() && !right {
            return false;
        }
        if head.rst {
            if right {
                self.end(Some(Errno::ECONNREFUSED));
            }
            return right;
        }
        if !head.syn {
            return false;
        }
        self.agree(head);
        self.inbox.begin(head.seq.plus(1));
        self.acked = self.inbox.next;
        self.control = false;
        self.heard = now;
        if right {
            if let (Some(since), 0) = (self.stalled, self.timeouts) {
                self.rtt.sample(now.saturating_sub(since));
            }
            self.una = self.next;
            self.made();
            self.ack = Some(0);
        } else {
            // Both have asked at once.
            self.state = State::SynReceived;
            self.control = true;
        }
        // The window of a SYN is not scaled; this end's was not, either.
        self.inbox.tell(0);
        true
    }

    /// The SYN was acknowledged.
    fn made(&mut self) {
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.state = State::Established;
        }
        self.control = false;
        self.timeouts = 0;
        self.stalled = None;
        self.late = None;
        self.small = self.una;
    }

    /// Has the other end learn where this one is, unless that was done often (RFC 5961).
    fn challenge(&mut self, now: u64) {
        let second = now / SECOND;
        if self.challenges.0 != second {
            self.challenges = (second, 0);
        }
        self.challenges.1 += 1;
        if self.challenges.1 <= CHALLENGES {
            self.ack = Some(0);
        }
    }

    /// Whether some of a segment is within the window, or has come since this end said something (Linux:
    /// `tcp_sequence`).
    fn is_acceptable(&self, segment: &Segment<'_>) -> bool {
        let start = segment.head.seq;
        let edge = self.inbox.next.plus(self.inbox.open());
        !start.after(edge) && !start.plus(segment.len()).before(self.acked)
    }

    fn proceed(&mut self, segment: &Segment<'_>, now: u64) -> bool {
        let head = &segment.head;
        if self.state == State::SynReceived
            && head.syn
            && head.seq.plus(1) == self.inbox.next
            && head.ack == Some(self.next)
        {
            // Both have asked at once, and this is the answer.
            self.una = self.next;
            self.made();
            self.heard(now);
            self.ack = Some(0);
            return true;
        }
        if !self.is_acceptable(segment) {
            // Data that came again had their acknowledgement lost; everything else is strange.
            if segment.len() > 0 && !head.syn {
                self.ack = Some(0);
            } else if !head.rst {
                self.challenge(now);
            }
            return false;
        }
        if head.rst {
            if head.seq == self.inbox.next {
                let error = match self.state {
                    State::CloseWait => Some(Errno::EPIPE),
                    State::SynReceived => Some(Errno::ECONNREFUSED),
                    State::Closing | State::LastAck | State::TimeWait => None,
                    _ => Some(Errno::ECONNRESET),
                };
                self.end(error);
                return true;
            }
            self.challenge(now);
            return false;
        }
        if head.syn {
            self.challenge(now);
            return false;
        }
        let Some(ack) = head.ack else { return false };
        // Of what was never sent, or long ago.
        let old = ack.before(self.una) && self.una.since(ack) > self.most.max(1 << 16);
        if ack.after(self.next) || old {
            self.challenge(now);
            return false;
        }
        self.heard(now);
        if self.state == State::SynReceived && ack == self.next {
            self.una = ack;
            self.made();
        }
        self.acknowledged(head, segment.data.is_empty() && !head.fin, now);
        if self.state == State::Close {
            return true;
        }
        self.data(segment, now);
        true
    }

    fn heard(&mut self, now: u64) {
        self.heard = now;
        self.probes = 0;
    }

    /// What the acknowledgement and the window say. `bare`: there is nothing else in the segment.
    fn acknowledged(&mut self, head: &Head, bare: bool, now: u64) {
        let Some(ack) = head.ack else { return };
        let advance = if ack.after(self.una) {
            ack.since(self.una)
        } else {
            0
        };
        let window = u32::from(head.window) << self.scales[0];
        let same = window == self.window;
        let (seq, told) = self.told;
        if seq.before(head.seq) || seq == head.seq && !told.after(ack) {
            self.window = window;
            self.most = self.most.max(window);
            self.told = (head.seq, ack);
        }
        let under_way = self.flight.pipe();
        let (una, next) = (self.una.max(ack), self.next);
        let ranges = head.sacks.iter().flatten().filter(|(start, end)| {
            self.sack && start.before(*end) && end.after(una) && !end.after(next)
        });
        let report = self.flight.acknowledge(una, ranges, &self.rtt, now);
        if let Some(sample) = report.sample {
            self.rtt.sample(sample);
        }
        if advance > 0 {
            let data = len(advance).min(self.out.len());
            self.take_off(data);
            self.una = ack;
            self.urgent = self.urgent.filter(|end| end.after(ack));
            self.counts.acknowledged = now;
            let bytes = u64::from(count(data));
            self.counts.bytes_acknowledged += bytes;
            if len(advance) > data {
                self.fin_acknowledged();
            }
            self.stalled = (!self.flight.is_empty()).then_some(now);
            self.timeouts = 0;
            self.probed = false;
        } else if bare && same && !self.flight.is_empty() && !self.sack {
            self.duplicates += 1;
        }
        self.recover(advance, report.late);
        if self.phase != Phase::Recovery && advance > 0 && self.fills(under_way) {
            self.congestion
                .acknowledged(advance, now, self.rtt.smoothed);
        }
        let news = advance > 0 || report.news;
        let detect = self.sack && (self.flight.has_holes() || self.phase != Phase::Open);
        let again = if detect && news {
            let again = self
                .flight
                .detect(&self.rtt, self.phase != Phase::Open, now);
            self.lost();
            again
        } else {
            None
        };
        match again {
            Some(due) => self.late = Some((due, Late::Reordering)),
            None if news || matches!(self.late, Some((_, Late::Window))) => self.restart_timer(now),
            None => (),
        }
    }

    /// Whether so much under way makes use of the congestion window (RFC 7661).
    fn fills(&self, under_way: u32) -> bool {
        let Congestion {
            window, threshold, ..
        } = self.congestion;
        if window < threshold {
            window < under_way.saturating_mul(2)
        } else {
            window < under_way + 2 * self.mss
        }
    }

    /// The first bytes have arrived.
    fn take_off(&mut self, bytes: usize) {
        if bytes < self.out.len() {
            self.out.drain(..bytes);
        } else if self.out.capacity() > 8 << 10 {
            self.out = alloc::collections::VecDeque::new();
        } else {
            self.out.clear();
        }
    }

    fn fin_acknowledged(&mut self) {
        self.closing = false;
        match self.state {
            State::FinWait1 => self.state = State::FinWait2,
            State::Closing => self.state = State::TimeWait,
            State::LastAck => self.end(None),
            _ => (),
        }
    }

    /// Sees whether recovery is over, or goes on.
    fn recover(&mut self, advance: u32, late: bool) {
        if late
            && self.phase == Phase::Loss
            && let Some(before) = self.undo.take()
        {
            // What was taken for lost was on its way (RFC 5682).
            self.congestion = before;
            self.flight.forgive();
            self.phase = Phase::Open;
        }
        if self.phase != Phase::Open && !self.una.before(self.point) {
            self.phase = Phase::Open;
            self.undo = None;
            self.duplicates = 0;
        }
        if self.sack {
            return;
        }
        // NewReno (RFC 6582).
        if advance > 0 {
            self.duplicates = 0;
            if self.phase == Phase::Recovery {
                self.flight.lose_first();
            }
        } else if self.duplicates == 3 && self.phase == Phase::Open {
            self.flight.lose_first();
            self.lost();
        }
    }

    /// Something may be taken for lost: the window is reduced, once for each round trip.
    pub(super) fn lost(&mut self) {
        if self.flight.has_lost() && self.phase == Phase::Open {
            self.phase = Phase::Recovery;
            self.point = self.next;
            self.congestion.reduce();
        }
    }

    fn data(&mut self, segment: &Segment<'_>, now: u64) {
        let head = &segment.head;
        let receives = matches!(
            self.state,
            State::Established | State::FinWait1 | State::FinWait2
        );
        if !receives {
            // The other end's FIN has come; it does not know that this was seen.
            if segment.len() > 0 {
                self.ack = Some(0);
            }
            return;
        }
        if let Some(pointer) = head.urgent {
            // It says where they end, or, of old, what follows: as all do, that they end there.
            let last = head.seq.plus(u32::from(pointer).saturating_sub(1));
            self.inbox.announce(last);
        }
        if !segment.data.is_empty() {
            let before = self.inbox.next;
            let came = self.inbox.insert(head.seq, segment.data);
            let more = self.inbox.next.since(before);
            self.counts.bytes_received += u64::from(more);
            self.counts.received = now;
            match came {
                Came::InOrder => self.delay_acknowledgement(more, now),
                Came::OutOfOrder | Came::Old => self.ack = Some(0),
                Came::Refused => (),
            }
        }
        if head.fin {
            self.fin = Some(head.seq.plus(count(segment.data.len())));
        }
        if self.fin == Some(self.inbox.next) {
            self.finished();
        }
    }

    /// Whether what follows of a segment can wait for others that have come with it: it has data, that are not the end
    /// of what the other end says (Linux' GRO takes such segments for one).
    pub(in super::super) fn may_wait(&self, segment: &Segment<'_>) -> bool {
        let head = &segment.head;
        let plain = !head.push && !head.fin && head.urgent.is_none() && !segment.data.is_empty();
        plain && self.state == State::Established && self.inbox.is_whole()
    }

    /// Acknowledges every second segment at once, others after a while.
    fn delay_acknowledgement(&mut self, more: u32, now: u64) {
        self.unacknowledged = self.unacknowledged.saturating_add(more);
        self.largest = self.largest.max(more);
        self.quick = self.quick.saturating_sub(1);
        if self.quick > 0 || self.unacknowledged > self.largest {
            self.ack = Some(0);
        } else if self.ack.is_none() {
            self.ack = Some(now + DELAY);
        }
    }

    /// Everything has come that will.
    fn finished(&mut self) {
        self.fin = None;
        self.inbox.next = self.inbox.next.plus(1);
        self.ack = Some(0);
        self.state = match self.state {
            State::Established => State::CloseWait,
            State::FinWait1 => State::Closing,
            _ => State::TimeWait,
        };
    }

    /// Nobody reads any more.
    pub(in super::super) fn stop_reading(&mut self) {
        self.inbox.discard();
    }
}
