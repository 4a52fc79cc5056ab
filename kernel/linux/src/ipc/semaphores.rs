//! Sets of semaphores: semget(2), semop(2), semctl(2).
use super::{NAMESPACE, Object, Permissions, READ, WRITE, now};
use crate::process::{self, Pid};
use abi::Errno;
use alloc::{collections::BTreeMap, format, string::String, sync::Arc, vec, vec::Vec};
use machine::{
    sync::{Signals, SpinLock, WaitError, WaitQueue},
    time::Instant,
};

/// Highest value (`SEMVMX`).
pub const MOST_VALUE: i32 = 32767;
/// Most semaphores of a set (`SEMMSL`).
pub const MOST_MEMBERS: usize = 32000;
/// Semaphores of all sets together (`SEMMNS`).
pub const MOST_IN_ALL: i32 = 1_024_000_000;
/// Most operations of a call (`SEMOPM`).
pub const MOST_OPERATIONS: usize = 500;

/// A semaphore.
#[derive(Clone, Copy, Debug, Default)]
pub struct Semaphore {
    /// Its value.
    pub value: i32,
    /// Who changed it last.
    pub pid: Pid,
}

/// One operation of semop(2).
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Which semaphore.
    pub member: usize,
    /// What is added; 0 waits for 0.
    pub change: i32,
    /// `IPC_NOWAIT`
    pub no_wait: bool,
    /// `SEM_UNDO`
    pub undo: bool,
}

/// A set's state.
pub struct State {
    /// Who may use it.
    pub permissions: Permissions,
    /// Its semaphores.
    pub members: Vec<Semaphore>,
    /// When semop(2) was last called with success, in seconds.
    pub operated: u64,
    /// When it was made or changed by semctl(2).
    pub changed: u64,
    /// What each process' end adds to each semaphore.
    adjustments: BTreeMap<Pid, Vec<i32>>,
    /// Who waits: for which semaphore, and whether for it to be 0.
    waiting: Vec<(usize, bool)>,
    removed: bool,
}

/// A set.
pub struct Set {
    /// Its state.
    pub state: SpinLock<State>,
    queue: WaitQueue,
}

impl Object for Set {
    fn permissions(&self) -> Permissions {
        self.state.lock().permissions
    }
}

impl State {
    /// Makes all operations, or says which one has to wait.
    fn attempt(&mut self, operations: &[Operation], pid: Pid) -> Result<Option<Operation>, Errno> {
        let before = self.members.clone();
        for operation in operations {
            let member = &mut self.members[operation.member];
            let value = member.value + operation.change;
            let waits = if operation.change == 0 {
                member.value != 0
            } else {
                value < 0
            };
            if waits || value > MOST_VALUE {
                self.members = before;
                return if !waits {
                    Err(Errno::ERANGE)
                } else if operation.no_wait {
                    Err(Errno::EAGAIN)
                } else {
                    Ok(Some(*operation))
                };
            }
            member.value = value;
            member.pid = pid;
        }
        for operation in operations.iter().filter(|operation| operation.undo) {
            let len = self.members.len();
            let own = self.adjustments.entry(pid).or_insert_with(|| vec![0; len]);
            own[operation.member] -= operation.change;
        }
        self.operated = now();
        Ok(None)
    }

    /// How many wait for a semaphore to grow, or to be 0.
    pub fn waiting(&self, member: usize, zero: bool) -> usize {
        let same = |entry: &&(usize, bool)| **entry == (member, zero);
        self.waiting.iter().filter(same).count()
    }

    fn forget_wait(&mut self, entry: (usize, bool)) {
        if let Some(place) = self.waiting.iter().position(|other| *other == entry) {
            self.waiting.swap_remove(place);
        }
    }
}

/// semget(2)
pub fn open(key: i32, members: usize, flags: u32) -> Result<i32, Errno> {
    let fits = |set: &Set| match members <= set.state.lock().members.len() {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    };
    let make = |permissions| {
        if members == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Set {
            state: SpinLock::new(State {
                permissions,
                members: vec![Semaphore::default(); members],
                operated: 0,
                changed: now(),
                adjustments: BTreeMap::new(),
                waiting: Vec::new(),
                removed: false,
            }),
            queue: WaitQueue::new(),
        })
    };
    NAMESPACE.semaphores.lock().open(key, flags, fits, make)
}

