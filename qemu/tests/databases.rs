//! Databases as Debian has them, with their data in volumes and directories of the host, in machines that are killed.

#[path = "support/kill.rs"]
mod kill;
#[path = "support/libraries.rs"]
mod libraries;
#[path = "support/program.rs"]
mod program;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Volumes, text};
use tempfile::TempDir;

/// Machines that are killed; `ROUNDS` says another number.
const ROUNDS: u32 = 24;

/// Numbers in no order to be seen, the same each time.
struct Die(u32);

impl Die {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % end
    }
}

/// A directory with `transactions.c` as a program.
fn transactions() -> TempDir {
    let library = ["-Wl,--no-as-needed", "-l:libsqlite3.so.0"];
    let root = program::program(include_str!("transactions.c"), &library);
    libraries::copy(root.path());
    root
}

fn no_committed_row_is_lost(volumes: &Volumes, volume: &str, rounds: u32) {
    let root = transactions();
    let mut die = Die(rounds);
    let mut last = 0;
    for round in 0..rounds {
        let mode = ["delete", "truncate", "persist", "wal"][die.below(4) as usize];
        let mut command = volumes.command();
        command.args(["run", "--cpus", "1", "-v", volume, "--root"]);
        command.arg(root.path());
        command.args(["/program", "/data", "1000000", mode]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut next = || {
            let line = lines.next().expect("the program goes on");
            line.expect("a line").parse::<u32>().expect("a number")
        };
        let found = next();
        assert!(found >= last, "round {round}, {mode}: {found} after {last}");
        last = found;
        for _ in 0..die.below(12) {
            last = next();
        }
        std::thread::sleep(Duration::from_micros(die.below(8000).into()));
        kill::kill(child);
    }
    let root = root.path().display().to_string();
    let run = ["run", "--cpus", "1", "-v", volume, "--root", &root];
    let output = volumes.elfin(&[&run[..], &["/program", "/data", "0", "delete"]].concat());
    let found = text(&output.stdout).trim().parse::<u32>();
    assert!(found.is_ok_and(|found| found >= last), "{output:?}");
}

fn rounds() -> u32 {
    std::env::var("ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"))
}

#[test]
fn sqlite_in_a_volume_loses_no_committed_row() {
    let volumes = Volumes::new();
    no_committed_row_is_lost(&volumes, "bank:/data", rounds());
    volumes.is_sound("bank");
}

#[test]
fn sqlite_in_a_directory_of_the_host_loses_no_committed_row() {
    let dir = tempfile::tempdir().expect("directory");
    let volume = format!("{}:/data", dir.path().display());
    no_committed_row_is_lost(&Volumes::new(), &volume, rounds() / 3);
}

/// What the other databases are of.
const PACKAGES: &str = "redis-server,postgresql,python3-psycopg2";

/// The image that they are in, made once.
fn image() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (image, stamp) = (dir.join("databases.img"), dir.join("databases.stamp"));
    let lock = fs::File::create(dir.join("databases.lock")).expect("own directory");
    lock.lock().expect("it can be locked");
    if fs::read_to_string(&stamp).is_ok_and(|packages| packages == PACKAGES) {
        return image;
    }
    let mut build = Command::new(env!("CARGO_BIN_EXE_elfin"));
    let built = build.args(["build", "--deb", PACKAGES, "-o"]).arg(&image);
    assert!(built.status().expect("elfin starts").success());
    fs::write(stamp, PACKAGES).expect("own directory");
    image
}

/// Answers of a redis server in a machine of its own to commands, which it has on the disk when it answers.
struct Redis {
    child: Child,
    stream: BufReader<TcpStream>,
}

