//! Messages of 9P2000.L: writing them, and reading answers, which are not trusted to be whole.
use abi::Errno;
use alloc::vec::Vec;

/// Requests; an answer has the next number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Statfs = 8,
    Lopen = 12,
    Lcreate = 14,
    Symlink = 16,
    Mknod = 18,
    Readlink = 22,
    Getattr = 24,
    Setattr = 26,
    Xattrwalk = 30,
    Xattrcreate = 32,
    Readdir = 40,
    Fsync = 50,
    Link = 70,
    Mkdir = 72,
    Renameat = 74,
    Unlinkat = 76,
    Version = 100,
    Attach = 104,
    Walk = 110,
    Read = 116,
    Write = 118,
    Clunk = 120,
}

/// `Rlerror`.
pub(super) const ERROR: u8 = 7;
/// Size, type and tag.
pub(super) const HEADER: usize = 7;

/// A message being written; one that does not fit is refused when it is finished.
pub(super) struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A message without a body yet.
    pub(super) fn new(buf: &'a mut [u8], kind: Kind, tag: u16) -> Self {
        let mut writer = Self { buf, len: 4 };
        writer.bytes(&[kind as u8]).u16(tag);
        writer
    }
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        if let Some(room) = self.buf.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.len += bytes.len();
        self
    }
    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
    /// Its length and the bytes; one that is too long makes the message so.
    pub(super) fn string(&mut self, text: &[u8]) -> &mut Self {
        match u16::try_from(text.len()) {
            Ok(len) => self.u16(len).bytes(text),
            Err(_) => {
                self.len = self.buf.len() + 1;
                self
            }
        }
    }
    /// The length of the message, which is written into it.
    pub(super) fn finish(&mut self) -> Result<usize, Errno> {
        if self.len > self.buf.len() {
            return Err(Errno::ENAMETOOLONG);
        }
        let len = u32::try_from(self.len).map_err(|_| Errno::EIO)?;
        self.buf[..4].copy_from_slice(&len.to_le_bytes());
        Ok(self.len)
    }
}

/// The body of an answer; `EIO` when it ends too early.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The body of the answer to a request of this kind, or the error that it says.
    pub(super) fn answer(bytes: &'a [u8], kind: Kind) -> Result<Self, Errno> {
        let mut reader = Self(bytes);
        let size = reader.u32()? as usize;
        let got = reader.bytes(1)?[0];
        reader.u16()?;
        reader.0 = bytes.get(HEADER..size).ok_or(Errno::EIO)?;
        match got {
            ERROR => Err(i32::try_from(reader.u32()?).map_or(Errno::EIO, Errno)),
            _ if got == kind as u8 + 1 => Ok(reader),
            _ => Err(Errno::EIO),
        }
    }
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Errno::EIO)?;
        self.0 = rest;
        Ok(bytes)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Errno::EIO)?;
        self.0 = rest;
        Ok(*bytes)
    }
    pub(super) fn u8(&mut self) -> Result<u8, Errno> {
        Ok(self.array::<1>()?[0])
    }
    pub(super) fn u16(&mut self) -> Result<u16, Errno> {
        self.array().map(u16::from_le_bytes)
    }
    pub(super) fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }
    pub(super) fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }
    pub(super) fn string(&mut self) -> Result<&'a [u8], Errno> {
        let len = self.u16()?;
        self.bytes(len.into())
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn qid(&mut self) -> Result<Qid, Errno> {
        Ok(Qid {
            kind: self.u8()?,
            version: self.u32()?,
            path: self.u64()?,
        })
    }
    pub(super) fn attributes(&mut self) -> Result<Remote, Errno> {
        self.u64()?;
        let qid = self.qid()?;
        let [mode, uid, gid] = [self.u32()?, self.u32()?, self.u32()?];
        let [nlink, rdev, size] = [self.u64()?, self.u64()?, self.u64()?];
        let [_block_size, blocks] = [self.u64()?, self.u64()?];
        let mut time = || -> Result<u64, Errno> {
            let (seconds, nanos) = (self.u64()?, self.u64()?);
            Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
        };
        let [atime_ns, mtime_ns, ctime_ns] = [time()?, time()?, time()?];
        Ok(Remote {
            qid,
            mode,
            uid,
            gid,
            nlink: u32::try_from(nlink).unwrap_or(u32::MAX),
            rdev,
            size,
            blocks,
            atime_ns,
            mtime_ns,
            ctime_ns,
        })
    }
}

/// What the server tells files apart by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Qid {
    pub(super) kind: u8,
    pub(super) version: u32,
    pub(super) path: u64,
}

/// The answer to `Tgetattr`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) qid: Qid,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    pub(super) rdev: u64,
    pub(super) size: u64,
    pub(super) blocks: u64,
    pub(super) atime_ns: u64,
    pub(super) mtime_ns: u64,
    pub(super) ctime_ns: u64,
}

/// An entry of a directory.
pub(super) struct Entry {
    pub(super) qid: Qid,
    pub(super) offset: u64,
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
}

impl Reader<'_> {
    pub(super) fn entry(&mut self) -> Result<Entry, Errno> {
        Ok(Entry {
            qid: self.qid()?,
            offset: self.u64()?,
            kind: self.u8()?,
            name: self.string()?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length() {
        let mut buf = [0; 16];
        let len = Writer::new(&mut buf, Kind::Clunk, 3).u32(7).finish();
        assert_eq!(len, Ok(11));
        assert_eq!(buf[..11], [11, 0, 0, 0, 120, 3, 0, 7, 0, 0, 0]);
        let long = Writer::new(&mut buf, Kind::Clunk, 3)
            .string(&[b'x'; 20])
            .finish();
        assert_eq!(long, Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn answers_may_be_damaged() {
        let good = [11, 0, 0, 0, 121, 3, 0, 1, 2, 3, 4];
        let read = |bytes| Reader::answer(bytes, Kind::Clunk).and_then(|mut body| body.u32());
        assert_eq!(read(&good), Ok(0x0403_0201));
        for len in 0..good.len() {
            assert_eq!(read(&good[..len]), Err(Errno::EIO), "{len}");
        }
        assert_eq!(
            read(&[11, 0, 0, 0, 7, 3, 0, 2, 0, 0, 0]),
            Err(Errno::ENOENT)
        );
        assert_eq!(read(&[11, 0, 0, 0, 9, 3, 0, 2, 0, 0, 0]), Err(Errno::EIO));
        assert_eq!(read(&[1, 0, 0, 0, 121, 3, 0, 2, 0, 0, 0]), Err(Errno::EIO));
    }
}
