//! One-shot timers: one queue for all CPUs, served by whichever local APIC timer fires first.
//!
//! Some CPU's timer is always armed for the first in the queue or earlier: a CPU that inserts a new earliest one arms
//! its own, and a CPU whose timer has fired arms it again for what is then first. The ends of time slices, one a CPU,
//! are served by the same hardware; what they mean is the scheduler's business. A timer that is armed for something
//! that has become later, or is not to be any more, is left to fire: to arm it may take an exit from the virtual
//! machine, and time slices begin and end with each switch of threads.

use super::Instant;
use crate::arch::{cpu, interrupt_flag, percpu, timer};
use crate::sync::{Rank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds after which a CPU that runs something is interrupted, to see what it does: Debian's kernel does it as
/// often.
pub(crate) const TICK: u64 = 4_000_000;

/// How often it is for a profile; 0: there is none.
static SAMPLE_PERIOD: AtomicU64 = AtomicU64::new(0);

/// What a timer does when its time has come.
pub trait Alarm: Send + Sync {
    /// Runs in interrupt context, on some CPU. It neither sleeps nor touches the program's memory.
    fn ring(&self);
}

/// When, and which of those at the same time.
type Key = (u64, u64);

struct Queue {
    timers: BTreeMap<Key, Arc<dyn Alarm>>,
    next: u64,
}

static QUEUE: SpinLock<Queue> = SpinLock::ranked(
    Rank::TimerQueue,
    Queue {
        timers: BTreeMap::new(),
        next: 1,
    },
);

/// What there is for each CPU.
struct Local {
    /// Which timer's function runs; 0: none.
    running: AtomicU64,
    /// When the time slice ends; 0: it does not.
    slice_end: AtomicU64,
    /// What the hardware is armed for; 0: it is not, or has fired.
    armed: AtomicU64,
}

static LOCALS: [Local; cpu::MOST] = [const {
    Local {
        running: AtomicU64::new(0),
        slice_end: AtomicU64::new(0),
        armed: AtomicU64::new(0),
    }
}; cpu::MOST];

/// That of this CPU.
fn local() -> &'static Local {
    &LOCALS[cpu::current().0 as usize]
}

/// A one-shot timer: the alarm rings at or after the time; dropping the handle cancels it, and once that is done it
/// does not ring any more.
#[derive(Debug)]
pub struct Timer {
    key: Key,
}

impl Timer {
    /// Arms a timer.
    pub fn arm(at: Instant, alarm: Arc<dyn Alarm>) -> Self {
        let mut queue = QUEUE.lock();
        let key = (at.0, queue.next);
        queue.next += 1;
        queue.timers.insert(key, alarm);
        let first = queue.timers.first_key_value().map(|(&key, _)| key) == Some(key);
        if first {
            arm_local(Some(at.0));
        }
        drop(queue);
        Self { key }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let removed = QUEUE.lock().timers.remove(&self.key);
        if removed.is_some() {
            return;
        }
        interrupt_flag::without(|| {
            let this = cpu::current().0 as usize;
            for (index, other) in LOCALS.iter().enumerate() {
                // On this CPU it is the alarm itself that drops the handle.
                while index != this && other.running.load(Ordering::SeqCst) == self.key.1 {
                    core::hint::spin_loop();
                }
            }
        });
    }
}

/// From now on, each CPU that does something is interrupted so often, for a profile; 0: not any more.
pub fn sample_every(ns: u64) {
    SAMPLE_PERIOD.store(ns, Ordering::Relaxed);
}

/// Whether there is a profile of what CPUs do.
pub(crate) fn samples() -> bool {
    SAMPLE_PERIOD.load(Ordering::Relaxed) != 0
}

/// Sets when the time slice on this CPU ends (0: it does not); whether [`rearm`] has to follow. Interrupts are off.
pub(crate) fn set_slice_end(end: u64) -> bool {
    slice_end().store(end, Ordering::Relaxed);
    end != 0 && !fires_by(end)
}

/// After how many nanoseconds a CPU that runs something is interrupted.
fn tick() -> u64 {
    match SAMPLE_PERIOD.load(Ordering::Relaxed) {
        0 => TICK,
        period => period.min(TICK),
    }
}

/// Whether this CPU, which begins to run something, is going to be interrupted to see what it does.
pub(crate) fn ticks_from(now: u64) -> bool {
    fires_by(now + tick())
}

/// The time that this CPU's timer is armed for.
fn armed() -> &'static AtomicU64 {
    &local().armed
}

/// Whether this CPU's timer fires at a time or before, and is armed again then.
fn fires_by(at: u64) -> bool {
    let armed = armed().load(Ordering::Relaxed);
    armed != 0 && armed <= at
}

/// When the time slice on this CPU ends, in nanoseconds on the monotonic clock; 0: it does not. Interrupts are off.
pub(crate) fn slice_end() -> &'static AtomicU64 {
    &local().slice_end
}

/// Arms this CPU's timer for whatever is first: a timer, the end of the running thread's time slice, or a tick.
fn arm_local(first: Option<u64>) {
    let slice = Some(slice_end().load(Ordering::Relaxed)).filter(|&end| end != 0);
    let tick = (!percpu::this().is_idle()).then(|| Instant::now().0 + tick());
    let Some(next) = [first, slice, tick].into_iter().flatten().min() else {
        return;
    };
    if fires_by(next) {
        return;
    }
    armed().store(next, Ordering::Relaxed);
    timer::arm(Instant(next).timer_value(Instant::now()));
}

/// Arms this CPU's timer again, because the time slice has changed or the timer has fired. Interrupts are off.
pub(crate) fn rearm() {
    let queue = QUEUE.lock();
    let first = queue.timers.first_key_value().map(|(key, _)| key.0);
    arm_local(first);
}

/// This CPU's timer has fired: rings the alarms whose time has come. [`rearm`] follows.
pub(crate) fn expire() {
    armed().store(0, Ordering::Relaxed);
    let running = &local().running;
    loop {
        let mut queue = QUEUE.lock();
        let Some(entry) = queue.timers.first_entry() else {
            break;
        };
        if entry.key().0 > Instant::now().0 {
            break;
        }
        let key = *entry.key();
        let alarm = entry.remove();
        running.store(key.1, Ordering::SeqCst);
        drop(queue);
        alarm.ring();
        // Before it is said to be over: whoever waits for that in `Timer::drop` may be the one that drops the last
        // reference.
        drop(alarm);
        running.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
