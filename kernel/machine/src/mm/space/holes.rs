//! The free ranges between areas, and the highest one that something fits into.
//!
//! A treap (R. Seidel and C. Aragon, "Randomized Search Trees", 1996): ordered by address as a search tree and by a
//! hash of the address at which a hole came into being as a heap, which keeps it about log n deep. Every node knows the
//! largest hole in its subtree, as in Linux's tree of areas before 6.1 (`rb_subtree_gap`). Most mappings take one end
//! of a hole, or give it back: the hole then stays where it is in the tree.

use alloc::boxed::Box;
use core::cmp::Ordering;

/// From where to where a hole reaches.
type Range = (usize, usize);

/// A subtree.
type Link = Option<Box<Node>>;

#[derive(Clone)]
struct Node {
    start: usize,
    end: usize,
    /// Its place in the heap's order.
    priority: usize,
    /// Length of the longest hole in this subtree.
    longest: usize,
    below: Link,
    above: Link,
}

/// A set of ranges that neither overlap nor touch.
#[derive(Clone)]
pub(super) struct Holes(Link);

impl Holes {
    /// No hole at all.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Makes all of `start..end` free.
    pub(super) fn release(&mut self, start: usize, end: usize) {
        if let Some((hole, longer)) = self.touching(start, end)
            && resize(&mut self.0, hole, longer)
        {
            return;
        }
        let around = self.take(start, end);
        let hole = Node::link(start.min(around.start), end.max(around.end));
        self.0 = join(join(around.below, hole), around.above);
    }

    /// Makes nothing of `start..end` free.
    pub(super) fn occupy(&mut self, start: usize, end: usize) {
        let (below, _) = self.beside(start + 1);
        let shorter = match below {
            Some((first, last)) if first < start && end == last => Some((first, start)),
            Some((first, last)) if first == start && end < last => Some((end, last)),
            _ => None,
        };
        if let (Some((hole, _)), Some(shorter)) = (below, shorter)
            && resize(&mut self.0, hole, shorter)
        {
            return;
        }
        let around = self.take(start, end);
        let below = join(around.below, Node::link(around.start, start));
        let above = join(Node::link(end, around.end), around.above);
        self.0 = join(below, above);
    }

    /// The highest multiple of `align` where `len` bytes are free that end at `top` or before. O(log n), unless there
    /// are holes that would be large enough if they were aligned.
    pub(super) fn highest(&self, len: usize, align: usize, top: usize) -> Option<usize> {
        highest(&self.0, len, align, top)
    }

    /// The highest hole that begins below `at`, and the lowest of the others.
    fn beside(&self, at: usize) -> (Option<Range>, Option<Range>) {
        let (mut below, mut above) = (None, None);
        let mut link = &self.0;
        while let Some(node) = link {
            let range = Some((node.start, node.end));
            if node.start < at {
                (below, link) = (range, &node.above);
            } else {
                (above, link) = (range, &node.below);
            }
        }
        (below, above)
    }

    /// Where the one hole begins that `start..end` lies beside, and what it is together with that; `None` if there is
    /// none, or a second one there.
    fn touching(&self, start: usize, end: usize) -> Option<(usize, Range)> {
        let (below, above) = self.beside(start);
        let below = below.filter(|hole| hole.1 >= start);
        let above = above.filter(|hole| hole.0 <= end);
        match (below, above) {
            (Some(hole), None) if hole.1 == start => Some((hole.0, (hole.0, end))),
            (None, Some(hole)) if hole.0 == end => Some((hole.0, (start, hole.1))),
            _ => None,
        }
    }

    /// Takes all holes that overlap or touch `start..end` out.
    fn take(&mut self, start: usize, end: usize) -> Around {
        let (mut below, rest) = split(self.0.take(), start);
        let (inside, above) = split(rest, end + 1);
        let mut around = (start, end);
        if let Some((from, to)) = last(&below)
            && to >= start
        {
            below = split(below, from).0;
            around = (from, end.max(to));
        }
        if let Some((_, to)) = last(&inside) {
            around.1 = end.max(to);
        }
        Around {
            below,
            above,
            start: around.0,
            end: around.1,
        }
    }
}

/// What is left when the holes at a range are taken out: those on both sides, and from where to where they and the
/// range reached.
struct Around {
    below: Link,
    above: Link,
    start: usize,
    end: usize,
}

impl Node {
    /// A tree of one hole; of none if it is empty.
    fn link(start: usize, end: usize) -> Link {
        (start < end).then(|| {
            Box::new(Self {
                start,
                end,
                priority: scatter(start),
                longest: end - start,
                below: None,
                above: None,
            })
        })
    }

    fn update(&mut self) {
        let longest = |link: &Link| link.as_ref().map_or(0, |node| node.longest);
        self.longest = (self.end - self.start)
            .max(longest(&self.below))
            .max(longest(&self.above));
    }
}

