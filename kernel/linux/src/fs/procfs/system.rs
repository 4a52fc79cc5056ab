//! The rest of /proc: the machine and the kernel.
use crate::{
    fs::{
        aio, descriptor, disks, generated, locks, notify,
        page_cache::{cached_pages, dirty_pages},
        pipe,
        tree::Node,
        write_back,
    },
    ipc::{self, messages, semaphores, shared_memory},
    process,
    syscall::process::{RELEASE, VERSION, hostname},
};
use abi::Errno;
use alloc::{format, string::String, sync::Arc};
use core::fmt::Write;
use machine::{
    arch::{self, cpu, interrupt},
    drivers,
    mm::{PAGE, frame, space},
    sched::{self, CpuTimes},
    time::{self, Instant},
};

/// Total and free memory in KiB.
pub fn memory_kib() -> (usize, usize) {
    let (total, free) = frame::counts();
    (total * (PAGE / 1024), free * (PAGE / 1024))
}

fn meminfo() -> String {
    let (total, free) = memory_kib();
    let [cached, dirty] = [cached_pages(), dirty_pages()].map(|pages| pages * (PAGE / 1024));
    let used = total.saturating_sub(free + cached);
    let mut text = String::new();
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free + cached.saturating_sub(dirty)),
        ("Buffers", 0),
        ("Cached", cached),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", cached),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", dirty),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("HugePages_Total", 0),
        ("HugePages_Free", 0),
        ("Hugepagesize", 2048),
    ] {
        let unit = if name.starts_with("HugePages") {
            ""
        } else {
            " kB"
        };
        let _ = writeln!(text, "{:<15} {value:>8}{unit}", format!("{name}:"));
    }
    text
}

/// Pages that are free, and KiB that disks have read and written; what Linux counts besides is not counted here, or, as
/// nothing is ever paged out, never happens.
fn vmstat() -> String {
    let (_, free) = frame::counts();
    let (read, written) = disks::kib();
    format!(
        "nr_free_pages {free}\npgpgin {read}\npgpgout {written}\npswpin 0\npswpout 0\noom_kill 0\n"
    )
}

/// The times of one CPU, or of all, in clock ticks.
fn cpu_line(name: &str, times: CpuTimes) -> String {
    let CpuTimes {
        user,
        nice,
        system,
        idle,
    } = times;
    let [user, nice, system, idle] = [user, nice, system, idle].map(|ns| ns / 10_000_000);
    format!("{name} {user} {nice} {system} {idle} 0 0 0 0 0 0\n")
}

/// /proc/interrupts
fn interrupts() -> String {
    let sources = interrupt::sources();
    let width = sources.iter().map(|source| source.name.len()).max();
    let width = width.unwrap_or(0).max(3);
    let mut text = format!("{:width$} ", "");
    for index in 0..cpu::count() {
        let _ = write!(text, " {:<10}", format!("      CPU{index}"));
    }
    text.push('\n');
    for interrupt::Source { name, counts, what } in sources {
        let _ = write!(text, "{name:>width$}:");
        for count in counts {
            let _ = write!(text, " {count:>10}");
        }
        let kind = if name.starts_with(|first: char| first.is_ascii_digit()) {
            "PCI-MSIX  0-edge  "
        } else {
            ""
        };
        let _ = writeln!(text, "  {kind}{what}");
    }
    text
}

/// All interrupts there were, and those of each device's vector.
fn interrupt_line() -> String {
    let (mut sum, mut devices) = (0, String::new());
    for interrupt::Source { name, counts, .. } in interrupt::sources() {
        let count: u64 = counts.into_iter().sum();
        sum += count;
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            let _ = write!(devices, " {count}");
        }
    }
    format!("intr {sum}{devices}\n")
}

/// /proc/stat. There are no soft interrupts.
fn stat() -> String {
    let (mut all, mut lines) = (CpuTimes::default(), String::new());
    for index in 0..cpu::count() {
        let times = sched::cpu_times(index);
        all.add(times);
        lines += &cpu_line(&format!("cpu{index}"), times);
    }
    let mut text = cpu_line("cpu ", all) + &lines;
    let boot = (time::realtime_ns().saturating_sub(Instant::now().0)) / 1_000_000_000;
    let (switches, made) = (sched::switch_count(), process::made_count());
    let active = sched::active_count();
    let _ = write!(
        text,
        "{}ctxt {switches}\nbtime {boot}\nprocesses {made}\nprocs_running {active}\nprocs_blocked 0\n\
         softirq 0 0 0 0 0 0 0 0 0 0 0\n",
        interrupt_line()
    );
    text
}

