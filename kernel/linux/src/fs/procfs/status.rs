//! What /proc tells of a process and its threads: status, maps, limits.
use crate::linker;
use crate::process::LinuxThread;
use crate::{
    credentials::{self, Capabilities, Credentials, Ids},
    process::{self, Process, signal::SignalSets},
};
use alloc::{format, string::String, vec::Vec};
use core::{fmt::Write, sync::atomic::Ordering};
use linux_raw_sys::general as linux;
use machine::{
    arch::cpu,
    mm::space::{MapsLine, Prot},
    sched::{self, Thread, Tid, Used},
};

/// Bytes that are mapped, and those that are there.
pub(super) fn usage(process: &Process) -> (usize, usize) {
    process.space().map_or((0, 0), |space| space.usage())
}

/// A thread's name.
pub(super) fn comm(tid: Tid) -> Vec<u8> {
    process::with_thread(tid, |thread| thread.linux().name()).unwrap_or_default()
}

/// What a thread does; the process does what its main thread does.
pub(super) fn state(process: &Process, tid: Tid) -> &'static str {
    if process.is_zombie() {
        return "Z (zombie)";
    }
    let waits = process::with_thread(tid, sched::Thread::is_waiting);
    let is_held = process::with_thread(tid, |thread| thread.linux().tracing.is_held());
    match waits {
        // It has ended before the others.
        None => "Z (zombie)",
        Some(_) if is_held == Some(true) => "t (tracing stop)",
        Some(_) if process.is_stopped() => "T (stopped)",
        Some(true) => "S (sleeping)",
        Some(false) => "R (running)",
    }
}

/// The lines of status with the ids.
fn ids(who: &Credentials) -> String {
    let line = |name, ids: &Ids| {
        let Ids {
            real,
            effective,
            saved,
            filesystem,
        } = ids;
        format!("{name}:\t{real}\t{effective}\t{saved}\t{filesystem}\n")
    };
    line("Uid", &who.user) + &line("Gid", &who.group)
}

/// The lines of status with the capabilities.
fn capabilities(has: &Capabilities) -> String {
    format!(
        "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\n",
        has.inheritable, has.permitted, has.effective, has.bounding, has.ambient,
    )
}

/// The lines of status with the signals.
fn signals(sets: &SignalSets) -> String {
    let [queued, limit] = sets.queued;
    format!(
        "SigQ:\t{queued}/{limit}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\n\
         SigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
        sets.pending, sets.shared, sets.blocked, sets.ignored, sets.caught,
    )
}

/// The lines of status.
pub(super) fn status(process: &Process, tid: Tid) -> Vec<u8> {
    let (pid, ppid) = (process.pid, process.ppid());
    let (mapped, resident) = usage(process);
    let (size, rss) = (mapped / 1024, resident / 1024);
    let most = process.most_resident() / 1024;
    let Used {
        waits, preemptions, ..
    } = process::with_thread(tid, Thread::used).unwrap_or_default();
    let cpus = cpu::count();
    let mask = u64::MAX >> (64 - cpus.clamp(1, 64));
    let who = process::with_thread(tid, credentials::of).unwrap_or_default();
    let no_new_privileges = process::with_thread(tid, |thread| {
        let set = &thread.linux().settings.no_new_privileges;
        set.load(Ordering::Relaxed)
    });
    let groups: Vec<String> = who.groups.iter().map(|group| format!("{group}")).collect();
    let mut text = b"Name:\t".to_vec();
    text.extend_from_slice(&comm(tid));
    let rest = format!(
        "\nUmask:\t{:04o}\nState:\t{}\nTgid:\t{pid}\nNgid:\t0\nPid:\t{tid}\nPPid:\t{ppid}\nTracerPid:\t{}\n\
         {}FDSize:\t256\nGroups:\t{} \n\
         NStgid:\t{pid}\nNSpid:\t{tid}\nNSpgid:\t{}\nNSsid:\t{}\nVmPeak:\t{size:8} kB\nVmSize:\t{size:8} kB\n\
         VmLck:\t       0 kB\nVmPin:\t       0 kB\nVmHWM:\t{most:8} kB\nVmRSS:\t{rss:8} kB\nVmSwap:\t       0 kB\n\
         Threads:\t{}\n{}{}NoNewPrivs:\t{}\nSeccomp:\t0\nCpus_allowed:\t{mask:x}\nCpus_allowed_list:\t0-{}\n\
         Mems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t{waits}\nnonvoluntary_ctxt_switches:\t{preemptions}\n",
        process.fs().umask(),
        state(process, tid),
        process::with_thread(tid, |thread| thread.linux().tracing.tracer()).unwrap_or(0),
        ids(&who),
        groups.join(" "),
        process.pgid(),
        process.sid(),
        process.thread_ids().len(),
        signals(&SignalSets::of(process, tid)),
        capabilities(&who.capabilities),
        u8::from(no_new_privileges == Some(true)),
        cpus - 1,
    );
    text.extend_from_slice(rest.as_bytes());
    text.extend_from_slice(lineage(process, tid).as_bytes());
    text
}

