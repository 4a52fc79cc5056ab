//! `/proc/PID/cmdline` and `environ`: what lies where the arguments and the environment were put, whoever has
//! written to it since. Servers write there what they do, for ps(1) to show.
use crate::process::Process;
use alloc::vec::Vec;
use core::ops::Range;
use machine::mm::{
    PAGE,
    space::{Access, Space},
};

/// What is in memory of a range.
fn read(space: &Space, range: Range<usize>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; range.len()];
    let len = space.read(range.start, &mut bytes, Access::Checked);
    bytes.truncate(len);
    bytes
}

/// The arguments, each with a NUL. Nothing of a process that has ended.
pub(super) fn cmdline(process: &Process) -> Vec<u8> {
    let Some(space) = process.space() else {
        return Vec::new();
    };
    let program = process.program();
    let Range { start, end } = program.arguments;
    if start == end {
        return program.cmdline.clone();
    }
    let arguments = read(&space, start..end);
    if arguments.last() == Some(&0) {
        return arguments;
    }
    // A title that is as long as they were, or longer, and goes on in the environment.
    let mut title = read(&space, start..start.saturating_add(PAGE));
    if let Some(last) = title.iter().position(|&byte| byte == 0) {
        title.truncate(last + 1);
    }
    title
}

/// The environment, each setting with a NUL.
pub(super) fn environ(process: &Process) -> Vec<u8> {
    let Some(space) = process.space() else {
        return Vec::new();
    };
    let program = process.program();
    if program.environment.is_empty() {
        return program.environ.clone();
    }
    read(&space, program.environment.clone())
}
