//! Devices without hardware (mem(4), null(4), random(4)). Terminals are in `tty/`.
use super::{
    File, Metadata, Poll, Seek,
    tree::{Node, SpecialFile},
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use machine::drivers;

/// Which device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named as in /dev")]
pub enum Memory {
    Null,
    Zero,
    Full,
    Random,
    Urandom,
}

impl Memory {
    const ALL: [Self; 5] = [
        Self::Null,
        Self::Zero,
        Self::Full,
        Self::Random,
        Self::Urandom,
    ];

    /// That with this number.
    pub(super) fn of(rdev: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|device| device.rdev() == rdev)
    }
}

impl SpecialFile for Memory {
    fn rdev(&self) -> u64 {
        match self {
            Self::Null => 0x103,
            Self::Zero => 0x105,
            Self::Full => 0x107,
            Self::Random => 0x108,
            Self::Urandom => 0x109,
        }
    }

    fn open(&self, node: &Arc<Node>, path: Vec<u8>, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(MemoryFile {
            device: *self,
            node: node.clone(),
            path,
        }))
    }
}

struct MemoryFile {
    device: Memory,
    node: Arc<Node>,
    path: Vec<u8>,
}

impl File for MemoryFile {
    fn read(&self, _offset: u64, buf: &mut [u8], _nonblock: bool) -> Result<usize, Errno> {
        match self.device {
            Memory::Null => return Ok(0),
            Memory::Random | Memory::Urandom => drivers::random::fill(buf),
            _ => buf.fill(0),
        }
        Ok(buf.len())
    }
    fn write(&self, _offset: u64, buf: &[u8], _nonblock: bool) -> Result<usize, Errno> {
        match self.device {
            Memory::Full => Err(Errno::ENOSPC),
            _ => Ok(buf.len()),
        }
    }
    fn append(&self, buf: &[u8]) -> Result<(usize, u64), Errno> {
        Ok((self.write(0, buf, false)?, 0))
    }
    fn seekable(&self) -> bool {
        true
    }
    fn seek(&self) -> Seek {
        Seek::Nowhere
    }
    fn poll(&self) -> Poll {
        Poll::IN | Poll::OUT
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
