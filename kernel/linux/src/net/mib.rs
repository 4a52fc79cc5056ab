//! Counts of what has gone over the network (RFC 4293, 4022 and 4113; Linux: snmp_counter.rst). `snmp.rs` tells them.
//!
//! Of TCP, segments are those of connections with other machines: within this one there are none.
use core::sync::atomic::{AtomicU64, Ordering};

/// A count.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: usize) {
        let more = u64::try_from(more).unwrap_or(0);
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// One less.
    pub fn uncount(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($(#[$about:meta])* $name:ident: $($counter:ident)*) => {
        $(#[$about])*
        #[derive(Debug)]
        #[expect(missing_docs, reason = "the names are those of the tables")]
        pub struct $name { $(pub $counter: Counter),* }

        impl $name {
            const fn new() -> Self {
                Self { $($counter: Counter::new()),* }
            }
        }
    };
}

counters! {
    /// Of a version of IP, of ICMP's and UDP's over it.
    Ip:
    in_receives in_octets in_delivers out_requests out_octets
    reasm_reqds reasm_oks frag_oks frag_creates
    icmp_in_msgs icmp_out_msgs icmp_in_dest_unreachs icmp_in_echos icmp_in_echo_reps
    udp_in_datagrams udp_no_ports udp_out_datagrams udp_rcvbuf_errors
}
counters! {
    /// Of TCP.
    Tcp:
    active_opens passive_opens attempt_fails estab_resets in_segs out_segs retrans_segs out_rsts
    syncookies_sent syncookies_recv listen_overflows time_waits
}

/// All of them.
#[derive(Debug)]
pub struct Mib {
    /// Of IPv4 and IPv6.
    pub ip: [Ip; 2],
    /// Of TCP.
    pub tcp: Tcp,
    /// Sockets that are open.
    pub sockets: Counter,
}

impl Mib {
    /// All 0.
    pub(super) const fn new() -> Self {
        Self {
            ip: [const { Ip::new() }; 2],
            tcp: Tcp::new(),
            sockets: Counter::new(),
        }
    }

    /// Those of a version of IP.
    pub fn of(&self, v6: bool) -> &Ip {
        &self.ip[usize::from(v6)]
    }

    /// Those of the packet in a frame, and its length; nothing if it is none of IP's.
    pub fn of_frame(&self, frame: &[u8]) -> Option<(&Ip, usize)> {
        let v6 = match frame.get(12..14)? {
            [0x08, 0] => false,
            [0x86, 0xdd] => true,
            _ => return None,
        };
        Some((self.of(v6), frame.len() - 14))
    }

    /// A frame was sent.
    pub fn sent(&self, frame: &[u8]) {
        if let Some((ip, len)) = self.of_frame(frame) {
            ip.out_requests.count();
            ip.out_octets.add(len);
        }
    }
}
