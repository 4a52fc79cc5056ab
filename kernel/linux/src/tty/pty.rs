//! Pseudo-terminals: /dev/ptmx makes them, /dev/pts has their terminals (pty(7)).
use super::{OUTPUT_LIMIT, TERMINALS, Terminal, Tty};
use crate::credentials;
use crate::fs::path::{self, Start};
use crate::fs::tree::{Kind, Listing, Node, SpecialFile, dev};
use crate::fs::{File, Metadata, OpenFile, Poll, downcast};
use crate::process::Pid;
use abi::Errno;
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::sync::{Signals, SpinLock, WaitQueue};

/// There are no more than this (`kernel.pty.max`).
const MOST: u32 = 4096;
/// The group that terminals belong to (Debian's `tty`).
const GROUP: u32 = 5;

/// The device number of a terminal.
pub(super) fn rdev(index: u32) -> u64 {
    const MAJOR: u64 = 136;
    let index = u64::from(index);
    // As makedev(3) has it.
    (MAJOR + (index >> 8)) << 8 | index & 0xff
}

fn path_of(index: u32) -> Vec<u8> {
    format!("/dev/pts/{index}").into_bytes()
}

/// Opens /dev/ptmx: makes a pseudo-terminal.
pub(super) fn open_master(node: &Arc<Node>, path: Vec<u8>) -> Result<Arc<dyn File>, Errno> {
    let user = credentials::current().user.filesystem;
    let mut all = TERMINALS.pseudo.lock();
    let index = (0..MOST).find(|index| !all.contains_key(index));
    let index = index.ok_or(Errno::ENOSPC)?;
    let kind = Kind::Device(Box::new(Slave(index)));
    let terminal = Node::new(dev::PTS, linux::S_IFCHR | 0o620, kind);
    let mut attributes = terminal.attributes.lock();
    (attributes.uid, attributes.gid) = (user, GROUP);
    drop(attributes);
    let tty = Arc::new(Tty::new(Some(index)));
    all.insert(index, (tty.clone(), terminal));
    Ok(Arc::new(Master {
        tty,
        index,
        node: node.clone(),
        path,
    }))
}

fn find(index: u32) -> Option<super::Pseudo> {
    TERMINALS.pseudo.lock().get(&index).cloned()
}

/// The terminal of a pseudo-terminal, by its number.
struct Slave(u32);

impl SpecialFile for Slave {
    fn rdev(&self) -> u64 {
        rdev(self.0)
    }

    fn open(&self, _node: &Arc<Node>, path: Vec<u8>, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let (tty, node) = find(self.0).ok_or(Errno::EIO)?;
        Terminal::open(&tty, &node, path, flags)
    }
}

/// Opens the terminal of a master (`TIOCGPTPEER`).
pub(super) fn open_peer(tty: &Arc<Tty>, flags: u32) -> Result<Arc<OpenFile>, Errno> {
    let index = tty.index.ok_or(Errno::EIO)?;
    let (_, node) = find(index).ok_or(Errno::EIO)?;
    let file = Terminal::open(tty, &node, path_of(index), flags)?;
    Ok(OpenFile::new(file, flags & !linux::O_CLOEXEC))
}

/// A pseudo-terminal whose master is the kernel's.
pub struct Pair {
    /// The master.
    pub master: Arc<OpenFile>,
    /// Its terminal, opened.
    pub terminal: Arc<OpenFile>,
    /// What is between them.
    pub tty: Arc<Tty>,
}

/// Makes a pseudo-terminal and opens both sides.
pub fn pair() -> Result<Pair, Errno> {
    let path = b"/dev/ptmx";
    let node = path::lookup(&Start::root(), path)?.node;
    let file = open_master(&node, path.to_vec())?;
    let tty = downcast::<Master>(&*file).map(|master| master.tty.clone());
    let tty = tty.ok_or(Errno::EIO)?;
    tty.state.lock().is_locked = false;
    let master = OpenFile::new(file, linux::O_RDWR);
    let terminal = open_peer(&tty, linux::O_RDWR | linux::O_NOCTTY)?;
    Ok(Pair {
        master,
        terminal,
        tty,
    })
}

