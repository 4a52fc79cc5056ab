//! `dlopen` and `dlmopen`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::symbol::ENDED;
use crate::audit::Activity;
use crate::debug::RState;
use crate::error::Error;
use crate::host::Errno;
use crate::init::InitOn;
use crate::load::{GONE, Load};
use crate::loader::Loader;
use crate::mode::Mode;
use crate::namespace::{Audited, BASE, Key, NamespaceId, Order};
use crate::object::{Object, Role};
use crate::observer::{Step, tell};
use crate::state::State;
use crate::world::Entry;

/// `LM_ID_NEWLM`.
const LM_ID_NEWLM: usize = usize::MAX;

/// Where an object is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Where the caller's code is, or the thread is bound to.
    Caller,
    /// In a namespace there is.
    Namespace(NamespaceId),
    /// In a new one: `LM_ID_NEWLM`.
    New,
}

/// A request to open an object.
pub(crate) struct Opening<'a> {
    /// What to open; empty: the program.
    pub(crate) name: &'a [u8],
    /// The mode's bits, as C has them.
    pub(crate) mode: usize,
    pub(crate) target: Target,
    /// An address in the code that asks.
    pub(crate) caller: usize,
    pub(crate) init: InitOn,
    /// Whether it may turn out an auditor.
    pub(crate) audits: bool,
}

impl<'a> Opening<'a> {
    /// `dlopen(name, mode)`, called from this address.
    pub(crate) fn new(name: &'a [u8], mode: usize, caller: usize) -> Self {
        Self {
            name,
            mode,
            target: Target::Caller,
            caller,
            init: InitOn::Caller,
            audits: false,
        }
    }

    /// Opens what may turn out an auditor, by this name, as if code of `ld.so`'s at this address asked for it: in a new
    /// namespace, with a C library of its own.
    pub(crate) fn auditor(name: &'a [u8], rtld: usize) -> Self {
        let mode = Mode::LAZY | Mode::ISOLATE;
        Self {
            target: Target::New,
            audits: true,
            ..Self::new(name, mode.bits(), rtld)
        }
    }

    /// Says where, as `dlmopen` has it: an `Lmid_t`.
    pub(crate) fn in_namespace(self, lmid: usize) -> Self {
        let target = if lmid == LM_ID_NEWLM {
            Target::New
        } else {
            Target::Namespace(NamespaceId::from_lmid(lmid))
        };
        Self { target, ..self }
    }
}

impl Loader {
    /// Loads an object and whatever it needs, or finds it loaded; returns its handle, 0 for RTLD_NOLOAD's "no".
    pub(crate) fn open_object(&self, opening: &Opening<'_>) -> Result<usize, Error> {
        let mode = Mode::from_bits(opening.mode).ok_or(Error::Invalid("invalid mode parameter"))?;
        if !mode.makes_sense() {
            return Err(Error::Host {
                object: opening.name.to_vec(),
                doing: "invalid mode for dlopen()",
                errno: Errno::EINVAL,
            });
        }
        let loading = self.begin(self.threads().current_thread());
        let mut load = Load::new(loading.thread().clone(), mode, false);
        let found = {
            // Nothing that goes may be kept by a snapshot of ours.
            let world = self.world().get();
            let caller = world
                .as_ref()
                .and_then(|world| self.loaded().entry_at(world, opening.caller));
            self.map_opening(&mut load, opening, caller)
        };
        if let Ok((_, Some(root))) = found {
            load.roots.push(root);
        }
        let load = loading.keep(load);
        let found = found.and_then(|(namespace, root)| {
            if let Some(root) = root {
                self.tell_whole(load, namespace, root);
                loading.set_added(Some((load.added.clone(), namespace)));
                self.link(&loading, load)
                    .and_then(|()| self.may_initialise(root))
                    .map_err(|error| (namespace, error))?;
                loading.set_added(None);
            }
            Ok((namespace, root))
        });
        let (namespace, root) = match found {
            Ok((namespace, Some(root))) => (namespace, root),
            Ok((_, None)) => return Ok(0),
            Err((namespace, error)) => {
                self.undo(load, namespace);
                return Err(error);
            }
        };
        let Committed {
            handle,
            opened,
            objects,
            order,
        } = self.commit(load, namespace, root);
        let (objects, order) = (loading.keep_objects(objects), loading.keep_objects(order));
        let opened = opened.map(|(object, opens)| (loading.keep(object), opens));
        if opening.init == InitOn::Worker && !order.is_empty() {
            if let Err(error) = self.initialise_on_worker(&loading, objects, order) {
                self.undo(load, namespace);
                return Err(error);
            }
        } else {
            Self::show(&loading, objects, || self.initialise(&loading, order));
        }
        if let Some((object, opens)) = opened {
            tell(self.host(), &Step::Opened(object.list_label(), opens));
        }
        Ok(handle)
    }

