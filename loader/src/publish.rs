//! Publication of immutable values to readers that may neither wait nor allocate.
//!
//! A writer swaps a new [`Arc`] in; a reader uses whatever is current. A signal handler can be a reader at any point,
//! so reading is a few atomic operations and nothing else. The old value goes onto a [`Retired`] list, whose owner
//! frees it when no reader has it any more; a reader never frees.
//!
//! A reader says what it reads in a *hazard slot* (M. Michael, “Hazard Pointers”, IEEE TPDS 15(6), 2004): it writes the
//! pointer it found there and looks whether that is still current. If so, whoever retires the value from now on finds
//! it in the slot. Slots are taken from a fixed array for the time of one reading, each in a cache line of its own, so
//! readers on different CPUs do not disturb each other, and a value that is read for long keeps no other one. Should
//! all slots be taken, a reader counts itself in `crowd`, and nothing is freed until it has left.
//!
//! A reader that runs code of the program meanwhile, which may take any time and may never come back, takes a reference
//! count instead ([`Published::get`]).

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ops::Deref;
use core::ptr;

use crate::primitive::{Arc, AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence, thread_hint};

/// A place where the current value of something is found.
pub(crate) struct Published<T> {
    /// What `Arc::into_raw` gave, or null.
    current: AtomicPtr<T>,
    readers: &'static Readers,
    owns: PhantomData<Arc<T>>,
}

impl<T> Published<T> {
    /// Where debuggers find the address of the current value.
    pub(crate) const CURRENT: usize = offset_of!(Self, current);
}

/// Who reads what. Places whose old values go onto one [`Retired`] list share one of these.
pub(crate) struct Readers {
    slots: [Slot; SLOTS],
    /// How many read without a slot.
    crowd: AtomicUsize,
    /// Whether a retired value was in use when it was last tried to free it.
    waiting: AtomicBool,
}

/// How many can read at once without getting into each other's way. A reader is busy for a few thousand instructions,
/// so this is about how many CPUs there may be.
#[cfg(not(loom))]
const SLOTS: usize = 64;
#[cfg(loom)]
const SLOTS: usize = 1;

/// The address of the value somebody reads, or 0.
#[repr(align(64))]
struct Slot(AtomicUsize);

impl Readers {
    /// Makes the record of no readers.
    pub(crate) const fn new() -> Self {
        Self {
            slots: [const { Slot(AtomicUsize::new(0)) }; SLOTS],
            crowd: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
        }
    }

    /// Says whether a retired value was in use when it was last tried to free it, and might be free now.
    pub(crate) fn are_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Notes that the caller is about to read the value at an address, which is not 0.
    fn note(&self, address: usize) -> Note<'_> {
        let first = thread_hint();
        let slot = (0..SLOTS).find_map(|step| {
            let slot = &self.slots[first.wrapping_add(step) % SLOTS];
            // Acquire: what the slot's last user did is part of what this one releases.
            slot.0
                .compare_exchange(0, address, Ordering::Acquire, Ordering::Relaxed)
                .ok()
                .map(|_| slot)
        });
        if slot.is_none() {
            self.crowd.fetch_add(1, Ordering::Relaxed);
        }
        Note {
            readers: self,
            slot,
        }
    }

    /// Says whether somebody reads the value at an address, or might.
    fn have(&self, address: usize) -> bool {
        // Acquire: what a reader did with the value comes before what is done with it now.
        let here = |slot: &Slot| slot.0.load(Ordering::Acquire) == address;
        // The crowd last: who reads on from a value that is in a slot is in the crowd before the slot is free.
        self.slots.iter().any(here) || self.crowd.load(Ordering::Acquire) != 0
    }
}

/// A reader's note of what it reads. Without a slot it stands for everything.
struct Note<'a> {
    readers: &'a Readers,
    slot: Option<&'a Slot>,
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.0.store(0, Ordering::Release);
        } else {
            self.readers.crowd.fetch_sub(1, Ordering::Release);
        }
    }
}

/// The current value of a [`Published`], for a while in which no code of the program is called.
pub(crate) struct Reading<'a, T> {
    value: &'a T,
    _note: Note<'a>,
}

