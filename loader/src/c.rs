//! What a program hands over by address: places to write to, functions to call.
//!
//! Whoever makes such a value vouches for the address, once; whoever has one may use it. They are made of the arguments
//! of gates, in `enter/arguments.rs`. This is C: a program that lies crashes, as it does with any C library.

use core::marker::PhantomData;

use crate::host::Host;
use crate::signals;

/// A place for a value.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Makes one of an address.
    ///
    /// # Safety
    ///
    /// A `T` can be written there while this is used.
    pub(crate) unsafe fn new(address: usize) -> Self {
        Self(address as *mut T)
    }

    /// Writes the value.
    pub(crate) fn put(self, value: T) {
        // SAFETY: what `new` was promised.
        unsafe { *self.0 = value };
    }
}

/// Something of which another argument says what it is.
pub(crate) struct Untyped(usize);

impl Untyped {
    /// Makes one of an address.
    ///
    /// # Safety
    ///
    /// There is what the other argument says, while this is used.
    pub(crate) unsafe fn new(address: usize) -> Self {
        Self(address)
    }

    /// Returns the address.
    pub(crate) fn address(&self) -> usize {
        self.0
    }

    /// Returns it as a place for a value.
    ///
    /// # Safety
    ///
    /// The other argument must say that it is one, of this type.
    pub(crate) unsafe fn out<T>(&self) -> Out<T> {
        // SAFETY: there is what the other argument says, and that is a place for a `T`, says the caller.
        unsafe { Out::new(self.0) }
    }
}

/// The control block of a thread to be started: libc has made it, sized by what it was told of static TLS.
pub(crate) struct ControlBlock(usize);

impl ControlBlock {
    /// Makes one of an address.
    ///
    /// # Safety
    ///
    /// It is that of a control block with the static TLS area below it, which no thread uses yet.
    pub(crate) unsafe fn new(address: usize) -> Self {
        Self(address)
    }

    /// Returns the address: the thread pointer.
    pub(crate) fn address(&self) -> usize {
        self.0
    }
}

/// A function that the program wants to be called with a `T`, if that is not `()`, and with a word of its own.
pub(crate) struct Callback<T> {
    function: usize,
    data: usize,
    takes: PhantomData<fn(&T)>,
}

impl<T> Clone for Callback<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Callback<T> {}

impl<T> Callback<T> {
    /// Makes one of the function's address and the word.
    ///
    /// # Safety
    ///
    /// The function must be one that takes this word: alone for `()`, else after the address of a `T`, or after that
    /// and its size if that is how the gate calls it.
    pub(crate) unsafe fn new(function: usize, data: usize) -> Self {
        Self {
            function,
            data,
            takes: PhantomData,
        }
    }

    /// Returns the function's address.
    pub(crate) fn function(self) -> usize {
        self.function
    }

    /// Calls it with a value.
    pub(crate) fn visit(self, host: &dyn Host, value: &T) -> usize {
        let value = core::ptr::from_ref(value).expose_provenance();
        // SAFETY: what `new` was promised.
        unsafe { signals::call(host, self.function, [value, self.data, 0, 0]) }
    }

    /// Calls it with a value and its size.
    pub(crate) fn visit_sized(self, host: &dyn Host, value: &T) -> usize {
        let value = core::ptr::from_ref(value).expose_provenance();
        // SAFETY: what `new` was promised.
        unsafe { signals::call(host, self.function, [value, size_of::<T>(), self.data, 0]) }
    }
}

impl Callback<()> {
    /// Calls it.
    pub(crate) fn run(self, host: &dyn Host) {
        // SAFETY: what `new` was promised.
        unsafe { signals::call(host, self.function, [self.data, 0, 0, 0]) };
    }
}
