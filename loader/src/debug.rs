//! What debuggers read: `struct r_debug` (found through DT_DEBUG), one for each namespace, and the function they stop at.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicUsize, Ordering};

use goblin::elf::dynamic::DT_DEBUG;

use crate::arch;
use crate::elf::address;
use crate::object::Object;

/// `r_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RState {
    /// The list is whole.
    Consistent = 0,
    /// Objects are being added.
    Add = 1,
    /// Objects are being removed.
    Delete = 2,
}

const R_VERSION: usize = 0;
const R_MAP: usize = 1;
const R_BRK: usize = 2;
const R_STATE: usize = 3;
const R_LDBASE: usize = 4;
/// Of `struct r_debug_extended`, which there is where `r_version` is 2.
const R_NEXT: usize = 5;

/// `struct r_debug_extended`.
type Words = [AtomicUsize; 6];

/// The structure of one namespace: the base namespace's is a variable of `ld.so`'s, the others' are the loader's own.
#[derive(Default)]
pub(crate) struct RDebug {
    own: Option<Box<Words>>,
    at: usize,
}

impl RDebug {
    /// Takes the variable of the mapped `ld.so` for the base namespace's, and enters it into the program's DT_DEBUG.
    pub(crate) fn of_program(main: &Object, rtld: &Object) -> Self {
        let Some(at) = rtld
            .address_of(b"_r_debug")
            .filter(|&at| rtld.is_writable(at, size_of::<Words>()) && at.is_multiple_of(8))
        else {
            return Self::default();
        };
        let debug = Self { own: None, at };
        debug.set(R_VERSION, 1);
        // Not `_dl_debug_state` of `ld.so`: there gdb would rather use the probes it finds in that file, and wait for ever.
        // Nor what the host gives programs for it: gdb stops only where it knows a section, and that has none.
        debug.set(R_BRK, arch::debug_state());
        debug.set(R_LDBASE, rtld.bias());
        if let Some(entry) = main
            .dynamic_entry(address(DT_DEBUG))
            .filter(|&entry| main.is_writable(entry, 16))
        {
            // SAFETY: the entry is in a writable segment: just checked.
            unsafe { *((entry + 8) as *mut usize) = at };
        }
        debug
    }

    /// Makes the structure of a further namespace and puts it behind the base namespace's, unless that is done.
    pub(crate) fn attach(&mut self, base: &Self) {
        if self.at != 0 || base.at == 0 {
            return;
        }
        let own = Box::new(Words::default());
        self.at = core::ptr::from_ref(&*own).expose_provenance();
        self.own = Some(own);
        for word in [R_BRK, R_LDBASE, R_NEXT] {
            self.set(word, base.get(word));
        }
        self.set(R_VERSION, 2);
        base.set(R_VERSION, 2);
        base.set(R_NEXT, self.at);
    }

    /// Takes the structure out of the list again.
    pub(crate) fn detach(&mut self, base: &Self) {
        let mut before = Self {
            own: None,
            at: base.at,
        };
        while before.at != 0 && self.own.is_some() {
            let next = before.get(R_NEXT);
            if next == self.at {
                before.set(R_NEXT, self.get(R_NEXT));
                break;
            }
            before.at = next;
        }
        *self = Self::default();
    }

    /// Says where the list of objects starts.
    pub(crate) fn set_map(&self, first: usize) {
        self.set(R_MAP, first);
    }

    /// Says in what state the list of objects is.
    pub(crate) fn set_state(&self, state: RState) {
        self.set(R_STATE, state as usize);
    }

    /// Returns the address of the function debuggers stop at, an empty one; 0 if there is none.
    pub(crate) fn stop(&self) -> usize {
        self.get(R_BRK)
    }

    fn word(&self, index: usize) -> Option<&AtomicUsize> {
        if self.at == 0 {
            return None;
        }
        // SAFETY: `at` is the address of our own words, of those of another namespace in the list, which leave it before
        // they are freed, or of `ld.so`'s variable, checked when it was taken; ld.so stays.
        unsafe { (*(self.at as *const Words)).get(index) }
    }

    fn get(&self, index: usize) -> usize {
        self.word(index)
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn set(&self, index: usize, value: usize) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Release);
        }
    }
}
