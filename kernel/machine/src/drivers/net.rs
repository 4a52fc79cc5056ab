//! virtio-net: frames of Ethernet to and from the host.
//!
//! Received frames stay in the device's buffers until they are taken, one at a time. Whoever takes them says when the
//! device is to interrupt: not while there is work anyway. Offloads, several queues and large frames are left out.
use super::{
    pci::Bus,
    virtio::{Device, Failure, Features, Filled, Pool},
};
use crate::sync::{SpinLock, WaitQueue};
use spin::Once;
use virtio_drivers::transport::pci::bus::DeviceFunction;

/// Buffers of each direction.
const BUFFERS: usize = 64;
/// `struct virtio_net_hdr_v1`
const HEADER: usize = 12;
/// The most bytes of a frame: a header of Ethernet, and the MTU.
pub const FRAME: usize = 14 + 1500;
const SIZE: usize = 2048;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

struct Nic {
    /// Keeps the device from being reset.
    _device: Device,
    mac: [u8; 6],
    receiver: SpinLock<Pool<BUFFERS>>,
    sender: SpinLock<Sender>,
    queue: WaitQueue,
}

struct Sender {
    pool: Pool<BUFFERS>,
    /// Bit n: buffer n is free.
    free: u64,
}

static NIC: Once<Nic> = Once::new();

/// Starts the device.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<(), Failure> {
    if NIC.is_completed() {
        return Err(Failure::Lacks("use for a second network device"));
    }
    let mut device = Device::open(bus, function)?;
    let vector = device.vector(|_| interrupt())?;
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
        receiver: SpinLock::new(receiver),
        sender: SpinLock::new(Sender {
            pool: sender,
            free: u64::MAX,
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
    receiver.set_interrupts(on);
    receiver.has_news()
}

/// Takes a frame that has come into `buf`, of [`FRAME`] bytes; its length.
pub fn receive(buf: &mut [u8]) -> Option<usize> {
    let nic = NIC.get()?;
    let mut receiver = nic.receiver.lock();
    let (index, len) = receiver.take()?;
    let len = len.saturating_sub(HEADER).min(buf.len());
    buf[..len].copy_from_slice(&receiver.buffer(index)[HEADER..HEADER + len]);
    receiver.post(index, SIZE);
    let doorbell = receiver.doorbell();
    drop(receiver);
    if let Some(doorbell) = doorbell {
        doorbell.ring();
    }
    Some(len)
}

/// Whether a frame can be sent now; if not, the queue is woken when it can.
pub fn can_send() -> bool {
    let Some(nic) = NIC.get() else { return false };
    let mut sender = nic.sender.lock();
    sender.reclaim();
    let full = sender.free == 0;
    sender.pool.set_interrupts(full);
    // It may have become so just before the device was asked to say so.
    sender.reclaim();
    sender.free != 0
}

/// Sends a frame of `len` bytes, at most [`FRAME`], that `fill` makes. It is lost when there is no room.
pub fn send<R>(len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut frame = [0; HEADER + FRAME];
    let len = len.min(FRAME);
    let result = fill(&mut frame[HEADER..HEADER + len]);
    let Some(nic) = NIC.get() else { return result };
    let mut sender = nic.sender.lock();
    sender.reclaim();
    let Some(index) = sender.take_free() else {
        return result;
    };
    sender.pool.buffer(index)[..HEADER + len].copy_from_slice(&frame[..HEADER + len]);
    sender.pool.post(index, HEADER + len);
    let doorbell = sender.pool.doorbell();
    drop(sender);
    if let Some(doorbell) = doorbell {
        doorbell.ring();
    }
    result
}

impl Sender {
    fn reclaim(&mut self) {
        while let Some((index, _)) = self.pool.take() {
            self.free |= 1 << index;
        }
    }

    fn take_free(&mut self) -> Option<usize> {
        let index = (0..BUFFERS).find(|index| self.free >> index & 1 != 0)?;
        self.free &= !(1 << index);
        Some(index)
    }
}
