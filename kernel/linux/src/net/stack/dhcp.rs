//! An address by DHCP (RFC 2131): it is asked for before the program starts, and again for as long as it is used. The
//! client is smoltcp's.
use super::{SECOND, device::Device, earlier, instant, now};
use crate::net::interface::Prefix;
use alloc::{vec, vec::Vec};
use core::net::IpAddr;
use machine::{drivers::net as driver, sync::Signals, time};
use smoltcp::{
    iface::{Interface, SocketHandle, SocketSet},
    socket::dhcpv4::{Event, Socket},
};

/// How long the program waits for an address.
const PATIENCE: u64 = 10 * SECOND;
/// The client's port.
pub(super) const PORT: u16 = 68;

/// An address that is the machine's for a while, or is asked for.
pub(super) struct Lease {
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl Lease {
    /// Asks for an address: with the network that it is in, and who passes on what goes further.
    pub(super) fn ask(interface: &mut Interface) -> (Self, Option<(Prefix, Option<IpAddr>)>) {
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(Socket::new());
        let mut lease = Self { sockets, socket };
        let until = now() + PATIENCE;
        let mut buf = vec![0; driver::FRAME];
        while now() < until {
            let frame = driver::receive(&mut buf).map(|len| &buf[..len]);
            let idle = frame.is_none();
            let answer = lease.go_on(interface, frame);
            driver::flush();
            if answer.is_some() {
                return (lease, answer);
            }
            if idle && let Some(queue) = driver::queue() {
                let next = earlier(lease.due(interface), Some(until)).map(time::Instant);
                // When the time has come, it goes on, too.
                let _ =
                    queue.wait_until(next, Signals::Ignore, || driver::listen(true).then_some(()));
            }
        }
        (lease, None)
    }

    /// Takes a frame, if one has come for [`PORT`], and does what is due: an address that was given.
    pub(super) fn go_on(
        &mut self,
        interface: &mut Interface,
        frame: Option<&[u8]>,
    ) -> Option<(Prefix, Option<IpAddr>)> {
        interface.poll(instant(now()), &mut Device(frame), &mut self.sockets);
        match self.sockets.get_mut::<Socket<'_>>(self.socket).poll()? {
            Event::Configured(config) => {
                let own = Prefix {
                    ip: config.address.address().into(),
                    len: config.address.prefix_len(),
                };
                Some((own, config.router.map(IpAddr::V4)))
            }
            Event::Deconfigured => None,
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self, interface: &mut Interface) -> Option<u64> {
        let at = interface.poll_at(instant(now()), &self.sockets)?;
        u64::try_from(at.total_micros())
            .ok()
            .map(|micros| micros * 1000)
    }
}
