//! One namespace as loads see it: its objects and proxies, who needs, uses or opened which, and what is searched.
//!
//! The base namespace holds the program. Others come from `dlmopen` and from sessions ([`crate::session`]); each has
//! objects, names, scopes and unique symbols of its own. What concerns several at once is in [`crate::state`].

mod audited;
mod id;
mod known;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

pub(crate) use self::audited::Audited;
pub(crate) use self::id::{BASE, NamespaceId};
use crate::debug::RDebug;
use crate::group::Group;
use crate::host::FileId;
use crate::object::{Object, ObjectId};
use crate::proxy::Proxy;
use crate::world::{Entry, Space, UniqueTable};
use known::Known;

/// A node among all namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: NamespaceId,
    pub(crate) id: ObjectId,
}

impl Key {
    /// Returns the node of an object in its own namespace.
    pub(crate) fn of(object: &Object) -> Self {
        Self {
            namespace: object.namespace(),
            id: object.id(),
        }
    }
}

/// An object, or the proxy of one, in a namespace.
pub(crate) struct Node {
    /// The object's id; a proxy has one of its own.
    id: ObjectId,
    /// The object itself, for a proxy too.
    pub(crate) object: Arc<Object>,
    pub(crate) proxy: Option<Arc<Proxy>>,
    /// Names it was asked for by.
    names: Vec<Vec<u8>>,
    /// Who brought it in: DT_RPATH is inherited from there.
    pub(crate) loaded_by: Option<Key>,
    /// What it depends on: filtees and DT_NEEDED, in order; of a proxy, nothing.
    pub(crate) needed: Vec<ObjectId>,
    /// Those of them it is a filter for (DT_FILTER, DT_AUXILIARY): their definitions come before its own.
    pub(crate) filtees: Vec<ObjectId>,
    /// Objects of the same namespace its relocations refer to, in the order that was found out.
    pub(crate) uses: Vec<ObjectId>,
    /// How many `dlopen`s have not been undone.
    opens: usize,
    /// Part of the program as it was started, or shared with a session for as long as that lasts.
    pub(crate) initial: bool,
    /// RTLD_DEEPBIND: its own groups come before the global scope.
    deep: bool,
    /// Groups whose members find each other, by the node at their root.
    locals: Vec<(Key, Group)>,
    pub(crate) group: Option<Group>,
    /// INIT functions have been started.
    pub(crate) initialised: bool,
    /// FINI functions have been started.
    pub(crate) finished: bool,
    /// Being unloaded: nobody finds it by name any more.
    pub(crate) going: bool,
}

/// How a node comes into a namespace.
pub(crate) struct Arrival<'a> {
    /// The name it was asked for by.
    pub(crate) name: &'a [u8],
    pub(crate) loaded_by: Option<Key>,
    pub(crate) initial: bool,
    pub(crate) deep: bool,
}

impl Node {
    /// Makes the node of an object in its own namespace.
    pub(crate) fn new(object: Arc<Object>, arrival: &Arrival<'_>) -> Self {
        Self {
            id: object.id(),
            object,
            proxy: None,
            names: alloc::vec![arrival.name.to_vec()],
            loaded_by: arrival.loaded_by,
            needed: Vec::new(),
            filtees: Vec::new(),
            uses: Vec::new(),
            opens: 0,
            initial: arrival.initial,
            deep: arrival.deep,
            locals: Vec::new(),
            group: None,
            initialised: false,
            finished: false,
            going: false,
        }
    }

    /// Makes the node of an object's proxy.
    pub(crate) fn proxy(id: ObjectId, object: &Arc<Object>, to: NamespaceId, name: &[u8]) -> Self {
        let arrival = Arrival {
            name,
            loaded_by: None,
            initial: false,
            deep: false,
        };
        Self {
            id,
            proxy: Some(Proxy::new(object, to)),
            ..Self::new(object.clone(), &arrival)
        }
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    /// Returns what `dlopen` gives for it.
    pub(crate) fn handle(&self) -> usize {
        match &self.proxy {
            Some(proxy) => proxy.link_map().address(),
            None => self.object.handle(),
        }
    }

    /// Returns how many `dlopen`s have not been undone.
    pub(crate) fn opens(&self) -> usize {
        self.opens
    }

    /// Sets how many `dlopen`s have not been undone, also where libc's and debuggers' eyes see it.
    pub(crate) fn set_opens(&mut self, opens: usize) {
        self.opens = opens;
        if self.proxy.is_none() {
            self.object.link_map().set_opens(opens);
        }
    }

    /// Calls `f` with each name that it goes by.
    fn each_name(&self, mut f: impl FnMut(&[u8])) {
        f(self.object.path());
        self.names.iter().for_each(|name| f(name));
        self.object.soname().into_iter().for_each(f);
    }

    /// Says whether it was asked for by a name, or has it as soname: what version references name.
    pub(crate) fn answers_to(&self, name: &[u8]) -> bool {
        self.object.soname() == Some(name) || self.names.iter().any(|known| known == name)
    }

    fn entry(&self) -> Entry {
        Entry {
            id: self.id,
            object: self.object.clone(),
            proxy: self.proxy.clone(),
            locals: self.locals.iter().map(|(_, group)| group.clone()).collect(),
            group: self.group.clone(),
            deep: self.deep,
        }
    }

    fn link(&self, previous: usize, next: usize) {
        match &self.proxy {
            Some(proxy) => proxy.link_map().link(previous, next),
            None => self.object.link_map().link(previous, next),
        }
    }
}

/// The order of a namespace's global scope.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// What came first is searched first, as everywhere with ELF.
    OldestFirst,
    /// A later definition shadows an earlier one, as in an interactive session; what is shared comes last.
    NewestFirst,
}

