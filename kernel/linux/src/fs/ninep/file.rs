//! A file of the host's: what its node does.
use super::{
    Options, PATIENCE, Shared, UNLINKED,
    client::{self, Fid},
    message::Remote,
};
use crate::fs::{
    Content, DirEntry,
    inode::{self, Changes, Handle, InodeOperations},
    pipe,
    tree::{Attributes, Kind, Node},
};
use abi::Errno;
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use linux_raw_sys::general as linux;
use machine::{sync::SpinLock, time::Instant};

/// What a node of a directory of the host's does.
pub(super) struct File {
    shared: Arc<Shared>,
    /// The file by its path; the server follows it through renames.
    fid: SpinLock<Arc<Fid>>,
    state: SpinLock<State>,
}

#[derive(Default)]
struct State {
    /// The server's numbers for the file, opened to read and to write.
    reader: Weak<Open>,
    writer: Weak<Open>,
    /// Made just now, and not opened by who makes it yet.
    made: Option<Arc<Open>>,
    /// When the attributes were asked for; `None` if they are not to be trusted.
    asked: Option<Instant>,
    /// The modification time and size when pages were last known to be the file's.
    version: Option<(u64, u64)>,
    /// Written from here since.
    written: bool,
    /// The type, in `st_mode`.
    kind: u32,
    /// Its name since it was removed while it was open.
    unlinked: Weak<Unlinked>,
    is_unlinked: bool,
    /// One of several names is gone, maybe that which the fid stands for.
    is_lost: bool,
}

/// The file, opened.
struct Open {
    fid: Fid,
    readable: bool,
    /// What is left of its name, if it was removed.
    unlinked: SpinLock<Option<Arc<Unlinked>>>,
}

/// A name of ours that a removed file has as long as it is open.
struct Unlinked {
    shared: Arc<Shared>,
    name: Vec<u8>,
}

impl Drop for Unlinked {
    fn drop(&mut self) {
        let name = core::mem::take(&mut self.name);
        self.shared.removals.lock().push(name);
    }
}

impl File {
    /// A node for the file with this fid.
    pub(super) fn node(shared: &Arc<Shared>, fid: Fid) -> Result<Arc<Node>, Errno> {
        let remote = fid.attributes()?;
        let fid = Arc::new(fid);
        let file = Arc::new(Self {
            shared: shared.clone(),
            fid: SpinLock::new(fid.clone()),
            state: SpinLock::new(State {
                asked: Some(Instant::now()),
                version: Some((remote.mtime_ns, remote.size)),
                kind: remote.mode & linux::S_IFMT,
                ..State::default()
            }),
        });
        let kind = match remote.mode & linux::S_IFMT {
            linux::S_IFDIR => Kind::directory(),
            linux::S_IFREG => Kind::Regular(Content::stored(file.clone(), remote.size)),
            linux::S_IFLNK => Kind::Symlink(fid.read_link()?.into_boxed_slice()),
            linux::S_IFIFO => pipe::fifo(),
            _ => Kind::Special(remote.rdev),
        };
        let attributes = file.attributes(&remote);
        let ino = remote.qid.path;
        Ok(Node::stored(shared.dev, ino, attributes, kind, Some(file)))
    }

    fn fid(&self) -> Arc<Fid> {
        self.fid.lock().clone()
    }

    pub(super) fn set_fid(&self, fid: Fid) {
        let old = core::mem::replace(&mut *self.fid.lock(), Arc::new(fid));
        drop(old);
        self.state.lock().is_lost = false;
    }

    /// Another fid for the same path.
    pub(super) fn another_fid(&self) -> Result<Fid, Errno> {
        Ok(self.fid().walk(None)?.0)
    }

