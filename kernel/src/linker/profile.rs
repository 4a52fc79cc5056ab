//! `elfin run --profile`: where the program of the first process is, time and again. Stacks are counted as addresses;
//! names come at the end.

use super::unwind::{self, Frame, Objects};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use machine::arch::TrapFrame;
use machine::sync::SpinLock;

/// Different stacks that are kept.
const MOST: usize = 16 << 10;

/// How often each stack was met, innermost frame first.
static STACKS: SpinLock<BTreeMap<Vec<Frame>, u32>> = SpinLock::new(BTreeMap::new());

/// Counts the stack of the interrupted program.
pub(crate) fn sample(frame: &TrapFrame) {
    let frames = unwind::frames(&Objects::now(), frame);
    let mut stacks = STACKS.lock();
    if stacks.len() < MOST || stacks.contains_key(&frames) {
        *stacks.entry(frames).or_default() += 1;
    }
}

/// A line for each stack: how often it was met, and its functions, outermost first.
pub(crate) fn lines() -> String {
    let stacks = core::mem::take(&mut *STACKS.lock());
    let mut all: Vec<Frame> = stacks.keys().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    let places = Objects::now().places(&all);
    let names: BTreeMap<Frame, &str> = all
        .iter()
        .copied()
        .zip(places.iter().map(|text| function(text)))
        .collect();
    let mut lines = String::new();
    for (frames, count) in &stacks {
        let frames = frames
            .iter()
            .rev()
            .filter_map(|frame| names.get(frame).copied());
        let frames: Vec<&str> = frames.collect();
        lines += &format!("sample {count} {}\n", frames.join(";"));
    }
    lines
}

/// What is left of `NAME+OFFSET (OBJECT+OFFSET)` without the offsets: the name, or else the object.
fn function(place: &str) -> &str {
    let name = match place.split_once(" (") {
        Some((name, _)) => name,
        None => place.trim_start_matches('(').trim_end_matches(')'),
    };
    name.rsplit_once("+0x").map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::function;

    #[test]
    fn places_become_functions() {
        for (place, name) in [
            ("main+0x12 (/bin/a+0x1012)", "main"),
            ("(/usr/lib/libx.so+0x99)", "/usr/lib/libx.so"),
            ("(anonymous memory)", "anonymous memory"),
        ] {
            assert_eq!(function(place), name);
        }
    }
}
