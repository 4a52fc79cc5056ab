//! What is mounted at boot besides the root: the kernel's own file systems, and what `elfin run` was asked for.
use super::dev as devtmpfs;
use crate::{
    config::{self, MountWish},
    fs::{
        Content, directory,
        ext4::Ext4,
        file_system::{Additions, FileSystem, Pseudo},
        inode::Changes,
        mount::{self, namespace},
        ninep::{self, NineP},
        path::{self, Last, Target},
        procfs, sysfs,
        tmpfs::{self, Tmpfs},
        tree::{Kind, Node, dev},
        write_back,
    },
    process::user::User,
    tty::{device::Ptmx, pty},
};
use abi::Errno;
use alloc::{boxed::Box, format, string::String, sync::Arc};
use linux_raw_sys::general as linux;

const NOT_TO_EXECUTE: u32 = linux::MS_NOSUID | linux::MS_NODEV | linux::MS_NOEXEC;

/// /tmp, /dev, /proc, /sys, /dev/shm and /dev/pts.
pub(super) fn kernel_mounts(additions: &Additions) -> Result<(), Errno> {
    place(b"/tmp", 0o1777)?;
    let dev = Pseudo::new("devtmpfs", dev::DEV, linux::TMPFS_MAGIC, 0o755);
    devtmpfs::populate(&dev.root())?;
    let shm = Tmpfs::with_number(dev::SHM, None);
    let proc = procfs::make(additions.proc);
    let proc = Pseudo::with_root("proc", linux::PROC_SUPER_MAGIC, proc);
    let sys = sysfs::make(additions.sys);
    let sys = Pseudo::with_root("sysfs", linux::SYSFS_MAGIC, sys);
    let relatime = linux::MS_RELATIME;
    let mount = |fs: Arc<dyn FileSystem>, source: &[u8], at: &[u8], flags| {
        namespace::mount(fs, source, flags | relatime, &place(at, 0o755)?)
    };
    mount(Arc::new(dev), b"udev", b"/dev", linux::MS_NOSUID)?;
    mount(Arc::new(proc), b"proc", b"/proc", NOT_TO_EXECUTE)?;
    mount(Arc::new(sys), b"sysfs", b"/sys", NOT_TO_EXECUTE)?;
    let flags = linux::MS_NOSUID | linux::MS_NODEV;
    mount(Arc::new(shm), b"tmpfs", b"/dev/shm", flags)?;
    let pts = Pseudo::with_root(
        "devpts",
        linux::DEVPTS_SUPER_MAGIC,
        pty::root(Box::new(Ptmx)),
    );
    let flags = linux::MS_NOSUID | linux::MS_NOEXEC;
    mount(Arc::new(pts), b"devpts", b"/dev/pts", flags)
}

/// The directory at an absolute path, made with its parents if it is missing; whatever is there if it is another file.
pub(super) fn place(path: &[u8], mode: u32) -> Result<Target, Errno> {
    let mut end = 0;
    loop {
        let next = path[end + 1..].iter().position(|&byte| byte == b'/');
        end = next.map_or(path.len(), |next| end + 1 + next);
        let target = path::walk(&path::Start::root(), &path[..end], Last::Follow)?;
        if target.node.is_none() {
            let kind = linux::S_IFDIR | mode;
            let node = Node::new(target.parent.node.dev, kind, Kind::directory());
            directory::add(&target.parent.node, &target.name, node)?;
        }
        if end == path.len() {
            return path::walk(&path::Start::root(), path, Last::Follow);
        }
    }
}

/// The file at an absolute path, made empty with its parents if it is missing.
fn place_for_file(path: &[u8]) -> Result<Target, Errno> {
    let name = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    if name > 0 {
        place(&path[..name], 0o755)?;
    }
    let target = path::walk(&path::Start::root(), path, Last::Follow)?;
    if target.node.is_none() {
        let kind = Kind::Regular(Content::empty());
        let node = Node::new(target.parent.node.dev, linux::S_IFREG | 0o644, kind);
        directory::add(&target.parent.node, &target.name, node)?;
    }
    path::walk(&path::Start::root(), path, Last::Follow)
}

