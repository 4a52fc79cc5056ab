//! `elfin run --trace`: each system call with its arguments and result, like strace.

use super::table::{self, Kind};
use crate::fs;
use abi::{Errno, SysResult};
use alloc::format;
use alloc::string::String;
use machine::mm::user;
use machine::sched;

/// Bytes of a string that are shown.
const SHOWN: usize = 64;

fn argument(kind: Kind, value: usize) -> String {
    match kind {
        Kind::Int => format!("{}", value as i32),
        Kind::Size => format!("{value}"),
        Kind::Hex => format!("{value:#x}"),
        Kind::Octal => format!("{value:#o}"),
        Kind::Pointer if value == 0 => String::from("NULL"),
        Kind::Pointer => format!("{value:#x}"),
        Kind::String => match user::read_cstr(value, 4096) {
            Ok(text) if text.len() > SHOWN => format!("\"{}\"...", text[..SHOWN].escape_ascii()),
            Ok(text) => format!("\"{}\"", text.escape_ascii()),
            Err(_) => format!("{value:#x}"),
        },
        Kind::Fd if value as i32 == linux_raw_sys::general::AT_FDCWD => String::from("AT_FDCWD"),
        Kind::Fd => format!("{}", value as i32),
    }
}

/// The call as text, taken before it is made. Calls that do not return are shown at once.
pub(super) fn call(number: usize, arguments: &[usize; 6]) -> String {
    let mut text = format!("[{}] {}(", sched::current_tid(), table::name(number));
    for (index, (&kind, &value)) in table::kinds(number).iter().zip(arguments).enumerate() {
        if index != 0 {
            text.push_str(", ");
        }
        text.push_str(&argument(kind, value));
    }
    text.push(')');
    if table::never_returns(number) {
        text.push('\n');
        fs::write_stderr(text.as_bytes());
    }
    text
}

/// Shows a call with its result.
pub(super) fn result(call: &str, result: SysResult) {
    let line = match result {
        Ok(value) if value < 1 << 20 => format!("{call} = {value}\n"),
        Ok(value) => format!("{call} = {value:#x}\n"),
        Err(errno @ (Errno::ERESTARTSYS | Errno::ERESTARTNOHAND | Errno::ERESTARTNOINTR)) => {
            format!("{call} = ? {} (interrupted)\n", errno.name())
        }
        Err(errno) => format!("{call} = -1 {} ({})\n", errno.name(), errno.text()),
    };
    fs::write_stderr(line.as_bytes());
}
