//! Servers that are compiled, before or while they run: redis and nginx in C, node's, Java's, one in Go, one in Rust.

use std::fs;
use std::io::Write;
use std::process::Command;

use crate::{Server, get, post};

#[test]
fn redis_keeps_values() {
    let command = [
        "redis-server",
        "--port",
        "80",
        "--protected-mode",
        "no",
        "--dir",
        "/tmp",
    ];
    let redis = Server::start(&[], &command).wait(b"PING\r\nQUIT\r\n");
    let mut request = Vec::new();
    for _ in 0..5_000 {
        request.extend(b"INCR counter\r\n");
    }
    let value = vec![b'x'; 1_000_000];
    write!(
        request,
        "*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n",
        value.len()
    )
    .expect("to memory");
    request.extend(&value);
    request.extend(b"\r\nSAVE\r\nSTRLEN large\r\nGET counter\r\nQUIT\r\n");
    let answer = redis.ask(&request);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with(":1\r\n:2\r\n"), "{}", &answer[..20]);
    let end = ":5000\r\n+OK\r\n+OK\r\n:1000000\r\n$4\r\n5000\r\n+OK\r\n";
    assert!(answer.ends_with(end), "{:?}", &answer[answer.len() - 100..]);
    // Many at once, each with a connection of its own.
    std::thread::scope(|scope| {
        for client in 0..16 {
            let redis = &redis;
            scope.spawn(move || {
                for turn in 0..5 {
                    let answer = redis.ask(format!("ECHO {client}-{turn}\r\nQUIT\r\n").as_bytes());
                    assert!(answer.ends_with(format!("{client}-{turn}\r\n+OK\r\n").as_bytes()));
                }
            });
        }
    });
}

#[test]
fn nginx_sends_files() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let large: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n >> 8) as u8 ^ n as u8)
        .collect();
    fs::write(dir.path().join("large"), &large).expect("own directory");
    fs::write(
        dir.path().join("nginx.conf"),
        "daemon off; master_process off; user root; pid /tmp/pid; error_log stderr;\n\
         events { use epoll; }\n\
         http { sendfile on; tcp_nopush on; access_log off;\n\
         server { listen 80 reuseport deferred; root /srv; location /hello { return 200 hello; } } }\n",
    )
    .expect("own directory");
    let mount = format!("{}:/srv:ro", dir.path().display());
    let nginx =
        Server::start(&["-v", &mount], &["nginx", "-c", "/srv/nginx.conf"]).wait(&get("/hello"));
    assert_eq!(nginx.get("/hello"), b"hello");
    assert!(nginx.get("/large") == large);
    let missing = nginx.ask(&get("/missing"));
    assert!(missing.starts_with(b"HTTP/1.1 404 "));
}

const NODE: &str = "
require('http').createServer((request, response) => {
    let length = 0;
    request.on('data', data => length += data.length);
    request.on('end', () => response.end('node has ' + length));
}).listen(80);
";

#[test]
fn node_serves() {
    let server = Server::start(&[], &["node", "-e", NODE]).wait(&get("/"));
    count(&server, "node has ");
}

/// What a server says of requests of several clients, each of another length.
fn count(server: &Server, says: &str) {
    std::thread::scope(|scope| {
        for len in [0, 1, 1000, 1_000_000] {
            scope.spawn(move || {
                let answer = server.ask(&post("/", &vec![b'x'; len]));
                let answer = String::from_utf8_lossy(&answer);
                assert!(
                    answer.ends_with(&format!("\r\n\r\n{says}{len}")),
                    "{answer}"
                );
            });
        }
    });
}

const JAVA: &str = r#"
import com.sun.net.httpserver.HttpServer;
public class Main {
    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new java.net.InetSocketAddress(80), 0);
        server.createContext("/", exchange -> {
            int length = exchange.getRequestBody().readAllBytes().length;
            byte[] answer = ("java has " + length).getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.setExecutor(java.util.concurrent.Executors.newFixedThreadPool(4));
        server.start();
    }
}
"#;

#[test]
fn java_serves() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fs::write(dir.path().join("Main.java"), JAVA).expect("own directory");
    let mount = format!("{}:/srv:ro", dir.path().display());
    // Optimised code would cost more than it brings.
    let command = ["java", "-XX:TieredStopAtLevel=1", "/srv/Main.java"];
    let server = Server::start(&["-v", &mount], &command).wait(&get("/"));
    count(&server, "java has ");
}

#[test]
fn a_server_in_go_tells_of_the_machine() {
    let command = [
        "prometheus-node-exporter",
        "--web.listen-address=:80",
        "--log.level=error",
    ];
    let server = Server::start(&[], &command).wait(&get("/"));
    let metrics = String::from_utf8_lossy(&server.get("/metrics")).into_owned();
    for name in [
        "go_goroutines ",
        "node_network_receive_bytes_total{device=\"eth0\"} ",
        "node_memory_MemTotal_bytes ",
        "node_load1 ",
    ] {
        assert!(
            metrics.contains(&format!("\n{name}")),
            "{name} in {metrics}"
        );
    }
}

const RUST: &str = r#"
use std::io::{Read, Write};
fn main() {
    let listener = std::net::TcpListener::bind("[::]:80").unwrap();
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            let mut stream = stream.unwrap();
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            let body = loop {
                let len = stream.read(&mut part).unwrap();
                assert!(len > 0, "it goes away");
                request.extend(&part[..len]);
                let head = request.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(head) = head {
                    let text = String::from_utf8_lossy(&request[..head]).into_owned();
                    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                    let length = length.map_or(0, |length| length.parse().unwrap());
                    if request.len() >= head + 4 + length {
                        break length;
                    }
                }
            };
            write!(stream, "HTTP/1.0 200 OK\r\n\r\nrust has {body}").unwrap();
        });
    }
}
"#;

#[test]
fn a_server_in_rust_serves() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let source = dir.path().join("server.rs");
    fs::write(&source, RUST).expect("own directory");
    let built = Command::new("rustc")
        .args(["--edition=2024", "-O", "-o"])
        .arg(dir.path().join("server"))
        .arg(&source)
        .status();
    assert!(built.expect("rustc starts").success());
    let mount = format!("{}:/srv:ro", dir.path().display());
    let server = Server::start(&["-v", &mount], &["/srv/server"]).wait(&get("/"));
    count(&server, "rust has ");
}
