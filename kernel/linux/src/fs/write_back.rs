//! Pages that mappings have changed, of files that are elsewhere: which files have any, and writing them back, and
//! what file systems keep back: every few seconds, when somebody asks for it, and at the end.
use super::{
    mount,
    tree::{Kind, Node},
};
use abi::Errno;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use machine::{
    sched::{self, NoState},
    sync::{Mutex, Signals, WaitQueue},
    time::Instant,
};

/// How long a page stays changed, at most, if nobody asks.
const AGE: u64 = 2_000_000_000;

struct Dirty {
    /// Kept here until they are written, whoever has closed or unmapped them.
    nodes: Vec<Arc<Node>>,
    has_thread: bool,
}

static DIRTY: Mutex<Dirty> = Mutex::new(Dirty {
    nodes: Vec::new(),
    has_thread: false,
});

/// The node has changed pages.
pub(super) fn note(node: &Arc<Node>) {
    let mut dirty = DIRTY.lock();
    if dirty.nodes.iter().any(|other| Arc::ptr_eq(other, node)) {
        return;
    }
    dirty.nodes.push(node.clone());
    dirty.start();
}

/// Has file systems write what they keep back every few seconds from now on.
pub fn start() {
    DIRTY.lock().start();
}

impl Dirty {
    fn start(&mut self) {
        if !self.has_thread {
            self.has_thread = true;
            sched::spawn_kernel("write-back", Box::new(NoState), Box::new(run));
        }
    }
}

fn run() {
    let sleep = WaitQueue::new();
    loop {
        let deadline = Instant(Instant::now().0.saturating_add(AGE));
        // It always ends by the deadline.
        let _ = sleep.wait_until(Some(deadline), Signals::Ignore, || None::<()>);
        // Each file remembers what went wrong, for who asks with fsync(2).
        let _ = sync();
    }
}

/// Writes all there is; the first error.
pub fn all() -> Result<(), Errno> {
    let nodes = core::mem::take(&mut DIRTY.lock().nodes);
    let mut result = Ok(());
    for node in nodes {
        if let Kind::Regular(content) = &node.kind {
            result = result.and(content.write_back());
        }
    }
    result
}

/// Has every file system write what it keeps back; the first error.
pub fn sync() -> Result<(), Errno> {
    let mut result = all();
    for mount in mount::all() {
        result = result.and(mount.fs.sync());
    }
    result
}

/// The same when the machine ends.
pub fn finish() -> Result<(), Errno> {
    let mut result = all();
    for mount in mount::all() {
        result = result.and(mount.fs.finish());
    }
    result
}
