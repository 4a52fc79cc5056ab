//! What system calls do with a socket of datagrams.
use super::{Datagrams, RAW};
use crate::{
    fs::Poll,
    net::{
        address::{Address, family},
        inet::{
            ICMPV6, UDPLITE,
            cork::{self, MOST},
            destination, given, may_bind,
            ports::unspecified,
            sharing, source, told,
        },
        message::{How, Outgoing, Received},
        options,
        sock::Kind,
        socket::Protocol,
    },
};
use abi::Errno;
use alloc::vec::Vec;
use core::net::SocketAddr;
use linux_raw_sys::net as linux;

impl Protocol for Datagrams {
    fn bind(&self, address: &Address) -> Result<(), Errno> {
        let end = &self.end;
        let address = given(&end.sock, address)?;
        if end.sock.kind != Kind::Raw && end.state.lock().bound.is_some() {
            return Err(Errno::EINVAL);
        }
        let address = match end.sock.kind {
            Kind::Raw => SocketAddr::new(address.ip(), 0),
            _ => address,
        };
        may_bind(match end.is_icmp() {
            true => SocketAddr::new(address.ip(), 0),
            false => address,
        })?;
        let sharing = sharing(&end.sock.options.lock());
        let binding = end.ports().bind(address, sharing, end)?;
        let mut state = end.state.lock();
        state.bound = Some(binding);
        state.asked = true;
        Ok(())
    }

    fn connect(&self, address: &Address) -> Result<(), Errno> {
        let end = &self.end;
        if *address == Address::Unspecified {
            let mut state = end.state.lock();
            state.peer = None;
            state.local = None;
            let left = if state.asked {
                None
            } else {
                state.bound.take()
            };
            drop(state);
            drop(left);
            return Ok(());
        }
        let to = destination(given(&end.sock, address)?);
        let bound = end.port()?;
        let ip = source(Some(bound.address.ip()), to.ip())?;
        let mut state = end.state.lock();
        state.peer = Some(to);
        state.local = Some(ip);
        drop(state);
        end.sock.changed();
        Ok(())
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<usize, Errno> {
        let end = &self.end;
        end.sock.check_error()?;
        if message.data.len() > MOST {
            return Err(Errno::EMSGSIZE);
        }
        let holds = message.how.more || cork::holds(&end.sock.options.lock());
        if !end.is_icmp() && (holds || self.corked.lock().is_some()) {
            self.hold(message, !holds)?;
        } else {
            self.put(message.data, &self.way(message)?)?;
        }
        Ok(message.data.len())
    }

    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        let end = &self.end;
        if how.urgent {
            return Err(Errno::EOPNOTSUPP);
        }
        end.sock.check_error()?;
        match end.inbox.take_message(buf, how) {
            Err(Errno::EAGAIN) if end.state.lock().shut[0] => Ok(Received::default()),
            result => result,
        }
    }

    fn receive_error(&self, buf: &mut [u8]) -> Result<Received, Errno> {
        self.end.failures.take_message(buf, How::default())
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<(), Errno> {
        let mut state = self.end.state.lock();
        if state.peer.is_none() {
            return Err(Errno::ENOTCONN);
        }
        state.shut[0] |= receiving;
        state.shut[1] |= sending;
        drop(state);
        self.end.sock.changed();
        Ok(())
    }

    fn local(&self) -> Address {
        let state = self.end.state.lock();
        let v6 = self.end.sock.domain == family::INET6;
        let mut address = match &state.bound {
            Some(binding) => binding.address,
            None => SocketAddr::new(unspecified(v6), 0),
        };
        if let Some(ip) = state.local {
            address.set_ip(ip);
        }
        if self.end.sock.kind == Kind::Raw {
            address.set_port(u16::try_from(self.end.sock.protocol).unwrap_or(0));
        }
        told(&self.end.sock, address)
    }

    fn peer(&self) -> Result<Address, Errno> {
        let peer = self.end.state.lock().peer.ok_or(Errno::ENOTCONN)?;
        Ok(told(&self.end.sock, peer))
    }

    fn poll(&self) -> Poll {
        let [receive, send] = self.end.state.lock().shut;
        let mut events = Poll::OUT;
        if self.end.inbox.packets() > 0 {
            events |= Poll::IN;
        }
        if self.end.failures.packets() > 0 {
            events |= Poll::ERR;
        }
        if receive {
            events |= Poll::IN | Poll::RDHUP;
        }
        if receive && send {
            events |= Poll::HUP;
        }
        events
    }

    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        if !self.end.has_filter(level, name) {
            return Err(Errno::ENOPROTOOPT);
        }
        let len = if level == RAW { 4 } else { 32 };
        Ok(self.end.state.lock().filter[..len].to_vec())
    }

    fn queued(&self) -> [usize; 2] {
        [self.end.inbox.first(), 0]
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        let v6 = self.end.sock.domain == family::INET6;
        match (level, name) {
            (options::TCP, _) => Err(Errno::ENOPROTOOPT),
            (options::UDP, _) if self.end.is_icmp() => Err(Errno::ENOPROTOOPT),
            (level, name) if self.end.has_filter(level, name) => {
                let mut state = self.end.state.lock();
                for (byte, room) in value.iter().zip(&mut state.filter) {
                    *room = *byte;
                }
                Ok(())
            }
            (RAW | ICMPV6, _) => Err(Errno::ENOPROTOOPT),
            (options::UDPLITE, _) if self.end.sock.protocol != UDPLITE => Err(Errno::ENOPROTOOPT),
            (options::IPV6, _) if !v6 => Err(Errno::ENOPROTOOPT),
            (options::IPV6, linux::IPV6_V6ONLY) if self.end.state.lock().bound.is_some() => {
                Err(Errno::EINVAL)
            }
            _ => Ok(()),
        }
    }

    fn configured(&self) {
        if cork::holds(&self.end.sock.options.lock()) {
            return;
        }
        let corked = self.corked.lock().take();
        if let Some(corked) = corked {
            // Whom an error could be told is not said.
            let _ = self.put(&corked.data, &corked.way);
        }
    }

    fn close(&self) {
        let bound = self.end.state.lock().bound.take();
        drop(bound);
        self.end.inbox.discard();
        self.end.sock.changed();
    }
}
