//! `futex_waitv`: sleeping on several words at once.
use super::{Sleeper, Word};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use machine::{
    sync::{Signals, WaitError, Waiter},
    time::Instant,
};

/// A word to sleep on while it has a value.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// The word.
    pub word: Word,
    /// The value.
    pub value: u32,
}

/// Sleeps while all words have their values, until a wake-up on one of them; the index of one that was woken. `EAGAIN`
/// when one has another value.
pub fn wait_any(words: &[Watched], deadline: Option<Instant>) -> Result<usize, Errno> {
    let waiter = Waiter::new();
    let mut sleepers: Vec<Arc<Sleeper>> = Vec::with_capacity(words.len());
    for Watched { word, value } in words {
        let sleeper = Sleeper::new(Arc::clone(&waiter), word.key, u32::MAX, None);
        if let Err(error) = sleeper.enter(*word, *value) {
            return leave_all(&sleepers).ok_or(error);
        }
        sleepers.push(sleeper);
    }
    loop {
        let result = waiter.wait(deadline, Signals::Interrupt);
        let error = match result {
            Ok(()) if !sleepers.iter().any(|sleeper| sleeper.is_woken()) => continue,
            // Not seen by anybody: one of them is woken.
            Ok(()) => Errno::EAGAIN,
            Err(WaitError::TimedOut) => Errno::ETIMEDOUT,
            Err(WaitError::Interrupted) => Errno::ERESTARTSYS,
        };
        return leave_all(&sleepers).ok_or(error);
    }
}

/// Takes all out of their buckets; the last one that had been woken already.
fn leave_all(sleepers: &[Arc<Sleeper>]) -> Option<usize> {
    let mut woken = None;
    for (index, sleeper) in sleepers.iter().enumerate() {
        if !sleeper.leave() {
            woken = Some(index);
        }
    }
    woken
}
