//! `elfin run --trace`: each system call with its arguments and result, in strace's form, but for constants, which are
//! numbers, and memory that structures are in, which is its address.

use super::table::{self, Kind};
use crate::tty;
use abi::{Errno, SysResult};
use alloc::format;
use alloc::string::String;
use linux_raw_sys::general as linux;
use machine::mm::user;
use machine::sched;
use syscalls::Sysno;

/// Bytes that are shown of what a call is given to write.
const SHOWN: usize = 64;
/// Longest text that is looked for.
const LONGEST: usize = 4096;

/// A string of C.
fn quoted(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for (index, &byte) in text.iter().enumerate() {
        // A digit after it would be taken for one of the number's.
        let digit_follows = text.get(index + 1).is_some_and(u8::is_ascii_digit);
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b'\t' => quoted.push_str("\\t"),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            0x0b => quoted.push_str("\\v"),
            0x0c => quoted.push_str("\\f"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ if digit_follows => quoted.push_str(&format!("\\{byte:03o}")),
            _ => quoted.push_str(&format!("\\{byte:o}")),
        }
    }
    quoted.push('"');
    quoted
}

/// The half of a register that an `int` is in.
fn low(value: usize) -> u32 {
    value as u32
}

fn pointer(value: usize) -> String {
    match value {
        0 => String::from("NULL"),
        value => format!("{value:#x}"),
    }
}

fn bytes(addr: usize, len: usize) -> String {
    let mut buffer = [0; SHOWN];
    let shown = &mut buffer[..len.min(SHOWN)];
    match user::copy_in(addr, shown) {
        Err(_) => pointer(addr),
        Ok(()) if len > SHOWN => quoted(shown) + "...",
        Ok(()) => quoted(shown),
    }
}

/// An argument; `next` is the one after it.
fn argument(kind: Kind, value: usize, next: usize) -> String {
    match kind {
        Kind::String => match user::read_cstr(value, LONGEST) {
            Ok(text) => quoted(&text),
            Err(_) => pointer(value),
        },
        Kind::Bytes => bytes(value, next),
        kind => word(kind, value),
    }
}

/// What a register has by itself: of memory, its address.
fn word(kind: Kind, value: usize) -> String {
    let (int, unsigned) = (low(value).cast_signed(), low(value));
    match kind {
        Kind::Fd if int == linux::AT_FDCWD => String::from("AT_FDCWD"),
        Kind::Int | Kind::Fd => format!("{int}"),
        Kind::Id if unsigned == u32::MAX => String::from("-1"),
        Kind::Unsigned | Kind::Id => format!("{unsigned}"),
        Kind::Long => format!("{}", value.cast_signed()),
        Kind::Size => format!("{value}"),
        Kind::Hex if unsigned == 0 => String::from("0"),
        Kind::LongHex if value == 0 => String::from("0"),
        Kind::Hex => format!("{unsigned:#x}"),
        Kind::LongHex => format!("{value:#x}"),
        Kind::Mode => format!("0{:02o}", unsigned & 0xffff),
        Kind::Pointer | Kind::String | Kind::Bytes => pointer(value),
        Kind::Unused => String::new(),
    }
}

fn is_device(mode: usize) -> bool {
    matches!(low(mode) & linux::S_IFMT, linux::S_IFCHR | linux::S_IFBLK)
}

/// Kinds of a call's arguments. Which there are, and of what kind, depends for some calls on another argument.
fn kinds(number: usize, arguments: &[usize; 6]) -> &'static [Kind] {
    let kinds = table::kinds(number);
    let flags_say = |index: usize, flags: u32| low(arguments[index]) & flags != 0;
    // `O_TMPFILE` has the bit of `O_DIRECTORY`, too.
    let made = linux::O_CREAT | linux::O_TMPFILE & !linux::O_DIRECTORY;
    match Sysno::new(number) {
        Some(Sysno::open) if !flags_say(1, made) => &kinds[..2],
        Some(Sysno::openat) if !flags_say(2, made) => &kinds[..3],
        Some(Sysno::mq_open) if !flags_say(1, linux::O_CREAT) => &kinds[..2],
        Some(Sysno::mknod) if !is_device(arguments[1]) => &kinds[..2],
        Some(Sysno::mknodat) if !is_device(arguments[2]) => &kinds[..3],
        Some(Sysno::mremap) if !flags_say(3, linux::MREMAP_FIXED | linux::MREMAP_DONTUNMAP) => {
            &kinds[..4]
        }
        Some(Sysno::fcntl) => fcntl_kinds(low(arguments[1])).unwrap_or(kinds),
        Some(Sysno::futex) => futex_kinds(low(arguments[1])).unwrap_or(kinds),
        Some(Sysno::prctl) => prctl_kinds(low(arguments[0])).unwrap_or(kinds),
        _ => kinds,
    }
}

