//! /proc/self: what the program can read about itself.
use super::system;
use crate::{
    arch::cpu,
    boot::config,
    fs::{
        self, descriptor, device, directory, generated, path,
        tree::{self, Jump, Kind, Listing, Node, dev},
    },
    mm::{PAGE, space},
    process::{
        self, PID,
        credentials::{self, Capabilities, Credentials, Ids},
    },
    sched::{self, Tid},
    sync::SpinLock,
    syscall::Errno,
};
use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::fmt::Write;
use linux_raw_sys::general as linux;

/// Clock ticks per second that times in /proc are counted in.
const HZ: u64 = 100;

static EXE: SpinLock<Vec<u8>> = SpinLock::new(Vec::new());
static CMDLINE: SpinLock<Vec<u8>> = SpinLock::new(Vec::new());
static AUXV: SpinLock<Vec<u8>> = SpinLock::new(Vec::new());

fn replace(what: &SpinLock<Vec<u8>>, value: Vec<u8>) {
    let old = core::mem::replace(&mut *what.lock(), value);
    drop(old);
}

/// The path that /proc/self/exe names; set by exec.
pub fn set_exe(path: Vec<u8>) {
    replace(&EXE, path);
}
/// What /proc/self/cmdline reads: the arguments, each with a NUL.
pub fn set_cmdline(text: Vec<u8>) {
    replace(&CMDLINE, text);
}
/// What /proc/self/auxv reads.
pub fn set_auxv(bytes: Vec<u8>) {
    replace(&AUXV, bytes);
}
/// The path of the program.
pub fn exe() -> Vec<u8> {
    EXE.lock().clone()
}
/// The arguments, each with a NUL.
pub fn cmdline() -> Vec<u8> {
    CMDLINE.lock().clone()
}

/// A thread's name; the program's while it has none.
pub fn comm(tid: Tid) -> Vec<u8> {
    let name = process::with_thread(tid, |thread| thread.state.name()).unwrap_or_default();
    if !name.is_empty() {
        return name;
    }
    let exe = exe();
    let base = exe.rsplit(|&byte| byte == b'/').next().unwrap_or(&exe);
    base[..base.len().min(process::NAME_LEN - 1)].to_vec()
}

/// /proc/self/fd, or fdinfo.
struct Descriptors {
    info: bool,
}

fn number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    let number: i32 = text.parse().ok()?;
    (format!("{number}") == text).then_some(number)
}

impl Listing for Descriptors {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let kind = if self.info {
            linux::DT_REG
        } else {
            linux::DT_LNK
        };
        let name = |fd| (format!("{fd}").into_bytes(), kind as u8);
        descriptor::open_descriptors()
            .into_iter()
            .map(name)
            .collect()
    }

    fn child(&self, name: &[u8]) -> Option<Arc<Node>> {
        let fd = number(name)?;
        descriptor::get(fd).ok()?;
        if self.info {
            let text = generated::source(move || descriptor_info(fd));
            return Some(Node::new(dev::PROC, linux::S_IFREG | 0o444, text));
        }
        let jump = move || {
            let open = descriptor::get(fd)?;
            Ok(Jump {
                text: open.file.link_text(),
                node: Some(device::node_of(&open)),
            })
        };
        let mode = linux::S_IFLNK | 0o700;
        Some(Node::new(dev::PROC, mode, Kind::Magic(Box::new(jump))))
    }
}

fn descriptor_info(fd: i32) -> Vec<u8> {
    let Ok(open) = descriptor::get(fd) else {
        return Vec::new();
    };
    let mut flags = open.flags();
    if descriptor::cloexec(fd) == Ok(true) {
        flags |= linux::O_CLOEXEC;
    }
    let ino = open.file.metadata().map_or(0, |metadata| metadata.ino);
    let pos = *open.offset.lock();
    format!("pos:\t{pos}\nflags:\t0{flags:o}\nmnt_id:\t1\nino:\t{ino}\n").into_bytes()
}

/// /proc/self/task.
struct Tasks;

