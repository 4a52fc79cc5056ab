//! The descriptor table of a process.
use super::{
    locks::{self, Class, Owner},
    notify::dnotify,
    open::OpenFile,
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use linux_raw_sys::general as linux;
use machine::sync::SpinLock;

/// Highest value of `RLIMIT_NOFILE`.
pub const MAX_LIMIT: usize = 1 << 20;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    cloexec: bool,
}

/// What descriptors refer to.
#[doc(alias = "files_struct")]
#[derive(Default)]
pub struct Files {
    /// As long as the highest descriptor that was in use wants it: who closes all has few to look at.
    table: SpinLock<Vec<Option<Slot>>>,
    /// No descriptor below is free. Changed under the table's lock.
    lowest: AtomicUsize,
}

impl Files {
    /// Makes the table at least `len` long; memory is allocated and freed outside the lock.
    fn grow(&self, len: usize) -> Result<(), Errno> {
        let mut longer = Vec::new();
        loop {
            let mut table = self.table.lock();
            if table.capacity() < len && longer.capacity() >= len {
                longer.append(&mut table);
                core::mem::swap(&mut *table, &mut longer);
            }
            if table.capacity() >= len {
                let len = table.len().max(len);
                table.resize(len, None);
                drop(table);
                return Ok(());
            }
            drop(table);
            longer
                .try_reserve_exact(len.next_power_of_two().max(16))
                .map_err(|_| Errno::ENOMEM)?;
        }
    }

    /// The description behind a descriptor; `EBADF`.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let table = self.table.lock();
        match table.get(index) {
            Some(Some(slot)) => Ok(slot.file.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    /// The lowest free descriptor among `fds` gets `file`; `EMFILE`.
    pub fn install(
        &self,
        file: Arc<OpenFile>,
        cloexec: bool,
        fds: Range<usize>,
    ) -> Result<usize, Errno> {
        loop {
            let mut table = self.table.lock();
            let len = table.len();
            let lowest = self.lowest.load(Ordering::Relaxed);
            let start = lowest.max(fds.start);
            let free = (start..len).find(|&fd| table[fd].is_none());
            let fd = free.unwrap_or(len.max(start));
            if fd >= fds.end {
                return Err(Errno::EMFILE);
            }
            if let Some(slot) = table.get_mut(fd) {
                *slot = Some(Slot { file, cloexec });
                if fds.start <= lowest {
                    self.lowest.store(fd + 1, Ordering::Relaxed);
                }
                return Ok(fd);
            }
            drop(table);
            self.grow(fd + 1)?;
        }
    }

    /// dup3(2) without its checks: `fd` gets `file`, what was there is closed. `EBADF` from `limit` on.
    pub fn replace(
        &self,
        file: Arc<OpenFile>,
        cloexec: bool,
        fd: i32,
        limit: usize,
    ) -> Result<usize, Errno> {
        let fd = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if fd >= limit {
            return Err(Errno::EBADF);
        }
        self.grow(fd + 1)?;
        let old = self.table.lock()[fd].replace(Slot { file, cloexec });
        self.closed(old);
        Ok(fd)
    }

    /// close(2).
    pub fn close(&self, fd: i32) -> Result<(), Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let old = {
            let mut table = self.table.lock();
            self.lowest.fetch_min(index, Ordering::Relaxed);
            table.get_mut(index).and_then(Option::take)
        };
        if self.closed(old) {
            Ok(())
        } else {
            Err(Errno::EBADF)
        }
    }

    /// The same for another process: what is open is shared, but not which descriptors are.
    pub fn copy(&self) -> Self {
        let used = |table: &[Option<Slot>]| {
            let last = table.iter().rposition(Option::is_some);
            last.map_or(0, |last| last + 1)
        };
        let copy = loop {
            let len = used(&self.table.lock());
            let mut copy = Vec::with_capacity(len.next_power_of_two().max(16));
            let table = self.table.lock();
            let len = used(&table);
            // Not under the lock: memory is allocated.
            if len <= copy.capacity() {
                copy.extend_from_slice(&table[..len]);
                break copy;
            }
        };
        Self {
            table: SpinLock::new(copy),
            lowest: AtomicUsize::new(0),
        }
    }

    /// Closes what is not for the next program.
    pub fn close_on_exec(&self) {
        let len = self.table.lock().len();
        for fd in 0..len {
            let old = {
                let mut table = self.table.lock();
                let old = table[fd].take_if(|slot| slot.cloexec);
                if old.is_some() {
                    self.lowest.fetch_min(fd, Ordering::Relaxed);
                }
                old
            };
            self.closed(old);
        }
    }

    /// close_range(2), or its `CLOSE_RANGE_CLOEXEC`.
    pub fn close_range(&self, first: usize, last: usize, mark: bool) {
        let end = self.table.lock().len().min(last.saturating_add(1));
        for fd in first..end {
            let old = match &mut self.table.lock()[fd] {
                Some(slot) if mark => {
                    slot.cloexec = true;
                    None
                }
                slot => {
                    self.lowest.fetch_min(fd, Ordering::Relaxed);
                    slot.take()
                }
            };
            self.closed(old);
        }
    }

    /// Who has the record locks that are taken by way of it: all that use it.
    pub fn lock_owner(&self) -> Owner {
        Owner::Files(core::ptr::from_ref(self).addr())
    }

    /// What leaving the table means for what was in a slot, if anything was. The description may end here: not under
    /// the lock.
    fn closed(&self, old: Option<Slot>) -> bool {
        old.is_some_and(|slot| {
            slot.file.file.flush();
            // A descriptor that is a place only does not end what others of the file are for.
            if slot.file.flags() & linux::O_PATH == 0 {
                dnotify::closed(
                    &*slot.file.file,
                    [slot.file.lock_owner(), self.lock_owner()],
                );
                locks::end(self.lock_owner(), &*slot.file.file, &[Class::Record]);
            }
            true
        })
    }

    /// `FD_CLOEXEC` of a descriptor.
    pub fn cloexec(&self, fd: i32) -> Result<bool, Errno> {
        self.with_slot(fd, |slot| slot.cloexec)
    }

    /// Sets `FD_CLOEXEC`.
    pub fn set_cloexec(&self, fd: i32, cloexec: bool) -> Result<(), Errno> {
        self.with_slot(fd, |slot| slot.cloexec = cloexec)
    }

    fn with_slot<R>(&self, fd: i32, f: impl FnOnce(&mut Slot) -> R) -> Result<R, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        match self.table.lock().get_mut(index) {
            Some(Some(slot)) => Ok(f(slot)),
            _ => Err(Errno::EBADF),
        }
    }

