//! Clocks: monotonic and real time, one-shot timers.

mod clock;
pub(crate) mod timer;

pub use clock::{Instant, busy_wait, realtime_ns, set_realtime_ns, vdso_data};
pub(crate) use clock::{init, since_reset};
pub use timer::{Alarm, Timer, sample_every};