    /// Tells auditors that everything has been mapped, unless there was nothing to do.
    fn tell_whole(&self, load: &Load, namespace: NamespaceId, root: Key) {
        if !self.loaded().auditors().are_there() {
            return;
        }
        let head = {
            let state = self.state().lock(self.host());
            let is_audited = state
                .space(namespace)
                .is_some_and(|space| space.audited != Audited::Not);
            let is_new = !load.added.is_empty() || !state.is_open(root);
            state
                .head(namespace)
                .filter(|_| is_audited && is_new)
                .cloned()
        };
        if let Some(head) = head {
            let notices = self.loaded().notices();
            notices.activity(&head, Activity::Consistent);
        }
    }

    /// Takes back a load that has failed.
    fn undo(&self, load: &Load, namespace: NamespaceId) {
        let mut state = self.state().lock(self.host());
        if load.is_told {
            let notices = self.loaded().locked_notices();
            for object in load.objects(&state).iter().rev() {
                notices.objclose(object);
            }
            state.tell_activity(notices, namespace, Activity::Delete);
        }
        self.linker().roll_back(&mut state, &load.added, namespace);
        if load.is_told {
            let notices = self.loaded().locked_notices();
            state.tell_activity(notices, namespace, Activity::Consistent);
        }
    }

    /// Finds or maps what is asked for, and what it needs. An error tells in which namespace, too.
    fn map_opening(
        &self,
        load: &mut Load,
        opening: &Opening<'_>,
        caller: Option<&Entry>,
    ) -> Result<(NamespaceId, Option<Key>), (NamespaceId, Error)> {
        let mut state = self.state().lock(self.host());
        let namespace = match opening.target {
            Target::Caller => self.threads().acting_namespace(caller),
            Target::Namespace(id) => id,
            Target::New => state.new_namespace(Order::OldestFirst),
        };
        match state.space_mut(namespace) {
            Some(space) if !space.ended => {
                if opening.audits {
                    space.set_audited(Audited::Objects);
                }
            }
            _ if opening.target == Target::Caller => return Err((namespace, ENDED)),
            _ => return Err((namespace, GONE)),
        }
        let failed = |error| (namespace, error);
        if opening.name.is_empty() {
            return match first_of(&state, namespace) {
                Some(key) if opening.target != Target::New => Ok((namespace, Some(key))),
                _ => Err(failed(Error::Invalid("invalid namespace"))),
            };
        }
        let name = opening.name;
        // A path says where it is, but for its tokens.
        let is_path = name.contains(&b'/') && !name.contains(&b'$');
        let caller = caller.filter(|_| opening.target == Target::Caller || !is_path);
        let wanted_by = caller.map(|caller| Key::of(&caller.object));
        if load.mode.contains(Mode::NOLOAD) {
            let known = self.linker().known(&mut state, namespace, name, wanted_by);
            return Ok((namespace, known));
        }
        let shared = load.mode.contains(Mode::SHARED);
        let root = self
            .linker()
            .find_or_add(&mut state, load, namespace, name, wanted_by, shared)
            .map_err(failed)?;
        self.linker().add_needed(&mut state, load).map_err(failed)?;
        Ok((namespace, Some(root)))
    }

