//! `elfin net` and `elfin run --net NAME`: machines that find and reach each other, this host and published ports;
//! what is left of those that end; and what is refused.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use crate::machine::{Networks, free_port, program};

/// `serve` answers each connection, when it ends, with how many bytes came and from whom. `visit PORT` sends some to
/// the machine called db and to this host's PORT, then leaves a connection to db idle until a line comes.
const PROGRAM: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void *answer(void *end) {
    static __thread char buffer[20000];
    int s = (int)(long)end;
    char name[100] = "?";
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    size_t total = 0, sum = 0;
    ssize_t n;
    while ((n = recv(s, buffer, sizeof buffer, 0)) > 0)
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + (unsigned char)buffer[i] + total++;
    getpeername(s, (void *)&from, &length);
    getnameinfo((void *)&from, length, name, sizeof name, 0, 0, NI_NAMEREQD);
    n = snprintf(buffer, sizeof buffer, "%zu %zu %s\n", total, sum, name);
    send(s, buffer, n, 0);
    close(s);
    return 0;
}
static int serve(void) {
    struct sockaddr_in any = {AF_INET, htons(7)};
    pthread_t thread;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(s, (void *)&any, sizeof any) || listen(s, 64))
        return 1;
    puts("ready"), fflush(stdout);
    for (;;) {
        int end = accept(s, 0, 0);
        pthread_create(&thread, 0, answer, (void *)(long)end);
    }
}
/* Nobody has the datagram's port, nobody the address of the other. */
static void miss(const char *db) {
    struct sockaddr_in to = {AF_INET, htons(9)};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    inet_aton(db, &to.sin_addr);
    connect(s, (void *)&to, sizeof to);
    send(s, "x", 1, 0);
    if (recv(s, &to, 1, 0) < 0)
        puts(strerror(errno));
    close(s);
    inet_aton("10.0.2.77", &to.sin_addr);
    if (connect(s = socket(AF_INET, SOCK_STREAM, 0), (void *)&to, sizeof to))
        puts(strerror(errno));
    fflush(stdout);
    close(s);
}
static int reach(const char *name, const char *port) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(name, port, &hints, &found);
    if (error)
        return printf("%s\n", gai_strerror(error)), -1;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, found->ai_addr, found->ai_addrlen))
        printf("%s\n", strerror(errno));
    return s;
}
static void deliver(const char *name, const char *port) {
    char buffer[3000];
    int s = reach(name, port);
    for (int i = 0; i < 1000; i++) {
        memset(buffer, i, sizeof buffer);
        for (ssize_t done = 0, n; done < (ssize_t)sizeof buffer; done += n)
            if ((n = send(s, buffer + done, sizeof buffer - done, 0)) < 0)
                return perror("send");
    }
    shutdown(s, SHUT_WR);
    ssize_t n = recv(s, buffer, sizeof buffer, MSG_WAITALL);
    printf("%.*s", (int)n, buffer), fflush(stdout);
    close(s);
}
int main(int count, char **arguments) {
    char line[10];
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(arguments[1], "serve"))
        return serve();
    deliver("db", "7");
    if (!strcmp(arguments[1], "deliver"))
        return 0;
    deliver("10.0.2.2", arguments[2]);
    miss("10.0.2.15");
    int idle = reach("DB", "7");
    puts("idle"), fflush(stdout);
    fgets(line, sizeof line, stdin);
    send(idle, "x", 1, 0);
    if (recv(idle, line, 1, 0) < 0)
        puts(strerror(errno)), fflush(stdout);
    close(idle);
    fgets(line, sizeof line, stdin);
    deliver("db", "7");
}
"#;

/// What PROGRAM's answer is to the bytes of `deliver`, but for the name.
fn answered() -> String {
    let (mut total, mut sum) = (0u64, 0u64);
    for number in 0..1000u64 {
        for _ in 0..3000 {
            sum = sum
                .wrapping_mul(31)
                .wrapping_add(number & 0xff)
                .wrapping_add(total);
            total += 1;
        }
    }
    format!("{total} {sum}")
}

