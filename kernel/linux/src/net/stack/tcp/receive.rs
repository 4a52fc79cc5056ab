//! What has come: in order, to be read, and what is ahead of it. It takes memory for what is there; the window says how
//! much more may come, and grows while the program reads as fast as it comes.
use super::{
    segment::RANGES,
    seq::{Seq, count, len},
};
use crate::net::urgent::Urgent;
use alloc::{collections::VecDeque, vec::Vec};

/// Bytes that may wait at first, and at most if nobody has asked for a size (`net.ipv4.tcp_rmem`).
const FIRST: u32 = 64 << 10;
const MOST: u32 = 4 << 20;
/// Pieces that are kept ahead of what is missing.
const PIECES: usize = 4096;

/// Bytes that came before others that are missing.
#[derive(Debug)]
struct Piece {
    start: Seq,
    data: Vec<u8>,
}

impl Piece {
    fn end(&self) -> Seq {
        self.start.plus(count(self.data.len()))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Receiver {
    /// What is expected next.
    pub(super) next: Seq,
    /// Up to where the other end may send.
    edge: Seq,
    data: VecDeque<u8>,
    /// Without overlaps, in order.
    ahead: VecDeque<Piece>,
    /// Where pieces ahead were put last, the latest first.
    recent: [Option<Seq>; RANGES],
    limit: u32,
    fixed: bool,
    /// Bytes read since a time, to see how fast the program is.
    read: u32,
    since: u64,
    pub(super) urgent: Urgent,
    /// Urgent data were announced, of which nobody was told.
    pub(super) announced: bool,
}

/// What has become of data that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// Nothing was new.
    Old,
    /// It follows what is there.
    InOrder,
    /// Something before it is missing, or was until now.
    OutOfOrder,
    /// There is no memory for it.
    Refused,
}

impl Receiver {
    pub(super) fn new(next: Seq, asked: Option<usize>, inline: bool) -> Self {
        let mut urgent = Urgent::default();
        urgent.set_inline(inline);
        Self {
            next,
            edge: next,
            data: VecDeque::new(),
            ahead: VecDeque::new(),
            recent: [None; RANGES],
            limit: asked.map_or(FIRST, count),
            fixed: asked.is_some(),
            read: 0,
            since: 0,
            urgent,
            announced: false,
        }
    }

    /// It is known now what the other end begins with.
    pub(super) fn begin(&mut self, next: Seq) {
        self.next = next;
        self.edge = next;
    }

    /// Bytes that can be read.
    pub(super) fn unread(&self) -> usize {
        self.data.len()
    }

    /// Whether nothing is missing of what has come.
    pub(super) fn is_whole(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Bytes that may wait.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Somebody has asked for a size.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = count(limit);
        self.fixed = true;
    }

    /// What the other end may still send, as it was told.
    pub(super) fn open(&self) -> u32 {
        if self.edge.after(self.next) {
            self.edge.since(self.next)
        } else {
            0
        }
    }

    /// What it could be told now. The edge never goes back.
    fn free(&self) -> u32 {
        self.limit
            .saturating_sub(count(self.data.len()))
            .max(self.open())
    }

    /// The window's field as it is told now, scaled.
    pub(super) fn tell(&mut self, scale: u8) -> u16 {
        let field = self.free() >> scale;
        let field = u16::try_from(field).unwrap_or(u16::MAX);
        self.edge = self.edge.max(self.next.plus(u32::from(field) << scale));
        field
    }

    /// Whether the window has become so much larger that the other end should know (Linux: `__tcp_cleanup_rbuf`).
    pub(super) fn has_opened(&self, mss: u32) -> bool {
        let (open, free) = (self.open(), self.free());
        open <= self.limit / 2 && free >= 2 * open && free >= mss.min(self.limit / 2)
    }

    /// Urgent data end with the byte `last`: the other end says so with each segment until it knows that they have
    /// come.
    pub(super) fn announce(&mut self, last: Seq) {
        if last.before(self.next) {
            return;
        }
        let ahead = self.data.len() + len(last.since(self.next));
        if self.urgent.ahead().is_some_and(|known| known >= ahead) {
            return;
        }
        if self.urgent.announce(ahead, self.data.len()) {
            self.data.pop_front();
        }
        self.announced = true;
    }

