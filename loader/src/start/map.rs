//! The first half of the start: the program, its interpreter, LD_PRELOAD's objects and what they need are mapped.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::audit;
use crate::elf::header::{Headers, interpreter};
use crate::error::{Error, Foreign};
use crate::glibc::tunables::Tunables;
use crate::host::Event;
use crate::interpreter::Interpreter;
use crate::load::Load;
use crate::loader::Loader;
use crate::mode::Mode;
use crate::namespace::{Arrival, BASE, Key};
use crate::object::Role;
use crate::observer::{self, Category, Times};
use crate::search::{Search, directory_of};
use crate::stack::{self, InitialStack};
use crate::stacks::Stacks;
use crate::state::State;
use crate::thread::ThreadProxy;

/// The interpreters whose work this loader does.
const INTERPRETERS: [&[u8]; 2] = [b"/lib64/ld-linux-x86-64.so.2", b"/lib/ld-linux-x86-64.so.2"];

/// Whether this loader does the work of the interpreter that a program names.
pub fn is_interpreter(path: &[u8]) -> bool {
    INTERPRETERS.contains(&path)
}

/// The start of a program under way.
pub(crate) struct Beginning {
    pub(crate) load: Load,
    pub(crate) stack: InitialStack,
    pub(super) tunables: Option<Tunables>,
    /// Names of auditors that have not been looked at yet.
    pub(crate) auditors: Vec<Vec<u8>>,
    pub(super) times: Times,
}

impl Beginning {
    /// Begins the start of a program with this initial stack.
    pub(super) fn new(stack: InitialStack) -> Self {
        Self {
            load: Load::new(ThreadProxy::root(), Mode::LAZY, true),
            stack,
            tunables: None,
            auditors: Vec::new(),
            times: Times::start(),
        }
    }

    /// Returns the thread that loads.
    pub(super) fn thread(&self) -> &Arc<ThreadProxy> {
        &self.load.thread
    }

    /// Says whether auditors are to be asked first.
    pub(super) fn has_auditors(&self) -> bool {
        !self.auditors.is_empty()
    }

    /// Returns a variable of the environment that the loader heeds.
    fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        let value = self.stack.variable(name);
        value.filter(|value| !self.stack.is_secure() && !value.is_empty())
    }
}

impl Loader {
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

    /// Maps a program and its interpreter; returns where the program is entered. What has been mapped is taken back if
    /// that fails.
    pub(super) fn begin_program(
        &self,
        beginning: &mut Beginning,
        path: &[u8],
    ) -> Result<usize, Error> {
        let mut state = self.state().lock(self.host());
        let begun = self.map_program(&mut state, beginning, path);
        if beginning.has_auditors() {
            // Hosts ask where the program is before anything else is mapped.
            state.publish(self.world());
        }
        if begun.is_err() {
            let added = &beginning.load.added;
            self.linker().roll_back(&mut state, added, BASE);
        }
        begun
    }

    fn map_program(
        &self,
        state: &mut State,
        beginning: &mut Beginning,
        path: &[u8],
    ) -> Result<usize, Error> {
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
        self.watch(beginning.variable(b"LD_DEBUG").unwrap_or(b""))?;
        state.bind_now = beginning.variable(b"LD_BIND_NOW").is_some() || observer::binds_now();
        let arrival = Arrival {
            name: path,
            loaded_by: None,
            initial: true,
            deep: false,
        };
        let stack = beginning.stack;
        if stack.is_secure() {
            stack.remove_unsafe_variables();
        }
        state.stacks = Some(Stacks::new(stack.address()));
        let load = &mut beginning.load;
        let main = self
            .linker()
            .add_object(state, load, &*file, path, (BASE, arrival))?;
        if let Some(at) = stack.auxiliary(stack::AT_SYSINFO_EHDR) {
            self.linker().add_vdso(state, load, at)?;
        }
        let Interpreter { tunables, hwcaps } =
            self.linker()
                .map_interpreter(state, load, &interpreter, &stack)?;
        state.search = Some(Search::new(
            beginning.variable(b"LD_LIBRARY_PATH"),
            directory_of(path),
            hwcaps,
            stack.is_secure(),
        ));
        beginning.tunables = tunables;
        let main = state.node(main).map(|node| node.object.clone());
        let main = main.ok_or(Error::Invalid("the program has gone"))?;
        let variable = beginning.variable(b"LD_AUDIT").unwrap_or(b"");
        beginning.auditors = audit::names(variable, &main);
        Ok(main.entry())
    }

    /// Maps LD_PRELOAD's objects, and what they and the program need.
    pub(super) fn map_needed(
        &self,
        state: &mut State,
        beginning: &mut Beginning,
    ) -> Result<(), Error> {
        let main = state.with_role(Role::Main).map(|main| Key::of(main));
        let main = main.ok_or(Error::Invalid("the program has gone"))?;
        let preload = beginning.variable(b"LD_PRELOAD").unwrap_or(b"");
        let load = &mut beginning.load;
        // The program searches what is preloaded before what it needs itself.
        let mut roots = alloc::vec![main];
        roots.extend(self.linker().preload(state, load, main, preload));
        self.loaded().describe_linker();
        if let Some(vdso) = state.with_role(Role::Vdso) {
            self.loaded().locked_notices().objopen(vdso);
        }
        self.linker().add_needed(state, load)?;
        let everything = state.closure(&roots);
        state.base().add_global(&everything);
        if let Some(node) = state.node_mut(main) {
            node.set_opens(1);
        }
        Ok(())
    }
}
