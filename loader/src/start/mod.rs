//! The start of a program: mapping and relocating on the loader thread, initialising on the main thread to be.
//!
//! The order of the steps matters more than any of them; docs of the functions give the reasons. [`map`] has the first
//! half, [`link`] the second. Auditors come between the two; they are the program's code and run on its main thread, so
//! everything from there on is left to it.

#[expect(unsafe_code, reason = "fields of ld.so's data")]
mod link;
mod map;
#[expect(unsafe_code, reason = "the main thread's control block")]
mod thread;
#[expect(unsafe_code, reason = "a file that is not mapped")]
mod vdso;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

pub(crate) use self::map::Beginning;
pub use self::map::is_interpreter;
use crate::audit::Activity;
use crate::error::{Error, Foreign};
use crate::glibc::main_thread::MainThread;
use crate::host::Gate;
use crate::loader::Loader;
use crate::namespace::Key;
use crate::object::{Object, Role};
use crate::observer::{Step, tell};
use crate::signals;
use crate::stack::{self, InitArguments, InitialStack};
use crate::state::State;

/// A program that is ready to be initialised and entered.
///
/// Its objects are visible to the loading thread only until [`Loader::run_init`] has begun.
#[derive(Debug)]
pub struct Program {
    /// The address at which the program is entered.
    pub entry: usize,
    /// The stack pointer to enter it with: the address of `argc`.
    pub stack: usize,
    /// What `%rdx` holds at entry: the function to be run at exit.
    pub fini: usize,
    stage: spin::Mutex<Option<Stage>>,
}

/// What the start of a program has come to.
enum Stage {
    /// It has auditors, which are to be asked before anything else is mapped.
    Begun(Box<Beginning>),
    /// Everything has been mapped and relocated.
    Linked(Box<MainThread>),
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun(_) => "Begun",
            Self::Linked(_) => "Linked",
        })
    }
}

impl Loader {
    /// Maps and relocates a program and everything it needs. Runs on the *loader thread* L, to which alone the objects
    /// are visible meanwhile. IFUNC resolvers run here, with the thread pointer set to the main thread's; it is put
    /// back before the function returns. With auditors most of this is left to [`run_init`](Self::run_init).
    ///
    /// `path` is the program's file, already looked up in `PATH`, absolute and free of symbolic links, as
    /// `/proc/self/exe` has it (it gives `$ORIGIN`). `stack` is the address
    /// of the initial stack content as Linux lays it out: `argc`, `argv…`, 0, `envp…`, 0, auxiliary vector. The vector
    /// must hold `AT_RANDOM`, `AT_PAGESZ`, `AT_CLKTCK`, `AT_MINSIGSTKSZ` if known, and (with any value) `AT_PHDR`,
    /// `AT_PHNUM`, `AT_ENTRY`, `AT_BASE`: these four are filled in. `LD_LIBRARY_PATH`, `LD_PRELOAD`, `LD_BIND_NOW`,
    /// `LD_AUDIT` and `LD_DEBUG` are taken from the environment there.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] when the program is not for this loader (static, another interpreter, a C library nobody has
    /// reviewed): nothing of it is left mapped and the host starts it the way Linux does. Any other error: the program
    /// cannot run; the text is the one `ld.so` would print.
    ///
    /// # Safety
    ///
    /// `stack` must be as described, readable and writable, and stay where it is for as long as the program runs.
    pub unsafe fn load_program(&self, path: &[u8], stack: usize) -> Result<Program, Error> {
        // SAFETY: the caller says that the stack is laid out so, and stays.
        let stack = unsafe { InitialStack::new(stack) };
        self.loaded().set_init_arguments(InitArguments {
            argc: stack.argc(),
            argv: stack.argv(),
            envp: stack.envp(),
        });
        let mut beginning = Beginning::new(stack);
        let before = self.host().thread_pointer();
        let _held = self.family().enter(self.host(), beginning.thread());
        let loaded = self.begin_program(&mut beginning, path);
        let loaded = loaded.and_then(|program| {
            let stage = if beginning.has_auditors() {
                Stage::Begun(Box::new(beginning))
            } else {
                Stage::Linked(Box::new(self.finish_program(&mut beginning)?))
            };
            Ok((program, stage))
        });
        // SAFETY: the value it had.
        unsafe { self.host().set_thread_pointer(before) };
        let (entry, stage) = loaded?;
        Ok(Program {
            entry,
            stack: stack.address(),
            fini: self.host().gate(Gate::Fini),
            stage: spin::Mutex::new(Some(stage)),
        })
    }

