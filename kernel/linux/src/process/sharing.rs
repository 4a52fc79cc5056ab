//! Parts that several processes use: descriptors, working directory and umask, dispositions (`CLONE_FILES`, `CLONE_FS`,
//! `CLONE_SIGHAND`). What has to be done with a part at the end is for the last of them to do. A process can go on with
//! a copy of its own: of descriptors and dispositions when it runs a program, of others by unshare(2).
use super::{Process, clone, signal::Sighand};
use crate::fs::{context::FsContext, descriptor::Files};
use alloc::sync::Arc;
use core::ops::Deref;
use linux_raw_sys::general::{CLONE_FILES, CLONE_FS, CLONE_SIGHAND};
use machine::sync::SpinLock;
use spin::Once;

/// A part that a process has, alone or with others. Each system call asks for one, so that the usual case, in which the
/// process has never taken another, costs no lock and no reference.
pub struct Part<T> {
    first: Arc<T>,
    /// What it has taken last instead.
    taken: Once<SpinLock<Arc<T>>>,
    share: Share,
}

/// What a process uses as a part at the moment it is asked for.
pub enum Current<'a, T> {
    /// What it began with.
    First(&'a T),
    /// What it has taken since.
    Taken(Arc<T>),
}

impl<T> Deref for Current<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::First(part) => part,
            Self::Taken(part) => part,
        }
    }
}

impl<T> Part<T> {
    pub(super) fn new(part: T) -> Self {
        Self::of(Arc::new(part), Share::default())
    }

    fn of(first: Arc<T>, share: Share) -> Self {
        Self {
            first,
            taken: Once::new(),
            share,
        }
    }

    #[inline]
    fn get(&self) -> Current<'_, T> {
        match self.taken.get() {
            None => Current::First(&self.first),
            Some(taken) => Current::Taken(taken.lock().clone()),
        }
    }

    fn for_child(&self, shares: bool, copy: impl FnOnce(&T) -> T) -> Self {
        if shares {
            self.another()
        } else {
            Self::new(copy(&self.get()))
        }
    }

    /// The same for another process.
    fn another(&self) -> Self {
        let part = match self.get() {
            Current::First(_) => self.first.clone(),
            Current::Taken(part) => part,
        };
        Self::of(part, self.share.another())
    }

    /// What tells it from others.
    pub fn address(&self) -> usize {
        core::ptr::from_ref(&*self.get()).addr()
    }

    /// Whether other processes use it.
    pub fn is_shared(&self) -> bool {
        self.share.is_shared()
    }

    /// Goes on with a copy, if others use it. The calling thread is the process' only one. `end` is for what nobody
    /// uses any more, as the others have ended meanwhile, or have taken their own.
    fn take(&self, copy: impl FnOnce(&T) -> T, end: impl FnOnce(&T)) {
        if !self.is_shared() {
            return;
        }
        let old = self.get();
        let own = Arc::new(copy(&old));
        match self.taken.get() {
            Some(taken) => {
                let before = core::mem::replace(&mut *taken.lock(), own);
                // Not under the lock.
                drop(before);
            }
            None => {
                self.taken.call_once(|| SpinLock::new(own));
            }
        }
        if self.share.leave() {
            end(&old);
        }
    }

    /// The process uses it no more; `end` as above.
    fn leave(&self, end: impl FnOnce(&T)) {
        if self.share.leave() {
            end(&self.get());
        }
    }
}

impl Process {
    /// Its descriptors.
    #[inline]
    pub fn files(&self) -> Current<'_, Files> {
        self.parts.files.get()
    }

    /// Its working directory and umask.
    #[inline]
    pub fn fs(&self) -> Current<'_, FsContext> {
        self.parts.fs.get()
    }

    /// Its dispositions.
    #[inline]
    pub(crate) fn sighand(&self) -> Current<'_, Sighand> {
        self.parts.sighand.get()
    }

    /// Takes descriptors of its own, if others use them. The calling thread is the process' only one.
    pub fn take_files(&self) {
        self.parts.files.take(Files::copy, close_all);
    }

    /// The same for working directory and umask.
    pub fn take_directory(&self) {
        self.parts.fs.take(FsContext::copy, FsContext::leave);
    }

    /// The same for dispositions.
    pub(super) fn take_dispositions(&self) {
        self.parts.sighand.take(Sighand::copy, |_| ());
    }

    /// It has ended.
    pub(super) fn leave_parts(&self) {
        self.parts.files.leave(close_all);
        self.parts.fs.leave(FsContext::leave);
        self.parts.sighand.leave(|_| ());
    }
}

fn close_all(files: &Files) {
    files.close_range(0, usize::MAX, false);
}

/// The parts of a process that others may use.
pub struct Parts {
    /// The descriptor table.
    pub files: Part<Files>,
    /// Working directory and umask.
    pub fs: Part<FsContext>,
    /// Dispositions.
    pub sighand: Part<Sighand>,
}

impl Parts {
    /// A child's: those that are asked for, and copies of the others.
    pub(super) fn for_child(&self, request: &clone::Request) -> Self {
        let Self { files, fs, sighand } = self;
        Self {
            files: files.for_child(request.has(CLONE_FILES), Files::copy),
            fs: fs.for_child(request.has(CLONE_FS), FsContext::copy),
            sighand: sighand.for_child(request.has(CLONE_SIGHAND), Sighand::copy),
        }
    }
}

/// One process' share in a part; of what is its alone it has none.
#[derive(Default)]
struct Share(SpinLock<Option<Arc<()>>>);

impl Share {
    /// Another process' share in the same.
    fn another(&self) -> Self {
        let mut own = self.0.lock();
        Self(SpinLock::new(Some(own.get_or_insert_default().clone())))
    }

    /// Whether others have shares.
    fn is_shared(&self) -> bool {
        let own = self.0.lock();
        own.as_ref().is_some_and(|own| Arc::strong_count(own) > 1)
    }

    /// Gives it up; whether it was the last.
    fn leave(&self) -> bool {
        let own = self.0.lock().take();
        own.is_none_or(|own| Arc::into_inner(own).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_becomes_its_own_each_time() {
        let one = Part::new(1);
        for other in [one.another(), one.another().another()] {
            assert_eq!(one.address(), other.address());
            other.take(|part| part + 1, |_| unreachable!());
            assert!(!other.is_shared() && other.address() != one.address());
            // Alone, it has nothing to take.
            other.take(|_| unreachable!(), |_| unreachable!());
            for value in 2..5 {
                assert_eq!(*other.get(), value);
                let next = other.another();
                assert!(other.is_shared() && next.address() == other.address());
                other.take(|part| part + 1, |_| unreachable!());
                assert_eq!((*other.get(), *next.get()), (value + 1, value));
            }
        }
        assert_eq!(*one.get(), 1);
    }

    #[test]
    fn the_last_ends_it() {
        let one = Part::new(1);
        let other = one.another();
        // The other ends while a copy is made.
        let mut ended = None;
        one.take(
            |part| {
                other.leave(|_| unreachable!());
                part + 1
            },
            |part| ended = Some(*part),
        );
        assert_eq!((*one.get(), ended), (2, Some(1)));
        one.leave(|part| ended = Some(*part));
        assert_eq!(ended, Some(2));
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
