//! What stands in for the processor where unit tests run, on the build host: a clock that tests set, one-shot timers
//! that they look at, and memory to make frames and page tables of, which no processor translates by.

use super::percpu::this;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Tests have no more.
const CPUS: usize = 4;

static NOW: AtomicU64 = AtomicU64::new(0);
static ARMED: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// The counter: nanoseconds.
pub fn time_stamp() -> u64 {
    NOW.load(Ordering::SeqCst)
}

/// Sets the counter.
pub(crate) fn set_time_stamp(now: u64) {
    NOW.store(now, Ordering::SeqCst);
}

/// The timer takes time-stamps.
pub(crate) fn takes_deadline() -> bool {
    true
}

/// Arms this CPU's timer.
pub(crate) fn arm(at: u64) {
    ARMED[this().id].store(at, Ordering::SeqCst);
}

/// What this CPU's timer is armed for; 0: nothing.
pub(crate) fn armed() -> u64 {
    ARMED[this().id].load(Ordering::SeqCst)
}

/// Bytes of physical memory, from 0 on.
pub(crate) const MEMORY_SIZE: usize = 32 << 20;

#[repr(align(4096))]
struct Memory([AtomicU8; MEMORY_SIZE]);

static MEMORY: Memory = Memory([const { AtomicU8::new(0) }; MEMORY_SIZE]);

/// Where a physical address lies.
pub fn phys_to_virt(phys: u64) -> *mut u8 {
    MEMORY.0[phys as usize..].as_ptr().cast::<u8>().cast_mut()
}

/// Reads a byte of physical memory.
pub(crate) fn peek(phys: u64) -> u8 {
    MEMORY.0[phys as usize].load(Ordering::Relaxed)
}

/// Writes a byte of physical memory.
pub(crate) fn poke(phys: u64, value: u8) {
    MEMORY.0[phys as usize].store(value, Ordering::Relaxed);
}
