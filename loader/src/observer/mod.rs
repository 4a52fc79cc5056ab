//! What the loader does, told step by step to whoever watches: LD_DEBUG and its statistics.
//!
//! The loader [tells](tell) what it does, in names and numbers, and does not know what becomes of it. Lazy binding does
//! so, too, and may happen in a signal handler: nothing here allocates or locks. A step that nobody watches costs the
//! read of one word.

mod category;
mod ld_debug;
mod lines;
mod statistics;
mod step;
mod times;

pub(crate) use self::category::{Category, HelpText, binds_now, is_on, is_watched, switch_on};
pub use self::lines::write_debug;
pub(crate) use self::step::Step;
pub(crate) use self::times::Times;
use crate::host::Host;

/// Tells a step to whoever watches.
#[inline(always)]
pub(crate) fn tell(host: &dyn Host, step: &Step<'_>) {
    if category::is_any_on(step.categories()) {
        show(host, step);
    }
}

#[cold]
fn show(host: &dyn Host, step: &Step<'_>) {
    statistics::count(host, step);
    ld_debug::show(host, step);
}
