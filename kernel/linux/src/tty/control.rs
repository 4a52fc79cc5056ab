//! ioctl(2) of terminals (tty_ioctl(4)), from either side.
use super::settings::Settings;
use super::{Tty, session};
use crate::process;
use abi::Errno;
use alloc::sync::Arc;
use linux_raw_sys::{general as linux, ioctl};
use machine::mm::user;
use machine::sync::Signals;

/// The side that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The program that has the terminal.
    Terminal,
    /// The one that has the master.
    Master,
}

/// Puts an `int`.
fn put(to: usize, value: impl TryInto<i32>) -> Result<(), Errno> {
    user::write(to, &value.try_into().unwrap_or(i32::MAX))
}

impl Tty {
    /// ioctl(2) of the terminal.
    pub fn control(self: &Arc<Self>, request: u32, arg: usize) -> Result<usize, Errno> {
        self.ioctl(Side::Terminal, request, arg)
    }

    pub(super) fn ioctl(
        self: &Arc<Self>,
        side: Side,
        request: u32,
        arg: usize,
    ) -> Result<usize, Errno> {
        if side == Side::Terminal && self.state.lock().is_hung_up {
            return Err(Errno::EIO);
        }
        match request {
            ioctl::TCGETS | ioctl::TCGETS2 => {
                let bytes = self.state.lock().discipline.settings().to_bytes();
                let is_long = request == ioctl::TCGETS2;
                let len = if is_long {
                    Settings::SIZE2
                } else {
                    Settings::SIZE
                };
                user::copy_out(arg, &bytes[..len])?;
            }
            ioctl::TCSETS | ioctl::TCSETSW | ioctl::TCSETSF => {
                self.set(request == ioctl::TCSETSF, arg, Settings::SIZE)?;
            }
            ioctl::TCSETS2 | ioctl::TCSETSW2 | ioctl::TCSETSF2 => {
                self.set(request == ioctl::TCSETSF2, arg, Settings::SIZE2)?;
            }
            ioctl::TIOCGWINSZ => {
                let size = self.state.lock().size;
                let mut bytes = [0; 8];
                for (to, part) in bytes.chunks_exact_mut(2).zip(size) {
                    to.copy_from_slice(&part.to_ne_bytes());
                }
                user::copy_out(arg, &bytes)?;
            }
            ioctl::TIOCSWINSZ => {
                let mut bytes = [0; 8];
                user::copy_in(arg, &mut bytes)?;
                let part = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
                self.resize([part(0), part(2), part(4), part(6)]);
            }
            ioctl::TIOCGPGRP | ioctl::TIOCGSID => {
                if side == Side::Terminal && !self.is_callers() {
                    return Err(Errno::ENOTTY);
                }
                let state = self.state.lock();
                let (session, foreground) = (state.session, state.foreground);
                drop(state);
                match request {
                    ioctl::TIOCGPGRP => put(arg, foreground)?,
                    _ if session == 0 => return Err(Errno::ENOTTY),
                    _ => put(arg, session)?,
                }
            }
            ioctl::TIOCSPGRP => self.set_foreground(user::read(arg)?)?,
            ioctl::TIOCSCTTY => self.take(arg == 1)?,
            ioctl::TIOCNOTTY => self.give_up()?,
            ioctl::FIONREAD => {
                let state = self.state.lock();
                let count = match side {
                    Side::Terminal => state.discipline.available(),
                    Side::Master => state.output.len(),
                };
                drop(state);
                put(arg, count)?;
            }
            ioctl::TIOCOUTQ => {
                let count = match side {
                    Side::Terminal => self.state.lock().output.len(),
                    Side::Master => 0,
                };
                put(arg, count)?;
            }
            ioctl::TCFLSH => self.flush(side, u32::try_from(arg).map_err(|_| Errno::EINVAL)?)?,
            ioctl::TCXONC => self.flow(u32::try_from(arg).map_err(|_| Errno::EINVAL)?)?,
            // What was written is with the host, or in the master's buffer: there is no line to wait for or to break.
            ioctl::TCSBRK | ioctl::TCSBRKP | ioctl::TIOCEXCL | ioctl::TIOCNXCL => (),
            ioctl::TIOCGETD => put(arg, 0)?,
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn set(self: &Arc<Self>, flushes: bool, from: usize, len: usize) -> Result<(), Errno> {
        let mut bytes = [0; Settings::SIZE2];
        user::copy_in(from, &mut bytes[..len])?;
        self.check_foreground(linux::SIGTTOU)?;
        let mut state = self.state.lock();
        let old = state.discipline.settings();
        let new = old.with(&bytes[..len]);
        if flushes {
            state.discipline.flush();
        }
        state.discipline.set(new);
        if old.input(linux::IXON) != new.input(linux::IXON) {
            state.tell(if new.input(linux::IXON) {
                linux::TIOCPKT_DOSTOP
            } else {
                linux::TIOCPKT_NOSTOP
            });
        }
        drop(state);
        self.changed();
        Ok(())
    }

    fn flush(self: &Arc<Self>, side: Side, which: u32) -> Result<(), Errno> {
        if which > linux::TCIOFLUSH {
            return Err(Errno::EINVAL);
        }
        self.check_foreground(linux::SIGTTOU)?;
        // What one side writes the other reads.
        let (mut input, mut output) = (which != linux::TCOFLUSH, which != linux::TCIFLUSH);
        if side == Side::Master {
            core::mem::swap(&mut input, &mut output);
        }
        let mut state = self.state.lock();
        if input {
            state.discipline.flush();
            state.tell(linux::TIOCPKT_FLUSHREAD);
        }
        if output {
            state.output.clear();
            state.tell(linux::TIOCPKT_FLUSHWRITE);
        }
        drop(state);
        self.changed();
        Ok(())
    }

    /// tcflow(3)
    fn flow(self: &Arc<Self>, action: u32) -> Result<(), Errno> {
        self.check_foreground(linux::SIGTTOU)?;
        match action {
            linux::TCOOFF | linux::TCOON => self.state.lock().stop(action == linux::TCOOFF),
            linux::TCIOFF | linux::TCION => {
                let which = if action == linux::TCIOFF {
                    linux::VSTOP
                } else {
                    linux::VSTART
                };
                let mut state = self.state.lock();
                let byte = state.discipline.settings().value(which);
                if byte != 0 && self.index.is_some() {
                    state.output.push_back(byte);
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        self.changed();
        Ok(())
    }

    /// What only the master's side can be asked.
    pub(super) fn ioctl_master(self: &Arc<Self>, request: u32, arg: usize) -> Result<usize, Errno> {
        match request {
            ioctl::TIOCGPTN => put(arg, self.index.unwrap_or(0))?,
            ioctl::TIOCSPTLCK => {
                let locks: i32 = user::read(arg)?;
                self.state.lock().is_locked = locks != 0;
            }
            ioctl::TIOCGPTLCK => {
                let is_locked = self.state.lock().is_locked;
                put(arg, i32::from(is_locked))?;
            }
            ioctl::TIOCPKT => {
                let on: i32 = user::read(arg)?;
                let mut state = self.state.lock();
                if on == 0 {
                    state.packet = None;
                } else {
                    state.packet.get_or_insert(0);
                }
            }
            ioctl::TIOCGPKT => {
                let is_on = self.state.lock().packet.is_some();
                put(arg, i32::from(is_on))?;
            }
            ioctl::TIOCSIG => {
                let signal = u32::try_from(arg).map_err(|_| Errno::EINVAL)?;
                if !matches!(signal, linux::SIGINT | linux::SIGQUIT | linux::SIGTSTP) {
                    return Err(Errno::EINVAL);
                }
                session::signal_group(self.foreground(), signal);
            }
            ioctl::TIOCGPTPEER => {
                let flags = u32::try_from(arg).map_err(|_| Errno::EINVAL)?;
                let open = super::pty::open_peer(self, flags)?;
                let cloexec = flags & linux::O_CLOEXEC != 0;
                return process::with_current(|process| {
                    let all = 0..process.limits.descriptors();
                    process.files().install(open, cloexec, all)
                });
            }
            _ => return self.ioctl(Side::Master, request, arg),
        }
        Ok(0)
    }

    /// Types for the master.
    pub(super) fn type_in(&self, bytes: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let mut done = 0;
        while done < bytes.len() {
            match self.receive(&bytes[done..], nonblock, Signals::Interrupt) {
                Ok(len) => done += len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}
