//! Resource limits, getrlimit(2). Those on the address space, CPU time, sizes of files, descriptors, processes and
//! signals hold; the others are kept for the program to see.
use crate::fs::descriptor;
use abi::Errno;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as linux;
use machine::mm::space;
use machine::sync::SpinLock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct rlimit`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// What `soft` can be raised to.
    pub hard: u64,
}

/// Number of resources.
const RESOURCES: usize = 16;
const UNLIMITED: u64 = u64::MAX;

/// A limit for each resource, an `RLIMIT_` number.
#[doc(alias = "rlimit")]
pub struct Limits {
    /// Soft limits are read without the lock, and changed under it.
    soft: [AtomicU64; RESOURCES],
    hard: SpinLock<[u64; RESOURCES]>,
}

const fn initial() -> [Limit; RESOURCES] {
    let mut limits = [Limit {
        soft: UNLIMITED,
        hard: UNLIMITED,
    }; RESOURCES];
    limits[linux::RLIMIT_STACK as usize].soft = 8 << 20;
    limits[linux::RLIMIT_CORE as usize].soft = 0;
    limits[linux::RLIMIT_NOFILE as usize] = Limit {
        soft: 1024,
        hard: descriptor::MAX_LIMIT as u64,
    };
    let queue = super::signal::QUEUE_LIMIT as u64;
    limits[linux::RLIMIT_SIGPENDING as usize] = Limit {
        soft: queue,
        hard: queue,
    };
    limits[linux::RLIMIT_MSGQUEUE as usize] = Limit {
        soft: 819_200,
        hard: 819_200,
    };
    limits[linux::RLIMIT_NICE as usize] = Limit { soft: 0, hard: 0 };
    limits[linux::RLIMIT_RTPRIO as usize] = Limit { soft: 0, hard: 0 };
    limits
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            soft: initial().map(|limit| AtomicU64::new(limit.soft)),
            hard: SpinLock::new(initial().map(|limit| limit.hard)),
        }
    }
}

impl Limits {
    /// The same for another process.
    pub(super) fn copy(&self) -> Self {
        Self {
            soft: core::array::from_fn(|resource| AtomicU64::new(self.soft(resource as u32))),
            hard: SpinLock::new(*self.hard.lock()),
        }
    }

    /// What holds now for a resource that there is.
    pub fn soft(&self, resource: u32) -> u64 {
        self.soft[resource as usize].load(Ordering::Relaxed)
    }

    /// Those on the address space.
    pub fn of_space(&self) -> space::Limits {
        space::Limits {
            all: self.soft(linux::RLIMIT_AS) as usize,
            data: self.soft(linux::RLIMIT_DATA) as usize,
        }
    }

    /// How large a file may be made, if that is limited.
    pub fn file_size(&self) -> Option<u64> {
        Some(self.soft(linux::RLIMIT_FSIZE)).filter(|&limit| limit != UNLIMITED)
    }

    /// Descriptors are below this.
    pub fn descriptors(&self) -> usize {
        self.soft(linux::RLIMIT_NOFILE) as usize
    }

    /// Whether so much CPU time, in nanoseconds, is more than may be had.
    pub(super) fn has_used_up(&self, cpu_ns: u64) -> bool {
        self.hard.lock()[linux::RLIMIT_CPU as usize] <= cpu_ns / 1_000_000_000
    }

    /// The limit on `resource`; `EINVAL`.
    pub fn get(&self, resource: u32) -> Result<Limit, Errno> {
        let hard = self.hard.lock();
        let &hard = hard.get(resource as usize).ok_or(Errno::EINVAL)?;
        let soft = self.soft(resource);
        Ok(Limit { soft, hard })
    }

    /// Changes the limit on `resource`; the old one. `EPERM` when the hard limit would rise but may not.
    pub fn set(&self, resource: u32, new: Limit, may_raise: bool) -> Result<Limit, Errno> {
        if new.soft > new.hard {
            return Err(Errno::EINVAL);
        }
        if resource == linux::RLIMIT_NOFILE && new.hard > descriptor::MAX_LIMIT as u64 {
            return Err(Errno::EPERM);
        }
        let mut hard = self.hard.lock();
        let hard = hard.get_mut(resource as usize).ok_or(Errno::EINVAL)?;
        if new.hard > *hard && !may_raise {
            return Err(Errno::EPERM);
        }
        let soft = self.soft[resource as usize].swap(new.soft, Ordering::Relaxed);
        let hard = core::mem::replace(hard, new.hard);
        Ok(Limit { soft, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_limits_rise_with_the_capability_only() {
        let limits = Limits::default();
        let set =
            |soft, hard, may_raise| limits.set(linux::RLIMIT_CPU, Limit { soft, hard }, may_raise);
        assert_eq!(set(11, 10, true), Err(Errno::EINVAL));
        set(5, 10, false).unwrap();
        assert_eq!(limits.soft(linux::RLIMIT_CPU), 5);
        assert_eq!(set(5, 11, false), Err(Errno::EPERM));
        assert_eq!(set(11, 11, true), Ok(Limit { soft: 5, hard: 10 }));
        assert_eq!(limits.get(16), Err(Errno::EINVAL));
    }

    #[test]
    fn descriptors_have_a_limit_that_nobody_passes() {
        let limits = Limits::default();
        let most = descriptor::MAX_LIMIT as u64;
        let new = |hard| Limit { soft: 7, hard };
        let set = |hard| limits.set(linux::RLIMIT_NOFILE, new(hard), true);
        assert_eq!(set(most + 1), Err(Errno::EPERM));
        assert_eq!(limits.descriptors(), 1024);
        assert!(set(most).is_ok());
        assert_eq!(limits.descriptors(), 7);
    }

    #[test]
    fn processes_have_limits_of_their_own() {
        let (one, other) = (Limits::default(), Limits::default());
        let none = Limit { soft: 0, hard: 0 };
        one.set(linux::RLIMIT_FSIZE, none, false).unwrap();
        assert_eq!(other.soft(linux::RLIMIT_FSIZE), UNLIMITED);
    }
}
