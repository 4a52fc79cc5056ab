//! virtio-net: frames of Ethernet to and from the host.
//!
//! Received frames stay in the device's buffers until they are taken, one at a time. Whoever takes them says when the
//! device is to interrupt: not while there is work anyway. What is sent while the device has all buffers waits its
//! turn. The device is told of many frames at once: each time it is told, the virtual machine is left. Offloads,
//! several queues and large frames are left out.
use super::{
    pci::Bus,
    virtio::{Device, Doorbell, Failure, Features, Filled, Pool},
};
use crate::sync::{SpinLock, WaitQueue};
use alloc::{collections::VecDeque, vec::Vec};
use spin::Once;
use virtio_drivers::transport::pci::bus::DeviceFunction;

/// Buffers of each direction.
const BUFFERS: usize = 64;
/// `struct virtio_net_hdr_v1`
const HEADER: usize = 12;
/// The most bytes of a frame: a header of Ethernet, and the MTU.
pub const FRAME: usize = 14 + 1500;
const SIZE: usize = 2048;
/// Frames that wait for a buffer (Linux: `txqueuelen`). Who can wait looks whether there is one ([`can_send`]); answers
/// cannot.
const WAITING: usize = 1000;

/// Buffers that are given back to the device before it is told.
const RETURNED: usize = BUFFERS / 2;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

struct Nic {
    /// Keeps the device from being reset.
    _device: Device,
    mac: [u8; 6],
    receiver: SpinLock<Receiver>,
    sender: SpinLock<Sender>,
    queue: WaitQueue,
}

struct Receiver {
    pool: Pool<BUFFERS>,
    /// Buffers the device has back, and was not told of.
    returned: usize,
}

struct Sender {
    pool: Pool<BUFFERS>,
    /// The device has frames that it was not told of.
    untold: bool,
    /// Bit n: buffer n is free.
    free: u64,
    /// Frames that wait for one.
    waiting: VecDeque<Vec<u8>>,
}

static NIC: Once<Nic> = Once::new();

/// Starts the device.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<(), Failure> {
    if NIC.is_completed() {
        return Err(Failure::Lacks("use for a second network device"));
    }
    let mut device = Device::open(bus, function)?;
    let vector = device.vector("virtio_net", |_| interrupt())?;
    if !device.begin(Features::NET_MAC)?.contains(Features::NET_MAC) {
        return Err(Failure::Lacks("hardware address"));
    }
    let receiver = device.queue(RECEIVE, Some(vector))?;
    let sender = device.queue(TRANSMIT, Some(vector))?;
    let mut receiver = Pool::new(receiver, SIZE, Filled::ByDevice)?;
    let mut sender = Pool::new(sender, SIZE, Filled::ByDriver)?;
    let ([a, b, c, d], [e, f, ..]) = (
        device.field(0)?.to_le_bytes(),
        device.field(4)?.to_le_bytes(),
    );
    device.finish();
    sender.set_interrupts(false);
    for index in 0..BUFFERS {
        receiver.post(index, SIZE);
    }
    if let Some(doorbell) = receiver.doorbell() {
        doorbell.ring();
    }
    NIC.call_once(|| Nic {
        _device: device,
        mac: [a, b, c, d, e, f],
        receiver: SpinLock::new(Receiver {
            pool: receiver,
            returned: 0,
        }),
        sender: SpinLock::new(Sender {
            pool: sender,
            untold: false,
            free: u64::MAX,
            waiting: VecDeque::new(),
        }),
        queue: WaitQueue::new(),
    });
    ::log::info!("pci {function}: network");
    Ok(())
}

/// Interrupt context: a frame has come, or there is room again for one to be sent.
fn interrupt() {
    if let Some(nic) = NIC.get() {
        nic.queue.wake_all();
    }
}

/// The hardware address, if there is a device.
pub fn mac() -> Option<[u8; 6]> {
    NIC.get().map(|nic| nic.mac)
}

/// Woken when there are frames, if [`listen`] was called before they came; by others, too.
pub fn queue() -> Option<&'static WaitQueue> {
    NIC.get().map(|nic| &nic.queue)
}