    /// Initialises the program on the calling thread W, a new thread which is about to become the main thread. Sets the
    /// thread pointer, registers the thread with the host, runs INIT functions in dependency order, and makes the
    /// objects public. Afterwards the host enters `program.entry` on this thread with `%rsp` = `program.stack`, `%rdx`
    /// = `program.fini`, everything else 0.
    ///
    /// # Errors
    ///
    /// An error of the kind [`load_program`](Self::load_program) gives.
    ///
    /// # Safety
    ///
    /// `program` must come from this loader and not have been run yet; the calling thread must have no thread pointer
    /// anybody needs.
    pub unsafe fn run_init(&self, program: &Program) -> Result<(), Error> {
        let thread = match program.stage.lock().take() {
            Some(Stage::Linked(thread)) => thread,
            Some(Stage::Begun(mut beginning)) => {
                let _held = self.family().enter(self.host(), beginning.thread());
                self.load_auditors(&mut beginning)?;
                Box::new(self.finish_program(&mut beginning)?)
            }
            None => return Err(Error::Invalid("the program has been started before")),
        };
        // SAFETY: the control block was made for this thread.
        unsafe { self.host().set_thread_pointer(thread.pointer) };
        // INIT functions may install handlers.
        signals::undisturbed(self.host(), || self.init_program(&thread))
    }

    fn init_program(&self, thread: &MainThread) -> Result<(), Error> {
        let worker = {
            let mut tls = self.tls().lock(self.host());
            tls.adopt(thread.pointer)
        };
        let loading = self.begin(worker);
        let (objects, order) = {
            let mut state = self.state().lock(self.host());
            let closure = state.base().global().to_vec();
            let main = state.with_role(Role::Main).map(|main| Key::of(main));
            let order = main.map(|main| state.uninitialised(main, &closure));
            (state.program(), order.unwrap_or_default())
        };
        let (objects, order) = (loading.keep_objects(objects), loading.keep_objects(order));
        Self::show(&loading, objects, || {
            self.enter_libc(thread, objects)?;
            if let Some(main) = objects.iter().find(|object| object.role() == Role::Main) {
                let notices = self.loaded().notices();
                notices.activity(main, Activity::Consistent);
                let array = main.dynamic().preinit_array;
                let InitArguments { argc, argv, envp } = self.loaded().init_arguments();
                for &function in main.words(array.vaddr, array.size).unwrap_or(&[]) {
                    // SAFETY: DT_PREINIT_ARRAY holds functions that take these arguments.
                    loading.lend(|| unsafe {
                        signals::call(self.host(), function, [argc, argv, envp, 0])
                    });
                }
            }
            self.initialise(&loading, order);
            // SAFETY: `program_name` gives a C string that stays.
            let name = unsafe { stack::c_bytes(self.loaded().program_name()) };
            tell(self.host(), &Step::Program(name));
            Ok(())
        })
    }

    /// Makes the calling thread the main thread in libc's eyes, and takes away the right to write RELRO.
    fn enter_libc(&self, thread: &MainThread, objects: &[Arc<Object>]) -> Result<(), Error> {
        let with_role = |role| objects.iter().find(|object| object.role() == role);
        let Some(libc) = with_role(Role::Libc) else {
            return Err(Error::Invalid("the program has gone"));
        };
        thread.adopt(self.host());
        if let Some(function) = libc.address_of(b"__libc_early_init") {
            // SAFETY: it takes a bool: this is the base namespace.
            unsafe { signals::call(self.host(), function, [1, 0, 0, 0]) };
        }
        for object in objects {
            object.protect_relro(self.host())?;
        }
        Ok(())
    }

    /// `_dl_audit_preinit`: libc is about to enter the program.
    pub(crate) fn audit_preinit(&self) {
        let main = self.world().get().and_then(|world| {
            let main = world.program().first()?;
            Some(main.object.clone())
        });
        if let Some(main) = main {
            self.loaded().notices().preinit(&main);
        }
    }
}

/// Returns the program, libc and `ld.so`.
fn roles(state: &State) -> Result<[Arc<Object>; 3], Error> {
    let with_role = |role| state.with_role(role).cloned();
    match (
        with_role(Role::Main),
        with_role(Role::Libc),
        with_role(Role::Rtld),
    ) {
        (Some(main), Some(libc), Some(rtld)) => Ok([main, libc, rtld]),
        _ => Err(Error::Foreign(Foreign::Glibc(b"not used".to_vec()))),
    }
}
