//! Seals of files in memory, fcntl(2) `F_ADD_SEALS`: what nobody may do to a file any more, whoever has it open.
use super::{Content, PAGE_LEN};
use abi::Errno;
use alloc::sync::Arc;
use machine::upcall::each_space;

bitflags::bitflags! {
    /// `F_SEAL_*`
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Seals: u32 {
        /// There are no more seals to come.
        const SEAL = 1;
        /// It gets no shorter.
        const SHRINK = 2;
        /// It gets no longer.
        const GROW = 4;
        /// What it says stays.
        const WRITE = 8;
        /// The same, but for mappings that there are.
        const FUTURE_WRITE = 0x10;
        /// Permissions to execute stay.
        const EXEC = 0x20;
    }
}

const WRITES: Seals = Seals::WRITE.union(Seals::FUTURE_WRITE);

impl Content {
    /// An empty file that may be sealed, with the seals it begins with.
    pub fn sealable(seals: Seals) -> Arc<Self> {
        let content = Self::empty();
        content.inner.lock().seals = Some(seals);
        content
    }

    /// Its seals; `None` if its file system has none.
    pub fn seals(&self) -> Option<Seals> {
        self.inner.lock().seals
    }

    /// Whether new mappings may not write.
    pub fn is_sealed(&self) -> bool {
        self.seals().is_some_and(|seals| seals.intersects(WRITES))
    }

    /// `F_ADD_SEALS`: `EPERM` if there can be no more, `EBUSY` for one against writing while somebody maps it to write.
    /// `executable`: somebody may execute it.
    pub fn add_seals(&self, new: Seals, executable: bool) -> Result<(), Errno> {
        let before = self.seals().ok_or(Errno::EINVAL)?;
        if before.contains(Seals::SEAL) {
            return Err(Errno::EPERM);
        }
        let mut after = before | new;
        if new.contains(Seals::EXEC) && executable {
            after |= Seals::SHRINK | Seals::GROW | WRITES;
        }
        // Before mappings are looked for: there are no new ones.
        self.inner.lock().seals = Some(after);
        let mut is_mapped = false;
        if new.contains(Seals::WRITE) && !before.contains(Seals::WRITE) {
            each_space(|space| is_mapped |= space.maps_to_write(self.key()));
        }
        if is_mapped {
            self.inner.lock().seals = Some(before);
            return Err(Errno::EBUSY);
        }
        Ok(())
    }
}

impl super::Inner {
    fn sealed(&self, seals: Seals) -> bool {
        self.seals.is_some_and(|own| own.intersects(seals))
    }

    /// How many of `len` bytes at `offset` may be written; `EPERM` if none. Linux writes pages, as far as they are
    /// whole within the size.
    pub(super) fn may_write(&self, offset: u64, len: usize) -> Result<usize, Errno> {
        if self.sealed(WRITES) {
            return Err(Errno::EPERM);
        }
        if offset.saturating_add(len as u64) <= self.size || !self.sealed(Seals::GROW) {
            return Ok(len);
        }
        let pages = self.size / PAGE_LEN * PAGE_LEN;
        match pages.saturating_sub(offset) {
            0 => Err(Errno::EPERM),
            left => Ok(left as usize),
        }
    }

    /// `EPERM` if memory up to `end` may not be reserved.
    pub(super) fn may_reserve(&self, end: u64) -> Result<(), Errno> {
        if end > self.size && self.sealed(Seals::GROW) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// `EPERM` if it may not get this size.
    pub(super) fn may_resize(&self, size: u64) -> Result<(), Errno> {
        if size < self.size && self.sealed(Seals::SHRINK) {
            return Err(Errno::EPERM);
        }
        self.may_reserve(size)
    }
}