#[test]
fn machines_reach_each_other() {
    let root = program(PROGRAM);
    let networks = Networks::new();
    networks
        .ask(&["net", "create", "back"])
        .expect("it is made");
    let published = free_port();
    let port = format!("127.0.0.1:{published}:7");
    let options = ["--net", "back", "--hostname", "db", "-p", &port];
    let mut db = networks.start(root.path(), &options, &["serve"]);
    assert_eq!(db.line(), "ready\n");

    let host = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = host.local_addr().expect("it is bound").port().to_string();
    let visited = std::thread::spawn(move || {
        let (mut stream, _) = host.accept().expect("it connects");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("it ends");
        stream.write_all(b"this host\n").expect("it listens");
        received.len()
    });
    let options = ["--net", "back", "--hostname", "web"];
    let mut web = networks.start(root.path(), &options, &["visit", &own]);
    assert_eq!(web.line(), format!("{} web\n", answered()));
    assert_eq!(web.line(), "this host\n");
    assert_eq!(visited.join().expect("it was visited"), 3_000_000);
    assert_eq!(web.line(), "Connection refused\n");
    assert_eq!(web.line(), "No route to host\n");
    assert_eq!(web.line(), "idle\n");
    let listed = networks
        .ask(&["net", "inspect", "back"])
        .expect("it is there");
    assert!(
        listed.ends_with("machine: 10.0.2.15 db\nmachine: 10.0.2.16 web\n"),
        "{listed}"
    );
    let refused = networks
        .ask(&["net", "rm", "back"])
        .expect_err("it is in use");
    assert_eq!(refused, "elfin: network back is in use by db\n");

    let mut client = TcpStream::connect(("127.0.0.1", published)).expect("it is published");
    client.write_all(b"abc").expect("it listens");
    client.shutdown(Shutdown::Write).expect("it is connected");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("3 "), "{answer}");

    // Who is killed resets its connections when something comes by them, and leaves its name to the next.
    drop(db);
    web.say("go on\n");
    assert_eq!(web.line(), "Connection reset by peer\n");
    let options = ["--net", "back", "--hostname", "db", "--ip", "10.0.2.200"];
    let mut db = networks.start(root.path(), &options, &["serve"]);
    assert_eq!(db.line(), "ready\n");
    web.say("go on\n");
    assert_eq!(web.line(), format!("{} web\n", answered()));
    drop((db, web));
    networks
        .ask(&["net", "rm", "back"])
        .expect("nobody is there");
}

/// `serve` tells who connects its name, by IPv6; `visit` connects to db and to a port that nobody has.
const PROGRAM_V6: &str = r#"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static int reach(const char *port) {
    struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo("db", port, &hints, &found);
    if (error)
        return printf("%s\n", gai_strerror(error)), fflush(stdout), -1;
    int s = socket(AF_INET6, SOCK_STREAM, 0);
    if (connect(s, found->ai_addr, found->ai_addrlen))
        printf("%s\n", strerror(errno)), fflush(stdout);
    return s;
}
int main(int count, char **arguments) {
    char name[100] = "?", address[100] = "?", line[300] = "";
    if (!strcmp(arguments[1], "visit")) {
        struct addrinfo *found;
        puts(gai_strerror(getaddrinfo("nobody", "7", 0, &found))), fflush(stdout);
        reach("9");
        recv(reach("7"), line, sizeof line, MSG_WAITALL);
        puts(line);
        return 0;
    }
    struct sockaddr_in6 any = {AF_INET6, htons(7)}, from;
    socklen_t length = sizeof from;
    int s = socket(AF_INET6, SOCK_STREAM, 0);
    if (bind(s, (void *)&any, sizeof any) || listen(s, 64))
        return 1;
    puts("ready"), fflush(stdout);
    int end = accept(s, (void *)&from, &length);
    getnameinfo((void *)&from, length, name, sizeof name, 0, 0, NI_NAMEREQD);
    getnameinfo((void *)&from, length, address, sizeof address, 0, 0, NI_NUMERICHOST);
    send(end, line, snprintf(line, sizeof line, "%s %s", name, address), 0);
    close(end);
    pause();
}
"#;

