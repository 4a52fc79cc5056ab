//! Pending signals with what `siginfo_t` says about them.
use crate::process::Pid;
use abi::Errno;
use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicUsize, Ordering};
use linux_raw_sys::general as linux;

/// Signals that queue up and timers that a process has at most, unless it sets another limit (`RLIMIT_SIGPENDING`).
pub(crate) const QUEUE_LIMIT: usize = 4096;

/// How many there are: each timer counts, and each pending signal that queues up and is not a timer's.
#[doc(alias = "ucounts")]
#[derive(Default)]
pub(crate) struct Account(AtomicUsize);

impl Account {
    /// Counts one more; false if `limit` does not allow it.
    pub(super) fn charge(&self, limit: usize) -> bool {
        let more = |count| (count < limit).then_some(count + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Counts `count` less.
    pub(super) fn uncharge(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Signals 1 to 31 are standard ones: pending once, whatever the number sent.
const STANDARD: usize = 31;

/// The bit of a signal in a mask.
pub(crate) const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// A `siginfo_t`; what lies beyond the first 48 bytes is always zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigInfo {
    /// `si_signo`, 1 to 64.
    pub signal: i32,
    /// `si_errno`
    pub errno: i32,
    /// `si_code`
    pub code: i32,
    /// The union, from offset 16 on.
    pub fields: [u64; 4],
}

impl SigInfo {
    /// Size of `siginfo_t`.
    pub const SIZE: usize = 128;

    const NONE: Self = Self {
        signal: 0,
        errno: 0,
        code: 0,
        fields: [0; 4],
    };

    /// A signal sent by a program; `code` is `SI_USER`, `SI_TKILL`, …, `pid` and `uid` the sender's process and real
    /// user id.
    pub fn from_program(signal: i32, code: i32, pid: Pid, uid: u32) -> Self {
        // si_pid in the lower half, si_uid in the upper.
        Self {
            signal,
            code,
            fields: [pid as u64 | u64::from(uid) << 32, 0, 0, 0],
            errno: 0,
        }
    }

    /// Whether another process of the machine than `pid` has sent it.
    pub(super) fn is_from_other(&self, pid: Pid) -> bool {
        let sender = self.fields[0] & u64::from(u32::MAX);
        self.code <= 0 && sender != 0 && sender != u64::from(pid.cast_unsigned())
    }

    /// A signal of the kernel's; `addr` is `si_addr`.
    pub fn from_kernel(signal: i32, code: i32, addr: usize) -> Self {
        Self {
            signal,
            code,
            fields: [addr as u64, 0, 0, 0],
            errno: 0,
        }
    }

    /// As the program sees it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..4].copy_from_slice(&self.signal.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.errno.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_ne_bytes());
        for (to, field) in bytes[16..].chunks_exact_mut(8).zip(self.fields) {
            to.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// The POSIX timer that sent it.
    pub(super) fn timer(&self) -> Option<i32> {
        (self.code == linux::SI_TIMER).then_some(self.fields[0] as i32)
    }

    /// From what the program passes to `rt_sigqueueinfo`, which also names the signal.
    pub fn from_bytes(signal: i32, bytes: &[u8; Self::SIZE]) -> Self {
        let word = |at: usize| i32::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]));
        Self {
            signal,
            errno: word(4),
            code: word(8),
            fields: core::array::from_fn(|field| {
                u64::from_ne_bytes(core::array::from_fn(|i| bytes[16 + field * 8 + i]))
            }),
        }
    }
}

/// Signals sent and not yet taken. What is in a queue is on one account, always the same.
pub(crate) struct Queue {
    /// Mask of what is in it.
    set: u64,
    /// Mask of the valid entries of `standard`.
    standard_set: u64,
    standard: [SigInfo; STANDARD],
    /// Real-time signals, and those of POSIX timers whatever their number, in the order they were sent.
    queued: VecDeque<SigInfo>,
    /// Mask of signals sent by `kill` that there was no room for: they are pending all the same, once and without
    /// information.
    bare: u64,
}

/// How much an entry of the queue counts.
fn weight(info: &SigInfo) -> usize {
    usize::from(info.timer().is_none())
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self {
            set: 0,
            standard_set: 0,
            standard: [SigInfo::NONE; STANDARD],
            queued: VecDeque::new(),
            bare: 0,
        }
    }

    /// Mask of the pending signals.
    pub(crate) fn set(&self) -> u64 {
        self.set
    }

    /// Adds a signal; a standard one that is pending already stays as it is, unless a timer sends it. Allocates for
    /// signals that queue up only; `EAGAIN` when there are `limit` on the account.
    pub(crate) fn push(
        &mut self,
        info: SigInfo,
        account: &Account,
        limit: usize,
    ) -> Result<(), Errno> {
        let place = self
            .standard
            .get_mut((info.signal - 1) as usize)
            .filter(|_| info.timer().is_none());
        if let Some(place) = place {
            if self.standard_set & bit(info.signal) == 0 {
                *place = info;
                self.standard_set |= bit(info.signal);
            }
        } else if self.queued.try_reserve(1).is_ok()
            && (weight(&info) == 0 || account.charge(limit))
        {
            self.queued.push_back(info);
        } else if info.code == linux::SI_USER as i32 {
            self.bare |= bit(info.signal);
        } else {
            return Err(Errno::EAGAIN);
        }
        self.set |= bit(info.signal);
        Ok(())
    }