impl Listing for Tasks {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let name = |tid| (format!("{tid}").into_bytes(), linux::DT_DIR as u8);
        process::thread_ids().into_iter().map(name).collect()
    }
    fn child(&self, name: &[u8]) -> Option<Arc<Node>> {
        let tid = number(name)?;
        process::with_thread(tid, |_| ()).filter(|()| tid > 0)?;
        let node = Node::new(dev::PROC, linux::S_IFDIR | 0o555, Kind::directory());
        if let (Kind::Directory(directory), Ok(parent)) =
            (&node.kind, path::resolve_node(b"/proc/self"))
        {
            let name = format!("task/{tid}").into_bytes();
            *directory.place.lock() = Some((Arc::downgrade(&parent), name.into()));
        }
        populate_thread(&node, tid).ok()?;
        Some(node)
    }
}

fn populate_thread(directory: &Arc<Node>, tid: Tid) -> Result<(), Errno> {
    let set = move |name: &[u8]| {
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        process::with_thread(tid, |thread| thread.state.set_name(name)).ok_or(Errno::ESRCH)
    };
    let get = move || [&comm(tid)[..], b"\n"].concat();
    generated::writable(directory, "comm", get, set)?;
    generated::bytes(directory, "stat", move || stat(tid))?;
    generated::bytes(directory, "status", move || status(tid))
}

/// Whether a thread runs or sleeps; the process does what its main thread does.
fn state(tid: Tid) -> &'static str {
    match process::with_thread(tid, sched::Thread::is_waiting) {
        Some(true) => "S (sleeping)",
        _ => "R (running)",
    }
}

fn stat(tid: Tid) -> Vec<u8> {
    let ns = if tid == PID {
        process::cpu_time_ns()
    } else {
        process::with_thread(tid, sched::Thread::cpu_time_ns).unwrap_or(0)
    };
    let ticks = ns / (1_000_000_000 / HZ);
    let (mapped, resident) = space::usage();
    let threads = process::thread_ids().len();
    let name = comm(tid);
    let mut text = format!("{tid} (").into_bytes();
    text.extend_from_slice(&name);
    let rest = format!(
        ") {} 0 {PID} {PID} 0 -1 4194304 0 0 0 0 {ticks} 0 0 0 20 0 {threads} 0 1 {mapped} {} 18446744073709551615 \
         0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        &state(tid)[..1],
        resident / PAGE
    );
    text.extend_from_slice(rest.as_bytes());
    text
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
        has.inheritable,
        has.permitted,
        has.effective,
        Capabilities::BOUNDING,
        0,
    )
}

fn status(tid: Tid) -> Vec<u8> {
    let (mapped, resident) = space::usage();
    let (size, rss) = (mapped / 1024, resident / 1024);
    let cpus = cpu::count();
    let mask = u64::MAX >> (64 - cpus.clamp(1, 64));
    let who = process::with_thread(tid, credentials::of).unwrap_or_default();
    let groups: Vec<String> = who.groups.iter().map(|group| format!("{group}")).collect();
    let mut text = b"Name:\t".to_vec();
    text.extend_from_slice(&comm(tid));
    let rest = format!(
        "\nUmask:\t{:04o}\nState:\t{}\nTgid:\t{PID}\nNgid:\t0\nPid:\t{tid}\nPPid:\t0\nTracerPid:\t0\n\
         {}FDSize:\t256\nGroups:\t{} \nVmPeak:\t{size:8} kB\nVmSize:\t{size:8} kB\n\
         VmLck:\t       0 kB\nVmPin:\t       0 kB\nVmHWM:\t{rss:8} kB\nVmRSS:\t{rss:8} kB\nVmSwap:\t       0 kB\n\
         Threads:\t{}\n{}Seccomp:\t0\nCpus_allowed:\t{mask:x}\nCpus_allowed_list:\t0-{}\nMems_allowed:\t1\n\
         Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
        fs::umask(),
        state(tid),
        ids(&who),
        groups.join(" "),
        process::thread_ids().len(),
        capabilities(&who.capabilities),
        cpus - 1,
    );
    text.extend_from_slice(rest.as_bytes());
    text
}

