//! POSIX message queues, mq_overview(7). Their names are not in the file tree.
use super::{
    Edges, File, Metadata, Poll,
    numbers::next_ino,
    permission::{self, Access},
    tree::Attributes,
};
use crate::{
    credentials,
    process::{
        self, Pid,
        signal::{Recipient, SigInfo},
    },
};
use abi::Errno;
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BinaryHeap},
    format,
    sync::Arc,
    vec::Vec,
};
use core::{
    cmp::Reverse,
    sync::atomic::{AtomicUsize, Ordering},
};
use linux_raw_sys::general as linux;
use machine::{
    sync::{Mutex, Signals, SpinLock, WaitError, WaitQueue},
    time::{Instant, realtime_ns},
};

/// Priorities are below this (`MQ_PRIO_MAX`).
pub const PRIORITIES: u32 = 32768;
/// What `struct mq_attr` may ask for with `CAP_SYS_RESOURCE` (`HARD_MSGMAX`, `HARD_MSGSIZEMAX`).
const MOST: Size = Size {
    messages: 65536,
    bytes: 16 << 20,
};
/// What it may ask for else (`DFLT_MSGMAX`, `DFLT_MSGSIZEMAX`).
const ORDINARY: Size = Size {
    messages: 10,
    bytes: 8192,
};
/// What Linux takes for a message besides its text.
const OVERHEAD: usize = 96;

/// How many messages a queue holds, and of what length.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// `mq_maxmsg`
    pub messages: usize,
    /// `mq_msgsize`
    pub bytes: usize,
}

impl Default for Size {
    /// /proc/sys/fs/mqueue/msg_default and msgsize_default.
    fn default() -> Self {
        Self {
            messages: 10,
            bytes: 8192,
        }
    }
}

impl Size {
    /// What counts against `RLIMIT_MSGQUEUE`.
    fn memory(self) -> usize {
        self.messages * (self.bytes + OVERHEAD)
    }
}

/// A message; the greatest is received first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    priority: u32,
    number: Reverse<u64>,
    text: Vec<u8>,
}

/// What mq_notify(3) asked for.
pub enum Notification {
    /// SIGEV_NONE: nobody else can ask.
    Nothing,
    /// SIGEV_SIGNAL
    Signal {
        /// The signal.
        signal: i32,
        /// `si_value`
        value: u64,
    },
    /// SIGEV_THREAD: who is to be told, `NOTIFY_WOKENUP` or `NOTIFY_REMOVED`.
    Thread(Box<dyn Fn(u8) + Send + Sync>),
}

/// A message has come (linux/mqueue.h).
const NOTIFY_WOKENUP: u8 = 1;
/// It will not be told any more.
const NOTIFY_REMOVED: u8 = 2;

struct State {
    /// There is memory for as many as there may be.
    messages: BinaryHeap<Message>,
    sent: u64,
    /// Bytes in all messages.
    bytes: usize,
    /// Threads that wait for a message: one goes to them, without a notification.
    receivers: usize,
    /// With the process that asked.
    notification: Option<(Pid, Notification)>,
}

/// A message queue.
pub struct MessageQueue {
    size: Size,
    attributes: Attributes,
    ino: u64,
    state: SpinLock<State>,
    queue: WaitQueue,
    edges: Edges,
}

/// The machine's queues.
struct Queues {
    by_name: Mutex<BTreeMap<Vec<u8>, Arc<MessageQueue>>>,
    /// Memory that all of them may take.
    memory: AtomicUsize,
}

static QUEUES: Queues = Queues {
    by_name: Mutex::new(BTreeMap::new()),
    memory: AtomicUsize::new(0),
};

