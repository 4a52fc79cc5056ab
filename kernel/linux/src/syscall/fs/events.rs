//! epoll.
use super::{
    descriptor, install_anonymous, opened,
    wait::{after, deadline, mask},
};
use crate::{
    fs::{
        downcast,
        epoll::{Epoll, Taken},
    },
    process,
};
use abi::{Errno, SysResult};
use linux_raw_sys::general as linux;
use machine::{mm::user, time::Instant};

/// `struct epoll_event` is packed on x86-64.
const EVENT: usize = 12;

/// epoll_create(2)
pub fn epoll_create(size: usize) -> SysResult {
    if size as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(0)
}

/// epoll_create1(2)
pub fn epoll_create1(flags: usize) -> SysResult {
    let flags = flags as u32;
    if flags & !linux::EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    install_anonymous(Epoll::new(), flags != 0, false)
}

/// epoll_ctl(2)
pub fn epoll_ctl(epfd: usize, operation: usize, fd: usize, event: usize) -> SysResult {
    let operation = operation as u32;
    let mut raw = [0; EVENT];
    if operation != linux::EPOLL_CTL_DEL {
        user::copy_in(event, &mut raw)?;
    }
    let epoll = opened(epfd)?;
    let open = opened(fd)?;
    let [e0, e1, e2, e3, data @ ..] = raw;
    let event = (
        u32::from_le_bytes([e0, e1, e2, e3]),
        u64::from_le_bytes(data),
    );
    downcast::<Epoll>(&*epoll.file)
        .ok_or(Errno::EINVAL)?
        .control(operation, fd as i32, &open, event)?;
    Ok(0)
}

fn wait(epfd: usize, events: usize, max: usize, until: Option<Instant>) -> SysResult {
    let max = usize::try_from(max as i32).map_err(|_| Errno::EINVAL)?;
    if max == 0 || max > i32::MAX as usize / EVENT {
        return Err(Errno::EINVAL);
    }
    let epoll = descriptor(epfd)?;
    let epoll = downcast::<Epoll>(&*epoll.file).ok_or(Errno::EINVAL)?;
    let mut taken = Taken::new();
    epoll.wait(max, until, &mut taken)?;
    for (index, (ready, data)) in taken.iter().enumerate() {
        let mut event = [0; EVENT];
        event[..4].copy_from_slice(&ready.to_le_bytes());
        event[4..].copy_from_slice(&data.to_le_bytes());
        user::copy_out(events.wrapping_add(index * EVENT), &event)?;
    }
    Ok(taken.len())
}

fn milliseconds(timeout: usize) -> Option<Instant> {
    u64::try_from(timeout as i32)
        .ok()
        .and_then(|ms| after(ms * 1_000_000))
}

/// epoll_wait(2)
pub fn epoll_wait(epfd: usize, events: usize, max: usize, timeout: usize) -> SysResult {
    wait(epfd, events, max, milliseconds(timeout))
}

/// epoll_pwait(2)
pub fn epoll_pwait(
    epfd: usize,
    events: usize,
    max: usize,
    timeout: usize,
    sigmask: usize,
    size: usize,
) -> SysResult {
    let until = milliseconds(timeout);
    process::signal::with_mask(mask(sigmask, size)?, || wait(epfd, events, max, until))
}

/// epoll_pwait2(2)
pub fn epoll_pwait2(
    epfd: usize,
    events: usize,
    max: usize,
    timeout: usize,
    sigmask: usize,
    size: usize,
) -> SysResult {
    let until = deadline(timeout)?;
    process::signal::with_mask(mask(sigmask, size)?, || wait(epfd, events, max, until))
}
