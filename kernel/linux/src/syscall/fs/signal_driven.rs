//! fcntl(2)'s and ioctl(2)'s part about owners of open file descriptions, and what they are sent.
use crate::fs::{OpenFile, notify::dnotify, signal_driven};
use crate::process::signal::{self, owner::Owner, owner::Ownership};
use crate::process::{self, with_current};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use core::any::Any;
use linux_raw_sys::general as linux;
use machine::mm::user;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct f_owner_ex`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
struct OwnerEx {
    kind: u32,
    id: i32,
}

/// Who owns a description: as it tells them, and as they are known here.
fn owner(open: &OpenFile) -> Arc<dyn signal_driven::Owner> {
    let owner = open.signals.owner(|| Arc::new(Ownership::default()));
    open.file.owned(&owner);
    owner
}

fn ownership(open: &OpenFile) -> Arc<Ownership> {
    let owner: Arc<dyn Any + Send + Sync> = owner(open);
    owner.downcast().expect("there are no other ones")
}

/// The calling process.
fn caller() -> Owner {
    Owner::Process(with_current(|process| process.pid))
}

/// `O_ASYNC` set or cleared by `FIOASYNC`: `ENOTTY` if the file sends no signals.
pub(super) fn set_async(fd: i32, open: &OpenFile, on: bool) -> Result<(), Errno> {
    if on == (open.flags() & linux::FASYNC != 0) {
        return Ok(());
    }
    if on && let Some(group) = open.file.foreground() {
        let group = (group != 0).then_some(Owner::Group(group));
        ownership(open).set_first_owner(group.unwrap_or_else(caller));
    }
    open.set_async(on.then(|| owner(open)), fd)
}

/// `O_ASYNC` set or cleared by `F_SETFL`, which files that send no signals ignore.
pub(super) fn set_flag(fd: i32, open: &OpenFile, on: bool) -> Result<(), Errno> {
    match set_async(fd, open, on) {
        Err(Errno::ENOTTY) => Ok(()),
        other => other,
    }
}

/// `F_NOTIFY`
pub(super) fn notify(fd: i32, open: &OpenFile, wanted: u32) -> Result<(), Errno> {
    let files = with_current(|process| process.files().lock_owner());
    let which = [open.lock_owner(), files];
    dnotify::watch(&*open.file, which, owner(open), fd, wanted)?;
    ownership(open).set_first_owner(caller());
    Ok(())
}

/// `F_SETOWN`, `F_SETSIG` and their like; `EINVAL` for other commands.
pub(super) fn fcntl(open: &OpenFile, command: u32, arg: usize) -> SysResult {
    match command {
        linux::F_GETOWN => {
            let id = isize::try_from(get_owner(open)).map_err(|_| Errno::EINVAL)?;
            return Ok(id.cast_unsigned());
        }
        linux::F_SETOWN => {
            // An int, whatever lies above it.
            let low = arg & 0xffff_ffff;
            let id = u32::try_from(low).map_err(|_| Errno::EINVAL)?;
            set_owner(open, id.cast_signed())?;
        }
        linux::F_GETOWN_EX => {
            let (kind, id) = match ownership(open).owner() {
                Some(Owner::Thread(id)) => (linux::F_OWNER_TID, id),
                Some(Owner::Process(id)) => (linux::F_OWNER_PID, id),
                Some(Owner::Group(id)) => (linux::F_OWNER_PGRP, id),
                None => (linux::F_OWNER_TID, 0),
            };
            user::write(arg, &OwnerEx { kind, id })?;
        }
        linux::F_SETOWN_EX => {
            let OwnerEx { kind, id } = user::read(arg)?;
            let owner = match kind {
                linux::F_OWNER_TID => Owner::Thread(id),
                linux::F_OWNER_PID => Owner::Process(id),
                linux::F_OWNER_PGRP => Owner::Group(id),
                _ => return Err(Errno::EINVAL),
            };
            own(open, (id != 0).then_some(owner))?;
        }
        linux::F_GETOWNER_UIDS => user::write(arg, &ownership(open).users())?,
        linux::F_GETSIG => {
            let signal = ownership(open).signal();
            return usize::try_from(signal).map_err(|_| Errno::EINVAL);
        }
        linux::F_SETSIG => match i32::try_from(arg) {
            Ok(signal @ 0..=signal::LAST) => ownership(open).set_signal(signal),
            _ => return Err(Errno::EINVAL),
        },
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `F_GETOWN`: a process' or thread's id, or a group's, negative.
pub(super) fn get_owner(open: &OpenFile) -> i32 {
    match ownership(open).owner() {
        Some(Owner::Thread(id) | Owner::Process(id)) => id,
        Some(Owner::Group(id)) => -id,
        None => 0,
    }
}

/// `F_SETOWN`: as [`get_owner`]; `ESRCH` if there is no such process or group.
pub(super) fn set_owner(open: &OpenFile, id: i32) -> Result<(), Errno> {
    let owner = match id {
        i32::MIN => return Err(Errno::EINVAL),
        0 => None,
        1.. => Some(Owner::Process(id)),
        _ => Some(Owner::Group(-id)),
    };
    own(open, owner)
}

fn own(open: &OpenFile, owner: Option<Owner>) -> Result<(), Errno> {
    let is_thread =
        |owner| matches!(owner, Owner::Process(id) if process::process_of(id).is_some());
    if owner.is_some_and(|owner: Owner| !owner.lives() && !is_thread(owner)) {
        return Err(Errno::ESRCH);
    }
    ownership(open).set_owner(owner);
    Ok(())
}
