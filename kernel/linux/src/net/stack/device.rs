//! The network device as smoltcp sees it, which answers ARP and ICMP: at most one frame to be received, and room to
//! send.
use super::link;
use crate::net::interface;
use alloc::vec;
use machine::drivers::net;
use smoltcp::{
    phy::{DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

/// The most bytes of a packet, in a frame.
const LARGEST: usize = 14 + 65_535;

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
        // What is larger than a frame is cut.
        capabilities.max_transmission_unit = LARGEST;
        capabilities
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// A frame is sent that smoltcp has made: if it is a packet, it is ICMP's.
fn count(frame: &[u8]) {
    let mib = interface::mib();
    mib.sent(frame);
    if let Some((counts, _)) = mib.of_frame(frame) {
        counts.icmp_out_msgs.count();
    }
}

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        if len <= net::FRAME {
            interface::ethernet().sent(len);
            return net::send(len, |frame| {
                let result = f(frame);
                count(frame);
                result
            });
        }
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        count(&frame);
        if let Some(&mac) = frame.first_chunk() {
            link::send_frame(mac, &frame);
        }
        result
    }
}
