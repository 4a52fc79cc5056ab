//! One-shot timers: one queue for all CPUs, served by whichever local APIC timer fires first.
//!
//! Some CPU's APIC timer is always armed for the first timer in the queue or earlier: who puts a new first one in arms
//! its own, and a CPU whose timer has fired arms it again for what is then first.

use super::Instant;
use crate::arch::{apic, cpu};
use crate::sched;
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::instructions::interrupts;

/// When, and which of those at the same time.
type Key = (u64, u64);
type Action = (fn(usize), usize);

struct Queue {
    timers: BTreeMap<Key, Action>,
    next: u64,
}

static QUEUE: SpinLock<Queue> = SpinLock::new(Queue {
    timers: BTreeMap::new(),
    next: 1,
});

/// Which timer's function runs on each CPU; 0: none.
static RUNNING: [AtomicU64; cpu::MOST] = [const { AtomicU64::new(0) }; cpu::MOST];

/// A one-shot timer: `f(arg)` runs in interrupt context on some CPU at or after the time; dropping the handle cancels it,
/// and once that is done `f` does not run any more.
#[derive(Debug)]
pub struct Timer {
    key: Key,
}

impl Timer {
    /// Arms a timer.
    pub fn arm(at: Instant, f: fn(usize), arg: usize) -> Self {
        let mut queue = QUEUE.lock();
        let key = (at.0, queue.next);
        queue.next += 1;
        queue.timers.insert(key, (f, arg));
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
        if QUEUE.lock().timers.remove(&self.key).is_some() {
            return;
        }
        interrupts::without_interrupts(|| {
            let this = cpu::current().0 as usize;
            for (index, running) in RUNNING.iter().enumerate() {
                // On this CPU it is the function itself that drops the handle.
                while index != this && running.load(Ordering::SeqCst) == self.key.1 {
                    core::hint::spin_loop();
                }
            }
        });
    }
}

/// Arms this CPU's APIC timer for whatever is first: a timer, or the end of the running thread's time slice.
fn arm_local(first: Option<u64>) {
    let next = match (first, sched::slice_end()) {
        (Some(a), Some(b)) => a.min(b),
        (Some(at), None) | (None, Some(at)) => at,
        (None, None) => {
            apic::arm_timer(0);
            return;
        }
    };
    apic::arm_timer(Instant(next).timer_value(Instant::now()));
}

/// Arms this CPU's APIC timer again, because the time slice has changed. Interrupts are off.
pub(crate) fn rearm() {
    let queue = QUEUE.lock();
    let first = queue.timers.first_key_value().map(|(key, _)| key.0);
    arm_local(first);
}

/// The APIC timer has fired.
pub(crate) fn interrupt() {
    let this = cpu::current().0 as usize;
    loop {
        let mut queue = QUEUE.lock();
        let Some(entry) = queue.timers.first_entry() else {
            break;
        };
        if entry.key().0 > Instant::now().0 {
            break;
        }
        let key = *entry.key();
        let (f, arg) = entry.remove();
        RUNNING[this].store(key.1, Ordering::SeqCst);
        drop(queue);
        f(arg);
        RUNNING[this].store(0, Ordering::SeqCst);
    }
    sched::tick();
    rearm();
}
