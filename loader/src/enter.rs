//! The gates: from C's arguments to Rust's and back.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use goblin::elf::program_header as pt;

use crate::address::DlFindObject;
use crate::dl::Opening;
use crate::elf::address;
use crate::error::Error;
use crate::hold::{Destructor, Hold};
use crate::host::{Errno, Gate};
use crate::loader::Loader;
use crate::namespace::{BASE, NamespaceId};
use crate::registry::CodeId;
use crate::signals;
use crate::stack::c_bytes;
use crate::thread::ThreadId;
use crate::tls::{self, TlsIndex};
use crate::world::READERS;

const FAILURE: usize = usize::MAX;

/// What libc opens for backtraces and for the end of threads, also in handlers of crashes within `malloc`. Its INIT functions
/// ask the CPU what it is, and do nothing else.
const LIBGCC: &[u8] = b"libgcc_s.so.1";

/// A destructor of a thread-local object, on its way through libc's list.
struct ThreadExit {
    function: usize,
    argument: usize,
    object: Option<Destructor>,
}

impl Loader {
    /// Does what a gate is for. The host's gates end here. `frame` is where the gate has saved its caller's `%rbp` on the
    /// program's stack, right below its return address, with the other registers as the caller had them; 0 if it has not.
    ///
    /// # Safety
    ///
    /// The arguments must be those a program called the gate with.
    pub unsafe fn enter(&self, gate: Gate, arguments: [usize; 4], frame: usize) -> usize {
        // SAFETY: forwarded to the caller.
        let serve = || unsafe { self.serve(gate, arguments) };
        // SAFETY: forwarded to the caller; no lock is held yet.
        let prepared = || unsafe { self.with_interrupted_finished(frame, serve) };
        let result = match gate {
            // These neither lock nor allocate, or see to it themselves where they must: when something is missing.
            Gate::Bind
            | Gate::TlsGetAddr
            | Gate::FindDsoForObject
            | Gate::IteratePhdr
            | Gate::FindObject
            | Gate::Dlsym
            | Gate::LibcDlsym
            | Gate::Dlvsym
            | Gate::LibcDlvsym
            | Gate::Dladdr
            | Gate::Dladdr1
            | Gate::ReadonlyArea
            | Gate::CodeFind
            | Gate::CodeCount => serve(),
            // SAFETY: the argument is a name.
            Gate::LibcDlopen if unsafe { name_at(arguments[0]) } == LIBGCC => {
                signals::undisturbed(self.host(), serve)
            }
            // These run INIT and FINI functions.
            Gate::Dlopen
            | Gate::Dlmopen
            | Gate::Dlclose
            | Gate::LibcDlopen
            | Gate::LibcDlclose
            | Gate::SessionOpen
            | Gate::SessionLoad
            | Gate::SessionClose => signals::undisturbed(self.host(), prepared),
            _ => signals::undisturbed(self.host(), serve),
        };
        if READERS.are_waited_for() || self.registry().has_leftovers() {
            // This may have been the last reader of what has been closed since.
            signals::undisturbed(self.host(), || self.reclaim());
        }
        result
    }

