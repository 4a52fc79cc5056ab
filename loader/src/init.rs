//! INIT and FINI functions: who runs them, in what order, and who sees the objects meanwhile.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::audit::Activity;
use crate::error::Error;
use crate::glibc;
use crate::host::{Errno, Event, Gate};
use crate::loader::Loader;
use crate::loading::Loading;
use crate::namespace::{BASE, Key};
use crate::object::{Object, Role, Visibility};
use crate::observer::{Step, tell};
use crate::signals;
use crate::stack::InitArguments;

/// Which thread runs the INIT functions of what is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitOn {
    /// The thread that opens, as `dlopen` does it and programs expect it.
    #[default]
    Caller,
    /// A thread made for it by the program's `pthread_create`, as a child of the one that opens, which waits for it.
    /// The rights to see the new objects are the worker's and its children's meanwhile.
    Worker,
}

/// What a worker is to do.
pub(crate) struct Work {
    /// New objects, to be seen by the worker and by what it starts.
    objects: Vec<Arc<Object>>,
    /// What is to be initialised, in order.
    order: Vec<Arc<Object>>,
}

impl Loader {
    /// Runs the INIT functions of objects in order, with the load lock lent to whoever they start.
    pub(crate) fn initialise(&self, loading: &Loading<'_>, order: &[Arc<Object>]) {
        for object in order {
            {
                let mut state = self.state().lock(self.host());
                match state.node_mut(Key::of(object)) {
                    Some(node) if !node.initialised => node.initialised = true,
                    _ => continue,
                }
            }
            // The program's own INIT functions are run by libc's start-up code.
            if object.role() != Role::Main {
                tell(self.host(), &Step::Init(object.shown()));
                loading.lend(|| self.run_init_functions(object));
            }
        }
    }

    /// Does what it takes to initialise new objects, on the thread that shall run their INIT functions: while it does,
    /// that thread and what it starts see them, the load's family, and afterwards everybody.
    pub(crate) fn show<R>(
        loading: &Loading<'_>,
        objects: &[Arc<Object>],
        initialise: impl FnOnce() -> R,
    ) -> R {
        let set = |visibility| {
            for object in objects {
                object.set_visibility(visibility);
            }
        };
        set(Visibility::ThreadAndItsChildren(loading.family()));
        let result = initialise();
        set(Visibility::Public);
        result
    }

    /// Initialises new objects on a worker thread, and waits until that is done.
    ///
    /// # Errors
    ///
    /// No thread could be started; nothing has been initialised then.
    pub(crate) fn initialise_on_worker(
        &self,
        loading: &Loading<'_>,
        objects: &[Arc<Object>],
        order: &[Arc<Object>],
    ) -> Result<(), Error> {
        let failed = |errno| Error::Host {
            object: order
                .last()
                .map_or_else(Vec::new, |object| object.shown().to_vec()),
            doing: "cannot start a thread for INIT functions",
            errno,
        };
        let libc = self
            .state()
            .lock(self.host())
            .with_role(Role::Libc)
            .cloned();
        let function = |name| libc.as_ref().and_then(|libc| libc.address_of(name));
        let (Some(create), Some(join)) = (function(b"pthread_create"), function(b"pthread_join"))
        else {
            return Err(failed(Errno::ENOSYS));
        };
        let work = Box::into_raw(Box::new(Work {
            objects: objects.to_vec(),
            order: order.to_vec(),
        }));
        let mut thread = 0usize;
        let arguments = [
            core::ptr::from_mut(&mut thread).expose_provenance(),
            0,
            self.host().gate(Gate::Worker),
            work.expose_provenance(),
        ];
        loading.lend(|| {
            // SAFETY: libc's function; the gate takes the record, which it alone frees.
            let result = unsafe { signals::call(self.host(), create, arguments) } & 0xffff_ffff;
            if result != 0 {
                // SAFETY: no thread was started, so the record is still ours.
                drop(unsafe { Box::from_raw(work) });
                return Err(failed(Errno(i32::try_from(result).unwrap_or(0))));
            }
            // SAFETY: the thread was started just now, joinable.
            unsafe { signals::call(self.host(), join, [thread, 0, 0, 0]) };
            Ok(())
        })
    }

