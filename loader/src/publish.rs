//! Publication of immutable values to readers that may neither wait nor allocate.
//!
//! A writer swaps a new [`Arc`] in; a reader takes a counted reference to whatever is current. A signal handler can be
//! a reader at any point, so reading is a few atomic operations and nothing else. The old value goes onto a
//! [`Retired`] list, whose owner frees it when no reader is left; a reader never frees, because the list (or the
//! publication itself) still holds a reference while a reader drops its own.
//!
//! The one subtle moment is between a reader's load of the pointer and its increment of the count: `readers` is
//! non-zero then. A writer that, *after* its swap, sees `readers` at zero knows that whoever got the old pointer has
//! counted it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A place where the current value of something is found.
pub(crate) struct Published<T> {
    /// What `Arc::into_raw` gave, or null.
    current: AtomicPtr<T>,
    readers: &'static Readers,
    owns: PhantomData<Arc<T>>,
}

/// How many readers are between loading a pointer and counting their reference. Places whose old values go onto one
/// [`Retired`] list share one counter.
pub(crate) struct Readers(AtomicUsize);

impl Readers {
    /// Makes a counter at zero.
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Says whether no reader is in the middle of [`Published::get`].
    pub(crate) fn quiet(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl<T> Published<T> {
    /// Makes an empty place.
    pub(crate) const fn empty(readers: &'static Readers) -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            readers,
            owns: PhantomData,
        }
    }

    /// Returns the current value.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        self.readers.0.fetch_add(1, Ordering::SeqCst);
        let current = self.current.load(Ordering::SeqCst);
        let value = if current.is_null() {
            None
        } else {
            // SAFETY: `current` came from `Arc::into_raw`. The publication, or after a swap the `Retired` list, holds
            // one count for as long as `readers` may be non-zero on our account, so the value is alive.
            unsafe { Arc::increment_strong_count(current) };
            // SAFETY: the count taken just now is the one this `Arc` gives back.
            Some(unsafe { Arc::from_raw(current) })
        };
        self.readers.0.fetch_sub(1, Ordering::SeqCst);
        value
    }

    /// Makes `value` current; the old one goes onto `retired`. The caller excludes other writers.
    pub(crate) fn set(&self, value: Option<Arc<T>>, retired: &mut Retired<T>) {
        let new = value.map_or(ptr::null_mut(), |value| Arc::into_raw(value).cast_mut());
        let old = self.current.swap(new, Ordering::SeqCst);
        if !old.is_null() {
            // SAFETY: `old` came from `Arc::into_raw` and the publication's count goes over to this `Arc`.
            retired.push(unsafe { Arc::from_raw(old) });
        }
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        let current = *self.current.get_mut();
        if !current.is_null() {
            // SAFETY: the publication's own count; `&mut self` proves that there are no readers.
            drop(unsafe { Arc::from_raw(current) });
        }
    }
}

/// Values that are no longer current but may still be read.
pub(crate) struct Retired<T> {
    values: Vec<Arc<T>>,
}

impl<T> Retired<T> {
    /// Makes an empty list.
    pub(crate) const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// Keeps a value until readers have left it.
    pub(crate) fn push(&mut self, value: Arc<T>) {
        // One reference is enough, and two would keep each other from being the last.
        if !self.values.iter().any(|kept| Arc::ptr_eq(kept, &value)) {
            self.values.push(value);
        }
    }

    /// Frees what no reader holds. `readers` is the counter of the places the values come from.
    pub(crate) fn reclaim(&mut self, readers: &Readers) {
        if readers.quiet() {
            self.values.retain(|value| Arc::strong_count(value) > 1);
        }
    }

    /// Returns how many values wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lives_until_its_last_reader_left() {
        static READERS: Readers = Readers::new();
        let place = Published::empty(&READERS);
        let mut retired = Retired::new();
        place.set(Some(Arc::new(1)), &mut retired);
        let reader = place.get();
        place.set(Some(Arc::new(2)), &mut retired);
        retired.reclaim(&READERS);
        assert_eq!((reader.as_deref(), retired.len()), (Some(&1), 1));
        drop(reader);
        retired.reclaim(&READERS);
        assert_eq!((place.get().as_deref(), retired.len()), (Some(&2), 0));
    }
}
