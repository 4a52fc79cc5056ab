//! The gates: from C's arguments to Rust's and back.

#[expect(unsafe_code, reason = "arguments of C")]
mod arguments;
#[expect(unsafe_code, reason = "texts are handed to the program")]
mod errors;
#[expect(unsafe_code, reason = "thread-control blocks are the program's memory")]
mod threads;

use self::arguments::Arguments;
use crate::dl::Opening;
use crate::error::Error;
use crate::host::{Errno, Gate};
use crate::loader::Loader;
use crate::namespace::BASE;
use crate::registry::CodeId;
use crate::signals;
use crate::thread::ThreadId;
use crate::tls;
use crate::world::READERS;

const FAILURE: usize = usize::MAX;

/// What libc opens for backtraces and for the end of threads, also in handlers of crashes within `malloc`. Its INIT
/// functions ask the CPU what it is, and do nothing else.
const LIBGCC: &[u8] = b"libgcc_s.so.1";

/// libc's own flag for `dlopen`, which says that it is no program's call.
const RTLD_DLOPEN: usize = 0x8000_0000;

/// What it takes to serve a gate.
enum Care {
    /// Nothing: it neither locks nor allocates, or sees to it itself where it must, when something is missing.
    None,
    /// It locks or allocates.
    Undisturbed,
    /// It runs INIT and FINI functions, too.
    Prepared,
}

impl Care {
    fn of(gate: Gate, arguments: &Arguments) -> Self {
        match gate {
            Gate::Bind
            | Gate::BindAudited
            | Gate::PltExit
            | Gate::AuditPreinit
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
            | Gate::CodeCount => Self::None,
            Gate::LibcDlopen if arguments.file(0) == LIBGCC => Self::Undisturbed,
            Gate::Dlopen
            | Gate::Dlmopen
            | Gate::Dlclose
            | Gate::LibcDlopen
            | Gate::LibcDlclose
            | Gate::SessionOpen
            | Gate::SessionLoad
            | Gate::SessionClose => Self::Prepared,
            _ => Self::Undisturbed,
        }
    }
}

impl Loader {
    /// Does what a gate is for. The host's gates end here. `frame` is where the gate has saved its caller's `%rbp` on
    /// the program's stack, right below its return address, with the other registers as the caller had them; 0 if it
    /// has not.
    ///
    /// # Safety
    ///
    /// The arguments must be those a program called the gate with.
    pub unsafe fn enter(&self, gate: Gate, arguments: [usize; 4], frame: usize) -> usize {
        // SAFETY: the caller says that the program called the gate with them.
        let arguments = unsafe { Arguments::new(arguments) };
        let result = match Care::of(gate, &arguments) {
            Care::None => self.serve(gate, arguments),
            Care::Undisturbed => signals::undisturbed(self.host(), || self.serve(gate, arguments)),
            Care::Prepared => signals::undisturbed(self.host(), || {
                let serve = || self.serve(gate, arguments);
                // SAFETY: the frame is the gate's, says the caller, and no lock is held yet.
                unsafe { self.loaded().with_interrupted_finished(frame, serve) }
            }),
        };
        if READERS.are_waited_for() || self.registry().has_leftovers() {
            // This may have been the last reader of what has been closed since.
            signals::undisturbed(self.host(), || self.reclaim());
        }
        result
    }

