//! Connections that others have asked for, and that are not there before they have acknowledged the answer
//! (Linux: `request_sock`). Few bytes each, and not many of them: when there are more, answers say of themselves that
//! they were given ([`super::isn`]), nothing is kept, and such a connection goes without the SYN's options.
use super::{
    Key, link,
    tcp::{SCALE, segment::Head, seq::Seq},
};
use alloc::collections::{BTreeMap, BTreeSet};

/// Those that are kept at once (`tcp_max_syn_backlog`).
pub(super) const MOST: usize = 1024;
/// How often the answer is sent again (`tcp_synack_retries`), after a second and then twice as long each time.
const RETRIES: u32 = 5;
const SECOND: u64 = 1_000_000_000;
/// How long cookies are believed after the last was given.
const BELIEVED: u64 = 128 * SECOND;

/// A connection that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// This end's first number.
    pub(super) own: Seq,
    pub(super) syn: Head,
    /// Where the SYN came from on the wire.
    mac: [u8; 6],
    window: u16,
    /// When it came, and how often the answer was sent.
    since: u64,
    sent: u32,
    due: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pending: BTreeMap<Key, Request>,
    due: BTreeSet<(u64, Key)>,
    /// Until when cookies may come back.
    cookies: u64,
}

impl Request {
    fn answer(&self, (local, peer): Key) {
        send_answer(
            self.mac,
            (local, peer),
            &self.syn,
            self.own,
            self.window,
            true,
        );
    }

    /// How long the answer's acknowledgement took, if the answer was sent once.
    pub(super) fn round_trip(&self, now: u64) -> Option<u64> {
        (self.sent == 1).then(|| now.saturating_sub(self.since))
    }
}

/// Answers a SYN. `options`: whether what it has told will be remembered.
fn send_answer(mac: [u8; 6], (local, peer): Key, syn: &Head, own: Seq, window: u16, options: bool) {
    let head = Head {
        seq: own,
        ack: Some(syn.seq.plus(1)),
        syn: true,
        window,
        mss: Some(link::mss(peer.ip())),
        scale: syn.scale.filter(|_| options).map(|_| SCALE),
        sack_permitted: options && syn.sack_permitted,
        ..Head::default()
    };
    link::send_segment(mac, [local, peer], &head, 0, |_| ());
}

impl Requests {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Their ends.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.pending.keys().copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MOST
    }

    /// A connection is asked for by a SYN, which is answered: with the number `own`, and this end's window.
    pub(super) fn ask(
        &mut self,
        key: Key,
        syn: &Head,
        mac: [u8; 6],
        own: Seq,
        window: u16,
        now: u64,
    ) {
        if let Some(known) = self.pending.get(&key) {
            // It comes again.
            if known.syn.seq == syn.seq {
                known.answer(key);
                return;
            }
            self.remove(&key);
        }
        let request = Request {
            own,
            syn: *syn,
            mac,
            window,
            since: now,
            sent: 1,
            due: now + SECOND,
        };
        request.answer(key);
        self.due.insert((request.due, key));
        self.pending.insert(key, request);
    }

    /// Answers a SYN with a cookie.
    pub(super) fn give_cookie(
        &mut self,
        key: Key,
        syn: &Head,
        mac: [u8; 6],
        cookie: Seq,
        window: u16,
        now: u64,
    ) {
        self.cookies = now + BELIEVED;
        send_answer(mac, key, syn, cookie, window, false);
    }

    /// Whether cookies may come back.
    pub(super) fn believes(&self, now: u64) -> bool {
        now < self.cookies
    }

    /// The request of these ends.
    pub(super) fn get(&self, key: &Key) -> Option<&Request> {
        self.pending.get(key)
    }

    /// Whether it has been answered once.
    pub(super) fn is_new(&self, key: &Key) -> bool {
        self.pending
            .get(key)
            .is_some_and(|request| request.sent == 1)
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Request> {
        let request = self.pending.remove(key)?;
        self.due.remove(&(request.due, *key));
        Some(request)
    }

    /// Sends answers again whose time has come; when the next one's comes.
    pub(super) fn serve(&mut self, now: u64) -> Option<u64> {
        loop {
            let &(due, key) = self.due.first()?;
            if due > now {
                return Some(due);
            }
            self.due.pop_first();
            let Some(request) = self.pending.get_mut(&key) else {
                continue;
            };
            if request.sent > RETRIES {
                self.pending.remove(&key);
                continue;
            }
            request.due = now + (SECOND << request.sent);
            request.sent += 1;
            let request = *request;
            self.due.insert((request.due, key));
            request.answer(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_given_up() {
        let mut requests = Requests::default();
        let ends = |port| {
            (
                "10.0.2.15:80".parse().unwrap(),
                ([10, 0, 2, 2], port).into(),
            )
        };
        let syn = Head {
            seq: Seq(5),
            syn: true,
            ..Head::default()
        };
        for port in 1..4 {
            requests.ask(ends(port), &syn, [0; 6], Seq(9), 100, u64::from(port));
            requests.ask(ends(port), &syn, [0; 6], Seq(10), 100, u64::from(port) + 1);
        }
        assert_eq!(
            requests.get(&ends(2)).unwrap().own,
            Seq(9),
            "the first time counts"
        );
        assert!(requests.remove(&ends(2)).is_some());
        let mut now = 0;
        while let Some(next) = requests.serve(now) {
            assert!(next > now && requests.len() <= 2);
            now = next;
        }
        assert!(requests.len() == 0 && requests.due.is_empty());
        assert!((62 * SECOND..64 * SECOND).contains(&now), "{now}");
    }
}