fn fcntl_kinds(command: u32) -> Option<&'static [Kind]> {
    Some(match command {
        linux::F_GETFD
        | linux::F_GETFL
        | linux::F_GETOWN
        | linux::F_GETSIG
        | linux::F_GETLEASE
        | linux::F_GETPIPE_SZ
        | linux::F_GET_SEALS => &[Kind::Fd, Kind::Int],
        linux::F_DUPFD
        | linux::F_DUPFD_CLOEXEC
        | linux::F_SETOWN
        | linux::F_SETSIG
        | linux::F_SETLEASE
        | linux::F_SETPIPE_SZ => &[Kind::Fd, Kind::Int, Kind::Int],
        linux::F_SETFD | linux::F_SETFL | linux::F_NOTIFY | linux::F_ADD_SEALS => {
            &[Kind::Fd, Kind::Int, Kind::Hex]
        }
        _ => return None,
    })
}

fn futex_kinds(operation: u32) -> Option<&'static [Kind]> {
    use Kind::{Hex, Pointer, Unsigned, Unused};
    Some(
        match operation & !(linux::FUTEX_PRIVATE_FLAG | linux::FUTEX_CLOCK_REALTIME) {
            linux::FUTEX_WAIT => &[Pointer, Hex, Unsigned, Pointer],
            linux::FUTEX_WAKE => &[Pointer, Hex, Unsigned],
            linux::FUTEX_REQUEUE => &[Pointer, Hex, Unsigned, Unsigned, Pointer],
            linux::FUTEX_CMP_REQUEUE | linux::FUTEX_CMP_REQUEUE_PI => {
                &[Pointer, Hex, Unsigned, Unsigned, Pointer, Unsigned]
            }
            linux::FUTEX_WAKE_OP => &[Pointer, Hex, Unsigned, Unsigned, Pointer, Hex],
            linux::FUTEX_WAIT_BITSET => &[Pointer, Hex, Unsigned, Pointer, Unused, Hex],
            linux::FUTEX_WAKE_BITSET => &[Pointer, Hex, Unsigned, Unused, Unused, Hex],
            linux::FUTEX_WAIT_REQUEUE_PI => &[Pointer, Hex, Unsigned, Pointer, Pointer],
            linux::FUTEX_LOCK_PI | linux::FUTEX_LOCK_PI2 => &[Pointer, Hex, Unused, Pointer],
            linux::FUTEX_TRYLOCK_PI | linux::FUTEX_UNLOCK_PI => &[Pointer, Hex],
            _ => return None,
        },
    )
}

fn prctl_kinds(option: u32) -> Option<&'static [Kind]> {
    /// From Linux' prctl.h.
    const PR_SET_NAME: u32 = 15;
    const PR_GET_NAME: u32 = 16;
    match option {
        PR_SET_NAME => Some(&[Kind::Int, Kind::String]),
        PR_GET_NAME => Some(&[Kind::Int, Kind::Pointer]),
        _ => None,
    }
}

/// The call as text, taken before it is made. Calls that do not return are shown at once.
pub(super) fn call(number: usize, arguments: &[usize; 6]) -> String {
    let mut text = format!("[{}] {}(", sched::current_tid(), table::name(number));
    let mut separator = "";
    for (index, &kind) in kinds(number, arguments).iter().enumerate() {
        if kind != Kind::Unused {
            let next = arguments.get(index + 1).copied().unwrap_or(0);
            text.push_str(separator);
            text.push_str(&argument(kind, arguments[index], next));
            separator = ", ";
        }
    }
    text.push(')');
    if table::never_returns(number) {
        tty::stream::write_stderr(format!("{text} = ?\n").as_bytes());
    }
    text
}

