//! virtio-blk: the root device of machines without virtio-pmem, and volumes.
//!
//! Several requests are under way at once, of one caller or of many, who sleep until theirs are done. The device reads
//! and writes the callers' memory itself; only what is not whole sectors, or lies on a stack, goes by way of a copy.
use super::{
    RootDevice,
    dma::DmaBuffer,
    pci::Bus,
    virtio::{Device, Failure, Features, Queue},
};
use crate::{
    arch::layout::PAGE,
    mm::{frame::Frame, kernel_map},
    sched::{Storage, count_storage},
    sync::{Signals, SpinLock, WaitQueue},
};
use abi::Errno;
use alloc::{boxed::Box, vec, vec::Vec};
use core::ops::Range;
use virtio_drivers::transport::pci::bus::DeviceFunction;

const SECTOR: u64 = 512;
/// Descriptors of the queue.
const DESCRIPTORS: usize = 128;
/// Requests under way at once.
const SLOTS: usize = 32;
/// Pieces of memory that one request is about.
const PIECES: usize = 32;
/// The most that one piece has.
const PIECE: usize = 256 << 10;
/// Length of the device's name.
const ID: usize = 20;
const STATUS_OK: u8 = 0;

/// What the device reads and writes beside the data, for each request.
const HEADER: Range<usize> = 0..16;
const STATUS: Range<usize> = 16..17;
const SLOT_LEN: usize = 32;

/// Woken when any disk is done with a request, or has room for one.
static DONE: WaitQueue = WaitQueue::new();

/// What is asked of a disk (`VIRTIO_BLK_T_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read = 0,
    Write = 1,
    Flush = 4,
    Id = 8,
    Discard = 11,
}

impl Kind {
    /// Whether the device reads the data.
    fn tells(self) -> bool {
        matches!(self, Self::Write | Self::Discard)
    }
}

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
    memory: DmaBuffer,
    requests: SpinLock<Requests>,
}

/// Memory that a request is about, which its caller keeps as it is until the device is done.
#[derive(Clone, Copy)]
struct Piece {
    start: *mut u8,
    len: usize,
}

// SAFETY: it is a promise about memory, which any thread may pass on.
unsafe impl Send for Piece {}

struct Requests {
    queue: Queue<DESCRIPTORS>,
    slots: Box<[Slot]>,
    /// The slot of each request in the queue, by token.
    owners: Box<[usize]>,
}

struct Slot {
    state: State,
    kind: Kind,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Asked,
    Done(Result<(), Errno>),
}

/// Starts a disk.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<Disk, Failure> {
    let mut device = Device::open(bus, function)?;
    let vector = device.vector(|_| {
        DONE.wake_all();
    })?;
    let wanted = Features::BLOCK_FLUSH | Features::BLOCK_READ_ONLY | Features::BLOCK_DISCARD;
    let features = device.begin(wanted)?;
    let queue = device.queue(0, Some(vector))?;
    let memory = DmaBuffer::new(SLOTS * SLOT_LEN).ok_or(Failure::NoMemory)?;
    device.finish();
    let sectors = u64::from(device.field(4)?) << 32 | u64::from(device.field(0)?);
    let discards = match features.contains(Features::BLOCK_DISCARD) {
        true => u64::from(device.field(36)?),
        false => 0,
    };
    let free = || Slot {
        state: State::Free,
        kind: Kind::Id,
        pieces: Vec::with_capacity(PIECES),
    };
    let mut disk = Disk {
        _device: device,
        size: sectors.saturating_mul(SECTOR),
        name: Vec::new(),
        flushes: features.contains(Features::BLOCK_FLUSH),
        read_only: features.contains(Features::BLOCK_READ_ONLY),
        discards,
        memory,
        requests: SpinLock::new(Requests {
            queue,
            slots: (0..SLOTS).map(|_| free()).collect(),
            owners: vec![0; DESCRIPTORS].into_boxed_slice(),
        }),
    };
    let mut id = vec![0; ID];
    if disk.run(Kind::Id, 0, [Piece::to_fill(&mut id)]).is_ok() {
        id.truncate(id.iter().position(|&byte| byte == 0).unwrap_or(ID));
        disk.name = id;
    }
    ::log::info!("pci {function}: a disk, {} KiB", disk.size >> 10);
    Ok(disk)
}

impl Piece {
    /// Memory that the device writes to.
    fn to_fill(bytes: &mut [u8]) -> Self {
        let (start, len) = (bytes.as_mut_ptr(), bytes.len());
        Self { start, len }
    }

