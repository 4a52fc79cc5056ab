//! Parking, and the hand-over of threads between run queues.

#[path = "../../src/sched/fair.rs"]
mod fair;
#[path = "../../src/sched/parking.rs"]
mod parking;
#[path = "../../src/sched/place.rs"]
mod place;
#[path = "../../src/sched/ranked.rs"]
mod ranked;
#[path = "../../src/sched/run_queue.rs"]
mod run_queue;

use super::{Shared, explore};
use crate::primitive::{AtomicBool, Ordering};
use parking::Parking;
use place::Place;
pub(crate) use ranked::Level;
use run_queue::{End, RunQueue};
use std::sync::Arc;

/// A thread that has a CPU for itself, as models of what parks threads want it.
#[derive(Debug)]
pub(crate) struct Thread {
    parking: Parking,
    /// Puts it on the CPU.
    is_queued: loom::sync::Mutex<bool>,
    queued: loom::sync::Condvar,
    has_signal: AtomicBool,
}

loom::thread_local! {
    static CURRENT: Arc<Thread> = Thread::new();
}

impl Thread {
    fn new() -> Arc<Self> {
        let thread = Self {
            parking: touched(Parking::new()),
            is_queued: loom::sync::Mutex::new(false),
            queued: loom::sync::Condvar::new(),
            has_signal: AtomicBool::default(),
        };
        Arc::new(thread)
    }

    pub(crate) fn level(&self) -> Level {
        0
    }

    pub(crate) fn unpark(&self) {
        if self.parking.unpark() {
            let mut is_queued = self.is_queued.lock().unwrap();
            assert!(!*is_queued, "queued twice");
            *is_queued = true;
            self.queued.notify_one();
        }
    }

    /// Sends it a signal.
    pub(crate) fn kick(&self) {
        self.has_signal.store(true, Ordering::Release);
        self.unpark();
    }
}

fn touched(parking: Parking) -> Parking {
    parking.unpark();
    parking.end();
    parking
}

pub(crate) fn current() -> Arc<Thread> {
    CURRENT.with(Arc::clone)
}

pub(crate) fn signal_pending() -> bool {
    current().has_signal.load(Ordering::Relaxed)
}

/// Nobody is killed in these models.
pub(crate) fn kill_pending() -> bool {
    false
}

pub(crate) fn park() {
    let thread = current();
    if thread.parking.begin() {
        let mut is_queued = thread.is_queued.lock().unwrap();
        while !*is_queued {
            is_queued = thread.queued.wait(is_queued).unwrap();
        }
        *is_queued = false;
        drop(is_queued);
        thread.parking.end();
    }
}

/// Sleeps until the word says that something has happened, which is looked for as weakly as may be.
fn sleep_until(happened: &AtomicBool) {
    while !happened.load(Ordering::Relaxed) {
        park();
    }
}

fn happen(happened: &AtomicBool, sleeper: &Thread) {
    happened.store(true, Ordering::Relaxed);
    sleeper.unpark();
}

#[test]
fn a_wake_up_is_not_lost() {
    explore(None, || {
        let happened = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        happened
            .iter()
            .for_each(|word| word.store(false, Ordering::Relaxed));
        let sleeper = current();
        let waker = {
            let happened = happened.clone();
            loom::thread::spawn(move || happened.iter().for_each(|word| happen(word, &sleeper)))
        };
        // Two wake-ups, each of which may come before, while and after the thread sleeps for the other.
        happened.iter().rev().for_each(sleep_until);
        waker.join().unwrap();
    });
}

