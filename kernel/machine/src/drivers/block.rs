//! virtio-blk: the root device of machines without virtio-pmem, and volumes. One request at a time, asleep until the
//! device is done.
use super::{
    RootDevice,
    dma::DmaBuffer,
    pci::Bus,
    virtio::{Device, Failure, Features, Queue},
};
use crate::sync::{Mutex, Signals, WaitQueue};
use abi::Errno;
use alloc::vec::Vec;
use virtio_drivers::transport::pci::bus::DeviceFunction;

const SECTOR: u64 = 512;
/// The most that one request reads.
const REQUEST: usize = 128 << 10;
/// Length of the device's name.
const ID: usize = 20;
const STATUS_OK: u8 = 0;

/// The requests' memory: header and status in the first page, the data behind it.
const HEADER: core::ops::Range<usize> = 0..16;
const STATUS: core::ops::Range<usize> = 16..17;
const DATA: usize = 4096;

static DONE: WaitQueue = WaitQueue::new();

/// What is asked of a disk (`VIRTIO_BLK_T_*`).
#[derive(Clone, Copy)]
enum Kind {
    Read = 0,
    Write = 1,
    Flush = 4,
    Id = 8,
}

/// A disk.
pub struct Disk {
    /// Keeps the device from being reset.
    _device: Device,
    size: u64,
    name: Vec<u8>,
    flushes: bool,
    read_only: bool,
    requests: Mutex<Requests>,
}

struct Requests {
    queue: Queue<4>,
    memory: DmaBuffer,
}

/// Starts a disk.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<Disk, Failure> {
    let mut device = Device::open(bus, function)?;
    let vector = device.vector(|_| {
        DONE.wake_all();
    })?;
    let features = device.begin(Features::BLOCK_FLUSH | Features::BLOCK_READ_ONLY)?;
    let queue = device.queue(0, Some(vector))?;
    let memory = DmaBuffer::new(DATA + REQUEST).ok_or(Failure::NoMemory)?;
    device.finish();
    let sectors = u64::from(device.field(4)?) << 32 | u64::from(device.field(0)?);
    let size = sectors.saturating_mul(SECTOR);
    let mut requests = Requests { queue, memory };
    let id = requests.ask(Kind::Id, 0, ID).unwrap_or(&[0; ID]);
    let name = id.split(|&byte| byte == 0).next().unwrap_or(id).to_vec();
    ::log::info!("pci {function}: a disk, {} KiB", size >> 10);
    Ok(Disk {
        _device: device,
        size,
        name,
        flushes: features.contains(Features::BLOCK_FLUSH),
        read_only: features.contains(Features::BLOCK_READ_ONLY),
        requests: Mutex::new(requests),
    })
}

impl Requests {
    /// Asks for `len` bytes from `sector` on, which are in the request's memory then.
    fn ask(&mut self, kind: Kind, sector: u64, len: usize) -> Result<&[u8], Errno> {
        self.request(kind, sector, len)?;
        // SAFETY: the device is done; `&mut self`, borrowed by the result, keeps the next request off.
        Ok(unsafe { self.memory.slice(DATA..DATA + len) })
    }

    /// Writes `data`, which fits into a request.
    fn tell(&mut self, sector: u64, data: &[u8]) -> Result<(), Errno> {
        // SAFETY: no request is under way, so the memory is ours alone; `&mut self` keeps other threads off.
        let memory = unsafe { self.memory.slice_mut(DATA..DATA + data.len()) };
        memory.copy_from_slice(data);
        self.request(Kind::Write, sector, data.len())
    }

    fn request(&mut self, kind: Kind, sector: u64, len: usize) -> Result<(), Errno> {
        let Self { queue, memory } = self;
        let data = DATA..DATA + len;
        // SAFETY: no request is under way, so the memory is ours alone; `&mut self` keeps other threads off.
        let (header, status) = unsafe { (memory.slice_mut(HEADER), memory.slice_mut(STATUS)) };
        let number = kind as u32;
        header[..4].copy_from_slice(&number.to_le_bytes());
        header[4..8].fill(0);
        header[8..].copy_from_slice(&sector.to_le_bytes());
        status[0] = !STATUS_OK;
        // SAFETY: the memory stays allocated for good, and nobody touches it before the request is popped, below; the
        // data are either read or written by the device.
        let (header, status) = unsafe { (memory.slice(HEADER), memory.slice_mut(STATUS)) };
        let tells: &[u8] = match kind {
            // SAFETY: the device reads the data of this kind of request, and nobody writes to them before it is popped.
            Kind::Write => unsafe { memory.slice(data.clone()) },
            _ => &[],
        };
        let asks: &mut [u8] = match kind {
            // SAFETY: the device alone writes to the data of these kinds of request, and nobody reads them before it is
            // popped.
            Kind::Read | Kind::Id => unsafe { memory.slice_mut(data) },
            _ => &mut [],
        };
        let (inputs, outputs): (&[&[u8]], &mut [&mut [u8]]) = match kind {
            Kind::Write => (&[header, tells], &mut [status]),
            Kind::Flush => (&[header], &mut [status]),
            Kind::Read | Kind::Id => (&[header], &mut [asks, status]),
        };
        // SAFETY: as above; the slices live until the request is popped.
        let added = unsafe { queue.ring.add(inputs, outputs) };
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
        let popped = unsafe { queue.ring.pop_used(token, inputs, outputs) };
        popped.map_err(|_| Errno::EIO)?;
        // SAFETY: the device is done, and this the last reference.
        match unsafe { memory.slice(STATUS)[0] } {
            STATUS_OK => Ok(()),
            _ => Err(Errno::EIO),
        }
    }
}

impl Disk {
    /// The name that QEMU was given for it (`serial`).
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it refuses writes.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Writes `data` at `offset`, both multiples of the sector size.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::EIO)?;
        if end > self.size || !(offset | data.len() as u64).is_multiple_of(SECTOR) {
            return Err(Errno::EIO);
        }
        let mut requests = self.requests.lock();
        for (part, at) in data.chunks(REQUEST).zip((offset..).step_by(REQUEST)) {
            requests.tell(at / SECTOR, part)?;
        }
        Ok(())
    }

    /// Has everything that was written on stable storage.
    pub fn flush(&self) -> Result<(), Errno> {
        if !self.flushes {
            return Ok(());
        }
        self.requests.lock().request(Kind::Flush, 0, 0)
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
            let data = &requests.ask(Kind::Read, sector, len)?[skip..];
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
