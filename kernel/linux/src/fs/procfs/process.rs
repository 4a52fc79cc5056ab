//! /proc/PID and /proc/PID/task/TID: the directories of processes and of threads. They are made up when they are looked
//! at, and of them only what is asked for.
use super::{arguments, memory::Memory, mounts, smaps, stat, status};
use crate::process::LinuxThread;
use crate::{
    credentials,
    fs::{
        OpenFile, generated, locks,
        mount::Path,
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
use core::any::Any;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as linux;
use machine::{mm::PAGE, sched::Tid};

pub(super) fn number(name: &[u8]) -> Option<i32> {
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

    /// A node that belongs to whoever the process is, or to root if nobody else shall look into that. A directory that
    /// everybody can list shows it in any case.
    #[doc(alias = "task_dump_owner")]
    fn node(&self, mode: u32, kind: Kind) -> Arc<Node> {
        let node = Node::new(dev::PROC, mode, kind);
        let Ok(process) = self.process() else {
            return node;
        };
        let dumpable = process.settings.dumpable.load(Ordering::Relaxed) == 1;
        if let Some(thread) = process.main_thread()
            && (dumpable || mode == linux::S_IFDIR | 0o555)
        {
            let is = credentials::of(&thread);
            let mut attributes = node.attributes.lock();
            attributes.uid = is.user.effective;
            attributes.gid = is.group.effective;
        }
        node
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
        let descriptors = self.owner.text(|process| process.files().descriptors());
        descriptors.into_iter().map(name).collect()
    }

    fn child(&self, _: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        let fd = number(name)?;
        self.owner.process().ok()?.files().get(fd).ok()?;
        let owner = self.owner.clone();
        if self.info {
            let of = owner.clone();
            let text = generated::source(move || of.text(|process| descriptor_info(process, fd)));
            return Some(owner.node(linux::S_IFREG | 0o444, text));
        }
        let of = owner.clone();
        let jump = move || {
            let open = of.process()?.files().get(fd)?;
            Ok(Jump {
                text: open.file.link_text(),
                node: Some(path_of(&open)),
            })
        };
        let mode = linux::S_IFLNK | 0o700;
        Some(owner.node(mode, Kind::Magic(Box::new(jump))))
    }
}

fn descriptor_info(process: &Process, fd: i32) -> Vec<u8> {
    let Ok(open) = process.files().get(fd) else {
        return Vec::new();
    };
    let mut flags = open.flags();
    if process.files().cloexec(fd) == Ok(true) {
        flags |= linux::O_CLOEXEC;
    }
    let ino = open.file.metadata().map_or(0, |metadata| metadata.ino);
    let pos = *open.offset.lock();
    let locks = locks::of_owners(
        &*open.file,
        [process.files().lock_owner(), open.lock_owner()],
    );
    let mount = open.file.path().map_or(0, |path| path.mount.id);
    let details = open.file.details();
    format!("pos:\t{pos}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n{locks}{details}")
        .into_bytes()
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
        let owner = self.owner.clone();
        Some(directory_of(
            directory,
            name,
            &owner.clone(),
            Task { owner, tid },
        ))
    }
}

/// /proc/PID/task/TID.
struct Task {
    owner: Owner,
    tid: Tid,
}

/// What the directory of a thread has, which that of a process has, too.
const OF_THREADS: [&str; 3] = ["comm", "stat", "status"];

impl Listing for Task {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let of_process = names(&FILES, linux::DT_REG).filter(|(name, _)| name != b"io");
        names(&OF_THREADS, linux::DT_REG)
            .chain(of_process)
            .chain(names(&LINKS, linux::DT_LNK))
            .collect()
    }

    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        let (owner, tid) = (&self.owner, self.tid);
        let of = owner.clone();
        let text = match name {
            b"comm" => {
                let set = move |name: &[u8]| {
                    let name = name.strip_suffix(b"\n").unwrap_or(name);
                    process::with_thread(tid, |thread| thread.linux().set_name(name))
                        .ok_or(Errno::ESRCH)
                };
                let get = move || [&status::comm(tid)[..], b"\n"].concat();
                return Some(writable(owner, get, set));
            }
            b"stat" => generated::source(move || of.text(|process| stat::stat(process, tid))),
            b"status" => generated::source(move || of.text(|process| status::status(process, tid))),
            b"io" | b"task" | b"fd" | b"fdinfo" => return None,
            // All threads have the same.
            _ => return Directory(of).child(directory, name),
        };
        Some(owner.node(linux::S_IFREG | 0o444, text))
    }
}

/// /proc/PID.
struct Directory(Owner);

const FILES: [&str; 16] = [
    "auxv",
    "cgroup",
    "cmdline",
    "environ",
    "io",
    "limits",
    "maps",
    "mem",
    "mountinfo",
    "mounts",
    "oom_score",
    "oom_score_adj",
    "smaps",
    "smaps_rollup",
    "statm",
    "wchan",
];
const LINKS: [&str; 3] = ["cwd", "exe", "root"];
const DIRECTORIES: [&str; 3] = ["fd", "fdinfo", "task"];

fn names(names: &'static [&'static str], kind: u32) -> impl Iterator<Item = (Vec<u8>, u8)> {
    names
        .iter()
        .map(move |name| (name.as_bytes().to_vec(), kind as u8))
}

