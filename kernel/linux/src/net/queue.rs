//! What a socket is to receive: messages, or the bytes of a stream in pieces.
//!
//! The reader is the socket it belongs to. A connection has one writer; datagrams come from anybody. Memory is taken
//! for what is there and no more.
use super::{
    address::Address,
    message::{Ancillary, How, Outgoing, Received},
    sock::{Sock, Waiting},
    urgent::Urgent,
};
use abi::Errno;
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use machine::sync::SpinLock;

/// What a message counts for besides its bytes (Linux: `SKB_TRUESIZE`).
const OVERHEAD: usize = 768;
/// Bytes copied under the lock at a time.
const CHUNK: usize = 32 << 10;
/// The least memory for a piece of a stream, so that small ones are put together.
const LEAST_PIECE: usize = 256;

/// See the module.
pub struct Queue {
    state: SpinLock<State>,
}

#[derive(Default)]
struct State {
    packets: VecDeque<Packet>,
    /// Bytes that are there.
    bytes: usize,
    /// The writer writes no more: its shutdown, or it is closed.
    ended: bool,
    /// The reader takes no more: its shutdown, or it is closed.
    refused: bool,
    /// Sockets that wait for room.
    waiting: Waiting,
    urgent: Urgent,
}

struct Packet {
    data: Vec<u8>,
    /// Of `data`, how much was taken already.
    taken: usize,
    from: Option<Address>,
    ancillary: Ancillary,
}

impl Packet {
    fn new(data: &[u8], capacity: usize) -> Result<Self, Errno> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(capacity.max(data.len()))
            .map_err(|_| Errno::ENOBUFS)?;
        copy.extend_from_slice(data);
        Ok(Self {
            data: copy,
            taken: 0,
            from: None,
            ancillary: Ancillary::default(),
        })
    }

    fn left(&self) -> &[u8] {
        &self.data[self.taken..]
    }
}

impl State {
    /// What counts against the limit.
    fn charge(&self, messages: bool) -> usize {
        if messages {
            self.bytes + self.packets.len() * OVERHEAD
        } else {
            self.bytes
        }
    }

    /// The last of the bytes that are put in now is urgent.
    fn mark(&mut self, data: &[u8]) {
        let Some((&last, before)) = data.split_last() else {
            return;
        };
        if self.urgent.announce(self.bytes + before.len(), self.bytes) {
            self.bytes -= 1;
            if let Some(first) = self.packets.front_mut() {
                first.taken += 1;
            }
        }
        self.urgent.come(last);
    }