    /// # Safety
    ///
    /// As [`enter`](Self::enter).
    unsafe fn serve(&self, gate: Gate, arguments: [usize; 4]) -> usize {
        let [a, b, c, d] = arguments;
        if matches!(
            gate,
            Gate::Dlopen
                | Gate::Dlmopen
                | Gate::Dlclose
                | Gate::Dlsym
                | Gate::Dlvsym
                | Gate::Dlinfo
        ) {
            self.forget_error();
        }
        // SAFETY: in every arm below: the arguments are what a program passes for this function, so pointers are to
        // what its documentation says. This is the C ABI: a program that lies crashes, as with any C library.
        unsafe {
            match gate {
                Gate::Bind => self.bind(a, b),
                Gate::TlsGetAddr => self.tls_address(&*(a as *const TlsIndex)),
                Gate::AllocateTls => {
                    self.before_first_thread();
                    self.allocate_tls(a)
                }
                Gate::AllocateTlsInit => self.allocate_tls(a),
                Gate::DeallocateTls => self.deallocate_tls(a),
                Gate::FindDsoForObject => self.link_map_at(a),
                Gate::IteratePhdr => self.iterate_phdr(a, b, c),
                Gate::FindObject => match self.find_object(a) {
                    Some(found) => {
                        *(b as *mut DlFindObject) = found;
                        0
                    }
                    None => FAILURE,
                },
                Gate::ThreadAtexit => self.thread_atexit_register(a, b, c),
                Gate::ThreadAtexitRun => self.thread_atexit_run(a),
                Gate::Dlopen => self.report(self.open_object(&Opening::new(name_at(a), b, c))),
                Gate::LibcDlopen => {
                    // Helpers of the one C library there is: they belong to the base namespace.
                    // Its own flag says that this is no program's call.
                    let opening = Opening::new(name_at(a), b & !0x8000_0000, 0);
                    let opening = opening.in_namespace(BASE.lmid());
                    self.open_object(&opening).unwrap_or(0)
                }
                Gate::Dlmopen => {
                    let opening = Opening::new(name_at(b), c, d).in_namespace(a);
                    self.report(self.open_object(&opening))
                }
                Gate::Dlclose => match self.dlclose(a) {
                    Ok(()) => 0,
                    Err(error) => {
                        self.set_error(error);
                        FAILURE
                    }
                },
                Gate::LibcDlclose => self.dlclose(a).map_or(FAILURE, |()| 0),
                Gate::Dlsym => self.report(self.dlsym(a, c_bytes(b), None, c)),
                Gate::LibcDlsym => self.or_nothing(self.dlsym(a, c_bytes(b), None, 0)),
                Gate::Dlvsym => self.report(self.dlsym(a, c_bytes(b), Some(c_bytes(c)), d)),
                Gate::LibcDlvsym => self.or_nothing(self.dlsym(a, c_bytes(b), Some(c_bytes(c)), 0)),
                Gate::Dlerror => self.last_error(),
                Gate::Dladdr => self.dladdr_into(a, b, 0, 0),
                Gate::Dladdr1 => self.dladdr_into(a, b, c, d),
                Gate::Dlinfo => self.dlinfo(a, b, c),
                Gate::ReadonlyArea => self.readonly_area(a, b),
                Gate::Worker => {
                    self.work(a);
                    0
                }
                Gate::CodeRegister => status(self.code_register(a, b)),
                Gate::CodeUnregister => {
                    status(self.registry().unregister(self.host(), a as CodeId))
                }
                Gate::CodeFind => status(self.code_find(a, b)),
                Gate::CodeCount => self.registry().code_count(),
                Gate::CodeThreadEnd => {
                    self.registry().remove_thread(self.host(), a as ThreadId);
                    0
                }
                Gate::SessionOpen => self.c_session_open(a, b),
                Gate::SessionLoad => self.report(self.c_session_load(a, name_at(b), c)),
                Gate::SessionSymbol => {
                    self.report(self.session_symbol(NamespaceId::from_lmid(a), c_bytes(b)))
                }
                Gate::SessionDuplicates => self.c_session_duplicates(a, b, c),
                Gate::SessionBind => {
                    self.status(self.bind_thread(NamespaceId::from_lmid(a)).map(drop))
                }
                Gate::SessionClose => self.status(self.close_session(NamespaceId::from_lmid(a))),
                Gate::Symbols => self.c_symbols(a, b, c, d),
                Gate::IterateNamespace => self.iterate_namespace(NamespaceId::from_lmid(a), b, c),
                Gate::Fini => {
                    self.fini();
                    0
                }
            }
        }
    }

    /// Keeps an error for `dlerror`, and returns the null pointer for it.
    fn report(&self, result: Result<usize, Error>) -> usize {
        result.unwrap_or_else(|error| {
            self.set_error(error);
            0
        })
    }

    /// Gives the null pointer for an error that nobody asks about.
    fn or_nothing(&self, result: Result<usize, Error>) -> usize {
        result.unwrap_or_else(|error| {
            signals::undisturbed(self.host(), || drop(error));
            0
        })
    }

    pub(crate) fn set_error(&self, error: Error) {
        signals::undisturbed(self.host(), || self.keep_error(error));
    }

    fn keep_error(&self, error: Error) {
        let Some(record) = tls::current(self.host().thread_pointer()) else {
            return;
        };
        let text = format!("{error}").into_bytes();
        let text: Vec<u8> = text.into_iter().filter(|&byte| byte != 0).collect();
        // SAFETY: only the thread itself touches its own error, and it is in here.
        let last = unsafe { &mut *record.error.get() };
        last.pending = CString::new(text).ok();
    }

    /// Each function that sets an error forgets the one before, also when it succeeds.
    fn forget_error(&self) {
        if let Some(record) = tls::current(self.host().thread_pointer()) {
            // SAFETY: only the thread itself touches its own error, and it is in here.
            unsafe { (*record.error.get()).pending = None };
        }
    }

