//! What loads know: every namespace, and how they hang together. Only the thread that holds the load lock changes it;
//! look-ups never see it, they see the [`World`] made from it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::audit::{Activity, Notices};
use crate::bindings::Bindings;
use crate::debug::RState;
use crate::elf::version::Needed;
use crate::glibc::main_thread::MainThread;
use crate::link_map::Layout;
use crate::namespace::{Audited, BASE, Key, Namespace, NamespaceId, Node, Order};
use crate::object::{Object, ObjectId, Role};
use crate::publish::{Published, Retired};
use crate::search::{self, Directories, Search, Tokens, Wanted};
use crate::stacks::Stacks;
use crate::thread::Family;
use crate::tls::Tls;
use crate::world::{READERS, World};

/// A close: FINI functions run that may close more, or leave it.
pub(crate) struct Closing {
    /// Whose it is.
    pub(crate) family: Family,
    /// What is to go when its FINI functions have run.
    pub(crate) garbage: Vec<Key>,
    /// Namespaces in which there may be more.
    pub(crate) namespaces: BTreeSet<NamespaceId>,
}

/// Everything loads know.
pub(crate) struct State {
    /// The base namespace, made at the first need.
    base: Option<Namespace>,
    /// The others.
    spaces: BTreeMap<NamespaceId, Namespace>,
    last_namespace: NamespaceId,
    last_id: ObjectId,
    pub(crate) search: Option<Search>,
    /// Who answers references, as far as the image says so.
    pub(crate) bindings: Bindings,
    adds: u64,
    subs: u64,
    retired: Retired<World>,
    /// The close that is under way, or has been left in the middle.
    pub(crate) closing: Option<Closing>,
    /// LD_BIND_NOW.
    pub(crate) bind_now: bool,
    /// What this libc's `struct link_map` looks like. Known once libc is mapped.
    pub(crate) layout: Option<Layout>,
    /// The main thread, if it has been made for auditors before everything is mapped.
    pub(crate) main_thread: Option<MainThread>,
    /// The program's stacks, if there is one.
    pub(crate) stacks: Option<Stacks>,
}

impl State {
    /// Makes the state before anything is loaded.
    pub(crate) const fn new() -> Self {
        Self {
            base: None,
            spaces: BTreeMap::new(),
            last_namespace: BASE,
            last_id: 0,
            search: None,
            bindings: Bindings::Unread,
            adds: 0,
            subs: 0,
            retired: Retired::new(),
            closing: None,
            bind_now: false,
            layout: None,
            main_thread: None,
            stacks: None,
        }
    }

    /// Returns an id for a new node.
    pub(crate) fn new_id(&mut self) -> ObjectId {
        self.last_id += 1;
        self.last_id
    }

    /// Makes a namespace.
    pub(crate) fn new_namespace(&mut self, order: Order) -> NamespaceId {
        let id = self.last_namespace.next();
        self.last_namespace = id;
        self.spaces.insert(id, Namespace::new(id, order));
        id
    }

    /// Returns a namespace that exists.
    pub(crate) fn space(&self, id: NamespaceId) -> Option<&Namespace> {
        if id == BASE {
            self.base.as_ref()
        } else {
            self.spaces.get(&id)
        }
    }

    /// Returns a namespace that exists; the base namespace always does.
    pub(crate) fn space_mut(&mut self, id: NamespaceId) -> Option<&mut Namespace> {
        if id == BASE {
            Some(self.base())
        } else {
            self.spaces.get_mut(&id)
        }
    }

    /// Returns the base namespace.
    pub(crate) fn base(&mut self) -> &mut Namespace {
        self.base
            .get_or_insert_with(|| Namespace::new(BASE, Order::OldestFirst))
    }

    /// Returns the object of a node, if auditors are told what is searched for on its behalf.
    pub(crate) fn audited(&self, key: Key) -> Option<&Arc<Object>> {
        let space = self.space(key.namespace)?;
        let node = space.node(key.id)?;
        (space.audited != Audited::Not).then_some(&node.object)
    }

    /// Says whether what an object asks for is an auditor, or needed by one: `ld.so` asks for nothing else.
    fn seeks_for_auditors(&self, object: &Object) -> bool {
        let space = self.space(object.namespace());
        object.role() == Role::Rtld || space.is_some_and(|space| space.audited != Audited::Wholly)
    }

    /// Returns those of some namespaces of which auditors are told.
    pub(crate) fn audited_among(&self, namespaces: &[NamespaceId]) -> Vec<NamespaceId> {
        let is_audited = |&&id: &&NamespaceId| {
            let space = self.space(id);
            space.is_some_and(|space| space.audited != Audited::Not)
        };
        namespaces.iter().filter(is_audited).copied().collect()
    }

