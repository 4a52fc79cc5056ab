//! System calls of System V IPC: structures of the program's in and out; the work is done in [`crate::ipc`].
use super::fs::vectors::zeroed;
use super::time::{Timespec, deadline_after};
use crate::ipc::{
    MOST, NAMESPACE, Object, Permissions, READ,
    messages::{self, Choice, Message},
    semaphores::{self, Operation, Set},
    shared_memory::{self, Attach, Segment},
};
use crate::linker;
use abi::{Errno, SysResult};
use alloc::{sync::Arc, vec, vec::Vec};
use machine::mm::{PAGE, space::Prot, user};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const IPC_RMID: usize = 0;
const IPC_SET: usize = 1;
const IPC_STAT: usize = 2;
const IPC_INFO: usize = 3;
const IPC_NOWAIT: usize = 0o4000;

/// `struct ipc64_perm`
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, Immutable, IntoBytes)]
struct Perm {
    key: i32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
    mode: u32,
    sequence: u32,
    pad: u32,
    unused: [u64; 2],
}

impl From<Permissions> for Perm {
    fn from(one: Permissions) -> Self {
        Self {
            key: one.key,
            uid: one.uid,
            gid: one.gid,
            cuid: one.cuid,
            cgid: one.cgid,
            mode: one.mode,
            sequence: one.sequence,
            ..Self::default()
        }
    }
}

/// An identifier, or an index.
fn int(value: usize) -> i32 {
    value as i32
}

fn flags(value: usize) -> u32 {
    int(value).cast_unsigned()
}

fn long(value: usize) -> u64 {
    value as u64
}

// Semaphores.

/// semget(2)
pub fn semget(key: usize, members: usize, flag: usize) -> SysResult {
    let members = usize::try_from(int(members)).map_err(|_| Errno::EINVAL)?;
    if members > semaphores::MOST_MEMBERS {
        return Err(Errno::EINVAL);
    }
    semaphores::open(int(key), members, flags(flag)).map(result)
}

/// An identifier as a result.
fn result(id: i32) -> usize {
    id.cast_unsigned() as usize
}

/// `struct sembuf`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
struct SemBuf {
    member: u16,
    change: i16,
    flags: u16,
}

/// semop(2)
pub fn semop(id: usize, operations: usize, count: usize) -> SysResult {
    semtimedop(id, operations, count, 0)
}

/// semtimedop(2)
pub fn semtimedop(id: usize, operations: usize, count: usize, timeout: usize) -> SysResult {
    const SEM_UNDO: u16 = 0x1000;
    const NO_WAIT: u16 = 0o4000;
    let count = count & 0xffff_ffff;
    let deadline = match timeout {
        0 => None,
        timeout => Some(deadline_after(user::read::<Timespec>(timeout)?.to_ns()?)),
    };
    if count < 1 || int(id) < 0 {
        return Err(Errno::EINVAL);
    }
    if count > semaphores::MOST_OPERATIONS {
        return Err(Errno::E2BIG);
    }
    let mut list = Vec::with_capacity(count);
    for index in 0..count {
        let one: SemBuf = user::read(operations.wrapping_add(index * size_of::<SemBuf>()))?;
        list.push(Operation {
            member: one.member.into(),
            change: one.change.into(),
            no_wait: one.flags & NO_WAIT != 0,
            undo: one.flags & SEM_UNDO != 0,
        });
    }
    semaphores::operate(int(id), &list, deadline)?;
    Ok(0)
}

/// `struct semid64_ds`
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, Immutable, IntoBytes)]
struct SemSet {
    perm: Perm,
    operated: u64,
    unused: u64,
    changed: u64,
    unused2: u64,
    members: u64,
    unused3: [u64; 2],
}

fn sem_status(set: &Set) -> Result<SemSet, Errno> {
    let state = set.state.lock();
    Ok(SemSet {
        perm: state.permissions.into(),
        operated: state.operated,
        changed: state.changed,
        members: long(state.members.len()),
        ..SemSet::default()
    })
}

/// `struct seminfo`, with what `SEM_INFO` puts into it if `used`.
fn sem_info(to: usize, used: bool) -> SysResult {
    let table = NAMESPACE.semaphores.lock();
    let highest = table.highest();
    let sets = i32::try_from(table.count()).unwrap_or(i32::MAX);
    let members: usize = table
        .iter()
        .map(|(_, set)| set.state.lock().members.len())
        .sum();
    drop(table);
    let members = i32::try_from(members).unwrap_or(i32::MAX);
    let (used, in_all) = if used { (sets, members) } else { (20, 32767) };
    let info: [i32; 10] = [
        semaphores::MOST_IN_ALL,
        32000,
        semaphores::MOST_IN_ALL,
        semaphores::MOST_IN_ALL,
        32000,
        500,
        500,
        used,
        32767,
        in_all,
    ];
    user::write(to, &info)?;
    Ok(result(highest))
}

