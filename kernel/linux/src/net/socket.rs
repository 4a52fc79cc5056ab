//! An open socket: what families have in common. It waits, families do not: what a family cannot do now is `EAGAIN`,
//! and it wakes the socket's queue when it may be tried again.
use super::{
    address::Address,
    interface,
    message::{Ancillary, How, Outgoing, Received, Sending},
    sock::{Kind, Sock},
};
use crate::fs::{File, Metadata, Poll, signal_driven::Owner};
use abi::Errno;
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use linux_raw_sys::{general as linux, ioctl};
use machine::{
    mm::user,
    sync::{Mutex, Signals, WaitError, WaitQueue},
    time::Instant,
};

/// What a family of sockets does.
pub trait Protocol: Send + Sync {
    /// bind(2)
    fn bind(&self, address: &Address) -> Result<(), Errno>;
    /// connect(2). `EAGAIN`: it is to be made again; `EINPROGRESS`: it goes on, see [`Protocol::connecting`].
    fn connect(&self, address: &Address) -> Result<(), Errno>;
    /// `EAGAIN` while a connect goes on; how it has ended [`Protocol::connect`] tells, called once more.
    fn connecting(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// listen(2)
    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        let _ = backlog;
        Err(Errno::EOPNOTSUPP)
    }
    /// accept(2)
    fn accept(&self) -> Result<Arc<Socket>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Whether it listens.
    fn is_listening(&self) -> bool {
        false
    }
    /// Sends what can be sent now; how much.
    fn send(&self, message: &Outgoing<'_>) -> Result<usize, Errno>;
    /// Takes a message that the kernel has for who receives; `EINVAL` if it is no netlink socket.
    fn told_by_kernel(&self, data: &[u8]) -> Result<(), Errno> {
        let _ = data;
        Err(Errno::EINVAL)
    }
    /// Receives what is there now.
    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno>;
    /// Takes what was sent from here and has come back (`MSG_ERRQUEUE`).
    fn receive_error(&self, buf: &mut [u8]) -> Result<Received, Errno> {
        let _ = buf;
        Err(Errno::EAGAIN)
    }
    /// shutdown(2)
    fn shutdown(&self, receiving: bool, sending: bool) -> Result<(), Errno>;
    /// getsockname(2)
    fn local(&self) -> Address;
    /// getpeername(2); `ENOTCONN`.
    fn peer(&self) -> Result<Address, Errno>;
    /// Events ready now. Whoever cannot write is woken when it can.
    fn poll(&self) -> Poll;
    /// `FIONREAD` (`SIOCINQ`) and `SIOCOUTQ`.
    fn queued(&self) -> [usize; 2];
    /// `SIOCATMARK`: whether the next byte is the urgent one; `ENOTTY` if there are none.
    fn is_at_mark(&self) -> Result<bool, Errno> {
        Err(Errno::ENOTTY)
    }
    /// An option that is not kept with the others: its value in memory.
    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        let _ = (level, name);
        Err(Errno::ENOPROTOOPT)
    }
    /// Before an option is kept: whether it may be set, and what follows. `ENOPROTOOPT` for one that there is not.
    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        let _ = (level, name, value);
        Ok(())
    }
    /// Options have changed.
    fn configured(&self) {}
    /// It is closed.
    fn close(&self);
}

/// An open socket.
pub struct Socket {
    /// What others know of it.
    pub sock: Arc<Sock>,
    /// What its family does.
    pub protocol: Box<dyn Protocol>,
    /// Held while it is bound, connected, or made to listen (`lock_sock`).
    control: Mutex<()>,
}

const RECEIVE: usize = 0;
const SEND: usize = 1;

impl Drop for Socket {
    fn drop(&mut self) {
        interface::mib().sockets.uncount();
    }
}

impl Socket {
    /// A socket with its family's part.
    pub fn new(sock: Arc<Sock>, protocol: Box<dyn Protocol>) -> Arc<Self> {
        interface::mib().sockets.count();
        Arc::new(Self {
            sock,
            protocol,
            control: Mutex::new(()),
        })
    }

