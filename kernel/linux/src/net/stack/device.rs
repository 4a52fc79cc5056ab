//! The network device as smoltcp sees it, which answers ARP and ICMP: at most one frame to be received, and room to
//! send.
use crate::net::interface;
use machine::drivers::net;
use smoltcp::{
    phy::{DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

/// The device, with a frame that is to be processed, if there is one.
pub(super) struct Device<'a>(pub(super) Option<&'a [u8]>);

/// A frame that has come.
pub(super) struct Received<'a>(&'a [u8]);

/// Room for a frame.
pub(super) struct Room;

impl smoltcp::phy::Device for Device<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Room
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Room)> {
        // What is sent in answer waits if there is no room.
        Some((Received(self.0.take()?), Room))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Room> {
        net::can_send().then_some(Room)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = net::FRAME;
        capabilities
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        interface::ethernet().sent(len);
        net::send(len, f)
    }
}
