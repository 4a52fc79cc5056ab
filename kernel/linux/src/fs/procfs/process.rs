//! /proc/PID: the directory of a process.
use super::{mounts, status};
use crate::process::LinuxThread;
use crate::{
    fs::{
        device, directory, generated, locks, mount, path,
        tree::{Jump, Kind, Listing, Node, dev},
    },
    process::{self, Process},
};
use abi::Errno;
use alloc::{
    boxed::Box,
    format,
    sync::{Arc, Weak},
    vec::Vec,
};
use linux_raw_sys::general as linux;
use machine::{
    mm::PAGE,
    sched::{self, Tid},
};

fn number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    let number: i32 = text.parse().ok()?;
    (format!("{number}") == text).then_some(number)
}

/// Whose directory it is. It does not keep the process.
#[derive(Clone)]
struct Owner(Weak<Process>);

impl Owner {
    /// What `f` says of the process; an empty text when that has ended.
    fn text<T: Default>(&self, f: impl FnOnce(&Process) -> T) -> T {
        self.0
            .upgrade()
            .map_or_else(T::default, |process| f(&process))
    }

    fn process(&self) -> Result<Arc<Process>, Errno> {
        self.0.upgrade().ok_or(Errno::ESRCH)
    }
}

/// /proc/PID/fd, or fdinfo.
struct Descriptors {
    owner: Owner,
    info: bool,
}

impl Listing for Descriptors {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let kind = if self.info {
            linux::DT_REG
        } else {
            linux::DT_LNK
        };
        let name = |fd| (format!("{fd}").into_bytes(), kind as u8);
        let descriptors = self.owner.text(|process| process.files.descriptors());
        descriptors.into_iter().map(name).collect()
    }

    fn child(&self, _: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        let fd = number(name)?;
        self.owner.process().ok()?.files.get(fd).ok()?;
        let owner = self.owner.clone();
        if self.info {
            let text =
                generated::source(move || owner.text(|process| descriptor_info(process, fd)));
            return Some(Node::new(dev::PROC, linux::S_IFREG | 0o444, text));
        }
        let jump = move || {
            let open = owner.process()?.files.get(fd)?;
            Ok(Jump {
                text: open.file.link_text(),
                node: Some(device::path_of(&open)),
            })
        };
        let mode = linux::S_IFLNK | 0o700;
        Some(Node::new(dev::PROC, mode, Kind::Magic(Box::new(jump))))
    }
}

fn descriptor_info(process: &Process, fd: i32) -> Vec<u8> {
    let Ok(open) = process.files.get(fd) else {
        return Vec::new();
    };
    let mut flags = open.flags();
    if process.files.cloexec(fd) == Ok(true) {
        flags |= linux::O_CLOEXEC;
    }
    let ino = open.file.metadata().map_or(0, |metadata| metadata.ino);
    let pos = *open.offset.lock();
    let locks = locks::of_owners(&*open.file, [process.files.lock_owner(), open.lock_owner()]);
    let mount = open.file.path().map_or(0, |path| path.mount.id);
    format!("pos:\t{pos}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n{locks}").into_bytes()
}

/// /proc/PID/task.
struct Tasks {
    owner: Owner,
}

impl Listing for Tasks {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let name = |tid| (format!("{tid}").into_bytes(), linux::DT_DIR as u8);
        let ids = self.owner.text(Process::thread_ids);
        ids.into_iter().map(name).collect()
    }

    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        let tid = number(name)?;
        let process = self.owner.process().ok()?;
        process.thread_ids().contains(&tid).then_some(())?;
        let node = Node::new(dev::PROC, linux::S_IFDIR | 0o555, Kind::directory());
        if let Some(place) = node.place() {
            *place.lock() = Some((Arc::downgrade(directory), name.into()));
        }
        populate_thread(&node, &self.owner, tid).ok()?;
        Some(node)
    }
}

