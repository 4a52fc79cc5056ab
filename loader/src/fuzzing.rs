//! Ways into the loader's parts for `loader/fuzz`, which feeds them damaged input. Only with the feature `fuzzing`.

use core::hint::black_box;

use goblin::elf::program_header as pt;

use crate::dl::Opening;
use crate::elf::cache::Cache;
use crate::elf::dynamic::Dynamic;
use crate::elf::hash::Name;
use crate::elf::header::{Headers, interpreter};
use crate::elf::version::{HIDDEN, Version};
use crate::elf::{ProgramHeader, string_at};
use crate::error::Error;
use crate::host::{File, PAGE_SIZE};
use crate::hwcaps::Hwcaps;
use crate::loader::Loader;
use crate::lookup::{Request, UniqueTables, find};
use crate::tables::{Memory, Tables};

/// Reads a file's headers, and the interpreter it asks for.
///
/// # Errors
///
/// What loading it gives.
pub fn headers(file: &dyn File, path: &[u8]) -> Result<(), Error> {
    let headers = Headers::read(file).map_err(|problem| problem.about(path, path))?;
    black_box(interpreter(file, &headers).map_err(|problem| problem.about(path, path))?);
    Ok(())
}

/// Looks a name up in the content of an `ld.so.cache`.
pub fn cache<'a>(content: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let hwcaps = Hwcaps::new(&[b"x86-64-v3", b"x86-64-v2"], b"haswell", Some(6));
    let (rank, admits) = (
        |level: &[u8]| hwcaps.rank(level),
        |bits| hwcaps.admits(bits),
    );
    Cache::new(content)?.find(name, rank, admits)
}

/// Takes a piece of memory for an object's only segment, finds the tables that the dynamic section at `dynamic` names,
/// and reads all there is in them. Returns false when a table lies outside.
pub fn tables(segment: &'static [u8], dynamic: usize) -> bool {
    let size = segment.len();
    let segments = [ProgramHeader {
        p_type: pt::PT_LOAD,
        p_flags: pt::PF_R,
        p_offset: 0,
        p_vaddr: 0,
        p_paddr: 0,
        p_filesz: size as u64,
        p_memsz: size as u64,
        p_align: PAGE_SIZE as u64,
    }];
    let memory = Memory {
        bias: segment.as_ptr().addr(),
        segments: &segments,
    };
    let Some(entries) = memory.slice(dynamic, size.saturating_sub(dynamic)) else {
        return false;
    };
    let dynamic = Dynamic::parse(entries);
    let Ok(tables) = Tables::find(&memory, &dynamic) else {
        return false;
    };
    for &offset in &dynamic.needed {
        black_box(string_at(tables.strings, offset));
    }
    for index in 0..4 {
        black_box(tables.versions.get(index | HIDDEN));
    }
    if let Some(hash) = tables.hash {
        black_box(hash.symbol_count());
        // Names that are there, as far as the string table has any, and one that is not.
        let names = tables.strings.split(|&byte| byte == 0).take(16);
        for name in names.chain([&b"no such symbol"[..]]) {
            for index in hash.candidates(&Name::new(name)) {
                let symbol = tables.symbols.get(index);
                black_box(
                    symbol.and_then(|symbol| string_at(tables.strings, symbol.st_name as usize)),
                );
            }
        }
    }
    black_box((
        tables.rela.last(),
        tables.plt_rela.last(),
        tables.relr.last(),
        tables.versym,
    ));
    true
}

/// Opens an object as `dlopen` does, and returns its handle.
///
/// # Errors
///
/// What `dlopen` gives.
pub fn open(loader: &Loader, path: &[u8], mode: usize) -> Result<usize, Error> {
    loader.open_object(&Opening::new(path, mode, 0))
}

/// Looks at an open object from all sides.
pub fn examine(loader: &Loader, handle: usize) {
    let Some(world) = loader.world().get() else {
        return;
    };
    let Some(entry) = world.by_handle(handle) else {
        return;
    };
    let object = &entry.object;
    for symbol in object.symbols().iter().take(64) {
        let Some(name) = object.symbol_name(symbol) else {
            continue;
        };
        for version in [None, Some(Version::exactly(b"V1"))] {
            let request = Request {
                version,
                ..Request::new(loader.host(), Name::new(name), None)
            };
            let found = find(
                &world,
                entry.group.iter(),
                &UniqueTables::PUBLISHED,
                &request,
            );
            black_box(found.map(|found| found.value(loader.host())).is_some());
        }
    }
    for address in object.span().step_by(PAGE_SIZE).take(64) {
        black_box(loader.symbolise(address));
        black_box(loader.find_object(address).is_some());
    }
}

/// Closes what [`open`] opened.
///
/// # Errors
///
/// What `dlclose` gives.
pub fn close(loader: &Loader, handle: usize) -> Result<(), Error> {
    loader.dlclose(handle)
}