#[test]
fn machines_reach_each_other_by_ipv6() {
    let root = program(PROGRAM_V6);
    let networks = Networks::new();
    let create = ["net", "create", "six", "--ipv6", "--internal"];
    networks.ask(&create).expect("it is made");
    let options = ["--net", "six", "--hostname", "db"];
    let mut db = networks.start(root.path(), &options, &["serve"]);
    assert_eq!(db.line(), "ready\n");
    let options = ["--net", "six", "--hostname", "web"];
    let mut web = networks.start(root.path(), &options, &["visit"]);
    assert_eq!(web.line(), "Name or service not known\n");
    assert_eq!(web.line(), "Connection refused\n");
    assert_eq!(web.line(), "web fd65:6c66:696e::a00:210\n");
}

#[test]
fn a_bad_wire_loses_nothing_of_a_stream() {
    let root = program(PROGRAM);
    let networks = Networks::new();
    let create = ["net", "create", "bad", "--loss", "1", "--delay", "5"];
    networks.ask(&create).expect("it is made");
    let options = ["--net", "bad", "--hostname", "db"];
    let mut db = networks.start(root.path(), &options, &["serve"]);
    assert_eq!(db.line(), "ready\n");
    let options = ["--net", "bad", "--hostname", "web"];
    let mut web = networks.start(root.path(), &options, &["deliver"]);
    assert_eq!(web.line(), format!("{} web\n", answered()));
}

#[test]
fn what_cannot_be_is_said_in_a_line() {
    let root = program("#include <unistd.h>\n int main(void) { write(1, \"on\\n\", 3); pause(); }");
    let networks = Networks::new();
    let ask = |arguments: &[&str]| networks.ask(arguments);
    assert_eq!(ask(&["net", "create", "a"]), Ok(String::new()));
    assert_eq!(
        ask(&[
            "net",
            "create",
            "b",
            "--internal",
            "--subnet",
            "10.1.0.0/16"
        ]),
        Ok(String::new())
    );
    assert_eq!(ask(&["net", "ls"]), Ok("a\nb\n".to_owned()));
    let refused = [
        (vec!["net", "create", "a"], "there is a network a already"),
        (
            vec!["net", "create", "user"],
            "'user' is no name for a network: it has a meaning",
        ),
        (vec!["net", "create", "-x"], "unexpected argument"),
        (
            vec!["net", "create", "c", "--subnet", "10.0.0.1/24"],
            "10.0.0.0/24 is the network",
        ),
        (
            vec!["net", "rm", "c"],
            "there is no network c; `elfin net create c` makes it",
        ),
        (vec!["net", "inspect", "c"], "there is no network c"),
    ];
    for (arguments, expected) in refused {
        let error = ask(&arguments).expect_err("it cannot be");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let options = ["--net", "a", "--hostname", "one"];
    let mut one = networks.start(root.path(), &options, &[]);
    assert_eq!(one.line(), "on\n");
    let root = root.path().to_str().expect("a plain path");
    let refused = [
        (vec!["--net", "c"], "there is no network c"),
        (
            vec!["--net", "a", "--hostname", "One"],
            "network a: there is a machine One already",
        ),
        (
            vec!["--net", "a", "--ip", "10.0.2.15"],
            "network a: one has 10.0.2.15 already",
        ),
        (
            vec!["--net", "a", "--ip", "10.0.2.3"],
            "they are 10.0.2.4 to 10.0.2.254",
        ),
        (
            vec!["--net", "b", "--ip", "10.0.2.15"],
            "they are 10.1.0.4 to 10.1.255.254",
        ),
        (vec!["--net", "b", "-p", "1234:80"], "network b is internal"),
        (
            vec!["--net", "a", "--dry-run"],
            "--net a and --dry-run exclude each other",
        ),
    ];
    for (options, expected) in refused {
        let arguments = [&["run", "--root", root][..], &options, &["--", "/program"]].concat();
        let error = ask(&arguments).expect_err("it cannot be");
        assert!(error.contains(expected), "{options:?}: {error}");
    }
}
