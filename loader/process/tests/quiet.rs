//! Binding and looking up allocate nothing: they are done in signal handlers that may have interrupted the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;
use std::os::unix::ffi::OsStrExt;

use loader::{InitOn, Mode};
use loader_process::{LOADER, compile};

/// The system's allocator, which counts.
struct Counting;

thread_local! {
    /// How often this thread has allocated or freed.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: the system's allocator; the counter is a plain word of the thread's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: forwarded to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: forwarded to the caller.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns what `work` gives, and how often the allocator was called for it.
fn counted<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = CALLS.get();
    let result = work();
    (result, CALLS.get() - before)
}

#[test]
fn binding_and_looking_up_allocate_nothing() -> Result<(), Box<dyn Error>> {
    let callee = compile(
        "callee",
        "int plain(void) { return 4; }
         static int first(void) { return 8; }
         static int (*resolve(void))(void) { return first; }
         int chosen(void) __attribute__((ifunc(\"resolve\")));",
    )?;
    let caller = compile(
        "caller",
        "int plain(void), chosen(void);
         int call_plain(void) { return plain(); }
         int call_chosen(void) { return chosen(); }",
    )?;
    let open = |path: &std::path::Path, mode| {
        let handle = LOADER.open(path.as_os_str().as_bytes(), mode, InitOn::Caller)?;
        handle.ok_or("it is loaded").map_err(Box::<dyn Error>::from)
    };
    let callee = open(&callee, Mode::NOW | Mode::GLOBAL)?;
    let caller = open(&caller, Mode::LAZY)?;
    for (name, result) in [("call_plain", 4), ("call_chosen", 8)] {
        let address = LOADER.symbol(caller, name.as_bytes())?;
        // SAFETY: a function of this type, of an object that is loaded.
        let call: extern "C" fn() -> i32 = unsafe { std::mem::transmute(address as *const ()) };
        assert_eq!(counted(|| call()), (result, 0), "{name}, the first time");
    }
    let (found, calls) = counted(|| LOADER.symbol(callee, b"plain"));
    assert_eq!(calls, 0);
    assert!(counted(|| LOADER.unwind_header(found.unwrap_or(0))).1 == 0);
    // An error's text is excepted.
    assert!(counted(|| LOADER.symbol(callee, b"there_is_none").is_err()).1 > 0);
    Ok(())
}
