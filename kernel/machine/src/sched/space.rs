//! Which address space each CPU uses. A CPU that goes on with a thread without one keeps that of the thread before: it
//! does not touch the program's half, and often comes back.

use crate::arch::paging::{self, Tables};
use crate::arch::{cpu, percpu};
use crate::mm::space::arena::Arena;
use crate::sync::SpinLock;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

/// What the scheduler knows of an address space: [`crate::mm::space::Space`].
pub trait AddressSpace: Any + Send + Sync {
    /// Its page tables.
    fn tables(&self) -> &Arc<Tables>;
    /// Where the dynamic linker keeps what it has.
    fn arena(&self) -> &Arena;
}

/// One CPU's.
struct Active {
    /// The root of the tables; 0: the kernel's.
    root: AtomicU64,
    /// The reference that keeps the tables while the CPU uses them.
    tables: SpinLock<Option<Arc<Tables>>>,
}

static ACTIVE: [Active; cpu::MOST] = [const {
    Active {
        root: AtomicU64::new(0),
        tables: SpinLock::new(None),
    }
}; cpu::MOST];

/// Makes this CPU use the tables of a space. Interrupts are off.
#[inline]
pub(super) fn switch_to(space: &dyn AddressSpace) {
    let tables = space.tables();
    if ACTIVE[percpu::this().id].root.load(Ordering::Relaxed) != tables.root() {
        enter(Some(tables));
    }
}

/// Makes this CPU use these tables, or the kernel's. Interrupts are off.
pub(super) fn enter(tables: Option<&Arc<Tables>>) {
    let cpu = percpu::this().id;
    let active = &ACTIVE[cpu];
    let mut current = active.tables.lock();
    let old = current.take();
    match (tables, &old) {
        (Some(new), old) => new.switch(cpu, old.as_deref()),
        (None, Some(old)) => paging::leave(cpu, old),
        (None, None) => {}
    }
    active
        .root
        .store(tables.map_or(0, |tables| tables.root()), Ordering::Relaxed);
    *current = tables.cloned();
    drop(current);
    // The last reference, perhaps: this CPU does not use them any more.
    drop(old);
}