    /// Refuses to run INIT functions in a handler that has interrupted what they might call.
    fn may_initialise(&self, root: Key) -> Result<(), Error> {
        let Some(function) = self.loaded().interrupted_call() else {
            return Ok(());
        };
        let state = self.state().lock(self.host());
        let order = if state.is_open(root) {
            Vec::new()
        } else {
            state.uninitialised(root, &state.closure(&[root]))
        };
        let has_functions = |object: &&Arc<Object>| {
            let dynamic = object.dynamic();
            let mut init = object.functions(dynamic.init, dynamic.init_array);
            init.next().is_some()
        };
        order.iter().find(has_functions).map_or(Ok(()), |object| {
            Err(Error::Interrupted {
                object: object.shown().to_vec(),
                kind: "INIT",
                function,
            })
        })
    }

    /// Enters a load that can no longer fail into the books.
    fn commit(&self, load: &Load, namespace: NamespaceId, root: Key) -> Committed {
        let mut state = self.state().lock(self.host());
        self.linker().add_local_groups(&mut state, load, |_| true);
        let closure = state.closure(&[root]);
        let proxied = load.added.iter().filter_map(|&key| state.node(key));
        for node in proxied.filter(|node| node.proxy.is_some()) {
            // What others have through a proxy stays.
            node.object.pin();
        }
        let is_proxy = state.node(root).is_some_and(|node| node.proxy.is_some());
        let is_open = state.is_open(root);
        if let Some(space) = state.space_mut(namespace) {
            // The first object of a namespace is to it what the program is to the base namespace.
            let is_first = namespace != BASE && space.global().is_empty() && !is_proxy;
            if space.is_session() {
                space.add_to_session(&closure);
            } else if is_first || load.mode.contains(Mode::GLOBAL) {
                // Before INIT functions run, unlike glibc: their visibility says who may see the objects meanwhile.
                self.add_global(&mut state, namespace, &closure);
            }
        }
        let (mut handle, mut opened) = (0, None);
        if let Some(node) = state.node_mut(root) {
            if node.object.role() != Role::Main {
                node.set_opens(node.opens() + 1);
            }
            node.group.get_or_insert_with(|| closure.clone().into());
            handle = node.handle();
            opened = Some((node.object.clone(), node.opens()));
            if load.mode.contains(Mode::NODELETE) {
                node.object.pin();
            }
        }
        let objects = load.objects(&state);
        let order = if is_open {
            Vec::new()
        } else {
            state.uninitialised(root, &closure)
        };
        let announced = [BASE, namespace];
        let announced = if load.added.is_empty() {
            &[][..]
        } else {
            &announced
        };
        state.attach_debugger(namespace);
        state.mark(announced, RState::Add);
        state.publish(self.world());
        state.mark(announced, RState::Consistent);
        drop(state);
        if !announced.is_empty() {
            self.stop_debuggers();
        }
        Committed {
            handle,
            opened,
            objects,
            order,
        }
    }

    /// Adds a closure to the global scope of a namespace.
    fn add_global(&self, state: &mut State, namespace: NamespaceId, closure: &[Arc<Object>]) {
        let Some(space) = state.space_mut(namespace) else {
            return;
        };
        for object in closure.iter().filter(|object| !space.has_global(object)) {
            tell(self.host(), &Step::AddedToGlobal(object.label()));
        }
        space.add_global(closure);
    }
}

/// What a load has come to.
struct Committed {
    handle: usize,
    /// What was asked for, and how many times it is open now.
    opened: Option<(Arc<Object>, usize)>,
    /// The new objects.
    objects: Vec<Arc<Object>>,
    /// What is to be initialised, in order.
    order: Vec<Arc<Object>>,
}

/// Returns the node a null name stands for: the program, or the first object of another namespace.
fn first_of(state: &State, namespace: NamespaceId) -> Option<Key> {
    let nodes = state.space(namespace)?.nodes();
    let first = nodes.iter().find(|node| node.proxy.is_none())?;
    Some(Key::of(&first.object))
}
