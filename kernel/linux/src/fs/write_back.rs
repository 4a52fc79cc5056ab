//! Writing back changed pages of files that are elsewhere, and what file systems keep back: which files have any,
//! and when it is done. As Linux does it: a page stays changed for half a minute at most, somebody looks every five
//! seconds, and who changes more than a share of memory writes himself.
use super::{
    forget, mount,
    page_cache::{BACKGROUND_RATIO, Content, RATIO, dirty_pages, give_back_all, may_be_dirty},
    tree::{Kind, Node},
};
use abi::Errno;
use alloc::{
    boxed::Box,
    collections::VecDeque,
    sync::{Arc, Weak},
};
use core::sync::atomic::Ordering;
use machine::{
    mm::frame,
    sched::{self, NoState},
    sync::{Mutex, Signals, WaitQueue},
    time::Instant,
};

/// How often somebody looks, and file systems write what they keep back (`vm.dirty_writeback_centisecs`, ext4's
/// `commit`).
const INTERVAL: u64 = 5_000_000_000;
/// How long what was written stays in memory, at most (`vm.dirty_expire_centisecs`).
const AGE: u64 = 30_000_000_000;

/// What /proc/sys/vm says of all this.
pub const SETTINGS: [(&str, u64); 4] = [
    ("dirty_writeback_centisecs", INTERVAL / CENTISECOND),
    ("dirty_expire_centisecs", AGE / CENTISECOND),
    ("dirty_background_ratio", BACKGROUND_RATIO),
    ("dirty_ratio", RATIO),
];
const CENTISECOND: u64 = 10_000_000;

/// Files with changed pages.
struct WriteBack {
    files: Mutex<Files>,
    /// Held by who writes several: what another has begun with is written when it is had.
    passes: Mutex<()>,
    /// Woken when there are too many.
    many: WaitQueue,
}

struct Files {
    /// Since when, the oldest first.
    dirty: VecDeque<(Instant, Kept)>,
    has_thread: bool,
}

/// A file with changed pages.
enum Kept {
    /// Here until they are written, whoever has closed or unmapped it.
    Named(Arc<Node>),
    /// It has no name: when nobody has it open, nobody misses them.
    Unlinked(Weak<Node>),
}

static WRITE_BACK: WriteBack = WriteBack {
    files: Mutex::new(Files {
        dirty: VecDeque::new(),
        has_thread: false,
    }),
    passes: Mutex::new(()),
    many: WaitQueue::new(),
};

impl Kept {
    fn new(node: &Arc<Node>) -> Self {
        match &node.operations {
            Some(operations) if operations.is_unlinked() => Self::Unlinked(Arc::downgrade(node)),
            _ => Self::Named(node.clone()),
        }
    }

    fn is(&self, node: &Arc<Node>) -> bool {
        match self {
            Self::Named(other) => Arc::ptr_eq(other, node),
            Self::Unlinked(other) => other.as_ptr() == Arc::as_ptr(node),
        }
    }

    fn write(&self) -> Result<(), Errno> {
        let node = match self {
            Self::Named(node) => Some(node.clone()),
            Self::Unlinked(node) => node.upgrade(),
        };
        match node.as_deref().and_then(content) {
            Some(content) => {
                // Before: what is changed from here on is noted again.
                content.is_noted.store(false, Ordering::SeqCst);
                content.write_back()
            }
            None => Ok(()),
        }
    }
}

fn content(node: &Node) -> Option<&Content> {
    match &node.kind {
        Kind::Regular(content) => Some(content),
        _ => None,
    }
}

/// The node has changed pages.
pub(super) fn note(node: &Arc<Node>) {
    if content(node).is_none_or(|content| content.is_noted.swap(true, Ordering::SeqCst)) {
        return;
    }
    let mut files = WRITE_BACK.files.lock();
    if keeps_back(node) {
        files.dirty.push_back((Instant::now(), Kept::new(node)));
    } else {
        // Changed by mappings only, as everything else is written at once: when somebody looks next.
        files.dirty.push_front((Instant(0), Kept::new(node)));
    }
    files.start();
}

