//! The atomic types of whatever several threads touch at once without a lock. `loader/tests/loom/` compiles those
//! modules with [loom](https://docs.rs/loom)'s types in place of these.

pub(crate) use alloc::sync::Arc;
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// Makes a static, of which there is one for each time that a model is run.
macro_rules! once_per_process {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
        $(#[$meta])*
        static $name: $type = $value;
    };
}
pub(crate) use once_per_process;

/// Returns a number that is likely to differ between threads that run now.
pub(crate) fn thread_hint() -> usize {
    // Stacks of threads are pages apart.
    let here = 0u8;
    (&raw const here).addr() >> 12
}
