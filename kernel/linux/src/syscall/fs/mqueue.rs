//! Message queues.
use super::{install, opened, put_words, with_context, words};
use crate::{
    fs::{
        OpenFile,
        context::FsContext,
        downcast,
        mqueue::{self, MessageQueue, Notification, PRIORITIES, Size},
        permission::Access,
    },
    net::{address::family, socket::Socket},
    process::{self, signal::LAST},
    syscall::{
        signal::Event,
        time::{Timespec, deadline_at_realtime},
    },
};
use abi::{Errno, SysResult};
use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use linux_raw_sys::general as linux;
use machine::{mm::user, time::Instant};

/// Longest name.
const NAME: usize = 255;

/// A name, which the C library gives without the slash at its front.
fn name(addr: usize) -> Result<Vec<u8>, Errno> {
    let name = user::read_cstr(addr, NAME)?;
    match &name[..] {
        [] => Err(Errno::ENOENT),
        b"." | b".." => Err(Errno::EACCES),
        _ if name.contains(&b'/') => Err(Errno::EACCES),
        _ => Ok(name),
    }
}

/// mq_open(2)
pub fn mq_open(from: usize, flags: usize, mode: usize, attributes: usize) -> SysResult {
    let flags = flags as u32;
    let size = match attributes {
        0 => Size::default(),
        addr => {
            let [_, messages, bytes, _, ..]: [u64; 8] = words(addr)?;
            Size {
                messages: messages as usize,
                bytes: bytes as usize,
            }
        }
    };
    let name = name(from)?;
    if flags & linux::O_ACCMODE == linux::O_ACCMODE {
        return Err(Errno::EINVAL);
    }
    let mode = mode as u32 & 0o777 & !with_context(FsContext::umask);
    let create = (flags & linux::O_CREAT != 0).then_some((mode, size, flags & linux::O_EXCL != 0));
    let limit = process::with_current(|process| process.limits.soft(linux::RLIMIT_MSGQUEUE));
    let wanted = Access::of_flags(flags & linux::O_ACCMODE);
    let queue = mqueue::open(&name, wanted, create, limit as usize)?;
    let flags = flags & (linux::O_ACCMODE | linux::O_NONBLOCK);
    install(OpenFile::new(queue, flags), true)
}

/// mq_unlink(2)
pub fn mq_unlink(from: usize) -> SysResult {
    mqueue::unlink(&name(from)?)?;
    Ok(0)
}

/// The queue behind a descriptor.
fn queue(open: &Arc<OpenFile>) -> Result<&MessageQueue, Errno> {
    downcast(&*open.file).ok_or(Errno::EBADF)
}

fn deadline(addr: usize) -> Result<Option<Instant>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    let time: Timespec = user::read(addr)?;
    Ok(Some(deadline_at_realtime(time.to_ns()?)))
}

/// mq_timedsend(2)
pub fn mq_timedsend(
    fd: usize,
    text: usize,
    len: usize,
    priority: usize,
    timeout: usize,
) -> SysResult {
    let deadline = deadline(timeout)?;
    let priority = priority as u32;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL);
    }
    let open = opened(fd)?;
    let queue = queue(&open)?;
    if !open.writable() {
        return Err(Errno::EBADF);
    }
    if len > queue.size().bytes {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = vec![0; len];
    user::copy_in(text, &mut bytes)?;
    queue.send(bytes, priority, deadline, open.nonblocking())?;
    Ok(0)
}

/// mq_timedreceive(2)
pub fn mq_timedreceive(
    fd: usize,
    to: usize,
    len: usize,
    priority: usize,
    timeout: usize,
) -> SysResult {
    let deadline = deadline(timeout)?;
    let open = opened(fd)?;
    let queue = queue(&open)?;
    if !open.readable() {
        return Err(Errno::EBADF);
    }
    if len < queue.size().bytes {
        return Err(Errno::EMSGSIZE);
    }
    let (text, its_priority) = queue.receive(deadline, open.nonblocking())?;
    if priority != 0 {
        user::write(priority, &its_priority)?;
    }
    user::copy_out(to, &text)?;
    Ok(text.len())
}

/// What a message over a netlink socket says (`NOTIFY_COOKIE_LEN`); its last byte says what has happened.
const COOKIE: usize = 32;

/// `SIGEV_THREAD`: the caller's thread receives at a netlink socket, and is sent the cookie that is at `addr`.
fn thread(socket: i32, addr: u64) -> Result<Notification, Errno> {
    let mut cookie = [0; COOKIE];
    let addr = usize::try_from(addr).map_err(|_| Errno::EFAULT)?;
    user::copy_in(addr, &mut cookie)?;
    let socket = usize::try_from(socket).map_err(|_| Errno::EBADF)?;
    let file = opened(socket)?.file.clone();
    let socket: &Socket = downcast(&*file).ok_or(Errno::ENOTSOCK)?;
    if socket.sock.domain != family::NETLINK {
        return Err(Errno::EINVAL);
    }
    Ok(Notification::Thread(Box::new(move |what| {
        let mut cookie = cookie;
        cookie[COOKIE - 1] = what;
        if let Some(socket) = downcast::<Socket>(&*file) {
            // Without room it is lost.
            let _ = socket.protocol.told_by_kernel(&cookie);
        }
    })))
}

/// mq_notify(2)
pub fn mq_notify(fd: usize, event: usize) -> SysResult {
    let notification = match event {
        0 => None,
        addr => {
            let Event {
                signal,
                value,
                notify,
                ..
            } = user::read(addr)?;
            Some(match notify {
                linux::SIGEV_NONE => Notification::Nothing,
                linux::SIGEV_SIGNAL if signal == 0 => Notification::Nothing,
                linux::SIGEV_SIGNAL if (1..=LAST).contains(&signal) => {
                    Notification::Signal { signal, value }
                }
                linux::SIGEV_THREAD => thread(signal, value)?,
                _ => return Err(Errno::EINVAL),
            })
        }
    };
    let open = opened(fd)?;
    queue(&open)?.notify(notification)?;
    Ok(0)
}

/// mq_getsetattr(2)
pub fn mq_getsetattr(fd: usize, new: usize, old: usize) -> SysResult {
    const NONBLOCK: u64 = linux::O_NONBLOCK as u64;
    let flags = match new {
        0 => None,
        addr => {
            let [flags, ..]: [u64; 8] = words(addr)?;
            Some(flags)
        }
    };
    if flags.is_some_and(|flags| flags & !NONBLOCK != 0) {
        return Err(Errno::EINVAL);
    }
    let open = opened(fd)?;
    let queue = queue(&open)?;
    let Size { messages, bytes } = queue.size();
    let before = u64::from(open.flags() & linux::O_NONBLOCK);
    if let Some(flags) = flags {
        open.set_flags(flags as u32);
    }
    if old != 0 {
        let count = queue.count();
        let sizes = [messages, bytes, count].map(|size| size as u64);
        put_words(old, [before, sizes[0], sizes[1], sizes[2], 0, 0, 0, 0])?;
    }
    Ok(0)
}
