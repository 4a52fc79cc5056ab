//! Virtio devices on PCI: finding their registers, starting them, queues with interrupts.
//!
//! The rings and the initialisation are the virtio-drivers crate's. What it leaves out is here: MSI-X, queue
//! notifications that take one register access and no lock, and device types it does not know.
use super::{
    dma::{DmaBuffer, DmaHal},
    pci::{Bus, Mmio, VectorTable},
};
use crate::arch::interrupt;
use alloc::boxed::Box;
use core::{fmt, mem::ManuallyDrop};
use virtio_drivers::{
    queue::VirtQueue,
    transport::{
        Transport,
        pci::{
            PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, VirtioPciError,
            bus::{DeviceFunction, PCI_CAP_ID_VNDR, PciError},
        },
    },
};

/// Device types.
pub(super) const NET: u16 = 1;
pub(super) const BLOCK: u16 = 2;
pub(super) const CONSOLE: u16 = 3;
pub(super) const ENTROPY: u16 = 4;
pub(super) const NINEP: u16 = 9;
pub(super) const PMEM: u16 = 27;

/// The device type that a PCI device id stands for: transitional ones first, then all that are modern only.
pub(super) fn kind(device: u16) -> Option<u16> {
    match device {
        0x1000 => Some(NET),
        0x1001 => Some(BLOCK),
        0x1003 => Some(CONSOLE),
        0x1005 => Some(ENTROPY),
        0x1009 => Some(NINEP),
        0x1040..0x1080 => Some(device - 0x1040),
        _ => None,
    }
}

/// Why a device cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// It does not describe itself as virtio demands.
    Pci(VirtioPciError),
    /// It refuses a queue or a request.
    Virtio(virtio_drivers::Error),
    /// There is no address for a BAR.
    NoAddress(u8),
    /// It has no MSI-X, or there are no interrupts left.
    NoInterrupt,
    /// No memory for its queues.
    NoMemory,
    /// It lacks something this driver depends on.
    Lacks(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(error) => error.fmt(f),
            Self::Virtio(error) => error.fmt(f),
            Self::NoAddress(bar) => write!(f, "no address for BAR {bar}"),
            Self::NoInterrupt => f.write_str("no MSI-X interrupt"),
            Self::NoMemory => f.write_str("out of memory"),
            Self::Lacks(what) => write!(f, "no {what}"),
        }
    }
}

impl From<VirtioPciError> for Failure {
    fn from(error: VirtioPciError) -> Self {
        Self::Pci(error)
    }
}

impl From<PciError> for Failure {
    fn from(error: PciError) -> Self {
        Self::Pci(error.into())
    }
}

impl From<virtio_drivers::Error> for Failure {
    fn from(error: virtio_drivers::Error) -> Self {
        Self::Virtio(error)
    }
}

bitflags::bitflags! {
    /// Features this kernel uses. The common ones that it does without (indirect descriptors, event indices) pay off
    /// with longer queues and more requests than it has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Features: u64 {
        /// The 9P server has a name.
        const NINEP_MOUNT_TAG = 1 << 0;
        /// The disk is read only.
        const BLOCK_READ_ONLY = 1 << 5;
        /// The disk has a cache that can be flushed.
        const BLOCK_FLUSH = 1 << 9;
        /// Blocks of the disk can be given back.
        const BLOCK_DISCARD = 1 << 13;
        /// The console has ports.
        const CONSOLE_MULTIPORT = 1 << 1;
        /// The network device has a hardware address.
        const NET_MAC = 1 << 5;
        /// The device is a modern one.
        const VERSION_1 = 1 << 32;
    }
}

/// Registers of the common configuration.
mod common {
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_VECTOR: usize = 26;
    pub(super) const QUEUE_NOTIFY_OFFSET: usize = 30;
    pub(super) const LENGTH: usize = 56;
}

/// Reads a capability (`virtio_pci_cap`) of one type: the physical address it speaks of, the length, its own offset.
pub(super) fn capability(
    bus: &mut Bus,
    function: DeviceFunction,
    kind: u8,
) -> Option<(u64, u32, u8)> {
    let (offset, _) = bus
        .capabilities(function, PCI_CAP_ID_VNDR)
        .find(|(_, header)| header >> 8 == kind.into())?;
    let (address, size) = {
        let index = bus.read(function, offset + 4) as u8;
        bus.bar(function, index)?
    };
    let start = bus.read(function, offset + 8);
    let len = bus.read(function, offset + 12);
    (u64::from(start) + u64::from(len) <= size).then_some((address + u64::from(start), len, offset))
}