/// semctl(2)
pub fn semctl(id: usize, member: usize, command: usize, arg: usize) -> SysResult {
    const GETPID: usize = 11;
    const GETVAL: usize = 12;
    const GETALL: usize = 13;
    const GETNCNT: usize = 14;
    const GETZCNT: usize = 15;
    const SETVAL: usize = 16;
    const SETALL: usize = 17;
    const SEM_STAT: usize = 18;
    const SEM_INFO: usize = 19;
    const SEM_STAT_ANY: usize = 20;
    let command = command & 0xffff_ffff;
    if int(id) < 0 {
        return Err(Errno::EINVAL);
    }
    match command {
        IPC_INFO | SEM_INFO => return sem_info(arg, command == SEM_INFO),
        SEM_STAT | SEM_STAT_ANY => {
            let (id, set) = NAMESPACE.semaphores.lock().at(flags(id))?;
            if command == SEM_STAT {
                set.permissions().check(READ)?;
            }
            user::write(arg, &sem_status(&set)?)?;
            return Ok(result(id));
        }
        IPC_RMID => return semaphores::remove(int(id)).map(|()| 0),
        _ => {}
    }
    let set = semaphores::get(int(id))?;
    let count = set.state.lock().members.len();
    match command {
        IPC_STAT => {
            set.permissions().check(READ)?;
            user::write(arg, &sem_status(&set)?)?;
        }
        IPC_SET => {
            let new: SemSet = user::read(arg)?;
            let mut state = set.state.lock();
            state
                .permissions
                .set(new.perm.uid, new.perm.gid, new.perm.mode)?;
            state.changed = new_time();
        }
        GETALL => {
            set.permissions().check(READ)?;
            let values: Vec<u16> = {
                let state = set.state.lock();
                state
                    .members
                    .iter()
                    .map(|one| u16::try_from(one.value).unwrap_or(u16::MAX))
                    .collect()
            };
            user::copy_out(arg, values.as_bytes())?;
        }
        SETALL => {
            let mut values = vec![0u16; count];
            user::copy_in(arg, values.as_mut_bytes())?;
            let values: Vec<i32> = values.into_iter().map(i32::from).collect();
            set.assign(0, &values)?;
        }
        GETPID | GETVAL | GETNCNT | GETZCNT | SETVAL => {
            if command == SETVAL && !(0..=semaphores::MOST_VALUE).contains(&int(arg)) {
                return Err(Errno::ERANGE);
            }
            let member = usize::try_from(int(member)).map_err(|_| Errno::EINVAL)?;
            if member >= count {
                return Err(Errno::EINVAL);
            }
            if command == SETVAL {
                set.assign(member, &[int(arg)])?;
                return Ok(0);
            }
            set.permissions().check(READ)?;
            let state = set.state.lock();
            return Ok(match command {
                GETPID => result(state.members[member].pid),
                GETVAL => result(state.members[member].value),
                _ => state.waiting(member, command == GETZCNT),
            });
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn new_time() -> u64 {
    machine::time::realtime_ns() / 1_000_000_000
}

// Message queues.

/// msgget(2)
pub fn msgget(key: usize, flag: usize) -> SysResult {
    messages::open(int(key), flags(flag)).map(result)
}

/// msgsnd(2)
pub fn msgsnd(id: usize, from: usize, len: usize, flag: usize) -> SysResult {
    if len > messages::MOST_BYTES || int(id) < 0 {
        return Err(Errno::EINVAL);
    }
    let kind: i64 = user::read(from)?;
    if kind < 1 {
        return Err(Errno::EINVAL);
    }
    let mut text = zeroed(len)?;
    user::copy_in(from.wrapping_add(8), &mut text)?;
    let message = Message {
        kind,
        text: text.into_boxed_slice(),
    };
    messages::get(int(id))?.send(message, flag & IPC_NOWAIT != 0)?;
    Ok(0)
}

/// msgrcv(2), without `MSG_COPY`.
pub fn msgrcv(id: usize, to: usize, len: usize, kind: usize, flag: usize) -> SysResult {
    const MSG_NOERROR: usize = 0o10000;
    const MSG_EXCEPT: usize = 0o20000;
    const MSG_COPY: usize = 0o40000;
    if len > isize::MAX.cast_unsigned() || int(id) < 0 {
        return Err(Errno::EINVAL);
    }
    if flag & MSG_COPY != 0 {
        let valid = flag & MSG_EXCEPT == 0 && flag & IPC_NOWAIT != 0;
        return Err(if valid { Errno::ENOSYS } else { Errno::EINVAL });
    }
    let choice = Choice {
        kind: long(kind).cast_signed(),
        except: flag & MSG_EXCEPT != 0,
        cut: flag & MSG_NOERROR != 0,
    };
    let message = messages::get(int(id))?.receive(len, choice, flag & IPC_NOWAIT != 0)?;
    let len = len.min(message.text.len());
    user::write(to, &message.kind)?;
    user::copy_out(to.wrapping_add(8), &message.text[..len])?;
    Ok(len)
}

/// `struct msqid64_ds`
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, Immutable, IntoBytes)]
struct MsgQueue {
    perm: Perm,
    sent: u64,
    received: u64,
    changed: u64,
    bytes: u64,
    count: u64,
    most_bytes: u64,
    last_sender: i32,
    last_receiver: i32,
    unused: [u64; 2],
}

fn msg_status(queue: &messages::Queue) -> MsgQueue {
    let state = queue.state.lock();
    MsgQueue {
        perm: state.permissions.into(),
        sent: state.sent,
        received: state.received,
        changed: state.changed,
        bytes: long(state.bytes),
        count: long(state.messages.len()),
        most_bytes: long(state.most_bytes),
        last_sender: state.last_sender,
        last_receiver: state.last_receiver,
        unused: [0; 2],
    }
}

/// `struct msginfo`, with what `MSG_INFO` puts into it if `used`.
fn msg_info(to: usize, used: bool) -> SysResult {
    let table = NAMESPACE.messages.lock();
    let highest = table.highest();
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let queues = number(table.count());
    let (mut count, mut bytes) = (0, 0);
    for (_, queue) in table.iter() {
        let state = queue.state.lock();
        count += state.messages.len();
        bytes += state.bytes;
    }
    drop(table);
    let (pool, map, headers) = if used {
        (queues, number(count), number(bytes))
    } else {
        (number(MOST * messages::QUEUE_BYTES / 1024), 16384, 16384)
    };
    let info: [i32; 8] = [pool, map, 8192, 16384, 32000, 16, headers, 0xffff];
    user::write(to, &info)?;
    Ok(result(highest))
}

/// msgctl(2)
pub fn msgctl(id: usize, command: usize, arg: usize) -> SysResult {
    const MSG_STAT: usize = 11;
    const MSG_INFO: usize = 12;
    const MSG_STAT_ANY: usize = 13;
    let command = command & 0xffff_ffff;
    if int(id) < 0 {
        return Err(Errno::EINVAL);
    }
    match command {
        IPC_INFO | MSG_INFO => return msg_info(arg, command == MSG_INFO),
        MSG_STAT | MSG_STAT_ANY => {
            let (id, queue) = NAMESPACE.messages.lock().at(flags(id))?;
            if command == MSG_STAT {
                queue.permissions().check(READ)?;
            }
            user::write(arg, &msg_status(&queue))?;
            return Ok(result(id));
        }
        IPC_STAT => {
            let queue = messages::get(int(id))?;
            queue.permissions().check(READ)?;
            user::write(arg, &msg_status(&queue))?;
        }
        IPC_SET => {
            let new: MsgQueue = user::read(arg)?;
            let Perm { uid, gid, mode, .. } = new.perm;
            let bytes = usize::try_from(new.most_bytes).map_err(|_| Errno::EINVAL)?;
            messages::get(int(id))?.set(uid, gid, mode, bytes)?;
        }
        IPC_RMID => messages::remove(int(id))?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

// Shared memory.

/// shmget(2), without huge pages.
pub fn shmget(key: usize, size: usize, flag: usize) -> SysResult {
    const SHM_HUGETLB: u32 = 0o4000;
    if flags(flag) & SHM_HUGETLB != 0 {
        // There is no pool of them.
        return Err(Errno::ENOMEM);
    }
    shared_memory::open(int(key), size, flags(flag)).map(result)
}

/// shmat(2)
pub fn shmat(id: usize, addr: usize, flag: usize) -> SysResult {
    const SHM_RDONLY: usize = 0o10000;
    const SHM_RND: usize = 0o20000;
    const SHM_REMAP: usize = 0o40000;
    const SHM_EXEC: usize = 0o100000;
    if int(id) < 0 {
        return Err(Errno::EINVAL);
    }
    let replace = flag & SHM_REMAP != 0;
    let at = match addr {
        0 if replace => return Err(Errno::EINVAL),
        0 => None,
        addr if addr % PAGE == 0 => Some(addr),
        addr if flag & SHM_RND != 0 => Some(addr & !(PAGE - 1)),
        _ => return Err(Errno::EINVAL),
    };
    let mut prot = Prot::READ;
    prot.set(Prot::WRITE, flag & SHM_RDONLY == 0);
    prot.set(Prot::EXEC, flag & SHM_EXEC != 0);
    if let Some(at) = at.filter(|_| replace) {
        let size = shared_memory::get(int(id))?.size;
        linker::get().unmapped(at, size);
    }
    shared_memory::attach(int(id), Attach { at, replace, prot })
}

/// shmdt(2)
pub fn shmdt(addr: usize) -> SysResult {
    let size = shared_memory::detach(addr)?;
    linker::get().unmapped(addr, size);
    Ok(0)
}

/// `struct shmid64_ds`
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, Immutable, IntoBytes)]
struct ShmSegment {
    perm: Perm,
    size: u64,
    attached: u64,
    detached: u64,
    changed: u64,
    maker: i32,
    last: i32,
    attachments: u64,
    unused: [u64; 2],
}

fn shm_status(segment: &Segment) -> ShmSegment {
    let attachments = long(segment.mappings());
    let state = segment.state.lock();
    ShmSegment {
        perm: state.permissions.into(),
        size: long(segment.size),
        attached: state.attached,
        detached: state.detached,
        changed: state.changed,
        maker: segment.maker,
        last: state.last,
        attachments,
        unused: [0; 2],
    }
}

/// shmctl(2); locking changes nothing but the mode.
pub fn shmctl(id: usize, command: usize, arg: usize) -> SysResult {
    const SHM_LOCK: usize = 11;
    const SHM_UNLOCK: usize = 12;
    const SHM_STAT: usize = 13;
    const SHM_INFO: usize = 14;
    const SHM_STAT_ANY: usize = 15;
    const LOCKED: u32 = 0o2000;
    let command = command & 0xffff_ffff;
    if int(id) < 0 {
        return Err(Errno::EINVAL);
    }
    match command {
        IPC_INFO => {
            let most = shared_memory::MOST_BYTES;
            user::write(arg, &[most, 1, long(MOST), long(MOST), most, 0, 0, 0, 0])?;
            return Ok(result(NAMESPACE.shared_memory.lock().highest()));
        }
        SHM_INFO => {
            let table = NAMESPACE.shared_memory.lock();
            let pages = |(_, segment): (i32, &Arc<Segment>)| long(segment.size.div_ceil(PAGE));
            let (count, in_all) = (long(table.count()), table.iter().map(pages).sum::<u64>());
            let highest = table.highest();
            drop(table);
            user::write(arg, &[count, in_all, 0, 0, 0, 0])?;
            return Ok(result(highest));
        }
        SHM_STAT | SHM_STAT_ANY => {
            let (id, segment) = NAMESPACE.shared_memory.lock().at(flags(id))?;
            if command == SHM_STAT {
                segment.permissions().check(READ)?;
            }
            user::write(arg, &shm_status(&segment))?;
            return Ok(result(id));
        }
        IPC_STAT => {
            let segment = shared_memory::get(int(id))?;
            segment.permissions().check(READ)?;
            user::write(arg, &shm_status(&segment))?;
        }
        IPC_SET => {
            let new: ShmSegment = user::read(arg)?;
            let segment = shared_memory::get(int(id))?;
            let mut state = segment.state.lock();
            state
                .permissions
                .set(new.perm.uid, new.perm.gid, new.perm.mode)?;
            state.changed = new_time();
        }
        SHM_LOCK | SHM_UNLOCK => {
            let segment = shared_memory::get(int(id))?;
            segment.permissions().check_owner()?;
            let mode = &mut segment.state.lock().permissions.mode;
            *mode = *mode & !LOCKED | if command == SHM_LOCK { LOCKED } else { 0 };
        }
        IPC_RMID => shared_memory::remove(int(id))?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