    fn attributes(&self, remote: &Remote) -> Attributes {
        let Options {
            owner: own, user, ..
        } = self.shared.options;
        let id = |id, of, shown| if of == Some(id) { shown } else { id };
        let nlink = if self.state.lock().is_unlinked {
            0
        } else {
            remote.nlink
        };
        Attributes {
            mode: remote.mode,
            uid: id(remote.uid, own.map(|own| own.0), user.0),
            gid: id(remote.gid, own.map(|own| own.1), user.1),
            nlink,
            mtime_ns: remote.mtime_ns,
            ctime_ns: remote.ctime_ns,
            atime_ns: remote.atime_ns,
            blocks: Some(remote.blocks),
            ..Attributes::default()
        }
    }

    /// Asks the host for the attributes. Pages of a file that the host has changed go. Whether it still is what the
    /// node says that it is.
    pub(super) fn ask(&self, node: &Node) -> Result<bool, Errno> {
        let remote = match self.fid().attributes() {
            Err(Errno::ENOENT) if self.is_lost() => return Ok(true),
            remote => remote?,
        };
        *node.attributes.lock() = self.attributes(&remote);
        let mut state = self.state.lock();
        state.asked = Some(Instant::now());
        let now = (remote.mtime_ns, remote.size);
        let changed = !state.written && state.version != Some(now);
        state.version = Some(now);
        let same =
            state.kind == remote.mode & linux::S_IFMT && !(changed && state.kind == linux::S_IFLNK);
        drop(state);
        if let Kind::Regular(content) = &node.kind
            && changed
        {
            content.changed_elsewhere(remote.size);
        }
        Ok(same)
    }

    fn opened(&self, write: bool) -> Option<Arc<Open>> {
        let state = self.state.lock();
        let writer = state.writer.upgrade();
        if write {
            return writer;
        }
        let reader = state.reader.upgrade();
        reader.or_else(|| writer.filter(|open| open.readable))
    }

    fn open_fid(&self, flags: u32) -> Result<Arc<Open>, Errno> {
        let fid = self.another_fid()?;
        fid.open(flags)?;
        Ok(self.keep_open(fid, flags))
    }

    fn keep_open(&self, fid: Fid, flags: u32) -> Arc<Open> {
        let access = flags & linux::O_ACCMODE;
        let open = Arc::new(Open {
            fid,
            readable: access != linux::O_WRONLY,
            unlinked: SpinLock::new(self.state.lock().unlinked.upgrade()),
        });
        let mut state = self.state.lock();
        if access == linux::O_RDONLY {
            state.reader = Arc::downgrade(&open);
        } else {
            state.writer = Arc::downgrade(&open);
        }
        open
    }

    /// If the file is open, gives it a name of ours instead of the one that goes (NFS' "silly rename"): the host's
    /// server knows open files by name.
    fn keep_unlinked(&self, directory: &Fid, name: &[u8]) -> Result<bool, Errno> {
        let state = self.state.lock();
        let open: Vec<_> = [&state.reader, &state.writer]
            .into_iter()
            .filter_map(Weak::upgrade)
            .collect();
        drop(state);
        if open.is_empty() {
            return Ok(false);
        }
        let new = self.shared.fresh_name();
        directory
            .rename(name, &self.shared.top, &new)
            .inspect_err(|_| {
                self.shared.unlinked.lock().remove(&new);
            })?;
        let unlinked = Arc::new(Unlinked {
            shared: self.shared.clone(),
            name: new,
        });
        for one in &open {
            *one.unlinked.lock() = Some(unlinked.clone());
        }
        let mut state = self.state.lock();
        state.unlinked = Arc::downgrade(&unlinked);
        state.is_unlinked = true;
        state.asked = None;
        drop(state);
        Ok(true)
    }
}

impl InodeOperations for File {
    fn patience(&self) -> u64 {
        if self.shared.options.cached {
            u64::MAX
        } else {
            PATIENCE
        }
    }

