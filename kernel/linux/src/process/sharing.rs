//! Parts that several processes use: descriptors, working directory and umask, dispositions (`CLONE_FILES`, `CLONE_FS`,
//! `CLONE_SIGHAND`). What has to be done with a part at the end is for the last of them to do. A process that runs a
//! program goes on with descriptors and dispositions of its own.
use super::Process;
use abi::Errno;
use alloc::sync::Arc;
use core::ops::Deref;
use machine::sync::SpinLock;
use spin::Once;

/// A part that a process has with others, until it takes one of its own. It can do so once.
pub struct Part<T> {
    first: Arc<T>,
    own: Once<Arc<T>>,
}

impl<T> Part<T> {
    pub(super) fn new(part: T) -> Self {
        Self::of(Arc::new(part))
    }

    fn of(first: Arc<T>) -> Self {
        let own = Once::new();
        Self { first, own }
    }

    fn current(&self) -> &Arc<T> {
        self.own.get().unwrap_or(&self.first)
    }

    /// The same for another process.
    pub(super) fn another(&self) -> Self {
        Self::of(self.current().clone())
    }

    /// What tells it from others.
    pub fn address(&self) -> usize {
        Arc::as_ptr(self.current()).addr()
    }

    /// Whether it has taken its own.
    fn is_own(&self) -> bool {
        self.own.is_completed()
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.current()
    }
}

impl Process {
    /// Whether other processes use its dispositions. One that has ended and not been waited for counts, too.
    pub fn shares_dispositions(&self) -> bool {
        Arc::strong_count(self.sighand.current()) > 1
    }

    /// Whether it could go on with descriptors and dispositions of its own; `ENOMEM`.
    pub fn check_parts(&self) -> Result<(), Errno> {
        let again = self.files.is_own() && self.files_share.is_shared()
            || self.sighand.is_own() && self.shares_dispositions();
        if again {
            log::warn!("that a process twice takes descriptors of its own is not there");
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Takes descriptors of its own, if others use them. The calling thread is the process' only one.
    pub fn take_files(&self) {
        if !self.files_share.is_shared() || self.files.is_own() {
            return;
        }
        self.files
            .own
            .call_once(|| Arc::new(self.files.first.copy()));
        if self.files_share.leave() {
            // The others have ended meanwhile, or taken their own.
            self.files.first.close_range(0, usize::MAX, false);
        }
    }

    /// The same for dispositions.
    pub(super) fn take_dispositions(&self) {
        if self.shares_dispositions() {
            let own = &self.sighand.own;
            own.call_once(|| Arc::new(self.sighand.first.copy()));
        }
    }
}

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
    fn a_part_becomes_its_own_once() {
        let one = Part::new(1);
        let other = one.another();
        assert_eq!(one.address(), other.address());
        other.own.call_once(|| Arc::new(2));
        assert_eq!((*one, *other, *other.another()), (1, 2, 2));
        assert!(other.is_own() && !one.is_own() && !other.another().is_own());
    }

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
