//! Who is told what happens to nodes, and to what is in directories: instances of inotify(7) ([`inotify`]), and owners
//! of directories that are open, by a signal ([`dnotify`]).
//!
//! Nodes of files know no names, since they can have several. A directory that is watched is therefore searched for the
//! node of an event, and what was found is remembered until the node gets or loses a name. So a file is reported under
//! each name that it has in watched directories, and one that has lost its name in none. While nobody watches anything,
//! an event costs a look at a counter.
pub mod dnotify;
pub mod inotify;
mod queue;

pub use queue::MAX_QUEUED_EVENTS;

use super::tree::{Entry, Node};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use dnotify::Owned;
use inotify::Inotify;
use linux_raw_sys::general as linux;
use machine::sync::Mutex;

/// A node was renamed within its directory, which instances of inotify are told in another way.
#[doc(alias = "FS_RENAME")]
const RENAMED: u32 = 1 << 28;

/// Most nodes whose names are remembered.
const REMEMBERED: usize = 4096;

/// What a node is told apart by: device and inode number.
type Identity = (u64, u64);

fn identity(node: &Node) -> Identity {
    (node.dev, node.ino)
}

/// The directories that a node is in, and its names there.
type Places = Arc<[(Identity, Box<[u8]>)]>;

/// Somebody's watch on a node.
#[doc(alias = "fsnotify_mark")]
struct Watch {
    listener: Listener,
    /// Events (`IN_*`, [`RENAMED`]), and `IN_ONESHOT`.
    mask: u32,
}

/// Who is told.
enum Listener {
    /// An instance, which has this descriptor for the watch.
    Inotify(Arc<Inotify>, i32),
    /// The owner of a directory.
    Dnotify(Owned),
}

/// A node with the watches on it, which keep it.
struct Watched {
    node: Arc<Node>,
    watches: Vec<Watch>,
}

struct Registry {
    nodes: BTreeMap<Identity, Watched>,
    /// Names in watched directories that were looked for.
    places: BTreeMap<Identity, Places>,
    /// How often names or watches have changed.
    changes: u64,
}

impl Registry {
    fn forget_places(&mut self) {
        self.places.clear();
        self.changes += 1;
    }

    /// Tells who watches the node `of` about an event.
    fn report(&mut self, of: Identity, event: u32, name: Option<&[u8]>, cookie: u32) {
        let Some(watched) = self.nodes.get_mut(&of) else {
            return;
        };
        let before = watched.watches.len();
        watched.watches.retain(|watch| {
            if watch.mask & event & (linux::IN_ALL_EVENTS | RENAMED) == 0 {
                return true;
            }
            watch.tell(event, name, cookie);
            let stays = watch.mask & linux::IN_ONESHOT == 0;
            if !stays {
                watch.end();
            }
            stays
        });
        let left = watched.watches.len();
        if left == 0 {
            self.nodes.remove(&of);
        }
        if left < before {
            STATE.watches.fetch_sub(before - left, Ordering::Relaxed);
            self.forget_places();
        }
    }

    /// Ends the watches for which `ends` holds; how many.
    fn remove(&mut self, mut ends: impl FnMut(&Node, &Watch) -> bool) -> usize {
        let mut count = 0;
        self.nodes.retain(|_, Watched { node, watches }| {
            let before = watches.len();
            watches.retain(|watch| !ends(node, watch));
            count += before - watches.len();
            !watches.is_empty()
        });
        if count > 0 {
            STATE.watches.fetch_sub(count, Ordering::Relaxed);
            self.forget_places();
        }
        count
    }

    /// What there is of somebody's on a node.
    fn watch(&mut self, node: &Node, is_theirs: impl Fn(&Listener) -> bool) -> Option<&mut Watch> {
        let watched = self.nodes.get_mut(&identity(node))?;
        let mut watches = watched.watches.iter_mut();
        watches.find(|watch| is_theirs(&watch.listener))
    }

    /// Enters a watch on a node.
    fn add(&mut self, node: &Arc<Node>, watch: Watch) {
        let watched = self.nodes.entry(identity(node));
        let watched = watched.or_insert_with(|| Watched {
            node: node.clone(),
            watches: Vec::new(),
        });
        watched.watches.push(watch);
        STATE.watches.fetch_add(1, Ordering::Relaxed);
        self.forget_places();
    }
}

/// All there is.
struct State {
    registry: Mutex<Registry>,
    /// How many there are in it.
    watches: AtomicUsize,
    /// Of inotify.
    instances: AtomicUsize,
    /// The last one given to the two events of a rename.
    cookie: AtomicU32,
}

static STATE: State = State {
    registry: Mutex::new(Registry {
        nodes: BTreeMap::new(),
        places: BTreeMap::new(),
        changes: 0,
    }),
    watches: AtomicUsize::new(0),
    instances: AtomicUsize::new(0),
    cookie: AtomicU32::new(0),
};

/// Whether anything is watched.
#[inline]
pub fn is_active() -> bool {
    STATE.watches.load(Ordering::Relaxed) != 0
}

/// `event`, with `IN_ISDIR` if it is a directory's.
fn marked(node: &Node, event: u32) -> u32 {
    let directory = if node.is_directory() {
        linux::IN_ISDIR
    } else {
        0
    };
    event | directory
}

