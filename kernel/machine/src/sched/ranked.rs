//! A queue in which those of a higher level come first, within a level those with a lower key, and of those with the
//! same key who came first.

use alloc::collections::VecDeque;

/// What threads are queued by: 0 for those that share the CPU, else a real-time priority.
pub type Level = u32;

/// A place in the queue: a level and a key, which is virtual time at level 0 and nothing at others.
pub(super) type Order = (Level, u64);

/// The queue. An entry keeps the level and the key it came with.
#[derive(Debug)]
pub(super) struct Ranked<T>(VecDeque<(Order, T)>);

impl<T> Ranked<T> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first.
    pub(super) fn first(&self) -> Option<(Order, &T)> {
        self.0.front().map(|(order, entry)| (*order, entry))
    }

    /// The highest key of a level.
    pub(super) fn last_key(&self, level: Level) -> Option<u64> {
        let keys = self.0.iter().filter(|((other, _), _)| *other == level);
        keys.map(|((_, key), _)| *key).next_back()
    }

    /// Puts an entry behind those it is equal to.
    pub(super) fn push_back(&mut self, (level, key): Order, entry: T) {
        self.insert(
            |other, theirs| other > level || other == level && theirs <= key,
            (level, key),
            entry,
        );
    }

    /// Puts an entry before those it is equal to.
    pub(super) fn push_front(&mut self, (level, key): Order, entry: T) {
        self.insert(
            |other, theirs| other > level || other == level && theirs < key,
            (level, key),
            entry,
        );
    }

    fn insert(&mut self, is_before: impl Fn(Level, u64) -> bool, order: Order, entry: T) {
        let last = self.0.back().map(|(order, _)| *order);
        if last.is_none_or(|(level, key)| is_before(level, key)) {
            self.0.push_back((order, entry));
            return;
        }
        let place = self
            .0
            .partition_point(|&((level, key), _)| is_before(level, key));
        self.0.insert(place, (order, entry));
    }

    /// Takes the first that is wanted out.
    pub(super) fn take(&mut self, wanted: impl Fn(Level, &T) -> bool) -> Option<T> {
        let is_wanted = |((level, _), entry): &(Order, T)| wanted(*level, entry);
        // Mostly it is the first of all.
        let taken = if self.0.front().is_some_and(is_wanted) {
            self.0.pop_front()
        } else {
            let place = self.0.iter().skip(1).position(is_wanted)?;
            self.0.remove(place + 1)
        };
        taken.map(|(_, entry)| entry)
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
            queue.push_back((level, 0), entry);
        }
        queue.push_front((7, 0), 'f');
        queue.push_front((0, 0), 'g');
        assert_eq!(queue.iter().collect::<String>(), "dfbegac");
        assert_eq!((queue.first(), queue.len()), (Some(((9, 0), &'d')), 7));
        assert_eq!(queue.take(|level, _| level < 9), Some('f'));
        assert_eq!(queue.take(|_, &entry| entry == 'z'), None);
        assert_eq!(queue.take(|_, &entry| entry == 'd'), Some('d'));
        assert_eq!(queue.first().map(|((level, _), _)| level), Some(7));
    }

    #[test]
    fn within_a_level_who_has_the_lowest_key_comes_first() {
        let mut queue = Ranked::new();
        for (key, entry) in [(30, 'a'), (10, 'b'), (20, 'c'), (10, 'd')] {
            queue.push_back((0, key), entry);
        }
        queue.push_front((0, 20), 'e');
        queue.push_back((1, 99), 'f');
        assert_eq!(queue.iter().collect::<String>(), "fbdeca");
        assert_eq!((queue.last_key(0), queue.last_key(2)), (Some(30), None));
    }
}