fn maps() -> String {
    let mut text = String::new();
    for area in space::maps() {
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
            flag(space::Prot::READ, 'r'),
            flag(space::Prot::WRITE, 'w'),
            flag(space::Prot::EXEC, 'x'),
            if area.shared { 's' } else { 'p' },
            area.offset,
            area.dev >> 8 & 0xfff,
            area.dev & 0xff,
            area.ino,
        );
        // Writing to a string cannot fail.
        let _ = if area.name.is_empty() {
            writeln!(text, "{line}")
        } else {
            writeln!(text, "{line:<73}{}", area.name)
        };
    }
    text
}

fn limits() -> String {
    let files = descriptor::limit();
    let mut text = format!(
        "{:<26}{:<21}{:<21}{:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    let unlimited = "unlimited";
    let (soft, hard) = (format!("{files}"), format!("{}", descriptor::MAX_LIMIT));
    for (name, soft, hard, unit) in [
        ("Max cpu time", unlimited, unlimited, "seconds"),
        ("Max file size", unlimited, unlimited, "bytes"),
        ("Max data size", unlimited, unlimited, "bytes"),
        ("Max stack size", "8388608", unlimited, "bytes"),
        ("Max core file size", "0", "0", "bytes"),
        ("Max open files", &soft, &hard, "files"),
        ("Max address space", unlimited, unlimited, "bytes"),
    ] {
        let _ = writeln!(text, "{name:<26}{soft:<21}{hard:<21}{unit:<10}");
    }
    text
}

fn environ() -> Vec<u8> {
    let mut text = Vec::new();
    for entry in &config::get().env {
        text.extend_from_slice(entry);
        text.push(0);
    }
    text
}

fn magic(
    directory: &Arc<Node>,
    name: &str,
    jump: impl Fn() -> Result<Jump, Errno> + Send + Sync + 'static,
) -> Result<(), Errno> {
    let kind = Kind::Magic(Box::new(jump));
    let node = Node::new(dev::PROC, linux::S_IFLNK | 0o777, kind);
    directory::add(directory, name.as_bytes(), node)?;
    Ok(())
}

fn listing(directory: &Arc<Node>, name: &str, listing: Box<dyn Listing>) -> Result<(), Errno> {
    let node = Node::new(dev::PROC, linux::S_IFDIR | 0o555, Kind::Listing(listing));
    directory::add(directory, name.as_bytes(), node)?;
    Ok(())
}

/// Fills /proc/1 and the links to it.
pub fn populate(proc: &Arc<Node>) -> Result<(), Errno> {
    generated::link(proc, "self", "1")?;
    magic(proc, "thread-self", || {
        let text = format!("1/task/{}", sched::current_tid()).into_bytes();
        Ok(Jump { text, node: None })
    })?;
    let own = generated::directory(proc, "1")?;
    populate_thread(&own, PID)?;
    listing(&own, "fd", Box::new(Descriptors { info: false }))?;
    listing(&own, "fdinfo", Box::new(Descriptors { info: true }))?;
    listing(&own, "task", Box::new(Tasks))?;
    magic(&own, "exe", || {
        let text = exe();
        Ok(Jump { text, node: None })
    })?;
    magic(&own, "cwd", || {
        let node = path::working_directory();
        Ok(Jump {
            text: node.directory_path(),
            node: Some(node),
        })
    })?;
    magic(&own, "root", || {
        Ok(Jump {
            text: b"/".to_vec(),
            node: Some(tree::root().clone()),
        })
    })?;
    generated::file(&own, "maps", maps)?;
    generated::file(&own, "limits", limits)?;
    generated::bytes(&own, "cmdline", cmdline)?;
    generated::bytes(&own, "environ", environ)?;
    generated::bytes(&own, "auxv", || AUXV.lock().clone())?;
    generated::file(&own, "cgroup", || "0::/\n".into())?;
    generated::file(&own, "statm", || {
        let (mapped, resident) = space::usage();
        let (size, rss) = (mapped / PAGE, resident / PAGE);
        format!("{size} {rss} 0 0 0 {size} 0\n")
    })?;
    for name in ["oom_score", "oom_score_adj"] {
        generated::writable(&own, name, || b"0\n".to_vec(), |_| Ok(()))?;
    }
    generated::file(&own, "mounts", system::mounts)?;
    generated::file(&own, "mountinfo", system::mountinfo)
}
