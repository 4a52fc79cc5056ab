//! `dlerror`: what has failed last in a thread.

use alloc::ffi::CString;
use alloc::format;
use alloc::vec::Vec;

use crate::error::Error;
use crate::signals;
use crate::threads::Threads;
use crate::tls;

impl Threads {
    /// Keeps an error for `dlerror`, and returns the null pointer for it.
    pub(super) fn report(&self, result: Result<usize, Error>) -> usize {
        result.unwrap_or_else(|error| {
            self.set_error(error);
            0
        })
    }

    /// Gives the null pointer for an error that nobody asks about.
    pub(super) fn or_nothing(&self, result: Result<usize, Error>) -> usize {
        result.unwrap_or_else(|error| {
            signals::undisturbed(self.host(), || drop(error));
            0
        })
    }

    /// Keeps an error for `dlerror`.
    pub(crate) fn set_error(&self, error: Error) {
        signals::undisturbed(self.host(), || self.keep_error(error));
    }

    fn keep_error(&self, error: Error) {
        let Some(record) = tls::current(self.host().thread_pointer()) else {
            return;
        };
        let text = format!("{error}").into_bytes();
        let text: Vec<u8> = text.into_iter().filter(|&byte| byte != 0).collect();
        // SAFETY: only the thread itself touches its own error, and it is in here.
        let last = unsafe { &mut *record.error.get() };
        last.pending = CString::new(text).ok();
    }

    /// Each function that sets an error forgets the one before, also when it succeeds.
    pub(super) fn forget_error(&self) {
        if let Some(record) = tls::current(self.host().thread_pointer()) {
            // SAFETY: only the thread itself touches its own error, and it is in here.
            unsafe { (*record.error.get()).pending = None };
        }
    }

    /// `dlerror`: the text lives until the next call.
    pub(super) fn last_error(&self) -> usize {
        let Some(record) = tls::current(self.host().thread_pointer()) else {
            return 0;
        };
        // SAFETY: only the thread itself touches its own error, and it is in here.
        let last = unsafe { &mut *record.error.get() };
        last.shown = last.pending.take();
        last.shown
            .as_ref()
            .map_or(0, |text| text.as_ptr().expose_provenance())
    }
}