    /// Adds the signal of an exception, in place of one that was sent.
    pub(crate) fn force(&mut self, info: SigInfo) {
        if let Some(place) = self.standard.get_mut((info.signal - 1) as usize) {
            *place = info;
            self.standard_set |= bit(info.signal);
            self.set |= bit(info.signal);
        }
    }

    /// Takes the lowest of the signals in `wanted`; those of one number in the order they were sent.
    pub(crate) fn pop(&mut self, wanted: u64, account: &Account) -> Option<SigInfo> {
        let ready = self.set & wanted;
        if ready == 0 {
            return None;
        }
        let signal = ready.trailing_zeros() as i32 + 1;
        let info = if self.standard_set & bit(signal) != 0 {
            self.standard_set &= !bit(signal);
            self.standard.get(signal as usize - 1).copied()
        } else {
            let place = self.queued.iter().position(|info| info.signal == signal);
            let info = place.and_then(|place| self.queued.remove(place));
            account.uncharge(info.as_ref().map_or(0, weight));
            info.or_else(|| {
                self.bare &= !bit(signal);
                Some(SigInfo {
                    signal,
                    ..SigInfo::NONE
                })
            })
        };
        self.update(signal);
        info
    }

    /// Sets the bit of `signal` to whether it is pending.
    fn update(&mut self, signal: i32) {
        let pending = (self.standard_set | self.bare) & bit(signal) != 0
            || self.queued.iter().any(|info| info.signal == signal);
        self.set = (self.set & !bit(signal)) | if pending { bit(signal) } else { 0 };
    }

    /// Forgets all signals in `set` but what timers have sent: they go on when their signals are taken, which has no
    /// effect then.
    pub(crate) fn discard(&mut self, set: u64, account: &Account) {
        self.standard_set &= !set;
        self.bare &= !set;
        let before = self.queued.len();
        self.queued
            .retain(|info| bit(info.signal) & set == 0 || info.timer().is_some());
        account.uncharge(before - self.queued.len());
        let mut rest = self.set & set;
        while rest != 0 {
            self.update(rest.trailing_zeros() as i32 + 1);
            rest &= rest - 1;
        }
    }

    /// Forgets everything: its owner ends.
    pub(super) fn clear(&mut self, account: &Account) {
        account.uncharge(self.queued.iter().map(weight).sum());
        *self = Self::new();
    }

    /// Forgets what the POSIX timer `id` has sent, which is `signal`.
    pub(super) fn discard_timer(&mut self, id: i32, signal: i32) {
        self.queued.retain(|info| info.timer() != Some(id));
        self.update(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_signals_coalesce_and_realtime_ones_queue() {
        let (mut queue, account) = (Queue::new(), Account::default());
        for code in [1, 2] {
            for signal in [10, 40] {
                let info = SigInfo::from_program(signal, code, 1, 0);
                queue.push(info, &account, 2).unwrap();
            }
        }
        let codes: alloc::vec::Vec<_> = core::iter::from_fn(|| queue.pop(u64::MAX, &account))
            .map(|info| (info.signal, info.code))
            .collect();
        assert_eq!(codes, [(10, 1), (40, 1), (40, 2)]);
        assert_eq!(queue.set(), 0);
    }

    #[test]
    fn timers_signals_queue_whatever_their_number() {
        let (mut queue, account) = (Queue::new(), Account::default());
        let timer = |id| SigInfo {
            fields: [id, 0, 0, 0],
            ..SigInfo::from_kernel(10, linux::SI_TIMER, 0)
        };
        queue.push(timer(1), &account, 0).unwrap();
        let info = SigInfo::from_program(10, 0, 1, 0);
        queue.push(info, &account, 0).unwrap();
        queue.push(timer(2), &account, 0).unwrap();
        queue.discard_timer(1, 10);
        queue.discard(bit(10), &account);
        assert_eq!(queue.pop(u64::MAX, &account), Some(timer(2)));
        assert_eq!((queue.pop(u64::MAX, &account), queue.set()), (None, 0));
    }

    #[test]
    fn all_queues_of_an_account_have_one_limit() {
        let (mut one, mut other) = (Queue::new(), Queue::new());
        let account = Account::default();
        let queued = |code| SigInfo::from_program(34, code, 1, 0);
        let (killed, sent) = (linux::SI_USER as i32, linux::SI_QUEUE);
        one.push(queued(sent), &account, 2).unwrap();
        other.push(queued(sent), &account, 2).unwrap();
        assert_eq!(one.push(queued(sent), &account, 2), Err(Errno::EAGAIN));
        // One that is not to be lost is pending all the same, without what it says.
        assert_eq!(one.push(queued(killed), &account, 2), Ok(()));
        other.clear(&account);
        assert_eq!((other.set(), other.pop(u64::MAX, &account)), (0, None));
        other.push(queued(sent), &account, 2).unwrap();
        other.discard(u64::MAX, &account);
        assert_eq!(one.pop(u64::MAX, &account), Some(queued(sent)));
        let bare = one.pop(u64::MAX, &account).unwrap();
        assert_eq!((bare.signal, bare.fields), (34, [0; 4]));
        assert_eq!(account.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn siginfo_survives_its_bytes() {
        let info = SigInfo {
            signal: 34,
            errno: 1,
            code: -1,
            fields: [1, 2, 3, 4],
        };
        assert_eq!(SigInfo::from_bytes(34, &info.to_bytes()), info);
    }
}
