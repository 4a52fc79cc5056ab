//! loom's atomic types. The loader's are made in `const` contexts, which loom's cannot be: they are made when they are
//! first used, which must be before there is a second thread.

use std::ops::Deref;
use std::sync::OnceLock;

pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::atomic::{Ordering, fence};

macro_rules! atomic {
    ($($name:ident $(<$parameter:ident>)?: $value:ty,)*) => { $(
        pub(crate) struct $name $(<$parameter>)? {
            initial: $value,
            made: OnceLock<loom::sync::atomic::$name $(<$parameter>)?>,
        }

        impl $(<$parameter>)? $name $(<$parameter>)? {
            pub(crate) const fn new(initial: $value) -> Self {
                Self { initial, made: OnceLock::new() }
            }
        }

        impl $(<$parameter>)? Deref for $name $(<$parameter>)? {
            type Target = loom::sync::atomic::$name $(<$parameter>)?;

            fn deref(&self) -> &Self::Target {
                self.made.get_or_init(|| Self::Target::new(self.initial))
            }
        }
    )* };
}

atomic! {
    AtomicBool: bool,
    AtomicU32: u32,
    AtomicU64: u64,
    AtomicUsize: usize,
    AtomicPtr<T>: *mut T,
}

// SAFETY: an atomic pointer may be shared whatever it points to; `initial` is only copied.
unsafe impl<T> Sync for AtomicPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Send for AtomicPtr<T> {}

macro_rules! once_per_process {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
        loom::lazy_static! {
            $(#[$meta])*
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use once_per_process;

/// loom wants the same choices every time.
pub(crate) fn thread_hint() -> usize {
    0
}
