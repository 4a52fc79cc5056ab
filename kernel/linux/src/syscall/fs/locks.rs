//! flock(2), and fcntl(2)'s locks: what bytes a `struct flock` means, and whose they are to be.
use super::{opened, with_files};
use crate::{
    fs::{
        OpenFile,
        descriptor::Files,
        locks::{self, Class, END, Lock, Mode, Owner},
    },
    process,
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use linux_raw_sys::general as linux;
use machine::mm::user;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The old mandatory locks of flock(2), which mean nothing any more.
const LOCK_MAND: u32 = 32;

// `l_type` is a short.
const F_RDLCK: u16 = 0;
const F_WRLCK: u16 = 1;
const F_UNLCK: u16 = 2;

/// `struct flock`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
struct Flock {
    kind: u16,
    whence: u16,
    unused: u32,
    start: i64,
    len: i64,
    pid: i32,
    end: u32,
}

impl Flock {
    /// First and last byte.
    fn range(&self, open: &OpenFile) -> Result<(i64, i64), Errno> {
        let base = match self.whence.into() {
            linux::SEEK_SET => 0,
            linux::SEEK_CUR => open.offset.lock().cast_signed(),
            linux::SEEK_END => open.file.metadata()?.size.cast_signed(),
            _ => return Err(Errno::EINVAL),
        };
        let start = base.checked_add(self.start).ok_or(Errno::EOVERFLOW)?;
        if start < 0 {
            return Err(Errno::EINVAL);
        }
        match self.len {
            0 => Ok((start, END)),
            len if len > 0 => match start.checked_add(len - 1) {
                Some(last) => Ok((start, last)),
                None => Err(Errno::EOVERFLOW),
            },
            len => match start.checked_add(len) {
                Some(first) if first >= 0 => Ok((first, start - 1)),
                _ => Err(Errno::EINVAL),
            },
        }
    }

    /// The lock it means, and whether it is one: `F_UNLCK` has a range only.
    fn lock(&self, open: &OpenFile, owner: Owner) -> Result<(Lock, bool), Errno> {
        let (first, last) = self.range(open)?;
        let mode = match self.kind {
            F_RDLCK | F_UNLCK => Mode::Shared,
            F_WRLCK => Mode::Exclusive,
            _ => return Err(Errno::EINVAL),
        };
        let lock = Lock {
            owner,
            mode,
            first,
            last,
            pid: process::with_current(|process| process.pid),
        };
        Ok((lock, self.kind != F_UNLCK))
    }
}

fn is_open_file_command(command: u32) -> bool {
    matches!(
        command,
        linux::F_OFD_GETLK | linux::F_OFD_SETLK | linux::F_OFD_SETLKW
    )
}

/// Who an fcntl(2) command is about.
fn owner(open: &OpenFile, command: u32) -> Owner {
    if is_open_file_command(command) {
        open.lock_owner()
    } else {
        with_files(Files::lock_owner)
    }
}

/// `F_GETLK`, `F_OFD_GETLK`.
pub(super) fn get(open: &OpenFile, command: u32, addr: usize) -> Result<(), Errno> {
    let mut flock: Flock = user::read(addr)?;
    let (lock, locks) = flock.lock(open, owner(open, command))?;
    if !locks || is_open_file_command(command) && flock.pid != 0 {
        return Err(Errno::EINVAL);
    }
    match locks::conflicting(&*open.file, &lock)? {
        None => flock.kind = F_UNLCK,
        Some(other) => {
            flock.kind = match other.mode {
                Mode::Shared => F_RDLCK,
                Mode::Exclusive => F_WRLCK,
            };
            flock.whence = 0;
            flock.start = other.first;
            flock.len = match other.last {
                END => 0,
                last => last - other.first + 1,
            };
            flock.pid = match other.owner {
                Owner::Files(_) => other.pid,
                Owner::Open(_) => -1,
            };
        }
    }
    user::write(addr, &flock)
}

/// `F_SETLK`, `F_SETLKW`, `F_OFD_SETLK`, `F_OFD_SETLKW`.
pub(super) fn set(fd: usize, open: &Arc<OpenFile>, command: u32, addr: usize) -> Result<(), Errno> {
    let flock: Flock = user::read(addr)?;
    let (lock, locks) = flock.lock(open, owner(open, command))?;
    let allowed = match flock.kind {
        F_RDLCK => open.readable(),
        F_WRLCK => open.writable(),
        _ => true,
    };
    if !allowed {
        return Err(Errno::EBADF);
    }
    if is_open_file_command(command) && flock.pid != 0 {
        return Err(Errno::EINVAL);
    }
    if !locks {
        return locks::unlock(&*open.file, Class::Record, &lock);
    }
    let wait = matches!(command, linux::F_SETLKW | linux::F_OFD_SETLKW);
    locks::lock(&*open.file, Class::Record, lock, wait)?;
    // Closed meanwhile by another thread: that has found nothing to unlock.
    let same = with_files(|files| files.get(fd as i32)).is_ok_and(|now| Arc::ptr_eq(&now, open));
    if !same && matches!(lock.owner, Owner::Files(_)) {
        locks::unlock(&*open.file, Class::Record, &lock)?;
        return Err(Errno::EBADF);
    }
    Ok(())
}

/// flock(2)
pub fn flock(fd: usize, operation: usize) -> SysResult {
    let operation = operation as u32;
    if operation & LOCK_MAND != 0 {
        return Ok(0);
    }
    let mode = match operation & !linux::LOCK_NB {
        linux::LOCK_SH => Some(Mode::Shared),
        linux::LOCK_EX => Some(Mode::Exclusive),
        linux::LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let open = opened(fd)?;
    let lock = Lock {
        owner: open.lock_owner(),
        mode: mode.unwrap_or(Mode::Shared),
        first: 0,
        last: END,
        pid: process::with_current(|process| process.pid),
    };
    match mode {
        None => locks::unlock(&*open.file, Class::Flock, &lock)?,
        Some(_) => {
            let wait = operation & linux::LOCK_NB == 0;
            locks::lock(&*open.file, Class::Flock, lock, wait)?;
        }
    }
    Ok(0)
}