    /// `dlerror`: the text lives until the next call.
    fn last_error(&self) -> usize {
        let Some(record) = tls::current(self.host().thread_pointer()) else {
            return 0;
        };
        // SAFETY: only the thread itself touches its own error, and it is in here.
        let last = unsafe { &mut *record.error.get() };
        last.shown = last.pending.take();
        last.shown
            .as_ref()
            .map_or(0, |text| text.as_ptr().expose_provenance())
    }

    /// `_dl_allocate_tls(mem)` and `_dl_allocate_tls_init(mem, …)`: a thread is about to be started, on a new stack or
    /// on one that a thread which has ended left behind. The caller is its parent.
    ///
    /// # Safety
    ///
    /// `mem` must be the address of the new thread's control block, or 0.
    unsafe fn allocate_tls(&self, mem: usize) -> usize {
        if mem == 0 {
            return 0;
        }
        let parent = tls::current(self.host().thread_pointer());
        self.deallocate_tls(mem);
        let mut tls = self.tls().lock(self.host());
        let thread = tls.new_thread(parent, self.host().thread_id());
        // SAFETY: libc sized the stack by the static TLS size it was given.
        unsafe { tls.add_thread(mem, thread, self.bound_to()) };
        mem
    }

    fn deallocate_tls(&self, tcb: usize) -> usize {
        let gone = self.tls().lock(self.host()).remove_thread(tcb);
        if let Some(thread) = gone {
            self.forget_thread(thread);
        }
        0
    }

    /// Wraps a destructor so that its object is known, and stays loaded until it has run.
    ///
    /// # Safety
    ///
    /// As `__cxa_thread_atexit_impl`.
    unsafe fn thread_atexit_register(&self, function: usize, argument: usize, dso: usize) -> usize {
        let snapshot = self.registry().snapshot();
        let object = snapshot.and_then(|snapshot| snapshot.object_at(dso).map(Destructor::of));
        let record = Box::into_raw(Box::new(ThreadExit {
            function,
            argument,
            object,
        }));
        let trampoline = self.host().gate(Gate::ThreadAtexitRun);
        // SAFETY: this gate takes the record.
        unsafe { self.call_at_thread_exit(trampoline, record.expose_provenance()) }
    }

    /// Has a gate called with an argument when the calling thread ends.
    ///
    /// # Safety
    ///
    /// The gate must take this argument.
    pub(crate) unsafe fn call_at_thread_exit(&self, gate: usize, argument: usize) -> usize {
        let real = self.thread_atexit().load(Ordering::Relaxed);
        // libc looks for the object of its third argument unless it is the one it saw last, which at first is 0. It
        // finds none and counts the destructor for the program, which is never unloaded.
        // SAFETY: libc's own function, with the caller's promise.
        unsafe { signals::call(self.host(), real, [gate, argument, gate, 0]) }
    }

    /// # Safety
    ///
    /// `record` must come from `thread_atexit_register`; libc passes it once.
    unsafe fn thread_atexit_run(&self, record: usize) -> usize {
        // SAFETY: the caller's promise.
        let record = unsafe { Box::from_raw(record as *mut ThreadExit) };
        let ThreadExit {
            function,
            argument,
            object,
        } = *record;
        let _holding = object.map(|object| self.hold(Hold::Destructor(object)));
        // SAFETY: the program registered this function for this argument.
        unsafe { signals::call(self.host(), function, [argument, 0, 0, 0]) };
        0
    }

    /// `_dl_readonly_area`: 0 read-only, 1 writable, 2 not in any object.
    fn readonly_area(&self, at: usize, size: usize) -> usize {
        let snapshot = self.registry().snapshot();
        let object = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.object_at(at));
        let Some(object) = object else { return 2 };
        if object
            .relro()
            .is_some_and(|span| span.contains(&at) && at + size <= span.end)
        {
            return 0;
        }
        let vaddr = at.wrapping_sub(object.bias());
        let segment = object.segments().iter().find(|segment| {
            segment.p_type == pt::PT_LOAD
                && (address(segment.p_vaddr)..address(segment.p_vaddr + segment.p_memsz))
                    .contains(&vaddr)
        });
        segment.map_or(2, |segment| usize::from(segment.p_flags & pt::PF_W != 0))
    }
}

/// Returns what a function that returns error numbers does.
fn status(result: Result<(), Errno>) -> usize {
    result.map_or_else(|errno| errno.0 as usize, |()| 0)
}

/// Returns the name `dlopen` is given; a null pointer means the program, as the empty name does.
///
/// # Safety
///
/// `at` must be the address of a C string, or 0.
unsafe fn name_at(at: usize) -> &'static [u8] {
    // SAFETY: the caller's promise.
    if at == 0 { b"" } else { unsafe { c_bytes(at) } }
}
