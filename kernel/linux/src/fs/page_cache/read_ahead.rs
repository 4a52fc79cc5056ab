//! How many pages are read at a time: few where somebody reads here and there, more and more where the file is read
//! from one end to the other.

/// Pages that are read where nobody has read before.
const FEW: u64 = 4;
/// At the beginning of a file, and for mappings, of which only faults are seen.
const SOME: u64 = 32;
/// At most.
const MOST: u64 = 128;

/// What was read last.
#[doc(alias = "file_ra_state")]
#[derive(Default)]
pub(super) struct ReadAhead {
    /// The page after those that were read.
    next: u64,
    window: u64,
}

impl ReadAhead {
    /// How many pages to read from `index` on.
    pub(super) fn window(&mut self, index: u64, maps: bool) -> u64 {
        self.window = if index == self.next && index > 0 {
            (self.window * 2).min(MOST)
        } else if index == 0 || maps {
            SOME
        } else {
            FEW
        };
        self.next = index.saturating_add(self.window);
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_on_is_read_ahead_of() {
        let mut state = ReadAhead::default();
        assert_eq!(state.window(0, false), SOME);
        assert_eq!(state.window(SOME, false), 2 * SOME);
        assert_eq!(state.window(3 * SOME, false), MOST);
        assert_eq!(state.window(3 * SOME + MOST, false), MOST);
        assert_eq!(state.window(1000, false), FEW);
        assert_eq!(state.window(1000 + FEW, false), 2 * FEW);
        assert_eq!(state.window(5000, true), SOME);
    }
}
