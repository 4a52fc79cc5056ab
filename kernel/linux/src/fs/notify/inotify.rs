//! inotify(7): instances, which are told what happens to what they watch, and are read.
use super::queue::Queue;
use super::{Listener, STATE, Watch, Watched};
use crate::fs::tree::Node;
use crate::fs::{File, Metadata, Poll, Seek, numbers::next_ino};
use abi::Errno;
use alloc::sync::Arc;
use alloc::{string::String, vec::Vec};
use core::fmt::Write;
use core::sync::atomic::{AtomicI32, Ordering};
use linux_raw_sys::{general as linux, ioctl};
use machine::mm::user;
use machine::sync::WaitQueue;

/// Most instances.
pub const MAX_USER_INSTANCES: usize = 128;
/// Most watches of all instances.
pub const MAX_USER_WATCHES: usize = 65536;

/// An instance: events that wait to be read.
pub struct Inotify {
    events: Queue,
    last_descriptor: AtomicI32,
    ino: u64,
}

impl Inotify {
    /// One that watches nothing; `EMFILE`.
    pub fn new() -> Result<Arc<Self>, Errno> {
        if STATE.instances.fetch_add(1, Ordering::Relaxed) >= MAX_USER_INSTANCES {
            STATE.instances.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::EMFILE);
        }
        Ok(Arc::new(Self {
            events: Queue::new(),
            last_descriptor: AtomicI32::new(0),
            ino: next_ino(),
        }))
    }

    /// Watches a node for `mask`, or changes what it is watched for; the watch's descriptor. `EEXIST`, `ENOSPC`.
    pub fn add_watch(self: &Arc<Self>, node: &Arc<Node>, mask: u32) -> Result<i32, Errno> {
        let wanted = mask & (linux::IN_ALL_EVENTS | linux::IN_ONESHOT);
        let mut registry = STATE.registry.lock();
        let own = |listener: &Listener| self.is_told(listener, None);
        if let Some(watch) = registry.watch(node, own) {
            if mask & linux::IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            let kept = if mask & linux::IN_MASK_ADD != 0 {
                watch.mask
            } else {
                0
            };
            watch.mask = kept | wanted;
            if let Listener::Inotify(_, descriptor) = watch.listener {
                return Ok(descriptor);
            }
        }
        if STATE.watches.load(Ordering::Relaxed) >= MAX_USER_WATCHES {
            return Err(Errno::ENOSPC);
        }
        let descriptor = self.last_descriptor.fetch_add(1, Ordering::Relaxed) + 1;
        let listener = Listener::Inotify(self.clone(), descriptor);
        let mask = wanted;
        registry.add(node, Watch { listener, mask });
        Ok(descriptor)
    }

    /// Whether a watch, or that with this descriptor, is its own.
    fn is_told(&self, listener: &Listener, wanted: Option<i32>) -> bool {
        matches!(listener, Listener::Inotify(instance, descriptor)
            if core::ptr::eq(&raw const **instance, self)
                && wanted.is_none_or(|wanted| wanted == *descriptor))
    }

    /// An event of a watch waits to be read from now on.
    pub(super) fn tell(&self, descriptor: i32, event: u32, name: Option<&[u8]>, cookie: u32) {
        self.events.push(descriptor, event, name, cookie);
    }

    /// Ends a watch; `EINVAL`.
    pub fn remove_watch(&self, descriptor: i32) -> Result<(), Errno> {
        let removed = STATE.registry.lock().remove(|_, watch| {
            let ends = self.is_told(&watch.listener, Some(descriptor));
            if ends {
                watch.end();
            }
            ends
        });
        if removed == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

impl File for Inotify {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        self.events.read(buf, nonblock)
    }

    fn poll(&self) -> Poll {
        if self.events.is_empty() {
            Poll::empty()
        } else {
            Poll::IN
        }
    }

    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(self.events.waiters())
    }

    fn edges(&self) -> [u64; 2] {
        self.events.edges()
    }

    fn drives_signals(&self) -> bool {
        true
    }

    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        if request != ioctl::FIONREAD {
            return Err(Errno::ENOTTY);
        }
        user::copy_out(arg, &self.events.bytes().to_le_bytes()[..4])?;
        Ok(0)
    }

    fn release(&self) {
        STATE
            .registry
            .lock()
            .remove(|_, watch| self.is_told(&watch.listener, None));
        STATE.instances.fetch_sub(1, Ordering::Relaxed);
    }

    fn seek(&self) -> Seek {
        Seek::Nowhere
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.ino, 0o600))
    }

    fn details(&self) -> String {
        let registry = STATE.registry.lock();
        let mut text = String::new();
        for Watched { node, watches } in registry.nodes.values() {
            for watch in watches
                .iter()
                .filter(|watch| self.is_told(&watch.listener, None))
            {
                let Listener::Inotify(_, descriptor) = watch.listener else {
                    continue;
                };
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "inotify wd:{descriptor:x} ino:{:x} sdev:{:x} mask:{:x} ignored_mask:0",
                    node.ino, node.dev, watch.mask
                );
            }
        }
        text
    }

    fn link_text(&self) -> Vec<u8> {
        b"anon_inode:inotify".to_vec()
    }
}
