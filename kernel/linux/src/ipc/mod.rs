//! System V IPC, sysvipc(7): message queues, semaphores, shared memory. They have numbers instead of descriptors, and
//! stay until they are removed.
pub mod messages;
pub mod semaphores;
pub mod shared_memory;

use crate::{credentials, process::Pid};
use abi::Errno;
use alloc::{collections::BTreeMap, format, string::String, sync::Arc};
use linux_raw_sys::general::{CAP_IPC_OWNER, CAP_SYS_ADMIN};
use machine::{sync::SpinLock, time};

/// `IPC_PRIVATE`: no key.
const PRIVATE: i32 = 0;
/// `IPC_CREAT`
const CREATE: u32 = 0o1000;
/// `IPC_EXCL`
const EXCLUSIVE: u32 = 0o2000;
/// There may be so many of a kind.
pub const MOST: usize = 32000;
/// Identifiers are an index with a sequence number above it, so that old ones are not soon used again.
const INDEX_BITS: u32 = 15;

/// Reading, `ipcperms`' bits.
pub const READ: u32 = 0o444;
/// Changing.
pub const WRITE: u32 = 0o222;

/// Who may do what with an object.
#[doc(alias = "ipc_perm")]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are sysvipc(7)'s")]
pub struct Permissions {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub sequence: u32,
}

impl Permissions {
    fn new(key: i32, mode: u32, sequence: u32) -> Self {
        let caller = credentials::current();
        let (uid, gid) = (caller.user.effective, caller.group.effective);
        Self {
            key,
            uid,
            gid,
            cuid: uid,
            cgid: gid,
            mode: mode & 0o777,
            sequence,
        }
    }

    /// `EACCES` if the caller may not do what `wanted` says.
    pub fn check(&self, wanted: u32) -> Result<(), Errno> {
        let caller = credentials::current();
        let user = caller.user.effective;
        let granted = if user == self.uid || user == self.cuid {
            self.mode >> 6
        } else if caller.is_in_group(self.gid) || caller.is_in_group(self.cgid) {
            self.mode >> 3
        } else {
            self.mode
        };
        let wanted = (wanted >> 6 | wanted >> 3 | wanted) & 7;
        if wanted & !granted != 0 && !caller.capable(CAP_IPC_OWNER) {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// `EPERM` unless the caller owns or made it.
    pub fn check_owner(&self) -> Result<(), Errno> {
        let user = credentials::current().user.effective;
        if user == self.uid || user == self.cuid {
            return Ok(());
        }
        credentials::require(CAP_SYS_ADMIN)
    }

    /// `IPC_SET`
    pub fn set(&mut self, uid: u32, gid: u32, mode: u32) -> Result<(), Errno> {
        self.check_owner()?;
        self.uid = uid;
        self.gid = gid;
        self.mode = self.mode & !0o777 | mode & 0o777;
        Ok(())
    }

    /// What the columns of /proc/sysvipc have in common at the end.
    fn columns(&self) -> String {
        let Self {
            uid,
            gid,
            cuid,
            cgid,
            ..
        } = self;
        format!("{uid:5} {gid:5} {cuid:5} {cgid:5}")
    }
}

/// An object with permissions.
pub trait Object: Send + Sync {
    /// Who may use it.
    fn permissions(&self) -> Permissions;
}

/// The objects of one kind.
pub struct Table<T> {
    objects: BTreeMap<u32, (i32, Arc<T>)>,
    sequence: u32,
}

impl<T> Table<T> {
    const fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// The object of an identifier; `EINVAL`.
    pub fn get(&self, id: i32) -> Result<Arc<T>, Errno> {
        let index = id.cast_unsigned() & ((1 << INDEX_BITS) - 1);
        match self.objects.get(&index) {
            Some((own, object)) if *own == id => Ok(object.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The one at an index, with its identifier (`*_STAT` of ipcs); `EINVAL`.
    pub fn at(&self, index: u32) -> Result<(i32, Arc<T>), Errno> {
        self.objects.get(&index).cloned().ok_or(Errno::EINVAL)
    }

    /// All, with their identifiers.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Arc<T>)> {
        self.objects.values().map(|(id, object)| (*id, object))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.objects.len()
    }

    /// The highest index in use, 0 if there is none.
    pub fn highest(&self) -> i32 {
        let highest = self.objects.keys().next_back();
        highest.map_or(0, |index| index.cast_signed())
    }

    /// Takes one out.
    pub fn remove(&mut self, id: i32) -> Option<Arc<T>> {
        let index = id.cast_unsigned() & ((1 << INDEX_BITS) - 1);
        self.objects.remove(&index).map(|(_, object)| object)
    }
}

impl<T: Object> Table<T> {
    /// The identifier for a key, as `flags` say: of what is there (if `fits` does not object), or of what `make` makes.
    fn open(
        &mut self,
        key: i32,
        flags: u32,
        fits: impl FnOnce(&T) -> Result<(), Errno>,
        make: impl FnOnce(Permissions) -> Result<T, Errno>,
    ) -> Result<i32, Errno> {
        let found = self
            .objects
            .values()
            .find(|(_, object)| key != PRIVATE && object.permissions().key == key);
        if let Some((id, object)) = found {
            if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
                return Err(Errno::EEXIST);
            }
            fits(object)?;
            object.permissions().check(flags & 0o777)?;
            return Ok(*id);
        }
        if key != PRIVATE && flags & CREATE == 0 {
            return Err(Errno::ENOENT);
        }
        if self.objects.len() >= MOST {
            return Err(Errno::ENOSPC);
        }
        let mut free = 0;
        for &index in self.objects.keys() {
            if index != free {
                break;
            }
            free += 1;
        }
        let object = make(Permissions::new(key, flags, self.sequence))?;
        let id = (self.sequence << INDEX_BITS | free).cast_signed();
        self.sequence = (self.sequence + 1) % (1 << 16);
        self.objects.insert(free, (id, Arc::new(object)));
        Ok(id)
    }
}

/// All that there is.
#[doc(alias = "ipc_namespace")]
pub struct Namespace {
    /// Sets of semaphores.
    pub semaphores: SpinLock<Table<semaphores::Set>>,
    /// Queues.
    pub messages: SpinLock<Table<messages::Queue>>,
    /// Segments.
    pub shared_memory: SpinLock<Table<shared_memory::Segment>>,
}

/// The machine's.
pub static NAMESPACE: Namespace = Namespace {
    semaphores: SpinLock::new(Table::new()),
    messages: SpinLock::new(Table::new()),
    shared_memory: SpinLock::new(Table::new()),
};

/// What there may be, as files of /proc/sys/kernel say it.
pub fn limits() -> [(&'static str, String); 7] {
    let memory = shared_memory::MOST_BYTES;
    let sem = format!(
        "{}\t{}\t{}\t{MOST}",
        semaphores::MOST_MEMBERS,
        semaphores::MOST_IN_ALL,
        semaphores::MOST_OPERATIONS
    );
    [
        ("msgmax", format!("{}", messages::MOST_BYTES)),
        ("msgmnb", format!("{}", messages::QUEUE_BYTES)),
        ("msgmni", format!("{MOST}")),
        ("sem", sem),
        ("shmall", format!("{memory}")),
        ("shmmax", format!("{memory}")),
        ("shmmni", format!("{MOST}")),
    ]
}

/// Seconds since 1970.
fn now() -> u64 {
    time::realtime_ns() / 1_000_000_000
}

/// A process ends: what it has asked to be undone then is. Segments are detached when its memory goes.
pub fn process_ended(pid: Pid) {
    semaphores::undo(pid);
}