    /// Returns the object that stands for a namespace where auditors are told of it: the first.
    pub(crate) fn head(&self, id: NamespaceId) -> Option<&Arc<Object>> {
        let mut nodes = self.space(id)?.nodes().iter();
        let first = nodes.find(|node| node.proxy.is_none())?;
        Some(&first.object)
    }

    /// Tells auditors what state the list of a namespace is in.
    pub(crate) fn tell_activity(&self, notices: Notices<'_>, id: NamespaceId, activity: Activity) {
        if let Some(head) = self.head(id) {
            notices.activity(head, activity);
        }
    }

    /// Says whether a namespace is a session's.
    pub(crate) fn is_session(&self, id: NamespaceId) -> bool {
        self.space(id).is_some_and(Namespace::is_session)
    }

    /// Returns the objects of the base namespace, in load order.
    pub(crate) fn program(&self) -> Vec<Arc<Object>> {
        let nodes = self.base.as_ref().map_or(&[][..], Namespace::nodes);
        nodes.iter().map(|node| node.object.clone()).collect()
    }

    /// Returns all namespaces, the base namespace first.
    fn all(&self) -> impl DoubleEndedIterator<Item = &Namespace> {
        self.base.iter().chain(self.spaces.values())
    }

    /// Returns a node.
    pub(crate) fn node(&self, key: Key) -> Option<&Node> {
        self.space(key.namespace)?.node(key.id)
    }

    /// Returns a node.
    pub(crate) fn node_mut(&mut self, key: Key) -> Option<&mut Node> {
        self.space_mut(key.namespace)?.node_mut(key.id)
    }

    /// Returns the program's object with this role.
    pub(crate) fn with_role(&self, role: Role) -> Option<&Arc<Object>> {
        let mut objects = self.base.as_ref()?.nodes().iter().map(|node| &node.object);
        objects.find(|object| object.role() == role)
    }

    /// Finds the node of a handle.
    pub(crate) fn by_handle(&self, handle: usize) -> Option<Key> {
        self.all().find_map(|space| {
            let node = space.by_handle(handle)?;
            let namespace = node
                .proxy
                .as_ref()
                .map_or(node.object.namespace(), |proxy| proxy.namespace());
            Some(Key {
                namespace,
                id: node.id(),
            })
        })
    }

    /// Adds a node.
    pub(crate) fn add(&mut self, namespace: NamespaceId, node: Node) -> Option<Key> {
        self.adds += u64::from(node.proxy.is_none());
        Some(self.space_mut(namespace)?.add(node))
    }

    /// Returns what tokens stand for in an object's lists.
    fn tokens<'a>(&'a self, object: &'a Object) -> Tokens<'a> {
        let is_main = object.role() == Role::Main;
        Tokens::new(self.search.as_ref(), object.origin(), is_main)
    }

    /// Returns the directories to search for what a node needs.
    pub(crate) fn wanted(&self, key: Option<Key>) -> Wanted {
        let mut wanted = Wanted::default();
        let main = self.with_role(Role::Main);
        let Some(node) = key.and_then(|key| self.node(key)) else {
            wanted.origin = main.map_or(Vec::new(), |main| main.origin().to_vec());
            return wanted;
        };
        wanted.origin = node.object.origin().to_vec();
        wanted.nodeflib = node.object.dynamic().nodeflib;
        let list = |object: &Object, tag, offset: Option<usize>| {
            let list = offset.and_then(|offset| object.string(offset))?;
            let dirs = search::directories(list, self.tokens(object));
            let from = object.shown().to_vec();
            (!dirs.is_empty()).then_some(Directories { dirs, tag, from })
        };
        let rpath = |object: &Object| list(object, "RPATH", object.dynamic().rpath);
        if node.object.dynamic().runpath.is_some() {
            wanted.runpath = list(&node.object, "RUNPATH", node.object.dynamic().runpath);
            return wanted;
        }
        let (mut next, mut main) = (Some(node), main);
        while let Some(node) = next {
            if node.object.dynamic().runpath.is_none() {
                wanted.rpath.extend(rpath(&node.object));
            }
            if node.object.role() == Role::Main {
                main = None;
            }
            next = node.loaded_by.and_then(|key| self.node(key));
        }
        // The program's own DT_RPATH serves everybody, also what `dlopen` brought in, in every namespace.
        let Some(main) = main else { return wanted };
        if main.dynamic().runpath.is_none() {
            wanted.rpath.extend(rpath(main));
        } else if self.seeks_for_auditors(&node.object) {
            // Its DT_RUNPATH serves auditors, and what they need.
            let runpath = list(main, "RUNPATH", main.dynamic().runpath);
            wanted.rpath.extend(runpath);
        }
        wanted
    }

