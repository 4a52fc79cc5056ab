//! TCP (RFC 9293): one connection, as a state machine that knows no device, no lock and no clock.
//!
//! Segments that come are put in ([`Tcb::segment`]), time passes ([`Tcb::tick`]), what is to be sent is taken out
//! ([`Tcb::transmit`]) until there is no more, and [`Tcb::deadline`] says when to look again. It has selective
//! acknowledgements (RFC 2018), loss by time (RACK and tail loss probes, RFC 8985), CUBIC (RFC 9438) and RFC 5961's
//! answers to blind attacks. Buffers take memory for what is in them and no more. Connections that others ask for begin
//! in `stack/requests.rs`, and are here once they are made; when they are over, `stack/time_wait.rs` has what is left.
//!
//! Left out: timestamps, explicit congestion notification, path MTU discovery.
mod congestion;
mod flight;
mod input;
mod output;
mod receive;
mod rtt;
pub(super) mod segment;
pub(super) mod seq;
#[cfg(test)]
mod tests;
mod timers;

use crate::net::{
    inet::connection::{Info, State},
    message::Sending,
    urgent::Urgent,
};
use abi::Errno;
use alloc::collections::VecDeque;
use congestion::Congestion;
use flight::Flight;
use receive::Receiver;
use rtt::Rtt;
use segment::Head;
use seq::{Seq, count};

/// The scale of windows that are told, so that they can be as large as they are let grow.
pub(super) const SCALE: u8 = 7;
/// What a segment may carry if the other end does not say (RFC 9293, 3.7.1).
const DEFAULT_MSS: u16 = 536;
/// The least that is believed of it.
const LEAST_MSS: u16 = 48;
/// Bytes that may wait to be sent at first, and at most (`net.ipv4.tcp_wmem`).
const SEND: [usize; 2] = [64 << 10, 4 << 20];
/// Segments at first that are acknowledged at once, so that the other end's window grows soon (Linux: quick ACKs).
const QUICK: u8 = 16;

/// What a program asks of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    /// `SO_RCVBUF` and `SO_SNDBUF`, if they were set.
    pub(super) buffers: [Option<usize>; 2],
    /// `TCP_NODELAY`
    pub(super) nodelay: bool,
    /// `TCP_CORK`
    pub(super) cork: bool,
    /// `SO_OOBINLINE`
    pub(super) inline: bool,
    /// After how long of silence the other end is asked whether it is there, how often, and how many times.
    pub(super) keepalive: Option<(u64, u64, u32)>,
    /// How long what was sent may stay without an answer.
    pub(super) user_timeout: Option<u64>,
    /// How often a SYN is sent again.
    pub(super) syn_retries: u32,
    /// `TCP_MAXSEG`, if it was set.
    pub(super) mss: Option<u16>,
}

/// What is being recovered from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing.
    Open,
    /// Loss that acknowledgements have told of.
    Recovery,
    /// A time-out.
    Loss,
}

/// What is to be done when the time of the retransmission timer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Late {
    /// A segment may have been overtaken, or is lost.
    Reordering,
    /// The last segments may be lost: another one shows whether they are.
    Probe,
    /// Everything is taken for lost.
    TimeOut,
    /// The window is closed: is it still?
    Window,
}

/// Counts that are told (`struct tcp_info`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) segments_in: u32,
    pub(super) segments_out: u32,
    pub(super) resent: u32,
    pub(super) bytes_acknowledged: u64,
    pub(super) bytes_received: u64,
    /// When data were sent and received last, and an acknowledgement.
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) acknowledged: u64,
}

/// A connection (transmission control block).
#[derive(Debug)]
pub(super) struct Tcb {
    state: State,
    settings: Settings,
    counts: Counts,
    /// Why it has ended, once it has by itself.
    error: Option<Errno>,

    /// What is sent and not acknowledged, or not sent: the first byte is `una`'s once the SYN is acknowledged.
    out: VecDeque<u8>,
    /// There will be no more.
    closing: bool,
    /// The oldest number that is not acknowledged.
    una: Seq,
    /// The next to be sent.
    next: Seq,
    /// The other end's window, scaled, and the segment that it was told by (WL1, WL2).
    window: u32,
    told: (Seq, Seq),
    /// The most it has been.
    most: u32,
    /// The other end's scale, and this one's: 0 if it has not told one.
    scales: [u8; 2],
    /// What a segment may carry.
    mss: u32,
    own_mss: u16,
    /// The other end knows selective acknowledgements.
    sack: bool,
    /// The end of the last segment that was sent and was not full.
    small: Seq,
    /// Until when one is held back that is not full, and whether that was asked for of what was sent last.
    corked: Option<u64>,
    more: bool,
    /// Where urgent data end that were not acknowledged (SND.UP).
    urgent: Option<Seq>,

