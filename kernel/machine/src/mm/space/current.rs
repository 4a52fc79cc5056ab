//! The address space of the running thread.

use super::{Space, arena::Arena};
use crate::arch::paging::Tables;
use crate::sched::{self, AddressSpace};
use alloc::sync::Arc;
use core::any::Any;

impl AddressSpace for Space {
    #[inline]
    fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    #[inline]
    fn arena(&self) -> &Arena {
        &self.arena
    }
}

/// Calls `f` with the running thread's address space, if it has one.
#[inline]
pub fn with_current<R>(f: impl FnOnce(Option<&Space>) -> R) -> R {
    sched::with_space(|space| {
        f(space.and_then(|space| {
            let space: &dyn Any = &**space;
            space.downcast_ref()
        }))
    })
}
