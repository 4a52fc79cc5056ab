//! CPUs: identity, count, calls to other CPUs, TLB shootdown, the end of the machine.

use super::cross_call::CrossCalls;
use super::percpu::PerCpu;
use super::{apic, percpu, port, tlb, vector, watchdog};
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use spin::Once;
use x86_64::instructions::{hlt, interrupts};

/// Index of a CPU, 0 for the one that booted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct CpuId(pub u32);

/// CPUs that are used at most: affinity masks have 64 bits. `elfin run --cpus` knows it, too.
pub const MOST: usize = 64;

static CPUS: [Once<&'static PerCpu>; MOST] = [const { Once::new() }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The CPU this code runs on. Only stable while interrupts are off.
pub fn current() -> CpuId {
    CpuId(u32::try_from(percpu::this().id).unwrap_or(0))
}

/// Number of CPUs that are up.
pub fn count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// Enters a CPU that has come up. CPUs come up one after the other, in the order of their indexes.
pub(crate) fn enter(cpu: &'static PerCpu) {
    CPUS[cpu.id].call_once(|| cpu);
    COUNT.fetch_add(1, Ordering::Release);
}

/// Calls `f` for every CPU.
pub(crate) fn each(mut f: impl FnMut(&'static PerCpu)) {
    for cpu in CPUS[..count()].iter().filter_map(Once::get) {
        f(cpu);
    }
}

/// The block of a CPU.
pub(crate) fn get(index: usize) -> Option<&'static PerCpu> {
    CPUS.get(index)?.get().copied()
}

/// Makes another CPU look whether a different thread should run.
pub(crate) fn send_reschedule(cpu: &PerCpu) {
    apic::send(cpu.apic, vector::RESCHEDULE);
}

/// A function that other CPUs are to call.
#[derive(Clone, Copy)]
struct Call {
    function: fn(usize, usize),
    a: usize,
    b: usize,
}

static CALLS: CrossCalls<Call> = CrossCalls::new();

/// Runs `f(a, b)` on every other CPU, in interrupt context, and returns when all have finished.
/// Interrupts must be on; no `SpinLock` may be held.
pub fn broadcast(f: fn(usize, usize), a: usize, b: usize) {
    call(f, a, b, |_| true);
}

/// Makes the CPUs of a set, bit n = CPU n, forget the translations of `len` bytes at `start`. Idle CPUs do so when they
/// wake.
pub(crate) fn flush(cpus: u64, start: usize, len: usize) {
    // No moving to another CPU meanwhile: kernel code is not preempted.
    let this = 1 << percpu::this().id;
    if cpus & this != 0 {
        tlb::flush_local(start, len);
    }
    if cpus & !this != 0 {
        let wanted = |cpu: &PerCpu| cpus >> cpu.id & 1 != 0 && cpu.callee.outdate();
        call(tlb::flush_local, start, len, wanted);
    }
}

fn call(f: fn(usize, usize), a: usize, b: usize, wanted: impl Fn(&PerCpu) -> bool) {
    debug_assert!(interrupts::are_enabled());
    // No moving to another CPU meanwhile: kernel code is not preempted.
    let this = percpu::this().id;
    CALLS.make(Call { function: f, a, b }, |ask| {
        each(|cpu| {
            if cpu.id != this && wanted(cpu) {
                ask(&cpu.callee);
                apic::send(cpu.apic, vector::CALL);
            }
        });
    });
}

/// Makes the call that another CPU has asked for, if any.
pub(crate) fn answer() {
    CALLS.answer(&percpu::this().callee, |call| {
        (call.function)(call.a, call.b);
    });
}

/// Stops being idle: catches up with TLB flushes.
pub(crate) fn leave_idle() {
    if percpu::this().callee.leave_idle() {
        tlb::flush_local(0, usize::MAX);
    }
}

/// Begins to be idle.
pub(crate) fn enter_idle() {
    percpu::this().callee.enter_idle();
}

/// Random numbers from RDSEED, or RDRAND, as long as the processor has some.
pub fn hardware_random() -> impl Iterator<Item = u64> {
    #[target_feature(enable = "rdseed")]
    fn seed() -> Option<u64> {
        let mut value = 0;
        (0..32)
            .any(|_| _rdseed64_step(&mut value) == 1)
            .then_some(value)
    }
    #[target_feature(enable = "rdrand")]
    fn random() -> Option<u64> {
        let mut value = 0;
        (0..32)
            .any(|_| _rdrand64_step(&mut value) == 1)
            .then_some(value)
    }
    let has_seed = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & (1 << 18) != 0;
    let has_random = __cpuid(1).ecx & (1 << 30) != 0;
    core::iter::from_fn(move || {
        // SAFETY: CPUID has just said that RDSEED is there.
        let seed = has_seed.then(|| unsafe { seed() }).flatten();
        // SAFETY: CPUID has just said that RDRAND is there.
        seed.or_else(|| has_random.then(|| unsafe { random() }).flatten())
    })
}

/// Whether programs can read a word that the kernel has set for this CPU, by RDTSCP or RDPID.
pub(crate) fn has_tsc_aux() -> bool {
    let has_rdtscp =
        __cpuid(0x8000_0000).eax >= 0x8000_0001 && __cpuid(0x8000_0001).edx & 1 << 27 != 0;
    let has_rdpid = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ecx & 1 << 22 != 0;
    has_rdtscp || has_rdpid
}

/// Ends the virtual machine through isa-debug-exit: 0x10 program ended, 0x20 fatal.
pub fn exit_machine(code: u8) -> ! {
    interrupts::disable();
    // SAFETY: port 0xf4 is isa-debug-exit's, or nobody's; 0x64 is the keyboard controller's, whose command 0xfe resets
    // the machine (elfin runs QEMU with -no-reboot).
    unsafe {
        port::write(0xf4, code);
        port::write(0x64, 0xfe_u8);
    }
    loop {
        hlt();
    }
}

/// What AT_HWCAP says: CPUID leaf 1, EDX.
pub fn hwcap() -> usize {
    __cpuid(1).edx as usize
}

unsafe extern "C" {
    /// Whether an NMI stops the CPU that gets it.
    safe static elfin_nmi_stops: AtomicBool;
}

/// Stops all other CPUs for good: the kernel has panicked.
pub fn halt_others() {
    watchdog::stop();
    elfin_nmi_stops.store(true, Ordering::Release);
    let this = percpu::this().apic;
    each(|cpu| {
        if cpu.apic != this {
            apic::send_nmi(cpu.apic);
        }
    });
}
