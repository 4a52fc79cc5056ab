//! The end of threads and of processes: that of the first is the machine's.
//!
//! One thread ends a process: the others end when they come by on their way to the program, and the last of all leaves
//! a zombie. In the same way the thread that has called execve(2) gets rid of the others.
use super::family::{Change, Status};
use super::{
    LinuxThread, Process, Program,
    futex::{self, Word},
    out_of_memory, ptrace, table,
};
use crate::credentials;
use crate::{config, fs::write_back, ipc, linker, syscall, tty};
use abi::Errno;
use alloc::{format, sync::Arc};
use core::sync::atomic::{AtomicI32, Ordering};
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, SIGKILL};
use machine::{
    arch,
    drivers::console,
    mm::user,
    record,
    sched::{self, Tid},
    sync::{Signals, SpinLock, WaitQueue},
    time,
};

/// Robust list entries looked at before the list is taken for a loop, as in Linux.
const ROBUST_LIMIT: usize = 2048;

/// `isa-debug-exit` code of a program that ended, whatever its status.
const PROGRAM_ENDED: u8 = 0x10;

/// Stands for the kernel's thread that loads a program, which has no id, as who ends the process.
const LOADER: Tid = -1;

/// Who ends a process, or gets rid of all threads but itself.
#[derive(Default)]
pub(super) struct Ending {
    /// That thread; 0 for none.
    owner: AtomicI32,
    /// How it ends, if it does.
    status: SpinLock<Option<Status>>,
    /// Is woken when a thread has ended.
    thread_ended: WaitQueue,
}

/// Makes the calling thread the one that ends its process, in this way. If another one does already, it ends.
pub(crate) fn claim_exit(status: Status) {
    let me = sched::current_tid();
    let owner = if me == 0 { LOADER } else { me };
    let claimed = super::with_current(|process| {
        let claimed = process.claim(owner);
        if claimed {
            process.ending.status.lock().get_or_insert(status);
        }
        claimed
    });
    if !claimed {
        leave();
    }
}

impl Process {
    /// Makes the thread `owner` the one that ends it, if none does yet, and has the others come by.
    fn claim(&self, owner: Tid) -> bool {
        let ending = &self.ending.owner;
        match ending.compare_exchange(0, owner, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // Who is in the program, or in a wait that signals end, stops on the way (back) to the program.
                self.kick_others(owner);
                self.stop.let_die();
                true
            }
            Err(other) => other == owner,
        }
    }

    /// Has the calling thread be the only one; whether no other one wants that, or ends the process.
    pub(super) fn end_other_threads(&self) -> bool {
        if !self.claim(sched::current_tid()) {
            return false;
        }
        let is_alone = || (self.thread_ids().len() == 1).then_some(());
        // They come by soon, whatever they wait for.
        let ended = &self.ending.thread_ended;
        let _ = ended.wait_until(None, Signals::Ignore, is_alone);
        true
    }

    /// It goes on with another thread than the one that has called [`Process::end_other_threads`].
    pub(super) fn goes_on(&self) {
        self.ending.owner.store(0, Ordering::Release);
    }

    /// Whether some thread ends it.
    pub(super) fn ends(&self) -> bool {
        self.ending.owner.load(Ordering::Relaxed) != 0
    }

    /// Whether another thread than `tid`, which is one of the program's, ends it.
    pub(super) fn is_over_for(&self, tid: Tid) -> bool {
        let owner = self.ending.owner.load(Ordering::Relaxed);
        owner != 0 && owner != tid && tid != 0
    }
}

/// Ends the calling thread when another one ends the process.
pub(crate) fn stop_if_over() {
    let tid = sched::current_tid();
    if super::with_current(|process| process.is_over_for(tid)) {
        leave();
    }
}

/// Ends the calling thread if it is to end, whatever it waits for.
pub fn stop_if_killed() {
    stop_if_over();
    if sched::kill_pending() {
        exit_by_signal(SIGKILL as i32);
    }
}

/// Ends the process, by itself.
pub fn exit_group(status: i32) -> ! {
    end_process(Status::Exited(status as u8))
}

