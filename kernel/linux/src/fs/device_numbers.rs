//! Device numbers of the file systems.
/// The root: image and what was written over it.
pub const ROOT: u64 = 0x801;
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
