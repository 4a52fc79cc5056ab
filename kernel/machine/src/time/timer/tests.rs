//! Timers by a clock that these tests set, on CPUs that are threads of the host's.

use super::*;
use crate::arch::hosted::{armed, set_time_stamp};
use crate::arch::percpu::{self, be};
use crate::sched;
use std::sync::{Barrier, Mutex, MutexGuard};
use std::vec::Vec;

/// There is one queue: one test at a time. Begins at time 0, without timers.
fn begin() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    set_time_stamp(0);
    crate::time::init(None);
    QUEUE.lock().timers.clear();
    for cpu in [1, 0] {
        be(cpu);
        cpu::enter_idle();
        set_slice_end(0);
        super::armed().store(0, Ordering::Relaxed);
        timer::arm(0);
    }
    one
}

/// The time has come, and the timer of the CPU that this thread is fires if it is armed for that.
fn pass_to(now: u64) {
    set_time_stamp(now);
    while armed() != 0 && armed() <= now {
        timer::arm(0);
        expire();
        sched::tick(true);
        rearm();
    }
}

/// Notes what rings.
#[derive(Default)]
struct Log(Mutex<Vec<u32>>);

impl Log {
    fn arm(self: &Arc<Self>, at: u64, number: u32) -> Timer {
        Timer::arm(Instant(at), Arc::new(Entry(self.clone(), number)))
    }

    fn take(&self) -> Vec<u32> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Entry(Arc<Log>, u32);

impl Alarm for Entry {
    fn ring(&self) {
        self.0.0.lock().unwrap().push(self.1);
    }
}

#[test]
fn alarms_ring_in_the_order_of_their_times_and_then_of_their_arming() {
    let _one = begin();
    let log = Arc::new(Log::default());
    let times = [30, 10, 20, 10, 31];
    let _timers: Vec<_> = (0..)
        .zip(times)
        .map(|(number, at)| log.arm(at, number))
        .collect();
    assert_eq!(armed(), 10);
    pass_to(9);
    assert_eq!(log.take(), []);
    pass_to(10);
    assert_eq!(log.take(), [1, 3]);
    assert_eq!(armed(), 20);
    pass_to(30);
    assert_eq!(log.take(), [2, 0]);
    assert_eq!(armed(), 31);
    pass_to(1000);
    assert_eq!(log.take(), [4]);
    assert_eq!(armed(), 0);
}

#[test]
fn one_that_is_past_rings_at_once() {
    let _one = begin();
    let log = Arc::new(Log::default());
    set_time_stamp(100);
    let _timer = log.arm(0, 1);
    assert_eq!(armed(), 1);
    pass_to(100);
    assert_eq!(log.take(), [1]);
}

#[test]
fn a_timer_that_is_dropped_does_not_ring() {
    let _one = begin();
    let log = Arc::new(Log::default());
    let (first, _second, third) = (log.arm(10, 1), log.arm(20, 2), log.arm(20, 3));
    drop(first);
    // The hardware is still armed for it.
    pass_to(10);
    assert_eq!(log.take(), []);
    assert_eq!(armed(), 20);
    drop(third);
    pass_to(20);
    assert_eq!(log.take(), [2]);
}

/// Rings a number of times, ten nanoseconds apart; each time it drops its timer, from the alarm, and arms another.
struct Periodic {
    timer: SpinLock<Option<Timer>>,
    left: Mutex<u32>,
}

impl Periodic {
    fn start(left: u32, at: u64) -> Arc<Self> {
        let new = Arc::new(Self {
            timer: SpinLock::new(None),
            left: Mutex::new(left),
        });
        new.arm(at);
        new
    }

