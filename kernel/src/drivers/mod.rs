//! Devices: PCI enumeration and virtio (pmem, blk, console, rng).

/// Finds and starts the devices. Called once on a kernel thread with interrupts and the heap working.
pub fn init() {
    unimplemented!()
}
