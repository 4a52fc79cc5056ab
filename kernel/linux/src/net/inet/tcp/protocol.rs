//! What system calls do with a socket of TCP's.
use super::{Role, TABLE, Tcp};
use crate::{
    fs::Poll,
    net::{
        address::Address,
        inet::{
            connection::State,
            destination, given,
            listener::Listener,
            may_bind,
            ports::{Owner, unspecified},
            tcp_info, told,
        },
        interface,
        message::{How, Outgoing, Received},
        options,
        socket::{Protocol, Socket},
    },
};
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use linux_raw_sys::net as linux;

impl Protocol for Tcp {
    fn bind(&self, address: &Address) -> Result<(), Errno> {
        let address = given(self.sock(), address)?;
        if self.binding().is_some() || !matches!(self.tcb.role(), Role::Closed) {
            return Err(Errno::EINVAL);
        }
        may_bind(address)?;
        self.bind_to(address)?;
        Ok(())
    }

    fn connect(&self, address: &Address) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Closed => (),
            Role::Connecting(_) => return Err(Errno::EALREADY),
            Role::Connected(connection) if connection.state() == State::SynSent => {
                return Err(Errno::EALREADY);
            }
            // It was refused, or was never made: another one can be tried.
            Role::Connected(connection) if connection.state() == State::Close => {
                self.sock().check_error()?;
            }
            Role::Connected(connection) if *address == Address::Unspecified => {
                connection.close(true);
                *self.tcb.role.lock() = Role::Closed;
                *self.bound.lock() = None;
                return Ok(());
            }
            Role::Connected(_) if self.begun.swap(false, Ordering::Relaxed) => return Ok(()),
            Role::Refused => {
                *self.tcb.role.lock() = Role::Closed;
                if *address != Address::Unspecified {
                    self.sock().check_error()?;
                    return Err(Errno::ECONNABORTED);
                }
            }
            Role::Connected(_) | Role::Listens(..) => return Err(Errno::EISCONN),
        }
        if *address == Address::Unspecified {
            return Ok(());
        }
        self.sock().check_error()?;
        let to = destination(given(self.sock(), address)?);
        if to.is_ipv4() && self.is_v6() && self.sock().options.lock().is_set(options::V6ONLY) {
            return Err(Errno::ENETUNREACH);
        }
        let begun = if interface::is_local(to.ip()) {
            self.connect_here(to)
        } else {
            self.connect_out(to)
        };
        // Who does not wait hears of it later, even if it has ended already.
        match begun {
            Ok(()) | Err(Errno::EINPROGRESS) => (),
            Err(Errno::ECONNREFUSED) => self.refuse(Errno::ECONNREFUSED),
            error => return error,
        }
        self.begun.store(true, Ordering::Relaxed);
        Err(Errno::EINPROGRESS)
    }

    fn connecting(&self) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Connecting(to) => match self.connect_here(to) {
                Ok(()) => Ok(()),
                Err(Errno::EINPROGRESS) => Err(Errno::EAGAIN),
                Err(error) => {
                    self.refuse(error);
                    Ok(())
                }
            },
            Role::Connected(connection) if connection.state() == State::SynSent => {
                Err(Errno::EAGAIN)
            }
            _ => Ok(()),
        }
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Closed => (),
            Role::Listens(listener, _) => {
                listener.set_backlog(backlog);
                return Ok(());
            }
            Role::Connecting(_) | Role::Refused | Role::Connected(_) => {
                return Err(Errno::EINVAL);
            }
        }
        let bound = self.binding();
        let address = match &bound {
            Some(binding) => binding.address,
            None => SocketAddr::new(unspecified(self.is_v6()), 0),
        };
        // Who shares a port by SO_REUSEADDR may not once somebody listens there.
        if TABLE.ports.all().iter().any(|(other, tcb)| {
            *other == address && !Arc::ptr_eq(tcb, &self.tcb) && !tcb.shares() && {
                let own = self.sock().options.lock().is_set(options::REUSEPORT);
                !own || !tcb.sock.options.lock().is_set(options::REUSEPORT)
            }
        }) {
            return Err(Errno::EADDRINUSE);
        }
        let binding = match bound {
            Some(binding) => binding,
            None => self.bind_to(address)?,
        };
        let listener = Listener::new(self.sock().clone(), backlog);
        *self.tcb.role.lock() = Role::Listens(listener, binding);
        self.sock().changed();
        Ok(())
    }

    fn accept(&self) -> Result<Arc<Socket>, Errno> {
        let listener = self.tcb.listener().ok_or(Errno::EINVAL)?;
        listener.pop().ok_or(Errno::EAGAIN)
    }

    fn is_listening(&self) -> bool {
        self.tcb.listener().is_some()
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<usize, Errno> {
        match self.tcb.role() {
            // An address is not looked at.
            Role::Connected(connection) => connection.send(message.data, message.how),
            Role::Connecting(_) => Err(Errno::EAGAIN),
            Role::Closed | Role::Refused | Role::Listens(..) => {
                self.sock().check_error()?;
                Err(Errno::EPIPE)
            }
        }
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        match self.tcb.role() {
            Role::Listens(..) if how.urgent => Err(Errno::ENOTCONN),
            Role::Connected(connection) if how.urgent => {
                let byte = connection.urgent(how.peek)?;
                let stored = buf.iter_mut().zip(byte).map(|(room, byte)| *room = byte);
                let stored = stored.count();
                Ok(Received {
                    stored,
                    len: usize::from(byte.is_some()),
                    urgent: byte.is_some(),
                    ..Received::default()
                })
            }
            _ if how.urgent => Err(Errno::EINVAL),
            Role::Connected(connection) => connection.receive(buf, how),
            Role::Connecting(_) => Err(Errno::EAGAIN),
            Role::Refused => {
                self.sock().check_error()?;
                Ok(Received::default())
            }
            Role::Closed | Role::Listens(..) => {
                self.sock().check_error()?;
                Err(Errno::ENOTCONN)
            }
        }
    }

    fn is_at_mark(&self) -> Result<bool, Errno> {
        let connection = self.tcb.connection();
        Ok(connection.is_some_and(|connection| connection.is_at_mark()))
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<(), Errno> {
        match self.tcb.role() {
            Role::Connected(connection) => {
                if connection.state() == State::Close {
                    return Err(Errno::ENOTCONN);
                }
                connection.shutdown(receiving, sending);
                Ok(())
            }
            // It listens no more, and keeps its port.
            Role::Listens(listener, _) if receiving => {
                *self.tcb.role.lock() = Role::Closed;
                reset_all(&listener);
                self.sock().changed();
                Ok(())
            }
            Role::Listens(..) => Ok(()),
            Role::Closed | Role::Connecting(_) | Role::Refused => Err(Errno::ENOTCONN),
        }
    }

    fn local(&self) -> Address {
        let address = match (self.tcb.connection(), self.binding()) {
            (Some(connection), _) => connection.local(),
            (None, Some(binding)) => binding.address,
            (None, None) => SocketAddr::new(unspecified(self.is_v6()), 0),
        };
        told(self.sock(), address)
    }

    fn peer(&self) -> Result<Address, Errno> {
        let connection = self.tcb.connection().ok_or(Errno::ENOTCONN)?;
        if connection.state() == State::Close {
            return Err(Errno::ENOTCONN);
        }
        Ok(told(self.sock(), connection.peer()))
    }

    fn poll(&self) -> Poll {
        match self.tcb.role() {
            Role::Closed => Poll::OUT | Poll::HUP,
            Role::Refused => Poll::IN | Poll::OUT | Poll::HUP | Poll::RDHUP,
            Role::Listens(listener, _) => match listener.counts() {
                [0, _] => Poll::empty(),
                _ => Poll::IN,
            },
            Role::Connecting(_) => match self.connecting() {
                Err(Errno::EAGAIN) => Poll::empty(),
                _ => self.poll(),
            },
            Role::Connected(connection) => connection.poll(),
        }
    }

    fn queued(&self) -> [usize; 2] {
        self.tcb
            .connection()
            .map_or([0; 2], |connection| connection.queued())
    }

    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        match (level, name) {
            (options::TCP, linux::TCP_INFO) => Ok(self.info()),
            (options::TCP, linux::TCP_MAXSEG) => Ok(self.segment_size()),
            (options::TCP, linux::TCP_CONGESTION) => Ok(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
            (options::TCP, linux::TCP_ULP) => Ok(Vec::new()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        match (level, name) {
            (options::TCP, linux::TCP_CONGESTION) => {
                let end = value
                    .iter()
                    .position(|&byte| byte == 0)
                    .unwrap_or(value.len());
                if &value[..end] == b"cubic" {
                    Ok(())
                } else {
                    Err(Errno::ENOENT)
                }
            }
            (options::TCP, linux::TCP_MAXSEG) => match value.first_chunk().copied() {
                Some(raw) if matches!(i32::from_le_bytes(raw), 0 | 48..=32_767) => Ok(()),
                _ => Err(Errno::EINVAL),
            },
            (options::TCP, linux::TCP_ULP) => Err(Errno::ENOENT),
            (options::IPV6, _) if !self.is_v6() => Err(Errno::ENOPROTOOPT),
            (level, name) if (level, name) == options::V6ONLY && self.binding().is_some() => {
                Err(Errno::EINVAL)
            }
            (options::UDP, _) => Err(Errno::ENOPROTOOPT),
            _ => Ok(()),
        }
    }

    fn configured(&self) {
        if let Some(connection) = self.tcb.connection() {
            connection.configured();
        }
    }

    fn close(&self) {
        let role = core::mem::replace(&mut *self.tcb.role.lock(), Role::Closed);
        let linger = self.sock().options.lock().linger;
        match role {
            Role::Connected(connection) => connection.close(linger == Some(0)),
            Role::Listens(listener, _) => {
                reset_all(&listener);
            }
            Role::Closed | Role::Connecting(_) | Role::Refused => (),
        }
        let bound = self.bound.lock().take();
        drop(bound);
    }
}

/// Nobody accepts these connections any more.
fn reset_all(listener: &Listener) {
    for socket in listener.close() {
        reset(&socket);
    }
}

/// Ends a connection that nobody has accepted.
fn reset(socket: &Socket) {
    socket.sock.options.lock().linger = Some(0);
    socket.protocol.close();
}

impl Tcp {
    fn info(&self) -> Vec<u8> {
        let told = self.tcb.connection().and_then(|one| one.info());
        tcp_info::encode(self.tcb.state(), told)
    }

    /// What a segment carries: before there is a connection, what everybody takes.
    fn segment_size(&self) -> Vec<u8> {
        let size = match self.tcb.connection() {
            Some(connection) => tcp_info::segment_size(connection.info()),
            None => 536,
        };
        size.to_le_bytes().to_vec()
    }
}