    fn arm(self: &Arc<Self>, at: u64) {
        let timer = Timer::arm(Instant(at), Arc::new(Ring(self.clone(), at)));
        drop(self.timer.lock().replace(timer));
    }
}

struct Ring(Arc<Periodic>, u64);

impl Alarm for Ring {
    fn ring(&self) {
        // Waits for no alarm that runs on another CPU, least of all for this one.
        drop(self.0.timer.lock().take());
        let mut left = self.0.left.lock().unwrap();
        *left -= 1;
        if *left != 0 {
            self.0.arm(self.1 + 10);
        }
    }
}

#[test]
fn an_alarm_drops_its_own_timer_and_arms_the_next() {
    let _one = begin();
    let periodic = Periodic::start(5, 10);
    pass_to(10);
    assert_eq!((*periodic.left.lock().unwrap(), armed()), (4, 20));
    // Two at once: the second is armed while the first rings.
    pass_to(30);
    assert_eq!((*periodic.left.lock().unwrap(), armed()), (2, 40));
    pass_to(50);
    assert_eq!((*periodic.left.lock().unwrap(), armed()), (0, 0));
    assert!(periodic.timer.lock().is_none());
}

#[test]
fn the_hardware_waits_for_what_is_first_a_timer_or_the_end_of_the_slice() {
    let _one = begin();
    let log = Arc::new(Log::default());
    let _timer = log.arm(20, 1);
    let resched = &percpu::this().need_resched;
    assert!(set_slice_end(15));
    rearm();
    assert!(!set_slice_end(15));
    assert_eq!(armed(), 15);
    pass_to(14);
    assert!(!resched.load(Ordering::Relaxed));
    pass_to(15);
    assert!(resched.swap(false, Ordering::Relaxed));
    assert_eq!((log.take(), armed()), ([].into(), 20));
    set_slice_end(25);
    rearm();
    assert_eq!(armed(), 20);
    pass_to(20);
    assert!(!resched.load(Ordering::Relaxed));
    assert_eq!((log.take(), armed()), ([1].into(), 25));
    // The thread leaves the CPU before its slice is over, and the next one's ends later.
    assert!(!set_slice_end(0));
    assert!(!set_slice_end(30));
    assert_eq!(armed(), 25);
    pass_to(25);
    assert!(!resched.load(Ordering::Relaxed));
    assert_eq!(armed(), 30);
}

#[test]
fn a_busy_cpu_is_interrupted_once_a_tick_and_an_idle_one_is_not() {
    let _one = begin();
    let log = Arc::new(Log::default());
    let _timer = log.arm(2 * TICK + 1, 1);
    cpu::leave_idle();
    assert!(!ticks_from(0));
    rearm();
    assert_eq!(armed(), TICK);
    assert!(ticks_from(1));
    pass_to(TICK);
    assert_eq!(armed(), 2 * TICK);
    cpu::enter_idle();
    pass_to(2 * TICK);
    assert_eq!((log.take(), armed()), ([].into(), 2 * TICK + 1));
    pass_to(2 * TICK + 1);
    assert_eq!((log.take(), armed()), ([1].into(), 0));
}

#[test]
fn each_cpu_has_slices_of_its_own_and_one_that_inserts_the_first_timer_sees_to_it() {
    let _one = begin();
    let log = Arc::new(Log::default());
    let _later = log.arm(30, 1);
    set_slice_end(40);
    be(1);
    assert_eq!(slice_end().load(Ordering::Relaxed), 0);
    let _first = log.arm(10, 2);
    assert_eq!(armed(), 10);
    pass_to(10);
    assert_eq!((log.take(), armed()), ([2].into(), 30));
    // Both are armed for the same: it rings once.
    pass_to(30);
    be(0);
    assert_eq!(armed(), 30);
    pass_to(30);
    assert_eq!((log.take(), armed()), ([1].into(), 40));
}

/// Tells that it rings, and is done some time later.
struct Slow {
    ringing: Barrier,
    done: Mutex<bool>,
}

impl Alarm for Slow {
    fn ring(&self) {
        let mut done = self.done.lock().unwrap();
        self.ringing.wait();
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        *done = true;
    }
}

#[test]
fn who_drops_a_timer_that_rings_on_another_cpu_waits_for_the_end() {
    let _one = begin();
    let slow = Arc::new(Slow {
        ringing: Barrier::new(2),
        done: Mutex::new(false),
    });
    let timer = Timer::arm(Instant(10), slow.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            be(1);
            rearm();
            pass_to(10);
        });
        slow.ringing.wait();
        drop(timer);
        let done = slow.done.try_lock();
        assert!(*done.expect("the alarm still rings"));
    });
    // Nor does the queue keep it.
    assert_eq!(Arc::strong_count(&slow), 1);
}