/// A device being started, or, kept somewhere, running: dropping it resets the device.
pub(super) struct Device {
    transport: PciTransport,
    common: Mmio,
    notify: Mmio,
    notify_multiplier: usize,
    vectors: VectorTable,
}

impl Device {
    /// Finds the registers. The device stays as it is.
    pub(super) fn open(bus: &mut Bus, function: DeviceFunction) -> Result<Self, Failure> {
        let transport = bus.transport(function)?;
        let (address, len, _) = capability(bus, function, VIRTIO_PCI_CAP_COMMON_CFG)
            .ok_or(VirtioPciError::MissingCommonConfig)?;
        if (len as usize) < common::LENGTH {
            return Err(VirtioPciError::MissingCommonConfig.into());
        }
        let common = Mmio::map(address, len as usize);
        let (address, len, offset) = capability(bus, function, VIRTIO_PCI_CAP_NOTIFY_CFG)
            .ok_or(VirtioPciError::MissingNotifyConfig)?;
        let notify = Mmio::map(address, len as usize);
        let notify_multiplier = bus.read(function, offset + 16) as usize;
        let vectors = bus.enable_msix(function).ok_or(Failure::NoInterrupt)?;
        Ok(Self {
            transport,
            common,
            notify,
            notify_multiplier,
            vectors,
        })
    }

    /// Resets the device and settles the features, which must include version 1.
    pub(super) fn begin(&mut self, wanted: Features) -> Result<Features, Failure> {
        let features = self.transport.begin_init(wanted | Features::VERSION_1);
        if features.contains(Features::VERSION_1) {
            Ok(features)
        } else {
            Err(Failure::Lacks("virtio 1"))
        }
    }

    /// Has `handler` called in interrupt context when a queue that gets this vector has news. `name` is the driver's.
    pub(super) fn vector(
        &mut self,
        name: &'static str,
        handler: fn(usize),
    ) -> Result<Vector, Failure> {
        let target = interrupt::allocate(name, handler, 0).ok_or(Failure::NoInterrupt)?;
        self.vectors.set(0, &target);
        Ok(Vector(0))
    }

    /// Sets up a queue, between [`Device::begin`] and [`Device::finish`].
    pub(super) fn queue<const N: usize>(
        &mut self,
        index: u16,
        vector: Option<Vector>,
    ) -> Result<Queue<N>, Failure> {
        self.common.write16(common::QUEUE_SELECT, index);
        if let Some(Vector(vector)) = vector {
            self.common.write16(common::QUEUE_VECTOR, vector);
            if self.common.read16(common::QUEUE_VECTOR) != vector {
                return Err(Failure::NoInterrupt);
            }
        }
        let offset =
            usize::from(self.common.read16(common::QUEUE_NOTIFY_OFFSET)) * self.notify_multiplier;
        let ring = VirtQueue::new(&mut self.transport, index, false, false)?;
        Ok(Queue {
            ring: ManuallyDrop::new(Box::new(ring)),
            doorbell: Doorbell {
                register: self.notify,
                offset,
                index,
            },
        })
    }

    /// Lets the device run.
    pub(super) fn finish(&mut self) {
        self.transport.finish_init();
    }

    /// A 32-bit field of the device's own configuration.
    pub(super) fn field(&self, offset: usize) -> Result<u32, Failure> {
        Ok(self.transport.read_config_space(offset)?)
    }
}

/// An MSI-X vector of a device.
#[derive(Clone, Copy)]
pub(super) struct Vector(u16);

/// How to tell a device of new buffers in a queue.
#[derive(Clone, Copy)]
pub(super) struct Doorbell {
    register: Mmio,
    offset: usize,
    index: u16,
}

impl Doorbell {
    /// Tells it. Leaves the virtual machine: better without a lock.
    pub(super) fn ring(self) {
        self.register.write16(self.offset, self.index);
    }
}