    /// Makes `attempt` until it does not say `EAGAIN`, up to the time that `SO_RCVTIMEO` or `SO_SNDTIMEO` says.
    fn wait<T>(
        &self,
        timeout: usize,
        nonblock: bool,
        mut attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match attempt() {
            Err(Errno::EAGAIN) if !nonblock => (),
            result => return result,
        }
        let limit = self.sock.options.lock().timeouts[timeout];
        let deadline = (limit > 0).then(|| Instant(Instant::now().0.saturating_add(limit)));
        let waited = self
            .sock
            .queue
            .wait_until(deadline, Signals::Interrupt, || match attempt() {
                Err(Errno::EAGAIN) => None,
                result => Some(result),
            });
        match waited {
            Ok(result) => result,
            Err(WaitError::TimedOut) => Err(Errno::EAGAIN),
            // With a time-out it is not made again.
            Err(WaitError::Interrupted) if limit > 0 => Err(Errno::EINTR),
            Err(WaitError::Interrupted) => Err(Errno::ERESTARTSYS),
        }
    }

    /// bind(2)
    pub fn bind(&self, address: &Address) -> Result<(), Errno> {
        let _control = self.control.lock();
        self.protocol.bind(address)
    }

    /// listen(2)
    pub fn listen(&self, backlog: usize) -> Result<(), Errno> {
        let _control = self.control.lock();
        self.protocol.listen(backlog)
    }

    /// connect(2)
    pub fn connect(&self, address: &Address, nonblock: bool) -> Result<(), Errno> {
        let begun = self.wait(SEND, nonblock, || {
            let _control = self.control.lock();
            self.protocol.connect(address)
        });
        match begun {
            Err(Errno::EINPROGRESS | Errno::EALREADY) if !nonblock => {
                match self.wait(SEND, false, || self.protocol.connecting()) {
                    Ok(()) => {
                        let _control = self.control.lock();
                        self.protocol.connect(address)
                    }
                    Err(Errno::EAGAIN) => Err(Errno::EINPROGRESS),
                    result => result,
                }
            }
            result => result,
        }
    }

    /// accept(2)
    pub fn accept(&self, nonblock: bool) -> Result<Arc<Self>, Errno> {
        self.wait(RECEIVE, nonblock, || self.protocol.accept())
    }

    /// send(2). Of a stream's bytes all are sent that can be before an error.
    pub fn send(
        &self,
        data: &[u8],
        to: Option<&Address>,
        ancillary: &Ancillary,
        how: Sending,
        nonblock: bool,
    ) -> Result<usize, Errno> {
        let bare = Ancillary {
            credentials: ancillary.credentials,
            ..Ancillary::default()
        };
        let mut done = 0;
        loop {
            let message = Outgoing {
                data: &data[done..],
                to,
                ancillary: if done == 0 { ancillary } else { &bare },
                how,
            };
            match self.wait(SEND, nonblock, || self.protocol.send(&message)) {
                Ok(len) => done += len,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
            if done >= data.len() || self.sock.kind != Kind::Stream {
                return Ok(done);
            }
        }
    }

    /// recv(2): what is there, and at least something.
    pub fn receive(&self, buf: &mut [u8], how: How, nonblock: bool) -> Result<Received, Errno> {
        self.wait(RECEIVE, nonblock, || self.protocol.receive(buf, how))
    }
}

impl File for Socket {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        Ok(self.receive(buf, How::default(), nonblock)?.stored)
    }
    fn write(&self, _offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let how = Sending::default();
        self.send(buf, None, &Ancillary::default(), how, nonblock)
    }
    fn poll(&self) -> Poll {
        let mut events = self.protocol.poll();
        if self.sock.has_error() {
            events |= Poll::ERR;
        }
        events
    }
    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.sock.queue)
    }
    fn edges(&self) -> [u64; 2] {
        self.sock.edges.counts()
    }
    fn drives_signals(&self) -> bool {
        true
    }
    fn owned(&self, owner: &Arc<dyn Owner>) {
        *self.sock.owner.lock() = Some(Arc::downgrade(owner));
    }
    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.sock.ino, linux::S_IFSOCK | 0o777))
    }
    fn link_text(&self) -> Vec<u8> {
        format!("socket:[{}]", self.sock.ino).into_bytes()
    }
    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        let [unread, unsent] = self.protocol.queued();
        let value = match request {
            ioctl::FIONREAD => unread,
            ioctl::TIOCOUTQ => unsent,
            ioctl::SIOCATMARK => usize::from(self.protocol.is_at_mark()?),
            other => return super::ioctl::answer(other, arg),
        };
        let value = i32::try_from(value).unwrap_or(i32::MAX);
        user::copy_out(arg, &value.to_le_bytes())?;
        Ok(0)
    }
    fn release(&self) {
        self.protocol.close();
    }
}
