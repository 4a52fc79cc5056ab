//! `dlclose`.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::debug::RState;
use crate::error::Error;
use crate::family::Held;
use crate::ld_debug::{self, Category, In};
use crate::loader::Loader;
use crate::namespace::{Key, NamespaceId};
use crate::object::{ObjectId, Role};
use crate::state::State;
use crate::text::Text;

impl Loader {
    /// Undoes one `dlopen`; unloads what nothing keeps any more. The last one is refused in a handler that has interrupted
    /// what FINI functions might call.
    pub(crate) fn dlclose(&self, handle: usize) -> Result<(), Error> {
        let thread = self.current_thread();
        let held = self.family().enter(self.host(), &thread);
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
                        let (name, opens) = (Text(node.object.shown()), node.opens());
                        let line = format_args!("\nclosing file={name}; direct_opencount={opens}");
                        ld_debug::say(self.host(), Category::Files, line);
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
            self.collect(&held, namespace);
        }
        Ok(())
    }

    /// Refuses to run the FINI functions of what nothing keeps, once a node has been closed, in a handler that has interrupted what
    /// they might call: the node is as before then.
    fn may_finish(&self, state: &mut State, closed: Key) -> Result<(), Error> {
        let Some(function) = self.interrupted_call() else {
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

    /// Unloads what nothing keeps in a namespace, and what has outlived its session. What FINI functions close meanwhile
    /// goes when they have returned, as in glibc: they are not interrupted by others.
    pub(crate) fn collect(&self, held: &Held<'_>, namespace: NamespaceId) {
        if let Some(closed) = &mut self.state().lock(self.host()).closed_meanwhile {
            closed.insert(namespace);
            return;
        }
        let mut next = Some(namespace);
        while let Some(namespace) = next {
            self.state()
                .lock(self.host())
                .closed_meanwhile
                .get_or_insert_default();
            self.unload(held, namespace);
            let mut state = self.state().lock(self.host());
            let closed = state.closed_meanwhile.as_mut();
            next = closed.and_then(BTreeSet::pop_first);
            if next.is_none() {
                state.closed_meanwhile = None;
            }
        }
    }

    fn unload(&self, held: &Held<'_>, namespace: NamespaceId) {
        let (garbage, fini) = {
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
                    (node.going, node.finished) = (true, true);
                }
            }
            if garbage.is_empty() {
                state.reclaim();
                self.registry().reclaim(self.host());
                return;
            }
            let real = |key: &&Key| state.node(**key).is_some_and(|node| node.proxy.is_none());
            let objects: Vec<Key> = garbage.iter().filter(real).copied().collect();
            let fini = state.fini_order(&objects);
            (garbage, fini)
        };
        for object in &fini {
            held.lend(|| self.run_fini_functions(object));
        }
        let mut state = self.state().lock(self.host());
        let nodes = garbage.iter().filter_map(|&key| state.node(key));
        for node in nodes.filter(|node| node.proxy.is_none()) {
            let line = format_args!("\nfile={};  destroying link map", In::of(&node.object));
            ld_debug::say(self.host(), Category::Files, line);
        }
        state.mark(&[namespace], RState::Delete);
        self.forget(&mut state, &garbage);
        state.publish(self.world());
        drop(fini);
        state.reclaim();
        state.mark(&[namespace], RState::Consistent);
        drop(state);
        self.stop_debuggers();
    }

    /// Frees what was being read when it should have been freed. If somebody holds the locks, a later gate will.
    pub(crate) fn reclaim(&self) {
        if let Some(mut state) = self.state().try_lock(self.host()) {
            state.reclaim();
        }
        self.registry().reclaim(self.host());
    }
}