/// A line of status that Linux has not: who started the thread, who that one, and so on. Of the reader's own process
/// only: what knows it is in that one's memory.
fn lineage(process: &Process, tid: Tid) -> String {
    let thread_pointer = process::with_thread(tid, sched::Thread::thread_pointer);
    let is_own = process::with_current(|own| core::ptr::eq(&**own, process));
    match thread_pointer.filter(|_| is_own) {
        Some(thread_pointer) => match linker::get().lineage(thread_pointer) {
            text if text.is_empty() => text,
            text => format!("Lineage:\t{}\n", text.trim_start_matches(", ")),
        },
        None => String::new(),
    }
}

/// The mappings of a process; none once it has ended.
pub(super) fn mappings(process: &Process) -> Vec<MapsLine> {
    let maps = process.space().map(|space| space.maps());
    maps.unwrap_or_default()
}

/// The lines of maps.
pub(super) fn maps(process: &Process) -> String {
    mappings(process).iter().map(maps_line).collect()
}

/// The line of one mapping.
pub(super) fn maps_line(area: &MapsLine) -> String {
    let flag = |prot, letter| {
        if area.prot.contains(prot) {
            letter
        } else {
            '-'
        }
    };
    let line = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
        area.start,
        area.end,
        flag(Prot::READ, 'r'),
        flag(Prot::WRITE, 'w'),
        flag(Prot::EXEC, 'x'),
        if area.shared { 's' } else { 'p' },
        area.offset,
        area.dev >> 8 & 0xfff,
        area.dev & 0xff,
        area.ino,
    );
    if area.name.is_empty() {
        line + "\n"
    } else {
        format!("{line:<73}{}\n", area.name)
    }
}

/// The table of limits.
pub(super) fn limits(process: &Process) -> String {
    let mut text = format!(
        "{:<26}{:<21}{:<21}{:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    for (resource, name, unit) in [
        (linux::RLIMIT_CPU, "Max cpu time", "seconds"),
        (linux::RLIMIT_FSIZE, "Max file size", "bytes"),
        (linux::RLIMIT_DATA, "Max data size", "bytes"),
        (linux::RLIMIT_STACK, "Max stack size", "bytes"),
        (linux::RLIMIT_CORE, "Max core file size", "bytes"),
        (linux::RLIMIT_RSS, "Max resident set", "bytes"),
        (linux::RLIMIT_NPROC, "Max processes", "processes"),
        (linux::RLIMIT_NOFILE, "Max open files", "files"),
        (linux::RLIMIT_MEMLOCK, "Max locked memory", "bytes"),
        (linux::RLIMIT_AS, "Max address space", "bytes"),
        (linux::RLIMIT_LOCKS, "Max file locks", "locks"),
        (linux::RLIMIT_SIGPENDING, "Max pending signals", "signals"),
        (linux::RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"),
        (linux::RLIMIT_NICE, "Max nice priority", ""),
        (linux::RLIMIT_RTPRIO, "Max realtime priority", ""),
        (linux::RLIMIT_RTTIME, "Max realtime timeout", "us"),
    ] {
        let limit = process.limits.get(resource);
        let value = |value: Option<u64>| match value {
            Some(u64::MAX) | None => String::from("unlimited"),
            Some(value) => format!("{value}"),
        };
        let soft = value(limit.ok().map(|limit| limit.soft));
        let hard = value(limit.ok().map(|limit| limit.hard));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<26}{soft:<21}{hard:<21}{unit:<10}");
    }
    text
}
