//! Options of sockets: socket(7), tcp(7), ip(7), ipv6(7). A table says which there are; most are kept and told, and
//! change nothing here. What families do with some of them is theirs; those that tell of the socket's state are in
//! `syscall/net/options.rs`.
use abi::Errno;
use alloc::collections::BTreeMap;
use linux_raw_sys::{net as linux, netlink};

/// Levels.
pub const SOCKET: u32 = 1;
/// `IPPROTO_IP`
pub const IP: u32 = 0;
/// `IPPROTO_TCP`
pub const TCP: u32 = 6;
/// `IPPROTO_UDP`
pub const UDP: u32 = 17;
/// `IPPROTO_UDPLITE`
pub const UDPLITE: u32 = 136;
/// `IPPROTO_IPV6`
pub const IPV6: u32 = 41;
/// `SOL_NETLINK`
pub const NETLINK: u32 = 270;

/// `SO_RCVBUF` and `SO_SNDBUF` of a new socket (`net.core.rmem_default`, `wmem_default`), and the most that can be
/// asked for.
pub const BUFFER: usize = 212_992;
/// The least they can be set to (`SOCK_MIN_RCVBUF`, `SOCK_MIN_SNDBUF`).
const LEAST_BUFFERS: [usize; 2] = [2304, 4608];
/// Of TCP: what `net.ipv4.tcp_rmem` and `tcp_wmem` start with.
const TCP_BUFFERS: [usize; 2] = [131_072, 16_384];
/// What TCP's buffers grow to by themselves (of a connection on this machine).
const TCP_GROWN: usize = 2_626_560;

/// What a value can be.
#[derive(Clone, Copy)]
enum Values {
    /// 0 or 1; any other is 1.
    Flag,
    /// From, to.
    Range(i32, i32),
    /// Anything.
    Any,
}

/// (level, name, value at first, values).
type Known = (u32, u32, i32, Values);

