//! virtio-pmem: the root image as memory. Nothing is ever written, so the device's flush queue is not used.
use super::{
    RootDevice,
    pci::{Bus, Mmio},
    virtio::{self, Failure},
};
use crate::mm::kernel_map::map_physical;
use abi::Errno;
use alloc::boxed::Box;
use virtio_drivers::transport::pci::{VIRTIO_PCI_CAP_DEVICE_CFG, bus::DeviceFunction};

/// `VIRTIO_PCI_CAP_SHARED_MEMORY_CFG`: devices with `VIRTIO_PMEM_F_SHMEM_REGION` have the memory in a BAR.
const SHARED_MEMORY: u8 = 8;

struct Pmem {
    phys: u64,
    size: u64,
    /// Where the memory is mapped.
    start: usize,
}

/// Maps the memory.
pub(super) fn start(
    bus: &mut Bus,
    function: DeviceFunction,
) -> Result<Box<dyn RootDevice>, Failure> {
    let (phys, size) = match shared_memory(bus, function) {
        Some(place) => place,
        None => configured(bus, function)?,
    };
    if size == 0 || phys % 4096 != 0 || phys.checked_add(size).is_none() {
        return Err(Failure::Lacks("usable memory"));
    }
    let start = map_physical(phys, size as usize, true) as usize;
    ::log::info!(
        "pci {function}: root image in memory, {} KiB at {phys:#x}",
        size >> 10
    );
    Ok(Box::new(Pmem { phys, size, start }))
}

/// Start and size in a BAR.
fn shared_memory(bus: &mut Bus, function: DeviceFunction) -> Option<(u64, u64)> {
    let (address, low, capability) = virtio::capability(bus, function, SHARED_MEMORY)?;
    let offset_high = u64::from(bus.read(function, capability + 16)) << 32;
    let size_high = u64::from(bus.read(function, capability + 20)) << 32;
    Some((
        address.checked_add(offset_high)?,
        size_high | u64::from(low),
    ))
}

/// Start and size in the device's configuration.
fn configured(bus: &mut Bus, function: DeviceFunction) -> Result<(u64, u64), Failure> {
    let place = virtio::capability(bus, function, VIRTIO_PCI_CAP_DEVICE_CFG);
    let (address, len, _) = place.ok_or(Failure::Lacks("configuration"))?;
    if len < 16 {
        return Err(Failure::Lacks("configuration"));
    }
    let registers = Mmio::map(address, len as usize);
    let field = |offset| {
        u64::from(registers.read32(offset + 4)) << 32 | u64::from(registers.read32(offset))
    };
    Ok((field(0), field(8)))
}

impl RootDevice for Pmem {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let end = offset.checked_add(buf.len() as u64).ok_or(Errno::EIO)?;
        if end > self.size {
            return Err(Errno::EIO);
        }
        let from = (self.start + offset as usize) as *const u8;
        // SAFETY: the bytes were just found to lie within the mapped memory, which nobody writes to and which no `buf`
        // can overlap, because it is not memory that the kernel allocates from.
        unsafe { buf.as_mut_ptr().copy_from_nonoverlapping(from, buf.len()) };
        Ok(())
    }

    fn direct(&self, offset: u64) -> Option<u64> {
        (offset < self.size).then(|| self.phys + offset)
    }
}
