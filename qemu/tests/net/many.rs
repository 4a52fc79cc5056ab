//! Many connections, asked for by a peer that takes care of each segment: a flood of requests keeps nobody out, and
//! memory is what it was when connections are over.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use crate::machine::{Machine, Networks, program};
use crate::peer::{ACK, FIN, OPTIONS, PSH, Peer, SYN, Segment};

/// Answers what comes with the same, and a line of input with the kilobytes that are free and the connections there are.
const PROGRAM: &str = r#"
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
static void tell(int connections) {
    char line[200];
    long free = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (fgets(line, sizeof line, file))
        sscanf(line, "MemFree: %ld", &free);
    fclose(file);
    printf("%ld %d\n", free, connections), fflush(stdout);
}
int main(void) {
    struct rlimit files = {20000, 20000};
    struct sockaddr_in any = {AF_INET, htons(7)};
    struct epoll_event event = {EPOLLIN}, events[64];
    int s = socket(AF_INET, SOCK_STREAM, 0), connections = 0, epoll = epoll_create1(0);
    setrlimit(RLIMIT_NOFILE, &files);
    if (bind(s, (void *)&any, sizeof any) || listen(s, 4096))
        return 1;
    event.data.fd = s;
    epoll_ctl(epoll, EPOLL_CTL_ADD, s, &event);
    event.data.fd = 0;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    puts("ready"), fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            char data[100];
            int fd = events[i].data.fd;
            if (fd == s) {
                event.data.fd = accept(s, 0, 0);
                connections++;
                epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            ssize_t n = read(fd, data, sizeof data);
            if (fd == 0) {
                tell(connections);
            } else if (n > 0) {
                write(fd, data, n);
            } else {
                close(fd);
                connections--;
            }
        }
    }
}
"#;

const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 200);
/// Segments that are under way at once: more answers than the device has buffers, none of which may be lost.
const BATCH: u16 = 200;

/// A machine with the program, and a peer.
fn start() -> (Networks, tempfile::TempDir, Machine, Peer) {
    let networks = Networks::new();
    networks
        .ask(&["net", "create", "lab"])
        .expect("a name that is free");
    let root = program(PROGRAM);
    let options = ["--net", "lab", "--ip", "10.0.2.15", "--memory", "1G"];
    let mut machine = networks.start(root.path(), &options, &[]);
    assert_eq!(machine.line(), "ready\n");
    let peer = Peer::new(&networks.directory("lab"), PEER, MACHINE);
    (networks, root, machine, peer)
}

/// The free memory in kilobytes, and how many connections there are.
fn ask(machine: &mut Machine) -> (i64, usize) {
    machine.say("?\n");
    let line = machine.line();
    let (free, connections) = line.trim().split_once(' ').expect("two numbers");
    (
        free.parse().expect("a number"),
        connections.parse().expect("a number"),
    )
}

fn syn(port: u16) -> Segment {
    Segment {
        port,
        flags: SYN,
        seq: 1000,
        options: OPTIONS.to_vec(),
        ..Segment::default()
    }
}

/// Whether a segment's options have a window scale.
fn has_scale(segment: &Segment) -> bool {
    segment.options.windows(2).any(|two| two == [3, 3])
}