    fn lookup(&self, _: &Arc<Node>, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        match self.fid().walk(Some(name)) {
            Ok((fid, Some(qid))) => self.shared.node(fid, qid.path).map(Some),
            Ok((_, None)) => Err(Errno::EIO),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self) -> Result<Vec<DirEntry>, Errno> {
        let fid = self.another_fid()?;
        fid.open(linux::O_RDONLY | linux::O_DIRECTORY)?;
        let seen = |name: &[u8]| name != b"." && name != b".." && !name.starts_with(UNLINKED);
        let entries = fid.entries()?.into_iter();
        Ok(entries
            .filter(|entry| seen(&entry.name))
            .map(|entry| DirEntry {
                name: entry.name.into_boxed_slice(),
                ino: entry.qid.path,
                kind: entry.kind,
            })
            .collect())
    }

    fn create(
        &self,
        name: &[u8],
        mode: u32,
        _owner: (u32, u32),
        kind: &Kind,
    ) -> Result<Arc<Node>, Errno> {
        let directory = self.fid();
        let permissions = mode & 0o7777;
        let mut made = None;
        match kind {
            Kind::Regular(_) => {
                let fid = self.another_fid()?;
                let flags = linux::O_RDWR | linux::O_CREAT | linux::O_EXCL;
                fid.create(name, flags, permissions)?;
                made = Some(fid);
            }
            Kind::Directory(_) => directory.make_directory(name, permissions)?,
            Kind::Symlink(target) => directory.make_link(name, target)?,
            Kind::Fifo(_) => directory.make_node(name, mode)?,
            _ => return Err(Errno::EPERM),
        }
        let (fid, qid) = directory.walk(Some(name))?;
        let node = self.shared.node(fid, qid.ok_or(Errno::EIO)?.path)?;
        if let (Some(fid), Some(file)) = (made, inode::downcast::<Self>(&node)) {
            let open = file.keep_open(fid, linux::O_RDWR);
            file.state.lock().made = Some(open);
        }
        Ok(node)
    }

    fn link(&self, name: &[u8], file: &Node) -> Result<(), Errno> {
        let file = inode::downcast::<Self>(file).ok_or(Errno::EXDEV)?;
        self.fid().link(&file.fid(), name)
    }

    fn remove(&self, name: &[u8], file: &Node) -> Result<(), Errno> {
        if file.is_directory() {
            return self.fid().unlink(name, linux::AT_REMOVEDIR);
        }
        let node = file;
        let file = inode::downcast::<Self>(node).ok_or(Errno::EXDEV)?;
        let directory = self.fid();
        file.ask(node)?;
        if node.attributes.lock().nlink > 1 {
            directory.unlink(name, 0)?;
            file.state.lock().is_lost = true;
        } else if !file.keep_unlinked(&directory, name)? {
            directory.unlink(name, 0)?;
            file.state.lock().is_unlinked = true;
        }
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        to: &Node,
        to_name: &[u8],
        replaced: Option<&Node>,
        flags: u32,
    ) -> Result<(), Errno> {
        if flags & !linux::RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL);
        }
        let to = inode::downcast::<Self>(to).ok_or(Errno::EXDEV)?.fid();
        let old = replaced.and_then(|node| Some((node, inode::downcast::<Self>(node)?)));
        let mut last = false;
        if let Some((node, old)) = old {
            old.ask(node)?;
            last = node.attributes.lock().nlink <= 1;
            last &= !old.keep_unlinked(&to, to_name)?;
        }
        self.fid().rename(name, &to, to_name)?;
        if let Some((_, old)) = old {
            old.state.lock().is_unlinked |= last;
        }
        Ok(())
    }

    fn refresh(&self, node: &Node, now: bool) -> Result<(), Errno> {
        let asked = self.state.lock().asked;
        let trusted =
            asked.is_some_and(|asked| Instant::now().0.saturating_sub(asked.0) < self.patience());
        if trusted && (!now || self.shared.options.cached) {
            return Ok(());
        }
        self.ask(node).map(|_| ())
    }

    fn expire(&self) {
        self.state.lock().asked = None;
    }

    fn is_lost(&self) -> bool {
        self.state.lock().is_lost
    }

    fn decides_access(&self) -> bool {
        true
    }
    fn change(&self, node: &Node, changes: &Changes) -> Result<(), Errno> {
        let Options {
            owner: own, user, ..
        } = self.shared.options;
        let id = |id, of: Option<u32>, shown| match id {
            Some(id) if id == shown => Some(of.unwrap_or(id)),
            id => id,
        };
        self.fid().set_attributes(&client::Changes {
            mode: changes.mode,
            uid: id(changes.uid, own.map(|own| own.0), user.0),
            gid: id(changes.gid, own.map(|own| own.1), user.1),
            size: None,
            atime_ns: changes.atime_ns,
            mtime_ns: changes.mtime_ns,
        })?;
        let mut state = self.state.lock();
        state.asked = None;
        state.written = true;
        drop(state);
        self.ask(node)?;
        self.state.lock().written = false;
        Ok(())
    }

    fn open(&self, flags: u32) -> Result<Handle, Errno> {
        let access = flags & linux::O_ACCMODE;
        let made = self.state.lock().made.take();
        if let Some(made) = made {
            return Ok(made);
        }
        let found = match access {
            linux::O_RDONLY => self.opened(false),
            linux::O_WRONLY => self.opened(true),
            _ => self.opened(true).filter(|open| open.readable),
        };
        if let Some(open) = found {
            return Ok(open);
        }
        if access == linux::O_RDONLY {
            return Ok(self.open_fid(linux::O_RDONLY)?);
        }
        match self.open_fid(linux::O_RDWR) {
            Err(Errno::EACCES) if access == linux::O_WRONLY => Ok(self.open_fid(linux::O_WRONLY)?),
            open => Ok(open?),
        }
    }

    fn closed(&self, node: &Node) {
        let state = self.state.lock();
        let last = state.written && state.writer.strong_count() == 0;
        drop(state);
        // What is there now is from here; what comes later is the host's.
        if last && self.ask(node).is_ok() {
            self.state.lock().written = false;
        }
        self.shared.remove_closed();
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let open = match self.opened(false) {
            Some(open) => open,
            None => self.open_fid(linux::O_RDONLY)?,
        };
        open.fid.read(offset, buf)
    }

    fn write(&self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        let open = match self.opened(true) {
            Some(open) => open,
            // What a mapping has left when nobody has the file open any more, nor can open it.
            None if self.state.lock().is_unlinked => return Ok(buf.len()),
            None => self.open_fid(linux::O_WRONLY)?,
        };
        let mut state = self.state.lock();
        state.written = true;
        state.asked = None;
        drop(state);
        open.fid.write(offset, buf)
    }

    fn resize(&self, size: u64) -> Result<(), Errno> {
        let changes = client::Changes {
            size: Some(size),
            ..client::Changes::default()
        };
        // By its path: the server does not need it open.
        self.fid().set_attributes(&changes)?;
        let mut state = self.state.lock();
        state.written = true;
        state.asked = None;
        Ok(())
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.fid().xattr(name)
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        // Without a name the server tells all.
        let names = match self.fid().xattr(b"") {
            // The host's file system has none.
            Err(Errno::EOPNOTSUPP) => Vec::new(),
            names => names?,
        };
        let names = names.split(|&byte| byte == 0);
        Ok(names
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect())
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        if value.is_empty() {
            // The protocol would take it away.
            return Err(Errno::EOPNOTSUPP);
        }
        self.another_fid()?.set_xattr(name, value, flags)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.another_fid()?.set_xattr(name, b"", 0)
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        match self.opened(true).or_else(|| self.opened(false)) {
            Some(open) => open.fid.sync(data_only),
            None => Ok(()),
        }
    }
}
