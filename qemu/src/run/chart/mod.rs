//! `elfin run --boot-chart FILE.svg`: what happened when, from elfin's start to QEMU's end.
//!
//! The kernel keeps a record in memory and sends it at the machine's end (`kernel/machine/src/record.rs`); [`record`]
//! reads it, [`draw`] makes a picture of it. The guest's clock counts from the machine's reset. When that was shows in
//! when the record comes, which begins with the guest's time.

mod draw;
mod record;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::record::Record;

/// What the machine has sent.
#[derive(Default)]
pub(super) struct Received {
    /// When the first of it came.
    first: Option<Instant>,
    /// When the last of it has come.
    pub(super) last: Option<Instant>,
    pub(super) bytes: Vec<u8>,
}

/// Takes what the machine sends, to its end.
pub(super) fn receive(mut from: impl Read) -> Received {
    let mut received = Received::default();
    let mut byte = [0];
    // Not a whole buffer: what counts is when the first byte comes.
    if from.read_exact(&mut byte).is_ok() {
        received.first = Some(Instant::now());
        received.bytes.extend(byte);
        let mut buffer = [0; 4096];
        // What is missing shows in the record.
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            received.bytes.extend_from_slice(&buffer[..count]);
            received.last = Some(Instant::now());
        }
    }
    received
}

/// When what elfin itself knows of happened.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// elfin was started.
    pub(super) start: Instant,
    /// It has started QEMU.
    pub(super) qemu: Instant,
    /// The record has come.
    pub(super) sent: Instant,
    /// QEMU has ended.
    pub(super) end: Instant,
}

/// Draws the chart of a run, with a title.
pub(super) fn write(file: &Path, title: &str, times: Times, received: &Received) -> Result<()> {
    let record = received.first.and_then(|first| {
        let record = Record::parse(&received.bytes)?;
        let reset = first.checked_sub(Duration::from_nanos(record.now))?;
        Some((record, reset.max(times.qemu)))
    });
    let (record, reset) = record.context("no boot chart: the machine has ended without a word")?;
    let chart = draw::Chart::new(title, times, reset, &record);
    fs::write(file, chart.svg())
        .with_context(|| format!("cannot write the boot chart {}", file.display()))
}
