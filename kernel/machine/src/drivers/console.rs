//! virtio-console with several ports: the program's standard input, output and error.
//!
//! Ports are told apart by name (`elfin.stdin` and so on). Output is copied to buffers in flight, so that a writer
//! waits only while the host is slow to take what was written before; input stays in the device's buffers until it is
//! read. Hot-plugged ports are not noticed.
//!
//! Without the device or one of its ports, input is at its end and output goes nowhere.
mod ports;

use super::{
    pci::Bus,
    virtio::{Device, Doorbell, Failure, Features, Filled, Pool},
};
use crate::sync::{Signals, SpinLock, WaitQueue};
use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};
use ports::{Event, Handshake, Role};
use spin::Once;
use virtio_drivers::transport::pci::bus::DeviceFunction;

/// Buffers per port.
const BUFFERS: usize = 16;
const INPUT_SIZE: usize = 4 << 10;
const OUTPUT_SIZE: usize = 16 << 10;

/// Where the program's output goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

struct Console {
    /// Keeps the device from being reset.
    _device: Device,
    control: SpinLock<ports::Control>,
    input: Option<InputPort>,
    stdout: Option<OutputPort>,
    stderr: Option<OutputPort>,
}

struct InputPort {
    id: u32,
    state: SpinLock<Input>,
    /// The host does not send anything any more.
    closed: AtomicBool,
}

struct Input {
    pool: Pool<BUFFERS>,
    /// Buffers with unread bytes: index, first unread byte, end.
    unread: VecDeque<(usize, usize, usize)>,
}

struct OutputPort {
    id: u32,
    state: SpinLock<Sender>,
    queue: WaitQueue,
    /// The host does not take anything any more.
    closed: AtomicBool,
}

struct Sender {
    pool: Pool<BUFFERS>,
    /// Bit n: buffer n is free.
    free: u16,
    /// Threads that wait, so that the device has to interrupt.
    waiting: usize,
}

static CONSOLE: Once<Console> = Once::new();
static INPUT: WaitQueue = WaitQueue::new();

/// Starts the device and opens the ports.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<(), Failure> {
    if CONSOLE.is_completed() {
        return Err(Failure::Lacks("use for a second console"));
    }
    let mut device = Device::open(bus, function)?;
    let vector = device.vector(|_| interrupt())?;
    if !device
        .begin(Features::CONSOLE_MULTIPORT)?
        .contains(Features::CONSOLE_MULTIPORT)
    {
        return Err(Failure::Lacks("ports"));
    }
    let mut handshake = Handshake::start(&mut device, vector)?;
    device.finish();
    handshake.run();
    let input = match handshake.take(Role::Stdin) {
        Some(port) => {
            let pool = Pool::new(port.receive, INPUT_SIZE, Filled::ByDevice)?;
            let mut input = Input {
                pool,
                unread: VecDeque::with_capacity(BUFFERS),
            };
            for index in 0..BUFFERS {
                input.pool.post(index, INPUT_SIZE);
            }
            if let Some(doorbell) = input.pool.doorbell() {
                doorbell.ring();
            }
            Some(InputPort {
                id: port.id,
                state: SpinLock::new(input),
                closed: AtomicBool::new(!port.open),
            })
        }
        None => None,
    };
    let mut output = |role| match handshake.take(role) {
        Some(port) => {
            let mut pool = Pool::new(port.transmit, OUTPUT_SIZE, Filled::ByDriver)?;
            pool.set_interrupts(false);
            let state = SpinLock::new(Sender {
                pool,
                free: u16::MAX,
                waiting: 0,
            });
            Ok(Some(OutputPort {
                id: port.id,
                state,
                queue: WaitQueue::new(),
                closed: AtomicBool::new(false),
            }))
        }
        None => Ok::<_, Failure>(None),
    };
    let (stdout, stderr) = (output(Role::Stdout)?, output(Role::Stderr)?);
    for (name, there) in [
        ("stdin", input.is_some()),
        ("stdout", stdout.is_some()),
        ("stderr", stderr.is_some()),
    ] {
        if !there {
            ::log::warn!("pci {function}: console without port elfin.{name}");
        }
    }
    let control = SpinLock::new(handshake.open_ports());
    let console = CONSOLE.call_once(|| Console {
        _device: device,
        control,
        input,
        stdout,
        stderr,
    });
    console.handle_events();
    ::log::info!("pci {function}: console");
    Ok(())
}

/// Interrupt context: the device is done with a buffer of any queue that wants interrupts.
fn interrupt() {
    let Some(console) = CONSOLE.get() else { return };
    console.handle_events();
    // Someone else may have taken the news already and left some of it to those who wait: that counts as well.
    if console
        .input
        .as_ref()
        .is_some_and(|port| port.state.lock().has_data())
    {
        INPUT.wake_all();
    }
    for port in [&console.stdout, &console.stderr].into_iter().flatten() {
        let waiting = port.state.lock().waiting;
        if waiting > 0 {
            port.queue.wake_all();
        }
    }
}

impl Console {
    fn handle_events(&self) {
        loop {
            let event = self.control.lock().next();
            let Some(event) = event else { break };
            if let Event::Open(id, open) = event {
                self.set_open(id, open);
            }
        }
        self.control.lock().repost();
    }