/// Asks for interrupts, or not to be bothered; whether there are frames already.
pub fn listen(on: bool) -> bool {
    let Some(nic) = NIC.get() else { return false };
    let mut receiver = nic.receiver.lock();
    receiver.pool.set_interrupts(on);
    let has_news = receiver.pool.has_news();
    let doorbell = receiver.doorbell(1);
    drop(receiver);
    ring(doorbell);
    has_news
}

fn ring(doorbell: Option<Doorbell>) {
    if let Some(doorbell) = doorbell {
        doorbell.ring();
    }
}

/// Takes a frame that has come into `buf`, of [`FRAME`] bytes; its length.
pub fn receive(buf: &mut [u8]) -> Option<usize> {
    let nic = NIC.get()?;
    let mut receiver = nic.receiver.lock();
    let (index, len) = receiver.pool.take()?;
    let len = len.saturating_sub(HEADER).min(buf.len());
    buf[..len].copy_from_slice(&receiver.pool.buffer(index)[HEADER..HEADER + len]);
    receiver.pool.post(index, SIZE);
    receiver.returned += 1;
    let doorbell = receiver.doorbell(RETURNED);
    drop(receiver);
    ring(doorbell);
    Some(len)
}

/// Whether a frame can be sent now; if not, the queue is woken when it can. What has waited is sent first: whoever is
/// woken by the device asks.
pub fn can_send() -> bool {
    let Some(nic) = NIC.get() else { return false };
    let mut sender = nic.sender.lock();
    sender.settle();
    let can_send = !sender.is_full();
    let doorbell = sender.doorbell(!can_send);
    drop(sender);
    ring(doorbell);
    can_send
}

/// Has what was sent go out: the device is told of it.
pub fn flush() {
    let Some(nic) = NIC.get() else { return };
    let doorbell = nic.sender.lock().doorbell(true);
    ring(doorbell);
}

/// Sends a frame of `len` bytes, at most [`FRAME`], that `fill` makes; it may go out only with [`flush`]. It waits if
/// there is no room, and is lost if too many do.
pub fn send<R>(len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut frame = [0; HEADER + FRAME];
    let len = len.min(FRAME);
    let result = fill(&mut frame[HEADER..HEADER + len]);
    let Some(nic) = NIC.get() else { return result };
    let frame = &frame[..HEADER + len];
    let mut sender = nic.sender.lock();
    sender.settle();
    if !sender.is_full() {
        sender.put(frame);
    } else if sender.waiting.len() < WAITING {
        sender.waiting.push_back(frame.to_vec());
    }
    let full = sender.is_full();
    let doorbell = sender.doorbell(full);
    drop(sender);
    ring(doorbell);
    result
}

impl Receiver {
    /// What to ring if so many buffers were given back.
    fn doorbell(&mut self, least: usize) -> Option<Doorbell> {
        if self.returned < least {
            return None;
        }
        self.returned = 0;
        self.pool.doorbell()
    }
}

impl Sender {
    fn reclaim(&mut self) {
        while let Some((index, _)) = self.pool.take() {
            self.free |= 1 << index;
        }
    }

    /// What to ring `now` if the device has frames that it was not told of.
    fn doorbell(&mut self, now: bool) -> Option<Doorbell> {
        if !now || !core::mem::take(&mut self.untold) {
            return None;
        }
        self.pool.doorbell()
    }

    /// Whether a frame would have to wait.
    fn is_full(&self) -> bool {
        self.free == 0 || !self.waiting.is_empty()
    }

    /// Hands a frame to the device, which has returned a buffer.
    fn put(&mut self, frame: &[u8]) {
        let Some(index) = (0..BUFFERS).find(|index| self.free >> index & 1 != 0) else {
            return;
        };
        self.free &= !(1 << index);
        self.pool.buffer(index)[..frame.len()].copy_from_slice(frame);
        self.pool.post(index, frame.len());
        self.untold = true;
    }

    /// Hands over what waits. If there is not room for all of it and more, the device says when there is.
    fn settle(&mut self) {
        self.hand_over();
        let full = self.is_full();
        self.pool.set_interrupts(full);
        if full {
            // It may have returned some just before it was asked to say so.
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.reclaim();
        while self.free != 0
            && let Some(frame) = self.waiting.pop_front()
        {
            self.put(&frame);
        }
    }
}
