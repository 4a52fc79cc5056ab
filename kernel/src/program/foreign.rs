//! Programs that are not for our loader (static ones, other C libraries): mapped and entered the way Linux does it,
//! through their own interpreter if they name one.

use super::Places;
use super::stack::Stack;
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use goblin::elf64::header::{EM_X86_64, ET_DYN, ET_EXEC, Header};
use goblin::elf64::program_header::{
    PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_PHDR, ProgramHeader, SIZEOF_PHDR,
};
use linux::fs::{self, File};
use linux::process::with_space;
use linux_raw_sys::auxvec;
use machine::mm::space::{Backing, Options, Place, Prot};
use machine::mm::{PAGE, USER_END, user};

const MOST_SEGMENTS: usize = 128;
const LONGEST_PATH: u64 = 4096;

struct Image {
    file: Arc<dyn File>,
    header: Header,
    segments: Vec<ProgramHeader>,
}

/// An image in memory.
struct Mapped {
    bias: usize,
    end: usize,
    entry: usize,
    headers: usize,
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A file that ends where something of it should be is no program.
fn cut_short(errno: Errno) -> Errno {
    if errno == Errno::EINVAL {
        Errno::ENOEXEC
    } else {
        errno
    }
}

/// The interpreter at `path`.
fn open(path: &[u8]) -> Result<Image, Errno> {
    read(crate::open::open_exec(path)?)
}

fn read(file: Arc<dyn File>) -> Result<Image, Errno> {
    let mut bytes = [0; size_of::<Header>()];
    fs::read_exact(&*file, 0, &mut bytes).map_err(cut_short)?;
    let header = Header::parse(&bytes).map_err(|_| Errno::ENOEXEC)?;
    let right = bytes.starts_with(b"\x7fELF\x02\x01")
        && header.e_machine == EM_X86_64
        && (header.e_type == ET_EXEC || header.e_type == ET_DYN)
        && usize::from(header.e_phentsize) == SIZEOF_PHDR
        && usize::from(header.e_phnum) <= MOST_SEGMENTS;
    if !right {
        return Err(Errno::ENOEXEC);
    }
    let count = usize::from(header.e_phnum);
    let mut bytes = vec![0; count * SIZEOF_PHDR];
    fs::read_exact(&*file, header.e_phoff, &mut bytes).map_err(cut_short)?;
    let segments = ProgramHeader::from_bytes(&bytes, count);
    Ok(Image {
        file,
        header,
        segments,
    })
}

impl Image {
    fn interpreter(&self) -> Result<Option<Vec<u8>>, Errno> {
        let Some(segment) = self
            .segments
            .iter()
            .find(|segment| segment.p_type == PT_INTERP)
        else {
            return Ok(None);
        };
        if segment.p_filesz == 0 || segment.p_filesz > LONGEST_PATH {
            return Err(Errno::ENOEXEC);
        }
        let mut path = vec![0; segment.p_filesz as usize];
        fs::read_exact(&*self.file, segment.p_offset, &mut path).map_err(cut_short)?;
        path.truncate(
            path.iter()
                .position(|&byte| byte == 0)
                .unwrap_or(path.len()),
        );
        Ok(Some(path))
    }

    fn map(&self) -> Result<Mapped, Errno> {
        let loads = || {
            self.segments
                .iter()
                .filter(|segment| segment.p_type == PT_LOAD)
        };
        let page = |addr: u64| addr as usize & !(PAGE - 1);
        let mut span: Option<(usize, usize)> = None;
        let mut align = PAGE;
        for segment in loads() {
            let end = segment
                .p_vaddr
                .checked_add(segment.p_memsz)
                .ok_or(Errno::ENOEXEC)?;
            let fits = end <= USER_END as u64
                && segment.p_filesz <= segment.p_memsz
                && segment.p_vaddr % PAGE as u64 == segment.p_offset % PAGE as u64;
            if !fits {
                return Err(Errno::ENOEXEC);
            }
            let (start, end) = (page(segment.p_vaddr), (end as usize).next_multiple_of(PAGE));
            span = Some(span.map_or((start, end), |(a, b)| (a.min(start), b.max(end))));
            if segment.p_align.is_power_of_two() {
                align = align.max(segment.p_align as usize);
            }
        }
        let (first, last) = span.ok_or(Errno::ENOEXEC)?;
        let place = if self.header.e_type == ET_EXEC {
            Place::FixedNoReplace(first)
        } else {
            Place::Aligned(align.min(1 << 30))
        };
        let none = Options::default();
        let start = with_space(|space| {
            space.map(place, last - first, Prot::empty(), Backing::Anonymous, none)
        })?;
        let bias = start.wrapping_sub(first);
        for segment in loads() {
            self.map_segment(segment, bias)?;
        }
        let in_memory = |offset: u64| {
            loads()
                .find(|load| (load.p_offset..load.p_offset + load.p_filesz).contains(&offset))
                .map_or(0, |load| {
                    bias.wrapping_add((offset - load.p_offset + load.p_vaddr) as usize)
                })
        };
        let headers = match self
            .segments
            .iter()
            .find(|segment| segment.p_type == PT_PHDR)
        {
            Some(segment) => bias.wrapping_add(segment.p_vaddr as usize),
            None => in_memory(self.header.e_phoff),
        };
        Ok(Mapped {
            bias,
            end: bias.wrapping_add(last),
            entry: bias.wrapping_add(self.header.e_entry as usize),
            headers,
        })
    }

