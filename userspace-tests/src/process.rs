//! Running a program to its end or to its time limit, with everything it prints.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const INTERVAL: Duration = Duration::from_millis(5);
/// What is kept of a stream; a program gone wild shall not eat the machine.
const MOST: usize = 64 << 20;

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Its exit status, 128 + the signal's number if one killed it; `None` if it had to be stopped.
    pub exit: Option<i32>,
}

/// Runs `command` with `stdin` for input and `limit` to end within. With `close_stdout_after`, nobody reads standard
/// output any more after so many bytes.
///
/// # Errors
/// Programs that cannot be started.
pub fn run(
    mut command: Command,
    stdin: Vec<u8>,
    close_stdout_after: Option<usize>,
    limit: Duration,
) -> io::Result<Outcome> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // One signal shall end the program with all it has started.
        .process_group(0)
        .spawn()?;
    let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    // A program need not read its input, so a broken pipe here means nothing.
    thread::spawn(move || drop(input.write_all(&stdin)));
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let stdout = Collector::start(stdout, close_stdout_after);
    let stderr = Collector::start(stderr, None);
    let deadline = Instant::now() + limit;
    let exit = wait(&mut child, deadline)?;
    if exit.is_none() {
        stop(&mut child)?;
    }
    Ok(Outcome {
        stdout: stdout.finish(),
        stderr: stderr.finish(),
        exit,
    })
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<i32>> {
    loop {
        if let Some(status) = child.try_wait()? {
            let signal = status.signal().map_or(0, |signal| 128 + signal);
            return Ok(Some(status.code().unwrap_or(signal)));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(INTERVAL);
    }
}

/// Kills the process group.
fn stop(child: &mut Child) -> io::Result<()> {
    let kill = format!("kill -KILL -{}", child.id());
    Command::new("sh").args(["-c", &kill]).status()?;
    child.wait()?;
    Ok(())
}

/// A thread that reads a stream to its end.
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: thread::JoinHandle<()>,
}

impl Collector {
    fn start(mut stream: impl Read + Send + 'static, most: Option<usize>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; most.unwrap_or(1 << 16).min(1 << 16)];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(&buffer[..count]);
                if sink.len() >= most.unwrap_or(MOST) {
                    break;
                }
            }
        });
        Self { bytes, thread }
    }

    /// What came so far. A process that outlives the program may hold the stream open, which is not waited for long.
    fn finish(self) -> Vec<u8> {
        let patience = Instant::now() + Duration::from_secs(5);
        while !self.thread.is_finished() && Instant::now() < patience {
            thread::sleep(INTERVAL);
        }
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stdin: &str, limit: u64) -> Outcome {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let limit = Duration::from_secs(limit);
        run(command, stdin.into(), None, limit).unwrap()
    }

    #[test]
    fn ends() {
        let outcome = shell("cat; echo e >&2; exit 3", "in", 10);
        assert_eq!(outcome.stdout, b"in");
        assert_eq!(outcome.stderr, b"e\n");
        assert_eq!(outcome.exit, Some(3));
        assert_eq!(shell("kill -SEGV $$", "", 10).exit, Some(139));
    }

    #[test]
    fn the_time_limit_ends_all_of_a_group() {
        let outcome = shell("echo begun; sleep 60 & sleep 60", "", 1);
        assert_eq!(outcome.stdout, b"begun\n");
        assert_eq!(outcome.exit, None);
    }
}
