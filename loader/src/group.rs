//! Objects in the order they are searched. Where there are many, an index says which of them may define a name, so that
//! a look-up does not ask all their Bloom filters.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use crate::elf::hash::{HashTable, Name};
use crate::object::Object;

/// How many objects there have to be for an index: fewer are asked one after the other at less cost.
const INDEXED: usize = 64;

/// Objects in the order they are searched.
#[derive(Clone)]
pub(crate) struct Group(Arc<Members>);

struct Members {
    objects: Vec<Arc<Object>>,
    index: Option<Index>,
}

impl Deref for Group {
    type Target = [Arc<Object>];

    fn deref(&self) -> &Self::Target {
        &self.0.objects
    }
}

impl From<Vec<Arc<Object>>> for Group {
    fn from(objects: Vec<Arc<Object>>) -> Self {
        let index = (objects.len() >= INDEXED).then(|| Index::new(&objects));
        Self(Arc::new(Members { objects, index }))
    }
}

impl Group {
    /// Returns its index, if it is large enough to have one.
    #[inline]
    pub(crate) fn index(&self) -> Option<&Index> {
        self.0.index.as_ref()
    }
}

/// Which objects may define a name: those that define one of the same hash.
pub(crate) struct Index {
    /// Where each bucket's entries begin, and the last one's end. There are a power of two of buckets.
    starts: Vec<u32>,
    /// Hashes, and places in the group, ascending within a bucket.
    entries: Vec<(u32, u32)>,
}

impl Index {
    fn new(objects: &[Arc<Object>]) -> Self {
        let mut count: usize = 0;
        each_hash(objects, |_, _| count += 1);
        // Of two to four entries.
        let buckets = (count / 2).next_power_of_two();
        let mut starts = alloc::vec![0; buckets + 1];
        each_hash(objects, |_, hash| starts[bucket(hash, buckets) + 1] += 1);
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }
        let mut entries = alloc::vec![(0, 0); count];
        let mut next = starts.clone();
        each_hash(objects, |position, hash| {
            let place = &mut next[bucket(hash, buckets)];
            entries[*place as usize] = (hash, position);
            *place += 1;
        });
        Self { starts, entries }
    }

    /// Returns the places of the objects that may define a name, ascending; one may come twice.
    pub(crate) fn positions(&self, name: &Name<'_>) -> impl Iterator<Item = usize> {
        let hash = name.indexed();
        let at = bucket(hash, self.starts.len() - 1);
        let entries = match self.starts[at..] {
            [start, end, ..] => &self.entries[start as usize..end as usize],
            _ => &[],
        };
        let same = entries.iter().filter(move |(other, _)| *other == hash);
        same.map(|&(_, position)| position as usize)
    }
}

fn bucket(hash: u32, count: usize) -> usize {
    hash as usize & (count - 1)
}

/// Calls `f` with each object's place and each hash of a name that is in its table.
fn each_hash(objects: &[Arc<Object>], mut f: impl FnMut(u32, u32)) {
    for (position, object) in (0..).zip(objects) {
        match object.hash() {
            Some(HashTable::Gnu(table)) => table.hashes().for_each(|hash| f(position, hash)),
            Some(HashTable::SysV(_)) => {
                let names = object.symbols().iter();
                let names = names.filter_map(|symbol| object.hashed_name(symbol));
                names.for_each(|name| f(position, name.indexed()));
            }
            None => {}
        }
    }
}