/// What is in /dev/pts.
struct Entries {
    ptmx: Arc<Node>,
}

impl Listing for Entries {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let kind = u8::try_from(linux::DT_CHR).unwrap_or(0);
        let all: Vec<u32> = TERMINALS.pseudo.lock().keys().copied().collect();
        let names = all.iter().map(|index| format!("{index}").into_bytes());
        let ptmx = core::iter::once(b"ptmx".to_vec());
        names.chain(ptmx).map(|name| (name, kind)).collect()
    }

    fn child(&self, _directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        if name == b"ptmx" {
            return Some(self.ptmx.clone());
        }
        let text = core::str::from_utf8(name).ok()?;
        let index: u32 = text.parse().ok()?;
        // No other way to write it.
        (format!("{index}") == text)
            .then(|| find(index))?
            .map(|(_, node)| node)
    }
}

/// The root of devpts, where `ptmx` makes terminals, too.
pub fn root(ptmx: Box<dyn SpecialFile>) -> Arc<Node> {
    let ptmx = Node::new(dev::PTS, linux::S_IFCHR | 0o666, Kind::Device(ptmx));
    let listing = Kind::Listing(Box::new(Entries { ptmx }), SpinLock::new(None));
    Node::new(dev::PTS, linux::S_IFDIR | 0o755, listing)
}

/// The master's side.
struct Master {
    tty: Arc<Tty>,
    index: u32,
    node: Arc<Node>,
    path: Vec<u8>,
}

impl File for Master {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut attempt = || {
            let mut state = self.tty.state.lock();
            let at = usize::from(state.packet.is_some());
            if let Some(told @ 1..) = state.packet {
                state.packet = Some(0);
                buf[0] = told;
                return Some(Ok(1));
            }
            if state.output.is_empty() {
                let is_over = state.openings == 0 && state.was_open;
                return is_over.then_some(Err(Errno::EIO));
            }
            let len = state.output.len().min(buf.len() - at);
            for (to, byte) in buf[at..].iter_mut().zip(state.output.drain(..len)) {
                *to = byte;
            }
            if at > 0 {
                buf[0] = 0;
            }
            Some(Ok(at + len))
        };
        let len = self
            .tty
            .attempt(nonblock, Signals::Interrupt, &mut attempt)?;
        self.tty.edges.writable();
        self.tty.queue.wake_all();
        Ok(len)
    }

    fn write(&self, _offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        self.tty.type_in(buf, nonblock)
    }

    fn poll(&self) -> Poll {
        let state = self.tty.state.lock();
        let mut events = Poll::empty();
        if !state.output.is_empty() {
            events |= Poll::IN;
        }
        if matches!(state.packet, Some(1..)) {
            events |= Poll::IN | Poll::PRI;
        }
        if state.discipline.room() > 0 {
            events |= Poll::OUT;
        }
        if state.openings == 0 && state.was_open {
            events |= Poll::HUP;
        }
        events
    }

    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.queue)
    }

    fn edges(&self) -> [u64; 2] {
        self.tty.master_edges.counts()
    }

    fn drives_signals(&self) -> bool {
        true
    }

    fn foreground(&self) -> Option<Pid> {
        Some(self.tty.foreground())
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        self.node.metadata()
    }

    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        self.tty.ioctl_master(request, arg)
    }

    fn release(&self) {
        let gone = TERMINALS.pseudo.lock().remove(&self.index);
        // Not under the lock.
        drop(gone);
        self.tty.hang_up();
    }

    fn node(&self) -> Option<&Arc<Node>> {
        Some(&self.node)
    }

    fn link_text(&self) -> Vec<u8> {
        self.path.clone()
    }
}

const _: () = assert!(OUTPUT_LIMIT >= super::discipline::LIMIT);
