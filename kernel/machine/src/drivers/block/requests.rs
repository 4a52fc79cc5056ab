//! The requests that are under way at a disk: slots, each with a request's memory and its descriptors in the queue.
use super::counts::DiskCounts;
use crate::{
    drivers::{
        dma::DmaBuffer,
        virtio::{Device, Doorbell, Failure, Queue, Vector},
    },
    mm::{PAGE, frame::Frame},
    time::Instant,
};
use abi::Errno;
use alloc::{boxed::Box, vec, vec::Vec};
use core::ops::Range;

pub(super) const SECTOR: u64 = 512;
/// Descriptors of the queue.
const DESCRIPTORS: usize = 128;
/// Requests under way at once.
const SLOTS: usize = 32;
/// Pieces of memory that one request is about.
pub(super) const PIECES: usize = 32;
/// The most that one piece has.
pub(super) const PIECE: usize = 256 << 10;
const STATUS_OK: u8 = 0;

/// What the device reads and writes beside the data, for each request.
const HEADER: Range<usize> = 0..16;
const STATUS: Range<usize> = 16..17;
const SLOT_LEN: usize = 32;

/// What is asked of a disk (`VIRTIO_BLK_T_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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

/// Memory that a request is about, which its caller keeps as it is until the device is done.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    start: *mut u8,
    pub(super) len: usize,
}

// SAFETY: it is a promise about memory, which any thread may pass on.
unsafe impl Send for Piece {}

impl Piece {
    /// Memory that the device writes to.
    pub(super) fn to_fill(bytes: &mut [u8]) -> Self {
        let (start, len) = (bytes.as_mut_ptr(), bytes.len());
        Self { start, len }
    }

    /// Memory that the device reads.
    pub(super) fn to_read(bytes: &[u8]) -> Self {
        let (start, len) = (bytes.as_ptr().cast_mut(), bytes.len());
        Self { start, len }
    }

    /// A frame that the device writes to.
    pub(super) fn of_frame(frame: &Frame) -> Self {
        let (start, len) = (frame.bytes(), PAGE);
        Self { start, len }
    }
}

/// The requests of a disk.
pub(super) struct Requests {
    queue: Queue<DESCRIPTORS>,
    memory: DmaBuffer,
    slots: Box<[Slot]>,
    /// The slot of each request in the queue, by token.
    owners: Box<[usize]>,
    counts: DiskCounts,
}

struct Slot {
    state: State,
    kind: Kind,
    pieces: Vec<Piece>,
    /// How many sectors it is about.
    sectors: u64,
    /// When it was asked.
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Asked,
    Done(Result<(), Errno>),
}

impl Requests {
    /// None yet, of a device that is being started.
    pub(super) fn new(device: &mut Device, vector: Vector) -> Result<Self, Failure> {
        let free = || Slot {
            state: State::Free,
            kind: Kind::Id,
            pieces: Vec::with_capacity(PIECES),
            sectors: 0,
            since: Instant(0),
        };
        Ok(Self {
            queue: device.queue(0, Some(vector))?,
            memory: DmaBuffer::new(SLOTS * SLOT_LEN).ok_or(Failure::NoMemory)?,
            slots: (0..SLOTS).map(|_| free()).collect(),
            owners: vec![0; DESCRIPTORS].into_boxed_slice(),
            counts: DiskCounts::default(),
        })
    }

    /// What is done, and under way, now.
    pub(super) fn counts(&self) -> DiskCounts {
        self.counts.until(Instant::now())
    }

    /// So many sectors are forgotten: a request says that in its data.
    pub(super) fn discarded(&mut self, sectors: u64) {
        self.counts.discards.sectors += sectors;
    }

    /// How to tell the device of what was asked; `None` if it looks by itself.
    pub(super) fn doorbell(&self) -> Option<Doorbell> {
        let bell = self.queue.ring.should_notify();
        bell.then_some(self.queue.doorbell)
    }

    /// Whether a request may be put into the queue, whatever it is about.
    pub(super) fn has_room(&self) -> bool {
        self.queue.ring.available_desc() >= PIECES + 2
            && self.slots.iter().any(|slot| slot.state == State::Free)
    }

