//! Segments of shared memory: shmget(2), shmat(2), shmctl(2). A segment's pages are a file's without a name, so whoever
//! attaches it maps the same ones. What mmap(2) gives as shared memory of no file is made in the same way.
use super::{NAMESPACE, Object, Permissions, READ, WRITE, now};
use crate::{
    fs::page_cache::Content,
    process::{self, Pid, with_space},
};
use abi::Errno;
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::{
    mm::{
        PAGE, frame,
        space::{Backing, Options, Page, PageSource, Place, Prot},
    },
    sync::SpinLock,
};

/// Bit of the mode that says that it goes with its last attachment (`SHM_DEST`).
pub const DOOMED: u32 = 0o1000;
/// Bytes of a segment, and pages of all together (`SHMMAX`, `SHMALL`): as good as no limit.
pub const MOST_BYTES: u64 = u64::MAX - (1 << 24);

/// A segment's state.
#[expect(missing_docs, reason = "the fields are shmctl(2)'s")]
pub struct State {
    pub permissions: Permissions,
    pub attached: u64,
    pub detached: u64,
    pub changed: u64,
    pub last: Pid,
}

/// A segment.
pub struct Segment {
    /// Its size in bytes.
    pub size: usize,
    /// Who made it.
    pub maker: Pid,
    /// Its state.
    pub state: SpinLock<State>,
    content: Arc<Content>,
    /// How often it is attached, where a child's are its parent's.
    attachments: AtomicUsize,
}

impl Object for Segment {
    fn permissions(&self) -> Permissions {
        self.state.lock().permissions
    }
}

/// What a mapping of a segment holds on to.
struct Attachment {
    segment: Arc<Segment>,
    id: i32,
    key: i32,
    writable: bool,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let was_last = self.segment.attachments.fetch_sub(1, Ordering::AcqRel) == 1;
        if was_last && self.segment.state.lock().permissions.mode & DOOMED != 0 {
            let removed = NAMESPACE.shared_memory.lock().remove(self.id);
            // Not under the lock: it may be the last reference but ours.
            drop(removed);
        }
    }
}

impl Segment {
    /// How often it is mapped, by all processes.
    pub fn mappings(&self) -> usize {
        let key = self.content.key();
        let processes = process::processes();
        processes
            .filter_map(|process| Some(process.space()?.mappings_of(key)))
            .sum()
    }
}

impl PageSource for Attachment {
    fn page(&self, index: u64, write: bool) -> Result<Page, Errno> {
        self.segment.content.page(index, write)
    }
    fn key(&self) -> Option<usize> {
        Some(self.segment.content.key())
    }
    fn identity(&self) -> (String, u64, u64) {
        let name = format!("/SYSV{:08x} (deleted)", self.key);
        (name, 1, u64::from(self.id.cast_unsigned()))
    }
    fn writable(&self) -> bool {
        self.writable
    }
    fn is_cached(&self, index: u64) -> bool {
        self.segment.content.is_cached(index)
    }
    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.segment.content.punch(offset, len)
    }
}

/// Shared memory that nobody can attach: it is a parent's and its children's.
struct Anonymous(Arc<Content>);

impl PageSource for Anonymous {
    fn page(&self, index: u64, write: bool) -> Result<Page, Errno> {
        self.0.page(index, write)
    }
    fn key(&self) -> Option<usize> {
        Some(self.0.key())
    }
    fn identity(&self) -> (String, u64, u64) {
        let number = u64::try_from(self.0.key()).unwrap_or_default();
        ("/dev/zero (deleted)".into(), 1, number)
    }
    fn is_cached(&self, index: u64) -> bool {
        self.0.is_cached(index)
    }
    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.0.punch(offset, len)
    }
}

/// `ENOMEM` for more than there is memory.
fn check_memory(size: usize) -> Result<(), Errno> {
    match size / PAGE > frame::counts().0 {
        true => Err(Errno::ENOMEM),
        false => Ok(()),
    }
}

/// What is behind a shared mapping of no file, `len` bytes long, for all of which there is to be memory if
/// `is_reserved`; `ENOMEM`.
pub fn anonymous(len: usize, is_reserved: bool) -> Result<Backing, Errno> {
    if is_reserved {
        check_memory(len)?;
    }
    let content = Content::empty();
    let size = u64::try_from(len.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?)
        .map_err(|_| Errno::ENOMEM)?;
    content.resize(size).map_err(|_| Errno::ENOMEM)?;
    Ok(Backing::File {
        source: Arc::new(Anonymous(content)),
        offset: 0,
        shared: true,
    })
}

fn pid() -> Pid {
    process::with_current(|process| process.pid)
}

