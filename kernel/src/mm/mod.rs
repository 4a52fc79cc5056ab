//! Memory: frames, kernel heap, kernel stacks, the program's address space, access to user memory.
mod buddy;
pub mod fault;
pub mod frame;
#[cfg(not(test))]
mod heap;
pub mod space;
pub mod stack;
pub mod user;

/// Page size in bytes.
pub const PAGE: usize = 4096;
/// Lowest address a program may map.
pub const USER_START: usize = 0x1_0000;
/// End of the program's half of the address space.
pub const USER_END: usize = 0x7fff_ffff_f000;
