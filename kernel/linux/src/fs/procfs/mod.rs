//! /proc, proc(5): [`process`] has the directories of processes, [`stat`], [`status`], [`smaps`] and [`mounts`] what
//! files there say, [`system`] what is to be read about the machine and the kernel.
mod arguments;
mod memory;
mod mounts;
mod process;
mod smaps;
mod stat;
mod status;
pub mod system;

use super::tree::{Jump, Kind, Listing, Node, dev};
use super::{directory, generated::Filled};
use crate::process::{processes, with_current};
use abi::Errno;
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::sched;

/// The root: what is always there, and a directory a process.
struct Root(Filled);

impl Listing for Root {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let name = |pid| (format!("{pid}").into_bytes(), linux::DT_DIR as u8);
        let processes = processes().map(|process| name(process.pid));
        self.0.list().into_iter().chain(processes).collect()
    }

    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        process::directory(directory, name).or_else(|| self.0.child(directory, name))
    }
}

/// Makes the root, with what `add` adds to it.
pub fn make(add: fn(&Arc<Node>) -> Result<(), Errno>) -> Arc<Node> {
    let fixed = Filled::new(dev::PROC, move |proc| {
        links(proc)?;
        system::populate(proc)?;
        add(proc)
    });
    let kind = Kind::listing(Root(fixed));
    Node::new(dev::PROC, linux::S_IFDIR | 0o555, kind)
}

/// Puts the links to the caller's own directory into the root.
fn links(proc: &Arc<Node>) -> Result<(), Errno> {
    let add = |name: &[u8], text: fn() -> Vec<u8>| {
        let jump = move || {
            Ok(Jump {
                text: text(),
                node: None,
            })
        };
        let kind = Kind::Magic(Box::new(jump));
        let node = Node::new(dev::PROC, linux::S_IFLNK | 0o777, kind);
        directory::add(proc, name, node)
    };
    add(b"self", || {
        with_current(|process| format!("{}", process.pid).into_bytes())
    })?;
    add(b"thread-self", || {
        let pid = with_current(|process| process.pid);
        format!("{pid}/task/{}", sched::current_tid()).into_bytes()
    })?;
    Ok(())
}
