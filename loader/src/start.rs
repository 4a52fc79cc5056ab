//! The start of a program: mapping and relocating on the loader thread, initialising on the main thread to be.
//!
//! The order of the steps matters more than any of them; docs of the functions below give the reasons.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::debug::RDebug;
use crate::elf::header::{Headers, interpreter};
use crate::error::{Error, Foreign};
use crate::glibc::tunables::Tunables;
use crate::glibc::{self, Fields, probe};
use crate::host::{Access, Event, Gate, PAGE_SIZE};
use crate::interpreter::Interpreter;
use crate::link_map::further_tags;
use crate::load::Load;
use crate::loader::{Loader, Program};
use crate::mode::Mode;
use crate::namespace::{Arrival, BASE, Key};
use crate::object::{Object, Role};
use crate::observer::{self, Category, Step, Times, tell};
use crate::relocate::Bind;
use crate::search::{Search, directory_of};
use crate::signals;
use crate::stack::{self, InitArguments, InitialStack};
use crate::stacks::Stacks;
use crate::state::State;
use crate::thread::ThreadProxy;
use crate::tls::Area;

/// The interpreters whose work this loader does.
const INTERPRETERS: [&[u8]; 2] = [b"/lib64/ld-linux-x86-64.so.2", b"/lib/ld-linux-x86-64.so.2"];

/// Whether this loader does the work of the interpreter that a program names.
pub fn is_interpreter(path: &[u8]) -> bool {
    INTERPRETERS.contains(&path)
}

