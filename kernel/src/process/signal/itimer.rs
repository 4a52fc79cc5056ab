//! The real interval timer (`setitimer(ITIMER_REAL)`, `alarm`): SIGALRM after a time, and again after each interval.
//!
//! As in Linux the next interval is armed when the signal is taken: a program that blocks SIGALRM gets one, not a pile.
use super::SigInfo;
use crate::{
    sync::SpinLock,
    time::{Instant, Timer},
};
use linux_raw_sys::general::{SI_KERNEL, SIGALRM};

struct Armed {
    /// Cancels the callback when dropped. Never dropped under the lock: that waits for a running callback.
    _timer: Timer,
    expires: Instant,
    interval_ns: u64,
}

static ARMED: SpinLock<Option<Armed>> = SpinLock::new(None);

/// Time left and interval, in nanoseconds; zeros when it is not armed.
pub fn get() -> (u64, u64) {
    ARMED.lock().as_ref().map_or((0, 0), left)
}

fn left(armed: &Armed) -> (u64, u64) {
    let left = armed.expires.0.saturating_sub(Instant::now().0);
    match (left, armed.interval_ns) {
        (0, 0) => (0, 0),
        // Due but not taken yet: not the 0 that means "not armed".
        (left, interval) => (left.max(1000), interval),
    }
}

/// Arms it to expire in `value_ns` (0: not at all) and then each `interval_ns` (0: only once); what [`get`] said before.
pub fn set(value_ns: u64, interval_ns: u64) -> (u64, u64) {
    let new = (value_ns != 0).then(|| {
        arm(
            Instant(Instant::now().0.saturating_add(value_ns)),
            interval_ns,
        )
    });
    let old = core::mem::replace(&mut *ARMED.lock(), new);
    old.as_ref().map_or((0, 0), left)
}

fn arm(expires: Instant, interval_ns: u64) -> Armed {
    Armed {
        _timer: Timer::arm(expires, expired, 0),
        expires,
        interval_ns,
    }
}

fn expired(_: usize) {
    super::send_process(SIGALRM as i32);
}

/// Called for each signal that is taken: the timer's own starts the next interval.
pub(super) fn taken(info: &SigInfo) {
    if info.signal != SIGALRM as i32 || info.code != SI_KERNEL as i32 {
        return;
    }
    let now = Instant::now().0;
    let due = match &*ARMED.lock() {
        Some(armed) if armed.interval_ns != 0 && armed.expires.0 <= now => {
            (armed.expires, armed.interval_ns)
        }
        _ => return,
    };
    let (expired_at, interval_ns) = due;
    let mut timer = arm(
        Instant(next_expiry(expired_at.0, interval_ns, now)),
        interval_ns,
    );
    // Unless the program has set it anew meanwhile. What is left in `timer` is cancelled after the lock is released.
    if let Some(armed) = &mut *ARMED.lock()
        && armed.expires == expired_at
    {
        core::mem::swap(armed, &mut timer);
    }
}

/// The first expiry after `now`, in steps of `interval` from `last`, which is past.
fn next_expiry(last: u64, interval: u64, now: u64) -> u64 {
    let missed = (now - last) / interval;
    last.saturating_add((missed + 1).saturating_mul(interval))
}

#[cfg(test)]
mod tests {
    use super::next_expiry;

    #[test]
    fn missed_intervals_are_skipped() {
        assert_eq!(next_expiry(100, 10, 100), 110);
        assert_eq!(next_expiry(100, 10, 109), 110);
        assert_eq!(next_expiry(100, 10, 135), 140);
    }
}
