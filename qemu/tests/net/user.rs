//! A machine behind QEMU's router: published ports of TCP and UDP, connections from the machine to this host, names,
//! and what is refused before anything starts.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::machine::{Machine, elfin, free_port, program};

const ECHO: &str = r#"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static int bound(int type) {
    struct sockaddr_in any = {AF_INET, htons(7)};
    int s = socket(AF_INET, type, 0);
    return bind(s, (void *)&any, sizeof any) ? -1 : s;
}
static void *serve(void *end) {
    char buffer[20000];
    ssize_t n;
    while ((n = recv((int)(long)end, buffer, sizeof buffer, 0)) > 0)
        for (ssize_t done = 0, m; done < n; done += m)
            if ((m = send((int)(long)end, buffer + done, n - done, 0)) < 0)
                return 0;
    close((int)(long)end);
    return 0;
}
static void *datagrams(void *s) {
    char buffer[20000];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    for (;;) {
        ssize_t n = recvfrom((int)(long)s, buffer, sizeof buffer, 0, (void *)&from, &length);
        sendto((int)(long)s, buffer, n, 0, (void *)&from, length);
    }
}
int main(void) {
    int tcp = bound(SOCK_STREAM), udp = bound(SOCK_DGRAM);
    pthread_t thread;
    listen(tcp, 64);
    pthread_create(&thread, 0, datagrams, (void *)(long)udp);
    puts("ready"), fflush(stdout);
    for (;;) {
        int end = accept(tcp, 0, 0);
        pthread_create(&thread, 0, serve, (void *)(long)end);
        pthread_detach(thread);
    }
}
"#;

#[test]
fn published_ports_lead_to_the_program() {
    let root = program(ECHO);
    let (tcp, udp) = (free_port(), free_port());
    let options = [
        format!("127.0.0.1:{tcp}:7"),
        format!("127.0.0.1:{udp}:7/udp"),
    ];
    let options = ["-p", &options[0], "-p", &options[1], "--ip", "10.0.2.99"];
    let mut machine = Machine::start(elfin(), root.path(), &options, &[]);
    assert_eq!(machine.line(), "ready\n");

    // Several at once, each with more than any buffer holds.
    let clients: Vec<_> = (0..4u8)
        .map(|seed| {
            std::thread::spawn(move || {
                let stream = TcpStream::connect(("127.0.0.1", tcp)).expect("it is published");
                let sent: Vec<u8> = (0..1_000_000u32)
                    .map(|n| (n >> 8) as u8 ^ n as u8 ^ seed)
                    .collect();
                let mut writer = stream.try_clone().expect("a descriptor");
                let copy = sent.clone();
                let sender = std::thread::spawn(move || {
                    writer.write_all(&copy).expect("it is read");
                    writer.shutdown(Shutdown::Write).expect("it is connected");
                });
                let mut received = Vec::new();
                (&stream).read_to_end(&mut received).expect("it ends");
                sender.join().expect("it has sent all");
                assert!(sent == received, "{} bytes came back", received.len());
            })
        })
        .collect();
    for client in clients {
        client.join().expect("all came back");
    }

    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client
        .connect(("127.0.0.1", udp))
        .expect("it is an address");
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time");
    // The second goes in fragments both ways.
    let large: Vec<u8> = (0..9000_u32).map(|n| (n >> 8) as u8 ^ n as u8).collect();
    for sent in [&b"datagram"[..], &large] {
        client.send(sent).expect("it is sent");
        let mut buffer = [0; 20_000];
        let len = client.recv(&mut buffer).expect("it comes back");
        assert!(&buffer[..len] == sent, "{len} bytes come back");
    }
}

