//! A TCP connection, whatever carries it.
use crate::fs::Poll;
use crate::net::message::{How, Received, Sending};
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

/// What is told of a connection with another machine by `TCP_INFO`. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    /// Time-outs in a row, and probes of an end that is silent.
    pub timeouts: [u8; 2],
    /// The scales of windows: the other end's, this one's; `None` if there are none.
    pub scales: Option<[u8; 2]>,
    /// Selective acknowledgements are in use.
    pub sack: bool,
    /// The retransmission time-out, the round trip and its variation, and the least that was seen.
    pub rto: u64,
    /// See there.
    pub rtt: [u64; 3],
    /// What a segment carries: that is sent, that is received at most.
    pub mss: [u32; 2],
    /// Segments that are not acknowledged; of these have arrived, are lost, were sent again.
    pub flight: [u32; 4],
    /// The congestion window in bytes, and where slow start ends.
    pub congestion: [u32; 2],
    /// Bytes that may wait to be read.
    pub space: u32,
    /// Bytes that were not sent yet.
    pub unsent: u32,
    /// Segments sent, received, and sent again.
    pub segments: [u32; 3],
    /// Bytes that were acknowledged, and that have come.
    pub bytes: [u64; 2],
    /// How long ago data were sent, data have come, and an acknowledgement.
    pub ago: [u64; 3],
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
    fn send(&self, data: &[u8], how: Sending) -> Result<usize, Errno>;
    /// Receives what is there; nothing at the end.
    fn receive(&self, buf: &mut [u8], how: How) -> Result<Received, Errno>;
    /// The urgent byte (`MSG_OOB`); none at the end.
    fn urgent(&self, peek: bool) -> Result<Option<u8>, Errno>;
    /// `SIOCATMARK`
    fn is_at_mark(&self) -> bool;
    /// shutdown(2)
    fn shutdown(&self, receiving: bool, sending: bool);
    /// Closes it, by a reset if there are bytes that were not read, or it is asked for.
    fn close(&self, reset: bool);
    /// Events ready now.
    fn poll(&self) -> Poll;
    /// Bytes that were not read, and bytes that the other end has not got.
    fn queued(&self) -> [usize; 2];
    /// What `TCP_INFO` tells of it; `None` if nothing but the state.
    fn info(&self) -> Option<Info> {
        None
    }
    /// Options have changed.
    fn configured(&self) {}
}
