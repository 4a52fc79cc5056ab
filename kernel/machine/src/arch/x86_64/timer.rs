//! This CPU's one-shot timer: the local APIC's, counting down or waiting for a time-stamp.

#[cfg(not(hosted))]
pub(crate) use super::apic::{arm_timer as arm, deadline_mode as takes_deadline};
#[cfg(hosted)]
pub(crate) use super::hosted::{arm, takes_deadline};
