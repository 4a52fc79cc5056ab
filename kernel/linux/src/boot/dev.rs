//! What is in /dev at first.
use crate::{
    fs::{
        device::Memory,
        directory,
        tree::{Kind, Node, SpecialFile, dev},
    },
    tty::device as tty,
};
use abi::Errno;
use alloc::{boxed::Box, sync::Arc};
use linux_raw_sys::general as linux;

/// Fills /dev.
pub(super) fn populate(directory: &Arc<Node>) -> Result<(), Errno> {
    let devices: [(&str, u32, Box<dyn SpecialFile>); 8] = [
        ("null", 0o666, Box::new(Memory::Null)),
        ("zero", 0o666, Box::new(Memory::Zero)),
        ("full", 0o666, Box::new(Memory::Full)),
        ("random", 0o666, Box::new(Memory::Random)),
        ("urandom", 0o666, Box::new(Memory::Urandom)),
        ("tty", 0o666, Box::new(tty::Own)),
        ("console", 0o620, Box::new(tty::Console)),
        ("ptmx", 0o666, Box::new(tty::Ptmx)),
    ];
    for (name, mode, device) in devices {
        let node = Node::new(dev::DEV, linux::S_IFCHR | mode, Kind::Device(device));
        directory::add(directory, name.as_bytes(), node)?;
    }
    let links = [
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("fd", "/proc/self/fd"),
    ];
    for (name, target) in links {
        let kind = Kind::Symlink(target.as_bytes().into());
        let node = Node::new(dev::DEV, linux::S_IFLNK | 0o777, kind);
        directory::add(directory, name.as_bytes(), node)?;
    }
    let shm = Node::new(dev::DEV, linux::S_IFDIR | 0o1777, Kind::directory());
    directory::add(directory, b"shm", shm)?;
    let pts = Node::new(dev::DEV, linux::S_IFDIR | 0o755, Kind::directory());
    directory::add(directory, b"pts", pts)?;
    Ok(())
}
