//! Servers and clients as Debian has them, unmodified, each in a machine: this host asks the servers by published
//! ports, and is asked by TLS.

mod clients;
mod compiled;
mod python;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const PACKAGES: &str = "redis-server,nginx-light,nodejs,default-jre-headless,prometheus-node-exporter,\
     python3-aiohttp,python3-uvloop,python3-fastapi,uvicorn,python3-redis,python3-requests,python3-pip-whl";

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

    /// The same of a server that answers.
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

/// A request by HTTP/1.0.
fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.0\r\nHost: server\r\n\r\n").into_bytes()
}

/// A request by HTTP/1.0 that sends something.
fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: server\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
