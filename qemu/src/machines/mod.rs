//! Machines of this user, whoever has started them: `elfin ps`, `stop`, `kill` and `logs`, what `elfin exec` needs to
//! reach one, and `elfin run` to be one of them.
//!
//! Each `elfin run` looks after its own machine, and others ask it over a socket (`registry.rs`): there is no daemon.

mod about;
mod log;
mod registry;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

pub(crate) use self::about::About;
pub(crate) use self::log::{Stream, create as create_log};
pub(crate) use self::registry::{Entry, Remembered};
use self::registry::{Known, Registry};
use crate::message::{self, Message};
use crate::shell;

/// The status of a machine whose elfin was killed.
const KILLED: u8 = 137;

/// Makes a machine known to others.
pub(crate) fn enter(mut about: About, remembered: Remembered) -> Result<Entry> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    about.created = now.unwrap_or_default().as_secs();
    Registry::open()?.enter(&about, remembered)
}

/// The elfin that runs the machine that is meant.
pub(crate) fn connect(wish: &str) -> Result<UnixStream> {
    Registry::open()?.find(wish)?.connect()
}

/// `elfin ps`: one line for each machine.
pub(crate) fn list(all: bool, quiet: bool) -> Result<u8> {
    let mut rows = Vec::new();
    if !quiet {
        let titles = ["MACHINE", "NAME", "STATUS", "IMAGE", "PORTS", "COMMAND"];
        rows.push(titles.map(str::to_owned));
    }
    for machine in Registry::open()?.all()? {
        let runs = machine.runs();
        let is_meant = runs || all && machine.about.detached;
        if !is_meant {
            continue;
        }
        let about = &machine.about;
        let status = match (runs, machine.end()) {
            (true, _) => format!("up {}", words(machine.age())),
            (false, Some((status, when))) => {
                let since = when.elapsed().unwrap_or_default();
                format!("ended ({status}) {} ago", words(since))
            }
            (false, None) => "killed".to_owned(),
        };
        rows.push([
            machine.id.clone(),
            about.name.clone().unwrap_or_default(),
            status,
            shell::quote(&about.image),
            about.ports.join(","),
            shell::line(&about.command),
        ]);
    }
    let mut out = std::io::stdout().lock();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        if quiet {
            writeln!(out, "{}", row[0])?;
            continue;
        }
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(0)
}

/// A time in its largest unit.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86400 => (seconds / 3600, "hour"),
        _ => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// `elfin stop`: has programs end, and waits until their machines have.
pub(crate) fn stop(wishes: &[String], seconds: Option<u32>) -> Result<u8> {
    let payload = seconds.map(u32::to_le_bytes);
    let payload = payload.as_ref().map_or(&[][..], |bytes| bytes);
    for_each(wishes, |machine| {
        // As with docker, it is enough that it does not run.
        match machine.runs() {
            true => ask(machine, &Message::new(message::STOP, payload)),
            false => Ok(()),
        }
    })
}

/// `elfin kill`: sends programs a signal.
pub(crate) fn kill(wishes: &[String], signal: u32) -> Result<u8> {
    let message = Message::new(message::SIGNAL, &signal.to_le_bytes());
    for_each(wishes, |machine| ask(machine, &message))
}