    /// Data have come, within the window.
    pub(super) fn insert(&mut self, start: Seq, data: &[u8]) -> Came {
        let came = self.put(start, data);
        let urgent = self.urgent.awaited().and_then(|at| self.data.get(at));
        if let Some(&byte) = urgent {
            self.urgent.come(byte);
        }
        came
    }

    fn put(&mut self, start: Seq, data: &[u8]) -> Came {
        let (mut start, mut data) = (start, data);
        if start.before(self.next) {
            let old = len(self.next.since(start)).min(data.len());
            data = &data[old..];
            start = self.next;
        }
        let room = if self.edge.after(start) {
            len(self.edge.since(start))
        } else {
            0
        };
        data = &data[..data.len().min(room)];
        if data.is_empty() {
            return Came::Old;
        }
        if start != self.next {
            return self.put_ahead(start, data);
        }
        if self.data.try_reserve(data.len()).is_err() {
            return Came::Refused;
        }
        self.data.extend(data);
        self.next = start.plus(count(data.len()));
        if self.ahead.is_empty() {
            return Came::InOrder;
        }
        while let Some(piece) = self
            .ahead
            .front()
            .filter(|piece| !piece.start.after(self.next))
        {
            let old = len(self.next.since(piece.start)).min(piece.data.len());
            if self.data.try_reserve(piece.data.len() - old).is_err() {
                return Came::Refused;
            }
            self.data.extend(&piece.data[old..]);
            self.next = self.next.max(piece.end());
            self.ahead.pop_front();
        }
        Came::OutOfOrder
    }

    fn put_ahead(&mut self, start: Seq, data: &[u8]) -> Came {
        let end = start.plus(count(data.len()));
        // Those before it, from behind, for most pieces come at the end.
        let mut at = self.ahead.len();
        while at > 0 && self.ahead[at - 1].start.after(start) {
            at -= 1;
        }
        let from = match at.checked_sub(1).map(|before| self.ahead[before].end()) {
            Some(before) if !end.after(before) => return Came::Old,
            Some(before) => start.max(before),
            None => start,
        };
        // Those that it covers go; one that it reaches into keeps what is its own.
        while self
            .ahead
            .get(at)
            .is_some_and(|next| !next.end().after(end))
        {
            self.ahead.remove(at);
        }
        let to = self.ahead.get(at).map_or(end, |next| end.min(next.start));
        if from.before(to) {
            let data = &data[len(from.since(start))..len(to.since(start))];
            let mut kept = Vec::new();
            if self.ahead.len() >= PIECES || kept.try_reserve_exact(data.len()).is_err() {
                return Came::Refused;
            }
            kept.extend_from_slice(data);
            self.ahead.insert(
                at,
                Piece {
                    start: from,
                    data: kept,
                },
            );
        }
        self.recent.rotate_right(1);
        self.recent[0] = Some(start);
        Came::OutOfOrder
    }

    /// The ranges that are there ahead, with the one that came last first (RFC 2018, 4).
    pub(super) fn ranges(&self) -> [Option<(Seq, Seq)>; RANGES] {
        let mut ranges = [None; RANGES];
        if self.ahead.is_empty() {
            return ranges;
        }
        let mut count = 0;
        for recent in self.recent.iter().flatten() {
            let range = self.range(*recent);
            if range.is_some() && !ranges.contains(&range) {
                ranges[count] = range;
                count += 1;
            }
        }
        ranges
    }

    /// The range that a number is in.
    fn range(&self, seq: Seq) -> Option<(Seq, Seq)> {
        let at = self
            .ahead
            .iter()
            .position(|piece| !piece.start.after(seq) && piece.end().after(seq))?;
        let (mut first, mut last) = (at, at);
        while first > 0 && self.ahead[first - 1].end() == self.ahead[first].start {
            first -= 1;
        }
        while self
            .ahead
            .get(last + 1)
            .is_some_and(|next| next.start == self.ahead[last].end())
        {
            last += 1;
        }
        Some((self.ahead[first].start, self.ahead[last].end()))
    }

