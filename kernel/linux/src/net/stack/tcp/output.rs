//! What is to be sent now (RFC 9293, 3.8).
use super::{
    SCALE, Tcb,
    segment::Head,
    seq::{Seq, count, len},
};
use crate::net::inet::connection::State;
use core::ops::Range;

/// A segment to be sent: its head, and which of the bytes that wait go with it.
#[derive(Clone, Debug)]
pub(in super::super) struct Outgoing {
    pub(in super::super) head: Head,
    pub(in super::super) data: Range<usize>,
}

impl Tcb {
    /// The next segment that is to be sent now; it counts as sent.
    pub(in super::super) fn transmit(&mut self, now: u64) -> Option<Outgoing> {
        let outgoing = match self.state {
            State::Listen => None,
            State::Close => self.reset(),
            State::SynSent | State::SynReceived => self.syn(now),
            _ => {
                let data = self.resent(now).or_else(|| self.unsent_yet(now));
                data.or_else(|| self.bare(now))
            }
        }?;
        self.counts.segments_out = self.counts.segments_out.wrapping_add(1);
        let urgent = self.urgent_pointer(outgoing.head.seq);
        let head = Head {
            urgent,
            ..outgoing.head
        };
        Some(Outgoing { head, ..outgoing })
    }

    /// How far after a segment's beginning urgent data end (RFC 9293, 3.8.5): that is told until it is acknowledged.
    fn urgent_pointer(&self, seq: Seq) -> Option<u16> {
        let end = self.urgent.filter(|end| end.after(seq))?;
        Some(u16::try_from(end.since(seq)).unwrap_or(u16::MAX))
    }

    /// Copies bytes that go with a segment.
    pub(in super::super) fn copy(&self, range: Range<usize>, to: &mut [u8]) {
        let (first, second) = self.out.as_slices();
        let middle = first.len().clamp(range.start, range.end);
        let (front, back) = to.split_at_mut(middle - range.start);
        if let Some(from) = first.get(range.start..middle) {
            front.copy_from_slice(from);
        }
        let from = middle.saturating_sub(first.len())..range.end.saturating_sub(first.len());
        if let Some(from) = second.get(from) {
            back[..from.len()].copy_from_slice(from);
        }
    }

    /// A head with what every segment says.
    fn head(&mut self) -> Head {
        self.ack = None;
        self.unacknowledged = 0;
        self.acked = self.inbox.next;
        let window = self.inbox.tell(self.scales[1]);
        let sacks = if self.sack {
            self.inbox.ranges()
        } else {
            Default::default()
        };
        Head {
            seq: self.next,
            ack: Some(self.inbox.next),
            window,
            sacks,
            ..Head::default()
        }
    }

    fn reset(&mut self) -> Option<Outgoing> {
        core::mem::take(&mut self.control).then(|| Outgoing {
            head: Head {
                seq: self.next,
                ack: Some(self.inbox.next),
                rst: true,
                ..Head::default()
            },
            data: 0..0,
        })
    }

    fn syn(&mut self, now: u64) -> Option<Outgoing> {
        if !core::mem::take(&mut self.control) {
            return None;
        }
        let answers = self.state == State::SynReceived;
        let head = Head {
            seq: self.una,
            ack: answers.then_some(self.inbox.next),
            syn: true,
            window: u16::try_from(self.inbox.limit()).unwrap_or(u16::MAX),
            mss: Some(self.own_mss),
            scale: (!answers || self.scales[1] > 0).then_some(SCALE),
            sack_permitted: !answers || self.sack,
            ..Head::default()
        };
        self.restart_timer(now);
        Some(Outgoing { head, data: 0..0 })
    }

    /// What is taken for lost, if the congestion window lets it.
    fn resent(&mut self, now: u64) -> Option<Outgoing> {
        let pipe = self.pipe();
        if pipe > 0 && pipe + self.mss > self.congestion.window {
            return None;
        }
        let sent = self.flight.resend(now)?;
        let start = len(sent.start.since(self.una)).min(self.out.len());
        let end = len(sent.end.since(self.una)).min(self.out.len());
        let fin = sent.end.since(self.una) > count(self.out.len());
        self.counts.resent = self.counts.resent.wrapping_add(1);
        self.start_timer(now);
        let head = Head {
            seq: sent.start,
            push: end == self.out.len(),
            fin,
            ..self.head()
        };
        Some(Outgoing {
            head,
            data: start..end,
        })
    }

    /// What is under way, as far as is known.
    fn pipe(&self) -> u32 {
        let pipe = self.flight.pipe();
        if self.sack {
            pipe
        } else {
            // Each has come for a segment that has arrived.
            pipe.saturating_sub(self.duplicates * self.mss)
        }
    }

    /// What was never sent, if both windows let it and it is worth a segment.
    fn unsent_yet(&mut self, now: u64) -> Option<Outgoing> {
        let waiting = self.untouched();
        let fin = self.closing && !self.has_closed();
        if waiting == 0 && !fin {
            return None;
        }
        let edge = self.una.plus(self.window);
        let open = if edge.after(self.next) {
            edge.since(self.next)
        } else {
            0
        };
        let size = waiting.min(self.mss).min(open);
        if size == 0 && waiting > 0 {
            return None;
        }
        let pipe = self.pipe();
        if pipe > 0 && pipe + size.max(1) > self.congestion.window {
            return None;
        }
        let last = size == waiting;
        if size < self.mss && !(last && fin) {
            // What the window cuts short waits for more of it (RFC 1122, 4.2.3.4), if it has ever been larger.
            let cut = !last && size < self.most / 2 && !self.flight.is_empty();
            // One small segment at a time (RFC 896), as Minshall has it.
            let small = last && !self.settings.nodelay && self.small.after(self.una);
            if cut || self.urgent.is_none() && (small || last && self.is_corked(now)) {
                return None;
            }
        }
        let start = len(self.next.since(self.una));
        let closes = fin && last;
        let head = Head {
            push: last && size > 0,
            fin: closes,
            ..self.head()
        };
        let end = self.next.plus(size + u32::from(closes));
        self.flight.push(self.next, end, now);
        if size < self.mss {
            self.small = end;
        }
        self.next = end;
        self.counts.sent = now;
        self.corked = None;
        self.stalled.get_or_insert(now);
        self.start_timer(now);
        Some(Outgoing {
            head,
            data: start..start + len(size),
        })
    }

    /// A segment without data: an acknowledgement, or one that asks for one.
    fn bare(&mut self, now: u64) -> Option<Outgoing> {
        let probe = core::mem::take(&mut self.probe);
        if !probe && self.ack.is_none_or(|due| due > now) {
            return None;
        }
        let mut head = self.head();
        if probe {
            // A number that was acknowledged: the other end says where it is.
            head.seq = self.una.plus(u32::MAX);
        }
        Some(Outgoing { head, data: 0..0 })
    }
}
