//! Files without a name: pipe, eventfd, timerfd, memfd.
use super::{descriptor, install, install_anonymous, opened, put_words, with_files, words};
use crate::fs::{
    OpenFile, downcast,
    event::{EventFd, Setting, TimerFd},
    mount::Path,
    open::NodeFile,
    page_cache::{Content, Seals},
    pipe,
    signalfd::SignalFd,
    tree::{Kind, Node, dev},
};
use abi::{Errno, SysResult};
use alloc::sync::Arc;
use linux_raw_sys::general as linux;
use machine::mm::user;

/// Installs two descriptors and tells the program both.
pub(in crate::syscall) fn install_pair(
    addr: usize,
    first: Arc<OpenFile>,
    second: Arc<OpenFile>,
    cloexec: bool,
) -> SysResult {
    let one = install(first, cloexec)? as i32;
    let both = install(second, cloexec).and_then(|two| {
        let two = two as i32;
        let bytes = [one.to_le_bytes(), two.to_le_bytes()];
        user::copy_out(addr, bytes.as_flattened()).inspect_err(|_| {
            // It was installed just now.
            let _ = with_files(|files| files.close(two));
        })
    });
    if both.is_err() {
        // As above.
        let _ = with_files(|files| files.close(one));
    }
    both.map(|()| 0)
}

/// pipe(2)
pub fn pipe(fds: usize) -> SysResult {
    pipe2(fds, 0)
}
/// pipe2(2); `O_DIRECT` (packets) is not supported.
pub fn pipe2(fds: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !(linux::O_CLOEXEC | linux::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (read, write) = pipe::pair()?;
    let status = flags & linux::O_NONBLOCK;
    install_pair(
        fds,
        OpenFile::new(read, linux::O_RDONLY | status),
        OpenFile::new(write, linux::O_WRONLY | status),
        flags & linux::O_CLOEXEC != 0,
    )
}

/// eventfd(2) without flags.
pub fn eventfd(count: usize) -> SysResult {
    eventfd2(count, 0)
}
/// eventfd2(2)
pub fn eventfd2(count: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !(linux::EFD_CLOEXEC | linux::EFD_NONBLOCK | linux::EFD_SEMAPHORE) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = EventFd::new(
        count as u64 & 0xffff_ffff,
        flags & linux::EFD_SEMAPHORE != 0,
    );
    install_anonymous(
        file,
        flags & linux::EFD_CLOEXEC != 0,
        flags & linux::EFD_NONBLOCK != 0,
    )
}

/// signalfd(2)
pub fn signalfd(fd: usize, mask: usize, size: usize) -> SysResult {
    signalfd4(fd, mask, size, 0)
}

/// signalfd4(2); its flags are eventfd's.
pub fn signalfd4(fd: usize, mask: usize, size: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !(linux::EFD_CLOEXEC | linux::EFD_NONBLOCK) != 0 || size != 8 {
        return Err(Errno::EINVAL);
    }
    let set: u64 = user::read(mask)?;
    if fd as i32 != -1 {
        let open = descriptor(fd)?;
        let file = downcast::<SignalFd>(&*open.file).ok_or(Errno::EINVAL)?;
        file.set(set);
        return Ok(fd);
    }
    install_anonymous(
        SignalFd::new(set),
        flags & linux::EFD_CLOEXEC != 0,
        flags & linux::EFD_NONBLOCK != 0,
    )
}

/// timerfd_create(2)
pub fn timerfd_create(clock: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !(linux::TFD_CLOEXEC | linux::TFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let realtime = match clock as u32 {
        linux::CLOCK_REALTIME => true,
        linux::CLOCK_MONOTONIC | linux::CLOCK_BOOTTIME => false,
        _ => return Err(Errno::EINVAL),
    };
    install_anonymous(
        TimerFd::new(realtime),
        flags & linux::TFD_CLOEXEC != 0,
        flags & linux::TFD_NONBLOCK != 0,
    )
}

fn with_timer<R>(fd: usize, f: impl FnOnce(&TimerFd) -> R) -> Result<R, Errno> {
    let open = opened(fd)?;
    downcast::<TimerFd>(&*open.file).map(f).ok_or(Errno::EINVAL)
}

fn put_times(addr: usize, (value, interval): (u64, u64)) -> Result<(), Errno> {
    let second = super::SECOND;
    let words = [
        interval / second,
        interval % second,
        value / second,
        value % second,
    ];
    put_words(addr, words)
}

/// timerfd_settime(2)
pub fn timerfd_settime(fd: usize, flags: usize, new: usize, old: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !(linux::TFD_TIMER_ABSTIME | linux::TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    // Faults before anything is set.
    let [_, _, _, _] = words(new)?;
    let interval = super::timespec(new)?;
    let value = super::timespec(new.wrapping_add(16))?;
    let setting = Setting {
        value,
        interval,
        absolute: flags & linux::TFD_TIMER_ABSTIME != 0,
        cancels: flags & linux::TFD_TIMER_CANCEL_ON_SET != 0,
    };
    let before = with_timer(fd, |timer| timer.set(setting))??;
    if old != 0 {
        put_times(old, before)?;
    }
    Ok(0)
}

/// timerfd_gettime(2)
pub fn timerfd_gettime(fd: usize, current: usize) -> SysResult {
    let times = with_timer(fd, TimerFd::get)?;
    put_times(current, times)?;
    Ok(0)
}

/// memfd_create(2), without huge pages.
pub fn memfd_create(name: usize, flags: usize) -> SysResult {
    let flags = flags as u32;
    let has = |flag| flags & flag != 0;
    let exec = linux::MFD_EXEC | linux::MFD_NOEXEC_SEAL;
    let known = linux::MFD_CLOEXEC | linux::MFD_ALLOW_SEALING | linux::MFD_HUGETLB | exec;
    let sizes = linux::MFD_HUGE_MASK << linux::MFD_HUGE_SHIFT;
    let wrong = match has(linux::MFD_HUGETLB) {
        true => flags & !(known | sizes),
        false => flags & !known,
    };
    if wrong != 0 || flags & exec == exec {
        return Err(Errno::EINVAL);
    }
    let name = user::read_cstr(name, 249).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        other => other,
    })?;
    if has(linux::MFD_HUGETLB) {
        // As on a Linux without huge pages.
        return Err(Errno::ENOSYS);
    }
    let (seals, mode) = if has(linux::MFD_NOEXEC_SEAL) {
        (Seals::EXEC, 0o666)
    } else if has(linux::MFD_ALLOW_SEALING) {
        (Seals::empty(), 0o777)
    } else {
        (Seals::SEAL, 0o777)
    };
    let kind = Kind::Regular(Content::sealable(seals));
    let node = Node::made(dev::ANONYMOUS, linux::S_IFREG | mode, kind);
    node.attributes.lock().nlink = 0;
    let path = [&b"/memfd:"[..], &name].concat();
    let flags_of_file = linux::O_RDWR | linux::O_LARGEFILE;
    let open = OpenFile::new(NodeFile::new(Path::detached(node), path), flags_of_file);
    install(open, has(linux::MFD_CLOEXEC))
}
