//! Objects are numbers here; the host can do nothing but wait.

extern crate std;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32};

use super::*;
use crate::host::{Access, File, Gate};

struct Waiting;

// SAFETY: nothing is given out.
unsafe impl Host for Waiting {
    fn open(&self, _: &[u8]) -> Result<Box<dyn File>, Errno> {
        Err(Errno::ENOENT)
    }
    fn reserve(&self, _: Option<usize>, _: usize, _: usize) -> Result<usize, Errno> {
        Err(Errno::ENOMEM)
    }
    unsafe fn zero(&self, _: usize, _: usize, _: Access) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
    unsafe fn protect(&self, _: usize, _: usize, _: Access) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
    unsafe fn unmap(&self, _: usize, _: usize) {}
    fn thread_pointer(&self) -> usize {
        0
    }
    unsafe fn set_thread_pointer(&self, _: usize) {}
    fn register_main_thread(&self, _: usize, _: usize, _: usize) -> u32 {
        1
    }
    unsafe fn call(&self, _: usize, _: [usize; 4]) -> usize {
        0
    }
    fn wait(&self, _: &AtomicU32, _: u32) {
        std::thread::yield_now();
    }
    fn wake(&self, _: &AtomicU32) {}
    fn fatal(&self, message: &str) -> ! {
        panic!("{message}")
    }
    fn gate(&self, _: Gate) -> usize {
        0
    }
}

fn name(text: &str) -> CString {
    CString::new(text).expect("no NUL in it")
}

fn code(text: &str, owner: Owner) -> Code<u32> {
    Code {
        name: name(text),
        owner,
        object: None,
        unwind: UnwindHeader::None,
    }
}

fn register(registry: &Registry<u32>, range: Range<usize>, owner: Owner) -> Result<CodeId, Errno> {
    registry.register(&Waiting, range, code("code", owner))
}

/// What is at an address: an object, or the number of a code range.
fn at(registry: &Registry<u32>, address: usize) -> Option<Result<u32, CodeId>> {
    let snapshot = registry.snapshot()?;
    Some(match &snapshot.at(address)?.value {
        Occupant::Object(object) => Ok(*object),
        Occupant::Code(id, _) => Err(*id),
    })
}

#[test]
fn code_is_registered_once_and_only_where_nothing_else_is() {
    let registry = Registry::new();
    registry.add_object(&Waiting, 1, 0x1000..0x3000, 7);
    let first = register(&registry, 0x801..0x81d, Owner::Nobody).unwrap();
    for taken in [
        0x800..0x802,
        0x81c..0x81d,
        0x700..0x900,
        0xfff..0x1001,
        0x2000..0x2001,
    ] {
        assert_eq!(
            register(&registry, taken, Owner::Nobody),
            Err(Errno::EEXIST)
        );
    }
    let second = register(&registry, 0x81d..0x81e, Owner::Nobody).unwrap();
    assert_ne!(first, second);
    assert_eq!(at(&registry, 0x81c), Some(Err(first)));
    assert_eq!(at(&registry, 0x81d), Some(Err(second)));
    assert_eq!(at(&registry, 0x1000), Some(Ok(7)));
    assert_eq!(registry.unregister(&Waiting, first), Ok(()));
    assert_eq!(registry.unregister(&Waiting, first), Err(Errno::ENOENT));
    assert_eq!(at(&registry, 0x801), None);
    let third = register(&registry, 0x801..0x81d, Owner::Nobody).unwrap();
    assert!(third > second, "numbers are not used twice");
    assert_eq!(registry.code_count(), 2);
}