    #[cfg(test)]
    /// Whether something before what is there is missing.
    pub(super) fn has_holes(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Copies what is there, without taking it.
    pub(super) fn peek(&self, buf: &mut [u8]) -> usize {
        let over = self.urgent.skips().min(self.data.len());
        let limit = self.urgent.limit().min(self.data.len() - over);
        let len = buf.len().min(limit);
        let (mut first, mut second) = self.data.as_slices();
        match first.get(over..) {
            Some(rest) => first = rest,
            None => second = &second[over..],
        }
        let split = len.min(first.len());
        buf[..split].copy_from_slice(&first[..split]);
        buf[split..len].copy_from_slice(&second[..len - split]);
        len
    }

    /// Takes what is there. `rtt`: how long bytes take to come when they are asked for; `grow`: whether there is memory
    /// for a larger window.
    pub(super) fn take(&mut self, buf: &mut [u8], rtt: u64, grow: bool, now: u64) -> usize {
        if buf.is_empty() {
            return 0;
        }
        let len = self.peek(buf);
        let taken = len + self.urgent.skips().min(self.data.len());
        self.urgent.taken(taken);
        if taken == self.data.len() {
            // No memory for what is not there.
            if self.data.capacity() > 8 << 10 {
                self.data = VecDeque::new();
            } else {
                self.data.clear();
            }
        } else {
            self.data.drain(..taken);
        }
        self.read = self.read.saturating_add(count(len));
        if now.saturating_sub(self.since) >= rtt {
            // A whole window in one round trip: with a larger one it would be more (dynamic right-sizing).
            if !self.fixed && grow && self.read > self.limit / 2 {
                self.limit = (self.limit * 2).min(MOST);
            }
            self.read = 0;
            self.since = now;
        }
        len
    }

    /// Nobody reads any more.
    pub(super) fn discard(&mut self) {
        self.data = VecDeque::new();
        self.ahead = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver() -> Receiver {
        let mut receiver = Receiver::new(Seq(u32::MAX - 9), None, false);
        assert_eq!(receiver.tell(0), u16::MAX);
        receiver
    }

    fn bytes(from: u8, to: u8) -> Vec<u8> {
        (from..to).collect()
    }

    /// Puts in what the other end has sent from the first byte on, of which bytes count up.
    fn put(receiver: &mut Receiver, from: u8, to: u8) -> Came {
        let start = Seq(u32::MAX - 9).plus(from.into());
        receiver.insert(start, &bytes(from, to))
    }

    fn all(receiver: &mut Receiver) -> Vec<u8> {
        let mut buf = [0; 300];
        let len = receiver.take(&mut buf, 1, true, 1);
        buf[..len].to_vec()
    }

    #[test]
    fn pieces_are_put_together() {
        let mut receiver = receiver();
        assert_eq!(put(&mut receiver, 20, 30), Came::OutOfOrder);
        assert_eq!(put(&mut receiver, 40, 50), Came::OutOfOrder);
        assert_eq!(put(&mut receiver, 30, 40), Came::OutOfOrder);
        let base = Seq(u32::MAX - 9);
        let range = |from: u32, to: u32| Some((base.plus(from), base.plus(to)));
        assert_eq!(receiver.ranges(), [range(20, 50), None, None]);
        assert_eq!(put(&mut receiver, 60, 70), Came::OutOfOrder);
        assert_eq!(receiver.ranges()[..2], [range(60, 70), range(20, 50)]);
        assert_eq!(put(&mut receiver, 25, 35), Came::OutOfOrder);
        assert_eq!(put(&mut receiver, 15, 65), Came::OutOfOrder);
        assert_eq!(put(&mut receiver, 0, 10), Came::OutOfOrder);
        assert_eq!(put(&mut receiver, 5, 16), Came::OutOfOrder);
        assert!(!receiver.has_holes());
        assert_eq!(all(&mut receiver), bytes(0, 70));
        assert_eq!(put(&mut receiver, 3, 70), Came::Old);
        assert_eq!(put(&mut receiver, 60, 80), Came::InOrder);
        assert_eq!(all(&mut receiver), bytes(70, 80));
    }

    #[test]
    fn nothing_beyond_the_window() {
        let mut receiver = Receiver::new(Seq(5), Some(100), false);
        assert_eq!(receiver.tell(0), 100);
        assert_eq!(receiver.insert(Seq(100), &[1; 20]), Came::OutOfOrder);
        assert_eq!(receiver.insert(Seq(105), &[1; 20]), Came::Old);
        assert_eq!(receiver.insert(Seq(5), &[1; 200]), Came::OutOfOrder);
        assert_eq!((receiver.unread(), receiver.open()), (100, 0));
        assert!(!receiver.has_opened(10));
        let mut buf = [0; 60];
        assert_eq!(receiver.take(&mut buf, 1, true, 9), 60);
        assert!(receiver.has_opened(10));
        assert_eq!((receiver.tell(3), receiver.open()), (7, 56));
    }
}
