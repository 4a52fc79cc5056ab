//! Whether this CPU takes interrupts (the IF flag).

#[cfg(not(hosted))]
pub use x86_64::instructions::interrupts::{
    are_enabled, disable, enable, enable_and_hlt as enable_and_wait, without_interrupts as without,
};

/// Waits for an interrupt; for ever if they are off.
pub fn wait() {
    x86_64::instructions::hlt();
}

#[cfg(hosted)]
pub use hosted::*;

/// On the build host, where unit tests run, interrupts are the host's business.
#[cfg(hosted)]
#[expect(missing_docs, reason = "as above")]
mod hosted {
    pub fn are_enabled() -> bool {
        false
    }
    pub fn disable() {}
    pub fn enable() {}
    pub fn enable_and_wait() {}
    pub fn without<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
}