/// As good as random (the finaliser of MurmurHash3).
fn scatter(start: usize) -> usize {
    let hash = (start ^ start >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// Gives the hole that begins at `start` another range, which does not reach its neighbours; whether there is one.
fn resize(link: &mut Link, start: usize, to: Range) -> bool {
    let Some(node) = link else { return false };
    let is_done = match start.cmp(&node.start) {
        Ordering::Less => resize(&mut node.below, start, to),
        Ordering::Greater => resize(&mut node.above, start, to),
        Ordering::Equal => {
            (node.start, node.end) = to;
            true
        }
    };
    node.update();
    is_done
}

/// Divides a tree into what starts below `at` and the rest.
fn split(link: Link, at: usize) -> (Link, Link) {
    let Some(mut node) = link else {
        return (None, None);
    };
    if node.start < at {
        let (below, above) = split(node.above.take(), at);
        node.above = below;
        node.update();
        (Some(node), above)
    } else {
        let (below, above) = split(node.below.take(), at);
        node.below = above;
        node.update();
        (below, Some(node))
    }
}

/// Makes one tree of two, of which the first lies below the second.
fn join(below: Link, above: Link) -> Link {
    match (below, above) {
        (None, link) | (link, None) => link,
        (Some(mut below), Some(mut above)) => {
            if below.priority > above.priority {
                below.above = join(below.above.take(), Some(above));
                below.update();
                Some(below)
            } else {
                above.below = join(Some(below), above.below.take());
                above.update();
                Some(above)
            }
        }
    }
}

/// The highest hole.
fn last(link: &Link) -> Option<Range> {
    let mut node = link.as_ref()?;
    while let Some(above) = &node.above {
        node = above;
    }
    Some((node.start, node.end))
}

fn highest(link: &Link, len: usize, align: usize, top: usize) -> Option<usize> {
    let node = link.as_ref().filter(|node| node.longest >= len)?;
    if node.start >= top {
        return highest(&node.below, len, align, top);
    }
    highest(&node.above, len, align, top)
        .or_else(|| {
            let at = node.end.min(top).checked_sub(len)? / align * align;
            (at >= node.start).then_some(at)
        })
        .or_else(|| highest(&node.below, len, align, top))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: usize = 512;

    fn walk(link: &Link, depth: usize, see: &mut impl FnMut(&Node, usize)) {
        if let Some(node) = link {
            walk(&node.below, depth + 1, see);
            see(node, depth);
            walk(&node.above, depth + 1, see);
        }
    }

    fn list(holes: &Holes) -> Vec<(usize, usize)> {
        let mut list = Vec::new();
        walk(&holes.0, 1, &mut |node, _| {
            let mut longest = 0;
            let own = Some(Box::new(Node {
                below: None,
                above: None,
                ..*node
            }));
            for link in [&own, &node.below, &node.above] {
                walk(link, 1, &mut |node, _| {
                    longest = longest.max(node.end - node.start);
                });
            }
            assert_eq!(node.longest, longest);
            list.push((node.start, node.end));
        });
        list
    }

    /// The same by a flag for each address.
    struct Model([bool; END]);

    impl Model {
        fn list(&self) -> Vec<(usize, usize)> {
            let mut list = Vec::new();
            let mut start = 0;
            for at in 0..=END {
                if !self.0.get(at).is_some_and(|free| *free) {
                    if start < at {
                        list.push((start, at));
                    }
                    start = at + 1;
                }
            }
            list
        }

        fn highest(&self, len: usize, align: usize, top: usize) -> Option<usize> {
            (0..=top.checked_sub(len)?).rev().find(|&at| {
                at.is_multiple_of(align) && self.0[at..at + len].iter().all(|free| *free)
            })
        }
    }

    #[test]
    fn agrees_with_a_flag_for_each_address() {
        let (mut holes, mut model) = (Holes::new(), Model([false; END]));
        let mut random = 1_u64;
        let mut below = |limit: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % limit
        };
        for _ in 0..20_000 {
            let start = below(END);
            let end = (start + 1 + below(24)).min(END);
            let free = below(2) == 0;
            if free {
                holes.release(start, end);
            } else {
                holes.occupy(start, end);
            }
            model.0[start..end].fill(free);
            assert_eq!(list(&holes), model.list());
            let (len, align, top) = (1 + below(40), 1 << below(4), below(END + 1));
            assert_eq!(
                holes.highest(len, align, top),
                model.highest(len, align, top)
            );
        }
    }

    #[test]
    fn addresses_in_order_make_no_deep_tree() {
        let mut holes = Holes::new();
        holes.release(0, 1 << 40);
        for index in 0..1 << 16 {
            holes.occupy(index * 0x3000, index * 0x3000 + 0x1000);
        }
        let (mut count, mut deepest) = (0, 0);
        walk(&holes.0, 1, &mut |_, depth| {
            count += 1;
            deepest = deepest.max(depth);
        });
        assert_eq!(count, 1 << 16);
        assert!(deepest <= 48, "{deepest}");
    }
}