    /// Puts a request into the queue, if there is room: its slot.
    ///
    /// # Safety
    /// What the pieces are of must stay, and be the device's alone, until [`Requests::take`] has given the slot's
    /// result.
    pub(super) unsafe fn ask(
        &mut self,
        kind: Kind,
        sectors: Range<u64>,
        pieces: &[Piece],
    ) -> Option<usize> {
        if self.queue.ring.available_desc() < PIECES + 2 {
            return None;
        }
        let free = |slot: &Slot| slot.state == State::Free;
        let index = self.slots.iter().position(free)?;
        let slot = &mut self.slots[index];
        slot.kind = kind;
        slot.sectors = sectors.end - sectors.start;
        slot.pieces.clear();
        slot.pieces.extend_from_slice(pieces);
        let at = index * SLOT_LEN;
        // SAFETY: the slot is free, so the device is done with its memory, and the lock keeps others off.
        let (header, status) = unsafe {
            (
                self.memory.slice_mut(at + HEADER.start..at + HEADER.end),
                self.memory.slice_mut(at + STATUS.start..at + STATUS.end),
            )
        };
        let number = kind as u32;
        header[..4].copy_from_slice(&number.to_le_bytes());
        header[4..8].fill(0);
        header[8..].copy_from_slice(&sectors.start.to_le_bytes());
        status[0] = !STATUS_OK;
        // SAFETY: the memory of the slot stays for good, and nobody touches it before the request is popped; that of
        // the pieces is the device's until then by the caller's promise.
        let added = unsafe {
            let mut buffers = Buffers::of(&self.memory, index, slot);
            let (inputs, outputs) = buffers.parts();
            self.queue.ring.add(inputs, outputs)
        };
        let token = added.ok()?;
        slot.state = State::Asked;
        slot.since = Instant::now();
        self.counts.begin(slot.since);
        self.owners[usize::from(token)] = index;
        Some(index)
    }

    /// The result of the request in a slot, which is free then, if the device is done with it; and whether it is with
    /// what was asked in others.
    pub(super) fn take(&mut self, own: usize) -> (Option<Result<(), Errno>>, bool) {
        let mut others = false;
        while let Some(token) = self.queue.ring.peek_used() {
            let index = self.owners[usize::from(token)];
            self.pop(index, token);
            others |= index != own;
        }
        let slot = &mut self.slots[own];
        let State::Done(result) = slot.state else {
            return (None, others);
        };
        slot.state = State::Free;
        (Some(result), others)
    }

    /// Takes the request in a slot out of the queue: the device is done with it.
    fn pop(&mut self, index: usize, token: u16) {
        let slot = &mut self.slots[index];
        // SAFETY: this is what was added under this token, and the device is done with it.
        let popped = unsafe {
            let mut buffers = Buffers::of(&self.memory, index, slot);
            let (inputs, outputs) = buffers.parts();
            self.queue.ring.pop_used(token, inputs, outputs)
        };
        let at = index * SLOT_LEN;
        // SAFETY: the device is done with the slot, and the lock keeps others off.
        let status = unsafe { self.memory.slice(at + STATUS.start..at + STATUS.end)[0] };
        let good = popped.is_ok() && status == STATUS_OK;
        slot.state = State::Done(if good { Ok(()) } else { Err(Errno::EIO) });
        let now = Instant::now();
        self.counts.end(now);
        let done = match slot.kind {
            Kind::Read => &mut self.counts.reads,
            Kind::Write => &mut self.counts.writes,
            Kind::Flush => &mut self.counts.flushes,
            Kind::Discard => &mut self.counts.discards,
            Kind::Id => return,
        };
        done.add(slot.sectors, now.0.saturating_sub(slot.since.0));
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
        // SAFETY: the slot's memory is the request's by the caller's promise.
        let (header, status) = unsafe {
            (
                memory.slice(at + HEADER.start..at + HEADER.end),
                memory.slice_mut(at + STATUS.start..at + STATUS.end),
            )
        };
        let mut buffers = Self {
            inputs: [header; PIECES + 1],
            input_count: 1,
            outputs: core::array::from_fn(|_| -> &mut [u8] { &mut [] }),
            output_count: 0,
        };
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
        buffers.outputs[buffers.output_count] = status;
        buffers.output_count += 1;
        buffers
    }

    fn parts(&'a mut self) -> (&'a [&'a [u8]], &'a mut [&'a mut [u8]]) {
        let outputs = &mut self.outputs[..self.output_count];
        (&self.inputs[..self.input_count], outputs)
    }
}
