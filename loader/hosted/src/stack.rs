//! Where calls of the program are on its stacks, and whether they have been left.
//!
//! A call is over when code further out on the same stack comes in through a gate, or, if it was made on the alternate
//! signal stack, code on the thread's own: handlers run on top of what they interrupt. Nobody knows how stacks of the
//! program's own are related; calls made on them are kept.

use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::sys;

/// `struct sigaltstack`.
#[repr(C)]
#[derive(Default)]
struct AltStack {
    start: usize,
    flags: u32,
    padding: u32,
    size: usize,
}

const SS_DISABLE: u32 = 2;

/// An address on the initial stack, and the thread pointer of the thread that has it.
static INITIAL: AtomicUsize = AtomicUsize::new(0);
static MAIN: AtomicUsize = AtomicUsize::new(0);

/// Tells where the initial stack is, before there is a thread pointer.
pub(crate) fn set_initial(address: usize) {
    INITIAL.store(address, Ordering::Relaxed);
}

/// Tells the main thread's thread pointer.
pub(crate) fn set_main(thread_pointer: usize) {
    MAIN.store(thread_pointer, Ordering::Relaxed);
}

/// Says whether calls of the program by a gate that was entered with the stack pointer at `call` have been left, when it comes
/// in through a gate with its stack pointer at `now`.
pub(crate) fn has_left(call: usize, now: usize) -> bool {
    let alternate = alternate();
    match (alternate.contains(&call), alternate.contains(&now)) {
        (true, true) => now >= call,
        (false, true) => false,
        (true, false) => own().contains(&now),
        // The usual case: it is below.
        (false, false) if now < call => false,
        (false, false) => {
            let own = own();
            own.contains(&call) && own.contains(&now)
        }
    }
}

/// Returns where the calling thread's alternate signal stack is.
fn alternate() -> Range<usize> {
    let mut stack = AltStack::default();
    let at = core::ptr::from_mut(&mut stack).expose_provenance();
    // SAFETY: the kernel fills the structure.
    unsafe { sys::call(sys::SIGALTSTACK, [0, at, 0, 0, 0, 0]) };
    if stack.flags & SS_DISABLE == 0 {
        stack.start..stack.start + stack.size
    } else {
        0..0
    }
}

/// Returns where the stack is that the calling thread was started on: what is mapped around the initial stack, or up to
/// the thread's control block, which glibc puts at the end.
fn own() -> Range<usize> {
    let thread_pointer: usize;
    // SAFETY: the program's threads have control blocks, whose first word is their own address (psABI).
    unsafe {
        core::arch::asm!("mov {}, fs:0", out(reg) thread_pointer, options(nostack, readonly, preserves_flags));
    }
    if thread_pointer == MAIN.load(Ordering::Relaxed) {
        mapping(INITIAL.load(Ordering::Relaxed))
    } else {
        mapping(thread_pointer).start..thread_pointer
    }
}

/// Returns the mapping that an address lies in, by `/proc/self/maps`: lines that begin with `START-END `.
fn mapping(address: usize) -> Range<usize> {
    let name = c"/proc/self/maps".as_ptr().expose_provenance();
    // SAFETY: the kernel reads the name.
    let Ok(descriptor) = (unsafe { sys::result(sys::OPEN, [name, sys::O_CLOEXEC, 0, 0, 0, 0]) })
    else {
        return 0..0;
    };
    let mut found = 0..0;
    let (mut fields, mut field) = ([0; 2], 0);
    let mut buffer = [0u8; 1024];
    let read = |buffer: &mut [u8]| {
        let at = buffer.as_mut_ptr().expose_provenance();
        // SAFETY: the kernel writes into the buffer.
        unsafe { sys::result(sys::READ, [descriptor, at, buffer.len(), 0, 0, 0]) }
    };
    while let Ok(read @ 1..) = read(&mut buffer) {
        for &byte in buffer.get(..read).unwrap_or(&[]) {
            match (byte, fields.get_mut(field)) {
                (b'\n', _) => (fields, field) = ([0; 2], 0),
                (b'-' | b' ', Some(_)) => {
                    field += 1;
                    if field == fields.len() && (fields[0]..fields[1]).contains(&address) {
                        found = fields[0]..fields[1];
                    }
                }
                (digit, Some(number)) => {
                    let digit = char::from(digit).to_digit(16).unwrap_or(0);
                    *number = *number << 4 | digit as usize;
                }
                _ => {}
            }
        }
    }
    // SAFETY: the descriptor was opened above.
    unsafe { sys::call(sys::CLOSE, [descriptor, 0, 0, 0, 0, 0]) };
    found
}
