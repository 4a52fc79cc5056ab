//! Address ranges that do not overlap, as an immutable sorted set: a persistent AVL tree.
//!
//! A changed set shares all nodes but those on one path with the set it was made from, so a change costs O(log n) time
//! and memory however many ranges there are, and who reads the old set is not disturbed.

use alloc::sync::Arc;
use core::ops::Range;

/// A set of ranges, each with something to say about it.
pub(crate) struct Ranges<T> {
    root: Link<T>,
}

/// A range and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<T> {
    pub(crate) start: usize,
    /// The address behind the last one.
    pub(crate) end: usize,
    pub(crate) value: T,
}

struct Node<T> {
    entry: Entry<T>,
    left: Link<T>,
    right: Link<T>,
    height: u8,
}

type Link<T> = Option<Arc<Node<T>>>;

impl<T> Clone for Ranges<T> {
    /// Shares everything.
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
        }
    }
}

impl<T> Ranges<T> {
    /// Makes the empty set.
    pub(crate) const fn new() -> Self {
        Self { root: None }
    }

    /// Says whether this is the very same set as another.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Returns the range that an address lies in.
    pub(crate) fn at(&self, address: usize) -> Option<&Entry<T>> {
        self.overlapping(&(address..address.checked_add(1)?))
    }

    /// Returns a range, the last one, that has an address in common with `range`.
    pub(crate) fn overlapping(&self, range: &Range<usize>) -> Option<&Entry<T>> {
        // Ranges do not overlap each other, so the last one that starts before `range` ends also ends last of those.
        let mut last = None;
        let mut next = self.root.as_ref();
        while let Some(node) = next {
            if node.entry.start < range.end {
                last = Some(&node.entry);
                next = node.right.as_ref();
            } else {
                next = node.left.as_ref();
            }
        }
        last.filter(|entry| entry.end > range.start)
    }
}

impl<T: Clone> Ranges<T> {
    /// Returns the set with one more range; `None` if it is empty or overlaps one that is there.
    pub(crate) fn with(&self, range: Range<usize>, value: T) -> Option<Self> {
        if range.is_empty() || self.overlapping(&range).is_some() {
            return None;
        }
        let Range { start, end } = range;
        let root = Some(insert(self.root.as_ref(), Entry { start, end, value }));
        Some(Self { root })
    }

    /// Returns the set without the range that starts at `start`; `None` if there is none.
    pub(crate) fn without(&self, start: usize) -> Option<Self> {
        self.at(start).filter(|entry| entry.start == start)?;
        let root = self.root.as_ref().and_then(|root| remove(root, start));
        Some(Self { root })
    }
}

fn height<T>(link: &Link<T>) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

fn node<T>(left: Link<T>, entry: Entry<T>, right: Link<T>) -> Arc<Node<T>> {
    let height = height(&left).max(height(&right)) + 1;
    Arc::new(Node {
        entry,
        left,
        right,
        height,
    })
}

/// Makes a node of two subtrees whose heights differ by at most 2, in balance.
fn balanced<T: Clone>(left: Link<T>, entry: Entry<T>, right: Link<T>) -> Arc<Node<T>> {
    let (left_height, right_height) = (height(&left), height(&right));
    match (&left, &right) {
        (Some(l), _) if left_height > right_height + 1 => match &l.right {
            Some(middle) if middle.height > height(&l.left) => node(
                Some(node(l.left.clone(), l.entry.clone(), middle.left.clone())),
                middle.entry.clone(),
                Some(node(middle.right.clone(), entry, right)),
            ),
            middle => node(
                l.left.clone(),
                l.entry.clone(),
                Some(node(middle.clone(), entry, right)),
            ),
        },
        (_, Some(r)) if right_height > left_height + 1 => match &r.left {
            Some(middle) if middle.height > height(&r.right) => node(
                Some(node(left, entry, middle.left.clone())),
                middle.entry.clone(),
                Some(node(middle.right.clone(), r.entry.clone(), r.right.clone())),
            ),
            middle => node(
                Some(node(left, entry, middle.clone())),
                r.entry.clone(),
                r.right.clone(),
            ),
        },
        _ => node(left, entry, right),
    }
}

fn insert<T: Clone>(tree: Option<&Arc<Node<T>>>, new: Entry<T>) -> Arc<Node<T>> {
    let Some(here) = tree else {
        return node(None, new, None);
    };
    let entry = here.entry.clone();
    if new.start < entry.start {
        let left = insert(here.left.as_ref(), new);
        balanced(Some(left), entry, here.right.clone())
    } else {
        let right = insert(here.right.as_ref(), new);
        balanced(here.left.clone(), entry, Some(right))
    }
}

/// Returns a tree without the entry that starts at `start`, which is there.
fn remove<T: Clone>(here: &Arc<Node<T>>, start: usize) -> Link<T> {
    let without = |link: &Link<T>| link.as_ref().and_then(|child| remove(child, start));
    let entry = here.entry.clone();
    if start < entry.start {
        return Some(balanced(without(&here.left), entry, here.right.clone()));
    }
    if start > entry.start {
        return Some(balanced(here.left.clone(), entry, without(&here.right)));
    }
    match (&here.left, &here.right) {
        (None, only) | (only, None) => only.clone(),
        (left, Some(right)) => {
            let (first, rest) = split_first(right);
            Some(balanced(left.clone(), first, rest))
        }
    }
}

