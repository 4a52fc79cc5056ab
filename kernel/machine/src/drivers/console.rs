//! virtio-console with several ports: the program's standard input, output and error, and what elfin and the kernel
//! have to tell each other.
//!
//! Ports are told apart by name (`elfin.stdin` and so on). Output is copied to buffers in flight, so that a writer
//! waits only while the host is slow to take what was written before; input stays in the device's buffers until it is
//! read. Hot-plugged ports are not noticed.
//!
//! Without the device or one of its ports, input is at its end and output goes nowhere.
mod ports;
mod stream;

use super::{
    pci::Bus,
    virtio::{Device, Failure, Features},
};
use crate::mm::frame;
use crate::sync::{Signals, SpinLock, WaitQueue};
use alloc::boxed::Box;
use ports::{Event, Handshake, Role};
use spin::Once;
use stream::{Incoming, Outgoing};
use virtio_drivers::transport::pci::bus::DeviceFunction;

/// Buffers per direction of a port.
const BUFFERS: usize = 16;
/// Bytes of each: where memory is scarce, and where it is not.
const INPUT_SIZE: (usize, usize) = (512, 4 << 10);
/// Not less than what is to go out in one piece (`PIPE_BUF`).
const OUTPUT_SIZE: (usize, usize) = (4 << 10, 16 << 10);
/// Of the control port, which is seldom used. What is written in one piece of this is not torn apart.
pub const CONTROL_SIZE: usize = 4 << 10;

/// Where bytes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// What elfin tells the kernel.
    Control,
}

/// Where bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What the kernel tells elfin.
    Control,
}

struct Console {
    /// Keeps the device from being reset.
    _device: Device,
    events: SpinLock<ports::Control>,
    /// In the order of [`Input`].
    inputs: [Option<Box<Incoming>>; 2],
    /// In the order of [`Output`].
    outputs: [Option<Box<Outgoing>>; 3],
}

static CONSOLE: Once<Console> = Once::new();

/// As large as a buffer is to be between the least and the most: about a byte for each page of memory there is.
fn as_memory_allows((least, most): (usize, usize)) -> usize {
    frame::counts().0.next_power_of_two().clamp(least, most)
}

/// Starts the device and opens the ports.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<(), Failure> {
    if CONSOLE.is_completed() {
        return Err(Failure::Lacks("use for a second console"));
    }
    let mut device = Device::open(bus, function)?;
    let vector = device.vector("virtio_console", |_| interrupt())?;
    if !device
        .begin(Features::CONSOLE_MULTIPORT)?
        .contains(Features::CONSOLE_MULTIPORT)
    {
        return Err(Failure::Lacks("ports"));
    }
    let mut handshake = Handshake::start(&mut device, vector)?;
    device.finish();
    handshake.run();
    let mut take = |role: Role| {
        let port = handshake.take(role);
        if port.is_none() {
            ::log::warn!("pci {function}: console without port {}", role.name());
        }
        port
    };
    let input = as_memory_allows(INPUT_SIZE);
    let stdin = take(Role::Stdin)
        .map(|port| Incoming::new(port.id, port.open, port.receive, input))
        .transpose()?;
    let mut output = |role| {
        let port = take(role)?;
        Some(Outgoing::new(
            port.id,
            port.transmit,
            as_memory_allows(OUTPUT_SIZE),
        ))
    };
    let stdout = output(Role::Stdout).transpose()?;
    let stderr = output(Role::Stderr).transpose()?;
    let (told, tells) = match take(Role::Control) {
        Some(port) => (
            Some(Incoming::new(port.id, port.open, port.receive, input)?),
            Some(Outgoing::new(port.id, port.transmit, CONTROL_SIZE)?),
        ),
        None => (None, None),
    };
    let events = SpinLock::new(handshake.open_ports());
    let console = CONSOLE.call_once(|| Console {
        _device: device,
        events,
        inputs: [stdin, told],
        outputs: [stdout, stderr, tells],
    });
    console.handle_events();
    ::log::info!("pci {function}: console");
    Ok(())
}

/// Interrupt context: the device is done with a buffer of any queue that wants interrupts.
fn interrupt() {
    let Some(console) = CONSOLE.get() else { return };
    console.handle_events();
    console
        .inputs
        .iter()
        .flatten()
        .for_each(|port| port.interrupt());
    console
        .outputs
        .iter()
        .flatten()
        .for_each(|port| port.interrupt());
}

impl Console {
    fn handle_events(&self) {
        loop {
            let event = self.events.lock().next();
            let Some(event) = event else { break };
            if let Event::Open(id, open) = event {
                self.set_open(id, open);
            }
        }
        self.events.lock().repost();
    }

    /// The host opens or closes its end of a port.
    fn set_open(&self, id: u32, open: bool) {
        for port in self.inputs.iter().flatten().filter(|port| port.id == id) {
            port.set_open(open);
        }
        for port in self.outputs.iter().flatten().filter(|port| port.id == id) {
            port.set_open(open);
        }
    }
}

fn incoming(input: Input) -> Option<&'static Incoming> {
    let [stdin, control] = &CONSOLE.get()?.inputs;
    match input {
        Input::Stdin => stdin.as_deref(),
        Input::Control => control.as_deref(),
    }
}

fn outgoing(output: Output) -> Option<&'static Outgoing> {
    let [stdout, stderr, control] = &CONSOLE.get()?.outputs;
    match output {
        Output::Stdout => stdout.as_deref(),
        Output::Stderr => stderr.as_deref(),
        Output::Control => control.as_deref(),
    }
}

/// Moves input that has arrived to `buf`; how many bytes, 0 when there are none now.
pub fn read(input: Input, buf: &mut [u8]) -> usize {
    incoming(input).map_or(0, |port| port.read(buf))
}

/// How many bytes of input have arrived and are not read yet.
pub fn available(input: Input) -> usize {
    incoming(input).map_or(0, Incoming::available)
}

/// Whether the host has closed the input and everything it sent has been read.
pub fn at_end(input: Input) -> bool {
    incoming(input).is_none_or(Incoming::at_end)
}

/// Woken when input arrives or ends; `None` without that input, which is at its end.
pub fn input_queue(input: Input) -> Option<&'static WaitQueue> {
    Some(incoming(input)?.queue())
}

/// Sends bytes to the host, waiting while it is slow; how many. That is all of them, unless a signal that is not
/// ignored came in while this waited. Interrupts must be on.
pub fn write(output: Output, data: &[u8], signals: Signals) -> usize {
    outgoing(output).map_or(data.len(), |port| port.write(data, signals))
}

/// Waits until the host has taken everything written, signals or not.
pub fn flush() {
    let outputs = CONSOLE.get().map(|console| &console.outputs);
    outputs
        .into_iter()
        .flatten()
        .flatten()
        .for_each(|port| port.flush());
}

/// Whether the host has closed its end of an output, so that nobody sees what is written.
pub fn closed(output: Output) -> bool {
    outgoing(output).is_some_and(Outgoing::is_closed)
}
