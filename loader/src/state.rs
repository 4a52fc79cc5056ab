//! What loads know: which object needs, uses or opened which, in load order. Only the thread that holds the load lock
//! changes it; look-ups never see it, they see the [`World`] made from it.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::Error;
use crate::host::FileId;
use crate::object::{Object, ObjectId, Role};
use crate::publish::{Published, Retired};
use crate::search::{self, Search, Wanted};
use crate::tls::Tls;
use crate::world::{Entry, Group, READERS, UniqueTable, World};

/// An object as loads see it.
pub(crate) struct Node {
    pub(crate) object: Arc<Object>,
    /// Names it was asked for by.
    names: Vec<Vec<u8>>,
    /// Who brought it in: DT_RPATH is inherited from there.
    loaded_by: Option<ObjectId>,
    /// DT_NEEDED, in order.
    pub(crate) needed: Vec<ObjectId>,
    /// Objects its relocations refer to.
    uses: BTreeSet<ObjectId>,
    /// How many `dlopen`s have not been undone.
    pub(crate) opens: usize,
    /// Part of the program as it was started.
    pub(crate) initial: bool,
    /// Groups whose members find each other, by the object at their root.
    locals: Vec<(ObjectId, Group)>,
    pub(crate) group: Option<Group>,
    /// INIT functions have been started.
    pub(crate) initialised: bool,
    /// FINI functions have been started.
    pub(crate) finished: bool,
    /// Being unloaded: nobody finds it by name any more.
    pub(crate) going: bool,
}

/// Everything loads know.
pub(crate) struct State {
    nodes: Vec<Node>,
    global: Vec<Arc<Object>>,
    unique: Option<Arc<UniqueTable>>,
    next_id: ObjectId,
    pub(crate) search: Option<Search>,
    adds: u64,
    subs: u64,
    retired: Retired<World>,
    /// LD_BIND_NOW.
    pub(crate) bind_now: bool,
    /// Address of `struct r_debug`, and of the function debuggers stop at.
    pub(crate) r_debug: usize,
    pub(crate) r_brk: usize,
}

impl State {
    /// Makes the state before anything is loaded.
    pub(crate) const fn new() -> Self {
        Self {
            nodes: Vec::new(),
            global: Vec::new(),
            unique: None,
            next_id: 1,
            search: None,
            adds: 0,
            subs: 0,
            retired: Retired::new(),
            bind_now: false,
            r_debug: 0,
            r_brk: 0,
        }
    }

    /// Returns the table of unique symbols.
    pub(crate) fn unique(&self) -> Arc<UniqueTable> {
        self.unique.clone().unwrap_or_default()
    }

    /// Replaces the table of unique symbols.
    pub(crate) fn set_unique(&mut self, unique: Arc<UniqueTable>) {
        self.unique = Some(unique);
    }

    /// Returns an id for a new object.
    pub(crate) fn new_id(&mut self) -> ObjectId {
        self.next_id += 1;
        self.next_id
    }

    /// Adds an object.
    pub(crate) fn add(
        &mut self,
        object: Arc<Object>,
        name: &[u8],
        loaded_by: Option<ObjectId>,
        initial: bool,
    ) {
        self.adds += 1;
        self.nodes.push(Node {
            object,
            names: alloc::vec![name.to_vec()],
            loaded_by,
            needed: Vec::new(),
            uses: BTreeSet::new(),
            opens: 0,
            initial,
            locals: Vec::new(),
            group: None,
            initialised: false,
            finished: false,
            going: false,
        });
    }

    /// Returns the objects in load order.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns an object's node.
    pub(crate) fn node(&self, id: ObjectId) -> Option<&Node> {
        let index = self
            .nodes
            .binary_search_by_key(&id, |node| node.object.id())
            .ok()?;
        self.nodes.get(index)
    }

    /// Returns an object's node.
    pub(crate) fn node_mut(&mut self, id: ObjectId) -> Option<&mut Node> {
        let index = self
            .nodes
            .binary_search_by_key(&id, |node| node.object.id())
            .ok()?;
        self.nodes.get_mut(index)
    }

    /// Returns the object with this role.
    pub(crate) fn with_role(&self, role: Role) -> Option<&Arc<Object>> {
        self.nodes
            .iter()
            .map(|node| &node.object)
            .find(|object| object.role() == role)
    }

    /// Finds an object by a name it is known by.
    pub(crate) fn by_name(&self, name: &[u8]) -> Option<ObjectId> {
        let has_name = |node: &&Node| {
            let object = &node.object;
            object.path() == name
                || node.names.iter().any(|known| known == name)
                || object.soname() == Some(name)
        };
        self.nodes
            .iter()
            .filter(|node| !node.going)
            .find(has_name)
            .map(|node| node.object.id())
    }

