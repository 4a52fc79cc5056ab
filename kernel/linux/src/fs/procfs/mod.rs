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

use super::directory;
use super::tree::{Jump, Kind, Listing, Node, dev};
use crate::process::{processes, with_current};
use abi::Errno;
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::sched;

/// The root: what is always there, and a directory a process.
struct Root(Arc<Node>);

impl Listing for Root {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let fixed = self.0.list().unwrap_or_default();
        let fixed = fixed.into_iter().map(|one| (one.name.into_vec(), one.kind));
        let name = |pid| (format!("{pid}").into_bytes(), linux::DT_DIR as u8);
        fixed
            .chain(processes().map(|process| name(process.pid)))
            .collect()
    }

    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        process::directory(directory, name).or_else(|| self.0.child(name).ok()?)
    }
}

/// Makes the root, with what `add` adds to it.
pub fn make(add: fn(&Arc<Node>) -> Result<(), Errno>) -> Result<Arc<Node>, Errno> {
    let new = |kind| Node::new(dev::PROC, linux::S_IFDIR | 0o555, kind);
    let fixed = new(Kind::directory());
    links(&fixed)?;
    system::populate(&fixed)?;
    add(&fixed)?;
    let proc = new(Kind::listing(Root(fixed.clone())));
    for entry in fixed.list()? {
        if let Some(child) = fixed.child(&entry.name)?
            && let Some(place) = child.place()
        {
            *place.lock() = Some((Arc::downgrade(&proc), (*entry.name).into()));
        }
    }
    Ok(proc)
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
