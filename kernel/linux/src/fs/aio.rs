//! Asynchronous transfers, io_submit(2): what has become of those that were asked for, until somebody takes it.
//!
//! A transfer is done when it is asked for, as Linux does it with files that go by way of the page cache; so nothing is
//! ever under way, and only what is done is here.
use abi::Errno;
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use machine::{
    sync::{Signals, SpinLock, WaitError, WaitQueue},
    time::Instant,
};
use zerocopy::{Immutable, IntoBytes};

/// Events that all contexts of a process may have room for (`fs.aio-max-nr`).
pub const MOST: usize = 65536;

/// `struct io_event`
#[repr(C)]
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
pub struct Event {
    /// What the request says of itself.
    pub data: u64,
    /// Where the request is.
    pub request: usize,
    /// The result, or an error as a negative number.
    pub result: i64,
    /// Always 0.
    pub result2: i64,
}

/// The contexts of a process by their ids.
#[derive(Default)]
pub struct Contexts(SpinLock<BTreeMap<usize, Arc<Context>>>);

/// Where requests are made and events taken.
#[doc(alias = "kioctx")]
pub struct Context {
    room: usize,
    state: SpinLock<State>,
    queue: WaitQueue,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    /// Events that are promised to requests.
    promised: usize,
    destroyed: bool,
}

impl Contexts {
    /// Adds one with room for so many events. `EAGAIN` if there is too much of them.
    pub fn add(&self, id: usize, room: usize) -> Result<(), Errno> {
        let context = Arc::new(Context {
            room,
            state: SpinLock::default(),
            queue: WaitQueue::new(),
        });
        let mut contexts = self.0.lock();
        let used: usize = contexts.values().map(|context| context.room).sum();
        if used + room > MOST {
            return Err(Errno::EAGAIN);
        }
        contexts.insert(id, context);
        Ok(())
    }

    /// The context with an id; `EINVAL`.
    pub fn get(&self, id: usize) -> Result<Arc<Context>, Errno> {
        self.0.lock().get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// Takes one out: who waits in it is told `EINVAL`.
    pub fn remove(&self, id: usize) -> Result<(), Errno> {
        let context = self.0.lock().remove(&id).ok_or(Errno::EINVAL)?;
        context.state.lock().destroyed = true;
        context.queue.wake_all();
        Ok(())
    }

    /// Takes all out: the process has other memory, or none.
    pub fn clear(&self) {
        let contexts = core::mem::take(&mut *self.0.lock());
        drop(contexts);
    }
}

impl Context {
    /// Sets room aside for an event. `EAGAIN` if there is none.
    pub fn promise(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.events.len() + state.promised >= self.room {
            return Err(Errno::EAGAIN);
        }
        state.promised += 1;
        Ok(())
    }

    /// The request that this was set aside for was refused.
    pub fn take_back(&self) {
        self.state.lock().promised -= 1;
    }

    /// It is done.
    pub fn complete(&self, event: Event) {
        let mut state = self.state.lock();
        state.promised -= 1;
        state.events.push_back(event);
        drop(state);
        self.queue.wake_all();
    }

    /// Takes up to `most` events, once there are `least`, or what there is by then. `EINTR` if there is nothing when a
    /// signal comes.
    pub fn take(
        &self,
        least: usize,
        most: usize,
        until: Option<Instant>,
    ) -> Result<Vec<Event>, Errno> {
        let mut taken = Vec::new();
        let room = most.min(self.room);
        taken.try_reserve(room).map_err(|_| Errno::ENOMEM)?;
        let waited = self.queue.wait_until(until, Signals::Interrupt, || {
            let mut state = self.state.lock();
            let len = state.events.len().min(most - taken.len());
            taken.extend(state.events.drain(..len));
            (taken.len() >= least || state.destroyed).then_some(state.destroyed)
        });
        match waited {
            Ok(true) if taken.is_empty() => Err(Errno::EINVAL),
            Err(WaitError::Interrupted) if taken.is_empty() => Err(Errno::EINTR),
            _ => Ok(taken),
        }
    }
}
