//! A queue in which those of a higher level come first, and those of one level in the order they came.

use alloc::collections::VecDeque;

/// What threads are queued by: 0 for those that share the CPU, else a real-time priority.
pub type Level = u32;

/// The queue. An entry keeps the level it came with.
#[derive(Debug)]
pub(super) struct Ranked<T>(VecDeque<(Level, T)>);

impl<T> Ranked<T> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The level of the first.
    pub(super) fn top(&self) -> Option<Level> {
        self.0.front().map(|&(level, _)| level)
    }

    /// Puts an entry behind the others of its level.
    pub(super) fn push_back(&mut self, level: Level, entry: T) {
        let place = self.0.partition_point(|&(other, _)| other >= level);
        self.0.insert(place, (level, entry));
    }

    /// Puts an entry before the others of its level.
    pub(super) fn push_front(&mut self, level: Level, entry: T) {
        let place = self.0.partition_point(|&(other, _)| other > level);
        self.0.insert(place, (level, entry));
    }

    /// Takes the first that is wanted out.
    pub(super) fn take(&mut self, wanted: impl Fn(Level, &T) -> bool) -> Option<T> {
        let mut entries = self.0.iter();
        let place = entries.position(|(level, entry)| wanted(*level, entry))?;
        self.0.remove(place).map(|(_, entry)| entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_level_comes_first_and_within_it_who_came_first() {
        let mut queue = Ranked::new();
        for (level, entry) in [(0, 'a'), (7, 'b'), (0, 'c'), (9, 'd'), (7, 'e')] {
            queue.push_back(level, entry);
        }
        queue.push_front(7, 'f');
        queue.push_front(0, 'g');
        assert_eq!(queue.iter().collect::<String>(), "dfbegac");
        assert_eq!((queue.top(), queue.len()), (Some(9), 7));
        assert_eq!(queue.take(|level, _| level < 9), Some('f'));
        assert_eq!(queue.take(|_, &entry| entry == 'z'), None);
        assert_eq!(queue.take(|_, &entry| entry == 'd'), Some('d'));
        assert_eq!(queue.top(), Some(7));
    }
}