    flight: Flight,
    phase: Phase,
    /// Recovery ends when this is acknowledged.
    point: Seq,
    /// What the congestion window was before a time-out.
    undo: Option<Congestion>,
    /// Acknowledgements that told nothing new, of an end that does not know selective ones.
    duplicates: u32,
    congestion: Congestion,
    rtt: Rtt,
    /// Time-outs, or probes of a window, in a row.
    timeouts: u32,
    /// Since when nothing of what was sent is acknowledged.
    stalled: Option<u64>,
    /// A tail loss probe was sent, and nothing has come of it yet.
    probed: bool,
    late: Option<(u64, Late)>,

    inbox: Receiver,
    /// The number of the other end's FIN, if it came before what it follows.
    fin: Option<Seq>,
    /// An acknowledgement is to be sent: now, or then.
    ack: Option<u64>,
    /// What the last one said.
    acked: Seq,
    /// Bytes that came since, and the most in a segment.
    unacknowledged: u32,
    largest: u32,
    quick: u8,
    /// A segment is to be sent that has the other end answer.
    probe: bool,
    /// SYN or RST is to be sent.
    control: bool,
    /// When something came last, and the probes since.
    heard: u64,
    probes: u32,
    /// The second in which the last answer to something strange was sent, and how many were (RFC 5961, 7).
    challenges: (u64, u32),
}

impl Tcb {
    fn new(state: State, own: Seq, peer: Seq, own_mss: u16, settings: Settings, now: u64) -> Self {
        let own_mss = settings.mss.map_or(own_mss, |mss| mss.min(own_mss));
        Self {
            state,
            settings,
            counts: Counts::default(),
            error: None,
            out: VecDeque::new(),
            closing: false,
            una: own,
            next: own,
            window: 0,
            told: (peer, own),
            most: 0,
            scales: [0; 2],
            mss: u32::from(DEFAULT_MSS.min(own_mss)),
            own_mss,
            sack: false,
            small: own,
            corked: None,
            more: false,
            urgent: None,
            flight: Flight::default(),
            phase: Phase::Open,
            point: own,
            undo: None,
            duplicates: 0,
            congestion: Congestion::new(u32::from(own_mss)),
            rtt: Rtt::default(),
            timeouts: 0,
            stalled: None,
            probed: false,
            late: None,
            inbox: Receiver::new(peer, settings.buffers[0], settings.inline),
            fin: None,
            ack: None,
            acked: peer,
            unacknowledged: 0,
            largest: 0,
            quick: QUICK,
            probe: false,
            control: false,
            heard: now,
            probes: 0,
            challenges: (0, 0),
        }
    }

    /// A connection that is asked for here.
    pub(super) fn connect(own: Seq, mss: u16, settings: Settings, now: u64) -> Self {
        let mut tcb = Self::new(State::SynSent, own, Seq(0), mss, settings, now);
        tcb.control = true;
        tcb.next = own.plus(1);
        tcb.stalled = Some(now);
        tcb
    }

    /// A connection that another end has asked for by `syn`, and has had the answer `own` to; `rtt`: how long that
    /// took, if it is known. What it has sent meanwhile is to be put in.
    pub(super) fn accept(
        own: Seq,
        syn: &Head,
        mss: u16,
        settings: Settings,
        rtt: Option<u64>,
        now: u64,
    ) -> Self {
        let first = syn.seq.plus(1);
        let mut tcb = Self::new(State::Established, own.plus(1), first, mss, settings, now);
        tcb.agree(syn);
        if let Some(rtt) = rtt {
            tcb.rtt.sample(rtt);
        }
        // What was told with the answer to the SYN was not scaled.
        tcb.inbox.tell(0);
        tcb
    }

    /// Takes on what the other end's SYN says.
    fn agree(&mut self, syn: &Head) {
        let mss = syn.mss.filter(|&mss| mss > 0).unwrap_or(DEFAULT_MSS);
        self.mss = u32::from(mss.max(LEAST_MSS).min(self.own_mss));
        self.congestion = Congestion::new(self.mss);
        self.sack = syn.sack_permitted;
        self.scales = syn.scale.map_or([0; 2], |scale| [scale.min(14), SCALE]);
        self.window = syn.window.into();
        self.most = self.window;
        self.told = (syn.seq, self.una);
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// How many segments were sent again.
    pub(super) fn sent_again(&self) -> u32 {
        self.counts.resent
    }

    /// Why it has ended, if it has by itself; told once.
    pub(super) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Options have changed.
    pub(super) fn configure(&mut self, settings: Settings) {
        if let Some(limit) = settings.buffers[0]
            && self.settings.buffers[0] != Some(limit)
        {
            self.inbox.set_limit(limit);
        }
        self.inbox.urgent.set_inline(settings.inline);
        self.settings = settings;
    }

    /// Whether data can come.
    pub(super) fn may_receive(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::FinWait1 | State::FinWait2
        ) || self.inbox.unread() > 0
    }