#[test]
fn code_goes_with_its_owner() {
    let registry = Registry::new();
    registry.add_object(&Waiting, 5, 0x1000..0x2000, 5);
    assert!(registry.add_thread(&Waiting, 5) && !registry.add_thread(&Waiting, 5));
    let [object, thread] = [Owner::Object(5), Owner::Thread(5)];
    register(&registry, 10..20, object).unwrap();
    register(&registry, 20..30, thread).unwrap();
    let own = register(&registry, 30..40, thread).unwrap();
    register(&registry, 40..50, Owner::Nobody).unwrap();
    registry.unregister(&Waiting, own).unwrap();
    registry.remove_object(&Waiting, 5, 0x1000);
    assert!(at(&registry, 15).is_none() && at(&registry, 0x1800).is_none());
    assert!(at(&registry, 25).is_some());
    registry.remove_thread(&Waiting, 5);
    assert!(at(&registry, 25).is_none() && at(&registry, 45).is_some());
    // Who is gone owns nothing any more.
    for owner in [object, thread] {
        assert_eq!(register(&registry, 50..60, owner), Err(Errno::EINVAL));
    }
    assert_eq!(registry.code_count(), 1);
}

#[test]
fn unmapped_memory_holds_no_code() {
    let registry = Registry::new();
    for start in [0x0ff0, 0x1100, 0x1ff0, 0x2010] {
        register(&registry, start..start + 0x20, Owner::Nobody).unwrap();
    }
    registry.unmapped(&Waiting, 0x1000..0x2000);
    let left: Vec<_> = [0x0ff0, 0x1100, 0x1ff0, 0x2010]
        .into_iter()
        .filter(|&start| at(&registry, start).is_some())
        .collect();
    assert_eq!(left, [0x2010]);
    // A library is mapped where code was registered and unmapped unseen.
    registry.add_object(&Waiting, 1, 0x2000..0x3000, 9);
    assert_eq!(at(&registry, 0x2010), Some(Ok(9)));
    assert_eq!(registry.code_count(), 0);
    // Objects are not the program's to unmap.
    registry.unmapped(&Waiting, 0..usize::MAX);
    assert_eq!(at(&registry, 0x2010), Some(Ok(9)));
}

#[test]
fn headers_made_for_frames_have_no_search_table() {
    let header = UnwindHeader::of_frames(0x1122_3344_5566);
    assert_eq!(UnwindHeader::At(5).address(), 5);
    let UnwindHeader::Made(bytes) = &header else {
        panic!("not made")
    };
    assert_eq!(bytes[..4], [1, 0, 0xff, 0xff]);
    assert_eq!(bytes[4..], 0x1122_3344_5566_usize.to_le_bytes());
    assert_eq!(header.address(), bytes.as_ptr().addr());
}

/// Ranges come and go at the same addresses while readers look: each finds the whole range that its name belongs to, or
/// none; and in the end nothing is left.
#[test]
fn readers_see_whole_ranges_while_others_come_and_go() {
    const ROUNDS: usize = 3000;
    let registry = Registry::<u32>::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|lane: usize| {
            let registry = &registry;
            scope.spawn(move || {
                let base = 0x1000 * (lane + 1);
                for round in 0..ROUNDS {
                    let range = base + round % 7..base + round % 7 + 1 + round % 13;
                    let code = code(&format!("{range:?}"), Owner::Nobody);
                    let id = registry.register(&Waiting, range, code).unwrap();
                    registry.unregister(&Waiting, id).unwrap();
                }
            })
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut address = 0;
                while !done.load(Ordering::Relaxed) {
                    address = (address + 1) % 32;
                    let Some(snapshot) = registry.snapshot() else {
                        continue;
                    };
                    for base in [0x1000, 0x2000] {
                        if let Some(entry) = snapshot.at(base + address)
                            && let Occupant::Code(_, code) = &entry.value
                        {
                            let range = entry.start..entry.end;
                            assert!(range.contains(&(base + address)));
                            assert_eq!(code.name, name(&format!("{range:?}")));
                        }
                    }
                }
            });
        }
        for writer in writers {
            writer.join().expect("no writer fails");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(registry.code_count(), 0);
    registry.reclaim(&Waiting);
    assert_eq!(registry.changes.lock(&Waiting).retired.len(), 0);
}