/// Options that are kept and told.
const KNOWN: &[Known] = {
    use Values::{Any, Flag, Range};
    &[
        (SOCKET, linux::SO_DEBUG, 0, Flag),
        (SOCKET, linux::SO_REUSEADDR, 0, Flag),
        (SOCKET, linux::SO_DONTROUTE, 0, Flag),
        (SOCKET, linux::SO_BROADCAST, 0, Flag),
        (SOCKET, linux::SO_KEEPALIVE, 0, Flag),
        (SOCKET, linux::SO_OOBINLINE, 0, Flag),
        (SOCKET, linux::SO_NO_CHECK, 0, Flag), // there is always one
        (SOCKET, linux::SO_PRIORITY, 0, Any),
        (SOCKET, linux::SO_REUSEPORT, 0, Flag),
        (SOCKET, linux::SO_PASSCRED, 0, Flag),
        (SOCKET, linux::SO_RCVLOWAT, 1, Any),
        (SOCKET, linux::SO_TIMESTAMP_OLD, 0, Flag),
        (SOCKET, linux::SO_TIMESTAMPNS_OLD, 0, Flag),
        (SOCKET, linux::SO_MARK, 0, Any),
        (SOCKET, linux::SO_RXQ_OVFL, 0, Flag),
        (SOCKET, linux::SO_BUSY_POLL, 0, Any),
        (SOCKET, linux::SO_INCOMING_CPU, -1, Any),
        (SOCKET, linux::SO_ZEROCOPY, 0, Range(0, 1)),
        (SOCKET, linux::SO_WIFI_STATUS, 0, Flag),
        (SOCKET, linux::SO_NOFCS, 0, Flag),
        (SOCKET, linux::SO_SELECT_ERR_QUEUE, 0, Flag),
        (SOCKET, linux::SO_PREFER_BUSY_POLL, 0, Flag),
        (TCP, linux::TCP_NODELAY, 0, Flag),
        (TCP, linux::TCP_MAXSEG, 0, Any),
        (TCP, linux::TCP_CORK, 0, Flag),
        (TCP, linux::TCP_KEEPIDLE, 7200, Range(1, 32767)),
        (TCP, linux::TCP_KEEPINTVL, 75, Range(1, 32767)),
        (TCP, linux::TCP_KEEPCNT, 9, Range(1, 127)),
        (TCP, linux::TCP_SYNCNT, 6, Range(1, 127)),
        (TCP, linux::TCP_LINGER2, 60, Any),
        (TCP, linux::TCP_DEFER_ACCEPT, 0, Any),
        (TCP, linux::TCP_QUICKACK, 1, Flag),
        (TCP, linux::TCP_USER_TIMEOUT, 0, Range(0, i32::MAX)),
        (TCP, linux::TCP_FASTOPEN, 0, Any),
        (TCP, linux::TCP_FASTOPEN_CONNECT, 0, Range(0, 1)),
        (TCP, linux::TCP_FASTOPEN_NO_COOKIE, 0, Range(0, 1)),
        (TCP, linux::TCP_THIN_LINEAR_TIMEOUTS, 0, Range(0, 1)),
        (TCP, linux::TCP_NOTSENT_LOWAT, 0, Any),
        (NETLINK, netlink::NETLINK_PKTINFO, 0, Flag),
        (NETLINK, netlink::NETLINK_BROADCAST_ERROR, 0, Flag),
        (NETLINK, netlink::NETLINK_NO_ENOBUFS, 0, Flag),
        (NETLINK, netlink::NETLINK_CAP_ACK, 0, Flag),
        (NETLINK, netlink::NETLINK_EXT_ACK, 0, Flag),
        (UDP, 1, 0, Flag),               // UDP_CORK
        (UDP, 101, 0, Flag),             // UDP_NO_CHECK6_TX: there is always one
        (UDP, 102, 0, Flag),             // UDP_NO_CHECK6_RX
        (UDP, 103, 0, Range(0, 0xffff)), // UDP_SEGMENT
        (UDP, 104, 0, Flag),             // UDP_GRO: each is told by itself
        (UDPLITE, 10, 0, Any),           // UDPLITE_SEND_CSCOV: a checksum is of all
        (UDPLITE, 11, 0, Any),           // UDPLITE_RECV_CSCOV
        (IP, linux::IP_TOS, 0, Any),
        (IP, linux::IP_TTL, 64, Range(-1, 255)),
        (IP, linux::IP_RECVOPTS, 0, Flag),
        (IP, linux::IP_RETOPTS, 0, Flag),
        (IP, linux::IP_PKTINFO, 0, Flag),
        (IP, linux::IP_MTU_DISCOVER, 1, Range(0, 5)),
        (IP, linux::IP_RECVERR, 0, Flag),
        (IP, linux::IP_RECVTTL, 0, Flag),
        (IP, linux::IP_RECVTOS, 0, Flag),
        (IP, linux::IP_FREEBIND, 0, Flag),
        (IP, linux::IP_RECVORIGDSTADDR, 0, Flag),
        (IP, linux::IP_BIND_ADDRESS_NO_PORT, 0, Flag),
        (IP, linux::IP_MULTICAST_TTL, 1, Range(-1, 255)),
        (IP, linux::IP_MULTICAST_LOOP, 1, Flag),
        (IP, linux::IP_MULTICAST_ALL, 1, Range(0, 1)),
        (IPV6, linux::IPV6_UNICAST_HOPS, 64, Range(-1, 255)),
        (IPV6, linux::IPV6_MULTICAST_IF, 0, Any),
        (IPV6, linux::IPV6_MULTICAST_HOPS, 1, Range(-1, 255)),
        (IPV6, linux::IPV6_MULTICAST_LOOP, 1, Flag),
        (IPV6, linux::IPV6_MTU_DISCOVER, 1, Range(0, 5)),
        (IPV6, linux::IPV6_RECVERR, 0, Flag),
        (IPV6, linux::IPV6_V6ONLY, 0, Flag),
        (IPV6, linux::IPV6_RECVPKTINFO, 0, Flag),
        (IPV6, linux::IPV6_RECVHOPLIMIT, 0, Flag),
        (IPV6, linux::IPV6_RECVTCLASS, 0, Flag),
        (IPV6, linux::IPV6_TCLASS, 0, Range(-1, 255)),
        (IPV6, linux::IPV6_AUTOFLOWLABEL, 0, Flag),
    ]
};

