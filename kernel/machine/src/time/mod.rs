//! Clocks: monotonic and real time, one-shot timers.

mod clock;
pub(crate) mod timer;

pub(crate) use clock::init;
pub use clock::{Instant, busy_wait, realtime_ns, set_realtime_ns, vdso_data};
pub use timer::{Alarm, Timer};
