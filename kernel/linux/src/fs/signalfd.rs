//! signalfd(2): signals read as records. Which signals are there depends on the thread that reads, as in Linux.

use super::{File, Metadata, Poll, Seek, numbers::next_ino};
use crate::process::signal::{self, ARRIVALS, SigInfo};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::sync::{Signals, WaitQueue};

/// Size of `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// A descriptor for a set of signals.
pub struct SignalFd {
    set: AtomicU64,
    ino: u64,
}

impl SignalFd {
    /// One for the signals in `set`.
    pub fn new(set: u64) -> Arc<Self> {
        Arc::new(Self {
            set: AtomicU64::new(set),
            ino: next_ino(),
        })
    }

    /// Takes another set.
    pub fn set(&self, set: u64) {
        self.set.store(set, Ordering::Relaxed);
    }
}

/// `struct signalfd_siginfo`. Which members mean something depends on the signal, as in `siginfo_t`.
fn record(info: SigInfo) -> [u8; RECORD] {
    let from = info.to_bytes();
    let mut to = [0; RECORD];
    to[0..12].copy_from_slice(&from[0..12]);
    // Process and user, or timer and overrun.
    to[12..20].copy_from_slice(&from[16..24]);
    to[24..28].copy_from_slice(&from[16..20]);
    to[32..36].copy_from_slice(&from[20..24]);
    // The value: as a number, as a pointer.
    to[44..48].copy_from_slice(&from[24..28]);
    to[48..56].copy_from_slice(&from[24..32]);
    // The address of a fault.
    to[72..80].copy_from_slice(&from[16..24]);
    to
}

impl File for SignalFd {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        if buf.len() < RECORD {
            return Err(Errno::EINVAL);
        }
        let take = || signal::take(self.set.load(Ordering::Relaxed));
        let first = match take() {
            Some(info) => info,
            None if nonblock => return Err(Errno::EAGAIN),
            None => ARRIVALS
                .queue()
                .wait_until(None, Signals::Interrupt, take)
                .map_err(|_| Errno::ERESTARTSYS)?,
        };
        let mut next = Some(first);
        let mut done = 0;
        for to in buf.chunks_exact_mut(RECORD) {
            let Some(info) = next.take().or_else(take) else {
                break;
            };
            to.copy_from_slice(&record(info));
            done += RECORD;
        }
        Ok(done)
    }

    fn poll(&self) -> Poll {
        if signal::pending_set() & self.set.load(Ordering::Relaxed) != 0 {
            Poll::IN
        } else {
            Poll::empty()
        }
    }

    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(ARRIVALS.queue())
    }

    fn edges(&self) -> [u64; 2] {
        [ARRIVALS.count(), 0]
    }

    fn seek(&self) -> Seek {
        Seek::Nowhere
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, 0o600))
    }

    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:[signalfd]".to_vec()
    }
}