const FETCH: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static int reach(const char *address, int port) {
    struct sockaddr_in to = {AF_INET, htons(port)};
    inet_aton(address, &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (!connect(s, (void *)&to, sizeof to))
        return s;
    printf("%s\n", errno == ECONNREFUSED ? "refused" : errno == ENETUNREACH ? "unreachable" : strerror(errno));
    return -1;
}
int main(int count, char **arguments) {
    char buffer[1000], line[100];
    int s = reach("10.0.2.2", atoi(arguments[1]));
    if (s < 0)
        return 1;
    size_t total = 0;
    ssize_t n;
    send(s, "hello\n", 6, 0);
    while ((n = recv(s, buffer, sizeof buffer, 0)) > 0)
        total += n;
    printf("%zu bytes\n", total);
    int size;
    getsockopt(s, IPPROTO_TCP, TCP_MAXSEG, &size, &(socklen_t){ sizeof size });
    printf("%d in a segment\n", size);
    reach("10.0.2.2", atoi(arguments[2]));
    reach("10.0.2.15", 9);
    gethostname(line, sizeof line);
    printf("%s\n", line);
    FILE *hosts = fopen("/etc/hosts", "r");
    while (fgets(line, sizeof line, hosts))
        if (strstr(line, "database"))
            fputs(line, stdout);
    fgets(line, sizeof line, fopen("/etc/resolv.conf", "r"));
    fputs(line, stdout);
}
"#;

#[test]
fn the_machine_reaches_this_host() {
    let root = program(FETCH);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener
        .local_addr()
        .expect("it is bound")
        .port()
        .to_string();
    let nobody = free_port().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it connects");
        let mut greeting = [0; 6];
        stream.read_exact(&mut greeting).expect("it greets");
        stream.write_all(&vec![7; 3_000_000]).expect("it reads");
    });
    let options = [
        "--hostname",
        "worker",
        "--add-host",
        "database:10.1.2.3",
        "--dns",
        "10.0.2.7",
    ];
    let mut machine = Machine::start(elfin(), root.path(), &options, &[&port, &nobody]);
    assert_eq!(machine.line(), "3000000 bytes\n");
    server.join().expect("it has sent all");
    assert_eq!(machine.line(), "1460 in a segment\n");
    assert_eq!(machine.line(), "refused\n");
    assert_eq!(machine.line(), "refused\n");
    assert_eq!(machine.line(), "worker\n");
    assert_eq!(machine.line(), "10.1.2.3\tdatabase\n");
    assert_eq!(machine.line(), "nameserver 10.0.2.7\n");
}

#[test]
fn without_a_network_nothing_is_reached() {
    let root = program(FETCH);
    let mut machine = Machine::start(elfin(), root.path(), &["--net", "none"], &["1", "2"]);
    assert_eq!(machine.line(), "unreachable\n");
}

#[test]
fn what_cannot_be_is_said_in_a_line() {
    let root = program("int main(void) { return 0; }");
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let published = format!("{port}:80");
    let cases: [(&[&str], String); 4] = [
        (
            &["-p", &published],
            format!("elfin: port {port} of this host is taken already\n"),
        ),
        (
            &["--net", "none", "-p", "1:2"],
            "elfin: --net none and -p exclude each other\n".to_owned(),
        ),
        (&["-p", "80"], "expected [ADDRESS:]HOST:GUEST".to_owned()),
        (
            &["--ip", "192.168.0.1"],
            "the network is 10.0.2.0/24".to_owned(),
        ),
    ];
    for (options, expected) in cases {
        let output = elfin()
            .args(["run", "--root"])
            .arg(root.path())
            .args(options)
            .args(["--", "/program"])
            .output()
            .expect("elfin starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(&expected), "{options:?}: {error}");
        assert_eq!(output.status.code(), Some(125), "{options:?}");
    }
}

const FETCH6: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static int reach(int type, int port) {
    struct sockaddr_in6 to = {AF_INET6, htons(port)};
    inet_pton(AF_INET6, "fec0::2", &to.sin6_addr);
    int s = socket(AF_INET6, type, 0);
    if (!connect(s, (void *)&to, sizeof to))
        return s;
    puts(strerror(errno));
    return -1;
}
int main(int count, char **arguments) {
    char buffer[1000];
    struct sockaddr_in6 own;
    socklen_t length = sizeof own;
    int s = reach(SOCK_STREAM, atoi(arguments[1])), u = reach(SOCK_DGRAM, atoi(arguments[3]));
    size_t total = 0;
    ssize_t n;
    if (s < 0)
        return 1;
    send(s, "hello\n", 6, 0);
    while ((n = recv(s, buffer, sizeof buffer, 0)) > 0)
        total += n;
    getsockname(s, (void *)&own, &length);
    printf("%zu bytes to %s\n", total, inet_ntop(AF_INET6, &own.sin6_addr, buffer, sizeof buffer));
    reach(SOCK_STREAM, atoi(arguments[2]));
    send(u, "datagram", 8, 0);
    n = recv(u, buffer, sizeof buffer, 0);
    printf("%.*s\n", (int)n, buffer);
}
"#;

#[test]
fn the_machine_reaches_this_host_by_ipv6() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        eprintln!("this host has no IPv6");
        return;
    };
    let root = program(FETCH6);
    let udp = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a free port");
    let [tcp_port, udp_port] = [listener.local_addr(), udp.local_addr()]
        .map(|at| at.expect("it is bound").port().to_string());
    let refused = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a free port");
    let refused_port = refused.local_addr().expect("it is bound").port();
    drop(refused);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the machine connects");
        let mut hello = [0; 6];
        stream.read_exact(&mut hello).expect("it says hello");
        stream.write_all(&[7; 300_000]).expect("it reads");
        drop(stream);
        let mut datagram = [0; 100];
        let (len, from) = udp.recv_from(&mut datagram).expect("the machine sends");
        udp.send_to(&datagram[..len], from).expect("it can be sent");
    });
    let arguments = [&tcp_port[..], &refused_port.to_string(), &udp_port];
    let mut machine = Machine::start(elfin(), root.path(), &[], &arguments);
    assert_eq!(machine.line(), "300000 bytes to fec0::15\n");
    assert_eq!(machine.line(), "Connection refused\n");
    assert_eq!(machine.line(), "datagram\n");
    server.join().expect("all went well");
}