/// `IP_OPTIONS`: of a packet's header. None are sent.
pub const IP_OPTIONS: (u32, u32) = (IP, linux::IP_OPTIONS);
/// `SO_PASSCRED`
pub const PASSCRED: (u32, u32) = (SOCKET, linux::SO_PASSCRED);
/// `SO_OOBINLINE`
pub const OOBINLINE: (u32, u32) = (SOCKET, linux::SO_OOBINLINE);
/// `SO_REUSEADDR`
pub const REUSEADDR: (u32, u32) = (SOCKET, linux::SO_REUSEADDR);
/// `SO_REUSEPORT`
pub const REUSEPORT: (u32, u32) = (SOCKET, linux::SO_REUSEPORT);
/// `SO_KEEPALIVE`
pub const KEEPALIVE: (u32, u32) = (SOCKET, linux::SO_KEEPALIVE);
/// `TCP_KEEPIDLE`
pub const KEEPIDLE: (u32, u32) = (TCP, linux::TCP_KEEPIDLE);
/// `TCP_KEEPINTVL`
pub const KEEPINTVL: (u32, u32) = (TCP, linux::TCP_KEEPINTVL);
/// `TCP_KEEPCNT`
pub const KEEPCNT: (u32, u32) = (TCP, linux::TCP_KEEPCNT);
/// `TCP_SYNCNT`
pub const SYNCNT: (u32, u32) = (TCP, linux::TCP_SYNCNT);
/// `TCP_DEFER_ACCEPT`
pub const DEFER_ACCEPT: (u32, u32) = (TCP, linux::TCP_DEFER_ACCEPT);
/// `TCP_CORK`
pub const CORK: (u32, u32) = (TCP, linux::TCP_CORK);
/// `UDP_CORK`
pub const CORK_UDP: (u32, u32) = (UDP, 1);
/// `UDP_SEGMENT`
pub const SEGMENT: (u32, u32) = (UDP, 103);
/// `TCP_MAXSEG`
pub const MAXSEG: (u32, u32) = (TCP, linux::TCP_MAXSEG);
/// `TCP_NODELAY`
pub const NODELAY: (u32, u32) = (TCP, linux::TCP_NODELAY);
/// `TCP_USER_TIMEOUT`
pub const USER_TIMEOUT: (u32, u32) = (TCP, linux::TCP_USER_TIMEOUT);
/// `IPV6_V6ONLY`
pub const V6ONLY: (u32, u32) = (IPV6, linux::IPV6_V6ONLY);
/// `IP_PKTINFO`
pub const PKTINFO: (u32, u32) = (IP, linux::IP_PKTINFO);
/// `IPV6_RECVPKTINFO`
pub const RECVPKTINFO: (u32, u32) = (IPV6, linux::IPV6_RECVPKTINFO);
/// `IP_RECVTTL`
pub const RECVTTL: (u32, u32) = (IP, linux::IP_RECVTTL);
/// `IP_RECVTOS`
pub const RECVTOS: (u32, u32) = (IP, linux::IP_RECVTOS);
/// `IPV6_RECVHOPLIMIT`
pub const RECVHOPLIMIT: (u32, u32) = (IPV6, linux::IPV6_RECVHOPLIMIT);
/// `IPV6_RECVTCLASS`
pub const RECVTCLASS: (u32, u32) = (IPV6, linux::IPV6_RECVTCLASS);
/// `SO_TIMESTAMP`
pub const TIMESTAMP: (u32, u32) = (SOCKET, linux::SO_TIMESTAMP_OLD);
/// `SO_TIMESTAMPNS`
pub const TIMESTAMPNS: (u32, u32) = (SOCKET, linux::SO_TIMESTAMPNS_OLD);
/// `IP_RECVERR`
pub const RECVERR: (u32, u32) = (IP, linux::IP_RECVERR);
/// `IPV6_RECVERR`
pub const RECVERR6: (u32, u32) = (IPV6, linux::IPV6_RECVERR);

