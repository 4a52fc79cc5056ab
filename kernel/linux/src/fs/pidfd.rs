//! Descriptors of processes, pidfd_open(2): they can be read when the process has ended, and stay those of that process
//! when its id is another's. Left out: those of single threads.

use super::{File, Metadata, Poll, numbers::next_ino};
use crate::process::Process;
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use machine::sync::WaitQueue;

/// A descriptor's file.
pub struct PidFd {
    /// The process.
    pub process: Arc<Process>,
    ino: u64,
}

impl PidFd {
    /// One for a process.
    pub fn new(process: Arc<Process>) -> Arc<Self> {
        let ino = next_ino();
        Arc::new(Self { process, ino })
    }
}

impl File for PidFd {
    fn poll(&self) -> Poll {
        match self.process.is_zombie() {
            true => Poll::IN,
            false => Poll::empty(),
        }
    }

    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(self.process.end_queue())
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, 0o600))
    }

    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:[pidfd]".to_vec()
    }
}