impl Listing for Directory {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        names(&OF_THREADS, linux::DT_REG)
            .chain(names(&FILES, linux::DT_REG))
            .chain(names(&LINKS, linux::DT_LNK))
            .chain(names(&DIRECTORIES, linux::DT_DIR))
            .collect()
    }

    fn process(&self) -> Option<Weak<dyn Any + Send + Sync>> {
        Some(self.0.0.clone())
    }

    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        let owner = self.0.clone();
        match name {
            b"fd" | b"fdinfo" => {
                let info = name == b"fdinfo";
                let listing = Descriptors { owner, info };
                return Some(directory_of(directory, name, &self.0, listing));
            }
            b"task" => return Some(directory_of(directory, name, &self.0, Tasks { owner })),
            b"comm" | b"stat" | b"status" => {
                let tid = owner.process().ok()?.pid;
                return Task { owner, tid }.child(directory, name);
            }
            b"exe" | b"cwd" | b"root" => return Some(link(&owner, name)),
            b"mem" => {
                let memory = Memory(owner.0.clone());
                let mode = linux::S_IFREG | 0o600;
                return Some(owner.node(mode, Kind::Device(Box::new(memory))));
            }
            b"oom_score" | b"oom_score_adj" => {
                return Some(writable(&owner, || b"0\n".to_vec(), |_| Ok(())));
            }
            _ => {}
        }
        let read: fn(&Process) -> Vec<u8> = match name {
            b"auxv" => |process| process.program().auxv.clone(),
            b"cgroup" => |_| b"0::/\n".to_vec(),
            b"cmdline" => arguments::cmdline,
            b"environ" => arguments::environ,
            b"io" => |process| {
                let used = process.usage_with_children().used;
                process.transfers().text(&used).into_bytes()
            },
            b"limits" => |process| status::limits(process).into_bytes(),
            b"maps" => |process| status::maps(process).into_bytes(),
            b"mountinfo" => |_| mounts::mountinfo(),
            b"mounts" => |_| mounts::mounts(),
            b"smaps" => |process| smaps::smaps(process).into_bytes(),
            b"smaps_rollup" => |process| smaps::rollup(process).into_bytes(),
            b"statm" => |process| {
                let (mapped, resident) = status::usage(process);
                let (size, rss) = (mapped / PAGE, resident / PAGE);
                format!("{size} {rss} 0 0 0 {size} 0\n").into_bytes()
            },
            b"wchan" => |_| b"0".to_vec(),
            _ => return None,
        };
        let text = generated::source(move || owner.text(read));
        Some(self.0.node(linux::S_IFREG | 0o444, text))
    }
}

/// The links of a process' directory.
fn link(owner: &Owner, name: &[u8]) -> Arc<Node> {
    let what: fn(&Process) -> Jump = match name {
        b"exe" => |process| {
            let program = process.program();
            let file = program.file.as_ref();
            Jump {
                text: file.map_or_else(|| program.exe.clone(), |file| file.link_text()),
                node: file.and_then(|file| file.path().cloned()),
            }
        },
        b"cwd" => |process| {
            let path = process.fs().cwd();
            Jump {
                text: path.text(),
                node: Some(path),
            }
        },
        _ => |process| {
            let path = process.fs().root();
            Jump {
                text: path.text(),
                node: Some(path),
            }
        },
    };
    let of = owner.clone();
    let jump = move || {
        let process = of.process()?;
        // One without a program has ended.
        if process.is_zombie() {
            return Err(Errno::ENOENT);
        }
        Ok(what(&process))
    };
    owner.node(linux::S_IFLNK | 0o777, Kind::Magic(Box::new(jump)))
}

fn writable(
    owner: &Owner,
    read: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    write: impl Fn(&[u8]) -> Result<(), Errno> + Send + Sync + 'static,
) -> Arc<Node> {
    let text = generated::writable_source(read, write);
    owner.node(linux::S_IFREG | 0o644, text)
}

/// A directory, and the one that it is in: nobody else keeps that while this one is somebody's working directory.
struct Within<L> {
    listing: L,
    _parent: Arc<Node>,
}

impl<L: Listing> Listing for Within<L> {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        self.listing.list()
    }

    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        self.listing.child(directory, name)
    }

    fn process(&self) -> Option<Weak<dyn Any + Send + Sync>> {
        self.listing.process()
    }
}

/// The directory `name` in another one.
fn directory_of(
    parent: &Arc<Node>,
    name: &[u8],
    owner: &Owner,
    listing: impl Listing + 'static,
) -> Arc<Node> {
    let within = Within {
        listing,
        _parent: parent.clone(),
    };
    let node = owner.node(linux::S_IFDIR | 0o555, Kind::listing(within));
    if let Some(place) = node.place() {
        *place.lock() = Some((Arc::downgrade(parent), name.into()));
    }
    node
}

/// The directory of the process that any of its threads' ids names.
pub(super) fn directory(proc: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
    let pid = number(name)?;
    let process = process::find(pid)
        .or_else(|| process::with_thread(pid, |thread| thread.linux().process.clone()))
        .filter(|_| pid != 0)?;
    let owner = Owner(Arc::downgrade(&process));
    Some(directory_of(proc, name, &owner.clone(), Directory(owner)))
}

/// Where the links in /proc/self/fd lead: a node is made for an open file that has none.
fn path_of(open: &OpenFile) -> Path {
    if let Some(path) = open.file.path() {
        return path.clone();
    }
    Path::detached(match open.file.node() {
        Some(node) => node.clone(),
        None => Node::new(
            dev::PROC,
            linux::S_IFCHR | 0o600,
            Kind::Anonymous(open.file.clone()),
        ),
    })
}
