//! virtio-blk: the root device of machines without virtio-pmem, and volumes. [`requests`] has what is under way.
//!
//! Several requests are under way at once, of one caller or of many, who sleep until theirs are done. The device reads
//! and writes the callers' memory itself; only what is not whole sectors, or lies on a stack, goes by way of a copy.
mod counts;
#[expect(unsafe_code, reason = "memory that the device reads and writes")]
mod requests;

use super::{
    RootDevice,
    pci::Bus,
    virtio::{Device, Failure, Features},
};
use crate::{
    arch::layout::PAGE,
    mm::{frame::Frame, kernel_map},
    sched::{Storage, count_storage},
    sync::{Signals, SpinLock, WaitQueue},
};
use abi::Errno;
use alloc::{vec, vec::Vec};
pub use counts::{DiskCounts, Operations};
use requests::{Kind, PIECE, PIECES, Piece, Requests, SECTOR};
use virtio_drivers::transport::pci::bus::DeviceFunction;

/// Length of the device's name.
const ID: usize = 20;

/// Woken when any disk is done with a request, or has room for one.
static DONE: WaitQueue = WaitQueue::new();

/// A disk.
pub struct Disk {
    /// Keeps the device from being reset.
    _device: Device,
    size: u64,
    name: Vec<u8>,
    flushes: bool,
    read_only: bool,
    /// The most sectors that one request may discard; 0 if none may be.
    discards: u64,
    requests: SpinLock<Requests>,
}

/// Starts a disk.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<Disk, Failure> {
    let mut device = Device::open(bus, function)?;
    let vector = device.vector("virtio_blk", |_| {
        DONE.wake_all();
    })?;
    let wanted = Features::BLOCK_FLUSH | Features::BLOCK_READ_ONLY | Features::BLOCK_DISCARD;
    let features = device.begin(wanted)?;
    let requests = Requests::new(&mut device, vector)?;
    device.finish();
    let sectors = u64::from(device.field(4)?) << 32 | u64::from(device.field(0)?);
    let discards = match features.contains(Features::BLOCK_DISCARD) {
        true => u64::from(device.field(36)?),
        false => 0,
    };
    let mut disk = Disk {
        _device: device,
        size: sectors.saturating_mul(SECTOR),
        name: Vec::new(),
        flushes: features.contains(Features::BLOCK_FLUSH),
        read_only: features.contains(Features::BLOCK_READ_ONLY),
        discards,
        requests: SpinLock::new(requests),
    };
    let mut id = vec![0; ID];
    if disk.run(Kind::Id, 0, [Piece::to_fill(&mut id)]).is_ok() {
        id.truncate(id.iter().position(|&byte| byte == 0).unwrap_or(ID));
        disk.name = id;
    }
    ::log::info!("pci {function}: a disk, {} KiB", disk.size >> 10);
    Ok(disk)
}

/// Whether the device can use the memory as it lies: stacks are not in one piece.
fn is_contiguous(bytes: &[u8]) -> bool {
    kernel_map::is_contiguous(bytes.as_ptr().addr())
}

/// Whole sectors from `offset` on.
fn is_aligned(offset: u64, len: usize) -> bool {
    (offset | len as u64).is_multiple_of(SECTOR)
}

impl Disk {
    /// The name that QEMU was given for it (`serial`).
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What it has done so far.
    pub fn counts(&self) -> DiskCounts {
        self.requests.lock().counts()
    }

    /// Whether it refuses writes.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether blocks can be given back to the host.
    pub fn discards(&self) -> bool {
        self.discards > 0
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), Errno> {
        let end = offset.checked_add(len as u64).ok_or(Errno::EIO)?;
        if end > self.size {
            return Err(Errno::EIO);
        }
        Ok(())
    }