#[test]
fn two_who_wake_a_thread_queue_it_once() {
    explore(3, || {
        let happened = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        happened
            .iter()
            .for_each(|word| word.store(false, Ordering::Relaxed));
        let wakers = [0, 1].map(|index| {
            let (sleeper, happened) = (current(), happened.clone());
            loom::thread::spawn(move || happen(&happened[index], &sleeper))
        });
        happened.iter().for_each(sleep_until);
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// A thread that goes from CPU to CPU.
struct Task {
    parking: Parking,
    place: Place,
    /// How often it has been put on a CPU: on its stack, which one CPU uses at a time.
    stack: Shared<u32>,
}

/// Two CPUs. What they do is `sched/queue.rs` in short.
struct Machine {
    queues: [RunQueue<Task>; 2],
    idle: [AtomicBool; 2],
    told: [AtomicBool; 2],
}

impl Machine {
    fn new() -> Arc<Self> {
        let machine = Self {
            queues: [RunQueue::new(), RunQueue::new()],
            idle: [AtomicBool::new(false), AtomicBool::new(false)],
            told: [AtomicBool::new(false), AtomicBool::new(false)],
        };
        for cpu in 0..2 {
            machine.queues[cpu].take(|_, _| true);
            machine.queues[cpu].top();
            machine.idle[cpu].store(false, Ordering::Relaxed);
            machine.told[cpu].store(false, Ordering::Relaxed);
        }
        Arc::new(machine)
    }

    /// A thread that runs on a CPU.
    fn task_on(&self, cpu: usize) -> Arc<Task> {
        let task = Task {
            parking: touched(Parking::new()),
            place: Place::new(),
            stack: Shared::new(0),
        };
        task.place.enter(cpu);
        Arc::new(task)
    }

    fn push(&self, cpu: usize, task: &Arc<Task>) {
        self.queues[cpu].push(task.clone(), End::Back, 0, |_, _| (0, 0));
    }

    /// Wakes a thread, on CPU 1 if it may choose.
    fn unpark(&self, task: &Arc<Task>) {
        if task.parking.unpark() {
            let target = task.place.bound_to().unwrap_or(1);
            task.place.queue_at(target);
            self.push(target, task);
            self.told[target].store(true, Ordering::SeqCst);
        }
    }

    fn steal(&self, this: usize) -> Option<Arc<Task>> {
        self.queues[1 - this].take(|_, task| !task.place.is_on_cpu())
    }

    /// A CPU puts the next thread on; whether there was one.
    fn run_next(&self, this: usize) -> bool {
        let next = self.queues[this]
            .take(|_, _| true)
            .or_else(|| self.steal(this));
        next.inspect(|next| self.enter(this, next)).is_some()
    }

    fn enter(&self, this: usize, task: &Task) {
        task.place.enter(this);
        task.stack.set(task.stack.get() + 1);
    }

    /// Takes a thread off for good; it may be queued already.
    fn leave(&self, this: usize, task: &Task) {
        task.stack.get();
        task.place.leave();
        self.offer(this);
    }

    /// If somebody waits here, an idle CPU may take it.
    fn offer(&self, this: usize) {
        if self.queues[this].top().is_some() && self.idle[1 - this].load(Ordering::SeqCst) {
            self.told[1 - this].store(true, Ordering::SeqCst);
        }
    }

    /// A CPU without a thread: puts one on, or sleeps.
    fn idle(&self, this: usize) {
        self.idle[this].store(true, Ordering::SeqCst);
        self.run_next(this);
    }

    /// All have done what they do: CPUs that have been told look again. The thread has been put on a CPU once.
    fn end(&self, task: &Task, idle: usize) {
        let busy = 1 - idle;
        if self.told[busy].load(Ordering::SeqCst) {
            self.offer(busy);
        }
        if self.told[idle].load(Ordering::SeqCst) {
            self.run_next(idle);
        }
        assert_eq!(task.stack.get(), 1, "the thread runs");
        assert!(!self.run_next(0), "the thread runs once");
    }
}

/// CPU 0 puts a thread to sleep that another thread wakes, and has something else to do; CPU 1 is idle.
#[test]
fn a_thread_that_is_woken_while_its_stack_is_in_use_goes_on_elsewhere_after_that() {
    explore(None, || {
        let machine = Machine::new();
        let task = machine.task_on(0);
        let waker = {
            let (machine, task) = (machine.clone(), task.clone());
            loom::thread::spawn(move || machine.unpark(&task))
        };
        let idle = {
            let machine = machine.clone();
            loom::thread::spawn(move || machine.idle(1))
        };
        if task.parking.begin() {
            machine.leave(0, &task);
        } else {
            task.stack.set(1);
        }
        waker.join().unwrap();
        idle.join().unwrap();
        machine.end(&task, 1);
    });
}

/// CPU 0 puts a thread to sleep, and has nothing else to do: it finds the thread again if it is woken meanwhile.
#[test]
fn a_thread_that_is_woken_while_it_leaves_is_found_again() {
    explore(3, || {
        let machine = Machine::new();
        let task = machine.task_on(0);
        let waker = {
            let (machine, task) = (machine.clone(), task.clone());
            loom::thread::spawn(move || machine.unpark(&task))
        };
        let other = {
            let machine = machine.clone();
            loom::thread::spawn(move || machine.run_next(1))
        };
        let found = task
            .parking
            .begin()
            .then(|| machine.queues[0].take(|_, _| true));
        match found {
            // It was not to sleep, or its turn comes at once.
            None | Some(Some(_)) => task.stack.set(1),
            Some(None) => {
                machine.leave(0, &task);
                machine.idle(0);
            }
        }
        waker.join().unwrap();
        other.join().unwrap();
        machine.told[1].store(true, Ordering::Relaxed);
        machine.end(&task, 1);
    });
}

/// A thread's turn is over: it is queued before CPU 0 has left it.
#[test]
fn a_thread_that_is_queued_is_taken_after_its_cpu_has_left_it() {
    explore(None, || {
        let machine = Machine::new();
        let task = machine.task_on(0);
        let idle = {
            let machine = machine.clone();
            loom::thread::spawn(move || machine.idle(1))
        };
        machine.push(0, &task);
        machine.leave(0, &task);
        idle.join().unwrap();
        machine.end(&task, 1);
    });
}
