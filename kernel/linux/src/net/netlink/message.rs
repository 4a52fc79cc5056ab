//! Messages of netlink, read and written: netlink(7), "struct nlmsghdr", and attributes as of rtnetlink(3).
use alloc::vec::Vec;

/// Header of a message.
pub(super) const HEADER: usize = 16;
/// `NLMSG_ERROR`, `NLMSG_DONE`
const ERROR: u16 = 2;
pub(super) const DONE: u16 = 3;
/// `NLM_F_*`
pub(super) const REQUEST: u16 = 1;
pub(super) const MULTI: u16 = 2;
pub(super) const ACK: u16 = 4;
pub(super) const DUMP: u16 = 0x300;

/// A request: its header, and what comes after it.
pub(super) struct Request<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
    whole: &'a [u8],
    /// Whose answer it is to be.
    port: u32,
}

/// The messages of what was sent.
pub(super) fn requests(mut data: &[u8], port: u32) -> impl Iterator<Item = Request<'_>> {
    core::iter::from_fn(move || {
        let &[l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = data else {
            return None;
        };
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let whole = data.get(..len)?;
        let body = whole.get(HEADER..)?;
        data = data.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Request {
            kind: u16::from_le_bytes([k0, k1]),
            flags: u16::from_le_bytes([f0, f1]),
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
            body,
            whole,
            port,
        })
    })
}

/// A message being made.
pub(super) struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, sequence: u32, port: u32) -> Self {
        let mut raw = Vec::with_capacity(256);
        raw.extend([0; 4]);
        raw.extend(kind.to_le_bytes());
        raw.extend(flags.to_le_bytes());
        raw.extend(sequence.to_le_bytes());
        raw.extend(port.to_le_bytes());
        Self(raw)
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A `struct rtattr`.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.put(&len.to_le_bytes())
            .put(&kind.to_le_bytes())
            .put(value);
        self.pad()
    }

    fn pad(&mut self) -> &mut Self {
        let len = self.0.len().next_multiple_of(4);
        self.0.resize(len, 0);
        self
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&len.to_le_bytes());
        self.pad();
        self.0
    }
}

impl Request<'_> {
    /// An answer's beginning.
    pub(super) fn message(&self, kind: u16, flags: u16) -> Message {
        Message::new(kind, flags, self.sequence, self.port)
    }

    /// The end of a dump.
    pub(super) fn done(&self) -> Vec<u8> {
        let mut done = self.message(DONE, MULTI);
        done.put(&[0; 4]);
        done.finish()
    }

    /// That it went well, or what was wrong: an error's number.
    pub(super) fn error(&self, error: i32) -> Vec<u8> {
        let mut message = self.message(ERROR, 0);
        let quoted = if error == 0 {
            &self.whole[..HEADER]
        } else {
            self.whole
        };
        message.put(&(-error).to_le_bytes()).put(quoted);
        message.finish()
    }
}

/// Attributes (`struct rtattr`): what they are, and their values.
pub(super) fn attributes(mut raw: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let &[l0, l1, k0, k1, ..] = raw else {
            return None;
        };
        let len = usize::from(u16::from_le_bytes([l0, l1]));
        let value = raw.get(4..len)?;
        raw = raw.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_le_bytes([k0, k1]), value))
    })
}
