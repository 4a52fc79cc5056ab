//! Interrupt vectors, and message-signalled interrupts for devices.

use super::apic;
use crate::sync::SpinLock;

const FIRST_DEVICE: usize = 48;
const DEVICES: usize = 64;

/// Where a device writes to interrupt.
#[derive(Clone, Copy, Debug)]
pub struct MsiTarget {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

type Handler = (fn(usize), usize);

static HANDLERS: SpinLock<[Option<Handler>; DEVICES]> = SpinLock::new([None; DEVICES]);

/// Takes a vector on the CPU that booted: `handler(arg)` runs in interrupt context. `None` when there are no more.
pub fn allocate(handler: fn(usize), arg: usize) -> Option<MsiTarget> {
    let mut handlers = HANDLERS.lock();
    let index = handlers.iter().position(Option::is_none)?;
    handlers[index] = Some((handler, arg));
    Some(MsiTarget {
        address: 0xfee0_0000 | u64::from(apic::boot_id()) << 12,
        data: u32::try_from(FIRST_DEVICE + index).ok()?,
    })
}

/// Runs the handler of a device's vector; whether there is one.
pub(crate) fn handle(vector: u64) -> bool {
    let index = usize::try_from(vector)
        .unwrap_or(0)
        .wrapping_sub(FIRST_DEVICE);
    let handler = HANDLERS.lock().get(index).copied().flatten();
    handler.inspect(|(handler, arg)| handler(*arg)).is_some()
}
