//! Connections that other machines ask for: from a SYN that is answered to a socket that can be accepted.
use super::{
    Accepting, Key, SECOND, Stack,
    connection::{Handle, Remote},
    tcp::segment::Segment,
};
use crate::net::interface;
use alloc::sync::Arc;

impl Stack {
    /// A connection is asked for.
    pub(super) fn asked(
        &mut self,
        key: Key,
        segment: &Segment<'_>,
        mac: [u8; 6],
        accepting: &dyn Accepting,
        now: u64,
    ) {
        // Silence has the other end try again, when there may be room.
        let counts = &interface::mib().tcp;
        if !accepting.has_room() {
            counts.listen_overflows.count();
            return;
        }
        let window = accepting
            .window()
            .map_or(u16::MAX, |window| u16::try_from(window).unwrap_or(u16::MAX));
        let syn = &segment.head;
        if self.requests.is_full() && self.requests.get(&key).is_none() {
            counts.syncookies_sent.count();
            let cookie = self.isn.cookie(key, syn);
            self.requests
                .give_cookie(key, syn, mac, cookie, window, now);
        } else {
            let own = self.isn.first(key);
            self.requests.ask(key, syn, mac, own, window, now);
            self.hurry(now + SECOND);
        }
    }

    /// The answer to a SYN may have been acknowledged: then the connection is there. Whether it was.
    pub(super) fn open(&mut self, key: Key, segment: &Segment<'_>, mac: [u8; 6], now: u64) -> bool {
        let head = &segment.head;
        let (own, syn, rtt) = match self.requests.get(&key) {
            Some(request) if head.ack == Some(request.own.plus(1)) => {
                (request.own, request.syn, request.round_trip(now))
            }
            Some(_) => return false,
            None if self.requests.believes(now) => match (self.isn.redeem(key, head), head.ack) {
                (Some(syn), Some(ack)) => {
                    interface::mib().tcp.syncookies_recv.count();
                    (ack.plus(u32::MAX), syn, None)
                }
                _ => return false,
            },
            None => return false,
        };
        let Some(accepting) = self.upper.accepting(key.0, key.1) else {
            self.requests.remove(&key);
            return false;
        };
        // The answer to the SYN is sent again after a while; then it is there without.
        let silent = segment.data.is_empty() && !head.fin;
        if accepting.defers() && silent && self.requests.is_new(&key) {
            return true;
        }
        // When there is no room, the answer to the SYN is sent again, until there is.
        let Some(sock) = accepting.child() else {
            return true;
        };
        self.requests.remove(&key);
        interface::mib().tcp.passive_opens.count();
        let rtt = rtt.filter(|_| !accepting.defers());
        let remote = Remote::passive(sock.clone(), key, own, &syn, rtt);
        self.connections.insert(key, remote.clone());
        let (_, step) = remote.segment(segment, mac, now);
        let connection = Arc::new(Handle(remote.clone()));
        if accepting.established(sock, connection) {
            self.has_got(&remote, step, now);
        } else {
            remote.abort();
            self.look_after(&remote);
        }
        true
    }
}