/// Ends the process as killed by `signal`.
pub fn exit_by_signal(signal: i32) -> ! {
    end_process(Status::Killed(signal))
}

fn end_process(status: Status) -> ! {
    claim_exit(status);
    if super::with_current(|process| process.pid == table::FIRST) {
        end_machine(status);
    }
    leave()
}

/// Ends the machine as the first process ends: output flushed, last words logged, off.
fn end_machine(status: Status) -> ! {
    record::phase("exit");
    if let Err(error) = write_back::finish() {
        let line = format!("elfin: not all files were written: {}\n", error.text());
        tty::stream::write_stderr(line.as_bytes());
    }
    console::flush();
    let profile = config::get().sample.map(|_| {
        time::sample_every(0);
        linker::get().profile()
    });
    record::send(syscall::name, &profile.unwrap_or_default());
    match status {
        Status::Exited(status) => machine::log::line(format_args!("elfin: exit status={status}")),
        Status::Killed(signal) => machine::log::line(format_args!("elfin: exit signal={signal}")),
    }
    arch::cpu::exit_machine(PROGRAM_ENDED)
}

/// Ends the calling thread; the last one ends the process with `status`, if that does not end in another way.
pub fn exit_thread(status: i32) -> ! {
    let (thread_pointer, borrows) = sched::with_current(|thread| {
        let borrows = thread.linux().borrows_thread_pointer;
        (thread.thread_pointer() as usize, borrows)
    });
    // Before `clear_child_tid`: who joins this thread may give its thread control block to a new thread at once.
    if !borrows {
        linker::get().thread_ended(thread_pointer);
    }
    end_thread(status)
}

/// Ends the calling thread of a process that ends. The dynamic linker, in the middle of which it may be, ends as well.
fn leave() -> ! {
    end_thread(0)
}

fn end_thread(status: i32) -> ! {
    ptrace::exits(super::with_current(|process| {
        Change::Ended(process.ending_status(status)).word()
    }));
    super::with_current(|process| ptrace::end_of_tracer(process));
    let (tid, robust, clear) = sched::with_current(|thread| {
        let linux = thread.linux();
        (
            thread.tid,
            linux.robust_list.swap(0, Ordering::Relaxed),
            linux.clear_child_tid.swap(0, Ordering::Relaxed),
        )
    });
    if robust != 0 {
        // The list is the program's; a broken one only ends the walk.
        let _ = release_robust_list(robust, tid);
    }
    let is_last = super::with_current(|process| process.remove(tid));
    // After that: who wants such a futex now finds that its owner is gone.
    futex::pi::release_owned(tid);
    sched::with_current(|thread| thread.linux().process.retarget(thread));
    if clear != 0 && user::write(clear, &0u32).is_ok() {
        wake(clear);
    }
    let uid = credentials::current().user.real;
    super::with_current(|process| {
        let status = process.ending_status(status);
        sched::with_current(|thread| process.tracee_ended(thread, status));
    });
    if !is_last {
        super::with_current(|process| {
            process.maker_ended(tid, uid);
            process.ending.thread_ended.wake_all();
            // It may have been the last that was not held.
            process.tell_if_stopped();
        });
        sched::exit_current();
    }
    let status = super::with_current(|process| {
        let status = process.ending_status(status);
        if process.pid == table::FIRST {
            end_machine(status);
        }
        process.give_up();
        status
    });
    sched::exit_current_with(|| {
        super::with_current(|process| {
            process.release_parent();
            process.become_zombie(status, uid);
            out_of_memory::ended(process.pid);
        });
    })
}

impl Process {
    /// How it ends, or its thread alone, which does with `status`.
    fn ending_status(&self, status: i32) -> Status {
        let ended = *self.ending.status.lock();
        ended.unwrap_or(Status::Exited(status as u8))
    }

    /// Gives back what a zombie does not need, before it is one. No thread of it is left but the calling one.
    fn give_up(self: &Arc<Self>) {
        ipc::process_ended(self.pid);
        tty::leave(self);
        self.set_terminal(None);
        self.leave_parts();
        self.end_timers();
        // Its file may be written to, and what that is in be unmounted.
        self.set_program(Program::default());
        self.set_space(None);
    }
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
