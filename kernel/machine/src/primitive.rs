//! The atomic types of what several CPUs or threads touch at once without a lock. `tests/loom.rs` compiles those
//! modules with [loom](https://docs.rs/loom)'s types in place of these.

pub(crate) use core::hint::spin_loop;
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
