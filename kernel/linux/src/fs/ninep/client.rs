//! Requests to a 9P2000.L server: a function each, and the numbers (fids) that files of the server have here.
//!
//! A request waits for its answer. A fid that nobody has any more is given back with a later request, so that dropping
//! one never waits.
use super::message::{Entry, Kind, Qid, Reader, Remote, Writer};
use crate::fs::file_system::Statistics;
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use machine::{
    drivers::ninep::{Large, Server},
    sched::{Storage, count_storage},
    sync::SpinLock,
};

const VERSION: &[u8] = b"9P2000.L";
const NO_TAG: u16 = u16::MAX;
const NO_FID: u32 = u32::MAX;
/// What a message with data has besides these.
const OVERHEAD: usize = 24;
/// Fids that are given back together.
const FEWEST_TO_CLUNK: usize = 16;
/// The longest value of an extended attribute, or list of their names (`XATTR_LIST_MAX`).
const LONGEST_XATTR: usize = 65536;
/// `P9_GETATTR_BASIC`.
const BASIC: u64 = 0x7ff;

/// A server, and the fids it knows.
pub(super) struct Client {
    server: &'static Server,
    /// The longest message, as agreed.
    msize: AtomicUsize,
    next_fid: AtomicU32,
    /// Fids that nobody has any more.
    dropped: SpinLock<Vec<u32>>,
}

/// A file of the server's. Dropped, it is given back some time later.
pub(super) struct Fid {
    client: Arc<Client>,
    number: u32,
}

impl Drop for Fid {
    fn drop(&mut self) {
        self.client.dropped.lock().push(self.number);
    }
}

/// What `Tsetattr` changes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Changes {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size: Option<u64>,
    pub(super) atime_ns: Option<u64>,
    pub(super) mtime_ns: Option<u64>,
}

impl Client {
    /// Agrees with the server on the version, and takes its root.
    pub(super) fn attach(server: &'static Server) -> Result<(Arc<Self>, Fid), Errno> {
        let client = Arc::new(Self {
            server,
            msize: AtomicUsize::new(server.most()),
            next_fid: AtomicU32::new(0),
            dropped: SpinLock::new(Vec::new()),
        });
        let wanted = u32::try_from(server.most()).map_err(|_| Errno::EIO)?;
        let (msize, known) = client.call(
            Kind::Version,
            |to| to.u32(wanted).string(VERSION),
            |from| Ok((from.u32()?, from.string()? == VERSION)),
        )?;
        if !known || (msize as usize) < 2 * OVERHEAD {
            return Err(Errno::EPROTONOSUPPORT);
        }
        client
            .msize
            .store((msize as usize).min(server.most()), Ordering::Relaxed);
        let root = client.fid();
        client.call(
            Kind::Attach,
            |to| {
                to.u32(root.number).u32(NO_FID).string(b"").string(b"");
                to.u32(0)
            },
            |from| from.qid(),
        )?;
        Ok((client, root))
    }

