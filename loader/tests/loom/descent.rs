//! Descent and visibility: who belongs to a family while threads start and end.

use super::*;
use crate::sync::Mutex;
use crate::thread::Family;

/// Threads that start others, and end, while a thread that descends from them looks at its ancestors.
struct Threads {
    host: &'static Futex,
    lineage: Mutex<Lineage>,
    founder: Arc<ThreadProxy>,
    family: Family,
    /// A child of the founder's, from before the family if it is an outsider; and that one's child, which looks.
    child: Arc<ThreadProxy>,
    looking: Arc<ThreadProxy>,
}

impl Threads {
    fn new(outsiders: bool) -> Arc<Self> {
        let mut lineage = lineage();
        let founder = ThreadProxy::root();
        let mut family = founder.begin_family();
        let child = child_of(&mut lineage, &founder);
        if outsiders {
            family = founder.begin_family();
        }
        let looking = child_of(&mut lineage, &child);
        let host = Futex::leak();
        let lineage = Mutex::new(lineage);
        drop(lineage.lock(host));
        Arc::new(Self {
            host,
            lineage,
            founder,
            family,
            child,
            looking,
        })
    }

    fn end(&self, thread: &Arc<ThreadProxy>) {
        self.lineage.lock(self.host).end(thread);
    }

    fn start_from(&self, thread: &Arc<ThreadProxy>) -> Arc<ThreadProxy> {
        child_of(&mut self.lineage.lock(self.host), thread)
    }
}

/// Looks, by so many threads, while `others` go on.
fn race(outsiders: bool, lookers: usize, others: fn(&Threads)) {
    explore(5 - lookers, move || {
        let threads = Threads::new(outsiders);
        let look = |_| {
            let threads = threads.clone();
            loom::thread::spawn(move || {
                assert_ne!(threads.looking.belongs_to(threads.family), outsiders);
            })
        };
        let looking: Vec<_> = (0..lookers).map(look).collect();
        others(&threads);
        for looking in looking {
            looking.join().unwrap();
        }
        assert_ne!(threads.looking.belongs_to(threads.family), outsiders);
    });
}

/// The line gets shorter by the child, and what has been taken out is freed if nobody looks at it.
fn shorten(threads: &Threads) {
    threads.end(&threads.child);
    threads.start_from(&threads.looking);
}

#[test]
fn a_line_is_shortened_while_it_is_followed() {
    race(false, 1, shorten);
}

#[test]
fn an_outsider_stays_one_when_its_line_is_shortened() {
    race(true, 1, shorten);
}

#[test]
fn two_follow_a_line_that_is_shortened() {
    race(false, 2, shorten);
}

#[test]
fn what_is_taken_out_is_freed_after_who_looks() {
    explore(4, || {
        let mut lineage = lineage();
        let founder = ThreadProxy::root();
        let family = founder.begin_family();
        let mut line = vec![child_of(&mut lineage, &founder)];
        for at in 0..2 {
            line.push(child_of(&mut lineage, &line[at]));
        }
        let looking = line.pop().unwrap();
        let other = {
            let looking = looking.clone();
            loom::thread::spawn(move || assert!(looking.belongs_to(family)))
        };
        for thread in line {
            lineage.end(&thread);
        }
        child_of(&mut lineage, &looking);
        other.join().unwrap();
        lineage.end(&looking);
        assert_eq!(lineage.waiting(), 1);
    });
}

#[test]
fn threads_start_and_end_at_once() {
    race(false, 1, |threads| {
        let child = threads.start_from(&threads.founder);
        threads.end(&child);
        threads.end(&threads.child);
        threads.start_from(&threads.looking);
    });
}