    /// Memory that the device reads.
    fn to_read(bytes: &[u8]) -> Self {
        let (start, len) = (bytes.as_ptr().cast_mut(), bytes.len());
        Self { start, len }
    }
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
            let slot = loop {
                if let Some(slot) = self.requests.lock().ask(&self.memory, kind, sector, &part) {
                    break slot;
                }
                match under_way.pop() {
                    Some(slot) => result = result.and(self.wait(slot)),
                    None => wait(|| self.requests.lock().has_room().then_some(())),
                }
            };
            self.ring();
            under_way.push(slot);
            sector += len as u64 / SECTOR;
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
        let requests = self.requests.lock();
        let bell = requests.queue.ring.should_notify();
        let doorbell = requests.queue.doorbell;
        drop(requests);
        if bell {
            doorbell.ring();
        }
    }

    /// Waits until the request in a slot is done, which is free then.
    fn wait(&self, slot: usize) -> Result<(), Errno> {
        let result = wait(|| {
            let mut requests = self.requests.lock();
            let others = requests.take_done(&self.memory, slot);
            let done = match requests.slots[slot].state {
                State::Done(result) => {
                    requests.slots[slot].state = State::Free;
                    Some(result)
                }
                _ => None,
            };
            drop(requests);
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

impl Requests {
    /// Whether a request may be put into the queue, whatever it is about.
    fn has_room(&self) -> bool {
        self.queue.ring.available_desc() >= PIECES + 2
            && self.slots.iter().any(|slot| slot.state == State::Free)
    }

    /// Puts a request into the queue, if there is room: its slot.
    fn ask(
        &mut self,
        memory: &DmaBuffer,
        kind: Kind,
        sector: u64,
        pieces: &[Piece],
    ) -> Option<usize> {
        if self.queue.ring.available_desc() < PIECES + 2 {
            return None;
        }
        let free = |slot: &Slot| slot.state == State::Free;
        let index = self.slots.iter().position(free)?;
        let slot = &mut self.slots[index];
        slot.kind = kind;
        slot.pieces.clear();
        slot.pieces.extend_from_slice(pieces);
        let at = index * SLOT_LEN;
        // SAFETY: the slot is free, so the device is done with its memory, and the lock keeps others off.
        let (header, status) = unsafe {
            (
                memory.slice_mut(at + HEADER.start..at + HEADER.end),
                memory.slice_mut(at + STATUS.start..at + STATUS.end),
            )
        };
        let number = kind as u32;
        header[..4].copy_from_slice(&number.to_le_bytes());
        header[4..8].fill(0);
        header[8..].copy_from_slice(&sector.to_le_bytes());
        status[0] = !STATUS_OK;
        // SAFETY: the memory of the slot stays for good, and nobody touches it before the request is popped; who asks
        // waits for that in `run`, with the pieces borrowed.
        let added = unsafe {
            let mut buffers = Buffers::of(memory, index, slot);
            let (inputs, outputs) = buffers.parts();
            self.queue.ring.add(inputs, outputs)
        };
        let token = added.ok()?;
        slot.state = State::Asked;
        self.owners[usize::from(token)] = index;
        Some(index)
    }

    /// Takes what the device is done with out of the queue; whether there was something in other slots than `own`.
    fn take_done(&mut self, memory: &DmaBuffer, own: usize) -> bool {
        let mut others = false;
        while let Some(token) = self.queue.ring.peek_used() {
            let index = self.owners[usize::from(token)];
            let slot = &mut self.slots[index];
            // SAFETY: this is what was added under this token, and the device is done with it.
            let popped = unsafe {
                let mut buffers = Buffers::of(memory, index, slot);
                let (inputs, outputs) = buffers.parts();
                self.queue.ring.pop_used(token, inputs, outputs)
            };
            let at = index * SLOT_LEN;
            // SAFETY: the device is done with the slot, and the lock keeps others off.
            let status = unsafe { memory.slice(at + STATUS.start..at + STATUS.end)[0] };
            let good = popped.is_ok() && status == STATUS_OK;
            slot.state = State::Done(if good { Ok(()) } else { Err(Errno::EIO) });
            others |= index != own;
        }
        others
    }
}

/// What the device reads and writes for a request.
struct Buffers<'a> {
    inputs: [&'a [u8]; PIECES + 1],
    input_count: usize,
    outputs: [&'a mut [u8]; PIECES + 1],
    output_count: usize,
}

impl<'a> Buffers<'a> {
    /// Those of the request in a slot.
    ///
    /// # Safety
    /// The pieces must still be the request's, and nobody else may use them or the slot's memory as long as the result
    /// lives; nor, if it is put into the queue, until it has been popped.
    unsafe fn of(memory: &'a DmaBuffer, index: usize, slot: &Slot) -> Self {
        let at = index * SLOT_LEN;
        let mut buffers = Self {
            inputs: [&[]; PIECES + 1],
            input_count: 1,
            outputs: core::array::from_fn(|_| -> &mut [u8] { &mut [] }),
            output_count: 0,
        };
        // SAFETY: the slot's memory is the request's by the caller's promise.
        buffers.inputs[0] = unsafe { memory.slice(at + HEADER.start..at + HEADER.end) };
        for piece in &slot.pieces {
            if slot.kind.tells() {
                // SAFETY: the memory was a slice when the piece was made, and is the request's by the caller's promise.
                buffers.inputs[buffers.input_count] =
                    unsafe { core::slice::from_raw_parts(piece.start, piece.len) };
                buffers.input_count += 1;
            } else {
                // SAFETY: the memory was a slice that may be written to when the piece was made, or a frame, and is the
                // request's by the caller's promise.
                buffers.outputs[buffers.output_count] =
                    unsafe { core::slice::from_raw_parts_mut(piece.start, piece.len) };
                buffers.output_count += 1;
            }
        }
        let status = at + STATUS.start..at + STATUS.end;
        // SAFETY: the slot's memory is the request's by the caller's promise.
        buffers.outputs[buffers.output_count] = unsafe { memory.slice_mut(status) };
        buffers.output_count += 1;
        buffers
    }

    fn parts(&'a mut self) -> (&'a [&'a [u8]], &'a mut [&'a mut [u8]]) {
        let outputs = &mut self.outputs[..self.output_count];
        (&self.inputs[..self.input_count], outputs)
    }
}

impl RootDevice for Disk {
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
        let pieces = frames.iter().map(|frame| Piece {
            start: frame.bytes(),
            len: PAGE,
        });
        self.run(Kind::Read, offset / SECTOR, pieces)
    }

    fn direct(&self, _: u64) -> Option<u64> {
        None
    }
}