/// The options of a socket.
#[derive(Clone)]
pub struct Options {
    /// Those that differ from what they are at first.
    values: BTreeMap<(u32, u32), i32>,
    /// `SO_RCVTIMEO` and `SO_SNDTIMEO` in nanoseconds, 0 for none.
    pub timeouts: [u64; 2],
    /// `SO_RCVBUF` and `SO_SNDBUF`, as they are told.
    pub buffers: [usize; 2],
    /// They were set, and do not grow by themselves.
    fixed: [bool; 2],
    /// `SO_LINGER`: seconds.
    pub linger: Option<i32>,
    tcp: bool,
}

impl Options {
    /// Those of a new socket, of TCP or another protocol.
    pub fn new(tcp: bool) -> Self {
        Self {
            values: BTreeMap::new(),
            timeouts: [0; 2],
            buffers: if tcp { TCP_BUFFERS } else { [BUFFER; 2] },
            fixed: [false; 2],
            linger: None,
            tcp,
        }
    }

    /// The value of one that is in the table; `ENOPROTOOPT`.
    pub fn get(&self, level: u32, name: u32) -> Result<i32, Errno> {
        let &(.., first, _) = known(level, name)?;
        Ok(self.values.get(&(level, name)).copied().unwrap_or(first))
    }

    /// Whether a flag is set.
    pub fn is_set(&self, (level, name): (u32, u32)) -> bool {
        self.get(level, name).is_ok_and(|value| value != 0)
    }

    /// Sets one that is in the table; `ENOPROTOOPT`, `EINVAL`.
    pub fn set(&mut self, level: u32, name: u32, value: i32) -> Result<(), Errno> {
        let &(.., values) = known(level, name)?;
        let value = match values {
            Values::Flag => i32::from(value != 0),
            Values::Range(from, to) if !(from..=to).contains(&value) => return Err(Errno::EINVAL),
            // Congestion is TCP's own matter.
            Values::Any if (level, name) == (IP, linux::IP_TOS) => {
                value & if self.tcp { 0xfc } else { 0xff }
            }
            Values::Range(..) | Values::Any => value,
        };
        self.values.insert((level, name), value);
        Ok(())
    }

    /// Sets `SO_RCVBUF` (0) or `SO_SNDBUF` (1): to twice what is asked, for Linux counts its own records, too.
    pub fn set_buffer(&mut self, which: usize, asked: usize) {
        self.buffers[which] = (2 * asked.min(BUFFER)).max(LEAST_BUFFERS[which]);
        self.fixed[which] = true;
    }

    /// Sizes of buffers that were asked for.
    pub fn asked_buffers(&self) -> [Option<usize>; 2] {
        [0, 1].map(|which: usize| self.fixed[which].then_some(self.buffers[which]))
    }

    /// Bytes of a stream that may wait to be received, in what a socket with these options sends to.
    pub fn send_limit(&self) -> usize {
        if self.tcp && !self.fixed[1] {
            TCP_GROWN
        } else {
            self.buffers[1]
        }
    }
}

fn known(level: u32, name: u32) -> Result<&'static Known, Errno> {
    KNOWN
        .iter()
        .find(|known| (known.0, known.1) == (level, name))
        .ok_or(Errno::ENOPROTOOPT)
}
