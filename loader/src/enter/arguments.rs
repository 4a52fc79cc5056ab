//! What a gate was called with: from registers to values.

use alloc::boxed::Box;

use crate::c::{Callback, ControlBlock, Out, Untyped};
use crate::namespace::NamespaceId;
use crate::stack::c_bytes;

/// The arguments of a gate.
///
/// Each of the readers here believes what the gate's documentation ([`Gate`](crate::host::Gate)) says of an argument,
/// and must be asked for nothing else. They are for [`serve`](super), which reads each gate's arguments beside its
/// name.
pub(super) struct Arguments([usize; 4]);

impl Arguments {
    /// Takes the arguments of a gate.
    ///
    /// # Safety
    ///
    /// They must be those a program called the gate with.
    pub(super) unsafe fn new(arguments: [usize; 4]) -> Self {
        Self(arguments)
    }

    /// Returns a number, an address that is not followed, or a handle.
    pub(super) fn word(&self, index: usize) -> usize {
        self.0[index]
    }

    /// Returns a namespace, or a session, which need not exist.
    pub(super) fn namespace(&self, index: usize) -> NamespaceId {
        NamespaceId::from_lmid(self.0[index])
    }

    /// Returns a name.
    pub(super) fn name(&self, index: usize) -> &'static [u8] {
        // SAFETY: the program has passed the address of a C string, which stays until the gate has returned.
        unsafe { c_bytes(self.0[index]) }
    }

    /// Returns the name of what is to be opened: a null pointer means the program, as the empty name does.
    pub(super) fn file(&self, index: usize) -> &'static [u8] {
        if self.0[index] == 0 {
            return b"";
        }
        self.name(index)
    }

    /// Returns the names of an array that ends with a null pointer, or none of a null pointer.
    pub(super) fn names(&self, index: usize) -> impl Iterator<Item = &'static [u8]> + use<> {
        let mut at = self.0[index];
        let names = core::iter::from_fn(move || {
            if at == 0 {
                return None;
            }
            // SAFETY: the program has passed the address of such an array, and its end, where this stops, has not come.
            let name = unsafe { *(at as *const usize) };
            at += size_of::<usize>();
            // SAFETY: what is not a null pointer there is the address of a C string.
            (name != 0).then(|| unsafe { c_bytes(name) })
        });
        names.fuse()
    }

    /// Returns a structure of the program's, or an object whose address the loader has put into the program's tables.
    pub(super) fn value<T>(&self, index: usize) -> &'static T {
        // SAFETY: the program has passed the address of a `T`, which stays until the gate has returned.
        unsafe { &*(self.0[index] as *const T) }
    }

    /// Returns a value that the loader has handed to the program to be given back once.
    pub(super) fn owned<T>(self, index: usize) -> Box<T> {
        // SAFETY: it came from `Box::into_raw`, and this is the time that it is given back.
        unsafe { Box::from_raw(self.0[index] as *mut T) }
    }

    /// Returns a place for a result.
    pub(super) fn out<T>(&self, index: usize) -> Out<T> {
        // SAFETY: the program has passed the address of room for a `T`.
        unsafe { Out::new(self.0[index]) }
    }

    /// Returns a place for a result, unless the program has passed a null pointer.
    pub(super) fn out_if_any<T>(&self, index: usize) -> Option<Out<T>> {
        (self.0[index] != 0).then(|| self.out(index))
    }

    /// Returns something of which another argument says what it is.
    pub(super) fn untyped(&self, index: usize) -> Untyped {
        // SAFETY: the program has passed the address of what it asks for.
        unsafe { Untyped::new(self.0[index]) }
    }

    /// Returns a function to be called, and behind it the word that it wants to be called with.
    pub(super) fn callback<T>(&self, index: usize) -> Callback<T> {
        // SAFETY: the program has passed a function of the type that the gate wants.
        unsafe { Callback::new(self.0[index], self.0[index + 1]) }
    }

    /// Returns the control block of a thread to be started, if there is one.
    pub(super) fn control_block(&self, index: usize) -> Option<ControlBlock> {
        // SAFETY: libc has passed the address of one that it has made, or of one on the stack of a thread that has
        // ended.
        (self.0[index] != 0).then(|| unsafe { ControlBlock::new(self.0[index]) })
    }
}
