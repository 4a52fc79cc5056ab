//! Copies of address spaces, and copies of these: random writes to each, compared after each step with what each ought
//! to have. The processor is the test, which writes where the page tables allow it.

use super::tests::with_memory;
use super::*;
use crate::arch::hosted::{peek, poke};
use crate::arch::paging::{Flags, entry_address, entry_flags};
use crate::mm::frame;
use crate::sched::AddressSpace;
use alloc::vec;
use core::sync::atomic::Ordering;

const START: usize = 0x1234_5678_9000;
const PAGES: usize = 12;

/// A space, and what its pages begin with.
struct Copy {
    space: Space,
    contents: [u8; PAGES],
}

/// xorshift64*
fn below(state: &mut u64, end: usize) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % end
}

/// The page's entry after an access.
fn access(space: &Space, page: usize, wanted: Wanted) -> u64 {
    let addr = START + page * PAGE;
    let allows = |entry: u64| {
        let flags = entry_flags(entry);
        flags.contains(Flags::PRESENT)
            && (wanted != Wanted::Write || flags.contains(Flags::WRITABLE))
    };
    let entry = || {
        let entry = space.tables().entry(addr, true).unwrap();
        entry.load(Ordering::Relaxed)
    };
    if !allows(entry()) {
        space.fault(addr, wanted).unwrap();
    }
    assert!(allows(entry()));
    entry()
}

impl Copy {
    fn first() -> Self {
        let space = Space::new().unwrap();
        space.open(0);
        let prot = Prot::READ | Prot::WRITE;
        let place = Place::Fixed(START);
        let options = Options::default();
        space
            .map(place, PAGES * PAGE, prot, Backing::Anonymous, options)
            .unwrap();
        let contents = [0; PAGES];
        Self { space, contents }
    }

    fn write(&mut self, page: usize, value: u8) {
        let entry = access(&self.space, page, Wanted::Write);
        poke(entry_address(entry), value);
        self.contents[page] = value;
    }

    fn check(&self) {
        for (page, &content) in self.contents.iter().enumerate() {
            let entry = access(&self.space, page, Wanted::Read);
            assert_eq!(peek(entry_address(entry)), content);
        }
    }
}

#[test]
fn copies_diverge() {
    with_memory(|| {
        let free = frame::counts().1;
        for seed in 1..50 {
            let mut random = seed;
            let mut copies = vec![Copy::first()];
            for _ in 0..300 {
                let which = below(&mut random, copies.len());
                let page = below(&mut random, PAGES);
                let is_alone = copies.len() == 1;
                let copy = &mut copies[which];
                match below(&mut random, 10) {
                    0 => {
                        let (space, contents) = (copy.space.copy().unwrap(), copy.contents);
                        copies.push(Copy { space, contents });
                    }
                    1 if !is_alone => drop(copies.swap_remove(which)),
                    2 => {
                        let (at, rest) = (START + page * PAGE, (PAGES - page) * PAGE);
                        copy.space.protect(at, rest, Prot::empty()).unwrap();
                        let prot = Prot::READ | Prot::WRITE;
                        copy.space.protect(at, rest, prot).unwrap();
                    }
                    3 => {
                        let at = START + page * PAGE;
                        copy.space.advise(at, PAGE, Advice::Forget).unwrap();
                        copy.contents[page] = 0;
                    }
                    _ => copy.write(page, u8::try_from(below(&mut random, 256)).unwrap()),
                }
                copies.iter().for_each(Copy::check);
            }
            drop(copies);
            assert_eq!(frame::counts().1, free, "seed {seed}: frames are lost");
        }
    });
}

#[test]
fn a_child_gets_what_was_said() {
    with_memory(|| {
        let mut parent = Copy::first();
        (0..PAGES).for_each(|page| parent.write(page, 7));
        let advise = |page: usize, advice| {
            let at = START + page * PAGE;
            parent.space.advise(at, PAGE, advice).unwrap();
        };
        advise(1, Advice::Fork(false));
        advise(2, Advice::Wipe(true));
        advise(3, Advice::Wipe(true));
        advise(3, Advice::Wipe(false));
        let child = parent.space.copy().unwrap();
        let read = |page| peek(entry_address(access(&child, page, Wanted::Read)));
        assert_eq!([0, 2, 3, 4].map(read), [7, 0, 7, 7]);
        assert_eq!(
            child.fault(START + PAGE, Wanted::Read),
            Err(Fault::NotMapped)
        );
        parent.check();
    });
}