/// Opens the queue of that name for what is `wanted`, or makes it: `create` says with what permissions and size, and
/// whether it must be new.
pub fn open(
    name: &[u8],
    wanted: Access,
    create: Option<(u32, Size, bool)>,
    limit: usize,
) -> Result<Arc<MessageQueue>, Errno> {
    let mut names = QUEUES.by_name.lock();
    match (names.get(name), create) {
        (Some(_), Some((_, _, true))) => Err(Errno::EEXIST),
        (Some(queue), _) => {
            permission::check_attributes(&queue.attributes, wanted)?;
            Ok(queue.clone())
        }
        (None, None) => Err(Errno::ENOENT),
        (None, Some((mode, size, _))) => {
            let queue = MessageQueue::new(mode, size, limit)?;
            names.insert(name.to_vec(), queue.clone());
            Ok(queue)
        }
    }
}

/// Takes a name away, which its owner may do; the queue is there until it is closed.
pub fn unlink(name: &[u8]) -> Result<(), Errno> {
    let gone = {
        let mut names = QUEUES.by_name.lock();
        let queue = names.get(name).ok_or(Errno::ENOENT)?;
        let user = credentials::current().user.filesystem;
        // As if in a directory of root's that everybody may write to, and that is sticky.
        if user != queue.attributes.uid && user != 0 {
            credentials::require(linux::CAP_FOWNER)?;
        }
        names.remove(name)
    };
    drop(gone);
    Ok(())
}

impl MessageQueue {
    fn new(mode: u32, size: Size, limit: usize) -> Result<Arc<Self>, Errno> {
        let fits = |asked, most| (1..=most).contains(&asked);
        let most = if credentials::capable(linux::CAP_SYS_RESOURCE) {
            MOST
        } else {
            ORDINARY
        };
        if !fits(size.messages, most.messages) || !fits(size.bytes, most.bytes) {
            return Err(Errno::EINVAL);
        }
        let mut messages = Vec::new();
        messages
            .try_reserve_exact(size.messages)
            .map_err(|_| Errno::ENOMEM)?;
        let memory = size.memory();
        if QUEUES.memory.fetch_add(memory, Ordering::Relaxed) + memory > limit {
            QUEUES.memory.fetch_sub(memory, Ordering::Relaxed);
            return Err(Errno::EMFILE);
        }
        let maker = credentials::current();
        let now = realtime_ns();
        let attributes = Attributes {
            mode: linux::S_IFREG | mode,
            uid: maker.user.filesystem,
            gid: maker.group.filesystem,
            nlink: 1,
            mtime_ns: now,
            ctime_ns: now,
            atime_ns: now,
            ..Attributes::default()
        };
        Ok(Arc::new(Self {
            size,
            attributes,
            ino: next_ino(),
            state: SpinLock::new(State {
                messages: messages.into(),
                sent: 0,
                bytes: 0,
                receivers: 0,
                notification: None,
            }),
            queue: WaitQueue::new(),
            edges: Edges::new(),
        }))
    }