/// A queue with its doorbell. The ring's memory is never freed: the device knows of it until it is reset. What this
/// side knows of it is kilobytes, too many to be moved about the stack.
pub(super) struct Queue<const N: usize> {
    pub(super) ring: ManuallyDrop<Box<VirtQueue<DmaHal, N>>>,
    pub(super) doorbell: Doorbell,
}

/// Who fills the buffers of a [`Pool`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    ByDriver,
    ByDevice,
}

/// A queue with `N` buffers of equal size, each either in the queue or the driver's.
pub(super) struct Pool<const N: usize> {
    queue: Queue<N>,
    memory: DmaBuffer,
    size: usize,
    filled: Filled,
    /// What is in the queue, by token: the buffer and how much of it.
    posted: Box<[Option<(usize, usize)>; N]>,
    /// Bit n: buffer n is in the queue.
    in_queue: u64,
}

impl<const N: usize> Pool<N> {
    /// All buffers are the driver's at first.
    pub(super) fn new(queue: Queue<N>, size: usize, filled: Filled) -> Result<Self, Failure> {
        const { assert!(N <= 64) };
        let memory = DmaBuffer::new(N * size).ok_or(Failure::NoMemory)?;
        Ok(Self {
            queue,
            memory,
            size,
            filled,
            posted: Box::new([None; N]),
            in_queue: 0,
        })
    }

    /// A buffer of the driver's.
    pub(super) fn buffer(&mut self, index: usize) -> &mut [u8] {
        assert!(self.in_queue & 1 << index == 0);
        // SAFETY: the device has given it back or never had it, and `&mut self` keeps everyone else off.
        unsafe {
            self.memory
                .slice_mut(index * self.size..(index + 1) * self.size)
        }
    }

    /// Puts the first `len` bytes of a buffer of the driver's into the queue.
    pub(super) fn post(&mut self, index: usize, len: usize) {
        let buffer = &mut self.buffer(index)[..len];
        // The borrow ends here for the compiler, but not for the ring.
        let buffer: *mut [u8] = buffer;
        // SAFETY: the memory stays allocated for good, and `in_queue` keeps it from being used until `take` has found
        // that the device has given it back.
        let added = unsafe {
            match self.filled {
                Filled::ByDriver => self.queue.ring.add(&[&*buffer], &mut []),
                Filled::ByDevice => self.queue.ring.add(&[], &mut [&mut *buffer]),
            }
        };
        let token = added.expect("a queue has room for all buffers of its pool");
        self.posted[usize::from(token)] = Some((index, len));
        self.in_queue |= 1 << index;
    }

    /// Takes a buffer back that the device is done with: its index and how many bytes the device has written.
    pub(super) fn take(&mut self) -> Option<(usize, usize)> {
        let token = self.queue.ring.peek_used()?;
        let (index, len) = self.posted.get_mut(usize::from(token))?.take()?;
        let range = index * self.size..index * self.size + len;
        // SAFETY: these are the bytes that `post` added under this token; the device is done with them.
        let used = unsafe {
            match self.filled {
                Filled::ByDriver => {
                    self.queue
                        .ring
                        .pop_used(token, &[self.memory.slice(range)], &mut [])
                }
                Filled::ByDevice => {
                    self.queue
                        .ring
                        .pop_used(token, &[], &mut [self.memory.slice_mut(range)])
                }
            }
        };
        self.in_queue &= !(1 << index);
        Some((index, (used.unwrap_or(0) as usize).min(len)))
    }

    /// Whether the device is done with a buffer that has not been taken.
    pub(super) fn has_news(&self) -> bool {
        self.queue.ring.can_pop()
    }

    /// Whether any buffer is in the queue.
    pub(super) fn is_idle(&self) -> bool {
        self.in_queue == 0
    }

    /// Asks the device for interrupts, or not to bother.
    pub(super) fn set_interrupts(&mut self, on: bool) {
        self.queue.ring.set_dev_notify(on);
    }

    /// The doorbell to ring after posting, if the device wants to know.
    pub(super) fn doorbell(&self) -> Option<Doorbell> {
        self.queue
            .ring
            .should_notify()
            .then_some(self.queue.doorbell)
    }
}
