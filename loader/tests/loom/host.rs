//! The part of the loader's host that locks use: a futex.

use crate::primitive::{AtomicU32, Ordering};

pub(crate) trait Host: Sync {
    fn wait(&self, word: &AtomicU32, value: u32);
    fn wait_with_handlers(&self, word: &AtomicU32, value: u32) {
        self.wait(word, value);
    }
    fn wake(&self, word: &AtomicU32);
}

/// A kernel with one queue.
pub(crate) struct Futex {
    queue: loom::sync::Mutex<()>,
    woken: loom::sync::Condvar,
}

impl Futex {
    pub(crate) fn leak() -> &'static Self {
        Box::leak(Box::new(Self {
            queue: loom::sync::Mutex::new(()),
            woken: loom::sync::Condvar::new(),
        }))
    }
}

impl Host for Futex {
    fn wait(&self, word: &AtomicU32, value: u32) {
        let queue = self.queue.lock().unwrap();
        if word.load(Ordering::Acquire) == value {
            drop(self.woken.wait(queue).unwrap());
        }
    }

    fn wake(&self, _word: &AtomicU32) {
        let _queue = self.queue.lock().unwrap();
        self.woken.notify_all();
    }
}
