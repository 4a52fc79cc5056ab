//! Calls of other CPUs, and TLB shootdown.

#[path = "../../src/arch/x86_64/callee.rs"]
mod callee;
#[path = "../../src/arch/x86_64/cross_call.rs"]
mod cross_call;

use super::{Shared, explore};
use crate::primitive::{AtomicUsize, Ordering};
use callee::Callee;
use cross_call::CrossCalls;
use std::cell::RefCell;
use std::sync::Arc;

/// A page, its entry in the page tables, and the frame there, which is used for something else when no CPU knows it any
/// more.
struct Page {
    entry: AtomicUsize,
    frame: Shared<u32>,
}

/// The CPUs, and a page for each that it will unmap.
struct Machine {
    calls: CrossCalls<usize>,
    callees: Vec<Callee>,
    pages: Vec<Page>,
    /// What wakes idle CPUs: interrupts, and at the end that all is over.
    line: loom::sync::Mutex<()>,
    raised: loom::sync::Condvar,
    unfinished: AtomicUsize,
}

/// A CPU and what its TLB holds of each page.
struct Cpu {
    machine: Arc<Machine>,
    id: usize,
    tlb: RefCell<Vec<bool>>,
}

loom::thread_local! {
    static THIS: RefCell<Option<Arc<Cpu>>> = RefCell::new(None);
}

/// An interrupt may come in here.
pub(crate) fn interrupt() {
    let this = THIS.with(|this| this.borrow().clone());
    if let Some(cpu) = this {
        cpu.answer();
    }
}

impl Machine {
    fn new(cpus: usize, pages: usize) -> Arc<Self> {
        let machine = Self {
            calls: CrossCalls::new(),
            callees: (0..cpus).map(|_| Callee::new()).collect(),
            pages: (0..pages)
                .map(|_| Page {
                    entry: AtomicUsize::new(1),
                    frame: Shared::new(0),
                })
                .collect(),
            line: loom::sync::Mutex::new(()),
            raised: loom::sync::Condvar::new(),
            unfinished: AtomicUsize::new(pages),
        };
        machine.calls.make(0, |ask| {
            for callee in &machine.callees {
                ask(callee);
                machine.calls.answer(callee, |_| ());
                callee.outdate();
                callee.leave_idle();
            }
        });
        for page in &machine.pages {
            page.entry.load(Ordering::Relaxed);
        }
        machine.unfinished.load(Ordering::Relaxed);
        Arc::new(machine)
    }
}

impl Cpu {
    fn run<R>(machine: &Arc<Machine>, id: usize, f: impl FnOnce(&Self) -> R) -> R {
        let cpu = Arc::new(Self {
            machine: machine.clone(),
            id,
            tlb: RefCell::new(vec![false; machine.pages.len()]),
        });
        THIS.with(|this| *this.borrow_mut() = Some(cpu.clone()));
        let result = f(&cpu);
        THIS.with(|this| *this.borrow_mut() = None);
        result
    }

    fn start<R: 'static>(
        machine: &Arc<Machine>,
        id: usize,
        f: fn(&Self) -> R,
    ) -> loom::thread::JoinHandle<R> {
        let machine = machine.clone();
        loom::thread::spawn(move || Self::run(&machine, id, f))
    }

    fn callee(&self) -> &Callee {
        &self.machine.callees[self.id]
    }

    fn answer(&self) {
        self.machine.calls.answer(self.callee(), |page: usize| {
            // Up to here the processor may use it, whatever the code does.
            self.use_known(page);
            self.tlb.borrow_mut()[page] = false;
        });
    }

    /// Uses a page, if it is there.
    fn touch(&self, page: usize) {
        if self.machine.pages[page].entry.load(Ordering::Relaxed) != 0 {
            self.tlb.borrow_mut()[page] = true;
        }
        self.use_known(page);
    }

    /// Uses a page that the TLB knows.
    fn use_known(&self, page: usize) {
        if self.tlb.borrow()[page] {
            self.machine.pages[page].frame.get();
        }
    }

    /// Unmaps a page, and uses the frame for something else.
    fn unmap(&self, page: usize) {
        let machine = &self.machine;
        machine.pages[page].entry.store(0, Ordering::Relaxed);
        self.tlb.borrow_mut()[page] = false;
        machine.calls.make(page, |ask| {
            for (id, callee) in machine.callees.iter().enumerate() {
                if id != self.id && callee.outdate() {
                    ask(callee);
                    self.raise();
                }
            }
        });
        machine.pages[page].frame.set(1);
        machine.unfinished.fetch_sub(1, Ordering::AcqRel);
        self.raise();
    }

    fn raise(&self) {
        let _line = self.machine.line.lock().unwrap();
        self.machine.raised.notify_all();
    }

    fn idle(&self) {
        self.callee().enter_idle();
        interrupt();
        if self.callee().leave_idle() {
            self.tlb.borrow_mut().fill(false);
        }
    }

    /// Has nothing more to do but to answer calls.
    fn end(&self) {
        let mut line = self.machine.line.lock().unwrap();
        loop {
            self.answer();
            if self.machine.unfinished.load(Ordering::Acquire) == 0 {
                return;
            }
            line = self.machine.raised.wait(line).unwrap();
        }
    }
}

/// A CPU uses a page, is idle, and uses it again, while others unmap it.
fn come_and_go(cpu: &Cpu) {
    cpu.touch(0);
    interrupt();
    cpu.idle();
    cpu.touch(0);
    cpu.end();
}

#[test]
fn no_busy_cpu_uses_a_frame_that_has_been_unmapped() {
    explore(None, || {
        let machine = Machine::new(2, 1);
        let other = Cpu::start(&machine, 1, |cpu| {
            cpu.touch(0);
            interrupt();
            cpu.touch(0);
            cpu.end();
        });
        Cpu::run(&machine, 0, |cpu| cpu.unmap(0));
        other.join().unwrap();
    });
}

#[test]
fn no_cpu_that_was_idle_uses_a_frame_that_has_been_unmapped() {
    explore(None, || {
        let machine = Machine::new(2, 1);
        let other = Cpu::start(&machine, 1, come_and_go);
        Cpu::run(&machine, 0, |cpu| cpu.unmap(0));
        other.join().unwrap();
    });
}

#[test]
fn two_cpus_are_waited_for() {
    explore(2, || {
        let machine = Machine::new(3, 1);
        let others = [1, 2].map(|id| Cpu::start(&machine, id, come_and_go));
        Cpu::run(&machine, 0, |cpu| cpu.unmap(0));
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn two_cpus_call_each_other() {
    explore(3, || {
        let machine = Machine::new(2, 2);
        let work = |cpu: &Cpu| {
            cpu.touch(1 - cpu.id);
            cpu.unmap(cpu.id);
            cpu.touch(1 - cpu.id);
            cpu.end();
        };
        let other = Cpu::start(&machine, 1, work);
        Cpu::run(&machine, 0, work);
        other.join().unwrap();
    });
}
