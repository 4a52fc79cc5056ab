//! When connections are looked at, and what becomes of them then.
use super::{
    BUDGET, SECOND, STACK, Stack,
    connection::{Remote, Step},
    earlier, now,
};
use crate::net::interface;
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::drivers::net as driver;

impl Stack {
    /// Has a connection do what there is to do.
    pub(super) fn look_after(&mut self, remote: &Arc<Remote>) {
        let now = now();
        let step = remote.advance(now);
        self.settle(remote, step, now);
    }

    /// Sees what has become of a connection.
    pub(super) fn settle(&mut self, remote: &Arc<Remote>, step: Step, now: u64) {
        let key = remote.key();
        let mut step = step;
        if step.lost_way {
            if let Some(mac) = self.neighbours.find(key.1.ip(), now) {
                step = remote.found(mac, now);
            } else {
                if remote.is_asked_for() && self.neighbours.is_silent(key.1.ip(), now) {
                    remote.give_up(Errno::EHOSTUNREACH);
                    step = remote.advance(now);
                }
                if !self.waiting.iter().any(|one| Arc::ptr_eq(one, remote)) {
                    self.waiting.push(remote.clone());
                }
                step.next = earlier(step.next, Some(now + SECOND));
            }
        }
        if step.over {
            let known = self.connections.get(&key);
            if known.is_some_and(|known| Arc::ptr_eq(known, remote)) {
                self.connections.remove(&key);
                if let Some(remains) = step.remains {
                    self.time_wait.add(key, remains, now);
                    interface::mib().tcp.time_waits.count();
                    self.hurry(now + 60 * SECOND);
                }
            }
            let old = remote.armed.swap(0, Ordering::Relaxed);
            self.timers.remove(&(old, key));
            return;
        }
        // One that comes too early does no harm: it is set anew then.
        let old = remote.armed.load(Ordering::Relaxed);
        let Some(next) = step.next.filter(|&next| old == 0 || next < old) else {
            return;
        };
        self.timers.remove(&(old, key));
        remote.armed.store(next, Ordering::Relaxed);
        self.hurry(next);
        self.timers.insert((next, key), remote.clone());
    }

    /// Has the thread look at timers at a time, if it would later.
    pub(super) fn hurry(&self, next: u64) {
        let first = self.timers.first_key_value();
        if first.is_none_or(|(&(first, _), _)| next < first)
            && let Some(queue) = driver::queue()
        {
            STACK.earlier.store(true, Ordering::Relaxed);
            queue.wake_all();
        }
    }

    /// Looks at what has its time come; when the next comes.
    pub(super) fn serve_timers(&mut self) -> Option<u64> {
        let mut others = earlier(self.requests.serve(now()), self.time_wait.serve(now()));
        others = earlier(others, self.fragments.serve(now()));
        if self.renew(None)
            && let Some(lease) = &self.lease
        {
            others = earlier(others, lease.due(&mut self.interface));
        }
        for _ in 0..BUDGET {
            let Some((&key, _)) = self.timers.first_key_value() else {
                return others;
            };
            if key.0 > now() {
                return earlier(Some(key.0), others);
            }
            let Some(remote) = self.timers.remove(&key) else {
                break;
            };
            remote.armed.store(0, Ordering::Relaxed);
            self.look_after(&remote);
        }
        Some(now())
    }
}
