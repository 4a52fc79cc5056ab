//! Parts that several processes use: descriptors, and working directory and umask (`CLONE_FILES`, `CLONE_FS`). What has
//! to be done with a part at the end is for the last of them to do.
use alloc::sync::Arc;
use machine::sync::SpinLock;

/// One process' share in a part; of what is its alone it has none.
#[derive(Default)]
pub(super) struct Share(SpinLock<Option<Arc<()>>>);

impl Share {
    /// Another process' share in the same.
    pub(super) fn another(&self) -> Self {
        let mut own = self.0.lock();
        Self(SpinLock::new(Some(own.get_or_insert_default().clone())))
    }

    /// Whether others have shares.
    pub(super) fn is_shared(&self) -> bool {
        let own = self.0.lock();
        own.as_ref().is_some_and(|own| Arc::strong_count(own) > 1)
    }

    /// Gives it up; whether it was the last.
    pub(super) fn leave(&self) -> bool {
        let own = self.0.lock().take();
        own.is_none_or(|own| Arc::into_inner(own).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_the_last() {
        let alone = Share::default();
        assert!(!alone.is_shared() && alone.leave());
        let one = Share::default();
        let others = [one.another(), one.another()];
        assert!(one.is_shared() && !one.leave());
        assert!(others[0].is_shared() && !others[0].leave());
        assert!(!others[1].is_shared() && others[1].leave());
    }
}