/// The set of an identifier; `EINVAL`.
pub fn get(id: i32) -> Result<Arc<Set>, Errno> {
    NAMESPACE.semaphores.lock().get(id)
}

/// semtimedop(2)
pub fn operate(id: i32, operations: &[Operation], deadline: Option<Instant>) -> Result<(), Errno> {
    let set = get(id)?;
    let pid = process::with_current(|process| process.pid);
    let count = set.state.lock().members.len();
    if operations.iter().any(|operation| operation.member >= count) {
        return Err(Errno::EFBIG);
    }
    let alters = operations.iter().any(|operation| operation.change != 0);
    set.permissions().check(if alters { WRITE } else { READ })?;
    let mut waits: Option<(usize, bool)> = None;
    let attempt = || {
        let mut state = set.state.lock();
        if let Some(entry) = waits.take() {
            state.forget_wait(entry);
        }
        if state.removed {
            return Some(Err(Errno::EIDRM));
        }
        match state.attempt(operations, pid) {
            Ok(None) => Some(Ok(())),
            Ok(Some(operation)) => {
                let entry = (operation.member, operation.change == 0);
                state.waiting.push(entry);
                waits = Some(entry);
                None
            }
            Err(error) => Some(Err(error)),
        }
    };
    let waited = set.queue.wait_until(deadline, Signals::Interrupt, attempt);
    let result = waited.unwrap_or_else(|error| {
        if let Some(entry) = waits {
            set.state.lock().forget_wait(entry);
        }
        Err(match error {
            WaitError::TimedOut => Errno::EAGAIN,
            WaitError::Interrupted => Errno::EINTR,
        })
    });
    if result.is_ok() && alters {
        set.queue.wake_all();
    }
    result
}

impl Set {
    /// `SETVAL`, `SETALL`: the semaphores from `first` on.
    pub fn assign(&self, first: usize, values: &[i32]) -> Result<(), Errno> {
        self.permissions().check(WRITE)?;
        if values.iter().any(|value| !(0..=MOST_VALUE).contains(value)) {
            return Err(Errno::ERANGE);
        }
        let pid = process::with_current(|process| process.pid);
        let mut state = self.state.lock();
        for (index, &value) in values.iter().enumerate() {
            state.members[first + index] = Semaphore { value, pid };
            for own in state.adjustments.values_mut() {
                own[first + index] = 0;
            }
        }
        state.changed = now();
        drop(state);
        self.queue.wake_all();
        Ok(())
    }
}

/// `IPC_RMID`
pub fn remove(id: i32) -> Result<(), Errno> {
    let set = get(id)?;
    set.permissions().check_owner()?;
    let removed = NAMESPACE.semaphores.lock().remove(id);
    set.state.lock().removed = true;
    set.queue.wake_all();
    drop(removed);
    Ok(())
}

/// A process ends: what it asked to be undone is.
pub(super) fn undo(pid: Pid) {
    let sets: Vec<Arc<Set>> = {
        let table = NAMESPACE.semaphores.lock();
        table.iter().map(|(_, set)| set.clone()).collect()
    };
    for set in sets {
        let mut state = set.state.lock();
        let Some(own) = state.adjustments.remove(&pid) else {
            continue;
        };
        for (member, change) in state.members.iter_mut().zip(own) {
            member.value = (member.value + change).clamp(0, MOST_VALUE);
            member.pid = pid;
        }
        drop(state);
        set.queue.wake_all();
    }
}

/// /proc/sysvipc/sem
pub fn listed() -> String {
    let mut text = String::from(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
    );
    for (id, set) in NAMESPACE.semaphores.lock().iter() {
        let state = set.state.lock();
        let who = state.permissions;
        text += &format!(
            "{:10} {id:10} {:5o} {:10} {} {:10} {:10}\n",
            who.key,
            who.mode,
            state.members.len(),
            who.columns(),
            state.operated,
            state.changed
        );
    }
    text
}