    /// Each arm takes the arguments as [`Gate`] says that they are.
    fn serve(&self, gate: Gate, arguments: Arguments) -> usize {
        if let Some(refusal) = self.refused(gate) {
            return refusal;
        }
        if matches!(
            gate,
            Gate::Dlopen
                | Gate::Dlmopen
                | Gate::Dlclose
                | Gate::Dlsym
                | Gate::Dlvsym
                | Gate::Dlinfo
        ) {
            self.threads().forget_error();
        }
        let word = |index| arguments.word(index);
        let name = |index| arguments.name(index);
        match gate {
            Gate::Bind => self.loaded().bind(arguments.value(0), word(1)),
            Gate::TlsGetAddr => self.threads().tls_address(arguments.value(0)),
            Gate::AllocateTls => {
                self.before_first_thread();
                self.allocate_tls(arguments.control_block(0))
            }
            Gate::AllocateTlsInit => self.allocate_tls(arguments.control_block(0)),
            Gate::DeallocateTls => self.deallocate_tls(word(0)),
            Gate::FindDsoForObject => self.loaded().link_map_at(word(0)),
            Gate::IteratePhdr => self.iterate_phdr(arguments.callback(0), word(2)),
            Gate::FindObject => {
                let found = self.find_object(word(0));
                found.map_or(FAILURE, |found| {
                    arguments.out(1).put(found);
                    0
                })
            }
            Gate::ThreadAtexit => self.thread_atexit_register(arguments.callback(0), word(2)),
            Gate::ThreadAtexitRun => self.thread_atexit_run(*arguments.owned(0)),
            Gate::Dlopen => {
                let opening = Opening::new(arguments.file(0), word(1), word(2));
                self.threads().report(self.open_object(&opening))
            }
            Gate::LibcDlopen => {
                // Helpers of the one C library there is: they belong to the base namespace.
                let opening = Opening::new(arguments.file(0), word(1) & !RTLD_DLOPEN, 0);
                let opening = opening.in_namespace(BASE.lmid());
                self.open_object(&opening).unwrap_or(0)
            }
            Gate::Dlmopen => {
                let opening = Opening::new(arguments.file(1), word(2), word(3));
                self.threads()
                    .report(self.open_object(&opening.in_namespace(word(0))))
            }
            Gate::Dlclose => match self.dlclose(word(0)) {
                Ok(()) => 0,
                Err(error) => {
                    self.threads().set_error(error);
                    FAILURE
                }
            },
            Gate::LibcDlclose => self.dlclose(word(0)).map_or(FAILURE, |()| 0),
            Gate::Dlsym => self
                .threads()
                .report(self.dlsym(word(0), name(1), None, word(2))),
            Gate::LibcDlsym => self
                .threads()
                .or_nothing(self.dlsym(word(0), name(1), None, 0)),
            Gate::Dlvsym => {
                self.threads()
                    .report(self.dlsym(word(0), name(1), Some(name(2)), word(3)))
            }
            Gate::LibcDlvsym => {
                self.threads()
                    .or_nothing(self.dlsym(word(0), name(1), Some(name(2)), 0))
            }
            Gate::Dlerror => self.threads().last_error(),
            Gate::Dladdr => self.dladdr_into(word(0), arguments.out(1), None, 0),
            Gate::Dladdr1 => {
                let extra = arguments.out_if_any(2);
                self.dladdr_into(word(0), arguments.out(1), extra, word(3))
            }
            Gate::Dlinfo => self.dlinfo(word(0), word(1), &arguments.untyped(2)),
            Gate::ReadonlyArea => self.loaded().readonly_area(word(0), word(1)),
            Gate::Worker => {
                self.work(*arguments.owned(0));
                0
            }
            Gate::CodeRegister => {
                let id = arguments.out_if_any(1);
                status(self.code_register(arguments.value(0), id))
            }
            Gate::CodeUnregister => {
                status(self.registry().unregister(self.host(), word(0) as CodeId))
            }
            Gate::CodeFind => status(self.loaded().code_find(word(0), arguments.out(1))),
            Gate::CodeCount => self.registry().code_count(),
            Gate::CodeThreadEnd => {
                self.registry()
                    .remove_thread(self.host(), word(0) as ThreadId);
                0
            }
            Gate::SessionOpen => self.c_session_open(arguments.names(0), arguments.out(1)),
            Gate::SessionLoad => {
                let (session, file) = (arguments.namespace(0), arguments.file(1));
                self.threads()
                    .report(self.c_session_load(session, file, word(2)))
            }
            Gate::SessionSymbol => self
                .threads()
                .report(self.session_symbol(arguments.namespace(0), name(1))),
            Gate::SessionDuplicates => {
                self.c_session_duplicates(arguments.namespace(0), arguments.callback(1))
            }
            Gate::SessionBind => self.status(self.bind_thread(arguments.namespace(0)).map(drop)),
            Gate::SessionClose => self.status(self.close_session(arguments.namespace(0))),
            Gate::Symbols => self.c_symbols(arguments.namespace(0), word(1), arguments.callback(2)),
            Gate::IterateNamespace => {
                self.iterate_namespace(arguments.namespace(0), arguments.callback(1))
            }
            Gate::BindAudited => {
                let object = arguments.value(0);
                self.loaded()
                    .bind_audited(object, word(1), arguments.value(2))
            }
            Gate::PltExit => {
                let (call, results) = (arguments.value(2), arguments.value(3));
                self.loaded()
                    .plt_exit(arguments.value(0), word(1), call, results);
                0
            }
            Gate::AuditPreinit => {
                self.audit_preinit();
                0
            }
            Gate::Fini => {
                self.fini();
                0
            }
        }
    }

    /// Returns what a gate gives, which would lock what loads know, to an auditor that is told while it is locked.
    fn refused(&self, gate: Gate) -> Option<usize> {
        let refusal = match gate {
            Gate::Dlopen
            | Gate::Dlmopen
            | Gate::LibcDlopen
            | Gate::SessionLoad
            | Gate::SessionSymbol => 0,
            Gate::Dlclose | Gate::LibcDlclose | Gate::Dlinfo => FAILURE,
            Gate::SessionOpen
            | Gate::SessionDuplicates
            | Gate::SessionBind
            | Gate::SessionClose => Errno::EINVAL.0 as usize,
            _ => return None,
        };
        let record = tls::current(self.host().thread_pointer())?;
        record.is_audited.get().then(|| {
            let text = "an auditor that is told of a load cannot change what is loaded";
            self.threads().set_error(Error::Invalid(text));
            refusal
        })
    }
}

/// Returns what a function that returns error numbers does.
fn status(result: Result<(), Errno>) -> usize {
    result.map_or_else(|errno| errno.0 as usize, |()| 0)
}