/// A namespace.
pub(crate) struct Namespace {
    id: NamespaceId,
    order: Order,
    /// In load order, which is the order of their ids.
    nodes: Vec<Node>,
    known: Known,
    global: Vec<Arc<Object>>,
    /// The same for look-ups, as long as it has not changed.
    global_group: Option<Group>,
    unique: Arc<UniqueTable>,
    /// A session that has been closed: it goes when nothing keeps its objects any more.
    pub(crate) ended: bool,
    pub(crate) audited: Audited,
    /// What debuggers see.
    pub(crate) debug: RDebug,
    /// The snapshot, as long as nothing has changed since it was made.
    view: Option<Arc<Space>>,
}

impl Namespace {
    /// Makes an empty one.
    pub(crate) fn new(id: NamespaceId, order: Order) -> Self {
        Self {
            id,
            order,
            nodes: Vec::new(),
            known: Known::default(),
            global: Vec::new(),
            global_group: None,
            unique: Arc::default(),
            ended: false,
            audited: Audited::Wholly,
            debug: RDebug::default(),
            view: None,
        }
    }

    /// Sets what auditors are told of it.
    pub(crate) fn set_audited(&mut self, audited: Audited) {
        self.view = None;
        self.audited = audited;
    }

    /// Says whether it is a session's.
    pub(crate) fn is_session(&self) -> bool {
        self.order == Order::NewestFirst
    }

    /// Returns its nodes, in load order.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the node with this id.
    pub(crate) fn node(&self, id: ObjectId) -> Option<&Node> {
        let index = self.nodes.binary_search_by_key(&id, Node::id).ok()?;
        self.nodes.get(index)
    }

    /// Returns the node with this id.
    pub(crate) fn node_mut(&mut self, id: ObjectId) -> Option<&mut Node> {
        self.view = None;
        let index = self.nodes.binary_search_by_key(&id, Node::id).ok()?;
        self.nodes.get_mut(index)
    }

    /// Adds a node, whose id is larger than any before.
    pub(crate) fn add(&mut self, node: Node) -> Key {
        self.view = None;
        let id = node.id;
        self.enter(node);
        Key {
            namespace: self.id,
            id,
        }
    }

    /// Makes a node the last in load order, with a new id, which its object has already. None of the namespace's other
    /// nodes knows it yet.
    pub(crate) fn move_to_end(&mut self, id: ObjectId) {
        self.view = None;
        if let Some(index) = self.nodes.iter().position(|node| node.id == id) {
            let mut node = self.nodes.remove(index);
            node.id = node.object.id();
            self.known.forget(|known| *known == id);
            self.enter(node);
        }
    }

    fn enter(&mut self, node: Node) {
        node.each_name(|name| self.known.add_name(name, node.id));
        self.known.add_file(node.object.file_id(), node.id);
        self.nodes.push(node);
    }

    /// Finds a node by a name it is known by.
    pub(crate) fn by_name(&self, name: &[u8]) -> Option<&Node> {
        let ids = self.known.by_name(name).iter();
        let mut nodes = ids.filter_map(|&id| self.node(id));
        nodes.find(|node| !node.going)
    }

    /// Finds a node by its file, and notes that it goes by this name too.
    pub(crate) fn by_file(&mut self, id: FileId, name: &[u8]) -> Option<&Node> {
        let mut ids = self.known.by_file(id).iter();
        let id = *ids.find(|&&id| self.node(id).is_some_and(|node| !node.going))?;
        self.known.add_name(name, id);
        let index = self.nodes.binary_search_by_key(&id, Node::id).ok()?;
        let node = self.nodes.get_mut(index)?;
        if !node.names.iter().any(|known| known == name) {
            node.names.push(name.to_vec());
        }
        Some(node)
    }

    /// Returns the node with this handle.
    pub(crate) fn by_handle(&self, handle: usize) -> Option<&Node> {
        self.nodes.iter().find(|node| node.handle() == handle)
    }

    /// Lets nodes find a group's members beside what is global.
    pub(crate) fn add_local_group(&mut self, root: Key, group: &Group, members: &[ObjectId]) {
        for &id in members {
            if let Some(node) = self.node_mut(id)
                && !(node.initial || node.proxy.is_some())
                && !node.locals.iter().any(|(known, _)| *known == root)
            {
                node.locals.push((root, group.clone()));
            }
        }
    }

    /// Adds objects to the global scope.
    pub(crate) fn add_global(&mut self, group: &[Arc<Object>]) {
        self.view = None;
        for object in group {
            if !self.has_global(object) {
                self.global_group = None;
                self.global.push(object.clone());
            }
        }
    }

