//! What netstat(8), nstat(8) and ss(8) read of counts: /proc/net/snmp, snmp6, netstat, sockstat and sockstat6. What is
//! not counted is 0.
use super::{
    inet::{UDP, UDPLITE, connection::State, datagram, tcp},
    interface, listing,
    mib::Ip,
    sock::Kind,
    stack,
};
use alloc::{format, string::String};
use core::fmt::Write;

/// A table: a line with names, and one with numbers.
fn table(text: &mut String, name: &str, rows: &[(&str, u64)]) {
    let _ = write!(text, "{name}:");
    // Writing to a string cannot fail.
    for (column, _) in rows {
        let _ = write!(text, " {column}");
    }
    let _ = write!(text, "\n{name}:");
    for &(column, number) in rows {
        // The only one that is less than nothing.
        let sign = if column == "MaxConn" { "-" } else { "" };
        let _ = write!(text, " {sign}{number}");
    }
    text.push('\n');
}

/// Connections that are there.
fn established() -> u64 {
    let all = listing::tcp();
    let states = [State::Established, State::CloseWait];
    let count = all.iter().filter(|one| states.contains(&one.state)).count();
    u64::try_from(count).unwrap_or(0)
}

fn icmp(ip: &Ip) -> [(&'static str, u64); 5] {
    [
        ("InMsgs", ip.icmp_in_msgs.get()),
        ("OutMsgs", ip.icmp_out_msgs.get()),
        ("InDestUnreachs", ip.icmp_in_dest_unreachs.get()),
        ("InEchos", ip.icmp_in_echos.get()),
        ("InEchoReps", ip.icmp_in_echo_reps.get()),
    ]
}

fn udp(ip: &Ip) -> [(&'static str, u64); 9] {
    let lost = ip.udp_rcvbuf_errors.get();
    [
        ("InDatagrams", ip.udp_in_datagrams.get()),
        ("NoPorts", ip.udp_no_ports.get()),
        ("InErrors", lost),
        ("OutDatagrams", ip.udp_out_datagrams.get()),
        ("RcvbufErrors", lost),
        ("SndbufErrors", 0),
        ("InCsumErrors", 0),
        ("IgnoredMulti", 0),
        ("MemErrors", 0),
    ]
}

/// /proc/net/snmp
pub(super) fn snmp() -> String {
    let mib = interface::mib();
    let ip = mib.of(false);
    let mut text = String::new();
    let rows = [
        ("Forwarding", 2),
        ("DefaultTTL", stack::HOPS.into()),
        ("InReceives", ip.in_receives.get()),
        ("InHdrErrors", 0),
        ("InAddrErrors", 0),
        ("ForwDatagrams", 0),
        ("InUnknownProtos", 0),
        ("InDiscards", 0),
        ("InDelivers", ip.in_delivers.get()),
        ("OutRequests", ip.out_requests.get()),
        ("OutDiscards", 0),
        ("OutNoRoutes", 0),
        ("ReasmTimeout", 0),
        ("ReasmReqds", ip.reasm_reqds.get()),
        ("ReasmOKs", ip.reasm_oks.get()),
        ("ReasmFails", 0),
        ("FragOKs", ip.frag_oks.get()),
        ("FragFails", 0),
        ("FragCreates", ip.frag_creates.get()),
    ];
    table(&mut text, "Ip", &rows);
    table(&mut text, "Icmp", &icmp(ip));
    let tcp = &mib.tcp;
    let rows = [
        ("RtoAlgorithm", 1),
        ("RtoMin", 200),
        ("RtoMax", 120_000),
        ("MaxConn", 1),
        ("ActiveOpens", tcp.active_opens.get()),
        ("PassiveOpens", tcp.passive_opens.get()),
        ("AttemptFails", tcp.attempt_fails.get()),
        ("EstabResets", tcp.estab_resets.get()),
        ("CurrEstab", established()),
        ("InSegs", tcp.in_segs.get()),
        ("OutSegs", tcp.out_segs.get()),
        ("RetransSegs", tcp.retrans_segs.get()),
        ("InErrs", 0),
        ("OutRsts", tcp.out_rsts.get()),
        ("InCsumErrors", 0),
    ];
    table(&mut text, "Tcp", &rows);
    table(&mut text, "Udp", &udp(ip));
    table(&mut text, "UdpLite", &udp(ip).map(|(name, _)| (name, 0)));
    text
}

/// /proc/net/snmp6
pub(super) fn snmp6() -> String {
    let ip = interface::mib().of(true);
    let mut text = String::new();
    let mut rows = |begin: &str, rows: &[(&str, u64)]| {
        for (name, number) in rows {
            // As above.
            let _ = writeln!(text, "{:<32}\t{number}", format!("{begin}6{name}"));
        }
    };
    let packets = [
        ("InReceives", ip.in_receives.get()),
        ("InDelivers", ip.in_delivers.get()),
        ("OutRequests", ip.out_requests.get()),
        ("ReasmReqds", ip.reasm_reqds.get()),
        ("ReasmOKs", ip.reasm_oks.get()),
        ("FragOKs", ip.frag_oks.get()),
        ("FragCreates", ip.frag_creates.get()),
        ("InOctets", ip.in_octets.get()),
        ("OutOctets", ip.out_octets.get()),
    ];
    rows("Ip", &packets);
    rows("Icmp", &icmp(ip));
    rows("Udp", &udp(ip));
    text
}

/// /proc/net/netstat
pub(super) fn netstat() -> String {
    let mib = interface::mib();
    let (tcp, ip) = (&mib.tcp, mib.of(false));
    let mut text = String::new();
    let rows = [
        ("SyncookiesSent", tcp.syncookies_sent.get()),
        ("SyncookiesRecv", tcp.syncookies_recv.get()),
        ("TW", tcp.time_waits.get()),
        ("ListenOverflows", tcp.listen_overflows.get()),
        ("ListenDrops", tcp.listen_overflows.get()),
    ];
    table(&mut text, "TcpExt", &rows);
    let rows = [
        ("InOctets", ip.in_octets.get()),
        ("OutOctets", ip.out_octets.get()),
    ];
    table(&mut text, "IpExt", &rows);
    text
}

/// How many sockets of a version have addresses: of TCP, UDP, UDP-Lite, and raw ones.
fn in_use(v6: bool) -> [usize; 4] {
    let datagrams = |kind, protocol| {
        let all = datagram::listed(kind, protocol);
        all.iter().filter(|one| one.v6 == v6).count()
    };
    [
        tcp::listed().iter().filter(|one| one.v6 == v6).count(),
        datagrams(Kind::Datagram, UDP),
        datagrams(Kind::Datagram, UDPLITE),
        datagrams(Kind::Raw, 0),
    ]
}

/// /proc/net/sockstat
pub(super) fn sockstat() -> String {
    let [tcp, udp, lite, raw] = in_use(false);
    let left = stack::without_socket();
    let waiting = left.iter().filter(|(_, state)| *state == State::TimeWait);
    let waiting = waiting.count();
    format!(
        "sockets: used {}\nTCP: inuse {tcp} orphan {} tw {waiting} alloc {} mem 0\n\
         UDP: inuse {udp} mem 0\nUDPLITE: inuse {lite}\nRAW: inuse {raw}\nFRAG: inuse 0 memory 0\n",
        interface::mib().sockets.get(),
        left.len() - waiting,
        tcp::count(),
    )
}

/// /proc/net/sockstat6
pub(super) fn sockstat6() -> String {
    let [tcp, udp, lite, raw] = in_use(true);
    format!(
        "TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse {lite}\nRAW6: inuse {raw}\n\
         FRAG6: inuse 0 memory 0\n"
    )
}