/// What a call's result is.
fn result_kind(number: usize, arguments: &[usize; 6]) -> Kind {
    match Sysno::new(number) {
        Some(Sysno::brk | Sysno::mmap | Sysno::mremap) => Kind::Pointer,
        Some(Sysno::umask) => Kind::Mode,
        Some(Sysno::personality) => Kind::Hex,
        Some(Sysno::fcntl) if low(arguments[1]) == linux::F_GETFL => Kind::Hex,
        _ => Kind::Long,
    }
}

/// rt_sigreturn(2) gives back what the interrupted call has left in the register, which may be an error.
fn error_in_register(value: usize) -> SysResult {
    match value.cast_signed() {
        error @ -4095..=-1 => Err(Errno(-(error as i32))),
        _ => Ok(value),
    }
}

/// Shows a call with its result.
pub(super) fn result(number: usize, arguments: &[usize; 6], call: &str, result: SysResult) {
    let line = match result.and_then(error_in_register) {
        Ok(value) => format!("{call} = {}\n", word(result_kind(number, arguments), value)),
        Err(
            errno @ (Errno::ERESTARTSYS
            | Errno::ERESTARTNOINTR
            | Errno::ERESTARTNOHAND
            | Errno::ERESTART_RESTARTBLOCK),
        ) => format!("{call} = ? {} ({})\n", errno.name(), errno.text()),
        Err(errno) => format!("{call} = -1 {} ({})\n", errno.name(), errno.text()),
    };
    tty::stream::write_stderr(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_in_c() {
        assert_eq!(quoted(b"it's \"x\\\"\r\n"), r#""it's \"x\\\"\r\n""#);
        assert_eq!(quoted(b"\0\x01\x018\xff"), r#""\0\1\0018\377""#);
    }

    #[test]
    fn what_a_handler_interrupted_may_have_failed() {
        assert_eq!(error_in_register(usize::MAX - 3), Err(Errno::EINTR));
        assert_eq!(error_in_register(7), Ok(7));
    }

    #[test]
    fn numbers_have_the_width_of_their_type() {
        let all = usize::MAX;
        let shown = [
            Kind::Int,
            Kind::Unsigned,
            Kind::Long,
            Kind::Id,
            Kind::Hex,
            Kind::LongHex,
            Kind::Mode,
            Kind::Fd,
        ]
        .map(|kind| word(kind, all));
        let expected = [
            "-1",
            "4294967295",
            "-1",
            "-1",
            "0xffffffff",
            "0xffffffffffffffff",
            "0177777",
            "-1",
        ];
        assert_eq!(shown, expected);
        let zeros = [Kind::Size, Kind::Hex, Kind::Mode, Kind::Pointer].map(|kind| word(kind, 0));
        assert_eq!(zeros, ["0", "0", "000", "NULL"]);
    }

    #[test]
    fn arguments_that_others_make_meaningless_are_not_there() {
        let count = |call: Sysno, arguments: [u32; 4]| {
            let [a, b, c, d] = arguments.map(|argument| argument as usize);
            let kinds = kinds(call as usize, &[a, b, c, d, 0, 0]);
            kinds.iter().filter(|&&kind| kind != Kind::Unused).count()
        };
        assert_eq!(count(Sysno::open, [0, linux::O_DIRECTORY, 0, 0]), 2);
        assert_eq!(count(Sysno::open, [0, linux::O_TMPFILE, 0, 0]), 3);
        assert_eq!(count(Sysno::openat, [0, 0, linux::O_CREAT, 0]), 4);
        assert_eq!(count(Sysno::mremap, [0, 0, 0, linux::MREMAP_MAYMOVE]), 4);
        assert_eq!(count(Sysno::mremap, [0, 0, 0, linux::MREMAP_FIXED]), 5);
        assert_eq!(
            count(
                Sysno::futex,
                [0, linux::FUTEX_WAKE | linux::FUTEX_PRIVATE_FLAG, 0, 0]
            ),
            3
        );
        assert_eq!(count(Sysno::futex, [0, linux::FUTEX_WAIT_BITSET, 0, 0]), 5);
        assert_eq!(count(Sysno::fcntl, [0, linux::F_GETFL, 0, 0]), 2);
    }
}
