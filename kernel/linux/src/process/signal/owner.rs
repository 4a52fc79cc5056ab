//! Owners of open file descriptions, and what they are sent: fcntl(2)'s `F_SETOWN` and `F_SETSIG`.
use super::{Recipient, SigInfo};
use crate::credentials;
use crate::fs::signal_driven::{self, Band};
use crate::process::{self, Pid, Process};
use abi::Errno;
use linux_raw_sys::general as linux;
use machine::sched::Tid;
use machine::sync::SpinLock;

/// Who is sent the signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A thread.
    Thread(Tid),
    /// A process.
    Process(Pid),
    /// All processes of a group.
    Group(Pid),
}

impl Owner {
    /// Whether there is such a thread, process or group.
    pub fn lives(self) -> bool {
        match self {
            Self::Thread(tid) => process::process_of(tid).is_some(),
            Self::Process(pid) => process::find(pid).is_some(),
            Self::Group(group) => process::processes().any(|one| one.pgid() == group),
        }
    }
}

/// Who owns an open file description, and what they are sent.
#[doc(alias = "fown_struct")]
#[derive(Default)]
pub struct Ownership(SpinLock<Claim>);

#[derive(Clone, Copy, Default)]
struct Claim {
    owner: Option<Owner>,
    /// 0: SIGIO, without information.
    signal: i32,
    /// Real and effective user id of who has set the owner: whom they may send signals is sent them.
    users: [u32; 2],
}

impl Ownership {
    /// Who owns it, if they live.
    pub fn owner(&self) -> Option<Owner> {
        let owner = self.0.lock().owner;
        owner.filter(|owner| owner.lives())
    }

    /// Gives it to somebody, or nobody.
    pub fn set_owner(&self, owner: Option<Owner>) {
        let user = credentials::current().user;
        let users = owner.map_or([0; 2], |_| [user.real, user.effective]);
        let mut claim = self.0.lock();
        (claim.owner, claim.users) = (owner, users);
    }

    /// Gives it to `owner` if it is nobody's.
    pub fn set_first_owner(&self, owner: Owner) {
        let owned = self.0.lock().owner.is_some();
        if !owned {
            self.set_owner(Some(owner));
        }
    }

    /// Real and effective user id of who has set the owner.
    pub fn users(&self) -> [u32; 2] {
        self.0.lock().users
    }

    /// The signal; 0 for SIGIO without information.
    pub fn signal(&self) -> i32 {
        self.0.lock().signal
    }

    /// Sets the signal.
    pub fn set_signal(&self, signal: i32) {
        self.0.lock().signal = signal;
    }
}

impl signal_driven::Owner for Ownership {
    #[doc(alias = "send_sigio")]
    fn tell(&self, fd: i32, band: Band) {
        let claim = *self.0.lock();
        match claim.owner {
            Some(Owner::Thread(tid)) => {
                if let Some(process) = process::process_of(tid) {
                    claim.send(&process, Recipient::Thread(tid), fd, band);
                }
            }
            Some(Owner::Process(pid)) => {
                if let Some(process) = process::find(pid) {
                    claim.send(&process, Recipient::Process, fd, band);
                }
            }
            Some(Owner::Group(group)) => {
                for process in process::processes().filter(|one| one.pgid() == group) {
                    claim.send(&process, Recipient::Process, fd, band);
                }
            }
            None => {}
        }
    }
}

impl Claim {
    /// Whether who has set the owner may send signals to the process.
    #[doc(alias = "sigio_perm")]
    fn may_signal(&self, process: &Process) -> bool {
        let [real, effective] = self.users;
        effective == 0
            || process.user().is_some_and(|to| {
                let is_same = |id| [to.real, to.saved].contains(&id);
                is_same(effective) || is_same(real)
            })
    }

    fn send(&self, process: &Process, to: Recipient, fd: i32, band: Band) {
        if !self.may_signal(process) {
            return;
        }
        let number = match band {
            Band::Urgent => linux::SIGURG,
            Band::In | Band::Out | Band::Message => linux::SIGIO,
        };
        let plain = SigInfo::from_kernel(number.cast_signed(), linux::SI_KERNEL.cast_signed(), 0);
        let (code, events) = band.codes();
        let sent = match self.signal {
            _ if band == Band::Urgent => process.send(to, plain),
            0 => process.send(to, plain),
            signal => {
                let info = SigInfo {
                    signal,
                    errno: 0,
                    code: code.cast_signed(),
                    // si_band, si_fd
                    fields: [events.into(), fd.cast_unsigned().into(), 0, 0],
                };
                process.send(to, info)
            }
        };
        if sent == Err(Errno::EAGAIN) {
            // There are too many of a real-time signal: the owner learns it by a plain one.
            let _ = process.send(to, plain);
        }
    }
}
