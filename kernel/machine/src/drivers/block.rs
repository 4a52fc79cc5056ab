//! virtio-blk as the root device: reads only, one request at a time, asleep until the device is done.
use super::{
    RootDevice,
    dma::DmaBuffer,
    pci::Bus,
    virtio::{Device, Failure, Features, Queue},
};
use crate::sync::{Mutex, Signals, WaitQueue};
use abi::Errno;
use alloc::boxed::Box;
use virtio_drivers::transport::pci::bus::DeviceFunction;

const SECTOR: u64 = 512;
/// The most that one request reads.
const REQUEST: usize = 128 << 10;
const TYPE_READ: u32 = 0;
const STATUS_OK: u8 = 0;

/// The requests' memory: header and status in the first page, the data behind it.
const HEADER: core::ops::Range<usize> = 0..16;
const STATUS: core::ops::Range<usize> = 16..17;
const DATA: usize = 4096;

static DONE: WaitQueue = WaitQueue::new();

struct Disk {
    /// Keeps the device from being reset.
    _device: Device,
    size: u64,
    requests: Mutex<Requests>,
}

struct Requests {
    queue: Queue<4>,
    memory: DmaBuffer,
}

/// Starts the disk.
pub(super) fn start(
    bus: &mut Bus,
    function: DeviceFunction,
) -> Result<Box<dyn RootDevice>, Failure> {
    let mut device = Device::open(bus, function)?;
    let vector = device.vector(|_| {
        DONE.wake_all();
    })?;
    device.begin(Features::empty())?;
    let queue = device.queue(0, Some(vector))?;
    let memory = DmaBuffer::new(DATA + REQUEST).ok_or(Failure::NoMemory)?;
    device.finish();
    let sectors = u64::from(device.field(4)?) << 32 | u64::from(device.field(0)?);
    let size = sectors.saturating_mul(SECTOR);
    ::log::info!("pci {function}: root image on a disk, {} KiB", size >> 10);
    Ok(Box::new(Disk {
        _device: device,
        size,
        requests: Mutex::new(Requests { queue, memory }),
    }))
}

impl Requests {
    /// Reads `len` bytes, a multiple of the sector size, from `sector` on; they are in the request's memory then.
    fn read(&mut self, sector: u64, len: usize) -> Result<&[u8], Errno> {
        let Self { queue, memory } = self;
        let data = DATA..DATA + len;
        // SAFETY: no request is under way, so the memory is ours alone; `&mut self` keeps other threads off.
        let (header, status) = unsafe { (memory.slice_mut(HEADER), memory.slice_mut(STATUS)) };
        header[..4].copy_from_slice(&TYPE_READ.to_le_bytes());
        header[4..8].fill(0);
        header[8..].copy_from_slice(&sector.to_le_bytes());
        status[0] = !STATUS_OK;
        // SAFETY: the memory stays allocated for good, and nobody touches it before the request is popped, below.
        let added = unsafe {
            let outputs = &mut [memory.slice_mut(data.clone()), memory.slice_mut(STATUS)];
            queue.ring.add(&[memory.slice(HEADER)], outputs)
        };
        let token = added.map_err(|_| Errno::EIO)?;
        if queue.ring.should_notify() {
            queue.doorbell.ring();
        }
        while !queue.ring.can_pop() {
            // A wait without deadline that ignores signals has no other end; if it had, the request would still be
            // under way.
            let _ = DONE.wait_until(None, Signals::Ignore, || queue.ring.can_pop().then_some(()));
        }
        // SAFETY: this is what was added, and the device is done with it.
        let popped = unsafe {
            let outputs = &mut [memory.slice_mut(data.clone()), memory.slice_mut(STATUS)];
            queue.ring.pop_used(token, &[memory.slice(HEADER)], outputs)
        };
        popped.map_err(|_| Errno::EIO)?;
        // SAFETY: the device is done; `&mut self`, borrowed by the result, keeps the next request off.
        let (status, data) = unsafe { (memory.slice(STATUS)[0], memory.slice(data)) };
        if status == STATUS_OK {
            Ok(data)
        } else {
            Err(Errno::EIO)
        }
    }
}

impl RootDevice for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let end = offset.checked_add(buf.len() as u64).ok_or(Errno::EIO)?;
        if end > self.size {
            return Err(Errno::EIO);
        }
        let mut requests = self.requests.lock();
        let mut position = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let sector = position / SECTOR;
            let skip = (position % SECTOR) as usize;
            let len = (skip + rest.len())
                .next_multiple_of(SECTOR as usize)
                .min(REQUEST);
            let data = &requests.read(sector, len)?[skip..];
            let part;
            (part, rest) = rest.split_at_mut(data.len().min(rest.len()));
            part.copy_from_slice(&data[..part.len()]);
            position += part.len() as u64;
        }
        Ok(())
    }

    fn direct(&self, _: u64) -> Option<u64> {
        None
    }
}