    fn fid(self: &Arc<Self>) -> Fid {
        Fid {
            client: self.clone(),
            number: self.next_fid.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// How much data a message has room for.
    fn room(&self) -> usize {
        self.msize.load(Ordering::Relaxed) - OVERHEAD
    }

    fn transact<R>(
        &self,
        large: Large,
        kind: Kind,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Errno>,
        read: impl FnOnce(&mut Reader<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let tag = if kind == Kind::Version { NO_TAG } else { 0 };
        let fill = |buf: &mut [u8]| {
            let mut writer = Writer::new(buf, kind, tag);
            write(&mut writer)?;
            writer.finish()
        };
        self.server
            .request(large, fill, |bytes| read(&mut Reader::answer(bytes, kind)?))?
    }

    fn call<R>(
        &self,
        kind: Kind,
        write: impl for<'a, 'b> FnOnce(&'a mut Writer<'b>) -> &'a mut Writer<'b>,
        read: impl FnOnce(&mut Reader<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        if self.dropped.lock().len() >= FEWEST_TO_CLUNK {
            self.clunk_dropped();
        }
        let write = |to: &mut Writer<'_>| {
            write(to);
            Ok(())
        };
        self.transact(Large::Answer, kind, write, read)
    }

    /// Gives fids back that nobody has any more.
    pub(super) fn clunk_dropped(&self) {
        let dropped = core::mem::take(&mut *self.dropped.lock());
        for number in dropped {
            let write = |to: &mut Writer<'_>| {
                to.u32(number);
                Ok(())
            };
            // The server forgets it whatever it answers.
            let _ = self.transact(Large::Answer, Kind::Clunk, write, |_| Ok(()));
        }
    }
}

impl Fid {
    fn call<R>(
        &self,
        kind: Kind,
        write: impl for<'a, 'b> FnOnce(&'a mut Writer<'b>) -> &'a mut Writer<'b>,
        read: impl FnOnce(&mut Reader<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let write = |to: &mut Writer<'_>| {
            to.u32(self.number);
            write(to);
            Ok(())
        };
        if self.client.dropped.lock().len() >= FEWEST_TO_CLUNK {
            self.client.clunk_dropped();
        }
        self.client.transact(Large::Answer, kind, write, read)
    }

    /// The file `name` in this directory; without a name, the same file.
    pub(super) fn walk(&self, name: Option<&[u8]>) -> Result<(Self, Option<Qid>), Errno> {
        let new = self.client.fid();
        let qid = self.call(
            Kind::Walk,
            |to| {
                to.u32(new.number).u16(u16::from(name.is_some()));
                match name {
                    Some(name) => to.string(name),
                    None => to,
                }
            },
            |from| match (from.u16()?, name) {
                (0, None) => Ok(None),
                (1, Some(_)) => Ok(Some(from.qid()?)),
                (0, Some(_)) => Err(Errno::ENOENT),
                _ => Err(Errno::EIO),
            },
        );
        // If the server has not taken it, giving it back does no harm.
        Ok((new, qid?))
    }

    /// Opens the file with the flags of open(2).
    pub(super) fn open(&self, flags: u32) -> Result<(), Errno> {
        self.call(Kind::Lopen, |to| to.u32(flags), |_| Ok(()))
    }

    /// Makes a file in this directory; the fid is that of the file then, opened.
    pub(super) fn create(&self, name: &[u8], flags: u32, mode: u32) -> Result<(), Errno> {
        self.call(
            Kind::Lcreate,
            |to| to.string(name).u32(flags).u32(mode).u32(0),
            |_| Ok(()),
        )
    }

    pub(super) fn make_directory(&self, name: &[u8], mode: u32) -> Result<(), Errno> {
        self.call(
            Kind::Mkdir,
            |to| to.string(name).u32(mode).u32(0),
            |_| Ok(()),
        )
    }

    pub(super) fn make_link(&self, name: &[u8], target: &[u8]) -> Result<(), Errno> {
        self.call(
            Kind::Symlink,
            |to| to.string(name).string(target).u32(0),
            |_| Ok(()),
        )
    }

    pub(super) fn make_node(&self, name: &[u8], mode: u32) -> Result<(), Errno> {
        self.call(
            Kind::Mknod,
            |to| to.string(name).u32(mode).u32(0).u32(0).u32(0),
            |_| Ok(()),
        )
    }

    /// Gives `file` another name in this directory.
    pub(super) fn link(&self, file: &Self, name: &[u8]) -> Result<(), Errno> {
        self.call(
            Kind::Link,
            |to| to.u32(file.number).string(name),
            |_| Ok(()),
        )
    }

    pub(super) fn rename(&self, name: &[u8], to: &Self, to_name: &[u8]) -> Result<(), Errno> {
        self.call(
            Kind::Renameat,
            |message| message.string(name).u32(to.number).string(to_name),
            |_| Ok(()),
        )
    }

    pub(super) fn unlink(&self, name: &[u8], flags: u32) -> Result<(), Errno> {
        self.call(Kind::Unlinkat, |to| to.string(name).u32(flags), |_| Ok(()))
    }

    pub(super) fn read_link(&self) -> Result<Vec<u8>, Errno> {
        self.call(Kind::Readlink, |to| to, |from| Ok(from.string()?.to_vec()))
    }

    pub(super) fn attributes(&self) -> Result<Remote, Errno> {
        self.call(Kind::Getattr, |to| to.u64(BASIC), |from| from.attributes())
    }

    pub(super) fn set_attributes(&self, changes: &Changes) -> Result<(), Errno> {
        let Changes {
            mode,
            uid,
            gid,
            size,
            atime_ns,
            mtime_ns,
        } = *changes;
        let bit = |set: bool, bit: u32| if set { 1 << bit } else { 0 };
        // Times that are given have a bit each besides: they are not "now".
        let valid = bit(mode.is_some(), 0)
            | bit(uid.is_some(), 1)
            | bit(gid.is_some(), 2)
            | bit(size.is_some(), 3)
            | bit(atime_ns.is_some(), 4)
            | bit(mtime_ns.is_some(), 5)
            | bit(true, 6)
            | bit(atime_ns.is_some(), 7)
            | bit(mtime_ns.is_some(), 8);
        let time = |to: &mut Writer<'_>, ns: Option<u64>| {
            let ns = ns.unwrap_or(0);
            to.u64(ns / 1_000_000_000).u64(ns % 1_000_000_000);
        };
        self.call(
            Kind::Setattr,
            |to| {
                to.u32(valid).u32(mode.unwrap_or(0));
                to.u32(uid.unwrap_or(0)).u32(gid.unwrap_or(0));
                to.u64(size.unwrap_or(0));
                time(to, atime_ns);
                time(to, mtime_ns);
                to
            },
            |_| Ok(()),
        )
    }

    /// Reads from an open file; fewer bytes than asked for only at the end.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buf.len() {
            let rest = &mut buf[done..];
            let want = rest.len().min(self.client.room());
            let count = u32::try_from(want).map_err(|_| Errno::EIO)?;
            let at = offset.saturating_add(done as u64);
            let got = self.call(
                Kind::Read,
                |to| to.u64(at).u32(count),
                |from| {
                    let len = (from.u32()? as usize).min(want);
                    rest[..len].copy_from_slice(from.bytes(len)?);
                    Ok(len)
                },
            )?;
            if got == 0 {
                break;
            }
            done += got;
        }
        count_storage(Storage::Read, u64::try_from(done).unwrap_or(0));
        Ok(done)
    }

    /// Writes to an open file; fewer bytes only when an error came after them.
    pub(super) fn write(&self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buf.len() {
            let part = &buf[done..buf.len().min(done + self.client.room())];
            let count = u32::try_from(part.len()).map_err(|_| Errno::EIO)?;
            let at = offset.saturating_add(done as u64);
            let write = |to: &mut Writer<'_>| {
                to.u32(self.number).u64(at).u32(count).bytes(part);
                Ok(())
            };
            let result = self
                .client
                .transact(Large::Request, Kind::Write, write, |from| from.u32());
            match result {
                Ok(0) => break,
                Ok(len) => done += (len as usize).min(part.len()),
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    pub(super) fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let data_only = u32::from(data_only);
        self.call(Kind::Fsync, |to| to.u32(data_only), |_| Ok(()))
    }

    /// All entries of an open directory.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Errno> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let offset = entries.last().map_or(0, |entry| entry.offset);
            let count = u32::try_from(self.client.room()).map_err(|_| Errno::EIO)?;
            let before = entries.len();
            self.call(
                Kind::Readdir,
                |to| to.u64(offset).u32(count),
                |from| {
                    let _len = from.u32()?;
                    while !from.is_empty() {
                        entries.push(from.entry()?);
                    }
                    Ok(())
                },
            )?;
            if entries.len() == before {
                return Ok(entries);
            }
        }
    }

    /// An extended attribute's value; without a name, the names of all.
    pub(super) fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let value = self.client.fid();
        let size = self.call(
            Kind::Xattrwalk,
            |to| to.u32(value.number).string(name),
            |from| from.u64(),
        )?;
        let size = usize::try_from(size).map_err(|_| Errno::E2BIG)?;
        if size > LONGEST_XATTR {
            return Err(Errno::E2BIG);
        }
        let mut bytes = alloc::vec![0; size];
        let got = value.read(0, &mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Sets an extended attribute, with setxattr(2)'s flags; an empty value takes it away. The fid is of no use then.
    pub(super) fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let size = u64::try_from(value.len()).map_err(|_| Errno::E2BIG)?;
        self.call(
            Kind::Xattrcreate,
            |to| to.string(name).u64(size).u32(flags),
            |_| Ok(()),
        )?;
        if self.write(0, value)? != value.len() {
            return Err(Errno::EIO);
        }
        // That is when the server does it.
        self.call(Kind::Clunk, |to| to, |_| Ok(()))
    }

    pub(super) fn statistics(&self) -> Result<Statistics, Errno> {
        self.call(
            Kind::Statfs,
            |to| to,
            |from| {
                let [magic, block_size] = [from.u32()?, from.u32()?];
                let [blocks, blocks_free, blocks_available] =
                    [from.u64()?, from.u64()?, from.u64()?];
                Ok(Statistics {
                    magic,
                    block_size: block_size.into(),
                    blocks,
                    blocks_free,
                    blocks_available,
                    files: from.u64()?,
                    files_free: from.u64()?,
                })
            },
        )
    }
}
