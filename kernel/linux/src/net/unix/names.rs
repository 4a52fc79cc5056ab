//! Names of local sockets: abstract ones, and which socket is bound to a node of the file system.
use super::Endpoint;
use crate::{
    fs::{
        directory,
        path::{self, Last},
        permission::{self, Access},
        tree::{Kind, Node},
    },
    net::address::Name,
    process,
};
use abi::Errno;
use alloc::{
    collections::BTreeMap,
    format,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::fmt::Write;
use linux_raw_sys::general as linux;
use machine::sync::Mutex;

/// Autobind chooses among so many names.
const CHOICES: u32 = 1 << 20;

/// What a name is found by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Abstract(Vec<u8>),
    /// Device and inode number. A bound socket keeps its node, so that the number is not used again.
    Node(u64, u64),
}

/// Who is bound to what, and what /proc/net/unix lists.
struct Names {
    bound: BTreeMap<Key, Weak<Endpoint>>,
    next: u32,
}

/// See [`Names`].
static NAMES: Mutex<Names> = Mutex::new(Names {
    bound: BTreeMap::new(),
    next: 0,
});

/// What an endpoint is bound to.
pub(super) struct Bound {
    /// As getsockname(2) tells it.
    pub(super) name: Name,
    key: Key,
    _node: Option<Arc<Node>>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        NAMES.lock().bound.remove(&self.key);
    }
}

/// Binds `endpoint` to a name; without one, to an abstract one of five hexadecimal digits. `EADDRINUSE`.
pub(super) fn bind(endpoint: &Arc<Endpoint>, name: &Name) -> Result<Bound, Errno> {
    let mut node = None;
    let mut names;
    let (name, key) = match name {
        Name::Path(text) => {
            let made = make_node(text)?;
            names = NAMES.lock();
            let key = Key::Node(made.dev, made.ino);
            node = Some(made);
            (name.clone(), key)
        }
        Name::Abstract(text) => {
            names = NAMES.lock();
            (name.clone(), Key::Abstract(text.clone()))
        }
        Name::Unnamed => {
            names = NAMES.lock();
            let text = names.choose()?;
            (Name::Abstract(text.clone()), Key::Abstract(text))
        }
    };
    if names.bound.contains_key(&key) {
        return Err(Errno::EADDRINUSE);
    }
    names.bound.insert(key.clone(), Arc::downgrade(endpoint));
    Ok(Bound {
        name,
        key,
        _node: node,
    })
}

impl Names {
    fn choose(&mut self) -> Result<Vec<u8>, Errno> {
        for _ in 0..CHOICES {
            self.next = (self.next + 1) % CHOICES;
            let text = format!("{:05x}", self.next).into_bytes();
            if !self.bound.contains_key(&Key::Abstract(text.clone())) {
                return Ok(text);
            }
        }
        Err(Errno::ENOSPC)
    }
}

fn make_node(text: &[u8]) -> Result<Arc<Node>, Errno> {
    let (start, umask) =
        process::with_current(|process| (process.fs().start(), process.fs().umask()));
    let target = path::walk(&start, text, Last::Keep)?;
    let mode = linux::S_IFSOCK | 0o777 & !umask;
    directory::create(&target, mode, Kind::Special(0)).map_err(|error| match error {
        Errno::EEXIST => Errno::EADDRINUSE,
        other => other,
    })
}

/// Who is bound to a name; `ECONNREFUSED` if nobody is.
pub(super) fn find(name: &Name) -> Result<Arc<Endpoint>, Errno> {
    let key = match name {
        Name::Unnamed => return Err(Errno::EINVAL),
        Name::Abstract(text) => Key::Abstract(text.clone()),
        Name::Path(text) => {
            let start = process::with_current(|process| process.fs().start());
            let node = path::lookup(&start, text)?.node;
            if node.attributes.lock().mode & linux::S_IFMT != linux::S_IFSOCK {
                return Err(Errno::ECONNREFUSED);
            }
            permission::check(&node, Access::WRITE)?;
            Key::Node(node.dev, node.ino)
        }
    };
    let bound = NAMES.lock().bound.get(&key).and_then(Weak::upgrade);
    bound.ok_or(Errno::ECONNREFUSED)
}

/// /proc/net/unix, of sockets with names.
pub fn list() -> String {
    let mut text = String::from("Num       RefCount Protocol Flags    Type St Inode Path\n");
    let bound: Vec<_> = NAMES
        .lock()
        .bound
        .values()
        .filter_map(Weak::upgrade)
        .collect();
    for endpoint in bound {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", endpoint.line());
    }
    text
}