    /// Returns the node a key stands for: of a proxy, that of the object itself.
    fn real(&self, key: Key) -> Option<(Key, &Node)> {
        let node = self.node(key)?;
        if node.proxy.is_none() {
            return Some((key, node));
        }
        let key = Key::of(&node.object);
        Some((key, self.node(key)?))
    }

    /// Returns nodes and what they need, breadth first, with a filter's filtees right before it. Proxies lead to the
    /// objects they stand for.
    pub(crate) fn closure(&self, roots: &[Key]) -> Vec<Arc<Object>> {
        let (mut order, mut seen, mut done) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut append = |key: Key, order: &mut Vec<Key>| {
            if let Some((key, _)) = self.real(key)
                && seen.insert(key)
            {
                order.push(key);
            }
        };
        for &root in roots {
            append(root, &mut order);
        }
        let mut at = 0;
        while let Some(&key) = order.get(at) {
            let Some(node) = self.node(key).filter(|_| done.insert(key)) else {
                at += 1;
                continue;
            };
            for needed in needed(key, node) {
                append(needed, &mut order);
            }
            // Those that were not in the list, or come too late, move to the place of their filter, which is then
            // looked at again.
            let mut place = at;
            for filtee in filtees(key, node).filter_map(|key| Some(self.real(key)?.0)) {
                let now = order.iter().position(|&key| key == filtee);
                if let Some(now) = now.filter(|&now| now > place) {
                    order[place..=now].rotate_right(1);
                    place += 1;
                }
            }
        }
        let object = |key| self.node(key).map(|node| node.object.clone());
        order.into_iter().filter_map(object).collect()
    }

    /// Notes that relocations of one object refer to another of the same namespace.
    pub(crate) fn note_uses(&mut self, uses: &[(Key, ObjectId)]) {
        for &(user, used) in uses {
            if let Some(node) = self.node_mut(user)
                && !node.uses.contains(&used)
            {
                node.uses.push(used);
            }
        }
    }

    /// Says whether an object has been opened before, even if that `dlopen` is still running its INIT functions; the
    /// program always has. Another `dlopen` of it initialises nothing then: it may come from an INIT function, whose
    /// object is not ready for those that need it (glibc's `l_searchlist.r_list != NULL`).
    pub(crate) fn is_open(&self, root: Key) -> bool {
        let opened = |node: &Node| node.object.role() == Role::Main || node.group.is_some();
        self.node(root).is_some_and(opened) || self.real(root).is_some_and(|(_, node)| opened(node))
    }

    /// Returns the objects whose INIT functions are still to be run of a closure, in the order to run them: whatever an
    /// object needs comes first, as glibc's depth-first sort has it, and the root of the closure last, whatever cycles
    /// there are. DF_1_INITFIRST comes before everything.
    pub(crate) fn uninitialised(&self, root: Key, closure: &[Arc<Object>]) -> Vec<Arc<Object>> {
        let root = self.real(root).map_or(root, |(key, _)| key);
        let mut order = Vec::new();
        let mut seen = BTreeSet::from([root]);
        let others = closure.iter().map(|object| Key::of(object));
        for key in others.rev().chain([root]) {
            if key == root {
                continue;
            }
            self.visit(key, &mut seen, &mut order, |key, node| {
                needed(key, node).collect()
            });
        }
        order.extend(self.node(root).map(|node| node.object.clone()));
        order.retain(|object| {
            self.node(Key::of(object))
                .is_some_and(|node| !node.initialised)
        });
        let first = (0..order.len()).filter(|&at| order[at].dynamic().initfirst);
        if let Some(first) = first.max_by_key(|&at| order[at].id()) {
            order[..=first].rotate_right(1);
        }
        order
    }

