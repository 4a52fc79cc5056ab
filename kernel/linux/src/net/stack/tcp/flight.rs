//! What was sent and not acknowledged, segment by segment: what has arrived out of order (RFC 2018) and what is taken
//! for lost, by when it was sent (RACK, RFC 8985).
use super::{
    rtt::Rtt,
    seq::{Seq, count},
};
use alloc::collections::VecDeque;

/// A segment that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Its numbers: from, and up to.
    pub(super) start: Seq,
    pub(super) end: Seq,
    /// When it was sent last.
    at: u64,
    /// How often.
    times: u32,
    /// It has arrived, the other end says.
    sacked: bool,
    /// It has not, and is to be sent again.
    lost: bool,
}

impl Sent {
    fn len(&self) -> u32 {
        self.end.since(self.start)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Flight {
    list: VecDeque<Sent>,
    /// Numbers that have arrived out of order, and that are taken for lost.
    sacked: u32,
    lost: u32,
    /// Of what has arrived, that which was sent last: when, its end, and how long it took.
    latest: (u64, Seq, u64),
    /// The end of what has arrived.
    furthest: Option<Seq>,
    /// Segments overtake each other.
    reordered: bool,
}

/// What an acknowledgement says of what was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    /// How long a segment took.
    pub(super) sample: Option<u64>,
    /// Something is newly known to have arrived.
    pub(super) news: bool,
    /// What was taken for lost by a time-out was only late.
    pub(super) late: bool,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many numbers are under way.
    pub(super) fn pipe(&self) -> u32 {
        let all = match (self.list.front(), self.list.back()) {
            (Some(first), Some(last)) => last.end.since(first.start),
            _ => 0,
        };
        all.saturating_sub(self.sacked).saturating_sub(self.lost)
    }

    /// Segments; those that have arrived out of order, that are taken for lost, and that were sent again.
    pub(super) fn counts(&self) -> [u32; 4] {
        let of =
            |which: fn(&Sent) -> bool| count(self.list.iter().filter(|sent| which(sent)).count());
        [
            count(self.list.len()),
            of(|sent| sent.sacked),
            of(|sent| sent.lost),
            of(|sent| sent.times > 1),
        ]
    }

    /// Segments.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether something is to be sent again.
    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Whether there are holes in what has arrived.
    pub(super) fn has_holes(&self) -> bool {
        self.sacked > 0
    }

    /// A segment is sent.
    pub(super) fn push(&mut self, start: Seq, end: Seq, now: u64) {
        self.list.push_back(Sent {
            start,
            end,
            at: now,
            times: 1,
            sacked: false,
            lost: false,
        });
    }

    /// Everything before `ack` has arrived, and the ranges.
    pub(super) fn acknowledge<'a>(
        &mut self,
        ack: Seq,
        ranges: impl Iterator<Item = &'a (Seq, Seq)>,
        rtt: &Rtt,
        now: u64,
    ) -> Report {
        let mut report = Report::default();
        let mut again = false;
        while let Some(sent) = self.list.front_mut() {
            if !sent.end.after(ack) {
                let sent = *sent;
                self.list.pop_front();
                again |= sent.times > 1;
                if sent.sacked {
                    self.sacked -= sent.len();
                } else {
                    self.arrived(&sent, rtt, now, &mut report);
                }
                if sent.lost {
                    self.lost -= sent.len();
                }
                continue;
            }
            if ack.after(sent.start) {
                let part = ack.since(sent.start);
                sent.start = ack;
                if sent.sacked {
                    self.sacked -= part;
                }
                if sent.lost {
                    self.lost -= part;
                }
            }
            break;
        }
        if again {
            // What follows a hole may have arrived long before the hole was filled.
            report.sample = None;
        }
        for &(start, end) in ranges {
            self.sack(start.max(ack), end, rtt, now, &mut report);
        }
        report
    }