impl<T> Reading<'_, T> {
    /// Goes on to a place within the value, which `with` looks at once more after that has been read.
    pub(crate) fn follow<R>(
        self,
        place: impl FnOnce(&T) -> &Published<T>,
        with: impl FnOnce(&T) -> R,
    ) -> (Option<Self>, R) {
        // What is read there has a note of its own, and does not need the place any more.
        let next = place(self.value).read();
        (next, with(self.value))
    }
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
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

    /// Lets the caller use the current value. Takes no lock and allocates nothing; it is tried again only if a writer
    /// has put another value in meanwhile.
    pub(crate) fn read(&self) -> Option<Reading<'_, T>> {
        let mut value = self.current.load(Ordering::Acquire);
        if value.is_null() {
            return None;
        }
        let note = self.readers.note(value.addr());
        loop {
            // The counterpart is in `Retired::reclaim`: either the writer there sees the note, or the reader sees that
            // another value has become current.
            fence(Ordering::SeqCst);
            let current = self.current.load(Ordering::Acquire);
            let Some(slot) = note.slot.filter(|_| current != value) else {
                value = current;
                break;
            };
            // Release: on behalf of the slot's last user.
            slot.0.store(current.addr(), Ordering::Release);
            value = current;
        }
        // SAFETY: `value` is null or came from `Arc::into_raw`. It was current at a moment when the note was made, so
        // that it is freed after the note is gone.
        let value = unsafe { value.as_ref() }?;
        Some(Reading { value, _note: note })
    }

    /// Returns the current value, to keep for any time.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        let reading = self.read()?;
        let value = ptr::from_ref(reading.value);
        // SAFETY: `value` came from `Arc::into_raw`. While it is being read, the publication or the `Retired` list
        // holds a count for it.
        unsafe { Arc::increment_strong_count(value) };
        // SAFETY: the count taken just now is the one this `Arc` gives back.
        Some(unsafe { Arc::from_raw(value) })
    }

    /// Makes `value` current; the old one goes onto `retired`. The caller excludes other writers.
    pub(crate) fn set(&self, value: Option<Arc<T>>, retired: &mut Retired<T>) {
        retired.values.extend(self.replace(value));
    }

    /// Makes `value` current; returns the old one, which is on a [`Retired`] list, or goes onto one. The caller
    /// excludes other writers.
    pub(crate) fn replace(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let new = value.map_or(ptr::null_mut(), |value| Arc::into_raw(value).cast_mut());
        let old = self.current.swap(new, Ordering::AcqRel);
        // SAFETY: `old` came from `Arc::into_raw` and the publication's count goes over to this `Arc`.
        (!old.is_null()).then(|| unsafe { Arc::from_raw(old) })
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        // `&mut self` proves that there are no readers, here and below.
        let current = self.current.swap(ptr::null_mut(), Ordering::Acquire);
        if !current.is_null() {
            // SAFETY: the publication's own count.
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

    /// Adds a value that readers can no longer come to from where they start, or soon cannot. What it is kept by
    /// besides keeps it.
    pub(crate) fn push(&mut self, value: Arc<T>) {
        self.values.push(value);
    }

    /// Says whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Frees what no reader has. `readers` are those of the places the values come from.
    pub(crate) fn reclaim(&mut self, readers: &Readers) {
        // After `Published::set` has taken the values out, on whatever thread: see `Published::read`.
        fence(Ordering::SeqCst);
        // In this order: a reader counts its reference before it takes its note back.
        self.values.retain(|value| {
            readers.have(Arc::as_ptr(value).addr()) || Arc::strong_count(value) > 1
        });
        let waiting = !self.values.is_empty();
        readers.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Returns how many values wait.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn place() -> (Published<u32>, Retired<u32>, &'static Readers) {
        let readers: &Readers = alloc::boxed::Box::leak(alloc::boxed::Box::new(Readers::new()));
        let mut retired = Retired::new();
        let place = Published::empty(readers);
        place.set(Some(Arc::new(1)), &mut retired);
        (place, retired, readers)
    }

    #[test]
    fn a_value_lives_until_its_last_reader_left() {
        let (place, mut retired, readers) = place();
        let (reading, kept) = (place.read(), place.get());
        place.set(Some(Arc::new(2)), &mut retired);
        retired.reclaim(readers);
        assert_eq!((reading.as_deref(), kept.as_deref()), (Some(&1), Some(&1)));
        assert_eq!(retired.len(), 1);
        drop(reading);
        retired.reclaim(readers);
        assert_eq!((kept.as_deref(), retired.len()), (Some(&1), 1));
        assert!(readers.are_waited_for());
        drop(kept);
        retired.reclaim(readers);
        assert_eq!((place.read().as_deref(), retired.len()), (Some(&2), 0));
        assert!(!readers.are_waited_for());
    }

    #[test]
    fn a_long_reading_keeps_no_other_value() {
        let (place, mut retired, readers) = place();
        let reading = place.read();
        for value in 2..1000 {
            place.set(Some(Arc::new(value)), &mut retired);
            retired.reclaim(readers);
            assert_eq!(retired.len(), 1);
        }
        assert_eq!(reading.as_deref(), Some(&1));
    }

    #[test]
    fn a_crowd_of_readers_keeps_everything() {
        let (place, mut retired, readers) = place();
        let mut readings: Vec<_> = (0..=SLOTS).map(|_| place.read()).collect();
        place.set(Some(Arc::new(2)), &mut retired);
        readings.drain(..SLOTS);
        retired.reclaim(readers);
        assert_eq!(readings[0].as_deref(), Some(&1));
        assert_eq!(retired.len(), 1);
        readings.clear();
        retired.reclaim(readers);
        assert_eq!(retired.len(), 0);
    }
}