    /// Returns objects, given by their nodes in load order, in the order their FINI functions are run: who uses an
    /// object comes before it, whether by DT_NEEDED or because a reference was bound to it, and where the two
    /// contradict each other, by DT_NEEDED; the program comes first in its namespace, and the base namespace last.
    pub(crate) fn fini_order(&self, keys: &[Key]) -> Vec<Arc<Object>> {
        let among: BTreeSet<Key> = keys.iter().copied().collect();
        let uses: BTreeMap<Key, Vec<Key>> = keys.iter().map(|&key| (key, self.uses(key))).collect();
        let contradictory = uses.values().any(|uses| !uses.is_empty());
        let mut roots: Vec<Key> = among.iter().copied().collect();
        for with_uses in [contradictory, false]
            .into_iter()
            .skip(usize::from(!contradictory))
        {
            let mut order = Vec::new();
            let mut seen = BTreeSet::new();
            for &key in roots.iter().rev() {
                self.visit(key, &mut seen, &mut order, |key, node| {
                    let used = uses.get(&key).filter(|_| with_uses).into_iter().flatten();
                    let leads_to = needed(key, node).chain(used.rev().copied());
                    leads_to.filter(|key| among.contains(key)).collect()
                });
            }
            roots = order.iter().rev().map(|object| Key::of(object)).collect();
        }
        let object = |key| self.node(key).map(|node| node.object.clone());
        let mut order: Vec<Arc<Object>> = roots.into_iter().filter_map(object).collect();
        order.sort_by_key(|object: &Arc<Object>| core::cmp::Reverse(object.namespace()));
        let first = order.iter().position(|object| object.namespace() == BASE);
        let main = order.iter().position(|object| object.role() == Role::Main);
        if let (Some(first), Some(main)) = (first, main) {
            order[first..=main].rotate_right(1);
        }
        order
    }

    /// Returns the objects among the garbage of the close under way whose FINI functions have not been called.
    pub(crate) fn unfinalised_garbage(&self) -> impl Iterator<Item = Key> {
        let garbage = self.closing.iter().flat_map(|closing| &closing.garbage);
        let unfinalised = |key: &Key| {
            let node = self.node(*key);
            node.is_some_and(|node| node.proxy.is_none() && !node.finished)
        };
        garbage.copied().filter(unfinalised)
    }