/// shmget(2)
pub fn open(key: i32, size: usize, flags: u32) -> Result<i32, Errno> {
    let fits = |segment: &Segment| match size <= segment.size {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    };
    let maker = pid();
    let make = |permissions| {
        let content = Content::empty();
        let len = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
        if size == 0 || content.resize(len).is_err() {
            return Err(Errno::EINVAL);
        }
        check_memory(size)?;
        Ok(Segment {
            size,
            maker,
            state: SpinLock::new(State {
                permissions,
                attached: 0,
                detached: 0,
                changed: now(),
                last: 0,
            }),
            content,
            attachments: AtomicUsize::new(0),
        })
    };
    NAMESPACE.shared_memory.lock().open(key, flags, fits, make)
}

/// The segment of an identifier; `EINVAL`.
pub fn get(id: i32) -> Result<Arc<Segment>, Errno> {
    NAMESPACE.shared_memory.lock().get(id)
}

/// How a segment is attached.
#[derive(Clone, Copy, Debug)]
pub struct Attach {
    /// Where; `None` for anywhere.
    pub at: Option<usize>,
    /// `SHM_REMAP`: what is there goes.
    pub replace: bool,
    /// `SHM_RDONLY` or not, and `SHM_EXEC`.
    pub prot: Prot,
}

/// shmat(2): the address.
pub fn attach(id: i32, how: Attach) -> Result<usize, Errno> {
    let segment = get(id)?;
    let writable = how.prot.contains(Prot::WRITE);
    let permissions = segment.permissions();
    permissions.check(if writable { READ | WRITE } else { READ })?;
    segment.attachments.fetch_add(1, Ordering::AcqRel);
    let source = Attachment {
        segment: segment.clone(),
        id,
        key: permissions.key,
        writable,
    };
    let backing = Backing::File {
        source: Arc::new(source),
        offset: 0,
        shared: true,
    };
    let place = match how.at {
        None => Place::Anywhere { hint: 0 },
        Some(at) if how.replace => Place::Fixed(at),
        Some(at) => Place::FixedNoReplace(at),
    };
    let at =
        with_space(|space| space.map(place, segment.size, how.prot, backing, Options::default()));
    let at = at.map_err(|error| match error {
        Errno::EEXIST => Errno::EINVAL,
        other => other,
    })?;
    let mut state = segment.state.lock();
    state.attached = now();
    state.last = pid();
    Ok(at)
}

/// shmdt(2): `EINVAL` if nothing is attached there.
pub fn detach(at: usize) -> Result<usize, Errno> {
    let object = with_space(|space| space.shared_object(at));
    let (key, offset) = object.ok_or(Errno::EINVAL)?;
    let segment = {
        let table = NAMESPACE.shared_memory.lock();
        let mut segments = table.iter();
        let found = segments.find(|(_, segment)| segment.content.key() == key);
        found.map(|(_, segment)| segment.clone())
    };
    let segment = segment.filter(|_| offset == 0).ok_or(Errno::EINVAL)?;
    let mut state = segment.state.lock();
    state.detached = now();
    state.last = pid();
    drop(state);
    with_space(|space| space.unmap(at, segment.size))?;
    Ok(segment.size)
}

/// `IPC_RMID`: it goes now, or with its last attachment.
pub fn remove(id: i32) -> Result<(), Errno> {
    let segment = get(id)?;
    segment.permissions().check_owner()?;
    let mut state = segment.state.lock();
    if segment.attachments.load(Ordering::Acquire) != 0 {
        state.permissions.mode |= DOOMED;
        state.permissions.key = super::PRIVATE;
        return Ok(());
    }
    drop(state);
    let removed = NAMESPACE.shared_memory.lock().remove(id);
    drop(removed);
    Ok(())
}

/// /proc/sysvipc/shm
pub fn listed() -> String {
    let mut text = String::from(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
         atime      dtime      ctime                   rss                  swap\n",
    );
    let segments: Vec<(i32, Arc<Segment>)> = {
        let table = NAMESPACE.shared_memory.lock();
        let segments = table.iter();
        segments
            .map(|(id, segment)| (id, segment.clone()))
            .collect()
    };
    for (id, segment) in segments {
        let mappings = segment.mappings();
        let state = segment.state.lock();
        let who = state.permissions;
        text += &format!(
            "{:10} {id:10} {:5o} {:21} {:5} {:5} {:5}  {} {:10} {:10} {:10} {:21} {:21}\n",
            who.key,
            who.mode,
            segment.size,
            segment.maker,
            state.last,
            mappings,
            who.columns(),
            state.attached,
            state.detached,
            state.changed,
            0,
            0
        );
    }
    text
}
