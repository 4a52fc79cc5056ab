//! Interrupt vectors that are not devices'.

/// The local APIC's timer.
pub(crate) const TIMER: u64 = 32;
/// Another CPU has put a thread on this one's queue, or wants its thread to look for signals.
pub(crate) const RESCHEDULE: u64 = 33;
/// Another CPU wants a function called.
pub(crate) const CALL: u64 = 34;
/// The local APIC had nothing after all.
pub(crate) const SPURIOUS: u64 = 255;
