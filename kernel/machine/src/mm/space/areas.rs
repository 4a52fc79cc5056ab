//! The areas of the address space, with what makes questions about many of them cheap: the holes between them, the
//! areas of each file, the bytes they have together.

use super::area::Area;
use super::arena;
use super::holes::Holes;
use crate::mm::{USER_END, USER_START};
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use smallvec::SmallVec;

/// Areas there may be (`vm.max_map_count`).
pub const MAX: usize = 65530;

/// The areas by their first address.
#[derive(Clone)]
pub(super) struct Areas {
    areas: BTreeMap<usize, Area>,
    holes: Holes,
    /// Keys of files and the areas that map them.
    files: BTreeSet<(usize, usize)>,
    bytes: usize,
    data: usize,
}

impl Areas {
    /// None, and no room for any before [`Areas::open`].
    pub(super) const fn new() -> Self {
        Self {
            areas: BTreeMap::new(),
            holes: Holes::new(),
            files: BTreeSet::new(),
            bytes: 0,
            data: 0,
        }
    }

    /// Makes the program's half free, but for the arena.
    pub(super) fn open(&mut self) {
        self.holes.release(USER_START, arena::START);
        self.holes.release(arena::END, USER_END);
    }

    /// All, in the order of addresses.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Area)> {
        self.areas.iter().map(|(&start, area)| (start, area))
    }

    /// Bytes that are mapped.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those of them that are data to `RLIMIT_DATA`.
    pub(super) fn data(&self) -> usize {
        self.data
    }

    /// Whether `more` areas are more than there may be.
    pub(super) fn are_too_many(&self, more: usize) -> bool {
        self.areas.len() + more > MAX
    }

    /// The area at an address, and its start.
    pub(super) fn at(&self, addr: usize) -> Option<(usize, &Area)> {
        let (&start, area) = self.areas.range(..=addr).next_back()?;
        (area.end > addr).then_some((start, area))
    }

    /// The areas that overlap `start..end`.
    pub(super) fn overlapping(
        &self,
        start: usize,
        end: usize,
    ) -> impl Iterator<Item = (usize, &Area)> {
        let first = self.at(start).map_or(start, |(first, _)| first);
        let areas = self.areas.range(first..end.max(first));
        areas.map(|(&start, area)| (start, area))
    }

    /// Where pages `from..to` of a file are mapped.
    pub(super) fn of_file(&self, key: usize, from: u64, to: u64) -> Vec<(usize, usize)> {
        self.files
            .range((key, 0)..=(key, usize::MAX))
            .filter_map(|&(_, start)| self.areas.get(&start)?.addresses(start, from, to))
            .collect()
    }

    /// Whether all of `start..end` may be mapped and nothing is there.
    pub(super) fn is_free(&self, start: usize, end: usize) -> bool {
        start >= USER_START && end <= USER_END && self.overlapping(start, end).next().is_none()
    }

    /// Whether every page of `start..end` is mapped.
    pub(super) fn is_covered(&self, start: usize, end: usize) -> bool {
        let mut at = start;
        for (start, area) in self.overlapping(start, end) {
            if start > at {
                return false;
            }
            at = area.end;
        }
        at >= end
    }

    /// The highest free place below `top` for `len` bytes.
    pub(super) fn find(&self, len: usize, align: usize, top: usize) -> Result<usize, Errno> {
        self.holes.highest(len, align, top).ok_or(Errno::ENOMEM)
    }

    /// Puts an area where nothing is, as one with its neighbours if they are alike.
    pub(super) fn insert(&mut self, start: usize, area: Area) {
        self.holes.occupy(start, area.end);
        self.unite(start, area);
    }

    /// Takes the area out that begins at `start`.
    pub(super) fn remove(&mut self, start: usize) {
        if let Some(area) = self.take(start) {
            self.holes.release(start, area.end);
        }
    }

    /// Takes everything out of `start..end`. `ENOMEM` if that makes two of one area and there are as many as may be.
    pub(super) fn clear(&mut self, start: usize, end: usize) -> Result<(), Errno> {
        let first = self.at(start).map(|(first, area)| (first, area.end));
        match first {
            Some((first, last)) if first < start && end < last && self.are_too_many(1) => {
                return Err(Errno::ENOMEM);
            }
            // Nothing else lies there.
            Some((first, last)) if end <= last => self.clear_part(first, start, end),
            _ => {
                for at in self.starts(start, end) {
                    self.clear_part(at, start, end);
                }
            }
        }
        self.holes.release(start, end);
        Ok(())
    }

    /// Takes what lies in `start..end` out of the area that begins at `at`.
    fn clear_part(&mut self, at: usize, start: usize, end: usize) {
        let Some(mut area) = self.take(at) else {
            return;
        };
        if end < area.end {
            let rest = area.split_off(end - at, end);
            self.put(end, rest);
        }
        if at < start {
            area.end = start;
            self.put(at, area);
        }
    }

    /// Changes the areas in `start..end`, and only what lies there. `ENOMEM` if that takes more areas than there may
    /// be.
    pub(super) fn change(
        &mut self,
        start: usize,
        end: usize,
        change: impl Fn(&mut Area),
    ) -> Result<(), Errno> {
        let is_cut = |addr| self.at(addr).is_some_and(|(start, _)| start < addr);
        let cuts = usize::from(is_cut(start)) + usize::from(is_cut(end));
        if cuts != 0 && self.are_too_many(cuts) {
            return Err(Errno::ENOMEM);
        }
        self.cut(start);
        self.cut(end);
        for at in self.starts(start, end) {
            // One that is alike already may have become part of the one before.
            if let Some(mut area) = self.take(at) {
                change(&mut area);
                self.unite(at, area);
            }
        }
        Ok(())
    }

    /// Makes an area of `start` that ends at `end`, where nothing is behind it, longer.
    pub(super) fn grow(&mut self, start: usize, end: usize) {
        if let Some(area) = self.take(start) {
            self.insert(start, Area { end, ..area });
        }
    }

    /// Makes two of the area that `addr` lies in the middle of, if any.
    fn cut(&mut self, addr: usize) {
        if let Some((start, _)) = self.at(addr)
            && start < addr
            && let Some(mut area) = self.take(start)
        {
            let rest = area.split_off(addr - start, addr);
            self.put(start, area);
            self.put(addr, rest);
        }
    }

    fn starts(&self, start: usize, end: usize) -> SmallVec<[usize; 8]> {
        self.overlapping(start, end).map(|(at, _)| at).collect()
    }

    fn unite(&mut self, start: usize, area: Area) {
        let (mut start, mut area) = (start, area);
        if let Some((before, other)) = start.checked_sub(1).and_then(|last| self.at(last))
            && other.joins(before, &area)
            && let Some(other) = self.take(before)
        {
            area = Area {
                end: area.end,
                ..other
            };
            start = before;
        }
        if let Some(next) = self.areas.get(&area.end)
            && area.joins(start, next)
            && let Some(next) = self.take(area.end)
        {
            area.end = next.end;
        }
        self.put(start, area);
    }

    fn put(&mut self, start: usize, area: Area) {
        self.bytes += area.end - start;
        if area.is_data(area.prot) {
            self.data += area.end - start;
        }
        if let Some(key) = area.file_key() {
            self.files.insert((key, start));
        }
        self.areas.insert(start, area);
    }

    fn take(&mut self, start: usize) -> Option<Area> {
        let area = self.areas.remove(&start)?;
        self.bytes -= area.end - start;
        if area.is_data(area.prot) {
            self.data -= area.end - start;
        }
        if let Some(key) = area.file_key() {
            self.files.remove(&(key, start));
        }
        Some(area)
    }
}