/// Does something with each of the machines, and prints what the user calls them; goes on where it fails.
fn for_each(wishes: &[String], action: impl Fn(&Known) -> Result<()>) -> Result<u8> {
    let registry = Registry::open()?;
    let mut failed = None;
    for wish in wishes {
        match registry.find(wish).and_then(|machine| action(&machine)) {
            Ok(()) => writeln!(std::io::stdout(), "{wish}")?,
            Err(error) => {
                if let Some(before) = failed.replace(error) {
                    eprintln!("elfin: {before:#}");
                }
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(0),
    }
}

/// Says something to the elfin that runs a machine, and waits until that has done it.
fn ask(machine: &Known, message: &Message) -> Result<()> {
    let mut stream = machine.connect()?;
    let name = machine.name();
    message
        .write(&mut stream)
        .with_context(|| format!("cannot reach machine {name}"))?;
    // It closes the connection then, or ends.
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(())
}

/// `elfin wait`: prints how each of the machines has ended, once it has.
pub(crate) fn wait(wishes: &[String]) -> Result<u8> {
    let registry = Registry::open()?;
    for wish in wishes {
        let machine = registry.find(wish)?;
        if !machine.about.detached {
            bail!("machine {wish} is not detached: its status is where it was started");
        }
        machine.wait()?;
        let ended = machine.end().map(|(status, _)| status);
        if ended.is_none() && !machine.dir.exists() {
            bail!("machine {wish} has ended, and was started with --rm: nothing is known of it");
        }
        writeln!(std::io::stdout(), "{}", ended.unwrap_or(KILLED))?;
    }
    Ok(0)
}

/// `elfin rm`: forgets machines that have ended; with `force` others are killed.
pub(crate) fn remove(wishes: &[String], force: bool) -> Result<u8> {
    for_each(wishes, |machine| {
        if machine.runs() {
            let name = machine.name();
            if !force {
                bail!(
                    "machine {name} runs: `elfin stop {name}` ends it, `elfin rm -f {name}` kills it"
                );
            }
            let signal = rustix::process::Signal::KILL.as_raw().to_le_bytes();
            ask(machine, &Message::new(message::SIGNAL, &signal))?;
            machine.wait()?;
        }
        machine.forget()
    })
}

/// Leaves the last so many lines of records, whichever stream they went to.
fn keep_last_lines(records: &mut Vec<(u8, Vec<u8>)>, lines: usize) {
    let mut left = lines;
    // The newline at the end ends the last line and begins none.
    let mut is_end = true;
    for index in (0..records.len()).rev() {
        let bytes = &mut records[index].1;
        for at in (0..bytes.len()).rev() {
            let begins_line = !std::mem::take(&mut is_end) && bytes[at] == b'\n';
            left -= usize::from(begins_line && left > 0);
            if left == 0 {
                bytes.drain(..=at);
                records.drain(..index);
                return;
            }
        }
    }
}

/// `elfin logs`: the output of a detached machine, of what there is the last `tail` lines, and with `follow` what is
/// still to come.
pub(crate) fn logs(wish: &str, follow: bool, tail: Option<usize>) -> Result<u8> {
    let machine = Registry::open()?.find(wish)?;
    if !machine.about.detached {
        bail!("machine {wish} is not detached: its output is where it was started");
    }
    let watch = inotify::init(CreateFlags::CLOEXEC).context("cannot watch a log")?;
    // What is written, the other file after that, and the end of who has the lock, which is open for writing.
    let events =
        WatchFlags::MODIFY | WatchFlags::MOVE | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE;
    inotify::add_watch(&watch, &machine.dir, events).context("cannot watch a log")?;
    let context = || anyhow!("cannot read the log of machine {wish}");
    let mut reader = log::Reader::open(&machine.dir).with_context(context)?;
    let mut records = Vec::new();
    if let Some(lines) = tail {
        while let Some(record) = reader.next().with_context(context)? {
            records.push(record);
        }
        keep_last_lines(&mut records, lines);
    }
    let mut records = records.into_iter();
    loop {
        // In this order: what is written before the end is read after it has been seen.
        let ends = !follow || !machine.runs();
        let mut next = || match records.next() {
            None => reader.next(),
            record => Ok(record),
        };
        while let Some((stream, bytes)) = next().with_context(context)? {
            let written = match stream {
                2 => std::io::stderr().write_all(&bytes),
                _ => std::io::stdout()
                    .write_all(&bytes)
                    .and_then(|()| std::io::stdout().flush()),
            };
            match written {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
                written => written.context("cannot write the log")?,
            }
        }
        if ends {
            return Ok(0);
        }
        let mut events = [0; 4096];
        rustix::io::read(&watch, &mut events).context("cannot watch a log")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines() {
        let left = |lines, records: &[(u8, &[u8])]| {
            let owned = records
                .iter()
                .map(|&(stream, bytes)| (stream, bytes.to_vec()));
            let mut records: Vec<_> = owned.collect();
            keep_last_lines(&mut records, lines);
            let text: Vec<u8> = records.into_iter().flat_map(|(_, bytes)| bytes).collect();
            String::from_utf8(text).unwrap()
        };
        let records: [(u8, &[u8]); 3] = [(1, b"one\ntwo\nth"), (2, b"ree\n"), (1, b"four\n")];
        assert_eq!(left(0, &records), "");
        assert_eq!(left(1, &records), "four\n");
        assert_eq!(left(2, &records), "three\nfour\n");
        assert_eq!(left(9, &records), "one\ntwo\nthree\nfour\n");
        assert_eq!(left(1, &[(1, b"one\ntwo")]), "two");
    }

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "1 minute"),
            (7200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }
}
