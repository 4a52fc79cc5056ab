//! The descriptor table.
use super::open::OpenFile;
use crate::{sync::SpinLock, syscall::Errno};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Highest value of the limit.
pub const MAX_LIMIT: usize = 1 << 20;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    cloexec: bool,
}

static TABLE: SpinLock<Vec<Option<Slot>>> = SpinLock::new(Vec::new());
/// `RLIMIT_NOFILE`'s soft value.
static LIMIT: AtomicUsize = AtomicUsize::new(1024);

/// `RLIMIT_NOFILE`'s soft value.
pub fn limit() -> usize {
    LIMIT.load(Ordering::Relaxed)
}
/// Sets `RLIMIT_NOFILE`'s soft value.
pub fn set_limit(limit: usize) {
    LIMIT.store(limit.min(MAX_LIMIT), Ordering::Relaxed);
}

/// Makes the table at least `len` long; memory is allocated and freed outside the lock.
fn grow(len: usize) -> Result<(), Errno> {
    if TABLE.lock().len() >= len {
        return Ok(());
    }
    let mut longer = Vec::new();
    longer
        .try_reserve_exact(len.next_power_of_two().max(256))
        .map_err(|_| Errno::ENOMEM)?;
    let mut table = TABLE.lock();
    if table.len() < len && longer.capacity() >= table.len() {
        longer.append(&mut table);
        longer.resize(longer.capacity(), None);
        core::mem::swap(&mut *table, &mut longer);
    }
    drop(table);
    Ok(())
}

/// The description behind a descriptor; `EBADF`.
pub fn get(fd: i32) -> Result<Arc<OpenFile>, Errno> {
    let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
    let table = TABLE.lock();
    match table.get(index) {
        Some(Some(slot)) => Ok(slot.file.clone()),
        _ => Err(Errno::EBADF),
    }
}

/// The lowest free descriptor from `from` on gets `file`; `EMFILE`.
pub fn install_from(file: Arc<OpenFile>, cloexec: bool, from: usize) -> Result<usize, Errno> {
    let limit = limit();
    loop {
        let mut table = TABLE.lock();
        let len = table.len();
        let free = (from..len).find(|&fd| table[fd].is_none());
        let fd = free.unwrap_or(len.max(from));
        if fd >= limit {
            return Err(Errno::EMFILE);
        }
        if let Some(slot) = table.get_mut(fd) {
            *slot = Some(Slot { file, cloexec });
            return Ok(fd);
        }
        drop(table);
        grow(fd + 1)?;
    }
}

/// The lowest free descriptor gets `file`; `EMFILE`.
pub fn install(file: Arc<OpenFile>, cloexec: bool) -> Result<usize, Errno> {
    install_from(file, cloexec, 0)
}

/// dup3(2) without its checks: `fd` gets `file`, what was there is closed.
pub fn replace(file: Arc<OpenFile>, cloexec: bool, fd: i32) -> Result<usize, Errno> {
    let fd = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
    if fd >= limit() {
        return Err(Errno::EBADF);
    }
    grow(fd + 1)?;
    let old = TABLE.lock()[fd].replace(Slot { file, cloexec });
    drop(old);
    Ok(fd)
}

/// close(2).
pub fn close(fd: i32) -> Result<(), Errno> {
    let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
    let old = TABLE.lock().get_mut(index).and_then(Option::take);
    // The description may end here: not under the lock.
    old.map(drop).ok_or(Errno::EBADF)
}

/// close_range(2), or its `CLOSE_RANGE_CLOEXEC`.
pub fn close_range(first: usize, last: usize, mark: bool) {
    let end = TABLE.lock().len().min(last.saturating_add(1));
    for fd in first..end {
        let old = match &mut TABLE.lock()[fd] {
            Some(slot) if mark => {
                slot.cloexec = true;
                None
            }
            slot => slot.take(),
        };
        drop(old);
    }
}

/// `FD_CLOEXEC` of a descriptor.
pub fn cloexec(fd: i32) -> Result<bool, Errno> {
    with_slot(fd, |slot| slot.cloexec)
}

/// Sets `FD_CLOEXEC`.
pub fn set_cloexec(fd: i32, cloexec: bool) -> Result<(), Errno> {
    with_slot(fd, |slot| slot.cloexec = cloexec)
}

fn with_slot<R>(fd: i32, f: impl FnOnce(&mut Slot) -> R) -> Result<R, Errno> {
    let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
    match TABLE.lock().get_mut(index) {
        Some(Some(slot)) => Ok(f(slot)),
        _ => Err(Errno::EBADF),
    }
}

/// The descriptors that are open.
pub fn open_descriptors() -> Vec<i32> {
    let len = TABLE.lock().len();
    let mut open = Vec::with_capacity(len);
    let table = TABLE.lock();
    for (fd, slot) in table.iter().enumerate().take(len) {
        if slot.is_some() {
            open.push(fd as i32);
        }
    }
    open
}
