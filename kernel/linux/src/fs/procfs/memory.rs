//! /proc/PID/mem: the memory of a process, for those who may trace it, at the offsets that are its addresses.
//! Protection does not hold, as for ptrace(2). Who has it open keeps no memory: that of a program that is gone reads as
//! empty.
use crate::{
    fs::{
        File, Metadata, Seek,
        tree::{Node, SpecialFile},
    },
    process::{Process, ptrace},
};
use abi::Errno;
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use machine::mm::space::{Access, Space};

/// The file in a process' directory.
pub(super) struct Memory(pub(super) Weak<Process>);

/// The same, opened.
struct Opened {
    node: Arc<Node>,
    path: Vec<u8>,
    space: Weak<Space>,
}

impl SpecialFile for Memory {
    fn open(&self, node: &Arc<Node>, path: Vec<u8>, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        let process = self.0.upgrade().ok_or(Errno::ESRCH)?;
        let thread = process.main_thread().ok_or(Errno::ESRCH)?;
        ptrace::check_access(&thread).map_err(|_| Errno::EACCES)?;
        let space = process.space().ok_or(Errno::ESRCH)?;
        Ok(Arc::new(Opened {
            node: node.clone(),
            path,
            space: Arc::downgrade(&space),
        }))
    }
}

/// How much could be had of `wanted` bytes; `EIO` for nothing.
fn some(done: usize, wanted: usize) -> Result<usize, Errno> {
    if done == 0 && wanted != 0 {
        return Err(Errno::EIO);
    }
    Ok(done)
}

impl Opened {
    fn at(&self, offset: u64) -> Result<(Option<Arc<Space>>, usize), Errno> {
        let at = usize::try_from(offset).map_err(|_| Errno::EIO)?;
        Ok((self.space.upgrade(), at))
    }
}

impl File for Opened {
    fn read(&self, offset: u64, buf: &mut [u8], _nonblock: bool) -> Result<usize, Errno> {
        let (Some(space), at) = self.at(offset)? else {
            return Ok(0);
        };
        some(space.read(at, buf, Access::Forced), buf.len())
    }
    fn write(&self, offset: u64, buf: &[u8], _nonblock: bool) -> Result<usize, Errno> {
        let (Some(space), at) = self.at(offset)? else {
            return Ok(0);
        };
        some(space.write(at, buf, Access::Forced), buf.len())
    }
    fn seekable(&self) -> bool {
        true
    }
    fn seek(&self) -> Seek {
        Seek::NotFromEnd
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        self.node.metadata()
    }
    fn node(&self) -> Option<&Arc<Node>> {
        Some(&self.node)
    }
    fn link_text(&self) -> Vec<u8> {
        self.path.clone()
    }
}