    fn map_segment(&self, segment: &ProgramHeader, bias: usize) -> Result<(), Errno> {
        let mut prot = Prot::empty();
        for (flag, bit) in [(PF_R, Prot::READ), (PF_W, Prot::WRITE), (PF_X, Prot::EXEC)] {
            if segment.p_flags & flag != 0 {
                prot |= bit;
            }
        }
        let start = bias.wrapping_add(segment.p_vaddr as usize);
        let skew = start % PAGE;
        let file_end = start + segment.p_filesz as usize;
        let file_pages = file_end.next_multiple_of(PAGE);
        let none = Options::default();
        if segment.p_filesz != 0 {
            let source = self.file.page_source(false).ok_or(Errno::ENOEXEC)?;
            let backing = Backing::File {
                source,
                offset: segment.p_offset - skew as u64,
                shared: false,
            };
            let len = file_pages - (start - skew);
            with_space(|space| space.map(Place::Fixed(start - skew), len, prot, backing, none))?;
        }
        let end = (start + segment.p_memsz as usize).next_multiple_of(PAGE);
        let zero_from = if segment.p_filesz == 0 {
            start - skew
        } else {
            file_pages
        };
        if end > zero_from {
            with_space(|space| {
                space.map(
                    Place::Fixed(zero_from),
                    end - zero_from,
                    prot,
                    Backing::Anonymous,
                    none,
                )
            })?;
        }
        // What the file has behind the segment's contents is not the segment's.
        if segment.p_memsz > segment.p_filesz && prot.contains(Prot::WRITE) {
            user::zero(file_end, file_pages - file_end)?;
        }
        Ok(())
    }
}

/// Whether this is a program, and its interpreter is there, as execve(2) finds out before anything happens.
pub(super) fn check(program: &Arc<dyn File>) -> Result<(), Errno> {
    let too_short = |errno| match errno {
        Errno::EINVAL => Errno::ENOEXEC,
        other => other,
    };
    let Some(interpreter) = read(program.clone()).map_err(too_short)?.interpreter()? else {
        return Ok(());
    };
    // The kernel is this one.
    if loader::is_interpreter(&interpreter) {
        return Ok(());
    }
    open(&interpreter).map(|_| ()).map_err(|errno| match errno {
        Errno::ENOEXEC => Errno::ELIBBAD,
        other => other,
    })
}

/// Maps a program (and its interpreter) and fills in the auxiliary vector; where to enter. An error is a line for the
/// user.
pub(super) fn load(
    program: &super::Image,
    stack: &Stack,
    places: &Places,
) -> Result<usize, String> {
    let path = &program.path;
    let about = |path: &[u8]| {
        let path = show(path);
        move |errno: Errno| format!("cannot run {path}: {}", errno.text())
    };
    let image = read(program.file.clone()).map_err(about(path))?;
    let program = image.map().map_err(about(path))?;
    super::place_break(program.end, places);
    let stack_flags = image
        .segments
        .iter()
        .rfind(|segment| segment.p_type == PT_GNU_STACK);
    if stack_flags.is_some_and(|segment| segment.p_flags & PF_X != 0) {
        with_space(|space| space.protect(stack.range.start, stack.range.len(), Prot::all()))
            .map_err(about(path))?;
    }
    let mut enter = program.entry;
    let mut base = 0;
    if let Some(interpreter) = image.interpreter().map_err(about(path))? {
        let failed = |errno: Errno| {
            let (path, name) = (show(path), show(&interpreter));
            format!(
                "cannot run {path}: its interpreter {name}: {} in the image",
                errno.text()
            )
        };
        let mapped = open(&interpreter)
            .and_then(|image| image.map())
            .map_err(failed)?;
        (enter, base) = (mapped.entry, mapped.bias);
    }
    let entries = [
        (auxvec::AT_PHDR, program.headers),
        (auxvec::AT_PHNUM, image.segments.len()),
        (auxvec::AT_ENTRY, program.entry),
        (auxvec::AT_BASE, base),
    ];
    for (key, value) in entries {
        stack.set_auxiliary(key, value).map_err(about(path))?;
    }
    log::debug!(
        "{} at {:#x}, entered at {enter:#x}",
        show(path),
        program.bias
    );
    Ok(enter)
}
