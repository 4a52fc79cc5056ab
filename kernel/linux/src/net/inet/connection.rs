//! A TCP connection, whatever carries it.
use crate::fs::Poll;
use crate::net::message::How;
use abi::Errno;
use core::net::SocketAddr;

/// States of RFC 9293 that are told, with the numbers that Linux gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are RFC 9293's")]
pub enum State {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl State {
    /// The state with a number; closed for none.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => Self::Close,
        }
    }
}

impl From<State> for u8 {
    fn from(state: State) -> Self {
        state as Self
    }
}

/// A connection, or one that is being made. Nothing here blocks: `EAGAIN`, and the socket is woken.
pub trait Connection: Send + Sync {
    /// Where this end is.
    fn local(&self) -> SocketAddr;
    /// Where the other end is.
    fn peer(&self) -> SocketAddr;
    /// What state it is in.
    fn state(&self) -> State;
    /// Sends what there is room for.
    fn send(&self, data: &[u8]) -> Result<usize, Errno>;
    /// Receives what is there; 0 at the end.
    fn receive(&self, buf: &mut [u8], how: How) -> Result<usize, Errno>;
    /// shutdown(2)
    fn shutdown(&self, receiving: bool, sending: bool);
    /// Closes it, by a reset if there are bytes that were not read, or it is asked for.
    fn close(&self, reset: bool);
    /// Events ready now.
    fn poll(&self) -> Poll;
    /// Bytes that were not read, and bytes that the other end has not got.
    fn queued(&self) -> [usize; 2];
    /// Options have changed.
    fn configured(&self) {}
}
