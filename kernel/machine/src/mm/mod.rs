//! Memory: frames, kernel heap, kernel stacks, address spaces of programs, access to their memory.
#[expect(
    unsafe_code,
    reason = "the dynamic linker's part of the global allocator"
)]
pub mod arena;
mod buddy;
pub mod fault;
#[expect(unsafe_code, reason = "memory is reached by address")]
pub mod frame;
#[expect(unsafe_code, reason = "the global allocator")]
pub mod heap;
pub mod kernel_map;
#[expect(unsafe_code, reason = "blocks of memory")]
mod slab;
pub mod space;
pub mod stack;
#[expect(unsafe_code, reason = "the program's memory is not the kernel's")]
pub mod user;

pub use crate::arch::layout::{PAGE, USER_END, USER_START};
