//! What happened when, for `elfin run --boot-chart`: kept in memory while the machine runs, so that it costs little
//! there, and sent at its end over QEMU's debug console, a line an event (`qemu/src/run/chart/record.rs` reads them).
//!
//! Where nobody asks for it, it is a flag that is off.

use crate::arch::clock::time_stamp;
use crate::arch::serial;
use crate::sched::{self, Tid};
use crate::sync::{Rank, SpinLock};
use crate::time;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

/// Events that are kept; of later ones there is a count.
const MOST: usize = 32 << 10;
/// Of these, so many are kept for phases and objects: a program may make any number of calls.
const RESERVED: usize = 1 << 10;
/// Bytes of their texts.
const MOST_TEXT: usize = 128 << 10;

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of the machine's life begins.
    Phase,
    /// An object has been mapped.
    Object,
    /// A system call.
    Call,
    /// A page has been brought in.
    Fault,
    /// Kernel code was interrupted; where, is in place of the start.
    Kernel,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Object => "object",
            Self::Call => "call",
            Self::Fault => "fault",
            Self::Kernel => "kernel",
        }
    }
}

#[derive(Clone, Copy)]
struct Event {
    kind: Kind,
    thread: Tid,
    /// Time-stamps.
    start: u64,
    end: u64,
    /// The number of a system call; where the text of others ends, which begins where that of the event before ends.
    detail: usize,
}

struct Events {
    events: Vec<Event>,
    texts: Vec<u8>,
    lost: u64,
}

struct Record {
    is_on: AtomicBool,
    events: SpinLock<Events>,
}

static RECORD: Record = Record {
    is_on: AtomicBool::new(false),
    events: SpinLock::ranked(
        Rank::Log,
        Events {
            events: Vec::new(),
            texts: Vec::new(),
            lost: 0,
        },
    ),
};

/// Begins the record. `entered`: the time-stamp at which the kernel was entered.
pub fn begin(entered: u64) {
    let events = Vec::with_capacity(MOST);
    let texts = Vec::with_capacity(MOST_TEXT);
    *RECORD.events.lock() = Events {
        events,
        texts,
        lost: 0,
    };
    RECORD.is_on.store(true, Ordering::Relaxed);
    add(Kind::Phase, 0, entered, 0, b"kernel");
}

/// Kernel code at this address was interrupted.
pub(crate) fn kernel_sample(address: u64) {
    add(Kind::Kernel, sched::current_tid(), address, 0, b"");
}

fn is_on() -> bool {
    RECORD.is_on.load(Ordering::Relaxed)
}

/// Where an event begins that [`call`] or [`fault`] ends; `None` if there is no record.
#[inline]
pub fn start() -> Option<u64> {
    is_on().then(time_stamp)
}

/// A part of the machine's life begins.
pub fn phase(name: &str) {
    if is_on() {
        add(
            Kind::Phase,
            sched::current_tid(),
            time_stamp(),
            0,
            name.as_bytes(),
        );
    }
}

/// An object has been mapped.
pub fn object(path: &[u8]) {
    if is_on() {
        add(Kind::Object, sched::current_tid(), time_stamp(), 0, path);
    }
}

/// A system call is over.
pub fn call(start: u64, number: usize) {
    add(Kind::Call, sched::current_tid(), start, number, b"");
}

/// A page has been brought in.
pub(crate) fn fault(start: u64) {
    add(Kind::Fault, sched::current_tid(), start, 0, b"");
}

/// Adds an event that ends now. It allocates nothing: it may be called anywhere.
fn add(kind: Kind, thread: Tid, start: u64, number: usize, text: &[u8]) {
    let end = time_stamp();
    let mut record = RECORD.events.lock();
    let Events {
        events,
        texts,
        lost,
    } = &mut *record;
    let reserved = match kind {
        Kind::Phase | Kind::Object => 0,
        Kind::Call | Kind::Fault | Kind::Kernel => RESERVED,
    };
    let has_room = events.len() + reserved < events.capacity();
    if !has_room || texts.capacity() - texts.len() < text.len() {
        *lost += 1;
        return;
    }
    texts.extend_from_slice(text);
    events.push(Event {
        kind,
        thread,
        start,
        end,
        detail: match kind {
            Kind::Phase | Kind::Object => texts.len(),
            Kind::Call | Kind::Fault | Kind::Kernel => number,
        },
    });
}

/// Sends the record, if there is one, at the machine's end: the time now, in nanoseconds since the machine began, and
/// how many events are lost; then the events in the order in which they ended, with start and end, thread and kind,
/// and what it is about; then `profile`. `call_name`: the names of system calls.
pub fn send(call_name: impl Fn(usize) -> String, profile: &str) {
    if !RECORD.is_on.swap(false, Ordering::Relaxed) {
        return;
    }
    let now = time::since_reset(time_stamp());
    let record = RECORD.events.lock();
    // Writing to the port does not fail.
    let _ = writeln!(Port, "now {now} lost {}", record.lost);
    let mut text_start = 0;
    for event in &record.events {
        let [start, end] = match event.kind {
            Kind::Kernel => [event.start, event.start],
            _ => [event.start, event.end].map(time::since_reset),
        };
        let (thread, kind) = (event.thread, event.kind.name());
        let _ = write!(Port, "{start} {end} {thread} {kind} ");
        let _ = match event.kind {
            Kind::Call => writeln!(Port, "{}", call_name(event.detail)),
            Kind::Fault | Kind::Kernel => writeln!(Port),
            Kind::Phase | Kind::Object => {
                let text = record.texts.get(text_start..event.detail);
                text_start = event.detail;
                writeln!(Port, "{}", text.unwrap_or(b"").escape_ascii())
            }
        };
    }
    let _ = Port.write_str(profile);
}

/// QEMU's debug console.
struct Port;

impl Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(serial::write_debug);
        Ok(())
    }
}
