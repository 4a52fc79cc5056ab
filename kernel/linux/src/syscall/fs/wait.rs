//! poll and select.
use super::{SECOND, descriptor, put_words, timespec, vectors::zeroed, words};
use crate::{
    fs::{File, Poll, descriptor::MAX_LIMIT, epoll},
    process,
    process::restart::Restart,
};
use abi::{Errno, SysResult};
use alloc::{sync::Arc, vec, vec::Vec};
use linux_raw_sys::general as linux;
use machine::{
    mm::user,
    sync::{Signals, WaitError, Waiter},
    time::Instant,
};

const POLLNVAL: u16 = linux::POLLNVAL as u16;
const READ_SET: Poll = Poll::IN.union(Poll::HUP).union(Poll::ERR);
const WRITE_SET: Poll = Poll::OUT.union(Poll::ERR);

/// The time `ns` from now; `None` when that is beyond all clocks.
pub(in crate::syscall) fn after(ns: u64) -> Option<Instant> {
    Instant::now().0.checked_add(ns).map(Instant)
}

/// The mask that ppoll and its like take; `None` for none.
pub(super) fn mask(addr: usize, size: usize) -> Result<Option<u64>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let [mask] = words(addr)?;
    Ok(Some(mask))
}

/// Calls `check` until it returns more than 0, whenever one of the files may have changed, up to the deadline.
fn wait(
    files: &[Arc<dyn File>],
    deadline: Option<Instant>,
    mut check: impl FnMut() -> usize,
) -> SysResult {
    let ready = check();
    if ready > 0 || deadline.is_some_and(|at| at <= Instant::now()) {
        return Ok(ready);
    }
    let waiter = Waiter::new();
    loop {
        let registrations = epoll::register(files, &waiter);
        let ready = check();
        if ready > 0 {
            return Ok(ready);
        }
        match waiter.wait(deadline, Signals::Interrupt) {
            Ok(()) => (),
            Err(WaitError::TimedOut) => return Ok(check()),
            Err(WaitError::Interrupted) => return Err(Errno::ERESTARTNOHAND),
        }
        drop(registrations);
    }
}

/// A descriptor and the events asked for.
struct Asked {
    file: Option<Arc<dyn File>>,
    /// Negative descriptors are passed over.
    ignored: bool,
    events: u16,
}

impl Asked {
    fn ready(&self) -> u16 {
        match &self.file {
            Some(file) => {
                let always = (linux::POLLERR | linux::POLLHUP) as u16;
                epoll::events_of(file.poll()) as u16 & (self.events | always)
            }
            None if self.ignored => 0,
            None => POLLNVAL,
        }
    }
}

fn do_poll(fds: usize, count: usize, deadline: Option<Instant>) -> SysResult {
    if count > process::with_current(|process| process.limits.descriptors()) {
        return Err(Errno::EINVAL);
    }
    let mut raw = zeroed(count * 8)?;
    user::copy_in(fds, &mut raw)?;
    let asked: Vec<Asked> = raw
        .chunks_exact(8)
        .map(|entry| {
            let fd = i32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let file = descriptor(fd as usize).ok();
            Asked {
                file: file
                    .filter(|open| open.flags() & linux::O_PATH == 0)
                    .map(|open| open.file.clone()),
                ignored: fd < 0,
                events: u16::from_le_bytes([entry[4], entry[5]]),
            }
        })
        .collect();
    let files: Vec<_> = asked.iter().filter_map(|one| one.file.clone()).collect();
    let ready = wait(&files, deadline, || {
        asked.iter().filter(|one| one.ready() != 0).count()
    })?;
    let mut told = 0;
    for (entry, one) in raw.chunks_exact_mut(8).zip(&asked) {
        let events = if ready > 0 { one.ready() } else { 0 };
        told += usize::from(events != 0);
        entry[6..].copy_from_slice(&events.to_le_bytes());
    }
    user::copy_out(fds, &raw)?;
    Ok(told)
}

/// poll(2)
pub fn poll(fds: usize, count: usize, timeout: usize) -> SysResult {
    let timeout = timeout as i32;
    let deadline = u64::try_from(timeout)
        .ok()
        .and_then(|ms| after(ms * 1_000_000));
    poll_until(fds, count, deadline)
}

/// poll(2) up to a time.
pub(crate) fn poll_until(fds: usize, count: usize, deadline: Option<Instant>) -> SysResult {
    let restart = Restart::Poll {
        fds,
        count,
        deadline,
    };
    do_poll(fds, count, deadline).map_err(|error| match error {
        Errno::ERESTARTNOHAND => restart.arrange(),
        error => error,
    })
}

