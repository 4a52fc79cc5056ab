//! Sequence numbers (RFC 9293, 3.4). They wrap: which of two comes first is said of numbers less than 2^31 apart.
use smoltcp::wire::TcpSeqNumber;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    /// Whether it comes after `other`.
    pub(crate) fn after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// Whether it comes before `other`.
    pub(crate) fn before(self, other: Self) -> bool {
        other.after(self)
    }

    /// The number `count` further.
    pub(crate) fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// How far it is from `earlier`, which does not come after it.
    pub(crate) fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The later of two.
    pub(crate) fn max(self, other: Self) -> Self {
        if self.after(other) { self } else { other }
    }

    /// The earlier of two.
    pub(crate) fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl From<TcpSeqNumber> for Seq {
    fn from(number: TcpSeqNumber) -> Self {
        Self(number.0.cast_unsigned())
    }
}

impl From<Seq> for TcpSeqNumber {
    fn from(seq: Seq) -> Self {
        Self(seq.0.cast_signed())
    }
}

/// A length as a distance of sequence numbers.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A distance of sequence numbers as a length.
pub(super) fn len(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_wrap() {
        let (last, first) = (Seq(u32::MAX), Seq(0));
        assert!(first.after(last) && last.before(first) && !first.after(first));
        assert_eq!(last.plus(3), Seq(2));
        assert_eq!(Seq(2).since(last), 3);
        assert_eq!((last.max(first), last.min(first)), (first, last));
    }
}
