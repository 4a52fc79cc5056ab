//! Servers and clients as Debian has them, unmodified, each in a machine: this host asks the servers by published
//! ports, and is asked by TLS.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const PACKAGES: &str = "redis-server,nginx-light,python3-aiohttp,python3-uvloop";

fn elfin() -> Command {
    Command::new(env!("CARGO_BIN_EXE_elfin"))
}

/// The image that all servers are in, made once.
fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (image, stamp) = (dir.join("servers.img"), dir.join("servers.stamp"));
        let lock = fs::File::create(dir.join("servers.lock")).expect("own directory");
        lock.lock().expect("it can be locked");
        if fs::read_to_string(&stamp).is_ok_and(|packages| packages == PACKAGES) {
            return image;
        }
        let built = elfin()
            .args(["build", "--deb", PACKAGES, "-o"])
            .arg(&image)
            .status();
        assert!(built.expect("elfin starts").success());
        fs::write(stamp, PACKAGES).expect("own directory");
        image
    })
}

/// A machine with a server, until it is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts one that listens at the machine's port 80.
    fn start(options: &[&str], command: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let child = elfin()
            .args([
                "run",
                "--cpus",
                "2",
                "-p",
                &format!("127.0.0.1:{port}:80"),
                "--image",
            ])
            .arg(image())
            .args(options)
            .arg("--")
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("elfin starts");
        Self { child, port }
    }

    /// What the server answers until it closes.
    fn try_ask(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let mut writer = stream.try_clone()?;
        let request = request.to_vec();
        // Large requests are answered before they have come as a whole.
        let writing = std::thread::spawn(move || writer.write_all(&request));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        writing.join().expect("it does not panic")?;
        Ok(answer)
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.try_ask(request).expect("the server answers")
    }

    /// Waits until it answers. A published port takes connections before the program listens, and ends them.
    fn wait(mut self, request: &[u8]) -> Self {
        while self
            .try_ask(request)
            .map_or(true, |answer| answer.is_empty())
        {
            let ended = self.child.try_wait().expect("own child");
            assert!(ended.is_none(), "the server has ended: {ended:?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        self
    }

    /// The body of an answer to a request by HTTP/1.0.
    fn get(&self, path: &str) -> Vec<u8> {
        let answer = self.ask(&get(path));
        let head = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head");
        let status = String::from_utf8_lossy(&answer[..head]).into_owned();
        assert!(
            status
                .lines()
                .next()
                .is_some_and(|line| line.contains(" 200 ")),
            "{path}: {status}"
        );
        answer[head + 4..].to_vec()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.0\r\nHost: server\r\n\r\n").into_bytes()
}

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

const AIOHTTP: &str = "
import aiohttp.web, asyncio, uvloop
uvloop.install()
async def count(request):
    return aiohttp.web.json_response({'len': len(await request.read())})
async def meet(request):
    meeting.append(request)
    while len(meeting) % 20:
        await asyncio.sleep(0.01)
    return aiohttp.web.Response(text='met')
meeting = []
app = aiohttp.web.Application(client_max_size=1 << 30)
app.add_routes([aiohttp.web.post('/count', count), aiohttp.web.get('/meet', meet)])
aiohttp.web.run_app(app, port=80, reuse_port=True)
";

#[test]
fn aiohttp_serves_on_uvloop() {
    let server = Server::start(&[], &["python3", "-c", AIOHTTP]).wait(&get("/"));
    let body = vec![7; 2_000_000];
    let mut request = format!(
        "POST /count HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(&body);
    assert!(server.ask(&request).ends_with(b"{\"len\": 2000000}"));
    // None is answered before all are there.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(server.get("/meet"), b"met"));
        }
    });
}

#[test]
fn pythons_server_lists_directories() {
    let command = [
        "python3",
        "-m",
        "http.server",
        "80",
        "--directory",
        "/usr/share",
    ];
    let server = Server::start(&[], &command).wait(&get("/"));
    let list = server.get("/");
    assert!(String::from_utf8_lossy(&list).contains("doc/"));
}

/// Serves "secret" by HTTPS at a port that it prints; the certificate is the argument.
const HTTPS: &str = "
import http.server, ssl, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', str(6 * 200_000))
        self.end_headers()
        self.wfile.write(b'secret' * 200_000)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// Fetches it by urllib and by aiohttp, which trust the certificate, and by urllib, which does not.
const FETCH: &str = "
import asyncio, ssl, sys, urllib.request, aiohttp, uvloop
url = f'https://10.0.2.2:{sys.argv[1]}/'
context = ssl.create_default_context(cafile='/certificate/pem')
with urllib.request.urlopen(url, context=context) as answer:
    print('urllib', answer.read() == b'secret' * 200_000)
async def fetch():
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        print('aiohttp', await answer.read() == b'secret' * 200_000)
uvloop.install()
asyncio.run(fetch())
try:
    urllib.request.urlopen(url)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)
";

#[test]
fn clients_fetch_by_tls() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let pem = dir.path().join("pem");
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=host",
        ])
        .args(["-addext", "subjectAltName=IP:10.0.2.2", "-keyout"])
        .arg(dir.path().join("key"))
        .arg("-out")
        .arg(&pem)
        .output()
        .expect("openssl starts");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let key = fs::read(dir.path().join("key")).expect("it was made");
    let certificate = fs::read(&pem).expect("it was made");
    let both = dir.path().join("both");
    fs::write(&both, [key, certificate].concat()).expect("own directory");
    let mut host = Command::new("/usr/bin/python3")
        .args(["-c", HTTPS])
        .arg(&both)
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut port = String::new();
    let output = host.stdout.take().expect("it is piped");
    BufReader::new(output)
        .read_line(&mut port)
        .expect("it says where it listens");
    let mount = format!("{}:/certificate:ro", dir.path().display());
    let fetched = elfin()
        .args(["run", "--cpus", "2", "-v", &mount, "--image"])
        .arg(image())
        .args(["--", "python3", "-c", FETCH, port.trim()])
        .stderr(Stdio::inherit())
        .output();
    // It has not ended by itself.
    let _ = host.kill();
    let _ = host.wait();
    let text = String::from_utf8_lossy(&fetched.expect("elfin starts").stdout).into_owned();
    assert_eq!(
        text,
        "urllib True\naiohttp True\nSSLCertVerificationError\n"
    );
}
