//! Who may write to a regular file, and who keeps others from it: a program that runs is not written to (`ETXTBSY`),
//! and what is open to be written is not run, as with Linux' `i_writecount`. Shared objects, and what is mapped in
//! other ways, are not protected, there as here.
use super::tree::Node;
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// A share in a file's count of those who write to it, or run it, given back when it is dropped.
pub struct Share {
    node: Arc<Node>,
    step: i32,
}

impl Share {
    /// That of one who writes to the file; `ETXTBSY` while it runs.
    #[doc(alias = "get_write_access")]
    pub fn to_write(node: &Arc<Node>) -> Result<Self, Errno> {
        Self::new(node, 1)
    }

    /// That of one who runs it; `ETXTBSY` while somebody may write to it.
    #[doc(alias = "deny_write_access")]
    pub fn to_run(node: &Arc<Node>) -> Result<Self, Errno> {
        Self::new(node, -1)
    }

    /// Moves the count a step away from zero, if it is not on the other side.
    fn new(node: &Arc<Node>, step: i32) -> Result<Self, Errno> {
        let moved = |count: i32| (count * step >= 0).then_some(count + step);
        let count = &node.write_count;
        let changed = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
        changed.map_err(|_| Errno::ETXTBSY)?;
        Ok(Self {
            node: node.clone(),
            step,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.node
            .write_count
            .fetch_sub(self.step, Ordering::Relaxed);
    }
}
