//! The console's control queues: which ports there are, their names, who has opened them.
//!
//! Queues cannot be added to a running device, so all ports that may matter get theirs before the names are known.
use super::BUFFERS;
use crate::{
    drivers::virtio::{Device, Failure, Filled, Pool, Queue, Vector},
    sched,
    time::Instant,
};
use alloc::vec::Vec;

/// Ports above port 0, which is the console of guests without ports.
const PORTS: u32 = 4;
const CONTROL_RECEIVE: u16 = 2;
const CONTROL_TRANSMIT: u16 = 3;
const CONTROL_BUFFERS: usize = 32;
/// Longest message: the fixed part and a name.
const MESSAGE: usize = 128;
/// QEMU answers at once; this is for ports that the machine does not have.
const PATIENCE_NS: u64 = 1_000_000_000;

const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// What a port is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Stdin,
    Stdout,
    Stderr,
    /// Both directions are used.
    Control,
}

impl Role {
    const ALL: [Self; 4] = [Self::Stdin, Self::Stdout, Self::Stderr, Self::Control];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdin => "elfin.stdin",
            Self::Stdout => "elfin.stdout",
            Self::Stderr => "elfin.stderr",
            Self::Control => "elfin.control",
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        let name = name.strip_suffix(b"\0").unwrap_or(name);
        Self::ALL
            .into_iter()
            .find(|role| role.name().as_bytes() == name)
    }
}

/// What the device says about a port.
pub(super) enum Event {
    Added(u32),
    Named(u32, Role),
    Open(u32, bool),
    Other,
}

impl Event {
    /// Reads a `struct virtio_console_control` and the name behind it.
    fn parse(message: &[u8]) -> Self {
        let Some((&[a, b, c, d, e, f, g, h], name)) = message.split_first_chunk() else {
            return Self::Other;
        };
        let id = u32::from_le_bytes([a, b, c, d]);
        let value = u16::from_le_bytes([g, h]);
        match u16::from_le_bytes([e, f]) {
            PORT_ADD => Self::Added(id),
            PORT_OPEN => Self::Open(id, value != 0),
            PORT_NAME => Role::of(name).map_or(Self::Other, |role| Self::Named(id, role)),
            _ => Self::Other,
        }
    }
}

/// The control queues.
pub(super) struct Control {
    receive: Pool<CONTROL_BUFFERS>,
    transmit: Pool<1>,
}

impl Control {
    /// The next message, if there is one.
    pub(super) fn next(&mut self) -> Option<Event> {
        let (index, len) = self.receive.take()?;
        let event = Event::parse(&self.receive.buffer(index)[..len]);
        self.receive.post(index, MESSAGE);
        Some(event)
    }

    /// Tells the device that there are buffers again: it drops messages for which there are none.
    pub(super) fn repost(&mut self) {
        if let Some(doorbell) = self.receive.doorbell() {
            doorbell.ring();
        }
    }

    /// Sends a message and waits until the device has dealt with it, which includes sending what answers it.
    fn send(&mut self, id: u32, event: u16, value: u16) {
        let buffer = self.transmit.buffer(0);
        buffer[..4].copy_from_slice(&id.to_le_bytes());
        buffer[4..6].copy_from_slice(&event.to_le_bytes());
        buffer[6..8].copy_from_slice(&value.to_le_bytes());
        self.transmit.post(0, 8);
        if let Some(doorbell) = self.transmit.doorbell() {
            doorbell.ring();
        }
        while self.transmit.take().is_none() {
            sched::yield_now();
        }
    }
}

/// A port and its queues.
pub(super) struct Port {
    pub(super) id: u32,
    role: Option<Role>,
    /// The host has it open.
    pub(super) open: bool,
    pub(super) receive: Queue<BUFFERS>,
    pub(super) transmit: Queue<BUFFERS>,
}

/// The control queues and ports of a device whose ports are being found out.
pub(super) struct Handshake {
    control: Control,
    ports: Vec<Port>,
    taken: Vec<u32>,
}

impl Handshake {
    /// Sets up all queues. The device may run after that.
    pub(super) fn start(device: &mut Device, vector: Vector) -> Result<Self, Failure> {
        let receive = device.queue(CONTROL_RECEIVE, Some(vector))?;
        let mut receive = Pool::new(receive, MESSAGE, Filled::ByDevice)?;
        for index in 0..CONTROL_BUFFERS {
            receive.post(index, MESSAGE);
        }
        let transmit = Pool::new(
            device.queue(CONTROL_TRANSMIT, None)?,
            MESSAGE,
            Filled::ByDriver,
        )?;
        let count = device.field(4)?.min(PORTS + 1);
        let ports = (1..count).map(|id| {
            let first = (id as u16 + 1) * 2;
            let receive = device.queue(first, Some(vector))?;
            let transmit = device.queue(first + 1, Some(vector))?;
            Ok(Port {
                id,
                role: None,
                open: false,
                receive,
                transmit,
            })
        });
        let ports = ports.collect::<Result<_, Failure>>()?;
        Ok(Self {
            control: Control { receive, transmit },
            ports,
            taken: Vec::new(),
        })
    }

    /// Asks a running device for its ports and their names.
    pub(super) fn run(&mut self) {
        let deadline = Instant(Instant::now().0 + PATIENCE_NS);
        self.control.repost();
        self.control.send(u32::MAX, DEVICE_READY, 1);
        loop {
            let mut added = Vec::new();
            while let Some(event) = self.control.next() {
                match event {
                    Event::Added(id) if self.port(id).is_some() => added.push(id),
                    Event::Named(id, role) => {
                        if let Some(port) = self.port(id) {
                            port.role = Some(role);
                        }
                    }
                    Event::Open(id, open) => {
                        if let Some(port) = self.port(id) {
                            port.open = open;
                        }
                    }
                    Event::Added(_) | Event::Other => {}
                }
            }
            self.control.repost();
            if added.is_empty() {
                let named = self.ports.iter().filter(|port| port.role.is_some()).count();
                if named == self.ports.len() || Instant::now() > deadline {
                    break;
                }
                sched::yield_now();
            }
            for id in added {
                self.control.send(id, PORT_READY, 1);
            }
        }
    }

    fn port(&mut self, id: u32) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.id == id)
    }

    /// Takes the port of a role out.
    pub(super) fn take(&mut self, role: Role) -> Option<Port> {
        let index = self.ports.iter().position(|port| port.role == Some(role))?;
        let port = self.ports.swap_remove(index);
        self.taken.push(port.id);
        Some(port)
    }

    /// Tells the device that the guest has opened the ports taken, which lets input come.
    pub(super) fn open_ports(mut self) -> Control {
        for id in self.taken {
            self.control.send(id, PORT_OPEN, 1);
        }
        self.control
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Role};

    #[test]
    fn messages() {
        let open = [2, 0, 0, 0, 6, 0, 1, 0];
        assert!(matches!(Event::parse(&open), Event::Open(2, true)));
        assert!(matches!(Event::parse(&open[..7]), Event::Other));
        let name = b"\x01\0\0\0\x07\0\x01\0elfin.stdin\0";
        assert!(matches!(Event::parse(name), Event::Named(1, Role::Stdin)));
        assert!(matches!(
            Event::parse(&name[..name.len() - 2]),
            Event::Other
        ));
    }
}