impl Redis {
    fn start(volumes: &Volumes, volume: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let publish = format!("127.0.0.1:{port}:6379");
        let mut command = volumes.command();
        command.args(["run", "--cpus", "1", "-p", &publish, "-v", volume]);
        command.arg("--image").arg(image()).arg("--");
        command.args([
            "redis-server",
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
        ]);
        command.args([
            "--dir",
            "/var/lib/redis",
            "--save",
            "",
            "--appendonly",
            "yes",
        ]);
        command.args(["--appendfsync", "always"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().expect("elfin starts");
        // A published port takes connections before the program listens, and ends them.
        loop {
            assert!(
                child.try_wait().expect("own child").is_none(),
                "it has ended"
            );
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                let mut stream = BufReader::new(stream);
                if ask(&mut stream, "PING").is_ok_and(|answer| answer == "+PONG") {
                    return Self { child, stream };
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn says(&mut self, command: &str) -> String {
        ask(&mut self.stream, command).expect("it answers")
    }
}

fn ask(stream: &mut BufReader<TcpStream>, command: &str) -> std::io::Result<String> {
    write!(stream.get_mut(), "{command}\r\n")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

#[test]
fn redis_keeps_what_it_has_answered_for() {
    let (volumes, dir) = (Volumes::new(), tempfile::tempdir().expect("directory"));
    let host = format!("{}:/var/lib/redis", dir.path().display());
    for volume in ["redis:/var/lib/redis", &host] {
        let mut kept = 0;
        for _ in 0..3 {
            let mut server = Redis::start(&volumes, volume);
            assert_eq!(server.says("DBSIZE"), format!(":{kept}"), "{volume}");
            for _ in 0..50 {
                kept += 1;
                assert_eq!(server.says(&format!("SET key{kept} {kept}")), "+OK");
            }
            kill::kill(server.child);
        }
    }
    volumes.is_sound("redis");
}

/// Starts the cluster that Debian's package has made, and adds rows to a table, having said how many there are. Not by
/// `pg_ctl -w`: that takes the file of a server which was killed two seconds ago, and had the same process id, for the
/// new one's.
const POSTGRES: &str = r"
    version=$(ls /usr/lib/postgresql)
    PATH=/usr/lib/postgresql/$version/bin:$PATH
    PGDATA=/var/lib/postgresql/$version/main
    export PGDATA
    postgres -c config_file=/etc/postgresql/$version/main/postgresql.conf 2> /tmp/log &
    until pg_isready -q; do kill -0 $! || { cat /tmp/log; exit 1; }; sleep 0.1; done
    psql -Atqc 'create table if not exists kept (row int primary key)' 2> /tmp/out
    psql -Atc 'select count(*) from kept where row between 1 and (select count(*) from kept)'
    last=$(psql -Atc 'select coalesce(max(row), 0) from kept')
    for row in $(seq $((last + 1)) $((last + 10000))); do
        echo 'insert into kept values ('$row') returning row;'
    done | psql -Atq";

#[test]
fn postgresql_keeps_what_it_has_committed() {
    let volumes = Volumes::new();
    let mut kept = 0;
    for _ in 0..3 {
        let mut command = volumes.command();
        command.args(["run", "--cpus", "2", "--user", "postgres"]);
        command.args(["-v", "cluster:/var/lib/postgresql", "--image"]);
        command.arg(image()).args(["--", "/bin/sh", "-c", POSTGRES]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut next = || lines.next().expect("it goes on").expect("a line");
        let found = next();
        assert!(
            found.parse::<u32>().is_ok_and(|found| found >= kept),
            "{found} of {kept}"
        );
        for _ in 0..20 {
            let line = next();
            kept = line.parse().expect(&line);
        }
        kill::kill(child);
    }
    volumes.is_sound("cluster");
}

/// A server that others may ask, with the port of this host that leads to it.
const SERVER: &str = "
    version=$(ls /usr/lib/postgresql)
    printf 'local all all trust\\nhost all all all trust\\n' > /tmp/hba
    exec /usr/lib/postgresql/$version/bin/postgres -D /var/lib/postgresql/$version/main \\
        -c config_file=/etc/postgresql/$version/main/postgresql.conf -c hba_file=/tmp/hba -c listen_addresses='*'";

/// Asks it from another machine, once it answers.
const PSYCOPG: &str = "
import psycopg2, sys, threading, time
def connect():
    return psycopg2.connect(host='10.0.2.2', port=int(sys.argv[1]), user='postgres', dbname='postgres')
while True:
    try:
        first = connect()
        break
    except psycopg2.OperationalError:
        time.sleep(0.1)
with first, first.cursor() as cursor:
    cursor.execute('create table numbers (number int primary key, text text)')
    rows = [(number, 'x' * number) for number in range(1000)]
    cursor.executemany('insert into numbers values (%s, %s)', rows)
def add(number):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute('insert into numbers values (%s, %s)', (number, 'thread'))
threads = [threading.Thread(target=add, args=(number,)) for number in range(1000, 1008)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with first, first.cursor() as cursor:
    cursor.execute('select count(*), sum(length(text)) from numbers')
    print(cursor.fetchone())
try:
    add(1)
except psycopg2.errors.UniqueViolation as error:
    print(error.pgcode)
";

#[test]
fn psycopg_asks_postgresql() {
    let volumes = Volumes::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let mut command = volumes.command();
    command.args(["run", "--cpus", "2", "--user", "postgres", "-p"]);
    command.arg(format!("127.0.0.1:{port}:5432"));
    command.args(["-v", "cluster:/var/lib/postgresql", "--image"]);
    command
        .arg(image())
        .args(["--", "/bin/sh", "-c", SERVER])
        .stderr(Stdio::null());
    let server = command.spawn().expect("elfin starts");
    let mut client = volumes.command();
    client.args(["run", "--cpus", "2", "--image"]).arg(image());
    client.args(["--", "python3", "-c", PSYCOPG, &port.to_string()]);
    let asked = client.stderr(Stdio::inherit()).output();
    kill::kill(server);
    let asked = asked.expect("elfin starts");
    assert_eq!(text(&asked.stdout), "(1008, 499548)\n23505\n");
}
