//! Interrupt vectors, message-signalled interrupts for devices, and counts of all.

use super::{apic, cpu, percpu::LocalInterrupts};
use crate::sync::SpinLock;
use alloc::{format, string::String, vec, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

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

/// Who has a device's vector.
#[derive(Clone, Copy)]
struct Taken {
    handler: fn(usize),
    arg: usize,
    name: &'static str,
    count: u64,
}

static TAKEN: SpinLock<[Option<Taken>; DEVICES]> = SpinLock::new([None; DEVICES]);

/// Takes a vector on the CPU that booted: `handler(arg)` runs in interrupt context. `name` is the driver's. `None` when
/// there are no more.
pub fn allocate(name: &'static str, handler: fn(usize), arg: usize) -> Option<MsiTarget> {
    let mut taken = TAKEN.lock();
    let index = taken.iter().position(Option::is_none)?;
    taken[index] = Some(Taken {
        handler,
        arg,
        name,
        count: 0,
    });
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
    let mut all = TAKEN.lock();
    let Some(Some(taken)) = all.get_mut(index) else {
        return false;
    };
    taken.count += 1;
    let Taken { handler, arg, .. } = *taken;
    drop(all);
    handler(arg);
    true
}

/// What has interrupted, and how often.
#[derive(Debug)]
pub struct Source {
    /// A device's vector by its number, others by Linux' three letters.
    pub name: String,
    /// How often each CPU.
    pub counts: Vec<u64>,
    /// Which device, or what for.
    pub what: &'static str,
}

/// All that may interrupt.
#[doc(alias = "show_interrupts")]
pub fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let taken = *TAKEN.lock();
    for (index, taken) in taken.iter().enumerate() {
        let Some(Taken { name, count, .. }) = *taken else {
            continue;
        };
        // The CPU that booted has them all.
        let mut counts = vec![0; cpu::count()];
        counts[0] = count;
        sources.push(Source {
            name: format!("{}", FIRST_DEVICE + index),
            counts,
            what: name,
        });
    }
    let mut local = |name: &str, what, counted: fn(&LocalInterrupts) -> &AtomicU64| {
        let (name, mut counts) = (name.into(), Vec::new());
        cpu::each(|cpu| counts.push(counted(&cpu.interrupts).load(Ordering::Relaxed)));
        sources.push(Source { name, counts, what });
    };
    local("LOC", "Local timer interrupts", |all| &all.timer);
    local("RES", "Rescheduling interrupts", |all| &all.reschedule);
    local("CAL", "Function call interrupts", |all| &all.call);
    sources
}

/// One more of this CPU's own has come. Interrupts are off.
pub(crate) fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
