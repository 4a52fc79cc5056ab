//! Directories that tell their owners, by a signal, that something has happened in them (fcntl(2), `F_NOTIFY`).
use super::{Listener, RENAMED, STATE, Watch, is_active};
use crate::fs::File;
use crate::fs::locks;
use crate::fs::signal_driven::{Band, Owner};
use abi::Errno;
use alloc::sync::Arc;
use linux_raw_sys::general as linux;

/// Which open file description it is, and whose descriptors it is among.
type Which = [locks::Owner; 2];

/// A directory that is open.
#[doc(alias = "dnotify_struct")]
pub(super) struct Owned {
    which: Which,
    owner: Arc<dyn Owner>,
    fd: i32,
}

impl Owned {
    pub(super) fn tell(&self) {
        self.owner.tell(self.fd, Band::Message);
    }
}

/// Events of inotify(7) that `DN_*` stand for.
#[doc(alias = "convert_arg")]
fn events(wanted: u32) -> u32 {
    let events = [
        (linux::DN_ACCESS, linux::IN_ACCESS),
        (linux::DN_MODIFY, linux::IN_MODIFY),
        (linux::DN_CREATE, linux::IN_CREATE | linux::IN_MOVED_TO),
        (linux::DN_DELETE, linux::IN_DELETE | linux::IN_MOVED_FROM),
        (linux::DN_RENAME, RENAMED),
        (linux::DN_ATTRIB, linux::IN_ATTRIB),
    ];
    let wanted = events.iter().filter(|(flag, _)| wanted & flag != 0);
    wanted.fold(0, |all, (_, events)| all | events)
}

/// `F_NOTIFY`: `owner` is told of the next of these events in the directory `file`, or of each (`DN_MULTISHOT`), those
/// asked for before included, by way of `fd`; of none any more without any. `ENOTDIR`.
#[doc(alias = "fcntl_dirnotify")]
pub fn watch(
    file: &dyn File,
    which: Which,
    owner: Arc<dyn Owner>,
    fd: i32,
    wanted: u32,
) -> Result<(), Errno> {
    if wanted & !linux::DN_MULTISHOT == 0 {
        closed(file, which);
        return Ok(());
    }
    let node = file.node().filter(|node| node.is_directory());
    let node = node.ok_or(Errno::ENOTDIR)?;
    let once = wanted & linux::DN_MULTISHOT == 0;
    let mask = events(wanted) | if once { linux::IN_ONESHOT } else { 0 };
    let mut registry = STATE.registry.lock();
    if let Some(watch) = registry.watch(node, |listener| is_of(listener, which)) {
        let once = watch.mask & mask & linux::IN_ONESHOT;
        watch.mask = (watch.mask | mask) & !linux::IN_ONESHOT | once;
        if let Listener::Dnotify(owned) = &mut watch.listener {
            owned.fd = fd;
        }
        return Ok(());
    }
    let listener = Listener::Dnotify(Owned { which, owner, fd });
    registry.add(node, Watch { listener, mask });
    Ok(())
}

/// A descriptor has been closed: the owner of the directory, if it was one's, is told nothing any more.
#[inline]
#[doc(alias = "dnotify_flush")]
pub fn closed(file: &dyn File, which: Which) {
    if is_active() && file.node().is_some_and(|node| node.is_directory()) {
        let mut registry = STATE.registry.lock();
        registry.remove(|_, watch| is_of(&watch.listener, which));
    }
}

fn is_of(listener: &Listener, which: Which) -> bool {
    matches!(listener, Listener::Dnotify(owned) if owned.which == which)
}