    /// The worker's side.
    pub(crate) fn work(&self, work: Work) {
        let loading = self.begin(self.threads().current_thread());
        let Work { objects, order } = work;
        let (objects, order) = (loading.keep_objects(objects), loading.keep_objects(order));
        Self::show(&loading, objects, || self.initialise(&loading, order));
    }

    fn run_init_functions(&self, object: &Object) {
        let InitArguments { argc, argv, envp } = self.loaded().init_arguments();
        if object.role() == Role::Libc && object.namespace() != BASE {
            self.fill_for_auditor(object);
            // SAFETY: libc is relocated. `false`: there is another, which owns the break.
            unsafe { glibc::call(self.host(), object, b"__libc_early_init", [0; 4]) };
            self.initialise_allocator(object);
        }
        let dynamic = object.dynamic();
        for function in object.functions(dynamic.init, dynamic.init_array) {
            self.host().trace(&Event::Init {
                object: object.path(),
                function,
            });
            // SAFETY: DT_INIT and DT_INIT_ARRAY hold functions, relocated by now, that take these arguments.
            unsafe { signals::call(self.host(), function, [argc, argv, envp, 0]) };
        }
    }

    /// Runs the FINI functions of one object.
    pub(crate) fn run_fini_functions(&self, object: &Object) {
        tell(self.host(), &Step::Fini(object.list_label()));
        let dynamic = object.dynamic();
        for function in object.functions(dynamic.fini, dynamic.fini_array).rev() {
            // SAFETY: DT_FINI and DT_FINI_ARRAY hold functions without arguments.
            unsafe { signals::call(self.host(), function, [0; 4]) };
        }
    }

    /// Runs the FINI functions of everything: the program is about to exit.
    pub(crate) fn fini(&self) {
        let order = {
            let mut state = self.state().lock(self.host());
            let objects = state.objects();
            for &key in &objects {
                // A FINI function may call `dlclose`: nothing is to be unloaded, and finished twice, any more.
                if let Some(node) = state.node_mut(key) {
                    node.set_opens(node.opens() + 1);
                }
            }
            state.fini_order(&objects)
        };
        // Auditors come last, whatever their namespaces' numbers.
        let (audited, auditors): (Vec<_>, Vec<_>) = {
            let state = self.state().lock(self.host());
            let is_audited =
                |object: &Arc<Object>| !state.audited_among(&[object.namespace()]).is_empty();
            order.into_iter().partition(is_audited)
        };
        let same_namespace = |a: &Arc<Object>, b: &Arc<Object>| a.namespace() == b.namespace();
        for objects in audited.chunk_by(same_namespace) {
            self.tell_end(objects, Activity::Delete);
            objects.iter().for_each(|object| self.finish(object));
            self.tell_end(objects, Activity::Consistent);
        }
        auditors.iter().for_each(|object| self.finish(object));
        tell(self.host(), &Step::End);
    }

    /// Tells auditors what state the list of a namespace is in, by one of its objects.
    fn tell_end(&self, objects: &[Arc<Object>], activity: Activity) {
        let head = {
            let state = self.state().lock(self.host());
            let namespace = objects.first().map(|object| object.namespace());
            namespace
                .and_then(|namespace| state.head(namespace))
                .cloned()
        };
        if let Some(head) = head {
            self.loaded().notices().activity(&head, activity);
        }
    }

    /// Runs the FINI functions of an object, if its INIT functions have been run, once.
    fn finish(&self, object: &Object) {
        {
            let mut state = self.state().lock(self.host());
            match state.node_mut(Key::of(object)) {
                Some(node) if node.initialised && !node.finished => node.finished = true,
                _ => return,
            }
        }
        self.run_fini_functions(object);
        self.tell_closed(object);
    }
}
