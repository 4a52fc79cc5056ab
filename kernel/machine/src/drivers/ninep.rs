//! virtio-9p: messages to a file server of the host's and its answers. What is in them is the file system's business.
//!
//! A device has a few slots, each with memory for one message and its answer, of which one may be large; so many
//! requests are under way at once, and who asks sleeps.
use super::{
    dma::DmaBuffer,
    pci::Bus,
    virtio::{Device, Failure, Features, Queue},
};
use crate::sync::{Signals, SpinLock, WaitQueue};
use abi::Errno;
use alloc::{boxed::Box, vec::Vec};
use virtio_drivers::transport::pci::bus::DeviceFunction;

/// Requests under way at once.
const SLOTS: usize = 4;
/// The most and the least that a large message may have.
const LARGE: usize = 512 << 10;
const LEAST: usize = 16 << 10;
/// What other messages may have.
const SMALL: usize = 8 << 10;

/// Woken when any device is done with a request, or a slot is free.
static NEWS: WaitQueue = WaitQueue::new();
static SERVERS: SpinLock<Vec<&'static Server>> = SpinLock::new(Vec::new());

/// Which message of a request is the large one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Large {
    /// What is asked.
    Request,
    /// The answer.
    Answer,
}

/// A server.
pub struct Server {
    /// Keeps the device from being reset.
    _device: Device,
    tag: Vec<u8>,
    large: usize,
    memory: DmaBuffer,
    requests: SpinLock<Requests>,
}

struct Requests {
    queue: Queue<{ 4 * SLOTS }>,
    slots: [Slot; SLOTS],
    /// The slot of each request in the queue, by token.
    owners: [usize; 4 * SLOTS],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    /// Somebody's, who is filling or reading it.
    Taken,
    /// In the queue: how much is asked, and where.
    Asked(Large, usize),
    /// The device has written so much.
    Answered(usize),
}

/// The server with a mount tag.
pub fn find(tag: &[u8]) -> Option<&'static Server> {
    let servers = SERVERS.lock();
    servers.iter().find(|server| server.tag == tag).copied()
}

/// Starts a device.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<(), Failure> {
    let mut device = Device::open(bus, function)?;
    let vector = device.vector("9pnet_virtio", |_| {
        NEWS.wake_all();
    })?;
    device.begin(Features::NINEP_MOUNT_TAG)?;
    let queue = device.queue(0, Some(vector))?;
    let mut large = LARGE;
    let memory = loop {
        match DmaBuffer::new(SLOTS * (large + SMALL)) {
            Some(memory) => break memory,
            None if large <= LEAST => return Err(Failure::NoMemory),
            None => large /= 2,
        }
    };
    device.finish();
    let len = device.field(0)? as usize & 0xffff;
    let mut tag = Vec::new();
    for at in (0..len + 2).step_by(4) {
        tag.extend_from_slice(&device.field(at)?.to_le_bytes());
    }
    let tag = tag.get(2..len + 2).ok_or(Failure::Lacks("mount tag"))?;
    let server = Server {
        _device: device,
        tag: tag.to_vec(),
        large,
        memory,
        requests: SpinLock::new(Requests {
            queue,
            slots: [Slot::Free; SLOTS],
            owners: [0; 4 * SLOTS],
        }),
    };
    SERVERS.lock().push(Box::leak(Box::new(server)));
    Ok(())
}

impl Server {
    /// How long a large message may be.
    pub fn most(&self) -> usize {
        self.large
    }

    fn parts(
        &self,
        slot: usize,
        large: Large,
    ) -> (core::ops::Range<usize>, core::ops::Range<usize>) {
        let start = slot * (self.large + SMALL);
        let (big, small) = (
            start..start + self.large,
            start + self.large..start + self.large + SMALL,
        );
        match large {
            Large::Request => (big, small),
            Large::Answer => (small, big),
        }
    }

    /// Has `fill` write a message, whose length it returns, sends it, and has `read` look at the answer. May sleep.
    pub fn request<R>(
        &self,
        large: Large,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Errno> {
        let slot = wait(|| self.requests.lock().take_free());
        let (ask, answer) = self.parts(slot, large);
        // SAFETY: the slot was free and is this call's now, so nobody else uses its memory.
        let message = unsafe { self.memory.slice_mut(ask.clone()) };
        let sent = fill(message).and_then(|len| {
            self.send(slot, large, len)?;
            Ok(wait(|| self.answer(slot)))
        });
        let result = sent.map(|len| {
            // SAFETY: the device is done with the slot, which is still this call's.
            let bytes = unsafe { self.memory.slice(answer.start..answer.end) };
            read(&bytes[..len.min(bytes.len())])
        });
        self.requests.lock().slots[slot] = Slot::Free;
        NEWS.wake_all();
        result
    }

    fn send(&self, slot: usize, large: Large, len: usize) -> Result<(), Errno> {
        let (ask, answer) = self.parts(slot, large);
        let mut requests = self.requests.lock();
        // SAFETY: the memory stays for good; the slot is the caller's, who leaves it alone until `answer` has found
        // that the device is done.
        let added = unsafe {
            let message = self.memory.slice(ask.start..ask.start + len);
            let room = self.memory.slice_mut(answer);
            requests.queue.ring.add(&[message], &mut [room])
        };
        let token = added.map_err(|_| Errno::EIO)?;
        requests.owners[usize::from(token)] = slot;
        requests.slots[slot] = Slot::Asked(large, len);
        let bell = requests
            .queue
            .ring
            .should_notify()
            .then_some(requests.queue.doorbell);
        drop(requests);
        if let Some(bell) = bell {
            bell.ring();
        }
        Ok(())
    }

    /// Takes what the device is done with out of the queue; how long the answer in `slot` is, if it is there.
    fn answer(&self, slot: usize) -> Option<usize> {
        let mut requests = self.requests.lock();
        let mut others = false;
        while let Some(token) = requests.queue.ring.peek_used() {
            let done = requests.owners[usize::from(token)];
            let Slot::Asked(large, len) = requests.slots[done] else {
                break;
            };
            let (ask, answer) = self.parts(done, large);
            // SAFETY: this is what `send` added under this token, and the device is done with it; whose slot it is
            // waits for it to be answered.
            let popped = unsafe {
                let message = self.memory.slice(ask.start..ask.start + len);
                let room = self.memory.slice_mut(answer);
                requests.queue.ring.pop_used(token, &[message], &mut [room])
            };
            requests.slots[done] = Slot::Answered(popped.unwrap_or(0) as usize);
            others |= done != slot;
        }
        let found = match requests.slots[slot] {
            Slot::Answered(len) => {
                requests.slots[slot] = Slot::Taken;
                Some(len)
            }
            _ => None,
        };
        drop(requests);
        if others {
            NEWS.wake_all();
        }
        found
    }
}

impl Requests {
    fn take_free(&mut self) -> Option<usize> {
        let slot = self.slots.iter().position(|slot| *slot == Slot::Free)?;
        self.slots[slot] = Slot::Taken;
        Some(slot)
    }
}

/// Waits until `ready` has something: a request that is under way cannot be given up.
fn wait<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Ok(value) = NEWS.wait_until(None, Signals::Ignore, &mut ready) {
            return value;
        }
    }
}