fn populate_thread(directory: &Arc<Node>, owner: &Owner, tid: Tid) -> Result<(), Errno> {
    let set = move |name: &[u8]| {
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        process::with_thread(tid, |thread| thread.linux().set_name(name)).ok_or(Errno::ESRCH)
    };
    let get = move || [&status::comm(tid)[..], b"\n"].concat();
    generated::writable(directory, "comm", get, set)?;
    bytes(directory, "stat", owner, move |process| {
        status::stat(process, tid)
    })?;
    bytes(directory, "status", owner, move |process| {
        status::status(process, tid)
    })
}

/// A file that says something of a process.
fn bytes(
    directory: &Arc<Node>,
    name: &str,
    owner: &Owner,
    read: impl Fn(&Process) -> Vec<u8> + Send + Sync + 'static,
) -> Result<(), Errno> {
    let owner = owner.clone();
    generated::bytes(directory, name, move || owner.text(&read))
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

fn listing(
    directory: &Arc<Node>,
    name: &str,
    listing: impl Listing + 'static,
) -> Result<(), Errno> {
    let node = Node::new(dev::PROC, linux::S_IFDIR | 0o555, Kind::listing(listing));
    directory::add(directory, name.as_bytes(), node)?;
    Ok(())
}

/// Puts the links to the caller's own directory into /proc.
pub(super) fn populate(proc: &Arc<Node>) -> Result<(), Errno> {
    magic(proc, "self", || {
        let text = process::with_current(|process| format!("{}", process.pid));
        Ok(Jump {
            text: text.into_bytes(),
            node: None,
        })
    })?;
    magic(proc, "thread-self", || {
        let pid = process::with_current(|process| process.pid);
        let text = format!("{pid}/task/{}", sched::current_tid()).into_bytes();
        Ok(Jump { text, node: None })
    })
}

/// Makes the directory of a process.
pub fn add(process: &Arc<Process>) -> Result<(), Errno> {
    let proc = path::lookup(mount::root(), b"/proc")?;
    let own = generated::directory(&proc.node, &format!("{}", process.pid))?;
    let owner = Owner(Arc::downgrade(process));
    populate_thread(&own, &owner, process.pid)?;
    for (name, info) in [("fd", false), ("fdinfo", true)] {
        let owner = owner.clone();
        listing(&own, name, Descriptors { owner, info })?;
    }
    let tasks = owner.clone();
    listing(&own, "task", Tasks { owner: tasks })?;
    let exe = owner.clone();
    magic(&own, "exe", move || {
        let text = exe.process()?.program().exe.clone();
        Ok(Jump { text, node: None })
    })?;
    let cwd = owner.clone();
    magic(&own, "cwd", move || {
        let path = cwd.process()?.fs.cwd();
        Ok(Jump {
            text: path.text(),
            node: Some(path),
        })
    })?;
    magic(&own, "root", || {
        Ok(Jump {
            text: b"/".to_vec(),
            node: Some(mount::root().clone()),
        })
    })?;
    bytes(&own, "maps", &owner, |process| {
        status::maps(process).into_bytes()
    })?;
    bytes(&own, "limits", &owner, |process| {
        status::limits(process).into_bytes()
    })?;
    bytes(&own, "cmdline", &owner, |process| {
        process.program().cmdline.clone()
    })?;
    bytes(&own, "environ", &owner, |process| {
        process.program().environ.clone()
    })?;
    bytes(&own, "auxv", &owner, |process| {
        process.program().auxv.clone()
    })?;
    generated::file(&own, "cgroup", || "0::/\n".into())?;
    bytes(&own, "statm", &owner, |process| {
        let (mapped, resident) = process.space.usage();
        let (size, rss) = (mapped / PAGE, resident / PAGE);
        format!("{size} {rss} 0 0 0 {size} 0\n").into_bytes()
    })?;
    for name in ["oom_score", "oom_score_adj"] {
        generated::writable(&own, name, || b"0\n".to_vec(), |_| Ok(()))?;
    }
    generated::bytes(&own, "mounts", mounts::mounts)?;
    generated::bytes(&own, "mountinfo", mounts::mountinfo)
}