    /// Finds an object by its file.
    pub(crate) fn by_file(&mut self, id: FileId, name: &[u8]) -> Option<ObjectId> {
        let node = self
            .nodes
            .iter_mut()
            .find(|node| node.object.file_id() == id && !node.going)?;
        node.names.push(name.to_vec());
        Some(node.object.id())
    }

    /// Returns the directories to search for what an object needs.
    pub(crate) fn wanted(&self, id: Option<ObjectId>) -> Wanted {
        let mut wanted = Wanted::default();
        let Some(node) = id.and_then(|id| self.node(id)) else {
            return wanted;
        };
        let list = |object: &Object, offset: Option<usize>| {
            let list = offset.and_then(|offset| object.string(offset).map(<[u8]>::to_vec));
            list.map_or_else(Vec::new, |list| search::directories(&list, object.origin()))
        };
        wanted.runpath = list(&node.object, node.object.dynamic().runpath);
        if node.object.dynamic().runpath.is_some() {
            return wanted;
        }
        let mut next = Some(node);
        while let Some(node) = next {
            if node.object.dynamic().runpath.is_none() {
                wanted
                    .rpath
                    .extend(list(&node.object, node.object.dynamic().rpath));
            }
            next = node.loaded_by.and_then(|id| self.node(id));
        }
        // The program's own DT_RPATH serves everybody, also what `dlopen` brought in.
        if let Some(main) = self
            .with_role(Role::Main)
            .filter(|main| main.dynamic().runpath.is_none())
        {
            wanted.rpath.extend(list(main, main.dynamic().rpath));
        }
        wanted
    }

    /// Returns an object and what it needs, breadth first.
    pub(crate) fn closure(&self, roots: &[ObjectId]) -> Vec<Arc<Object>> {
        let mut order: Vec<Arc<Object>> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut queue: Vec<ObjectId> = roots.to_vec();
        let mut at = 0;
        while let Some(&id) = queue.get(at) {
            at += 1;
            if !seen.insert(id) {
                continue;
            }
            if let Some(node) = self.node(id) {
                order.push(node.object.clone());
                queue.extend(&node.needed);
            }
        }
        order
    }

    /// Lets members of a group find each other, after the global scope.
    pub(crate) fn add_local_group(&mut self, root: ObjectId, group: &Group, members: &[ObjectId]) {
        for &id in members {
            if let Some(node) = self.node_mut(id)
                && !node.initial
                && !node.locals.iter().any(|(id, _)| *id == root)
            {
                node.locals.push((root, group.clone()));
            }
        }
    }

    /// Adds objects to the global scope.
    pub(crate) fn add_global(&mut self, group: &[Arc<Object>]) {
        for object in group {
            if !self
                .global
                .iter()
                .any(|present| present.id() == object.id())
            {
                self.global.push(object.clone());
            }
        }
    }

    /// Notes that relocations of one object refer to another.
    pub(crate) fn note_uses(&mut self, uses: &[(ObjectId, ObjectId)]) {
        for &(user, used) in uses {
            if let Some(node) = self.node_mut(user) {
                node.uses.insert(used);
            }
        }
    }

