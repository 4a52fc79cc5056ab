//! How much the files of a file system in memory may take.
use abi::Errno;
use core::sync::atomic::{AtomicU64, Ordering};

/// How many pages the files of a file system may take.
#[derive(Debug)]
pub struct Quota {
    limit: AtomicU64,
    used: AtomicU64,
}

impl Quota {
    /// That many, none of which is taken.
    pub fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
        }
    }

    /// Pages that may still be taken.
    pub fn left(&self) -> u64 {
        let limit = self.limit.load(Ordering::Relaxed);
        limit.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// Takes a page; `ENOSPC`.
    pub fn take(&self) -> Result<(), Errno> {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |used: u64| (used < limit).then_some(used + 1);
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map(|_| ())
            .map_err(|_| Errno::ENOSPC)
    }

    /// Gives pages back.
    pub fn give_back(&self, pages: u64) {
        self.used.fetch_sub(pages, Ordering::Relaxed);
    }

    /// The limit in pages.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets another; `EINVAL` if more is taken already.
    pub fn set_limit(&self, pages: u64) -> Result<(), Errno> {
        if pages < self.used.load(Ordering::Relaxed) {
            return Err(Errno::EINVAL);
        }
        self.limit.store(pages, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_kept() {
        let quota = Quota::new(2);
        quota.take().unwrap();
        quota.take().unwrap();
        assert_eq!(quota.take(), Err(Errno::ENOSPC));
        quota.give_back(1);
        assert_eq!(quota.take(), Ok(()));
        assert_eq!(quota.set_limit(1), Err(Errno::EINVAL));
    }
}