/// Copies what is in a directory of the image into one of a volume.
fn fill(from: &Arc<Node>, to: &Arc<Node>) -> Result<(), Errno> {
    let operations = to.operations.as_ref().ok_or(Errno::EINVAL)?;
    let mut buffer = alloc::vec![0; 128 << 10];
    for entry in from.list()? {
        let Some(source) = from.child(&entry.name)? else {
            continue;
        };
        let attributes = *source.attributes.lock();
        let made = match operations.create(
            &entry.name,
            attributes.mode,
            (attributes.uid, attributes.gid),
            &source.kind,
        ) {
            // Devices and sockets stay behind.
            Err(Errno::EPERM) => continue,
            made => made?,
        };
        match (&source.kind, &made.kind) {
            (Kind::Directory(_), _) => fill(&source, &made)?,
            (Kind::Regular(data), Kind::Regular(copy)) => {
                let mut at = 0;
                loop {
                    let len = data.read(at, &mut buffer)?;
                    if len == 0 {
                        break;
                    }
                    let written = copy.write(at, &buffer[..len])?;
                    if written == 0 {
                        return Err(Errno::ENOSPC);
                    }
                    at += written as u64;
                }
                write_back::wrote(&made);
            }
            _ => (),
        }
        copy_attributes(&source, &made, true)?;
    }
    Ok(())
}

/// Gives a copy the owner, the mode and, if it is made just now, the times of what it was made from.
fn copy_attributes(from: &Node, to: &Node, is_new: bool) -> Result<(), Errno> {
    let attributes = *from.attributes.lock();
    let time = |ns| is_new.then_some(ns);
    to.change(&Changes {
        mode: (!is_new).then_some(attributes.mode & 0o7777),
        uid: Some(attributes.uid),
        gid: Some(attributes.gid),
        atime_ns: time(attributes.atime_ns),
        mtime_ns: time(attributes.mtime_ns),
    })
}

/// What the configuration wishes, in its order. The error is one clear line.
pub(super) fn wished_mounts() -> Result<(), String> {
    let config = config::get();
    let user = User::find(&config.user)?;
    for wish in &config.mounts {
        mount_one(wish, &user).map_err(|error| {
            let path = String::from_utf8_lossy(&wish.path);
            format!("cannot mount {} on {path}: {}", wish.kind, error.text())
        })?;
    }
    if config.read_only {
        let root = &mount::root().mount;
        root.set_flags(root.flags() | linux::MS_RDONLY);
    }
    Ok(())
}

fn mount_one(wish: &MountWish, user: &User) -> Result<(), Errno> {
    match wish.kind.as_str() {
        "tmpfs" => {
            let options = tmpfs::Options::parse(&wish.options)?;
            let flags = linux::MS_NOSUID | linux::MS_NODEV | linux::MS_RELATIME;
            let fs = Arc::new(Tmpfs::with_options(&options));
            namespace::mount(fs, b"tmpfs", flags, &place(&wish.path, 0o755)?)
        }
        "ext4" => {
            let read_only = wish.options.split(',').any(|option| option == "ro");
            let fs = Arc::new(Ext4::mount(&wish.source, read_only)?);
            let flags = linux::MS_NOSUID | linux::MS_NODEV | linux::MS_RELATIME;
            let target = place(&wish.path, 0o755)?;
            let is_empty = fs
                .root()
                .list()?
                .iter()
                .all(|one| &*one.name == b"lost+found");
            if is_empty && !fs.is_read_only() {
                let (from, to) = (&target.found()?.node, fs.root());
                fill(from, &to)?;
                copy_attributes(from, &to, false)?;
                write_back::all()?;
                fs.sync()?;
            }
            write_back::start();
            namespace::mount(fs, wish.source.as_bytes(), flags, &target)
        }
        "9p" => {
            let options = ninep::Options {
                user: (user.uid, user.gid),
                ..ninep::Options::parse(&wish.options)?
            };
            let fs = Arc::new(NineP::mount(&wish.source, options)?);
            let flags = linux::MS_NOSUID | linux::MS_NODEV | linux::MS_RELATIME;
            let target = if fs.root().is_directory() {
                place(&wish.path, 0o755)?
            } else {
                place_for_file(&wish.path)?
            };
            namespace::mount(fs, wish.source.as_bytes(), flags, &target)
        }
        _ => Err(Errno::ENODEV),
    }
}
