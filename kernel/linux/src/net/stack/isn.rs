//! Initial sequence numbers: a clock, and a hash of a connection's ends with a secret (RFC 6528); and such as say of
//! themselves that they were given (SYN cookies, RFC 4987, 3.6).
use super::{
    Key, now,
    tcp::{segment::Head, seq::Seq},
};
use core::hash::{Hash, Hasher};
use machine::drivers::random;
use siphasher::sip::SipHasher24;

/// Nanoseconds of a tick of the clock.
const TICK: u64 = 4000;
/// How long a cookie of one count is given; it is good for as long again.
const COUNT: u64 = 64_000_000_000;
/// Sizes of segments that a cookie can tell.
const SIZES: [u16; 4] = [536, 1220, 1440, 1460];

/// The secret of this machine.
pub(super) struct Generator([u8; 16]);

impl Generator {
    /// One with a secret that nobody knows.
    pub(super) fn new() -> Self {
        let mut key = [0; 16];
        random::fill(&mut key);
        Self::with_key(key)
    }

    pub(super) const fn with_key(key: [u8; 16]) -> Self {
        Self(key)
    }

    fn hash(&self, what: impl Hash) -> u32 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        what.hash(&mut hasher);
        low(hasher.finish())
    }

    /// The first number of a connection.
    pub(super) fn first(&self, ends: Key) -> Seq {
        Seq(self.hash(ends).wrapping_add(low(now() / TICK)))
    }

    /// The number with which a SYN is answered that nobody remembers: a count of time, the size of segments, and a hash
    /// of these, the ends and the SYN's number.
    pub(super) fn cookie(&self, ends: Key, syn: &Head) -> Seq {
        let size = syn.mss.unwrap_or(SIZES[0]);
        let index = SIZES.iter().rposition(|&one| one <= size).unwrap_or(0);
        self.cookie_of(ends, syn.seq, now() / COUNT, index)
    }

    fn cookie_of(&self, ends: Key, seq: Seq, count: u64, index: usize) -> Seq {
        let index = u32::try_from(index).unwrap_or(0);
        let hash = self.hash((ends, seq.0, count, index, "cookie"));
        Seq(low(count % 32) << 27 | index << 24 | hash >> 8)
    }

    /// Whether an acknowledgement is of a cookie; then the SYN that it was given for, as far as it is known.
    pub(super) fn redeem(&self, ends: Key, head: &Head) -> Option<Head> {
        let cookie = Seq(head.ack?.0.wrapping_sub(1));
        let syn = Head {
            seq: Seq(head.seq.0.wrapping_sub(1)),
            syn: true,
            window: head.window,
            ..Head::default()
        };
        let count = now() / COUNT;
        for count in [Some(count), count.checked_sub(1)].into_iter().flatten() {
            for (index, size) in SIZES.into_iter().enumerate() {
                if self.cookie_of(ends, syn.seq, count, index) == cookie {
                    let mss = Some(size);
                    return Some(Head { mss, ..syn });
                }
            }
        }
        None
    }
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_of_one_connection() {
        let ends: Key = (
            "10.0.2.15:80".parse().unwrap(),
            "10.0.2.2:4".parse().unwrap(),
        );
        let other = (ends.0, "10.0.2.2:5".parse().unwrap());
        let generator = Generator::with_key([7; 16]);
        assert_ne!(generator.first(ends), generator.first(other));
        let syn = Head {
            seq: Seq(77),
            syn: true,
            mss: Some(1400),
            ..Head::default()
        };
        let answer = Head {
            seq: Seq(78),
            ack: Some(generator.cookie(ends, &syn).plus(1)),
            window: 5,
            ..Head::default()
        };
        let redeemed = generator.redeem(ends, &answer).unwrap();
        assert_eq!((redeemed.seq, redeemed.mss), (Seq(77), Some(1220)));
        assert!(generator.redeem(other, &answer).is_none());
        let wrong = Head {
            seq: Seq(79),
            ..answer
        };
        assert!(generator.redeem(ends, &wrong).is_none());
        assert!(Generator::with_key([8; 16]).redeem(ends, &answer).is_none());
    }
}
