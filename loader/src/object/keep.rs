//! What keeps an object loaded, beside its handles and those who need it.

use core::sync::atomic::Ordering;

use super::{Object, ObjectId};

impl Object {
    /// Notes that a slot of this object was bound to `target`, which must then stay loaded as long as this object.
    /// Allocates nothing: when the slots are full, the target lasts as long as its namespace.
    pub(crate) fn bind_to(&self, target: &Self) {
        for slot in &self.bound_to {
            match slot.compare_exchange(0, target.id(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(id) if id == target.id() => return,
                Err(_) => {}
            }
        }
        target.keep();
    }

    /// Returns what [`bind_to`](Self::bind_to) noted.
    pub(crate) fn bound_to(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.bound_to
            .iter()
            .map(|slot| slot.load(Ordering::Acquire))
            .take_while(|&id| id != 0)
    }

    /// Keeps the object loaded for ever.
    pub(crate) fn pin(&self) {
        self.pinned.store(true, Ordering::Release);
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Acquire) || self.dynamic.nodelete
    }

    /// Keeps the object loaded for as long as anything else keeps its namespace.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Says whether [`keep`](Self::keep) was called.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }
}