    /// The descriptors that are open.
    pub fn descriptors(&self) -> Vec<i32> {
        let len = self.table.lock().len();
        let mut open = Vec::with_capacity(len);
        let table = self.table.lock();
        for (fd, slot) in table.iter().enumerate().take(len) {
            if slot.is_some() {
                open.push(fd as i32);
            }
        }
        open
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.close_range(0, usize::MAX, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{File, Metadata};

    struct Nothing;

    impl File for Nothing {
        fn metadata(&self) -> Result<Metadata, Errno> {
            Ok(Metadata::default())
        }
    }

    fn file() -> Arc<OpenFile> {
        OpenFile::new(Arc::new(Nothing), linux::O_RDWR)
    }

    #[test]
    fn the_lowest_free_descriptor_is_taken() {
        let files = Files::default();
        for fd in 0..3 {
            assert_eq!(files.install(file(), false, 0..1024), Ok(fd));
        }
        files.close(1).unwrap();
        assert_eq!(files.get(1).err(), Some(Errno::EBADF));
        assert_eq!(files.install(file(), false, 2..1024), Ok(3));
        assert_eq!(files.install(file(), false, 0..1024), Ok(1));
        assert_eq!(files.descriptors(), [0, 1, 2, 3]);
    }

    #[test]
    fn what_was_given_back_is_found_again() {
        let files = Files::default();
        for fd in 0..300 {
            assert_eq!(files.install(file(), false, 0..1024), Ok(fd));
        }
        // One that was asked for above does not hide those below.
        assert_eq!(files.install(file(), false, 400..1024), Ok(400));
        files.close_range(100, 101, false);
        files.close(7).unwrap();
        files.replace(file(), false, 100, 1024).unwrap();
        for fd in [7, 101, 300, 301] {
            assert_eq!(files.install(file(), false, 0..1024), Ok(fd));
        }
    }

    #[test]
    fn limits_hold_for_new_descriptors_only() {
        let files = Files::default();
        assert_eq!(files.install(file(), false, 700..1024), Ok(700));
        assert_eq!(files.install(file(), false, 700..701), Err(Errno::EMFILE));
        assert_eq!(files.replace(file(), false, 5, 5), Err(Errno::EBADF));
        assert!(files.get(700).is_ok());
    }

    #[test]
    fn what_is_replaced_or_closed_is_let_go_of() {
        let files = Files::default();
        let (old, new) = (file(), file());
        files.install(old.clone(), true, 0..10).unwrap();
        assert_eq!(files.replace(new.clone(), false, 0, 10), Ok(0));
        assert_eq!((Arc::strong_count(&old), files.cloexec(0)), (1, Ok(false)));
        files.close_range(0, usize::MAX, true);
        assert_eq!(files.cloexec(0), Ok(true));
        files.close_range(0, usize::MAX, false);
        assert_eq!(Arc::strong_count(&new), 1);
    }

    #[test]
    fn a_copy_has_what_is_open() {
        let files = Files::default();
        for fd in [0, 300, 40] {
            files.install(file(), fd == 40, fd..1024).unwrap();
        }
        files.close(300).unwrap();
        let copy = files.copy();
        files.close(0).unwrap();
        assert_eq!(copy.descriptors(), [0, 40]);
        assert_eq!((copy.cloexec(0), copy.cloexec(40)), (Ok(false), Ok(true)));
        assert_eq!(copy.install(file(), false, 0..1024), Ok(1));
        assert_eq!(copy.install(file(), false, 500..1024), Ok(500));
    }

    #[test]
    fn tables_are_independent() {
        let (one, other) = (Files::default(), Files::default());
        one.install(file(), false, 0..10).unwrap();
        assert_eq!(other.close(0), Err(Errno::EBADF));
    }
}