/// Returns a tree's first entry, and the tree without it.
fn split_first<T: Clone>(here: &Arc<Node<T>>) -> (Entry<T>, Link<T>) {
    match &here.left {
        None => (here.entry.clone(), here.right.clone()),
        Some(left) => {
            let (first, rest) = split_first(left);
            let tree = balanced(rest, here.entry.clone(), here.right.clone());
            (first, Some(tree))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    /// Checks order and balance; returns the entries.
    fn checked(ranges: &Ranges<u32>) -> Vec<(usize, usize, u32)> {
        fn visit(link: &Link<u32>, found: &mut Vec<(usize, usize, u32)>) -> u8 {
            let Some(node) = link else { return 0 };
            let left = visit(&node.left, found);
            found.push((node.entry.start, node.entry.end, node.entry.value));
            let right = visit(&node.right, found);
            assert!(left.abs_diff(right) <= 1, "out of balance");
            assert_eq!(node.height, left.max(right) + 1);
            node.height
        }
        let mut found = Vec::new();
        visit(&ranges.root, &mut found);
        assert!(found.is_sorted_by(|a, b| a.1 <= b.0));
        found
    }

    /// Marsaglia's xorshift: the same numbers every time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }
    }

    #[test]
    fn odd_and_adjacent_ranges_are_kept_apart() {
        let ranges = Ranges::new().with(100..128, 'a').unwrap();
        let ranges = ranges.with(128..129, 'b').unwrap();
        let ranges = ranges.with(93..100, 'c').unwrap();
        let at = |address| ranges.at(address).map(|entry| entry.value);
        let found: Vec<_> = [92, 93, 99, 100, 127, 128, 129].map(at).into();
        let (a, b, c) = (Some('a'), Some('b'), Some('c'));
        assert_eq!(found, [None, c, c, a, a, b, None]);
        for taken in [0..94, 99..101, 110..111, 50..500, 128..1000, 127..128] {
            assert!(ranges.with(taken, 'd').is_none());
        }
        assert!(ranges.with(93..93, 'd').is_none() && ranges.with(50..50, 'd').is_none());
        assert!(ranges.without(94).is_none() && ranges.without(50).is_none());
    }

    #[test]
    fn the_end_of_the_address_space_is_no_exception() {
        let ranges = Ranges::new().with(usize::MAX - 1..usize::MAX, 1).unwrap();
        assert!(ranges.at(usize::MAX - 1).is_some());
        assert!(ranges.at(usize::MAX).is_none());
        assert!(ranges.at(0).is_none());
    }

    #[test]
    fn any_sequence_of_changes_gives_what_a_map_gives() {
        let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
        let mut model: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
        let mut ranges = Ranges::new();
        for step in 0..6000 {
            // Grows at first and shrinks in the end.
            let grow = numbers.below(6000) > step;
            let start = numbers.below(4000);
            if grow {
                let end = start + numbers.below(6);
                let free = start < end
                    && model
                        .range(..end)
                        .next_back()
                        .is_none_or(|(_, &(other_end, _))| other_end <= start);
                let value = step as u32;
                match ranges.with(start..end, value) {
                    Some(more) => {
                        assert!(free);
                        model.insert(start, (end, value));
                        ranges = more;
                    }
                    None => assert!(!free),
                }
            } else {
                match ranges.without(start) {
                    Some(fewer) => {
                        assert!(model.remove(&start).is_some());
                        ranges = fewer;
                    }
                    None => assert!(!model.contains_key(&start)),
                }
            }
            if step % 16 == 0 {
                let expected: Vec<_> = model.iter().map(|(&s, &(e, v))| (s, e, v)).collect();
                assert_eq!(checked(&ranges), expected);
            }
        }
    }

    #[test]
    fn a_set_does_not_change_when_another_is_made_from_it() {
        let mut ranges = Ranges::new();
        for start in 0..100 {
            ranges = ranges
                .with(start * 10..start * 10 + 7, start as u32)
                .unwrap();
        }
        let before = checked(&ranges);
        let fewer = (0..100).fold(ranges.without(0).unwrap(), |fewer, start| {
            fewer.without(start * 10).unwrap_or(fewer)
        });
        assert_eq!(checked(&fewer), []);
        assert_eq!(checked(&ranges), before);
    }

    #[test]
    fn a_change_costs_one_path_however_many_ranges_there_are() {
        const COUNT: usize = 100_000;
        let mut ranges = Ranges::new();
        for index in 0..COUNT {
            // Neither ascending nor descending: 7919 is prime to COUNT.
            let start = index * 7919 % COUNT * 48;
            ranges = ranges.with(start..start + 33, index as u32).unwrap();
        }
        checked(&ranges);
        let more = ranges.with(40..48, 0).unwrap();
        // What the two do not share is what only one of them owns.
        fn own<T>(link: &Link<T>) -> usize {
            match link {
                Some(node) if Arc::strong_count(node) == 1 => {
                    1 + own(&node.left) + own(&node.right)
                }
                _ => 0,
            }
        }
        assert!(own(&more.root) <= 24, "{} nodes are new", own(&more.root));
    }
}
