//! What every socket has, whatever its family: whom to wake when something changes, its options, its pending error.
//!
//! Others that send to a socket hold this part of it and not the socket itself, which ends when it is closed.
use crate::fs::{
    Edges,
    numbers::next_ino,
    signal_driven::{Band, Owner},
};
use crate::{
    credentials,
    process::{self, Pid},
};
use abi::Errno;
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicI32, Ordering};
use machine::sync::{SpinLock, WaitQueue};

use super::{address::family, options::Options};

/// What it keeps of the boundaries between what is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing: `SOCK_STREAM`.
    Stream = 1,
    /// Each sending is a message: `SOCK_DGRAM`.
    Datagram = 2,
    /// The same with headers: `SOCK_RAW`.
    Raw = 3,
    /// Messages over a connection, with an end: `SOCK_SEQPACKET`.
    SeqPacket = 5,
}

impl From<Kind> for u32 {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

/// Who somebody is (`struct ucred`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ucred {
    /// The process.
    pub pid: Pid,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Ucred {
    /// The caller, with its effective ids.
    pub fn current() -> Self {
        let credentials = credentials::current();
        Self {
            pid: process::with_current(|process| process.pid),
            uid: credentials.user.effective,
            gid: credentials.group.effective,
        }
    }

    /// Nobody in particular (`overflowuid`).
    pub const NOBODY: Self = Self {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
}

/// The part of a socket that others know.
#[doc(alias = "struct sock")]
pub struct Sock {
    /// `AF_*`.
    pub domain: u16,
    /// `SOCK_*`.
    pub kind: Kind,
    /// `IPPROTO_*`, or 0.
    pub protocol: u32,
    /// Woken at each change.
    pub queue: WaitQueue,
    /// For edge-triggered epoll.
    pub edges: Edges,
    /// What getsockopt(2) tells.
    pub options: SpinLock<Options>,
    /// Inode number.
    pub ino: u64,
    /// Whose it is.
    pub uid: u32,
    /// Who is told of urgent data (`F_SETOWN`).
    pub owner: SpinLock<Option<Weak<dyn Owner>>>,
    /// `SO_ERROR`; 0 for none.
    error: AtomicI32,
}

impl Sock {
    /// A new one, the caller's.
    pub fn new(domain: u16, kind: Kind, protocol: u32) -> Arc<Self> {
        let uid = credentials::current().user.effective;
        Self::of(uid, domain, kind, protocol)
    }

    /// One of a user's.
    pub fn of(uid: u32, domain: u16, kind: Kind, protocol: u32) -> Arc<Self> {
        let tcp = kind == Kind::Stream && matches!(domain, family::INET | family::INET6);
        Self::with_options(domain, kind, protocol, uid, Options::new(tcp))
    }

    /// One for a connection that a listening socket gets.
    pub fn child(&self) -> Arc<Self> {
        let options = self.options.lock().clone();
        Self::with_options(self.domain, self.kind, self.protocol, self.uid, options)
    }

    fn with_options(
        domain: u16,
        kind: Kind,
        protocol: u32,
        uid: u32,
        options: Options,
    ) -> Arc<Self> {
        Arc::new(Self {
            domain,
            kind,
            protocol,
            queue: WaitQueue::new(),
            edges: Edges::new(),
            options: SpinLock::new(options),
            ino: next_ino(),
            uid,
            owner: SpinLock::new(None),
            error: AtomicI32::new(0),
        })
    }

    /// There is more to read.
    pub fn readable(&self) {
        self.edges.readable();
        self.queue.wake_all();
    }

    /// There are urgent data.
    #[doc(alias = "sk_send_sigurg")]
    pub fn urgent(&self) {
        let owner = self.owner.lock().as_ref().and_then(Weak::upgrade);
        if let Some(owner) = owner {
            // Which descriptor that is nobody asks.
            owner.tell(-1, Band::Urgent);
        }
        self.readable();
    }

    /// There is more room to write.
    pub fn writable(&self) {
        self.edges.writable();
        self.queue.wake_all();
    }

    /// Something has ended or begun.
    pub fn changed(&self) {
        self.edges.readable();
        self.edges.writable();
        self.queue.wake_all();
    }

    /// An error that nobody has asked for: it is told once.
    pub fn fail(&self, error: Errno) {
        self.error.store(error.0, Ordering::Relaxed);
        self.changed();
    }

    /// Whether there is an error to be told.
    pub fn has_error(&self) -> bool {
        self.error.load(Ordering::Relaxed) != 0
    }

    /// The error that is to be told, which is taken.
    pub fn take_error(&self) -> Option<Errno> {
        match self.error.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(Errno(self.error.swap(0, Ordering::Relaxed))).filter(|error| error.0 != 0),
        }
    }

    /// Tells the pending error.
    pub fn check_error(&self) -> Result<(), Errno> {
        self.take_error().map_or(Ok(()), Err)
    }
}

/// Sockets that wait for something of another one's to have room.
#[derive(Default)]
pub struct Waiting(Vec<Weak<Sock>>);

impl Waiting {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// `sock` waits, too.
    pub fn add(&mut self, sock: &Arc<Sock>) {
        let known = self
            .0
            .iter()
            .any(|one| core::ptr::eq(one.as_ptr(), &raw const **sock));
        if !known {
            self.0.retain(|one| one.strong_count() > 0);
            self.0.push(Arc::downgrade(sock));
        }
    }

    /// Takes those that wait, to be woken once no lock is held.
    #[must_use]
    pub fn take(&mut self) -> Self {
        core::mem::take(self)
    }

    /// Wakes them.
    pub fn wake(self) {
        for sock in self.0.iter().filter_map(Weak::upgrade) {
            sock.writable();
        }
    }
}
