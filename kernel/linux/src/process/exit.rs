//! The end of threads and of processes: that of the first is the machine's.
use super::{
    LinuxThread, Process,
    futex::{self, Word},
};
use crate::{fs, ipc};
use abi::Errno;
use core::sync::atomic::Ordering;
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use machine::{
    arch,
    mm::user,
    sched::{self, Tid},
    sync::{Signals, Waiter},
};

/// Robust list entries looked at before the list is taken for a loop, as in Linux.
const ROBUST_LIMIT: usize = 2048;

/// `isa-debug-exit` code of a program that ended, whatever its status.
const PROGRAM_ENDED: u8 = 0x10;

/// Makes the calling thread the one that ends its process. Any other thread that tries later sleeps here until the
/// machine is off.
pub(crate) fn claim_exit() {
    let me = sched::current_tid();
    let claimed = super::with_current(|process| {
        let ending = &process.ending;
        let claimed = ending.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire);
        if claimed.is_ok() {
            ipc::process_ended(process.pid);
            // Who is in the program, or in a wait that signals end, stops on the way (back) to the program.
            process.kick_others(me);
        }
        claimed
    });
    match claimed {
        Ok(_) => {}
        Err(owner) if owner == me => {}
        Err(_) => {
            let waiter = Waiter::new();
            loop {
                // Nobody wakes it; a wake-up that came for another reason changes nothing.
                let _ = waiter.wait(None, Signals::Ignore);
            }
        }
    }
}

impl Process {
    /// Whether some thread ends it.
    pub(super) fn ends(&self) -> bool {
        self.ending.load(Ordering::Relaxed) != 0
    }

    /// Whether another thread than `tid`, which is one of the program's, ends it.
    pub(super) fn is_over_for(&self, tid: Tid) -> bool {
        let owner = self.ending.load(Ordering::Relaxed);
        owner != 0 && owner != tid && tid != 0
    }
}

/// Stops the calling thread for good when another one ends the process.
pub(crate) fn stop_if_over() {
    let tid = sched::current_tid();
    if super::with_current(|process| process.is_over_for(tid)) {
        claim_exit();
    }
}

/// Ends the program: output flushed, `elfin: exit status=N` logged, machine off.
pub fn exit_group(status: i32) -> ! {
    claim_exit();
    fs::flush();
    machine::log::line(format_args!("elfin: exit status={}", status & 0xff));
    arch::cpu::exit_machine(PROGRAM_ENDED)
}

/// Ends the program as killed by `signal`.
pub fn exit_by_signal(signal: i32) -> ! {
    claim_exit();
    fs::flush();
    machine::log::line(format_args!("elfin: exit signal={signal}"));
    arch::cpu::exit_machine(PROGRAM_ENDED)
}

/// Ends the calling thread; the last one ends the program with `status`.
pub fn exit_thread(status: i32) -> ! {
    let (tid, thread_pointer, robust, clear) = sched::with_current(|thread| {
        (
            thread.tid,
            thread.thread_pointer() as usize,
            thread.linux().robust_list.swap(0, Ordering::Relaxed),
            thread.linux().clear_child_tid.swap(0, Ordering::Relaxed),
        )
    });
    // Before `clear_child_tid`: who joins this thread may give its thread control block to a new thread at once.
    super::with_current(|process| process.linker.thread_ended(thread_pointer));
    if robust != 0 {
        // The list is the program's; a broken one only ends the walk.
        let _ = release_robust_list(robust, tid);
    }
    if super::with_current(|process| process.remove(tid)) {
        exit_group(status);
    }
    // After that: who wants such a futex now finds that its owner is gone.
    futex::pi::release_owned(tid);
    sched::with_current(|thread| thread.linux().process.retarget(thread));
    if clear != 0 && user::write(clear, &0u32).is_ok() {
        wake(clear);
    }
    sched::exit_current()
}

/// Wakes a thread of any process that waits for this word to change, as Linux does at the end of a thread.
fn wake(addr: usize) {
    if let Ok(word) = Word::at(addr, true) {
        futex::wake(word, 1, u32::MAX);
    }
}

/// Walks the list of robust mutexes that the thread held and marks them as left by a dead owner.
fn release_robust_list(head: usize, tid: i32) -> Result<(), Errno> {
    /// A list pointer with its lowest bit, which marks priority-inheritance futexes, taken off.
    fn link(addr: usize) -> Result<(usize, bool), Errno> {
        let raw: u64 = user::read(addr)?;
        Ok(((raw & !1) as usize, raw & 1 != 0))
    }
    let offset: i64 = user::read(head.wrapping_add(8))?;
    let word = |entry: usize| entry.wrapping_add_signed(offset as isize);
    let (pending, pending_pi) = link(head.wrapping_add(16))?;
    let (mut entry, mut pi) = link(head)?;
    for _ in 0..ROBUST_LIMIT {
        if entry == head {
            break;
        }
        // The entry may be gone once it is released.
        let next = link(entry);
        if entry != pending {
            release_robust(word(entry), tid, pi, false)?;
        }
        (entry, pi) = next?;
    }
    if pending != 0 {
        release_robust(word(pending), tid, pending_pi, true)?;
    }
    Ok(())
}

/// Marks one robust futex. `pending`: the thread was about to lock or unlock it when it ended.
fn release_robust(addr: usize, tid: i32, pi: bool, pending: bool) -> Result<(), Errno> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    loop {
        let value = user::load_u32(addr)?;
        if pending && !pi && value == 0 {
            // Unlocked, but the wake-up was not done yet.
            wake(addr);
            return Ok(());
        }
        if value & FUTEX_TID_MASK != tid as u32 {
            return Ok(());
        }
        if pi {
            futex::pi::owner_died(Word::at(addr, true)?, tid)?;
            return Ok(());
        }
        let dead = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if user::cmpxchg_u32(addr, value, dead)? == value {
            if value & FUTEX_WAITERS != 0 {
                wake(addr);
            }
            return Ok(());
        }
    }
}
