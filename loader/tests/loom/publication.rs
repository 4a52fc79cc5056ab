//! Publication and reclamation: what is published is freed when nobody reads it any more.

use super::*;
use crate::publish::{Published, Readers, Retired};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;

/// A value whose memory is used until it is freed, by the thread that made it.
#[repr(align(256))]
struct Value(Shared<u32>, loom::thread::ThreadId);

/// Gives values the memory that was freed last, so that each run of a model meets old addresses at the same places.
struct Reuse;

#[global_allocator]
static ALLOCATOR: Reuse = Reuse;

thread_local! {
    static FREE: RefCell<Vec<*mut u8>> = const { RefCell::new(Vec::new()) };
}

// SAFETY: the system's allocator, but that blocks for values are kept to be given out again; they have one layout.
unsafe impl GlobalAlloc for Reuse {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let kept = if layout.align() == align_of::<Value>() {
            FREE.with_borrow_mut(Vec::pop)
        } else {
            None
        };
        // SAFETY: forwarded to the caller.
        kept.unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.align() == align_of::<Value>() {
            FREE.with_borrow_mut(|free| free.push(block));
        } else {
            // SAFETY: forwarded to the caller.
            unsafe { System.dealloc(block, layout) };
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.set(0);
        assert_eq!(loom::thread::current().id(), self.1);
    }
}

struct Place {
    place: Published<Value>,
    readers: &'static Readers,
}

fn value(number: u32) -> Option<Arc<Value>> {
    let writer = loom::thread::current().id();
    Some(Arc::new(Value(Shared::new(number), writer)))
}

impl Place {
    fn new(retired: &mut Retired<Value>) -> Arc<Self> {
        let readers = Box::leak(Box::new(Readers::new()));
        let place = Published::empty(readers);
        let place = Self { place, readers };
        place.write(1, retired);
        place.write(2, retired);
        Arc::new(place)
    }

    fn read(&self) {
        let reading = self.place.read().expect("there always is a value");
        assert_ne!(reading.0.get(), 0);
    }

    fn keep(&self) {
        let kept = self.place.get().expect("there always is a value");
        assert_ne!(kept.0.get(), 0);
    }

    fn write(&self, number: u32, retired: &mut Retired<Value>) {
        self.place.set(value(number), retired);
        retired.reclaim(self.readers);
    }
}

/// Readers (there is one slot: a second one stands in the crowd) and a writer, with so many preemptions.
fn race(preemptions: usize, readers: &'static [fn(&Place)], writes: u32) {
    explore(preemptions, move || {
        let mut retired = Retired::new();
        let place = Place::new(&mut retired);
        let start = |read: &'static fn(&Place)| {
            let place = place.clone();
            loom::thread::spawn(move || read(&place))
        };
        let threads: Vec<_> = readers.iter().map(start).collect();
        for number in 3..3 + writes {
            place.write(number, &mut retired);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        // No value is forgotten. That the last one goes, too, is seen by loom.
        retired.reclaim(place.readers);
        assert_eq!(retired.len(), 0);
        assert!(!place.readers.are_waited_for());
    });
}

#[test]
fn a_reading() {
    race(6, &[Place::read], 2);
}

#[test]
fn a_reference() {
    race(6, &[Place::keep], 2);
}

#[test]
fn two_readings() {
    race(3, &[Place::read, Place::read], 1);
}

#[test]
fn a_reading_and_a_reference() {
    race(3, &[Place::read, Place::keep], 1);
}

#[test]
fn two_references() {
    race(3, &[Place::keep, Place::keep], 1);
}

#[test]
fn a_slot_goes_from_reader_to_reader() {
    race(4, &[|place| (place.read(), place.read()).1], 2);
}

#[test]
fn a_handler_reads_while_its_thread_reads() {
    let nested: &[fn(&Place)] = &[|place| {
        let outer = place.place.read().expect("there always is a value");
        place.read();
        assert_ne!(outer.0.get(), 0);
    }];
    race(4, nested, 2);
}