/// Something has happened to a node: tells who watches it or a directory that it is in.
#[inline]
#[doc(alias = "fsnotify_parent")]
pub fn notify(node: &Node, event: u32) {
    if is_active() {
        notify_watchers(node, event);
    }
}

#[cold]
fn notify_watchers(node: &Node, event: u32) {
    let places = places(node);
    let event = marked(node, event);
    let mut registry = STATE.registry.lock();
    for (directory, name) in places.iter() {
        registry.report(*directory, event, Some(name), 0);
    }
    registry.report(identity(node), event, None, 0);
}

/// Where the node is in directories that are watched.
fn places(node: &Node) -> Places {
    if let Some(place) = node.place() {
        let place = place.lock().clone();
        let place = place.and_then(|(parent, name)| Some((parent.upgrade()?, name)));
        return place
            .map(|(parent, name)| (identity(&parent), Box::from(&*name)))
            .into_iter()
            .collect();
    }
    let key = identity(node);
    let (directories, changes) = {
        let registry = STATE.registry.lock();
        if let Some(places) = registry.places.get(&key) {
            return places.clone();
        }
        let directories: Vec<_> = registry
            .nodes
            .values()
            .map(|watched| &watched.node)
            .filter(|other| other.dev == node.dev && other.is_directory())
            .cloned()
            .collect();
        (directories, registry.changes)
    };
    let places: Places = directories
        .iter()
        .flat_map(|directory| names(directory, node))
        .collect();
    let mut registry = STATE.registry.lock();
    if registry.changes == changes {
        if registry.places.len() >= REMEMBERED {
            registry.places.clear();
        }
        registry.places.insert(key, places.clone());
    }
    places
}

/// The names of a node in a directory.
fn names(directory: &Node, node: &Node) -> Vec<(Identity, Box<[u8]>)> {
    let Ok(inner) = directory.directory() else {
        return Vec::new();
    };
    let entries = inner.entries.lock();
    entries
        .names
        .iter()
        .filter(|(_, entry)| match entry {
            Entry::Node(other) | Entry::Known(Some(other), _) => identity(other) == identity(node),
            Entry::Lazy { nid, .. } => *nid == node.ino,
            Entry::Known(None, _) => false,
        })
        .map(|(name, _)| (identity(directory), name.clone()))
        .collect()
}

/// The node itself has changed, not by one of its names: tells who watches it.
pub fn notify_node(node: &Node, event: u32) {
    if is_active() {
        let event = match event {
            // It says so of directories, too.
            linux::IN_MOVE_SELF | linux::IN_DELETE_SELF => event,
            _ => marked(node, event),
        };
        STATE.registry.lock().report(identity(node), event, None, 0);
    }
}

/// The entry of `node` in a directory was made or removed.
#[doc(alias = "fsnotify_name")]
pub fn notify_entry(directory: &Node, name: &[u8], node: &Node, event: u32) {
    notify_name(directory, name, node, event, 0);
}

fn notify_name(directory: &Node, name: &[u8], node: &Node, event: u32, cookie: u32) {
    if !is_active() {
        return;
    }
    let mut registry = STATE.registry.lock();
    registry.places.remove(&identity(node));
    registry.changes += 1;
    let event = marked(node, event);
    registry.report(identity(directory), event, Some(name), cookie);
}

/// A node went from one directory and name to another.
#[doc(alias = "fsnotify_move")]
pub fn notify_move(from: (&Node, &[u8]), to: (&Node, &[u8]), node: &Node) {
    if is_active() {
        let cookie = STATE.cookie.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        notify_name(from.0, from.1, node, linux::IN_MOVED_FROM, cookie);
        notify_name(to.0, to.1, node, linux::IN_MOVED_TO, cookie);
        let directory = identity(from.0);
        if directory == identity(to.0) {
            let mut registry = STATE.registry.lock();
            registry.report(directory, marked(node, RENAMED), Some(from.1), 0);
        }
    }
}

/// A node has lost a name: if that was its last one, watches on it end.
#[doc(alias = "fsnotify_inoderemove")]
pub fn notify_unlinked(node: &Node) {
    if !is_active() {
        return;
    }
    let gone = node.is_directory() || node.metadata().map_or(0, |now| now.nlink) == 0;
    if !gone {
        return;
    }
    notify_node(node, linux::IN_DELETE_SELF);
    let key = identity(node);
    STATE.registry.lock().remove(|other, watch| {
        let ends = identity(other) == key;
        if ends {
            watch.end();
        }
        ends
    });
}

/// A file system is not mounted any more: watches on its nodes end.
pub(super) fn notify_unmounted(dev: u64) {
    if !is_active() {
        return;
    }
    STATE.registry.lock().remove(|node, watch| {
        let ends = node.dev == dev;
        if ends {
            watch.tell(marked(node, linux::IN_UNMOUNT), None, 0);
            watch.end();
        }
        ends
    });
}

impl Watch {
    fn tell(&self, event: u32, name: Option<&[u8]>, cookie: u32) {
        match &self.listener {
            Listener::Inotify(instance, descriptor) => {
                instance.tell(*descriptor, event, name, cookie);
            }
            Listener::Dnotify(owned) if self.mask & event != 0 => owned.tell(),
            Listener::Dnotify(_) => {}
        }
    }

    /// It is no more.
    fn end(&self) {
        if let Listener::Inotify(instance, descriptor) = &self.listener {
            instance.tell(*descriptor, linux::IN_IGNORED, None, 0);
        }
    }
}
