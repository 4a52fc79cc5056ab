//! What an address belongs to, and its name there: what the loader has on record, and for foreign programs the files
//! that are mapped.

use super::{Frame, Program, kernel, symbols};
use crate::linker::with_current;
use crate::open;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use goblin::elf64::program_header::PT_LOAD;
use linux::fs::File;
use linux::process::with_space;
use loader::Symbolised;
use loader::unwind::{self, Tables};
use machine::mm::PAGE;
use machine::mm::space::{MapsLine, Prot, Space};

/// Files that are larger are not searched for symbols.
const LARGEST_FILE: u64 = 64 << 20;

/// What is in the program's memory.
pub(in crate::linker) struct Objects {
    maps: Vec<MapsLine>,
}

/// An ELF object in memory.
struct Object {
    path: Vec<u8>,
    bias: usize,
}

/// A frame's place, as far as it is known.
enum Place {
    /// A text instead of one.
    Text(String),
    Symbol {
        object: Object,
        offset: usize,
        /// Name and distance.
        symbol: Option<(String, usize)>,
    },
}

impl Objects {
    pub(in crate::linker) fn now() -> Self {
        Self {
            maps: with_space(Space::maps),
        }
    }

    fn line(&self, address: usize) -> Option<&MapsLine> {
        self.maps
            .iter()
            .find(|line| (line.start..line.end).contains(&address))
    }

    pub(super) fn is_executable(&self, address: usize) -> bool {
        self.line(address)
            .is_some_and(|line| line.prot.contains(Prot::EXEC))
    }

    /// The unwind tables for an address.
    pub(super) fn tables(&self, address: usize) -> Option<Tables> {
        if let Some(header) = with_current(|linker| linker.loader.unwind_header(address)) {
            return Tables::at(&Program, header as u64);
        }
        let (object, header) = self.foreign(address)?;
        Tables::of(&Program, header as u64, object.bias as u64)
    }

    /// An object that somebody else than the loader has mapped, and where its header is: at the start of the file.
    fn foreign(&self, address: usize) -> Option<(Object, usize)> {
        let line = self.line(address)?;
        let header = self.maps.iter().rfind(|other| {
            other.start <= line.start
                && other.offset == 0
                && (other.dev, other.ino) == (line.dev, line.ino)
                && other.name == line.name
        })?;
        let segment = unwind::segments(&Program, header.start as u64)?
            .into_iter()
            .find(|segment| segment.p_type == PT_LOAD && segment.p_offset < PAGE as u64)?;
        let linked = segment.p_vaddr.wrapping_sub(segment.p_offset) as usize;
        let object = Object {
            path: line.name.clone().into_bytes(),
            bias: header.start.wrapping_sub(linked),
        };
        Some((object, header.start))
    }

    /// What to print for each frame.
    pub(in crate::linker) fn places(&self, frames: &[Frame]) -> Vec<String> {
        let mut places: Vec<_> = frames.iter().map(|&frame| self.place(frame)).collect();
        name_by_file(frames, &mut places);
        places.into_iter().map(Place::text).collect()
    }

    fn place(&self, frame: Frame) -> Place {
        if kernel::has(frame.address) {
            return Place::Text(kernel::name(frame.address).into());
        }
        let within = frame.within();
        let behind = frame.address.wrapping_sub(within);
        let (object, symbol) = match with_current(|linker| linker.loader.symbolise(within)) {
            Some(Symbolised::Object {
                path,
                offset,
                symbol,
            }) => {
                let bias = within.wrapping_sub(offset);
                (Object { path, bias }, symbol)
            }
            Some(Symbolised::Code {
                name,
                offset,
                owner,
            }) => {
                let distance = offset.wrapping_add(behind);
                return Place::Text(registered(&name, distance, owner.as_deref()));
            }
            None => match self.foreign(within) {
                Some((object, _)) => (object, None),
                None => return Place::Text(self.mapped(frame.address)),
            },
        };
        let symbol = symbol.map(|(name, distance)| {
            let name = String::from_utf8_lossy(&name).into_owned();
            (name, distance.wrapping_add(behind))
        });
        Place::Symbol {
            offset: frame.address.wrapping_sub(object.bias),
            object,
            symbol,
        }
    }

    /// What is mapped at an address that is in no object: generated code, data, nothing.
    fn mapped(&self, address: usize) -> String {
        match self.line(address) {
            Some(line) if line.name.is_empty() => String::from("(anonymous memory)"),
            Some(line) if line.name.starts_with('/') => {
                let offset = (address - line.start) as u64 + line.offset;
                format!("({}, file offset {offset:#x})", line.name)
            }
            Some(line) => format!("({})", line.name),
            None => String::from("(nothing is mapped here)"),
        }
    }
}

/// What to print for code that the program has registered.
fn registered(name: &[u8], distance: usize, owner: Option<&[u8]>) -> String {
    let owner = owner.map_or_else(String::new, |path| {
        format!(" of {}", String::from_utf8_lossy(path))
    });
    match String::from_utf8_lossy(name) {
        name if name.is_empty() => format!("(registered code{owner}+{distance:#x})"),
        name => format!("{name}+{distance:#x} (registered code{owner})"),
    }
}

impl Place {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Symbol {
                object,
                offset,
                symbol,
            } => {
                let object = String::from_utf8_lossy(&object.path).into_owned();
                match symbol {
                    Some((name, distance)) => {
                        format!("{name}+{distance:#x} ({object}+{offset:#x})")
                    }
                    None => format!("({object}+{offset:#x})"),
                }
            }
        }
    }
}

/// Names what has no dynamic symbol by the symbol tables of the files, each read once.
fn name_by_file(frames: &[Frame], places: &mut [Place]) {
    let mut done: Vec<Vec<u8>> = Vec::new();
    while let Some(path) = places.iter().find_map(|place| match place {
        Place::Symbol {
            object,
            symbol: None,
            ..
        } if !done.contains(&object.path) => Some(object.path.clone()),
        _ => None,
    }) {
        // The address within the instruction, as linked; and where to put what is found.
        let mut wanted: Vec<_> = places
            .iter_mut()
            .zip(frames)
            .filter_map(|(place, frame)| match place {
                Place::Symbol {
                    object,
                    offset,
                    symbol: symbol @ None,
                } if object.path == path => {
                    let within = frame.within().wrapping_sub(object.bias);
                    Some((within as u64, *offset, symbol))
                }
                _ => None,
            })
            .collect();
        let addresses: Vec<_> = wanted.iter().map(|&(within, ..)| within).collect();
        let names = open(&path).and_then(|file| {
            symbols::find(&|offset, to: &mut [u8]| read(&file, offset, to), &addresses)
        });
        for ((_, offset, symbol), found) in wanted.iter_mut().zip(names.into_iter().flatten()) {
            **symbol = found.map(|(name, start)| (name, offset.wrapping_sub(start as usize)));
        }
        done.push(path);
    }
}

fn open(path: &[u8]) -> Option<Arc<dyn File>> {
    let file = open::open(path).ok()?;
    let size = file.metadata().ok()?.size;
    (file.seekable() && size < LARGEST_FILE).then_some(file)
}

fn read(file: &Arc<dyn File>, offset: u64, to: &mut [u8]) -> Option<()> {
    let mut done = 0;
    while done < to.len() {
        match file.read(offset.checked_add(done as u64)?, &mut to[done..], false) {
            Ok(0) | Err(_) => return None,
            Ok(count) => done += count,
        }
    }
    Some(())
}