impl Loader {
    /// Maps and relocates a program and everything it needs. Runs on the *loader thread* L, to which alone the objects
    /// are visible meanwhile. IFUNC resolvers run here, with the thread pointer set to the main thread's; it is put
    /// back before the function returns.
    ///
    /// `path` is the program's file, already looked up in `PATH`, absolute and free of symbolic links, as
    /// `/proc/self/exe` has it (it gives `$ORIGIN`). `stack` is the address
    /// of the initial stack content as Linux lays it out: `argc`, `argv…`, 0, `envp…`, 0, auxiliary vector. The vector
    /// must hold `AT_RANDOM`, `AT_PAGESZ`, `AT_CLKTCK`, `AT_MINSIGSTKSZ` if known, and (with any value) `AT_PHDR`,
    /// `AT_PHNUM`, `AT_ENTRY`, `AT_BASE`: these four are filled in. `LD_LIBRARY_PATH`, `LD_PRELOAD`, `LD_BIND_NOW`
    /// and `LD_DEBUG` are taken from the environment there.
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
        let thread = ThreadProxy::root();
        let before = self.host().thread_pointer();
        let _held = self.family().enter(self.host(), &thread);
        let mut load = Load::new(thread.clone(), Mode::LAZY, true);
        let loaded = self.load_initial(&mut load, path, &stack);
        // SAFETY: the value it had.
        unsafe { self.host().set_thread_pointer(before) };
        if loaded.is_err() {
            self.linker()
                .roll_back(&mut self.state().lock(self.host()), &load.added, BASE);
        }
        loaded
    }

    fn load_initial(
        &self,
        load: &mut Load,
        path: &[u8],
        stack: &InitialStack,
    ) -> Result<Program, Error> {
        let mut times = Times::start();
        let mut state = self.state().lock(self.host());
        let (bind, tunables) = self.map_initial(&mut state, load, path, stack)?;
        times.loaded();
        let (objects, thread) = (state.program(), &load.thread);
        let [main, libc, rtld] = roles(&state)?;
        let fields = Fields::find(&libc, &rtld)?;
        state.further_tags = further_tags(fields.minor);
        for object in &objects {
            object.fill_details(state.further_tags);
        }
        main.link_map().set_opens(1);
        self.registry().add_linker(self.host(), rtld.clone());
        self.loaded().describe_linker();
        let surplus = glibc::static_tls_surplus(tunables.as_ref());
        if let Some(real) = libc.address_of(b"__cxa_thread_atexit_impl") {
            self.threads()
                .thread_atexit()
                .store(real, core::sync::atomic::Ordering::Relaxed);
        }

        // Static TLS, and where the restartable-sequences area is in it: below the thread pointer if libc imports its
        // offset (2.41), else at the end of the thread descriptor.
        let (area, rseq_offset) = {
            let mut tls = self.tls().lock(self.host());
            for object in &objects {
                tls.make_static(object);
            }
            let rseq_offset = if imports(&libc, b"__rseq_offset") {
                tls.reserve(32, 32).wrapping_neg()
            } else {
                fields.pthread_size - 32
            };
            (tls.fix_layout(surplus), rseq_offset)
        };
        let thread_pointer = self.make_main_thread(&fields, area, stack, thread)?;
        glibc::set_exported_data(&rtld, stack, rseq_offset);
        // Before relocation, too: the program may have a copy of `_r_debug`.
        state.base().debug = RDebug::of_program(&main, &rtld);
        state.base().debug.set_map(main.handle());

        // ld.so and libc first (resolvers elsewhere use what theirs compute), then what is needed before who needs it,
        // and the program last: its COPY relocations want relocated originals.
        let mut order = alloc::vec![rtld.clone(), libc.clone()];
        order.extend(
            objects
                .iter()
                .rev()
                .filter(|object| !matches!(object.role(), Role::Libc | Role::Rtld))
                .cloned(),
        );
        tell(self.host(), &Step::InitialScopes);
        self.linker().show_scopes(&mut state, &objects);
        times.relocation(|| {
            for word in self.linker().relocate(&mut state, &order, thread, bind)? {
                // SAFETY: everything is relocated but for the words on this list, and those of ld.so and libc come first.
                unsafe { word.finish(self.host()) };
            }
            Ok(())
        })?;
        self.linker().check_functions(&objects)?;
        // TLS images hold relocated words, so blocks are filled (again) only now.
        // SAFETY: `make_main_thread` made room below the thread pointer.
        unsafe { self.tls().lock(self.host()).fill_static(thread_pointer) };

        // SAFETY: libc and ld.so are relocated, and the thread pointer is set.
        let offsets = unsafe { probe::find(self.host(), &fields, &libc, &rtld)? };
        // glibc's idea of the area includes the descriptor.
        let area = Area {
            size: area.size + fields.pthread_size.next_multiple_of(64),
            ..area
        };
        let space = glibc::BaseNamespace {
            main: &main,
            count: objects.len(),
            search_list: search_list(&objects),
        };
        // SAFETY: libc and ld.so are relocated, and these are the places of their fields.
        unsafe { glibc::fill(self.host(), &fields, &offsets, stack, &space, area, surplus) };
        if let Some(stacks) = &mut state.stacks {
            // SAFETY: the program's libc is never unmapped.
            unsafe { stacks.share(&fields) };
        }
        self.finish_auxiliary(stack, &main, &rtld);
        tell(self.host(), &Step::Ready(&times));
        let program = Program {
            entry: main.entry(),
            stack: stack.address(),
            fini: self.host().gate(Gate::Fini),
            thread_pointer,
            rseq_offset,
            fields,
        };
        Ok(program)
    }

    /// Switches on what LD_DEBUG asks for; complains about words that are none.
    ///
    /// # Errors
    ///
    /// [`Error::DebugHelp`]: what is asked for is the list of words.
    fn watch(&self, words: &[u8]) -> Result<(), Error> {
        observer::switch_on(words, |word| {
            let line = format!("warning: debug option `{word}' unknown; try LD_DEBUG=help");
            self.host().trace(&Event::Warning(&line));
        });
        if observer::is_on(Category::Help) {
            return Err(Error::DebugHelp);
        }
        Ok(())
    }

    /// Maps the program, its interpreter, LD_PRELOAD's objects, and what they need.
    fn map_initial(
        &self,
        state: &mut State,
        load: &mut Load,
        path: &[u8],
        stack: &InitialStack,
    ) -> Result<(Bind, Option<Tunables>), Error> {
        let file = self.host().open(path).map_err(|errno| Error::CannotOpen {
            name: path.to_vec(),
            errno,
        })?;
        let headers = Headers::read(&*file).map_err(|problem| problem.about(path, path))?;
        let interpreter =
            interpreter(&*file, &headers).map_err(|problem| problem.about(path, path))?;
        let interpreter = interpreter.ok_or(Error::Foreign(Foreign::Static))?;
        if !is_interpreter(&interpreter) {
            return Err(Error::Foreign(Foreign::Interpreter(interpreter)));
        }
        let secure = stack.auxiliary(stack::AT_SECURE).unwrap_or(0) != 0;
        let variable = |name: &[u8]| {
            stack
                .variable(name)
                .filter(|value| !secure && !value.is_empty())
        };
        self.watch(variable(b"LD_DEBUG").unwrap_or(b""))?;
        state.bind_now = variable(b"LD_BIND_NOW").is_some() || observer::binds_now();
        let arrival = Arrival {
            name: path,
            loaded_by: None,
            initial: true,
            deep: false,
        };
        state.stacks = Some(Stacks::new(stack.address()));
        let main = self
            .linker()
            .add_object(state, load, &*file, path, (BASE, arrival))?;
        let Interpreter { tunables, hwcaps } =
            self.linker()
                .map_interpreter(state, load, &interpreter, stack)?;
        state.search = Some(Search::new(
            variable(b"LD_LIBRARY_PATH"),
            directory_of(path),
            hwcaps,
        ));
        // The program searches what is preloaded before what it needs itself.
        let mut roots = alloc::vec![main];
        let preload = variable(b"LD_PRELOAD").unwrap_or(b"");
        roots.extend(self.linker().preload(state, load, main, preload));
        self.linker().add_needed(state, load)?;
        let everything = state.closure(&roots);
        state.base().add_global(&everything);
        if let Some(node) = state.node_mut(main) {
            node.set_opens(1);
        }
        let bind = if state.bind_now {
            Bind::Now
        } else {
            Bind::Lazy
        };
        Ok((bind, tunables))
    }

    /// Allocates the main thread's TLS and descriptor, and gives the calling thread its thread pointer: IFUNC
    /// resolvers are compiled code like any other, and read the stack guard.
    fn make_main_thread(
        &self,
        fields: &Fields,
        area: Area,
        stack: &InitialStack,
        thread: &Arc<ThreadProxy>,
    ) -> Result<usize, Error> {
        let missing = Error::Invalid("the auxiliary vector has no AT_RANDOM");
        let random = stack.auxiliary(stack::AT_RANDOM).ok_or(missing)?;
        let size = area.size + fields.pthread_size + area.align;
        let no_memory = |errno| Error::Host {
            object: Vec::new(),
            doing: "cannot allocate TLS data structures for initial thread",
            errno,
        };
        // Not the loader's own memory but the program's: it passes addresses in here to system calls.
        let size = size.next_multiple_of(PAGE_SIZE);
        let memory = self
            .host()
            .reserve(None, size, PAGE_SIZE)
            .map_err(no_memory)?;
        // SAFETY: the range was just reserved. It is the main thread's for as long as the program runs.
        unsafe { self.host().zero(memory, size, Access::ReadWrite) }.map_err(no_memory)?;
        let thread_pointer = (memory + area.size).next_multiple_of(area.align);
        // SAFETY: the memory is zeroed and has room for the descriptor; AT_RANDOM points at 16 bytes.
        unsafe { glibc::main_thread::write_header(thread_pointer, random) };
        // SAFETY: `area.size` bytes below are free.
        unsafe {
            self.tls()
                .lock(self.host())
                .add_thread(thread_pointer, thread.clone(), BASE);
        }
        // SAFETY: the control block is ready.
        unsafe { self.host().set_thread_pointer(thread_pointer) };
        Ok(thread_pointer)
    }

    fn finish_auxiliary(&self, stack: &InitialStack, main: &Object, rtld: &Object) {
        stack.set_auxiliary(stack::AT_PHDR, main.headers_address());
        stack.set_auxiliary(stack::AT_PHNUM, main.segments().len());
        stack.set_auxiliary(stack::AT_ENTRY, main.entry());
        stack.set_auxiliary(stack::AT_BASE, rtld.bias());
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
        // SAFETY: the control block was made for this thread.
        unsafe { self.host().set_thread_pointer(program.thread_pointer) };
        // INIT functions may install handlers.
        signals::undisturbed(self.host(), || self.init_program(program))
    }

    fn init_program(&self, program: &Program) -> Result<(), Error> {
        let worker = {
            let mut tls = self.tls().lock(self.host());
            tls.adopt(program.thread_pointer)
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
            self.enter_libc(program, objects)?;
            if let Some(main) = objects.iter().find(|object| object.role() == Role::Main) {
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
    fn enter_libc(&self, program: &Program, objects: &[Arc<Object>]) -> Result<(), Error> {
        let with_role = |role| objects.iter().find(|object| object.role() == role);
        let Some(libc) = with_role(Role::Libc) else {
            return Err(Error::Invalid("the program has gone"));
        };
        let fields = &program.fields;
        let tp = program.thread_pointer;
        // SAFETY: the thread is W, its control block is `tp`, and `fill` has initialised the lists.
        unsafe {
            glibc::main_thread::adopt_main(
                self.host(),
                fields,
                tp,
                program.rseq_offset,
                program.stack,
            );
        }
        if let Some(function) = libc.address_of(b"__libc_early_init") {
            // SAFETY: it takes a bool: this is the base namespace.
            unsafe { signals::call(self.host(), function, [1, 0, 0, 0]) };
        }
        for object in objects {
            object.protect_relro(self.host())?;
        }
        Ok(())
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

fn imports(object: &Object, name: &[u8]) -> bool {
    // Undefined symbols are not hashed; they come first in the table.
    let undefined =
        |symbol: &crate::elf::Sym| symbol.st_shndx == 0 && object.symbol_name(symbol) == Some(name);
    object.symbols().iter().any(undefined) && object.defined(name).is_none()
}

/// Makes the array `_ns_main_searchlist` points at: nobody walks it, but it is there.
fn search_list(objects: &[Arc<Object>]) -> usize {
    let handles: Vec<usize> = objects.iter().map(|object| object.handle()).collect();
    let handles: &'static [usize] = handles.leak();
    let list: &'static [usize; 2] = alloc::boxed::Box::leak(alloc::boxed::Box::new([
        handles.as_ptr().addr(),
        handles.len(),
    ]));
    list.as_ptr().addr()
}
