//! Devices: PCI enumeration and virtio (pmem, blk, console, net, rng, 9p).
//!
//! The machine has one PCI bus with a handful of virtio devices that are there from the start: no hot-plugging, no
//! power management, no legacy virtio, no INTx interrupts. Everything here is found and started once, by [`init`].
#[expect(unsafe_code, reason = "memory that the device writes")]
pub mod block;
pub mod console;
#[expect(unsafe_code, reason = "memory that devices share")]
mod dma;
pub mod net;
#[expect(unsafe_code, reason = "memory that the device writes")]
pub mod ninep;
#[expect(unsafe_code, reason = "registers")]
mod pci;
#[expect(unsafe_code, reason = "the image is memory")]
mod pmem;
pub mod random;
#[expect(unsafe_code, reason = "memory that devices share")]
mod virtio;

use crate::{
    mm::{PAGE, frame::Frame},
    sync::SpinLock,
};
use abi::Errno;
use alloc::{boxed::Box, vec, vec::Vec};
use spin::Once;

/// The device that holds the root file system.
pub trait RootDevice: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Fills `buf` with what is at `offset`. `EIO` when that is not all on the device, or it cannot be read. May sleep.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno>;
    /// Fills frames that nobody else has with what is from `offset` on, as [`RootDevice::read`] does.
    fn read_frames(&self, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        read_each_frame(self, offset, frames)
    }
    /// Physical address of the byte at `offset` when the device is memory; the memory is contiguous, mapped, and never
    /// changes.
    fn direct(&self, offset: u64) -> Option<u64>;
}

/// The same by way of a copy.
fn read_each_frame(
    device: &(impl RootDevice + ?Sized),
    mut offset: u64,
    frames: &[Frame],
) -> Result<(), Errno> {
    let mut page = vec![0; PAGE];
    for frame in frames {
        device.read(offset, &mut page)?;
        frame.write(0, &page);
        offset = offset.saturating_add(PAGE as u64);
    }
    Ok(())
}

static ROOT: Once<Box<dyn RootDevice>> = Once::new();

/// In the order in which they were found.
static DISKS: SpinLock<Vec<&'static block::Disk>> = SpinLock::new(Vec::new());

/// All disks, those that are `/dev/vda` and so on elsewhere.
pub fn disks() -> Vec<&'static block::Disk> {
    DISKS.lock().clone()
}

/// The root device, if the machine has one.
pub fn root() -> Option<&'static dyn RootDevice> {
    ROOT.get().map(|device| &**device)
}

/// Finds and starts the devices. Called once on a kernel thread with interrupts and the heap working.
pub fn init() {
    let mut bus = pci::Bus::scan();
    for (function, kind) in bus.virtio_functions() {
        if let Err(failure) = bus.prepare(function) {
            ::log::error!("pci {function}: {failure}");
            continue;
        }
        let started = match kind {
            virtio::CONSOLE => console::start(&mut bus, function),
            virtio::NET => net::start(&mut bus, function),
            virtio::NINEP => ninep::start(&mut bus, function),
            virtio::ENTROPY => random::start(&mut bus, function),
            virtio::BLOCK => block::start(&mut bus, function).map(|disk| {
                let disk: &block::Disk = Box::leak(Box::new(disk));
                if disk.name().is_empty() && !ROOT.is_completed() {
                    ROOT.call_once(|| Box::new(disk));
                }
                DISKS.lock().push(disk);
            }),
            virtio::PMEM if ROOT.is_completed() => {
                ::log::warn!("pci {function}: there is a root device already");
                Ok(())
            }
            virtio::PMEM => pmem::start(&mut bus, function).map(|memory| {
                ROOT.call_once(|| memory);
            }),
            _ => {
                ::log::debug!("pci {function}: no driver for virtio device {kind}");
                Ok(())
            }
        };
        if let Err(failure) = started {
            ::log::error!("pci {function}: virtio device {kind}: {failure}");
        }
    }
    random::begin();
    if !ROOT.is_completed() {
        ::log::error!("no root device: neither virtio-pmem nor virtio-blk");
    }
}
