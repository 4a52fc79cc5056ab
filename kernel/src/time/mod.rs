//! Clocks: monotonic and real time, one-shot timers.

mod clock;
pub(crate) mod timer;

pub use clock::{Instant, busy_wait, realtime_ns, set_realtime_ns};
pub(crate) use clock::{entropy, init, vdso_data};
pub use timer::Timer;
