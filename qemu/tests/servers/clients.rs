//! Clients in a machine: of servers on this host by TLS, and of redis in another machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::{Server, elfin, image};

/// Serves "secret" by HTTPS at a port that it prints, and an index of packages with one in it; the certificate is the
/// argument.
const HTTPS: &str = "
import hashlib, http.server, io, ssl, sys, zipfile
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, 'w') as archive:
    archive.writestr('demo.py', 'answer = 42')
    archive.writestr('demo-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n')
    archive.writestr('demo-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    archive.writestr('demo-1.0.dist-info/RECORD', 'demo.py,,\\n')
wheel = wheel.getvalue()
name = 'demo-1.0-py3-none-any.whl'
index = f'<a href=\"/{name}#sha256={hashlib.sha256(wheel).hexdigest()}\">{name}</a>'
bodies = {'/simple/demo/': index.encode(), '/' + name: wheel}
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = bodies.get(self.path, b'secret' * 200_000)
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// Fetches it by urllib, requests and aiohttp, which trust the certificate, and by urllib, which does not; has pip
/// install the package.
const FETCH: &str = "
import asyncio, glob, ssl, subprocess, sys, urllib.request, aiohttp, requests, uvloop
url = f'https://10.0.2.2:{sys.argv[1]}/'
context = ssl.create_default_context(cafile='/certificate/pem')
with urllib.request.urlopen(url, context=context) as answer:
    print('urllib', answer.read() == b'secret' * 200_000)
with requests.Session() as session:
    session.verify = '/certificate/pem'
    answers = [session.get(url, stream=True) for _ in range(3)]
    print('requests', all(b''.join(one.iter_content(10_000)) == b'secret' * 200_000 for one in answers))
async def fetch():
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        print('aiohttp', await answer.read() == b'secret' * 200_000)
uvloop.install()
asyncio.run(fetch())
try:
    urllib.request.urlopen(url)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)
[pip] = glob.glob('/usr/share/python-wheels/pip-*.whl')
command = [sys.executable, pip + '/pip', 'install', '--quiet', '--disable-pip-version-check', '--no-cache-dir']
command += ['--root-user-action=ignore', '--target', '/tmp/packages', '--index-url', url + 'simple']
subprocess.run([*command, '--cert', '/certificate/pem', 'demo'], check=True)
sys.path.append('/tmp/packages')
print(__import__('demo').answer)
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
        "urllib True\nrequests True\naiohttp True\nSSLCertVerificationError\n42\n"
    );
}

/// Asks a redis server of this host by redis-py.
const REDIS: &str = "
import sys, threading, redis
client = redis.Redis('10.0.2.2', int(sys.argv[1]), decode_responses=True)
pipeline = client.pipeline()
for number in range(1000):
    pipeline.rpush('list', number)
print(pipeline.execute()[-1], client.lrange('list', 0, 2))
print(client.set('large', 'x' * 1_000_000), client.strlen('large'))
subscriber = client.pubsub()
subscriber.subscribe('news')
subscriber.get_message(timeout=60)
threading.Thread(target=lambda: client.publish('news', 'hello')).start()
print(subscriber.get_message(timeout=60)['data'])
threads = [threading.Thread(target=lambda: [client.incr('count') for _ in range(50)]) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(client.get('count'))
";

#[test]
fn redis_py_asks_redis() {
    let command = ["redis-server", "--port", "80", "--protected-mode", "no"];
    let redis = Server::start(&[], &[&command[..], &["--save", ""]].concat());
    let redis = redis.wait(b"PING\r\nQUIT\r\n");
    let asked = elfin()
        .args(["run", "--cpus", "2", "--image"])
        .arg(image())
        .args(["--", "python3", "-c", REDIS, &redis.port.to_string()])
        .stderr(Stdio::inherit())
        .output();
    let text = String::from_utf8_lossy(&asked.expect("elfin starts").stdout).into_owned();
    let expected = "1000 ['0', '1', '2']\nTrue 1000000\nhello\n400\n";
    assert_eq!(text, expected);
}
