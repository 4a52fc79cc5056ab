//! Signal-driven I/O (`O_ASYNC`): whoever owns an open file description is told when it has become readable or
//! writable, or that something has happened in its directory ([`super::notify`]).
//!
//! Pipes, sockets, terminals and instances of inotify do that ([`File::drives_signals`]), as their edges tell
//! ([`File::edges`]). Who the owner is, and is sent which signal, is in `process::signal::owner`.
use super::File;
use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as linux;
use machine::sync::{SpinLock, WaitQueue, Watcher};

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Band {
    /// There is something to read.
    In,
    /// There is room to write.
    Out,
    /// Something has happened in the directory.
    Message,
    /// There are urgent data.
    Urgent,
}

impl Band {
    /// `si_code` of the signal, and `si_band`: poll(2)'s events that it stands for.
    pub fn codes(self) -> (u32, u32) {
        match self {
            Self::In => (linux::POLL_IN, linux::POLLIN | linux::POLLRDNORM),
            Self::Out => {
                let events = linux::POLLOUT | linux::POLLWRNORM | linux::POLLWRBAND;
                (linux::POLL_OUT, events)
            }
            Self::Message => {
                let events = linux::POLLIN | linux::POLLRDNORM | linux::POLLMSG;
                (linux::POLL_MSG, events)
            }
            Self::Urgent => (linux::POLL_PRI, linux::POLLPRI | linux::POLLRDBAND),
        }
    }
}

/// Who is told.
pub trait Owner: Any + Send + Sync {
    /// Something has happened to what the descriptor `fd` stands for. May be called in interrupt context.
    fn tell(&self, fd: i32, band: Band);
}

/// What an open file description has of it.
#[derive(Default)]
pub struct SignalDriven(SpinLock<State>);

#[derive(Default)]
struct State {
    /// From the first call about it on.
    owner: Option<Arc<dyn Owner>>,
    /// `O_ASYNC` is set.
    watch: Option<Arc<dyn Watcher>>,
}

/// Tells the owner of each edge.
#[doc(alias = "fasync_struct")]
struct Watch {
    owner: Arc<dyn Owner>,
    file: Arc<dyn File>,
    fd: i32,
    /// Whether it is open for reading and for writing.
    directions: [bool; 2],
    /// The file's edges that were told of.
    told: [AtomicU64; 2],
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "O_ASYNC of descriptor {}", self.fd)
    }
}

impl Watcher for Watch {
    fn woken(self: Arc<Self>) {
        for (direction, now) in self.file.edges().into_iter().enumerate() {
            let before = self.told[direction].swap(now, Ordering::SeqCst);
            if self.directions[direction] && before != now {
                self.owner.tell(self.fd, [Band::In, Band::Out][direction]);
            }
        }
    }
}

/// What is woken at each edge of a file whose owner can be told; `ENOTTY` if it cannot.
fn queue(file: &dyn File) -> Result<&WaitQueue, Errno> {
    let queue = file.poll_queue().filter(|_| file.drives_signals());
    queue.ok_or(Errno::ENOTTY)
}

impl SignalDriven {
    /// Who owns it; `new` if nobody was ever asked for.
    pub fn owner(&self, new: impl FnOnce() -> Arc<dyn Owner>) -> Arc<dyn Owner> {
        if let Some(owner) = &self.0.lock().owner {
            return owner.clone();
        }
        // Not under the lock: memory is allocated.
        let new = new();
        self.0.lock().owner.get_or_insert(new).clone()
    }

    /// Has `owner` told of each edge in these directions, reading and writing, by way of `fd`. `ENOTTY` if the file
    /// tells of none.
    #[doc(alias = "fasync_helper")]
    pub(super) fn begin(
        &self,
        file: &Arc<dyn File>,
        owner: Arc<dyn Owner>,
        fd: i32,
        directions: [bool; 2],
    ) -> Result<(), Errno> {
        let queue = queue(&**file)?;
        let watch = Arc::new(Watch {
            owner,
            file: file.clone(),
            fd,
            directions,
            told: file.edges().map(AtomicU64::new),
        });
        self.replace(&**file, Some(watch.clone()));
        queue.watch(watch);
        Ok(())
    }

    /// Has nobody told any more. `ENOTTY` as with [`SignalDriven::begin`].
    pub(super) fn end(&self, file: &dyn File) -> Result<(), Errno> {
        queue(file)?;
        self.replace(file, None);
        Ok(())
    }

    fn replace(&self, file: &dyn File, new: Option<Arc<dyn Watcher>>) {
        let old = core::mem::replace(&mut self.0.lock().watch, new);
        if let Some((old, queue)) = old.zip(file.poll_queue()) {
            queue.unwatch(&old);
        }
    }
}