    /// How many messages it holds, and of what length.
    pub fn size(&self) -> Size {
        self.size
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// Puts a message in, which must not be too long.
    pub fn send(
        &self,
        text: Vec<u8>,
        priority: u32,
        deadline: Option<Instant>,
        nonblock: bool,
    ) -> Result<(), Errno> {
        let mut text = Some(text);
        let notification = self.wait(deadline, nonblock, || {
            let mut state = self.state.lock();
            if state.messages.len() == self.size.messages {
                return None;
            }
            let text = text.take()?;
            let first = state.messages.is_empty() && state.receivers == 0;
            let number = Reverse(state.sent);
            state.sent += 1;
            state.bytes += text.len();
            state.messages.push(Message {
                priority,
                number,
                text,
            });
            self.edges.readable();
            Some(state.notification.take_if(|_| first))
        })?;
        if let Some((_, Notification::Thread(tell))) = &notification {
            tell(NOTIFY_WOKENUP);
        }
        if let Some((to, Notification::Signal { signal, value })) = notification {
            let pid = process::with_current(|process| process.pid);
            let uid = credentials::current().user.real;
            let mut info = SigInfo::from_program(signal, linux::SI_MESGQ, pid, uid);
            info.fields[1] = value;
            // Without room in the queue of signals it is lost, as in Linux, and when the process has ended.
            let _ = process::with_process(to, |process| process.send(Recipient::Process, info));
        }
        Ok(())
    }

    /// Takes the oldest of the messages with the highest priority: its text and priority.
    pub fn receive(
        &self,
        deadline: Option<Instant>,
        nonblock: bool,
    ) -> Result<(Vec<u8>, u32), Errno> {
        let take = || {
            let mut state = self.state.lock();
            let message = state.messages.pop()?;
            state.bytes -= message.text.len();
            self.edges.writable();
            Some((message.text, message.priority))
        };
        self.state.lock().receivers += usize::from(!nonblock);
        let message = self.wait(deadline, nonblock, take);
        self.state.lock().receivers -= usize::from(!nonblock);
        message
    }

    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        nonblock: bool,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Result<T, Errno> {
        let value = if nonblock {
            attempt().ok_or(Errno::EAGAIN)?
        } else {
            let waited = self.queue.wait_until(deadline, Signals::Interrupt, attempt);
            waited.map_err(|error| match error {
                WaitError::TimedOut => Errno::ETIMEDOUT,
                WaitError::Interrupted => Errno::ERESTARTSYS,
            })?
        };
        self.queue.wake_all();
        Ok(value)
    }

    /// mq_notify(3): asks for a notification of the calling process, or no longer if it has; `EBUSY` if one was asked
    /// for.
    pub fn notify(&self, notification: Option<Notification>) -> Result<(), Errno> {
        let pid = process::with_current(|process| process.pid);
        let mut state = self.state.lock();
        let removed = match notification {
            Some(_) if state.notification.is_some() => return Err(Errno::EBUSY),
            Some(how) => state.notification.replace((pid, how)),
            None => state.notification.take_if(|(of, _)| *of == pid),
        };
        drop(state);
        if let Some((_, Notification::Thread(tell))) = removed {
            tell(NOTIFY_REMOVED);
        }
        Ok(())
    }
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        QUEUES
            .memory
            .fetch_sub(self.size.memory(), Ordering::Relaxed);
    }
}

impl File for MessageQueue {
    fn read(&self, offset: u64, buf: &mut [u8], _nonblock: bool) -> Result<usize, Errno> {
        let state = self.state.lock();
        let bytes = state.bytes;
        let (pid, notify, signal) = match state.notification {
            Some((pid, Notification::Signal { signal, .. })) => (pid, linux::SIGEV_SIGNAL, signal),
            Some((pid, Notification::Nothing)) => (pid, linux::SIGEV_NONE, 0),
            Some((pid, Notification::Thread(_))) => (pid, linux::SIGEV_THREAD, 0),
            None => (0, 0, 0),
        };
        drop(state);
        let text =
            format!("QSIZE:{bytes:<10} NOTIFY:{notify:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n");
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| text.as_bytes().get(at..));
        let rest = rest.unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn poll(&self) -> Poll {
        let count = self.count();
        let mut events = Poll::empty();
        events.set(Poll::IN, count > 0);
        events.set(Poll::OUT, count < self.size.messages);
        events
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }
    fn edges(&self) -> [u64; 2] {
        self.edges.counts()
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        let Attributes {
            mode,
            uid,
            gid,
            mtime_ns,
            ctime_ns,
            atime_ns,
            ..
        } = self.attributes;
        Ok(Metadata {
            uid,
            gid,
            size: 80,
            mtime_ns,
            ctime_ns,
            atime_ns,
            ..Metadata::anonymous(self.ino, mode)
        })
    }
    fn flush(&self) {
        // None was asked for, or it was another process': nothing to be done.
        let _ = self.notify(None);
    }
    fn link_text(&self) -> Vec<u8> {
        b"/mqueue".to_vec()
    }
}
