//! Character devices: null, zero, full, random, urandom; terminals are in `tty/`.
use super::{
    File, Metadata, Poll, console, directory,
    mount::Path,
    open::OpenFile,
    tree::{Kind, Node, dev},
};
use crate::tty::{console as terminal, pty};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::drivers;

/// Which device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named as in /dev")]
pub enum Device {
    Null,
    Zero,
    Full,
    Random,
    Urandom,
    Tty,
    Console,
    Ptmx,
    /// The terminal of a pseudo-terminal.
    Terminal(u32),
}

impl Device {
    /// Device number as stat(2) tells it.
    pub fn rdev(self) -> u64 {
        match self {
            Self::Null => 0x103,
            Self::Zero => 0x105,
            Self::Full => 0x107,
            Self::Random => 0x108,
            Self::Urandom => 0x109,
            Self::Tty => 0x500,
            Self::Console => 0x501,
            Self::Ptmx => 0x502,
            Self::Terminal(index) => pty::number(index),
        }
    }

    /// Opens the device that `node` stands for.
    pub fn open(self, node: &Arc<Node>, path: Vec<u8>, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let own = |path| terminal::open_own(node, path).unwrap_or_else(console::terminal);
        match self {
            Self::Tty => own(path),
            Self::Console => terminal::open(node, path.clone()).unwrap_or_else(|| own(path)),
            Self::Ptmx => pty::open_master(node, path),
            Self::Terminal(index) => pty::open_terminal(index, path, flags),
            _ => Ok(Arc::new(DeviceFile {
                device: self,
                node: node.clone(),
                path,
            })),
        }
    }
}

struct DeviceFile {
    device: Device,
    node: Arc<Node>,
    path: Vec<u8>,
}

impl File for DeviceFile {
    fn read(&self, _offset: u64, buf: &mut [u8], _nonblock: bool) -> Result<usize, Errno> {
        match self.device {
            Device::Null => return Ok(0),
            Device::Random | Device::Urandom => drivers::random::fill(buf),
            _ => buf.fill(0),
        }
        Ok(buf.len())
    }
    fn write(&self, _offset: u64, buf: &[u8], _nonblock: bool) -> Result<usize, Errno> {
        match self.device {
            Device::Full => Err(Errno::ENOSPC),
            _ => Ok(buf.len()),
        }
    }
    fn append(&self, buf: &[u8]) -> Result<(usize, u64), Errno> {
        Ok((self.write(0, buf, false)?, 0))
    }
    fn seekable(&self) -> bool {
        true
    }
    fn poll(&self) -> Poll {
        Poll::IN | Poll::OUT
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        self.node.metadata()
    }
    fn node(&self) -> Option<&Arc<Node>> {
        Some(&self.node)
    }
    fn link_text(&self) -> Vec<u8> {
        self.path.clone()
    }
}

/// stat(2) of the terminal.
pub fn terminal_metadata() -> Result<Metadata, Errno> {
    let console = super::path::lookup(&super::path::Start::root(), b"/dev/console")?;
    console.node.metadata()
}

/// Gives the console to the user that the first program starts as, who may open it by name.
pub fn give_console(uid: u32) -> Result<(), Errno> {
    let console = super::path::lookup(&super::path::Start::root(), b"/dev/console")?;
    console.node.attributes.lock().uid = uid;
    Ok(())
}

/// Fills /dev.
pub fn populate(directory: &Arc<Node>) -> Result<(), Errno> {
    let devices = [
        ("null", Device::Null),
        ("zero", Device::Zero),
        ("full", Device::Full),
        ("random", Device::Random),
        ("urandom", Device::Urandom),
        ("tty", Device::Tty),
        ("console", Device::Console),
        ("ptmx", Device::Ptmx),
    ];
    for (name, device) in devices {
        let mode = if device == Device::Console {
            0o620
        } else {
            0o666
        };
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

/// Where the links in /proc/self/fd lead: a node is made for an open file that has none.
pub fn path_of(open: &OpenFile) -> Path {
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
