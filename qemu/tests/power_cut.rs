//! What a volume holds when the machine, or the power, goes away in the midst of things.

#[path = "support/kill.rs"]
mod kill;
#[path = "support/program.rs"]
mod program;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use program::program;
use support::{Volumes, text};

const SECTOR: usize = 512;
const SIZE: &str = "16M";

fn ledger() -> tempfile::TempDir {
    program(include_str!("ledger.c"), &["-static", "-D_GNU_SOURCE"])
}

fn arguments(root: &Path, rounds: u32) -> Vec<String> {
    let root = root.display().to_string();
    let rounds = rounds.to_string();
    let all = [
        "run",
        "--cpus",
        "1",
        "-v",
        "cut:/data",
        "--root",
        &root,
        "/program",
        "/data",
        &rounds,
    ];
    all.map(str::to_owned).to_vec()
}

#[test]
fn a_machine_that_is_killed_loses_no_record() {
    let (volumes, root) = (Volumes::new(), ledger());
    assert!(
        volumes
            .elfin(&["volume", "create", "cut", "--size", SIZE])
            .status
            .success()
    );
    let mut last = 0;
    // Each machine replays the journal itself, and checks what the one before has left.
    for round in 0..4 {
        let mut command = volumes.command();
        command.args(arguments(root.path(), 1000));
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("elfin starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let seen = lines.map(|line| line.expect("a line").parse::<u32>().expect("a number"));
        let newest = seen.take(3 + round * 5).last().expect("it keeps records");
        assert!(newest > last, "{newest} after {last}");
        last = newest;
        kill::kill(child);
    }
    volumes.is_sound("cut");
    let output = volumes.command().args(arguments(root.path(), 1)).output();
    let output = output.expect("elfin starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout)
            .trim()
            .parse::<u32>()
            .expect("a number")
            > last
    );
}

/// What the disk was asked, as QEMU's `blklogwrites` writes it down (the format of Linux' dm-log-writes).
struct Entry {
    sector: usize,
    data: Vec<u8>,
    is_flush: bool,
}

fn entries(log: &Path) -> Vec<Entry> {
    const FLUSH: usize = 1;
    const DISCARD: usize = 4;
    let log = fs::read(log).expect("QEMU's log");
    let number = |at: usize| {
        let bytes = log[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes) as usize
    };
    let mut at = SECTOR;
    let mut entries = Vec::new();
    for _ in 0..number(16) {
        let (sector, sectors, flags) = (number(at), number(at + 8), number(at + 16));
        let len = if flags & DISCARD == 0 {
            sectors * SECTOR
        } else {
            0
        };
        let data = log[at + SECTOR..at + SECTOR + len].to_vec();
        at += SECTOR + len;
        let is_flush = flags & FLUSH != 0;
        entries.push(Entry {
            sector,
            data,
            is_flush,
        });
    }
    entries
}

/// Checks a disk as the power cut has left it.
fn check(image: &Path, out: &Path, what: &str) {
    support::is_sound(image, what);
    fs::remove_dir_all(out).ok();
    fs::create_dir(out).expect("own directory");
    let request = format!("rdump / {}", out.display());
    let mut dump = Command::new("/sbin/debugfs");
    assert!(
        dump.arg("-R")
            .arg(request)
            .arg(image)
            .output()
            .expect("debugfs starts")
            .status
            .success()
    );
    let files: BTreeMap<String, Vec<u8>> = fs::read_dir(out)
        .expect("own directory")
        .map(|entry| entry.expect("own directory"))
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            (
                text(entry.file_name().as_encoded_bytes()),
                fs::read(entry.path()).expect("own file"),
            )
        })
        .collect();
    let number = |name: &str| {
        let bytes = files.get(name).and_then(|file| file.get(..7));
        bytes.map_or(0, |bytes| text(bytes).parse::<usize>().unwrap_or(0))
    };
    let filled = |number: usize, len: usize| {
        format!("{number:07}\n").repeat(len / 8 + 1).into_bytes()[..len].to_vec()
    };
    let marked = number("mark");
    let log = files.get("log").map_or(&[][..], Vec::as_slice);
    for at in 1..=marked {
        let record = log.get((at - 1) * 3000..at * 3000);
        assert!(
            record == Some(&filled(at, 3000)[..]),
            "{what}: record {at} of {marked} is lost"
        );
    }
    assert!(
        number("snapshot") >= marked - marked % 3,
        "{what}: the snapshot is lost"
    );
    for (name, file) in &files {
        // What was not synchronised may be missing, but is nobody else's.
        if let Some(number) = name.strip_prefix("scratch-") {
            let own = filled(number.parse().expect("a number"), file.len());
            let foreign = file
                .iter()
                .zip(&own)
                .position(|(found, own)| found != own && *found != 0);
            assert!(
                foreign.is_none(),
                "{what}: {name} has something else at {foreign:?}"
            );
        }
    }
}