    /// Whether data can be sent.
    pub(super) fn may_send(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait) && !self.closing
    }

    /// Bytes that can be read.
    pub(super) fn unread(&self) -> usize {
        self.inbox.unread()
    }

    /// Bytes that the other end has not acknowledged.
    pub(super) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// How many there may be.
    pub(super) fn send_limit(&self) -> usize {
        self.settings.buffers[1].unwrap_or_else(|| {
            let twice = seq::len(self.congestion.window.saturating_mul(2));
            twice.clamp(SEND[0], SEND[1])
        })
    }

    /// Takes bytes to be sent, as many as there is room for; `ENOBUFS` if there is no memory.
    pub(super) fn send(&mut self, data: &[u8], how: Sending, now: u64) -> Result<usize, Errno> {
        let room = self.send_limit().saturating_sub(self.out.len());
        let taken = data.len().min(room);
        self.out.try_reserve(taken).map_err(|_| Errno::ENOBUFS)?;
        if self.flight.is_empty() && now > self.counts.sent.saturating_add(self.rtt.timeout(0)) {
            self.congestion.idle();
        }
        self.out.extend(&data[..taken]);
        self.more = how.more;
        if how.urgent && taken == data.len() && taken > 0 {
            self.urgent = Some(self.una.plus(count(self.out.len())));
        }
        // Who answers acknowledges with the answer.
        self.quick = 0;
        Ok(taken)
    }

    /// Copies what can be read, without taking it.
    pub(super) fn peek(&self, buf: &mut [u8]) -> usize {
        self.inbox.peek(buf)
    }

    /// Takes what can be read. `grow`: whether there is memory for a larger window.
    pub(super) fn receive(&mut self, buf: &mut [u8], grow: bool, now: u64) -> usize {
        let rtt = self.rtt.smoothed.max(1_000_000);
        let taken = self.inbox.take(buf, rtt, grow, now);
        if self.may_receive() && self.inbox.has_opened(self.mss) {
            self.ack = Some(0);
        }
        taken
    }

    /// What is known of the other end's urgent data.
    pub(super) fn urgent(&self) -> &Urgent {
        &self.inbox.urgent
    }

    /// Takes the urgent byte; errors as [`Urgent::read`]'s.
    pub(super) fn read_urgent(&mut self, peek: bool) -> Result<u8, Errno> {
        self.inbox.urgent.read(peek)
    }

    /// Whether urgent data were announced; told once.
    pub(super) fn take_announced(&mut self) -> bool {
        core::mem::take(&mut self.inbox.announced)
    }

    /// Nothing more will be sent.
    pub(super) fn close(&mut self) {
        match self.state {
            State::SynSent => self.end(None),
            State::SynReceived | State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => return,
        }
        self.closing = true;
    }

    /// Ends it at once; the other end is told.
    pub(super) fn abort(&mut self) {
        let known = !matches!(self.state, State::SynSent | State::TimeWait | State::Close);
        self.end(None);
        self.control = known;
    }

    /// It is not made after all.
    pub(super) fn fail(&mut self, error: Errno) {
        self.end(Some(error));
    }

    /// It is over.
    fn end(&mut self, error: Option<Errno>) {
        self.state = State::Close;
        self.error = error;
        self.out = VecDeque::new();
        self.flight = Flight::default();
        self.late = None;
        self.ack = None;
        self.probe = false;
        self.control = false;
    }

    /// Bytes that are left to be sent for the first time, the FIN not counted.
    fn untouched(&self) -> u32 {
        let end = self.una.plus(count(self.out.len()));
        if end.after(self.next) {
            end.since(self.next)
        } else {
            0
        }
    }

    /// Whether the FIN was sent.
    fn has_closed(&self) -> bool {
        self.closing && self.next == self.una.plus(count(self.out.len())).plus(1)
    }

    /// What is told of it.
    pub(super) fn info(&self, now: u64) -> Info {
        let ago = |time: u64| now.saturating_sub(time);
        let small = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let Counts {
            segments_in,
            segments_out,
            resent,
            ..
        } = self.counts;
        Info {
            timeouts: [small(self.timeouts), small(self.probes)],
            scales: (self.scales[1] > 0).then_some(self.scales),
            sack: self.sack,
            rto: self.rtt.timeout(self.timeouts),
            rtt: [self.rtt.smoothed, self.rtt.variation, self.rtt.least],
            mss: [self.mss, self.own_mss.into()],
            flight: self.flight.counts(),
            congestion: [self.congestion.window, self.congestion.threshold],
            space: self.inbox.limit(),
            unsent: self.untouched(),
            segments: [segments_out, segments_in, resent],
            bytes: [self.counts.bytes_acknowledged, self.counts.bytes_received],
            ago: [
                self.counts.sent,
                self.counts.received,
                self.counts.acknowledged,
            ]
            .map(ago),
        }
    }

    /// What remains of it in TIME-WAIT: the numbers to be sent and expected next.
    pub(super) fn remains(&self) -> (Seq, Seq) {
        (self.next, self.inbox.next)
    }
}