    fn sack(&mut self, start: Seq, end: Seq, rtt: &Rtt, now: u64, report: &mut Report) {
        let first = self.list.partition_point(|sent| sent.start.before(start));
        for index in first..self.list.len() {
            let sent = &mut self.list[index];
            if sent.end.after(end) {
                return;
            }
            if sent.sacked {
                continue;
            }
            sent.sacked = true;
            let copy = *sent;
            self.sacked += copy.len();
            if sent.lost {
                sent.lost = false;
                self.lost -= copy.len();
            }
            self.arrived(&copy, rtt, now, report);
        }
    }

    /// A segment is newly known to have arrived.
    fn arrived(&mut self, sent: &Sent, rtt: &Rtt, now: u64, report: &mut Report) {
        report.news = true;
        report.late |= sent.lost && sent.times == 1;
        let took = now.saturating_sub(sent.at);
        // Else it may have been an earlier one of several.
        if sent.times > 1 && took < rtt.least {
            return;
        }
        // One that was taken for lost may have arrived long ago, and what said so was lost.
        if sent.times == 1 && !sent.lost {
            report.sample = Some(report.sample.map_or(took, |other| other.min(took)));
        }
        if sent.times == 1 {
            self.reordered |= self.furthest.is_some_and(|end| sent.end.before(end));
        }
        if self.furthest.is_none_or(|end| sent.end.after(end)) {
            self.furthest = Some(sent.end);
        }
        let (at, end, _) = self.latest;
        if sent.at > at || sent.at == at && sent.end.after(end) {
            self.latest = (sent.at, sent.end, took);
        }
    }

    /// Takes for lost what was sent well before something that has arrived; when to look again.
    pub(super) fn detect(&mut self, rtt: &Rtt, recovering: bool, now: u64) -> Option<u64> {
        let (at, end, took) = self.latest;
        let three = || self.list.iter().filter(|sent| sent.sacked).count() >= 3;
        let patience = if !self.reordered && (recovering || three()) {
            0
        } else {
            (rtt.least / 4).min(rtt.smoothed)
        };
        let mut again = None;
        for sent in &mut self.list {
            let earlier = sent.at < at || sent.at == at && sent.end.before(end);
            if sent.sacked || sent.lost || !earlier {
                continue;
            }
            let due = sent.at + took + patience;
            if due <= now {
                sent.lost = true;
                self.lost += sent.len();
            } else {
                again = Some(again.map_or(due, |other: u64| other.max(due)));
            }
        }
        again
    }

    /// Takes the first for lost, if it has not arrived.
    pub(super) fn lose_first(&mut self) {
        if let Some(sent) = self
            .list
            .front_mut()
            .filter(|sent| !sent.sacked && !sent.lost)
        {
            sent.lost = true;
            self.lost += sent.len();
        }
    }

    /// Takes the last for lost that has not arrived.
    pub(super) fn lose_last(&mut self) {
        if let Some(sent) = self.list.iter_mut().rev().find(|sent| !sent.sacked)
            && !sent.lost
        {
            sent.lost = true;
            self.lost += sent.len();
        }
    }

    /// Takes for lost all that has not arrived.
    pub(super) fn lose_all(&mut self) {
        for sent in self
            .list
            .iter_mut()
            .filter(|sent| !sent.sacked && !sent.lost)
        {
            sent.lost = true;
            self.lost += sent.len();
        }
    }

    /// Nothing was lost after all, but what was sent again.
    pub(super) fn forgive(&mut self) {
        for sent in &mut self.list {
            sent.lost = false;
        }
        self.lost = 0;
    }

    /// The first that is to be sent again; it counts as sent.
    pub(super) fn resend(&mut self, now: u64) -> Option<Sent> {
        if self.lost == 0 {
            return None;
        }
        let sent = self.list.iter_mut().find(|sent| sent.lost)?;
        sent.lost = false;
        sent.at = now;
        sent.times += 1;
        let sent = *sent;
        self.lost -= sent.len();
        Some(sent)
    }
}