    /// Adds a load to what a session searches: its own objects at the front, those of the base namespace at the end.
    pub(crate) fn add_to_session(&mut self, group: &[Arc<Object>]) {
        self.view = None;
        let (own, shared): (Vec<_>, Vec<_>) = group
            .iter()
            .filter(|object| !self.has_global(object))
            .cloned()
            .partition(|object| object.namespace() == self.id);
        self.global_group = None;
        self.global.splice(..0, own);
        self.global.extend(shared);
    }

    /// Says whether an object is in the global scope.
    pub(crate) fn has_global(&self, object: &Object) -> bool {
        self.global.iter().any(|known| known.id() == object.id())
    }

    /// Returns the global scope.
    pub(crate) fn global(&self) -> &[Arc<Object>] {
        &self.global
    }

    /// Replaces the table of unique symbols.
    pub(crate) fn set_unique(&mut self, unique: Arc<UniqueTable>) {
        self.view = None;
        self.unique = unique;
    }

    /// Returns the ids of nodes nothing keeps any more.
    pub(crate) fn garbage(&self) -> Vec<ObjectId> {
        let mut live = BTreeSet::new();
        let stays = |node: &&Node| {
            let destructors = node.object.pending_destructors.load(Ordering::Acquire);
            let needed_still = node.proxy.is_none() && (destructors != 0 || !node.initialised);
            let pinned = node.proxy.is_none() && node.object.is_pinned();
            node.initial || node.opens != 0 || needed_still || pinned
        };
        self.keep(self.nodes.iter().filter(stays), &mut live);
        if !live.is_empty() {
            // What has a unique definition, or is used by more than could be noted, lasts as long as its namespace.
            let kept = |node: &&Node| node.proxy.is_none() && node.object.is_kept();
            self.keep(self.nodes.iter().filter(kept), &mut live);
        }
        let dead = |node: &&Node| !live.contains(&node.id) && !node.going;
        self.nodes.iter().filter(dead).map(Node::id).collect()
    }

    /// Adds nodes, and what they keep, to those that are alive.
    fn keep<'a>(&'a self, roots: impl Iterator<Item = &'a Node>, live: &mut BTreeSet<ObjectId>) {
        let mut queue: Vec<ObjectId> = roots.map(Node::id).collect();
        while let Some(id) = queue.pop() {
            if let Some(node) = self.node(id)
                && live.insert(id)
            {
                queue.extend(&node.needed);
                queue.extend(&node.uses);
                if node.proxy.is_none() {
                    queue.extend(node.object.bound_to());
                }
            }
        }
    }

    /// Undoes every `dlopen` in the namespace.
    pub(crate) fn close_all(&mut self) {
        for node in &mut self.nodes {
            node.set_opens(0);
        }
    }

    /// Forgets nodes. Returns those that have lost a group.
    pub(crate) fn remove(&mut self, gone: &BTreeSet<ObjectId>) -> Vec<Key> {
        self.view = None;
        self.nodes.retain(|node| !gone.contains(&node.id));
        self.known.forget(|id| gone.contains(id));
        let namespace = self.id;
        let mut bereft = Vec::new();
        for node in &mut self.nodes {
            let groups = node.locals.len();
            node.locals
                .retain(|(root, _)| root.namespace != namespace || !gone.contains(&root.id));
            if node.locals.len() != groups {
                let id = node.id;
                bereft.push(Key { namespace, id });
            }
        }
        let globals = self.global.len();
        self.global.retain(|object| !gone.contains(&object.id()));
        if self.global.len() != globals {
            self.global_group = None;
        }
        if self.unique.values().any(|(id, _)| gone.contains(id)) {
            let unique = Arc::make_mut(&mut self.unique);
            unique.retain(|_, (id, _)| !gone.contains(id));
        }
        bereft
    }

    /// Says whether nothing keeps the namespace: no object in it, no handle of a proxy, no session.
    pub(crate) fn is_empty(&self) -> bool {
        let idle = |node: &Node| node.proxy.is_some() && node.opens == 0 && !node.initial;
        (self.ended || !self.is_session()) && self.nodes.iter().all(idle)
    }

    /// Returns the snapshot that look-ups read, and brings the list debuggers walk up to date.
    pub(crate) fn view(&mut self) -> Arc<Space> {
        if let Some(view) = &self.view {
            return view.clone();
        }
        let handle = |index: Option<usize>| {
            let node = index.and_then(|index| self.nodes.get(index));
            node.map_or(0, Node::handle)
        };
        for (index, node) in self.nodes.iter().enumerate() {
            node.link(handle(index.checked_sub(1)), handle(Some(index + 1)));
        }
        self.debug.set_map(handle(Some(0)));
        let global = &mut self.global_group;
        let global = global.get_or_insert_with(|| self.global.clone().into());
        let view = Arc::new(Space::new(
            self.id,
            self.nodes
                .iter()
                .map(|node| Arc::new(node.entry()))
                .collect(),
            global.clone(),
            self.unique.clone(),
            self.audited,
        ));
        self.view = Some(view.clone());
        view
    }
}
