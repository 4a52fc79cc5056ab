//! The initial stack: arguments, environment and auxiliary vector as Linux lays them out (psABI, "Process
//! Initialization").

use super::Places;
use super::path::Image;
use crate::linker;
use abi::Errno;
use alloc::{vec, vec::Vec};
use core::ops::Range;
use linux::credentials::{Credentials, program::Runner};
use linux::process::signal;
use linux::process::with_space;
use linux_raw_sys::auxvec;
use machine::arch::{context, cpu};
use machine::mm::space::{self, Backing, Marks, Options, Place, Prot};
use machine::mm::{PAGE, user};

/// Linux' usual limit.
const SIZE: usize = 8 << 20;
const GUARD: usize = 1 << 20;
/// Bit of AT_HWCAP2 that says that FSGSBASE may be used.
const HWCAP2_FSGSBASE: usize = 1 << 1;

/// A stack that is ready for a program.
pub(super) struct Stack {
    /// Address of `argc`.
    pub(super) pointer: usize,
    /// All of it.
    pub(super) range: Range<usize>,
    auxiliary: usize,
    entries: usize,
    /// The strings of the arguments.
    pub(super) arguments: Range<usize>,
    /// Those of the environment, which follow.
    pub(super) environment: Range<usize>,
}

impl Stack {
    /// The auxiliary vector as it is on the stack; empty if the program's memory is gone.
    pub(super) fn auxv(&self) -> Vec<u8> {
        let mut bytes = vec![0; 16 * self.entries];
        let copied = user::copy_in(self.auxiliary, &mut bytes);
        copied.map_or_else(|_| Vec::new(), |()| bytes)
    }

    /// Changes the value of an entry of the auxiliary vector.
    pub(super) fn set_auxiliary(&self, key: u32, value: usize) -> Result<(), Errno> {
        for at in (0..self.entries).map(|index| self.auxiliary + 16 * index) {
            if user::read::<usize>(at)? == key as usize {
                user::write(at + 8, &value)?;
            }
        }
        Ok(())
    }
}

/// Arguments, or the environment, as /proc has them: each with a NUL.
pub(super) fn joined(args: &[Vec<u8>]) -> Vec<u8> {
    let len = args.iter().map(|arg| arg.len() + 1).sum();
    let mut text = Vec::with_capacity(len);
    for arg in args {
        text.extend_from_slice(arg);
        text.push(0);
    }
    text
}

/// Pushes strings and words downward.
struct Writer {
    at: usize,
}

impl Writer {
    fn string(&mut self, string: &[u8]) -> Result<usize, Errno> {
        self.at -= string.len() + 1;
        user::copy_out(self.at, string)?;
        user::write(self.at + string.len(), &0u8)?;
        Ok(self.at)
    }

    /// Strings of which the first lies lowest: programs write titles over arguments that follow each other.
    fn strings(&mut self, strings: &[Vec<u8>]) -> Result<Vec<usize>, Errno> {
        let pushed = strings.iter().rev().map(|string| self.string(string));
        let mut addresses = pushed.collect::<Result<Vec<_>, _>>()?;
        addresses.reverse();
        Ok(addresses)
    }
}

/// Maps a stack and fills it in. `E2BIG` when arguments and environment take more than a quarter of it.
pub(super) fn build(
    image: &Image,
    env: &[Vec<u8>],
    runner: &Runner,
    places: &Places,
) -> Result<Stack, Errno> {
    let Image { name, args, .. } = image;
    let size: usize = args.iter().chain(env).map(|string| string.len() + 9).sum();
    if size > SIZE / 4 {
        return Err(Errno::E2BIG);
    }
    let place = Place::Anywhere { hint: 0 };
    let none = Options::default();
    let map = |place, len, prot, options| {
        with_space(|space| space.map(place, len, prot, Backing::Anonymous, options))
    };
    let guard = Options {
        name: Some(space::STACK_GUARD),
        ..none
    };
    let base = map(place, SIZE + GUARD, Prot::empty(), guard)?;
    // It is as large as it may become: machines with less memory than that have programs, too.
    let options = Options {
        name: Some(space::STACK),
        marks: Marks::NO_RESERVE,
        ..none
    };
    let prot = Prot::READ | Prot::WRITE;
    map(Place::Fixed(base + GUARD), SIZE, prot, options)?;

    let mut writer = Writer {
        at: base + GUARD + SIZE - PAGE - places.stack,
    };
    let name = writer.string(name)?;
    let env_end = writer.at;
    let env = writer.strings(env)?;
    let args_end = writer.at;
    let args = writer.strings(args)?;
    let arguments = writer.at..args_end;
    let platform = writer.string(b"x86_64")?;
    writer.at = (writer.at & !15) - 16;
    user::copy_out(writer.at, &places.bytes)?;
    let random = writer.at;

    let Credentials { user, group, .. } = &runner.credentials;
    let id = |id: u32| usize::try_from(id).unwrap_or(usize::MAX);
    let auxiliary = [
        (auxvec::AT_SYSINFO_EHDR, linker::vdso::ADDRESS),
        (auxvec::AT_HWCAP, cpu::hwcap()),
        (auxvec::AT_PAGESZ, PAGE),
        (auxvec::AT_CLKTCK, 100),
        (auxvec::AT_PHDR, 0),
        (auxvec::AT_PHENT, 56),
        (auxvec::AT_PHNUM, 0),
        (auxvec::AT_BASE, 0),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_ENTRY, 0),
        (auxvec::AT_UID, id(user.real)),
        (auxvec::AT_EUID, id(user.effective)),
        (auxvec::AT_GID, id(group.real)),
        (auxvec::AT_EGID, id(group.effective)),
        (auxvec::AT_SECURE, runner.is_secure.into()),
        (auxvec::AT_RANDOM, random),
        (
            auxvec::AT_HWCAP2,
            if context::has_fsgsbase() {
                HWCAP2_FSGSBASE
            } else {
                0
            },
        ),
        (auxvec::AT_EXECFN, name),
        (auxvec::AT_PLATFORM, platform),
        (auxvec::AT_MINSIGSTKSZ, signal::frame_size()),
        (auxvec::AT_NULL, 0),
    ];
    let mut words = Vec::with_capacity(args.len() + env.len() + 3 + 2 * auxiliary.len());
    words.push(args.len());
    words.extend(args.into_iter().chain([0]));
    words.extend(env.into_iter().chain([0]));
    let before = words.len();
    words.extend(
        auxiliary
            .iter()
            .flat_map(|&(key, value)| [key as usize, value]),
    );
    let pointer = (writer.at - words.len() * 8) & !15;
    let mut bytes = Vec::with_capacity(words.len() * 8);
    for word in words {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    user::copy_out(pointer, &bytes)?;
    Ok(Stack {
        pointer,
        range: base + GUARD..base + GUARD + SIZE,
        auxiliary: pointer + before * 8,
        entries: auxiliary.len(),
        arguments,
        environment: args_end..env_end,
    })
}