    /// The host opens or closes its end of a port. What it has sent before is in the port's queue by then.
    fn set_open(&self, id: u32, open: bool) {
        if let Some(port) = self.input.as_ref().filter(|port| port.id == id) {
            port.closed.store(!open, Ordering::Release);
            INPUT.wake_all();
        }
        for port in [&self.stdout, &self.stderr]
            .into_iter()
            .flatten()
            .filter(|port| port.id == id)
        {
            port.closed.store(!open, Ordering::Release);
            port.queue.wake_all();
        }
    }

    fn output(&self, output: Output) -> Option<&OutputPort> {
        match output {
            Output::Stdout => self.stdout.as_ref(),
            Output::Stderr => self.stderr.as_ref(),
        }
    }
}

impl Input {
    fn has_data(&self) -> bool {
        self.pool.has_news() || !self.unread.is_empty()
    }

    /// Takes what the device has filled.
    fn collect(&mut self) {
        while let Some((index, len)) = self.pool.take() {
            if len == 0 {
                self.pool.post(index, INPUT_SIZE);
            } else {
                self.unread.push_back((index, 0, len));
            }
        }
    }

    fn read(&mut self, buf: &mut [u8]) -> (usize, Option<Doorbell>) {
        self.collect();
        let mut done = 0;
        let mut posted = false;
        while done < buf.len() {
            let Some((index, start, end)) = self.unread.front_mut() else {
                break;
            };
            let len = (*end - *start).min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&self.pool.buffer(*index)[*start..*start + len]);
            done += len;
            *start += len;
            if start == end {
                let index = *index;
                self.unread.pop_front();
                self.pool.post(index, INPUT_SIZE);
                posted = true;
            }
        }
        (done, if posted { self.pool.doorbell() } else { None })
    }
}

fn input() -> Option<&'static InputPort> {
    CONSOLE.get()?.input.as_ref()
}

/// Moves input that has arrived to `buf`; how many bytes, 0 when there are none now.
pub fn read(buf: &mut [u8]) -> usize {
    let Some(port) = input() else { return 0 };
    let (len, doorbell) = port.state.lock().read(buf);
    if let Some(doorbell) = doorbell {
        doorbell.ring();
    }
    len
}

/// How many bytes of input have arrived and are not read yet.
pub fn available() -> usize {
    let Some(port) = input() else { return 0 };
    let mut state = port.state.lock();
    state.collect();
    state.unread.iter().map(|(_, start, end)| end - start).sum()
}

/// Whether the host has closed the input and everything it sent has been read.
pub fn at_end() -> bool {
    // In this order: what was sent before the closing is in the queue when the closing is seen.
    input().is_none_or(|port| port.closed.load(Ordering::Acquire) && available() == 0)
}

/// Woken when input arrives or ends.
pub fn input_queue() -> &'static WaitQueue {
    &INPUT
}

impl Sender {
    fn reclaim(&mut self) {
        while let Some((index, _)) = self.pool.take() {
            self.free |= 1 << index;
        }
    }

    /// Sends up to a buffer's worth of bytes if a buffer is free.
    fn send(&mut self, data: &[u8]) -> Option<Option<Doorbell>> {
        self.reclaim();
        let index = self.free.trailing_zeros() as usize;
        if index == BUFFERS {
            return None;
        }
        self.free &= !(1 << index);
        self.pool.buffer(index)[..data.len()].copy_from_slice(data);
        self.pool.post(index, data.len());
        Some(self.pool.doorbell())
    }

    fn is_idle(&mut self) -> bool {
        self.reclaim();
        self.pool.is_idle()
    }
}

impl OutputPort {
    /// Whether the host has closed its end. QEMU then never gives back the buffer that it was sending.
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Sleeps until `ready` finds what it wants.
    fn wait<T>(
        &self,
        signals: Signals,
        mut ready: impl FnMut(&mut Sender) -> Option<T>,
    ) -> Option<T> {
        if let Some(value) = ready(&mut self.state.lock()) {
            return Some(value);
        }
        self.change_waiting(|waiting| waiting + 1);
        let result = self
            .queue
            .wait_until(None, signals, || ready(&mut self.state.lock()));
        self.change_waiting(|waiting| waiting - 1);
        result.ok()
    }

    fn change_waiting(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.state.lock();
        state.waiting = change(state.waiting);
        let on = state.waiting > 0;
        state.pool.set_interrupts(on);
    }
}

/// Sends bytes to the host, waiting while it is slow; how many. That is all of them, unless a signal came in while this
/// waited. Interrupts must be on.
pub fn write(output: Output, data: &[u8]) -> usize {
    let Some(port) = CONSOLE.get().and_then(|console| console.output(output)) else {
        return data.len();
    };
    let mut sent = 0;
    for part in data.chunks(OUTPUT_SIZE) {
        let send = |state: &mut Sender| {
            if port.is_closed() {
                Some(None)
            } else {
                state.send(part)
            }
        };
        let Some(doorbell) = port.wait(Signals::Interrupt, send) else {
            break;
        };
        if let Some(doorbell) = doorbell {
            doorbell.ring();
        }
        sent += part.len();
    }
    sent
}

/// Waits until the host has taken everything written, signals or not.
pub fn flush() {
    let Some(console) = CONSOLE.get() else { return };
    for port in [&console.stdout, &console.stderr].into_iter().flatten() {
        port.wait(Signals::Ignore, |state| {
            (state.is_idle() || port.is_closed()).then_some(())
        });
    }
}

/// Whether the host has closed its end of an output, so that nobody sees what is written.
pub fn closed(output: Output) -> bool {
    let port = CONSOLE.get().and_then(|console| console.output(output));
    port.is_some_and(OutputPort::is_closed)
}