    /// Writes `data` at `offset`, both multiples of the sector size.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.check(offset, data.len())?;
        if !is_aligned(offset, data.len()) {
            return Err(Errno::EIO);
        }
        if !is_contiguous(data) {
            let copy = Vec::from(data);
            return self.write(offset, &copy);
        }
        let pieces = data.chunks(PIECE).map(Piece::to_read);
        self.run(Kind::Write, offset / SECTOR, pieces)
    }

    /// Has everything that was written on stable storage.
    pub fn flush(&self) -> Result<(), Errno> {
        if !self.flushes {
            return Ok(());
        }
        self.run(Kind::Flush, 0, [])
    }

    /// Gives whole sectors back to the host: what they say is lost.
    pub fn discard(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let (mut sector, end) = (
            offset.div_ceil(SECTOR),
            offset.saturating_add(len).min(self.size) / SECTOR,
        );
        while sector < end && self.discards > 0 {
            let count = (end - sector).min(self.discards);
            // `struct virtio_blk_discard_write_zeroes`
            let mut range = sector.to_le_bytes().to_vec();
            let count_in_range = u32::try_from(count).map_err(|_| Errno::EIO)?;
            range.extend_from_slice(&count_in_range.to_le_bytes());
            range.extend_from_slice(&[0; 4]);
            self.run(Kind::Discard, 0, [Piece::to_read(&range)])?;
            self.requests.lock().discarded(count);
            sector += count;
        }
        Ok(())
    }

    /// Asks for something that is about pieces of memory, which follow each other on the disk, and waits until all of
    /// it is done.
    fn run(
        &self,
        kind: Kind,
        mut sector: u64,
        pieces: impl IntoIterator<Item = Piece>,
    ) -> Result<(), Errno> {
        let mut pieces = pieces.into_iter().peekable();
        let first = sector;
        let (mut under_way, mut result) = (Vec::new(), Ok(()));
        loop {
            let part: Vec<_> = pieces.by_ref().take(PIECES).collect();
            let len: usize = part.iter().map(|piece| piece.len).sum();
            let end = sector + len as u64 / SECTOR;
            let slot = loop {
                // SAFETY: the pieces are of what the callers have borrowed, and this returns when the device is done.
                let asked = unsafe { self.requests.lock().ask(kind, sector..end, &part) };
                if let Some(slot) = asked {
                    break slot;
                }
                match under_way.pop() {
                    Some(slot) => result = result.and(self.wait(slot)),
                    None => wait(|| self.requests.lock().has_room().then_some(())),
                }
            };
            self.ring();
            under_way.push(slot);
            sector = end;
            if pieces.peek().is_none() {
                break;
            }
        }
        if kind == Kind::Read {
            count_storage(Storage::Read, (sector - first) * SECTOR);
        }
        // All of them, whatever comes of one: the memory is the device's until then.
        for slot in under_way {
            result = result.and(self.wait(slot));
        }
        result
    }

    fn ring(&self) {
        let doorbell = self.requests.lock().doorbell();
        if let Some(doorbell) = doorbell {
            doorbell.ring();
        }
    }

    /// Waits until the request in a slot is done, which is free then.
    fn wait(&self, slot: usize) -> Result<(), Errno> {
        let result = wait(|| {
            let (done, others) = self.requests.lock().take(slot);
            if others {
                DONE.wake_all();
            }
            done
        });
        // Somebody may wait for room.
        DONE.wake_all();
        result
    }
}

/// Waits until `ready` has something: a request that is under way cannot be given up.
fn wait<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Ok(value) = DONE.wait_until(None, Signals::Ignore, &mut ready) {
            return value;
        }
    }
}

impl RootDevice for &Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        self.check(offset, buf.len())?;
        if is_aligned(offset, buf.len()) && is_contiguous(buf) {
            let pieces = buf.chunks_mut(PIECE).map(Piece::to_fill);
            return self.run(Kind::Read, offset / SECTOR, pieces);
        }
        let start = offset / SECTOR * SECTOR;
        let skip = (offset - start) as usize;
        let len = (skip + buf.len()).next_multiple_of(SECTOR as usize);
        let mut whole = Vec::new();
        whole.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        whole.resize(len, 0);
        let pieces = whole.chunks_mut(PIECE).map(Piece::to_fill);
        self.run(Kind::Read, start / SECTOR, pieces)?;
        buf.copy_from_slice(&whole[skip..skip + buf.len()]);
        Ok(())
    }

    fn read_frames(&self, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.check(offset, frames.len() * PAGE)?;
        if !is_aligned(offset, 0) {
            return super::read_each_frame(self, offset, frames);
        }
        let pieces = frames.iter().map(Piece::of_frame);
        self.run(Kind::Read, offset / SECTOR, pieces)
    }

    fn direct(&self, _: u64) -> Option<u64> {
        None
    }
}