    fn pop(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.left().len();
        Some(packet)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            state: SpinLock::new(State::default()),
        }
    }

    /// Puts a message in if fewer than `most` wait, of not more than `limit` bytes. `EAGAIN` with `writer` waiting for
    /// room, `EPIPE` if nothing is taken any more.
    pub fn push_message(
        &self,
        message: &Outgoing<'_>,
        from: Option<Address>,
        limit: usize,
        most: usize,
        writer: Option<&Arc<Sock>>,
    ) -> Result<(), Errno> {
        let mut packet = Packet::new(message.data, 0)?;
        packet.from = from;
        packet.ancillary = message.ancillary.clone();
        let mut state = self.state.lock();
        if state.ended || state.refused {
            return Err(Errno::EPIPE);
        }
        let empty = state.packets.is_empty();
        let charge = state.charge(true) + packet.data.len() + OVERHEAD;
        if !empty && (charge > limit || state.packets.len() >= most) {
            if let Some(writer) = writer {
                state.waiting.add(writer);
            }
            return Err(Errno::EAGAIN);
        }
        state.bytes += packet.data.len();
        state.packets.push_back(packet);
        Ok(())
    }

    /// Puts in what fits of a stream's bytes; how much. `EAGAIN` if there is no room, `EPIPE` if nothing is taken any
    /// more. What goes along with them makes a piece of its own.
    pub fn push_bytes(&self, message: &Outgoing<'_>, limit: usize) -> Result<usize, Errno> {
        let alone = !message.ancillary.rights.is_empty();
        let data = &message.data[..message.data.len().min(CHUNK)];
        let room = {
            let mut state = self.state.lock();
            if state.ended || state.refused {
                return Err(Errno::EPIPE);
            }
            let room = limit.saturating_sub(state.bytes).min(data.len());
            if message.how.urgent && room == message.data.len() {
                state.mark(data);
            }
            if room == 0 {
                return if data.is_empty() {
                    Ok(0)
                } else {
                    Err(Errno::EAGAIN)
                };
            }
            if let Some(last) = state.packets.back_mut().filter(|last| {
                last.data.capacity() - last.data.len() >= room
                    && last.ancillary.credentials == message.ancillary.credentials
                    && message.ancillary.rights.is_empty()
                    && last.ancillary.rights.is_empty()
            }) {
                last.data.extend_from_slice(&data[..room]);
                state.bytes += room;
                return Ok(room);
            }
            room
        };
        let least = if alone { 0 } else { LEAST_PIECE };
        let mut packet = Packet::new(&data[..room], least)?;
        packet.ancillary = message.ancillary.clone();
        let mut state = self.state.lock();
        if state.ended || state.refused {
            return Err(Errno::EPIPE);
        }
        state.bytes += room;
        state.packets.push_back(packet);
        Ok(room)
    }

    /// Takes a message, or looks at it; what does not fit into `buf` is lost. `EAGAIN` if there is none, and none is
    /// known not to come any more.
    pub fn take_message(&self, buf: &mut [u8], how: How) -> Result<Received, Errno> {
        let mut received = Received::default();
        let (packet, waiting) = {
            let mut state = self.state.lock();
            let Some(first) = state.packets.front() else {
                return if state.ended {
                    Ok(received)
                } else {
                    Err(Errno::EAGAIN)
                };
            };
            received.len = first.left().len();
            received.stored = received.len.min(buf.len());
            if how.peek {
                buf[..received.stored].copy_from_slice(&first.left()[..received.stored]);
                received.from = first.from.clone();
                received.ancillary = first.ancillary.clone();
                return Ok(received);
            }
            (state.pop(), state.waiting.take())
        };
        waiting.wake();
        if let Some(packet) = packet {
            buf[..received.stored].copy_from_slice(&packet.left()[..received.stored]);
            received.from = packet.from;
            received.ancillary = packet.ancillary;
        }
        Ok(received)
    }

    /// Takes bytes of a stream, or looks at them, up to those that open files go along with. `EAGAIN` if there are
    /// none; none at the end. `split` says whether bytes of different senders are kept apart.
    pub fn take_bytes(&self, buf: &mut [u8], how: How, split: bool) -> Result<Received, Errno> {
        let mut received = Received::default();
        let mut done = 0;
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        let mut index = 0;
        let mut passed = state.urgent.skips();
        let most = buf.len().min(state.urgent.limit());
        let buf = &mut buf[..most];
        while done < buf.len() {
            let Some(packet) = state.packets.get_mut(index) else {
                break;
            };
            let apart = split && packet.ancillary.credentials != received.ancillary.credentials;
            if done > 0 && (apart || done >= CHUNK) {
                break;
            }
            let over = core::mem::take(&mut passed).min(packet.left().len());
            let len = (packet.left().len() - over).min(buf.len() - done);
            buf[done..done + len].copy_from_slice(&packet.left()[over..over + len]);
            if done == 0 {
                received.ancillary.credentials = packet.ancillary.credentials;
            }
            done += len;
            let rights = !packet.ancillary.rights.is_empty();
            if how.peek {
                index += 1;
                received
                    .ancillary
                    .rights
                    .extend(packet.ancillary.rights.iter().cloned());
            } else {
                packet.taken += over + len;
                received
                    .ancillary
                    .rights
                    .append(&mut packet.ancillary.rights);
                let whole = packet.left().is_empty();
                state.bytes -= over + len;
                state.urgent.taken(over + len);
                if whole {
                    gone.extend(state.packets.pop_front());
                }
            }
            if rights {
                break;
            }
        }
        let ended = state.ended;
        received.at_mark = state.urgent.is_at_mark();
        drop(state);
        received.stored = done;
        received.len = done;
        if done == 0 && !ended && !buf.is_empty() {
            return Err(Errno::EAGAIN);
        }
        Ok(received)
    }

    /// Calls `f` with what is known of a stream's urgent byte, and how many bytes are there.
    pub fn urgent<T>(&self, f: impl FnOnce(&mut Urgent, usize) -> T) -> T {
        let mut state = self.state.lock();
        let bytes = state.bytes;
        f(&mut state.urgent, bytes)
    }

    /// Bytes that are there.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Messages or pieces that are there.
    pub fn packets(&self) -> usize {
        self.state.lock().packets.len()
    }

    /// The length of the first message.
    pub fn first(&self) -> usize {
        self.state
            .lock()
            .packets
            .front()
            .map_or(0, |packet| packet.left().len())
    }

    /// Bytes that may still be put in of `limit`, messages counted as what they take.
    pub fn space(&self, limit: usize, messages: bool) -> usize {
        limit.saturating_sub(self.state.lock().charge(messages))
    }

    /// Whether a message can be put in; else `writer` is woken when it can.
    pub fn accepts_message(&self, limit: usize, most: usize, writer: &Arc<Sock>) -> bool {
        let mut state = self.state.lock();
        let full = state.packets.len() >= most || state.charge(true) >= limit;
        if full {
            state.waiting.add(writer);
        }
        !full || state.packets.is_empty()
    }

    /// The writer writes no more.
    pub fn end(&self) {
        self.state.lock().ended = true;
    }

    /// The reader reads no more; what is there is left.
    pub fn refuse(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.refused = true;
            state.waiting.take()
        };
        waiting.wake();
    }

    /// Whether the writer writes no more.
    pub fn has_ended(&self) -> bool {
        self.state.lock().ended
    }

    /// Whether the reader reads no more.
    pub fn is_refused(&self) -> bool {
        self.state.lock().refused
    }

    /// The reader is gone: what is there goes, too. Whether there was anything.
    pub fn discard(&self) -> bool {
        self.refuse();
        let packets = {
            let mut state = self.state.lock();
            state.bytes = 0;
            core::mem::take(&mut state.packets)
        };
        !packets.is_empty()
    }
}
