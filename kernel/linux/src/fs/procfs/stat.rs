//! /proc/PID/stat: a thread in one line of numbers, for ps, top and their like. What would say where something is in the
//! program's memory is 0, as Linux has it for those who may not know.
use super::status::{comm, state, usage};
use crate::process::{self, LinuxThread, Process, signal::SignalSets, usage::Usage};
use alloc::{format, string::String, vec::Vec};
use linux_raw_sys::general as linux;
use machine::{
    mm::PAGE,
    sched::{Policy, Thread, Tid},
};

/// Clock ticks per second that times in /proc are counted in.
const HZ: u64 = 100;

fn ticks(ns: u64) -> u64 {
    ns / (1_000_000_000 / HZ)
}

/// User and system time.
fn times(usage: &Usage) -> String {
    format!("{} {}", ticks(usage.user_ns()), ticks(usage.system_ns))
}

/// How a thread is scheduled.
struct Scheduled {
    policy: Policy,
    nice: i32,
    cpu: usize,
}

impl Scheduled {
    fn of(thread: &Thread) -> Self {
        Self {
            policy: thread.policy(),
            nice: thread.nice(),
            cpu: thread.cpu(),
        }
    }

    /// Smaller is more important: negative for real-time threads, 0 to 39 for others.
    #[doc(alias = "task_prio")]
    fn priority(&self) -> i32 {
        match self.policy.priority {
            0 => 20 + self.nice,
            level => -1 - level.cast_signed(),
        }
    }
}

/// The line of a thread, or of the process when it is the main thread.
pub(super) fn stat(process: &Process, tid: Tid) -> Vec<u8> {
    let is_main = tid == process.pid;
    let (used, of_children, started) = if is_main {
        let of_children = process.usage_of_children();
        (process.usage(), of_children, process.started)
    } else {
        let of_thread = |thread: &Thread| (Usage::of_thread(thread), thread.linux().started);
        let found = process::with_thread(tid, of_thread);
        let (used, started) = found.unwrap_or((Usage::default(), process.started));
        (used, Usage::default(), started)
    };
    let scheduled = process::with_thread(tid, Scheduled::of).unwrap_or(Scheduled {
        policy: Policy::OTHER,
        nice: 0,
        cpu: 0,
    });
    let sets = SignalSets::of(process, tid);
    // Of the first 31 only: what is here is an unsigned long with the sign bit of an int left out.
    let low = |set: u64| set & 0x7fff_ffff;
    let (mapped, resident) = usage(process);
    let terminal = process.terminal();
    let (tty, foreground) = terminal.map_or((0, -1), |tty| (tty.rdev(), tty.foreground()));
    let exit_signal = if is_main { process.exit_signal() } else { -1 };
    let mut text = format!("{tid} (").into_bytes();
    text.extend_from_slice(&comm(tid));
    let fields = [
        format!(") {}", &state(process, tid)[..1]),
        format!("{} {} {}", process.ppid(), process.pgid(), process.sid()),
        format!(
            "{tty} {foreground} 4194304 {} {} {} {}",
            used.used.minor_faults,
            of_children.used.minor_faults,
            used.used.major_faults,
            of_children.used.major_faults
        ),
        times(&used),
        times(&of_children),
        format!("{} {}", scheduled.priority(), scheduled.nice),
        format!("{} 0 {}", process.thread_ids().len(), ticks(started.0)),
        format!("{mapped} {}", resident / PAGE),
        format!("{} 0 0 0 0 0", process.limits.soft(linux::RLIMIT_RSS)),
        format!("{} {}", low(sets.pending), low(sets.blocked)),
        format!("{} {} 0 0 0", low(sets.ignored), low(sets.caught)),
        format!(
            "{exit_signal} {} {} {}",
            scheduled.cpu, scheduled.policy.priority, scheduled.policy.policy
        ),
        "0 0 0 0 0 0 0 0 0 0 0\n".into(),
    ];
    text.extend_from_slice(fields.join(" ").as_bytes());
    text
}
