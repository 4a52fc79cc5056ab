//! Connections that are over, and whose last segments may still be on their way (TIME-WAIT): enough of each to answer
//! them.
use super::{
    Key,
    tcp::{
        segment::{Head, Segment},
        seq::Seq,
    },
};
use alloc::collections::{BTreeMap, VecDeque};

/// How long one is kept (Linux: `TCP_TIMEWAIT_LEN`).
const LIFE: u64 = 60_000_000_000;
/// How many are kept; the oldest go first (`tcp_max_tw_buckets`).
const MOST: usize = 16_384;

/// Numbers to be sent and expected next, and until when.
#[derive(Clone, Copy, Debug)]
struct Entry {
    next: Seq,
    expected: Seq,
    until: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TimeWait {
    entries: BTreeMap<Key, Entry>,
    order: VecDeque<(u64, Key)>,
}

/// What is to be done about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is for no connection of these.
    Unknown,
    /// Nothing.
    Nothing,
    /// This is to be sent.
    Send(Head),
    /// It begins another connection; the old one is forgotten.
    Opens,
}

impl TimeWait {
    /// A connection is over.
    pub(super) fn add(&mut self, key: Key, (next, expected): (Seq, Seq), now: u64) {
        if self.order.len() >= MOST
            && let Some((until, oldest)) = self.order.pop_front()
            && self
                .entries
                .get(&oldest)
                .is_some_and(|entry| entry.until == until)
        {
            self.entries.remove(&oldest);
        }
        let until = now + LIFE;
        let entry = Entry {
            next,
            expected,
            until,
        };
        self.entries.insert(key, entry);
        self.order.push_back((until, key));
    }

    /// Their ends.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.entries.keys().copied()
    }

    /// The connection of these ends begins anew from here.
    pub(super) fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    /// A segment has come.
    pub(super) fn segment(&mut self, key: &Key, segment: &Segment<'_>) -> Answer {
        let Some(entry) = self.entries.get(key) else {
            return Answer::Unknown;
        };
        let head = &segment.head;
        if head.rst {
            if head.seq == entry.expected {
                self.entries.remove(key);
            }
            return Answer::Nothing;
        }
        if head.syn && head.ack.is_none() && head.seq.after(entry.expected) {
            self.entries.remove(key);
            return Answer::Opens;
        }
        if !head.syn && !head.fin && segment.data.is_empty() && head.seq == entry.expected {
            return Answer::Nothing;
        }
        Answer::Send(Head {
            seq: entry.next,
            ack: Some(entry.expected),
            ..Head::default()
        })
    }

    /// Forgets those whose time is over; when the next one's is.
    pub(super) fn serve(&mut self, now: u64) -> Option<u64> {
        while let Some(&(until, key)) = self.order.front() {
            if until > now {
                return Some(until);
            }
            self.order.pop_front();
            if self
                .entries
                .get(&key)
                .is_some_and(|entry| entry.until == until)
            {
                self.entries.remove(&key);
            }
        }
        // No memory for those that were.
        self.order = VecDeque::new();
        None
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go() {
        let mut table = TimeWait::default();
        let ends = |port: u32| {
            let [_, a, b, c] = port.to_be_bytes();
            ("10.0.2.15:80".parse().unwrap(), ([10, a, b, c], 9).into())
        };
        for port in 0..20_000 {
            table.add(ends(port), (Seq(5), Seq(7)), u64::from(port));
        }
        assert_eq!(table.len(), MOST);
        let data = b"late";
        let with = |head| Segment {
            head,
            data: &data[..0],
        };
        let fin = Head {
            seq: Seq(6),
            ack: Some(Seq(5)),
            fin: true,
            ..Head::default()
        };
        let key = ends(19_999);
        assert_eq!(table.segment(&ends(1), &with(fin)), Answer::Unknown);
        assert!(
            matches!(table.segment(&key, &with(fin)), Answer::Send(head) if head.ack == Some(Seq(7)))
        );
        let bare = Head {
            seq: Seq(7),
            fin: false,
            ..fin
        };
        assert_eq!(table.segment(&key, &with(bare)), Answer::Nothing);
        let syn = Head {
            seq: Seq(8),
            ack: None,
            syn: true,
            fin: false,
            ..fin
        };
        assert_eq!(table.segment(&key, &with(syn)), Answer::Opens);
        assert_eq!(table.serve(LIFE + 19_000), Some(LIFE + 19_001));
        assert_eq!((table.serve(2 * LIFE), table.len()), (None, 0));
    }
}
