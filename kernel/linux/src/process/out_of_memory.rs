//! Which process is killed because a page that it touched cannot be had: one at a time. Who finds no memory meanwhile
//! waits for what that one gives back, and tries again.
use super::Pid;
use core::sync::atomic::{AtomicI32, Ordering};
use machine::sync::{Signals, WaitQueue};

struct Killing {
    /// The process that is killed; 0 for none.
    victim: AtomicI32,
    /// Woken when it has ended.
    ended: WaitQueue,
}

static KILLING: Killing = Killing {
    victim: AtomicI32::new(0),
    ended: WaitQueue::new(),
};

/// Whether the process `pid`, the calling thread's, is to be killed. If one is being killed already, it waits for the
/// end of that, unless it is killed itself, and says no.
pub(super) fn is_victim(pid: Pid) -> bool {
    let victim = &KILLING.victim;
    let Err(other) = victim.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire) else {
        return true;
    };
    let is_gone = || (victim.load(Ordering::Acquire) != other).then_some(());
    // A signal that ends the thread is looked at on its way back to the program.
    let _ = KILLING.ended.wait_until(None, Signals::Kill, is_gone);
    false
}

/// The process has ended, and given its memory back.
pub(super) fn ended(pid: Pid) {
    let victim = &KILLING.victim;
    if victim
        .compare_exchange(pid, 0, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
    {
        KILLING.ended.wake_all();
    }
}
