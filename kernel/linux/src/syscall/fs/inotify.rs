//! inotify(7)'s calls.
use super::{install, opened, path_from, with_context};
use crate::fs::{
    OpenFile,
    context::FsContext,
    downcast,
    notify::inotify::Inotify,
    path::{self, Last},
    permission::{self, Access},
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use core::any::Any;
use linux_raw_sys::general as linux;

/// What inotify_add_watch(2) knows.
const KNOWN: u32 = linux::IN_ALL_EVENTS
    | linux::IN_UNMOUNT
    | linux::IN_Q_OVERFLOW
    | linux::IN_IGNORED
    | linux::IN_ISDIR
    | linux::IN_ONLYDIR
    | linux::IN_DONT_FOLLOW
    | linux::IN_EXCL_UNLINK
    | linux::IN_MASK_CREATE
    | linux::IN_MASK_ADD
    | linux::IN_ONESHOT;

/// inotify_init(2)
pub fn inotify_init() -> SysResult {
    inotify_init1(0)
}

/// inotify_init1(2)
pub fn inotify_init1(flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !(linux::IN_CLOEXEC | linux::IN_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    // The same bits as `O_NONBLOCK` and `O_CLOEXEC`.
    let open = OpenFile::new(Inotify::new()?, linux::O_RDONLY | flags);
    install(open, flags & linux::IN_CLOEXEC != 0)
}

/// inotify_add_watch(2)
pub fn inotify_add_watch(fd: usize, path: usize, mask: usize) -> SysResult {
    let mask = mask as u32;
    if mask & KNOWN == 0 {
        return Err(Errno::EINVAL);
    }
    let open = opened(fd)?;
    let both = linux::IN_MASK_ADD | linux::IN_MASK_CREATE;
    if mask & both == both {
        return Err(Errno::EINVAL);
    }
    let instance: Arc<dyn Any + Send + Sync> = open.file.clone();
    let instance = instance.downcast::<Inotify>().map_err(|_| Errno::EINVAL)?;
    let last = if mask & linux::IN_DONT_FOLLOW != 0 {
        Last::Keep
    } else {
        Last::Follow
    };
    let path = path_from(path)?;
    let target = path::walk(&with_context(FsContext::start), &path, last)?;
    let node = &target.found()?.node;
    if mask & linux::IN_ONLYDIR != 0 && !node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    permission::check(node, Access::READ)?;
    Ok(instance.add_watch(node, mask)? as usize)
}

/// inotify_rm_watch(2)
pub fn inotify_rm_watch(fd: usize, descriptor: usize) -> SysResult {
    let open = opened(fd)?;
    let instance = downcast::<Inotify>(&*open.file).ok_or(Errno::EINVAL)?;
    instance.remove_watch(descriptor as i32)?;
    Ok(0)
}
