//! What happens because nothing has come.
use super::{Late, Phase, Tcb, rtt::MOST};
use crate::net::inet::connection::State;
use abi::Errno;

/// How long what was sent may stay without an answer (`tcp_retries2` of 15).
const PATIENCE: u64 = 924_600_000_000;
/// The least time until a tail loss probe, and what it waits for an acknowledgement that the other end may delay.
const LEAST_PROBE: u64 = 10_000_000;
const WORST_DELAY: u64 = 200_000_000;
/// How long a segment that is not full is held back (tcp(7), `TCP_CORK`).
const CORKED: u64 = 200_000_000;

impl Tcb {
    /// When to look at it again: when [`Self::tick`] has something to do, or [`Self::transmit`].
    pub(in super::super) fn deadline(&self) -> Option<u64> {
        let late = self.late.map(|(due, _)| due);
        [late, self.ack, self.keepalive(), self.corked]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time has passed.
    pub(in super::super) fn tick(&mut self, now: u64) {
        if let Some((due, late)) = self.late
            && due <= now
        {
            self.late = None;
            self.is_late(late, now);
        }
        if let (Some(due), Some((_, _, most))) = (self.keepalive(), self.settings.keepalive)
            && due <= now
        {
            let silent = now.saturating_sub(self.heard);
            let over = match self.settings.user_timeout {
                Some(limit) => silent >= limit && self.probes > 0,
                None => self.probes >= most,
            };
            if over {
                self.abort();
                self.error = Some(Errno::ETIMEDOUT);
                return;
            }
            self.probes += 1;
            self.probe = true;
        }
    }

    /// When the other end is asked whether it is there.
    fn keepalive(&self) -> Option<u64> {
        let (idle, interval, _) = self.settings.keepalive?;
        let open = !matches!(
            self.state,
            State::SynSent | State::SynReceived | State::TimeWait | State::Close
        );
        (open && self.flight.is_empty() && self.untouched() == 0)
            .then(|| self.heard + idle + interval * u64::from(self.probes))
    }

    /// Whether a segment that is not full is held back.
    pub(super) fn is_corked(&mut self, now: u64) -> bool {
        (self.settings.cork || self.more)
            && !self.closing
            && now < *self.corked.get_or_insert(now + CORKED)
    }

    /// Starts the retransmission timer if it does not run.
    pub(super) fn start_timer(&mut self, now: u64) {
        let runs = matches!(self.late, Some((_, Late::TimeOut | Late::Reordering)));
        if !runs {
            self.restart_timer(now);
        }
    }

    /// Starts the retransmission timer anew, or stops it.
    pub(super) fn restart_timer(&mut self, now: u64) {
        let timeout = self.rtt.timeout(self.timeouts);
        let connects = matches!(self.state, State::SynSent | State::SynReceived);
        self.late = if connects {
            Some((now + timeout, Late::TimeOut))
        } else if self.flight.is_empty() {
            // Nothing comes that would open the window.
            let shut = self.untouched() > 0 && self.window == 0;
            shut.then(|| (now + timeout, Late::Window))
        } else if self.may_probe() {
            let alone = self.flight.len() == 1;
            let wait = 2 * self.rtt.smoothed + if alone { WORST_DELAY } else { 0 };
            Some((now + wait.max(LEAST_PROBE).min(timeout), Late::Probe))
        } else {
            Some((now + timeout, Late::TimeOut))
        };
    }

    /// Whether a tail loss probe may tell more than a time-out.
    fn may_probe(&self) -> bool {
        self.sack
            && !self.probed
            && self.phase == Phase::Open
            && self.rtt.smoothed > 0
            && !self.flight.has_holes()
            && self.timeouts == 0
    }

    fn is_late(&mut self, late: Late, now: u64) {
        match late {
            Late::Reordering => {
                let again = self
                    .flight
                    .detect(&self.rtt, self.phase != Phase::Open, now);
                self.lost();
                match again {
                    Some(due) => self.late = Some((due, Late::Reordering)),
                    None => self.restart_timer(now),
                }
            }
            Late::Probe => {
                self.probed = true;
                self.flight.lose_last();
                self.restart_timer(now);
            }
            Late::TimeOut if self.has_given_up(now) => self.give_up(),
            Late::TimeOut => self.timed_out(now),
            Late::Window => {
                let silent = now.saturating_sub(self.heard);
                let limit = self.settings.user_timeout.unwrap_or(PATIENCE);
                if self.timeouts > 0 && silent > limit.max(2 * MOST) {
                    return self.give_up();
                }
                self.timeouts += 1;
                self.probe = true;
                self.restart_timer(now);
            }
        }
    }

    /// Whether nothing of what was sent was acknowledged for too long.
    fn has_given_up(&self, now: u64) -> bool {
        let waited = now.saturating_sub(self.stalled.unwrap_or(now));
        let limit = self.settings.user_timeout;
        match self.state {
            State::SynSent | State::SynReceived => {
                limit.is_some_and(|limit| waited >= limit)
                    || limit.is_none() && self.timeouts >= self.settings.syn_retries
            }
            _ => waited >= limit.unwrap_or(PATIENCE),
        }
    }

    fn give_up(&mut self) {
        let connects = matches!(self.state, State::SynSent | State::SynReceived);
        self.end(Some(Errno::ETIMEDOUT));
        self.control = !connects;
    }

    fn timed_out(&mut self, now: u64) {
        self.timeouts += 1;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.control = true;
            return;
        }
        if self.phase != Phase::Loss {
            self.undo = Some(self.congestion);
            self.congestion.collapse();
            self.phase = Phase::Loss;
        } else {
            self.congestion.window = self.mss;
        }
        self.point = self.next;
        self.duplicates = 0;
        self.flight.lose_all();
        self.restart_timer(now);
    }

    /// How many time-outs there were in a row: with several, the other end may be elsewhere.
    pub(in super::super) fn timeouts(&self) -> u32 {
        self.timeouts
    }
}
