//! Block cache in front of a root device that is not memory (virtio-blk), for inodes and directories.
//!
//! File data is cached as pages by `page_cache.rs`; this only keeps the small scattered reads of metadata off the
//! device.
use abi::Errno;
use alloc::{boxed::Box, collections::BTreeMap, vec};
use machine::{drivers::RootDevice, mm::frame::Frame, sync::Mutex};

const BLOCK: usize = 4096;
/// Blocks kept; when there are more, all go.
const LIMIT: usize = 4096;

/// The device with its cache.
pub struct Cached {
    device: &'static dyn RootDevice,
    blocks: Mutex<BTreeMap<u64, Box<[u8]>>>,
}

impl Cached {
    /// An empty cache.
    pub fn new(device: &'static dyn RootDevice) -> Self {
        Self {
            device,
            blocks: Mutex::new(BTreeMap::new()),
        }
    }

    fn block(&self, index: u64, within: usize, buf: &mut [u8]) -> Result<(), Errno> {
        let mut blocks = self.blocks.lock();
        if let Some(block) = blocks.get(&index) {
            buf.copy_from_slice(&block[within..within + buf.len()]);
            return Ok(());
        }
        let start = index * BLOCK as u64;
        let len = (self.device.size().saturating_sub(start)).min(BLOCK as u64) as usize;
        if within + buf.len() > len {
            return Err(Errno::EIO);
        }
        let mut block = vec![0; BLOCK];
        self.device.read(start, &mut block[..len])?;
        buf.copy_from_slice(&block[within..within + buf.len()]);
        if blocks.len() >= LIMIT {
            blocks.clear();
        }
        blocks.insert(index, block.into_boxed_slice());
        Ok(())
    }
}

impl RootDevice for Cached {
    fn size(&self) -> u64 {
        self.device.size()
    }
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        if buf.len() >= BLOCK {
            return self.device.read(offset, buf);
        }
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let within = at as usize % BLOCK;
            let len = (BLOCK - within).min(buf.len() - done);
            self.block(at / BLOCK as u64, within, &mut buf[done..done + len])?;
            done += len;
        }
        Ok(())
    }
    fn read_frames(&self, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.device.read_frames(offset, frames)
    }
    fn direct(&self, _offset: u64) -> Option<u64> {
        None
    }
}
