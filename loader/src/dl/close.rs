//! `dlclose`.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::audit::Activity;
use crate::debug::RState;
use crate::error::Error;
use crate::loader::Loader;
use crate::loading::Loading;
use crate::namespace::{Key, NamespaceId};
use crate::object::{Object, ObjectId, Role};
use crate::observer::{Step, tell};
use crate::state::{Closing, State};
use crate::thread::ThreadProxy;

impl Loader {
    /// Undoes one `dlopen`; unloads what nothing keeps any more. The last one is refused in a handler that has
    /// interrupted what FINI functions might call.
    pub(crate) fn dlclose(&self, handle: usize) -> Result<(), Error> {
        let loading = self.begin(self.threads().current_thread());
        let namespace = {
            let mut state = self.state().lock(self.host());
            let key = state.by_handle(handle);
            let node = key.and_then(|key| state.node_mut(key));
            match node {
                Some(node) if node.object.role() == Role::Main && node.proxy.is_none() => {
                    return Ok(());
                }
                Some(node) if node.opens() != 0 => {
                    node.set_opens(node.opens() - 1);
                    if node.opens() != 0 {
                        let step = Step::Closing(node.object.shown(), node.opens());
                        tell(self.host(), &step);
                    }
                }
                _ => return Err(Error::Invalid("shared object not open")),
            }
            if let Some(key) = key {
                self.may_finish(&mut state, key)?;
            }
            key.map(|key| key.namespace)
        };
        if let Some(namespace) = namespace {
            self.collect(&loading, namespace);
        }
        Ok(())
    }

    /// Refuses to run the FINI functions of what nothing keeps, once a node has been closed, in a handler that has
    /// interrupted what they might call: the node is as before then.
    fn may_finish(&self, state: &mut State, closed: Key) -> Result<(), Error> {
        let Some(function) = self.loaded().interrupted_call() else {
            return Ok(());
        };
        let space = state.space(closed.namespace);
        let garbage = space.map_or_else(Vec::new, |space| space.garbage());
        let has_functions = |id: &ObjectId| {
            let node = space.and_then(|space| space.node(*id))?;
            let object = &node.object;
            let dynamic = object.dynamic();
            let mut fini = object.functions(dynamic.fini, dynamic.fini_array);
            (node.proxy.is_none() && fini.next().is_some()).then(|| object.shown().to_vec())
        };
        let Some(object) = garbage.iter().find_map(has_functions) else {
            return Ok(());
        };
        if let Some(node) = state.node_mut(closed) {
            node.set_opens(node.opens() + 1);
        }
        Err(Error::Interrupted {
            object,
            kind: "FINI",
            function,
        })
    }

    /// Unloads what nothing keeps in a namespace, and what has outlived its session. What FINI functions close
    /// meanwhile goes when they have returned, as in glibc: they are not interrupted by others. A close whose FINI
    /// functions have been left is finished first.
    pub(crate) fn collect(&self, loading: &Loading<'_>, namespace: NamespaceId) {
        {
            let mut state = self.state().lock(self.host());
            let closing = state.closing.get_or_insert_with(|| Closing {
                family: loading.family(),
                garbage: Vec::new(),
                namespaces: BTreeSet::new(),
            });
            closing.namespaces.insert(namespace);
            if closing.family != loading.family() {
                if self.family().lasts(self.host(), closing.family) {
                    return;
                }
                closing.family = loading.family();
            }
        }
        self.unload(loading);
        while let Some(namespace) = self.next_to_collect() {
            if self.find_garbage(namespace) {
                self.unload(loading);
            }
        }
    }

    /// Takes out the next namespace to look for garbage in; ends the close when there is none.
    fn next_to_collect(&self) -> Option<NamespaceId> {
        let mut state = self.state().lock(self.host());
        let next = state.closing.as_mut()?.namespaces.pop_first();
        if next.is_none() {
            state.closing = None;
        }
        next
    }