    /// Returns the objects whose INIT functions are still to be run for these roots, in the order to run them: whatever
    /// an object needs comes first, as glibc's depth-first sort has it.
    pub(crate) fn uninitialised(&self, objects: &[Arc<Object>]) -> Vec<Arc<Object>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for object in objects.iter().rev() {
            self.visit(object.id(), &mut seen, &mut order, |node| {
                node.needed.clone()
            });
        }
        order.retain(|object| self.node(object.id()).is_some_and(|node| !node.initialised));
        order
    }

    /// Returns everything in the order FINI functions are run: who uses an object comes before it, whether by
    /// DT_NEEDED or because a reference was bound to it, and the program comes first.
    pub(crate) fn fini_order(&self) -> Vec<Arc<Object>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for node in self.nodes.iter().rev() {
            self.visit(node.object.id(), &mut seen, &mut order, |node| {
                let uses = node.uses.iter().copied().chain(node.object.bound_to());
                node.needed.iter().copied().chain(uses).collect()
            });
        }
        order.reverse();
        if let Some(main) = order.iter().position(|object| object.role() == Role::Main) {
            order[..=main].rotate_right(1);
        }
        order
    }

    /// Appends what is reachable from `root` and not yet seen, whatever an object leads to before the object itself.
    fn visit(
        &self,
        root: ObjectId,
        seen: &mut BTreeSet<ObjectId>,
        order: &mut Vec<Arc<Object>>,
        leads_to: impl Fn(&Node) -> Vec<ObjectId>,
    ) {
        // An explicit stack: chains of needed objects can be longer than a kernel stack is deep.
        let mut stack = Vec::new();
        let mut enter = |id: ObjectId, stack: &mut Vec<(Arc<Object>, Vec<ObjectId>)>| {
            if let Some(node) = self.node(id)
                && seen.insert(id)
            {
                let mut next = leads_to(node);
                next.reverse();
                stack.push((node.object.clone(), next));
            }
        };
        enter(root, &mut stack);
        while let Some((object, next)) = stack.last_mut() {
            if let Some(id) = next.pop() {
                enter(id, &mut stack);
            } else {
                order.push(object.clone());
                stack.pop();
            }
        }
    }

    /// Checks that the versions an object needs are there.
    pub(crate) fn check_versions(&self, id: ObjectId) -> Result<(), Error> {
        let Some(node) = self.node(id) else {
            return Ok(());
        };
        for needed in node.object.versions().needed() {
            let provider = node
                .needed
                .iter()
                .filter_map(|&id| self.node(id))
                .find(|provider| {
                    provider.object.soname() == Some(needed.file)
                        || provider.names.iter().any(|name| name == needed.file)
                });
            let Some(provider) = provider else { continue };
            if !provider.object.versions().provides(needed.name) && !needed.weak {
                return Err(Error::VersionNotFound {
                    object: provider.object.shown().to_vec(),
                    version: needed.name.to_vec(),
                    wanted_by: node.object.shown().to_vec(),
                });
            }
        }
        Ok(())
    }

    /// Returns the objects nothing keeps loaded any more.
    pub(crate) fn garbage(&self) -> Vec<Arc<Object>> {
        let mut live = BTreeSet::new();
        let mut queue: Vec<ObjectId> = self
            .nodes
            .iter()
            .filter(|node| {
                let object = &node.object;
                let destructors = object
                    .pending_destructors
                    .load(core::sync::atomic::Ordering::Acquire);
                node.initial
                    || node.opens != 0
                    || object.is_pinned()
                    || destructors != 0
                    || !node.initialised
            })
            .map(|node| node.object.id())
            .collect();
        while let Some(id) = queue.pop() {
            if live.insert(id)
                && let Some(node) = self.node(id)
            {
                queue.extend(&node.needed);
                queue.extend(&node.uses);
                queue.extend(node.object.bound_to());
            }
        }
        self.nodes
            .iter()
            .filter(|node| !live.contains(&node.object.id()) && !node.going)
            .map(|node| node.object.clone())
            .collect()
    }

    /// Forgets objects. What readers still hold of them stays mapped until they have let go.
    pub(crate) fn remove(&mut self, objects: &[Arc<Object>], tls: &mut Tls) {
        let gone: BTreeSet<ObjectId> = objects.iter().map(|object| object.id()).collect();
        for object in objects {
            tls.remove_module(object);
        }
        self.nodes.retain(|node| !gone.contains(&node.object.id()));
        for node in &mut self.nodes {
            node.locals.retain(|(root, _)| !gone.contains(root));
        }
        self.global.retain(|object| !gone.contains(&object.id()));
        self.subs += gone.len() as u64;
    }

    /// Makes the next world and publishes it.
    pub(crate) fn publish(&mut self, place: &Published<World>) -> Arc<World> {
        let entries = self
            .nodes
            .iter()
            .map(|node| Entry {
                object: node.object.clone(),
                locals: node.locals.iter().map(|(_, group)| group.clone()).collect(),
                group: node.group.clone(),
            })
            .collect();
        let world = Arc::new(World::new(
            entries,
            self.global.as_slice().into(),
            self.unique(),
            self.adds,
            self.subs,
        ));
        self.link();
        place.set(Some(world.clone()), &mut self.retired);
        self.retired.reclaim(&READERS);
        world
    }

    /// Frees worlds nobody reads any more, and with them the memory of objects that are gone.
    pub(crate) fn reclaim(&mut self) {
        self.retired.reclaim(&READERS);
    }

    /// Brings the list debuggers walk up to date.
    fn link(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let at = |index: Option<usize>| {
                index
                    .and_then(|index| self.nodes.get(index))
                    .map(|node| &*node.object)
            };
            node.object
                .link_after(at(index.checked_sub(1)), at(Some(index + 1)));
        }
    }

    /// Returns the names an object needs.
    pub(crate) fn needed_names(&self, id: ObjectId) -> Vec<Vec<u8>> {
        let Some(node) = self.node(id) else {
            return Vec::new();
        };
        let offsets = &node.object.dynamic().needed;
        offsets
            .iter()
            .filter_map(|&offset| node.object.string(offset).map(<[u8]>::to_vec))
            .collect()
    }
}