/// The node has lost its last name, or has been given its first one.
pub(super) fn names_changed(node: &Arc<Node>) {
    if content(node).is_some_and(|content| content.is_noted.load(Ordering::SeqCst)) {
        let mut files = WRITE_BACK.files.lock();
        let before = files.dirty.iter_mut().find(|(_, kept)| kept.is(node));
        let old = before.map(|(_, kept)| core::mem::replace(kept, Kept::new(node)));
        drop(files);
        drop(old);
    }
}

/// Data of the node were written by a call, without locks: if too much of what was written is in memory only, has it
/// written, and waits for that.
pub fn wrote(node: &Arc<Node>) {
    node.written();
    if let Some(content) = content(node)
        && keeps_back(node)
    {
        note(node);
        balance(content);
    }
}

fn keeps_back(node: &Node) -> bool {
    let operations = node.operations.as_ref();
    operations.is_some_and(|operations| operations.keeps_back())
}

fn balance(content: &Content) {
    let (many, too_many) = may_be_dirty();
    let there = dirty_pages();
    if there > too_many {
        // A failure is remembered by its file.
        let _ = content.write_back();
        if dirty_pages() > too_many {
            let _ = all();
        }
    } else if there > many {
        WRITE_BACK.many.wake_all();
    }
}

/// Has file systems write what they keep back every few seconds from now on.
pub fn start() {
    WRITE_BACK.files.lock().start();
}

impl Files {
    fn start(&mut self) {
        if !self.has_thread {
            self.has_thread = true;
            sched::spawn_kernel("write-back", Box::new(NoState), Box::new(run));
        }
    }
}

fn run() {
    let are_many = || (dirty_pages() > may_be_dirty().0).then_some(());
    loop {
        let deadline = Some(Instant(Instant::now().0.saturating_add(INTERVAL)));
        let many = WRITE_BACK
            .many
            .wait_until(deadline, Signals::Ignore, are_many);
        // Each file remembers what went wrong, for who asks with fsync(2).
        if many.is_ok() {
            let _ = all();
        }
        let now = Instant::now().0;
        let _ = before(Instant(now.saturating_sub(AGE)));
        let _ = commit();
    }
}

/// Writes the pages of files that have had changed ones since `time` or before; the first error.
fn before(time: Instant) -> Result<(), Errno> {
    let _one_at_a_time = WRITE_BACK.passes.lock();
    let mut result = Ok(());
    loop {
        let mut files = WRITE_BACK.files.lock();
        let Some((_, kept)) = files.dirty.pop_front_if(|(since, _)| *since <= time) else {
            return result;
        };
        drop(files);
        result = result.and(kept.write());
    }
}

/// Writes all there is; the first error.
pub fn all() -> Result<(), Errno> {
    before(Instant::now())
}

/// No frame is left for the program, or the kernel: gives back what can be, changed pages once they are written, and
/// mapped ones. Whether there are frames now. The caller has no locks.
pub fn make_room() -> bool {
    let before = frame::available();
    for round in 0..3 {
        if round == 1 {
            // What cannot be written remembers it.
            let _ = all();
            forget::unused();
        }
        give_back_all(before + frame::counts().0 / 16);
        if frame::available() > before {
            return true;
        }
    }
    false
}

/// Has every file system write what it keeps back; the first error.
fn commit() -> Result<(), Errno> {
    let synced = mount::all().into_iter().map(|mount| mount.fs.sync());
    synced.fold(Ok(()), Result::and)
}

/// Has everything written that is not where it is to stay; the first error.
pub fn sync() -> Result<(), Errno> {
    let written = all();
    written.and(commit())
}

/// The same when the machine ends.
pub fn finish() -> Result<(), Errno> {
    let mut result = all();
    for mount in mount::all() {
        result = result.and(mount.fs.finish());
    }
    result
}
