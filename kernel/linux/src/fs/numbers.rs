//! Device and inode numbers: those of the kernel's own file systems, and fresh ones; how many nodes there are of files
//! that are elsewhere.
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use machine::mm::frame;

/// The root, without a device as other overlays: image and what was written over it.
pub const ROOT: u64 = 0x14;
/// /dev
pub const DEV: u64 = 5;
/// /proc
pub const PROC: u64 = 0x15;
/// /sys
pub const SYS: u64 = 0x16;
/// /dev/shm
pub const SHM: u64 = 0x17;
/// /dev/pts
pub const PTS: u64 = 0x18;
/// Pipes, sockets, eventfd and the like, memfd.
pub const ANONYMOUS: u64 = 0xe;

struct Next {
    ino: AtomicU64,
    /// Minor device number.
    minor: AtomicU32,
    /// Nodes of files that are elsewhere.
    stored: AtomicUsize,
    /// How many of these are many; 0 if nobody has asked yet.
    many: AtomicUsize,
}

static NEXT: Next = Next {
    ino: AtomicU64::new(1 << 40),
    minor: AtomicU32::new(0x20),
    stored: AtomicUsize::new(0),
    many: AtomicUsize::new(0),
};

/// A fresh inode number, which no file of an image or a disk has.
pub fn next_ino() -> u64 {
    NEXT.ino.fetch_add(1, Ordering::Relaxed)
}

/// A fresh number for a file system without a device (major 0).
pub fn next_dev() -> u64 {
    let minor = NEXT.minor.fetch_add(1, Ordering::Relaxed);
    device(0, minor)
}

/// The number of a device, as programs are told it.
#[doc(alias = "new_encode_dev")]
pub fn device(major: u32, minor: u32) -> u64 {
    u64::from(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// The number of its driver.
pub fn major(dev: u64) -> u32 {
    (dev >> 8) as u32 & 0xfff
}
/// Which of that driver's it is.
pub fn minor(dev: u64) -> u32 {
    dev as u32 & 0xff | (dev >> 12) as u32 & 0xf_ff00
}

/// There is a node more of a file that is elsewhere.
pub(super) fn stored() {
    NEXT.stored.fetch_add(1, Ordering::Relaxed);
}

/// One is gone.
pub(super) fn stored_gone() {
    NEXT.stored.fetch_sub(1, Ordering::Relaxed);
}

/// One for so many frames of memory are not many yet.
const FRAMES_OF_NODE: usize = 4;

/// Whether there are so many that those not in use are to be forgotten.
#[inline]
pub(super) fn are_stored_many() -> bool {
    let many = NEXT.many.load(Ordering::Relaxed);
    let stored = NEXT.stored.load(Ordering::Relaxed);
    stored > many && (many != 0 || stored > are_stored_left())
}

/// Those that are left are in use: so many more are many. How many that is.
pub(super) fn are_stored_left() -> usize {
    let left = NEXT.stored.load(Ordering::Relaxed);
    let few = frame::counts().0 / FRAMES_OF_NODE;
    let many = few.max(2 * left);
    NEXT.many.store(many, Ordering::Relaxed);
    many
}