    /// Notes what nothing keeps any more in a namespace, and in those of sessions that have ended; says whether there
    /// is anything.
    fn find_garbage(&self, namespace: NamespaceId) -> bool {
        let mut state = self.state().lock(self.host());
        let mut garbage = Vec::new();
        for namespace in state.ending().chain([namespace]).collect::<Vec<_>>() {
            let Some(space) = state.space(namespace) else {
                continue;
            };
            garbage.extend(space.garbage().into_iter().map(|id| Key { namespace, id }));
        }
        for &key in &garbage {
            if let Some(node) = state.node_mut(key) {
                node.going = true;
            }
        }
        let found = !garbage.is_empty();
        if let Some(closing) = state.closing.as_mut().filter(|_| found) {
            closing.garbage = garbage;
        } else {
            state.reclaim();
            self.registry().reclaim(self.host());
        }
        found
    }

    /// Runs those FINI functions of the close's garbage that have not run, and unloads it.
    fn unload(&self, loading: &Loading<'_>) {
        let fini = {
            let state = self.state().lock(self.host());
            let objects: Vec<Key> = state.unfinalised_garbage().collect();
            loading.keep_objects(state.fini_order(&objects))
        };
        for object in fini {
            if let Some(node) = self.state().lock(self.host()).node_mut(Key::of(object)) {
                node.finished = true;
            }
            loading.lend(|| self.run_fini_functions(object));
            self.tell_closed(object);
        }
        self.forget_garbage();
    }

    /// Unloads the close's garbage, whose FINI functions have run.
    fn forget_garbage(&self) {
        let mut state = self.state().lock(self.host());
        let Some(closing) = &mut state.closing else {
            return;
        };
        let garbage = core::mem::take(&mut closing.garbage);
        if garbage.is_empty() {
            return;
        }
        let namespaces: BTreeSet<_> = garbage.iter().map(|key| key.namespace).collect();
        let namespaces: Vec<_> = namespaces.into_iter().collect();
        let nodes = garbage.iter().filter_map(|&key| state.node(key));
        for node in nodes.filter(|node| node.proxy.is_none()) {
            tell(self.host(), &Step::Unmapping(node.object.label()));
        }
        let told = state.audited_among(&namespaces);
        let notices = self.loaded().locked_notices();
        for &namespace in &told {
            state.tell_activity(notices, namespace, Activity::Delete);
        }
        state.mark(&namespaces, RState::Delete);
        self.linker().forget(&mut state, &garbage);
        state.publish(self.world());
        state.reclaim();
        state.mark(&namespaces, RState::Consistent);
        for &namespace in &told {
            state.tell_activity(notices, namespace, Activity::Consistent);
        }
        drop(state);
        self.stop_debuggers();
    }

    /// Tells auditors that an object goes, whose FINI functions have run.
    pub(crate) fn tell_closed(&self, object: &Object) {
        if !self.loaded().auditors().are_there() {
            return;
        }
        let is_told = {
            let state = self.state().lock(self.host());
            !state.audited_among(&[object.namespace()]).is_empty()
        };
        if is_told {
            self.loaded().notices().objclose(object);
        }
    }

    /// Unloads the garbage of a close that has been left, if all its FINI functions have been called and nobody is
    /// loading. Else the next close sees to it.
    pub(crate) fn finish_left_close(&self) {
        let is_left = |state: &State| {
            let closing = state.closing.as_ref();
            closing.is_some_and(|closing| !self.family().lasts(self.host(), closing.family))
                && state.unfinalised_garbage().next().is_none()
        };
        if !is_left(&self.state().lock(self.host())) {
            return;
        }
        let Some(_held) = self.family().try_enter(self.host(), &ThreadProxy::root()) else {
            return;
        };
        if is_left(&self.state().lock(self.host())) {
            self.forget_garbage();
        }
    }

    /// Frees what was being read when it should have been freed. If somebody holds the locks, a later gate will.
    pub(crate) fn reclaim(&self) {
        if let Some(mut state) = self.state().try_lock(self.host()) {
            state.reclaim();
        }
        self.registry().reclaim(self.host());
    }
}
