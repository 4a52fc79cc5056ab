//! The second half of the start: everything is relocated, and libc is told what it reads of `ld.so`'s data.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Beginning, roles};
use crate::debug::RDebug;
use crate::error::Error;
use crate::glibc::main_thread::MainThread;
use crate::glibc::{self, Fields, probe};
use crate::link_map::Layout;
use crate::loader::Loader;
use crate::namespace::BASE;
use crate::object::{Object, Role};
use crate::observer::{Step, tell};
use crate::relocate::Bind;
use crate::stack::{self, InitialStack};
use crate::state::State;
use crate::tls::Area;

impl Loader {
    /// Maps the rest of a program and relocates everything; takes all of it back if that fails.
    pub(super) fn finish_program(&self, beginning: &mut Beginning) -> Result<MainThread, Error> {
        let mut state = self.state().lock(self.host());
        let linked = self
            .map_needed(&mut state, beginning)
            .and_then(|()| self.link_program(&mut state, beginning));
        if linked.is_err() {
            let added = &beginning.load.added;
            self.linker().roll_back(&mut state, added, BASE);
        }
        linked
    }

    fn link_program(
        &self,
        state: &mut State,
        beginning: &mut Beginning,
    ) -> Result<MainThread, Error> {
        beginning.times.loaded();
        let Beginning {
            load,
            stack,
            tunables,
            times,
            ..
        } = beginning;
        let (objects, proxy) = (state.program(), &load.thread);
        let [main, libc, rtld] = roles(state)?;
        let fields = Fields::find(&libc, &rtld)?;
        let layout = Layout::of(fields.minor);
        state.layout = Some(layout);
        for object in &objects {
            object.fill_details(layout);
        }
        main.link_map().set_opens(1);
        self.registry().add_linker(self.host(), rtld.clone());
        self.remember_thread_atexit(&libc);
        let surplus = glibc::static_tls_surplus(tunables.as_ref());
        // For auditors the main thread has been made before, with room for these objects.
        let mut thread = match state.main_thread.take() {
            Some(mut thread) => {
                let mut tls = self.tls().lock(self.host());
                for object in &objects {
                    tls.make_static(object);
                }
                thread.area = tls.fix_layout(surplus);
                thread
            }
            None => self.make_main_thread((&libc, &rtld), &objects, surplus, *stack, proxy)?,
        };
        // Before relocation: the program may have a copy of `_r_debug`.
        state.base().debug = RDebug::of_program(&main, &rtld);
        state.base().debug.set_map(main.handle());

        // ld.so and libc first (resolvers elsewhere use what theirs compute), then what is needed before who needs it,
        // and the program last: its COPY relocations want relocated originals.
        let mut order = alloc::vec![rtld.clone(), libc.clone()];
        // The vDSO has nothing to relocate.
        let is_other =
            |object: &&Arc<Object>| !matches!(object.role(), Role::Libc | Role::Rtld | Role::Vdso);
        order.extend(objects.iter().rev().filter(is_other).cloned());
        tell(self.host(), &Step::InitialScopes);
        self.linker().show_scopes(state, &objects);
        let bind = if state.bind_now {
            Bind::Now
        } else {
            Bind::Lazy
        };
        times.relocation(|| {
            for word in self.linker().relocate(state, &order, proxy, bind)? {
                // SAFETY: all is relocated but for the words on this list; those of ld.so and libc come first.
                unsafe { word.finish(self.loaded()) };
            }
            Ok(())
        })?;
        self.linker().check_functions(&objects)?;
        // TLS images hold relocated words, so blocks are filled (again) only now.
        self.tls().lock(self.host()).refill(&objects);

        self.fill(&mut thread, (&libc, &rtld), surplus)?;
        let space = glibc::BaseNamespace {
            main: &main,
            count: objects.len(),
            search_list: search_list(state.base().global()),
        };
        glibc::tell_of_base(&thread.fields, &space);
        if let Some(stacks) = &mut state.stacks {
            // SAFETY: the program's libc is never unmapped.
            unsafe { stacks.share(&thread.fields) };
        }
        finish_auxiliary(stack, &main, &rtld);
        tell(self.host(), &Step::Ready(times));
        Ok(thread)
    }

    /// Finds out from a libc where `ld.so`'s data has what, unless that is known, and fills it in.
    pub(crate) fn fill(
        &self,
        thread: &mut MainThread,
        (libc, rtld): (&Object, &Object),
        surplus: usize,
    ) -> Result<(), Error> {
        let fields = &thread.fields;
        let is_first = thread.offsets.is_none();
        let offsets = match thread.offsets.take() {
            Some(offsets) => offsets,
            // SAFETY: libc is relocated, ld.so as far as that takes, and the thread pointer is set.
            None => unsafe { probe::find(self.host(), fields, libc, rtld)? },
        };
        if is_first {
            let world = self.world().get();
            let mut program = world.iter().flat_map(|world| world.program());
            let vdso = program.find(|entry| entry.object.role() == Role::Vdso);
            let vdso = vdso.map(|entry| &*entry.object);
            // SAFETY: libc and ld.so are relocated, and these are the places of their fields.
            unsafe { glibc::fill(self.host(), fields, &offsets, &thread.stack, vdso) };
        }
        // glibc's idea of the area includes the descriptor.
        let area = Area {
            size: thread.area.size + fields.pthread_size.next_multiple_of(64),
            ..thread.area
        };
        glibc::tell_of_static_tls(fields, &offsets, area, surplus);
        thread.offsets = Some(offsets);
        Ok(())
    }

    /// Notes where a libc has its own `__cxa_thread_atexit_impl`.
    pub(crate) fn remember_thread_atexit(&self, libc: &Object) {
        if let Some(real) = libc.address_of(b"__cxa_thread_atexit_impl") {
            self.threads()
                .thread_atexit()
                .store(real, core::sync::atomic::Ordering::Relaxed);
        }
    }
}

fn finish_auxiliary(stack: &InitialStack, main: &Object, rtld: &Object) {
    stack.set_auxiliary(stack::AT_PHDR, main.headers_address());
    stack.set_auxiliary(stack::AT_PHNUM, main.segments().len());
    stack.set_auxiliary(stack::AT_ENTRY, main.entry());
    stack.set_auxiliary(stack::AT_BASE, rtld.bias());
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