#[test]
fn a_flood_of_requests_keeps_nobody_out() {
    let (_networks, _root, mut machine, peer) = start();
    let (before, _) = ask(&mut machine);
    let mut answers = HashMap::new();
    for first in (1000..5000).step_by(BATCH.into()) {
        (first..first + BATCH).for_each(|port| peer.send(&syn(port)));
        while answers.len() < usize::from(first - 1000 + BATCH) {
            let answer = peer.receive();
            assert_eq!((answer.flags, answer.ack), (SYN | ACK, 1001));
            // Answers of which nothing is heard are sent again.
            answers.insert(answer.port, answer);
        }
    }
    let remembered = answers.values().filter(|answer| has_scale(answer)).count();
    assert!(remembered <= 1024 && remembered > 500, "{remembered}");
    let (after, _) = ask(&mut machine);
    assert!(before - after < 4096, "{before} {after}");
    let answer = &answers[&4999];
    assert!(!has_scale(answer), "nothing is kept of it");
    let mut hello = Segment {
        port: 4999,
        flags: ACK | PSH,
        seq: 1001,
        ack: answer.seq.wrapping_add(7),
        data: b"hello".to_vec(),
        ..Segment::default()
    };
    peer.send(&hello);
    hello.ack = answer.seq.wrapping_add(1);
    peer.send(&hello);
    // To the wrong number comes a reset, to the right one what was sent.
    let mut echo = Vec::new();
    while echo != b"hello" {
        let answer = peer.receive();
        if answer.port == 4999 && !answer.data.is_empty() {
            echo = answer.data;
        }
    }
    assert_eq!(ask(&mut machine).1, 1);
}

/// Opens connections and has something answered by each; the numbers that the other end has come to.
fn open(peer: &Peer, ports: std::ops::Range<u16>) -> HashMap<u16, u32> {
    let mut numbers = HashMap::new();
    for first in ports.step_by(BATCH.into()) {
        let batch = first..first + BATCH;
        batch.clone().for_each(|port| peer.send(&syn(port)));
        // Segments come again when the answer is slow: once is enough.
        let mut opened = HashSet::new();
        let mut left: HashSet<u16> = batch.collect();
        while !left.is_empty() {
            let answer = peer.receive();
            let data = match answer.flags & SYN != 0 {
                true if opened.insert(answer.port) => b"x".to_vec(),
                false if !answer.data.is_empty() => Vec::new(),
                _ => continue,
            };
            let number = answer.seq.wrapping_add(1);
            if data.is_empty() {
                left.remove(&answer.port);
                numbers.insert(answer.port, number);
            }
            peer.send(&Segment {
                port: answer.port,
                flags: ACK,
                seq: if data.is_empty() { 1002 } else { 1001 },
                ack: number,
                data,
                ..Segment::default()
            });
        }
    }
    numbers
}

/// Closes connections, which the other end does then, too.
fn close(peer: &Peer, numbers: &HashMap<u16, u32>) {
    let mut ports: Vec<_> = numbers.iter().collect();
    ports.sort_unstable();
    for batch in ports.chunks(BATCH.into()) {
        for &(&port, &ack) in batch {
            peer.send(&Segment {
                port,
                flags: ACK | FIN,
                seq: 1002,
                ack,
                ..Segment::default()
            });
        }
        let mut left: Vec<u16> = batch.iter().map(|&(&port, _)| port).collect();
        while !left.is_empty() {
            let answer = peer.receive();
            if answer.flags & FIN != 0 {
                left.retain(|&port| port != answer.port);
                peer.send(&Segment {
                    port: answer.port,
                    flags: ACK,
                    seq: 1003,
                    ack: answer.seq.wrapping_add(1),
                    ..Segment::default()
                });
            }
        }
    }
}

/// `ROUNDS` says how often 10,000 are opened and closed.
#[test]
fn memory_is_what_it_was_after_many_connections() {
    let (_networks, _root, mut machine, peer) = start();
    let mut free = Vec::new();
    let rounds = std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    for most in std::iter::repeat_n(10_000, rounds).chain([2_000]) {
        let (before, _) = ask(&mut machine);
        let numbers = open(&peer, 10_000..10_000 + most);
        let (with, connections) = ask(&mut machine);
        assert_eq!([numbers.len(), connections], [usize::from(most); 2]);
        assert!(
            before - with < 100_000,
            "{} kB for {most} connections",
            before - with
        );
        close(&peer, &numbers);
        while ask(&mut machine).1 > 0 {}
        free.push(ask(&mut machine).0);
    }
    assert!(free[0] - free[rounds] < 1024, "{free:?}");
}