    /// Returns what references of an object were bound to, beyond what it needs and what was there from the start.
    fn uses(&self, key: Key) -> Vec<Key> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let in_group = |id| {
            let mut group = node.group.iter().flat_map(|group| group.iter());
            group.any(|object| object.id() == id)
        };
        let used = node.uses.iter().copied().chain(node.object.bound_to());
        let used = used.filter(|&id| !node.needed.contains(&id) && !in_group(id));
        let namespace = key.namespace;
        let used = used.map(|id| Key { namespace, id });
        used.filter(|&key| self.node(key).is_some_and(|node| !node.initial))
            .collect()
    }

    /// Returns the nodes of all objects, without proxies.
    pub(crate) fn objects(&self) -> Vec<Key> {
        let nodes = self.all().flat_map(|space| space.nodes());
        let real = nodes.filter(|node| node.proxy.is_none());
        real.map(|node| Key::of(&node.object)).collect()
    }

    /// Returns sessions that have ended, but for objects that something still keeps.
    pub(crate) fn ending(&self) -> impl Iterator<Item = NamespaceId> {
        self.spaces
            .iter()
            .filter(|(_, space)| space.ended)
            .map(|(&id, _)| id)
    }

    /// Appends what is reachable from `root` and not yet seen, whatever an object leads to before the object itself.
    fn visit(
        &self,
        root: Key,
        seen: &mut BTreeSet<Key>,
        order: &mut Vec<Arc<Object>>,
        leads_to: impl Fn(Key, &Node) -> Vec<Key>,
    ) {
        // An explicit stack: chains of needed objects can be longer than a kernel stack is deep.
        let mut stack = Vec::new();
        let mut enter = |key: Key, stack: &mut Vec<(Arc<Object>, Vec<Key>)>| {
            if let Some((key, node)) = self.real(key)
                && seen.insert(key)
            {
                let mut next = leads_to(key, node);
                next.reverse();
                stack.push((node.object.clone(), next));
            }
        };
        enter(root, &mut stack);
        while let Some((object, next)) = stack.last_mut() {
            if let Some(key) = next.pop() {
                enter(key, &mut stack);
            } else {
                order.push(object.clone());
                stack.pop();
            }
        }
    }

    /// Returns the versions a node's object needs, with the object and those that ought to define them.
    pub(crate) fn needed_versions(
        &self,
        key: Key,
    ) -> impl Iterator<Item = (&Object, Needed<'_>, &Object)> {
        let node = self.node(key).filter(|node| node.proxy.is_none());
        node.into_iter().flat_map(move |node| {
            let versions = node.object.versions().needed().iter();
            versions.filter_map(move |&version| {
                let mut providers = needed(key, node).filter_map(|key| self.node(key));
                let provider = providers.find(|provider| provider.answers_to(version.file))?;
                Some((&*node.object, version, &*provider.object))
            })
        })
    }

    /// Forgets nodes, and namespaces that have nothing left but proxies nobody opened. What readers still hold of the
    /// objects stays mapped until they have let go.
    pub(crate) fn remove(&mut self, gone: &[Key], tls: &mut Tls) {
        let mut by_space: BTreeMap<NamespaceId, BTreeSet<ObjectId>> = BTreeMap::new();
        for &key in gone {
            if let Some(node) = self.node(key) {
                if node.proxy.is_none() {
                    tls.remove_module(&node.object);
                    self.subs += 1;
                }
                by_space.entry(key.namespace).or_default().insert(key.id);
            }
        }
        for (id, gone) in by_space {
            let bereft = match self.space_mut(id) {
                Some(space) => space.remove(&gone),
                None => Vec::new(),
            };
            for key in bereft {
                // What brought it in is gone; from now on it is the root of what it needs.
                let group = self.closure(&[key]).into();
                if let Some(space) = self.space_mut(id) {
                    space.add_local_group(key, &group, &[key.id]);
                }
            }
            self.drop_if_empty(id);
        }
    }

    /// Forgets a namespace, which is not the base namespace, if nothing keeps it.
    pub(crate) fn drop_if_empty(&mut self, id: NamespaceId) {
        let empty = self.spaces.get(&id).is_some_and(Namespace::is_empty);
        if empty
            && let Some(mut space) = self.spaces.remove(&id)
            && let Some(base) = &self.base
        {
            space.debug.detach(&base.debug);
        }
    }

    /// Shows a namespace to debuggers.
    pub(crate) fn attach_debugger(&mut self, id: NamespaceId) {
        if let (Some(base), Some(space)) = (&self.base, self.spaces.get_mut(&id)) {
            space.debug.attach(&base.debug);
        }
    }

    /// Tells debuggers in what state namespaces are.
    pub(crate) fn mark(&self, namespaces: &[NamespaceId], what: RState) {
        for &id in namespaces {
            if let Some(space) = self.space(id) {
                space.debug.set_state(what);
            }
        }
    }

    /// Makes the next world and publishes it.
    pub(crate) fn publish(&mut self, place: &Published<World>) -> Arc<World> {
        let spaces = self.base.iter_mut().chain(self.spaces.values_mut());
        let views = spaces.map(Namespace::view).collect();
        let world = Arc::new(World::new(views, self.adds, self.subs));
        place.set(Some(world.clone()), &mut self.retired);
        self.retired.reclaim(&READERS);
        world
    }

    /// Frees worlds nobody reads any more, and with them the memory of objects that are gone.
    pub(crate) fn reclaim(&mut self) {
        self.retired.reclaim(&READERS);
    }

    /// Returns what an object says it depends on. Dynamic string tokens are expanded.
    pub(crate) fn dependencies(&self, key: Key) -> Vec<Dependency> {
        let Some(node) = self.node(key).filter(|node| node.proxy.is_none()) else {
            return Vec::new();
        };
        let dynamic = node.object.dynamic();
        let filters = dynamic.filters.iter().map(|filter| {
            let kind = if filter.auxiliary {
                DependencyKind::Auxiliary
            } else {
                DependencyKind::Filter
            };
            (filter.name, kind)
        });
        let needed = dynamic.needed.iter();
        let needed = needed.map(|&name| (name, DependencyKind::Needed));
        let dependency = |(offset, kind)| {
            let name = node.object.string(offset)?;
            // What is not expanded is not found.
            let name = self
                .tokens(&node.object)
                .expand(name)
                .unwrap_or(name.to_vec());
            Some(Dependency { name, kind })
        };
        filters.chain(needed).filter_map(dependency).collect()
    }
}

/// What an object says it depends on.
pub(crate) struct Dependency {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: DependencyKind,
}

/// The tags that name an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    /// DT_NEEDED.
    Needed,
    /// DT_FILTER.
    Filter,
    /// DT_AUXILIARY: it may be missing.
    Auxiliary,
}

/// Returns what a node needs.
fn needed(key: Key, node: &Node) -> impl Iterator<Item = Key> {
    let namespace = key.namespace;
    node.needed.iter().map(move |&id| Key { namespace, id })
}

/// Returns what a node is a filter for.
fn filtees(key: Key, node: &Node) -> impl Iterator<Item = Key> {
    let namespace = key.namespace;
    node.filtees.iter().map(move |&id| Key { namespace, id })
}
