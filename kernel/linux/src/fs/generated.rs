//! Files whose text is made when they are read from the beginning (/proc, /sys): who keeps one open sees what has
//! become of it whenever it starts anew. And directories of such files, which are filled when somebody looks into them.
use super::{
    DirEntry, File, Metadata, Seek, directory,
    tree::{Generated, Kind, Listing, Node},
};
use abi::Errno;
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::sync::Mutex;

type Read = Box<dyn Fn() -> Vec<u8> + Send + Sync>;
type Write = Box<dyn Fn(&[u8]) -> Result<(), Errno> + Send + Sync>;

/// How the text is made, and what a write does.
struct Source {
    read: Read,
    write: Option<Write>,
}

impl Generated for Source {
    fn text(&self) -> Vec<u8> {
        (self.read)()
    }

    fn write(&self, text: &[u8]) -> Result<(), Errno> {
        self.write.as_ref().ok_or(Errno::EINVAL)?(text)
    }
}

/// A generated file, opened.
pub struct Text {
    node: Arc<Node>,
    path: Vec<u8>,
    /// As it was when it was last read from the beginning.
    text: Mutex<Option<Vec<u8>>>,
}

impl Text {
    /// Opens the file behind a node of this kind.
    pub fn new(node: Arc<Node>, path: Vec<u8>) -> Self {
        let text = Mutex::new(None);
        Self { node, path, text }
    }
    fn source(&self) -> Result<&dyn Generated, Errno> {
        match &self.node.kind {
            Kind::Generated(source) => Ok(&**source),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl File for Text {
    fn read(&self, offset: u64, buf: &mut [u8], _nonblock: bool) -> Result<usize, Errno> {
        let source = self.source()?;
        let mut text = self.text.lock();
        if offset == 0 {
            *text = None;
        }
        let text = text.get_or_insert_with(|| source.text());
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.get(start..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn write(&self, _offset: u64, buf: &[u8], _nonblock: bool) -> Result<usize, Errno> {
        self.source()?.write(buf)?;
        Ok(buf.len())
    }
    fn append(&self, buf: &[u8]) -> Result<(usize, u64), Errno> {
        Ok((self.write(0, buf, false)?, 0))
    }
    fn seekable(&self) -> bool {
        true
    }
    fn seek(&self) -> Seek {
        Seek::NotFromEnd
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        self.node.metadata()
    }
    fn node(&self) -> Option<&Arc<Node>> {
        Some(&self.node)
    }
    fn link_text(&self) -> Vec<u8> {
        self.path.clone()
    }
}

/// Puts into a directory what is always there.
type Fill = Box<dyn Fn(&Arc<Node>) -> Result<(), Errno> + Send + Sync>;

/// A directory that is filled when somebody first looks into it: most programs do not.
pub struct Filled {
    dev: u64,
    fill: Fill,
    filled: Mutex<Option<Arc<Node>>>,
}

impl Filled {
    /// One of a file system with this number, which `fill` fills.
    pub fn new(
        dev: u64,
        fill: impl Fn(&Arc<Node>) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> Self {
        Self {
            dev,
            fill: Box::new(fill),
            filled: Mutex::new(None),
        }
    }

    /// The directory that has the entries; nothing without memory.
    fn filled(&self) -> Option<Arc<Node>> {
        let mut filled = self.filled.lock();
        if filled.is_none() {
            let node = Node::new(self.dev, linux::S_IFDIR | 0o555, Kind::directory());
            (self.fill)(&node).ok()?;
            *filled = Some(node);
        }
        filled.clone()
    }
}

impl Listing for Filled {
    fn list(&self) -> Vec<(Vec<u8>, u8)> {
        let listed = self.filled().and_then(|node| node.list().ok());
        let entries = listed.unwrap_or_default();
        let named = |one: DirEntry| (one.name.into_vec(), one.kind);
        entries.into_iter().map(named).collect()
    }

    fn child(&self, directory: &Arc<Node>, name: &[u8]) -> Option<Arc<Node>> {
        let child = self.filled()?.child(name).ok()??;
        if let Some(place) = child.place() {
            *place.lock() = Some((Arc::downgrade(directory), name.into()));
        }
        Some(child)
    }
}

/// A read-only generated file that is in no directory.
pub fn source(read: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Kind {
    Kind::Generated(Box::new(Source {
        read: Box::new(read),
        write: None,
    }))
}

/// A generated file that may be written and is in no directory.
pub fn writable_source(
    read: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    write: impl Fn(&[u8]) -> Result<(), Errno> + Send + Sync + 'static,
) -> Kind {
    Kind::Generated(Box::new(Source {
        read: Box::new(read),
        write: Some(Box::new(write)),
    }))
}

/// Puts a read-only generated file into a directory.
pub fn file(
    directory: &Arc<Node>,
    name: &str,
    read: impl Fn() -> String + Send + Sync + 'static,
) -> Result<(), Errno> {
    bytes(directory, name, move || read().into_bytes())
}

/// The same for text that need not be UTF-8.
pub fn bytes(
    directory: &Arc<Node>,
    name: &str,
    read: impl Fn() -> Vec<u8> + Send + Sync + 'static,
) -> Result<(), Errno> {
    let source = Source {
        read: Box::new(read),
        write: None,
    };
    add(directory, name, 0o444, source)
}

/// A generated file that may be written.
pub fn writable(
    directory: &Arc<Node>,
    name: &str,
    read: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    write: impl Fn(&[u8]) -> Result<(), Errno> + Send + Sync + 'static,
) -> Result<(), Errno> {
    let source = Source {
        read: Box::new(read),
        write: Some(Box::new(write)),
    };
    add(directory, name, 0o644, source)
}

fn add(directory: &Arc<Node>, name: &str, mode: u32, source: Source) -> Result<(), Errno> {
    let node = Node::new(
        directory.dev,
        linux::S_IFREG | mode,
        Kind::Generated(Box::new(source)),
    );
    directory::add(directory, name.as_bytes(), node)?;
    Ok(())
}

/// A directory below `directory`, by a relative path whose parts are made as needed.
pub fn directory(directory: &Arc<Node>, path: &str) -> Result<Arc<Node>, Errno> {
    let mut at = directory.clone();
    for name in path.split('/') {
        at = match at.child(name.as_bytes())? {
            Some(node) => node,
            None => {
                let node = Node::new(at.dev, linux::S_IFDIR | 0o555, Kind::directory());
                directory::add(&at, name.as_bytes(), node)?
            }
        };
    }
    Ok(at)
}

/// A symbolic link.
pub fn link(directory: &Arc<Node>, name: &str, target: &str) -> Result<(), Errno> {
    let kind = Kind::Symlink(target.as_bytes().into());
    let node = Node::new(directory.dev, linux::S_IFLNK | 0o777, kind);
    directory::add(directory, name.as_bytes(), node)?;
    Ok(())
}
