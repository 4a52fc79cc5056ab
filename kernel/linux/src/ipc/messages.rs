//! Message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
use super::{NAMESPACE, Object, Permissions, READ, WRITE, now};
use crate::{
    credentials,
    process::{self, Pid},
};
use abi::Errno;
use alloc::{boxed::Box, collections::VecDeque, format, string::String, sync::Arc};
use linux_raw_sys::general::CAP_SYS_RESOURCE;
use machine::sync::{Signals, SpinLock, WaitQueue};

/// Most bytes of a message (`MSGMAX`).
pub const MOST_BYTES: usize = 8192;
/// Bytes that queues hold at first (`MSGMNB`).
pub const QUEUE_BYTES: usize = 16384;

/// A message.
pub struct Message {
    /// Its type, at least 1.
    pub kind: i64,
    /// What it says.
    pub text: Box<[u8]>,
}

/// Which message is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// msgrcv(2)'s `msgtyp`.
    pub kind: i64,
    /// `MSG_EXCEPT`
    pub except: bool,
    /// `MSG_NOERROR`: one that is too long is cut.
    pub cut: bool,
}

impl Choice {
    /// The place of the message.
    fn find(&self, messages: &VecDeque<Message>) -> Option<usize> {
        match self.kind {
            0 => (!messages.is_empty()).then_some(0),
            kind if kind > 0 => {
                let fits = |message: &Message| (message.kind == kind) != self.except;
                messages.iter().position(fits)
            }
            kind => {
                let most = kind.saturating_neg();
                let fitting = messages.iter().enumerate();
                let fitting = fitting.filter(|(_, message)| message.kind <= most);
                // The first of equals.
                let lowest = fitting.min_by_key(|(_, message)| message.kind);
                lowest.map(|(place, _)| place)
            }
        }
    }
}

/// A queue's state.
#[expect(missing_docs, reason = "the fields are msgctl(2)'s")]
pub struct State {
    pub permissions: Permissions,
    pub messages: VecDeque<Message>,
    pub bytes: usize,
    pub most_bytes: usize,
    pub sent: u64,
    pub received: u64,
    pub changed: u64,
    pub last_sender: Pid,
    pub last_receiver: Pid,
    removed: bool,
}

/// A queue.
pub struct Queue {
    /// Its state.
    pub state: SpinLock<State>,
    queue: WaitQueue,
}

impl Object for Queue {
    fn permissions(&self) -> Permissions {
        self.state.lock().permissions
    }
}

/// msgget(2)
pub fn open(key: i32, flags: u32) -> Result<i32, Errno> {
    let make = |permissions| {
        Ok(Queue {
            state: SpinLock::new(State {
                permissions,
                messages: VecDeque::new(),
                bytes: 0,
                most_bytes: QUEUE_BYTES,
                sent: 0,
                received: 0,
                changed: now(),
                last_sender: 0,
                last_receiver: 0,
                removed: false,
            }),
            queue: WaitQueue::new(),
        })
    };
    NAMESPACE.messages.lock().open(key, flags, |_| Ok(()), make)
}

/// The queue of an identifier; `EINVAL`.
pub fn get(id: i32) -> Result<Arc<Queue>, Errno> {
    NAMESPACE.messages.lock().get(id)
}

impl Queue {
    /// Waits until `attempt` gives something; `refused` instead of waiting.
    fn wait<R>(
        &self,
        refused: Option<Errno>,
        mut attempt: impl FnMut(&mut State) -> Option<Result<R, Errno>>,
    ) -> Result<R, Errno> {
        let attempt = || {
            let mut state = self.state.lock();
            if state.removed {
                return Some(Err(Errno::EIDRM));
            }
            match (attempt(&mut state), refused) {
                (None, Some(error)) => Some(Err(error)),
                (result, _) => result,
            }
        };
        let waited = self.queue.wait_until(None, Signals::Interrupt, attempt);
        waited.unwrap_or(Err(Errno::ERESTARTNOHAND))
    }

    /// msgsnd(2)
    pub fn send(&self, message: Message, no_wait: bool) -> Result<(), Errno> {
        self.permissions().check(WRITE)?;
        let pid = process::with_current(|process| process.pid);
        let mut message = Some(message);
        self.wait(no_wait.then_some(Errno::EAGAIN), |state| {
            let len = message.as_ref().map_or(0, |message| message.text.len());
            if state.bytes + len > state.most_bytes || state.messages.len() >= state.most_bytes {
                return None;
            }
            state.bytes += len;
            state.messages.extend(message.take());
            state.sent = now();
            state.last_sender = pid;
            Some(Ok(()))
        })?;
        self.queue.wake_all();
        Ok(())
    }

    /// msgrcv(2): at most `len` bytes.
    pub fn receive(&self, len: usize, choice: Choice, no_wait: bool) -> Result<Message, Errno> {
        self.permissions().check(READ)?;
        let pid = process::with_current(|process| process.pid);
        let message = self.wait(no_wait.then_some(Errno::ENOMSG), |state| {
            let place = choice.find(&state.messages)?;
            if state.messages[place].text.len() > len && !choice.cut {
                return Some(Err(Errno::E2BIG));
            }
            let message = state.messages.remove(place)?;
            state.bytes -= message.text.len();
            state.received = now();
            state.last_receiver = pid;
            Some(Ok(message))
        })?;
        self.queue.wake_all();
        Ok(message)
    }

    /// `IPC_SET`
    pub fn set(&self, uid: u32, gid: u32, mode: u32, most_bytes: usize) -> Result<(), Errno> {
        let mut state = self.state.lock();
        state.permissions.check_owner()?;
        if most_bytes > QUEUE_BYTES {
            credentials::require(CAP_SYS_RESOURCE)?;
        }
        state.permissions.set(uid, gid, mode)?;
        state.most_bytes = most_bytes;
        state.changed = now();
        drop(state);
        self.queue.wake_all();
        Ok(())
    }
}

/// `IPC_RMID`
pub fn remove(id: i32) -> Result<(), Errno> {
    let queue = get(id)?;
    queue.permissions().check_owner()?;
    let removed = NAMESPACE.messages.lock().remove(id);
    queue.state.lock().removed = true;
    queue.queue.wake_all();
    drop(removed);
    Ok(())
}

/// /proc/sysvipc/msg
pub fn listed() -> String {
    let mut text = String::from(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
         stime      rtime      ctime\n",
    );
    for (id, queue) in NAMESPACE.messages.lock().iter() {
        let state = queue.state.lock();
        let who = state.permissions;
        text += &format!(
            "{:10} {id:10} {:5o} {:11} {:10} {:5} {:5} {} {:10} {:10} {:10}\n",
            who.key,
            who.mode,
            state.bytes,
            state.messages.len(),
            state.last_sender,
            state.last_receiver,
            who.columns(),
            state.sent,
            state.received,
            state.changed
        );
    }
    text
}
