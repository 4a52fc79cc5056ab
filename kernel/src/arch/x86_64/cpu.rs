//! CPUs: identity, count, per-CPU block, inter-processor interrupts, the end of the machine.

/// Index of a CPU, 0 for the one that booted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct CpuId(pub u32);

/// The CPU this code runs on. Only stable while interrupts are off.
pub fn current() -> CpuId {
    unimplemented!()
}
/// Number of CPUs that are up.
pub fn count() -> usize {
    unimplemented!()
}
/// Runs `f(a, b)` on every other CPU, in interrupt context, and returns when all have finished (TLB shootdown).
/// Interrupts must be on; no `SpinLock` may be held.
pub fn broadcast(f: fn(usize, usize), a: usize, b: usize) {
    unimplemented!("{f:?} {a} {b}")
}
/// 64 random bits from RDSEED or RDRAND when the CPU has them.
pub fn hardware_random() -> Option<u64> {
    unimplemented!()
}
/// Ends the virtual machine through isa-debug-exit: 0x10 program ended, 0x20 fatal.
pub fn exit_machine(code: u8) -> ! {
    unimplemented!("{code}")
}