/// Seconds since the start, and how long CPUs have been idle altogether.
fn uptime() -> String {
    let idle = (0..cpu::count()).map(|cpu| sched::cpu_times(cpu).idle);
    let [up, idle] = [Instant::now().0, idle.sum()].map(|ns| {
        let centis = ns / 10_000_000;
        format!("{}.{:02}", centis / 100, centis % 100)
    });
    format!("{up} {idle}\n")
}

fn loadavg() -> String {
    let mut text = String::new();
    for load in sched::load_averages() {
        // Rounded, as Linux does it.
        let centis = (load * 100 + (1 << (sched::LOAD_SHIFT - 1))) >> sched::LOAD_SHIFT;
        let _ = write!(text, "{}.{:02} ", centis / 100, centis % 100);
    }
    let threads = process::thread_ids();
    let newest = threads.last().unwrap_or(&0);
    let (active, all) = (sched::active_count(), sched::thread_count());
    let _ = writeln!(text, "{active}/{all} {newest}");
    text
}

/// A random UUID.
fn uuid() -> String {
    let mut bytes = [0; 16];
    drivers::random::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// Fills /proc but for the program's own directory.
pub fn populate(proc: &Arc<Node>) -> Result<(), Errno> {
    generated::file(proc, "cpuinfo", arch::cpuinfo::text)?;
    generated::file(proc, "meminfo", meminfo)?;
    generated::file(proc, "vmstat", vmstat)?;
    generated::file(proc, "stat", stat)?;
    generated::file(proc, "uptime", uptime)?;
    generated::file(proc, "locks", locks::listed)?;
    generated::file(proc, "diskstats", disks::listed)?;
    generated::file(proc, "interrupts", interrupts)?;
    let ipc = generated::directory(proc, "sysvipc")?;
    generated::file(&ipc, "sem", semaphores::listed)?;
    generated::file(&ipc, "msg", messages::listed)?;
    generated::file(&ipc, "shm", shared_memory::listed)?;
    generated::link(proc, "mounts", "self/mounts")?;
    generated::file(proc, "version", || {
        format!("Linux version {RELEASE} (elfin) {VERSION}\n")
    })?;
    generated::file(proc, "loadavg", loadavg)?;
    generated::file(proc, "filesystems", || {
        "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\toverlay\n\terofs\n".into()
    })?;
    let kernel = generated::directory(proc, "sys/kernel")?;
    for (name, text) in [
        ("osrelease", RELEASE),
        ("ostype", "Linux"),
        ("version", VERSION),
        ("pid_max", "4194304"),
        ("cap_last_cap", "40"),
        ("ngroups_max", "65536"),
        ("randomize_va_space", "2"),
    ] {
        generated::file(&kernel, name, move || format!("{text}\n"))?;
    }
    for (name, text) in ipc::limits() {
        generated::file(&kernel, name, move || format!("{text}\n"))?;
    }
    generated::file(&kernel, "threads-max", || {
        format!("{}\n", process::most_threads())
    })?;
    generated::file(&kernel, "hostname", || {
        format!("{}\n", String::from_utf8_lossy(&hostname()))
    })?;
    let random = generated::directory(proc, "sys/kernel/random")?;
    generated::file(&random, "uuid", uuid)?;
    let boot_id = uuid();
    generated::file(&random, "boot_id", move || boot_id.clone())?;
    let vm = generated::directory(proc, "sys/vm")?;
    generated::file(&vm, "overcommit_memory", || "0\n".into())?;
    generated::file(&vm, "max_map_count", || format!("{}\n", space::MAX_AREAS))?;
    for (name, value) in write_back::SETTINGS {
        generated::file(&vm, name, move || format!("{value}\n"))?;
    }
    let fs = generated::directory(proc, "sys/fs")?;
    generated::file(&fs, "pipe-max-size", || format!("{}\n", pipe::MAX_CAPACITY))?;
    generated::file(&fs, "aio-max-nr", || format!("{}\n", aio::MOST))?;
    generated::file(&fs, "nr_open", || format!("{}\n", descriptor::MAX_LIMIT))?;
    let limits = generated::directory(&fs, "inotify")?;
    for (name, limit) in [
        ("max_queued_events", notify::MAX_QUEUED_EVENTS),
        ("max_user_instances", notify::inotify::MAX_USER_INSTANCES),
        ("max_user_watches", notify::inotify::MAX_USER_WATCHES),
    ] {
        generated::file(&limits, name, move || format!("{limit}\n"))?;
    }
    Ok(())
}