#[test]
fn a_power_cut_at_any_flush_loses_nothing_that_was_synchronised() {
    let (volumes, root) = (Volumes::new(), ledger());
    assert!(
        volumes
            .elfin(&["volume", "create", "cut", "--size", SIZE])
            .status
            .success()
    );
    let image = volumes.image("cut");
    let dir = tempfile::tempdir().expect("directory");
    let at = |name: &str| dir.path().join(name);
    fs::copy(&image, at("before")).expect("own file");
    let mut command = volumes.command();
    let mut all = arguments(root.path(), 6);
    all.insert(1, "--dry-run".to_owned());
    let line = command.args(all).output().expect("elfin starts").stdout;
    let line = text(&line);
    let log = at("log");
    File::create(&log).expect("own file");
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let drive = words
        .iter()
        .position(|word| word.starts_with(&format!("file={}", image.display())));
    let drive = drive.expect("the volume's drive");
    words[drive - 1] = "-blockdev".to_owned();
    words[drive] = format!(
        "driver=blklogwrites,node-name=v0,log-sector-size={SECTOR},log.driver=file,log.filename={},\
         file.driver=file,file.filename={}",
        log.display(),
        image.display()
    );
    let run = Command::new(&words[0])
        .args(&words[1..])
        .output()
        .expect("QEMU starts");
    assert!(text(&run.stdout).ends_with("6\n"), "{}", text(&run.stderr));
    let entries = entries(&log);
    let mut disk = File::options()
        .read(true)
        .write(true)
        .open(at("before"))
        .expect("own file");
    let put = |disk: &File, entry: &Entry| {
        disk.write_all_at(&entry.data, (entry.sector * SECTOR) as u64)
            .expect("own file");
    };
    // What was written between two flushes may have reached the disk or not: here each write by the throw of a die.
    let mut die = 1_u32;
    let mut lucky = || {
        die = die.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        die & 0x8000_0000 != 0
    };
    let intervals: Vec<&[Entry]> = entries.split_inclusive(|entry| entry.is_flush).collect();
    assert!(intervals.len() > 20, "{} flushes", intervals.len());
    for (number, interval) in intervals.iter().enumerate() {
        for some in [false, true] {
            let cut = at("cut");
            disk.seek(SeekFrom::Start(0)).expect("own file");
            let mut bytes = Vec::new();
            disk.read_to_end(&mut bytes).expect("own file");
            let mut copy = File::create(&cut).expect("own file");
            copy.write_all(&bytes).expect("own file");
            if some {
                interval
                    .iter()
                    .filter(|_| lucky())
                    .for_each(|entry| put(&copy, entry));
            }
            let what = format!(
                "flush {number}, {}",
                if some { "some of the next" } else { "none" }
            );
            check(&cut, &at("out"), &what);
        }
        interval.iter().for_each(|entry| put(&disk, entry));
    }
    check(&at("before"), &at("out"), "the end");
}