/// The deadline that a timespec in memory gives; none for no timespec.
pub(in crate::syscall) fn deadline(addr: usize) -> Result<Option<Instant>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    Ok(after(timespec(addr)?))
}

/// Time left, as Linux writes it back.
fn put_left(addr: usize, deadline: Option<Instant>, unit: u64) {
    if let (true, Some(deadline)) = (addr != 0, deadline) {
        let left = deadline.0.saturating_sub(Instant::now().0);
        // Memory that cannot be written is no error here.
        let _ = put_words(addr, [left / SECOND, left % SECOND / unit]);
    }
}

/// ppoll(2)
pub fn ppoll(fds: usize, count: usize, timeout: usize, sigmask: usize, size: usize) -> SysResult {
    let until = deadline(timeout)?;
    let result = process::signal::with_mask(mask(sigmask, size)?, || do_poll(fds, count, until));
    put_left(timeout, until, 1);
    result
}

/// A set of descriptors in the program's memory.
struct Set {
    addr: usize,
    words: Vec<u64>,
}

impl Set {
    fn read(addr: usize, count: usize) -> Result<Self, Errno> {
        let mut set = vec![0; count.div_ceil(64)];
        if addr != 0 {
            for (index, word) in set.iter_mut().enumerate() {
                [*word] = words(addr.wrapping_add(index * 8))?;
            }
        }
        Ok(Self { addr, words: set })
    }
    fn has(&self, fd: usize) -> bool {
        self.words[fd / 64] >> (fd % 64) & 1 != 0
    }
    fn write(&self, ready: &[u64]) -> Result<(), Errno> {
        if self.addr == 0 {
            return Ok(());
        }
        for (index, &word) in ready.iter().enumerate() {
            put_words(self.addr.wrapping_add(index * 8), [word])?;
        }
        Ok(())
    }
}

fn do_select(count: usize, sets: [usize; 3], deadline: Option<Instant>) -> SysResult {
    let count = count as i32;
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let count = count.min(MAX_LIMIT);
    let [read, write, except] = sets.map(|addr| Set::read(addr, count));
    let sets = [(read?, READ_SET), (write?, WRITE_SET), (except?, Poll::PRI)];
    let mut files = Vec::new();
    let mut asked = Vec::new();
    for fd in 0..count {
        if sets.iter().any(|(set, _)| set.has(fd)) {
            let file = descriptor(fd)?.file.clone();
            files.push(file.clone());
            asked.push((fd, file));
        }
    }
    let mut ready = [(); 3].map(|()| vec![0u64; count.div_ceil(64)]);
    let found = wait(&files, deadline, || {
        let mut found = 0;
        ready.iter_mut().for_each(|set| set.fill(0));
        for (fd, file) in &asked {
            let events = file.poll();
            for ((set, interest), ready) in sets.iter().zip(&mut ready) {
                if set.has(*fd) && events.intersects(*interest) {
                    ready[fd / 64] |= 1 << (fd % 64);
                    found += 1;
                }
            }
        }
        found
    })?;
    for ((set, _), ready) in sets.iter().zip(&ready) {
        set.write(ready)?;
    }
    Ok(found)
}

/// select(2)
pub fn select(count: usize, read: usize, write: usize, except: usize, timeout: usize) -> SysResult {
    let mut until = None;
    if timeout != 0 {
        let [seconds, micros] = words(timeout)?;
        if (seconds as i64) < 0 || (micros as i64) < 0 {
            return Err(Errno::EINVAL);
        }
        let ns = seconds
            .saturating_mul(SECOND)
            .saturating_add(micros.saturating_mul(1000));
        until = after(ns);
    }
    let result = do_select(count, [read, write, except], until);
    put_left(timeout, until, 1000);
    result
}

/// pselect(2)
pub fn pselect6(
    count: usize,
    read: usize,
    write: usize,
    except: usize,
    timeout: usize,
    sigmask: usize,
) -> SysResult {
    let until = deadline(timeout)?;
    let mask = if sigmask == 0 {
        None
    } else {
        let [addr, size] = words(sigmask)?;
        mask(addr as usize, size as usize)?
    };
    let result =
        process::signal::with_mask(mask, || do_select(count, [read, write, except], until));
    put_left(timeout, until, 1);
    result
}
