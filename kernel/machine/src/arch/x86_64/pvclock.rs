//! What KVM says of the time-stamp counter: how its ticks become nanoseconds (MSR_KVM_SYSTEM_TIME_NEW in Linux'
//! Documentation/virt/kvm/x86/msr.rst). Asked once; KVM's clock is not used.

use crate::mm::frame::Frame;
use core::arch::x86_64::__cpuid;
use x86_64::registers::model_specific::Msr;

const KVM_FEATURES: u32 = 0x4000_0001;
const KVM_FEATURE_CLOCKSOURCE2: u32 = 1 << 3;
const MSR_KVM_SYSTEM_TIME_NEW: u32 = 0x4b56_4d01;

/// Where `struct pvclock_vcpu_time_info` has `tsc_to_system_mul` and `tsc_shift`.
const MULTIPLIER: usize = 24;
const SHIFT: usize = 28;

/// The ticks in a second. KVM must be there.
pub(super) fn tsc_rate() -> Option<u64> {
    if __cpuid(KVM_FEATURES).eax & KVM_FEATURE_CLOCKSOURCE2 == 0 {
        return None;
    }
    let frame = Frame::zeroed()?;
    // SAFETY: KVM says that it has the register. With bit 0 it fills in a structure, in a frame that is nobody else's;
    // without, it stops, before the frame is freed.
    let tell = |value| unsafe { Msr::new(MSR_KVM_SYSTEM_TIME_NEW).write(value) };
    tell(frame.phys() | 1);
    let (mut multiplier, mut shift) = ([0; 4], [0]);
    frame.read(MULTIPLIER, &mut multiplier);
    frame.read(SHIFT, &mut shift);
    let rate = rate(u32::from_le_bytes(multiplier), shift[0].cast_signed());
    tell(0);
    rate
}

/// Nanoseconds are `(ticks << shift) * multiplier >> 32`; a negative shift is one to the right.
fn rate(multiplier: u32, shift: i8) -> Option<u64> {
    let second = (1_000_000_000u128 << 32).checked_div(u128::from(multiplier))?;
    let ticks = match u32::from(shift.unsigned_abs()) {
        by @ 0..=32 if shift < 0 => second << by,
        by @ 0..=32 => second >> by,
        _ => return None,
    };
    u64::try_from(ticks).ok().filter(|&rate| rate != 0)
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_are_what_ticks_make_a_second() {
        // As Linux computes them: of 1 GHz, 2.3 GHz, 500 MHz.
        assert_eq!(rate(1 << 31, 1), Some(1_000_000_000));
        assert_eq!(
            rate(0xde9b_d37a, -1).map(|rate| rate / 100_000),
            Some(23_000)
        );
        assert_eq!(rate(1 << 31, 2), Some(500_000_000));
        assert_eq!(rate(0, 0), None);
        assert_eq!(rate(1, 100), None);
    }
}