const ASK: &str = r#"
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <netinet/icmp6.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void ping(int family, int type, const char *address) {
    struct sockaddr_storage to = {family}, from;
    socklen_t length = sizeof from;
    unsigned char message[500] = {family == AF_INET ? 8 : 128, 0, 0, 0, 1, 2, 0, 7, 'd', 'a', 't', 'a'};
    inet_pton(family, address, family == AF_INET ? (void *)&((struct sockaddr_in *)&to)->sin_addr
                                                 : (void *)&((struct sockaddr_in6 *)&to)->sin6_addr);
    int s = socket(family, type, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    /* Answers are all that a raw socket wants. */
    struct icmp6_filter some;
    unsigned echoes = ~(1u << ICMP_ECHOREPLY), kept = 0;
    ICMP6_FILTER_SETBLOCKALL(&some);
    ICMP6_FILTER_SETPASS(129, &some);
    if (type == SOCK_RAW && family == AF_INET) {
        socklen_t four = sizeof kept;
        if (setsockopt(s, 255, 1, &echoes, sizeof echoes) || getsockopt(s, 255, 1, &kept, &four)
            || kept != echoes)
            perror("ICMP_FILTER");
    }
    if (type == SOCK_RAW && family == AF_INET6 && setsockopt(s, IPPROTO_ICMPV6, ICMP6_FILTER, &some, sizeof some))
        perror("ICMP6_FILTER");
    /* Of a raw socket of IPv4 nobody fills in the sum. */
    unsigned sum = 0;
    for (int i = 0; i < 12; i += 2)
        sum += message[i] << 8 | message[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16));
    message[2] = sum >> 8, message[3] = sum;
    socklen_t size = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (sendto(s, message, 12, 0, (void *)&to, size) != 12)
        perror("sendto");
    unsigned char *answer = family == AF_INET && type == SOCK_RAW ? message + 20 : message;
    if (recvfrom(s, message, sizeof message, 0, (void *)&from, &length) < 0)
        perror("recvfrom");
    if (answer[0] != (family == AF_INET ? 0 : 129))
        printf("type %d\n", answer[0]);
    char text[100];
    inet_ntop(family, family == AF_INET ? (void *)&((struct sockaddr_in *)&from)->sin_addr
                                        : (void *)&((struct sockaddr_in6 *)&from)->sin6_addr, text, sizeof text);
    printf("%s answers %d %.4s\n", text, answer[7], answer + 8);
    close(s);
}
int main(void) {
    struct sockaddr_in to = {AF_INET, htons(9)}, own;
    socklen_t length = sizeof own;
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    inet_aton("10.0.2.2", &to.sin_addr);
    connect(s, (void *)&to, sizeof to);
    getsockname(s, (void *)&own, &length);
    printf("this is %s\n", inet_ntoa(own.sin_addr));
    for (int type = SOCK_DGRAM; type <= SOCK_RAW; type++) {
        ping(AF_INET, type, "127.0.0.1");
        ping(AF_INET6, type, "::1");
        ping(AF_INET, type, "10.0.2.2");
        ping(AF_INET6, type, "fec0::2");
    }
}
"#;

#[test]
fn an_address_is_asked_for_and_echoes_are_answered() {
    let root = program(ASK);
    for options in [&["--ip", "dhcp"][..], &[]] {
        let mut machine = Machine::start(elfin(), root.path(), options, &[]);
        assert_eq!(machine.line(), "this is 10.0.2.15\n", "{options:?}");
        for _kind in ["ping", "raw"] {
            for from in ["127.0.0.1", "::1", "10.0.2.2", "fec0::2"] {
                assert_eq!(machine.line(), format!("{from} answers 7 data\n"));
            }
        }
    }
}
