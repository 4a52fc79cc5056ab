//! One direction of a port: what the host sends, until it is read; what goes to the host, in buffers in flight.
use super::super::virtio::{Doorbell, Failure, Filled, Pool, Queue};
use super::BUFFERS;
use crate::sync::{Signals, SpinLock, WaitQueue};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};

/// What the host sends.
pub(super) struct Incoming {
    pub(super) id: u32,
    state: SpinLock<Received>,
    queue: WaitQueue,
    /// The host does not send anything any more.
    closed: AtomicBool,
}

struct Received {
    pool: Pool<BUFFERS>,
    /// The size of its buffers.
    size: usize,
    /// Buffers with unread bytes: index, first unread byte, end.
    unread: VecDeque<(usize, usize, usize)>,
}

/// What goes to the host.
pub(super) struct Outgoing {
    pub(super) id: u32,
    state: SpinLock<Sender>,
    /// The size of its buffers.
    size: usize,
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

impl Incoming {
    /// Lets the device fill buffers of `size` bytes.
    pub(super) fn new(
        id: u32,
        open: bool,
        queue: Queue<BUFFERS>,
        size: usize,
    ) -> Result<Box<Self>, Failure> {
        let mut pool = Pool::new(queue, size, Filled::ByDevice)?;
        for index in 0..BUFFERS {
            pool.post(index, size);
        }
        if let Some(doorbell) = pool.doorbell() {
            doorbell.ring();
        }
        Ok(Box::new(Self {
            id,
            state: SpinLock::new(Received {
                pool,
                size,
                unread: VecDeque::with_capacity(BUFFERS),
            }),
            queue: WaitQueue::new(),
            closed: AtomicBool::new(!open),
        }))
    }

    /// Moves what has arrived to `buf`; how many bytes, 0 when there are none now.
    pub(super) fn read(&self, buf: &mut [u8]) -> usize {
        let (len, doorbell) = self.state.lock().read(buf);
        if let Some(doorbell) = doorbell {
            doorbell.ring();
        }
        len
    }

    /// How many bytes have arrived and are not read yet.
    pub(super) fn available(&self) -> usize {
        let mut state = self.state.lock();
        state.collect();
        state.unread.iter().map(|(_, start, end)| end - start).sum()
    }

    /// Whether the host has closed its end and everything it sent has been read.
    pub(super) fn at_end(&self) -> bool {
        // In this order: what was sent before the closing is in the queue when the closing is seen.
        self.closed.load(Ordering::Acquire) && self.available() == 0
    }

    /// Woken when something arrives or the end comes.
    pub(super) fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// Interrupt context: there may be news. Someone else may have taken them already and left some of it to those who
    /// wait: that counts as well.
    pub(super) fn interrupt(&self) {
        if self.state.lock().has_data() {
            self.queue.wake_all();
        }
    }

    /// The host opens or closes its end. What it has sent before is in the queue by then.
    pub(super) fn set_open(&self, open: bool) {
        self.closed.store(!open, Ordering::Release);
        self.queue.wake_all();
    }
}

impl Received {
    fn has_data(&self) -> bool {
        self.pool.has_news() || !self.unread.is_empty()
    }

    /// Takes what the device has filled.
    fn collect(&mut self) {
        while let Some((index, len)) = self.pool.take() {
            if len == 0 {
                self.pool.post(index, self.size);
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
                self.pool.post(index, self.size);
                posted = true;
            }
        }
        (done, if posted { self.pool.doorbell() } else { None })
    }
}

impl Outgoing {
    /// All buffers, of `size` bytes, are free.
    pub(super) fn new(id: u32, queue: Queue<BUFFERS>, size: usize) -> Result<Box<Self>, Failure> {
        let mut pool = Pool::new(queue, size, Filled::ByDriver)?;
        pool.set_interrupts(false);
        Ok(Box::new(Self {
            id,
            state: SpinLock::new(Sender {
                pool,
                free: u16::MAX,
                waiting: 0,
            }),
            size,
            queue: WaitQueue::new(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Whether the host has closed its end. QEMU then never gives back the buffer that it was sending.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The host opens or closes its end.
    pub(super) fn set_open(&self, open: bool) {
        self.closed.store(!open, Ordering::Release);
        self.queue.wake_all();
    }

    /// Interrupt context: there may be room again.
    pub(super) fn interrupt(&self) {
        let waiting = self.state.lock().waiting;
        if waiting > 0 {
            self.queue.wake_all();
        }
    }

    /// As [`super::write`].
    pub(super) fn write(&self, data: &[u8], signals: Signals) -> usize {
        let mut sent = 0;
        for part in data.chunks(self.size) {
            let send = |state: &mut Sender| {
                if self.is_closed() {
                    Some(None)
                } else {
                    state.send(part)
                }
            };
            let Some(doorbell) = self.wait(signals, send) else {
                break;
            };
            if let Some(doorbell) = doorbell {
                doorbell.ring();
            }
            sent += part.len();
        }
        sent
    }

    /// Waits until the host has taken everything, signals or not.
    pub(super) fn flush(&self) {
        self.wait(Signals::Ignore, |state| {
            (state.is_idle() || self.is_closed()).then_some(())
        });
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
