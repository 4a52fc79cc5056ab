//! The network device as smoltcp sees it: at most one frame to be received, and room to send.
use super::isn::Shift;
use crate::net::interface;
use machine::drivers::net;
use smoltcp::{
    phy::{DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

/// The device as one connection sees it, or none.
pub(super) struct Device<'a> {
    /// The frame that is to be processed, if there is one.
    pub(super) frame: Option<&'a [u8]>,
    /// By which the connection's sequence numbers differ on the wire.
    pub(super) shift: Option<&'a Shift>,
}

impl<'a> Device<'a> {
    /// For no connection, with nothing to be processed.
    pub(super) const fn idle() -> Self {
        Self {
            frame: None,
            shift: None,
        }
    }

    /// For a connection, to send.
    pub(super) const fn of(shift: &'a Shift) -> Self {
        Self {
            frame: None,
            shift: Some(shift),
        }
    }
}

/// A frame that has come.
pub(super) struct Received<'a>(&'a [u8]);

/// Room for a frame.
pub(super) struct Room<'a>(Option<&'a Shift>);

impl smoltcp::phy::Device for Device<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Room<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Room<'_>)> {
        // What is sent in answer may be lost; what is sent otherwise waits.
        Some((Received(self.frame.take()?), Room(self.shift)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Room<'_>> {
        net::can_send().then_some(Room(self.shift))
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

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        interface::ethernet().sent(len);
        net::send(len, |frame| {
            let result = f(frame);
            if let Some(shift) = self.0 {
                shift.leaving(frame);
            }
            result
        })
    }
}
