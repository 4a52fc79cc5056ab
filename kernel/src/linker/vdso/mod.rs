//! The vDSO: an ELF object of the kernel's in each program's memory, `linux-vdso.so.1`, which AT_SYSINFO_EHDR leads to.
//! It has Linux' functions that read clocks without a system call, and the gates of the dynamic linker: all code of the
//! kernel's that programs are given addresses of.
//!
//! What lies there are jumps into the kernel's half. The object is the same in all programs, at one address, so that
//! pointers into it are right in copies of an address space.

mod functions;
mod image;

use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use image::Image;
use linux::process::with_space;
use loader::Gate;
use machine::arch::gate;
use machine::mm::frame::Frame;
use machine::mm::space::{Backing, Options, Page, PageSource, Place, Prot};
use machine::mm::{PAGE, arena};
use machine::sync::Mutex;

/// Where it lies: below the arena, far from what is mapped.
pub(crate) const ADDRESS: usize = arena::START - 16 * PAGE;

/// Linux' functions, in the order of [`functions::all`]. The dynamic linker's, which have no names here, follow.
const FUNCTIONS: [&str; 5] = [
    "clock_gettime",
    "gettimeofday",
    "time",
    "getcpu",
    "clock_getres",
];

/// The object's page, which all programs share.
struct Object {
    frame: Frame,
}

static OBJECT: Mutex<Option<Arc<Object>>> = Mutex::new(None);

impl Object {
    /// Makes it, when the first program starts; `None` without memory.
    fn get() -> Option<Arc<Self>> {
        let mut object = OBJECT.lock();
        if object.is_none() {
            let frame = Frame::zeroed()?;
            frame.write(0, image().bytes());
            *object = Some(Arc::new(Self { frame }));
        }
        object.clone()
    }
}

impl PageSource for Object {
    fn page(&self, index: u64, _write: bool) -> Result<Page, Errno> {
        match index {
            0 => Ok(Page::Cached(self.frame.clone())),
            _ => Err(Errno::EFAULT),
        }
    }

    fn identity(&self) -> (String, u64, u64) {
        ("[vdso]".into(), 0, 0)
    }

    fn writable(&self) -> bool {
        false
    }
}

/// Puts the object into the address space of the current process, which has just been opened.
pub(crate) fn map() -> Result<(), Errno> {
    let backing = Backing::File {
        source: Object::get().ok_or(Errno::ENOMEM)?,
        offset: 0,
        shared: false,
    };
    let options = Options {
        populate: true,
        ..Options::default()
    };
    let place = Place::FixedNoReplace(ADDRESS);
    with_space(|space| space.map(place, PAGE, Prot::READ | Prot::EXEC, backing, options))?;
    Ok(())
}

fn image() -> Image {
    let targets = [&functions::all()[..], &loader::functions()].concat();
    let targets = (&*targets, loader::PLT_ENTRIES);
    Image::new(&FUNCTIONS, targets, Gate::ALL.len(), gate::entry())
}

/// Address of a function of the dynamic linker's.
pub(super) fn function(function: usize) -> usize {
    let number = loader::functions()
        .iter()
        .position(|&other| other == function);
    number.map_or(function, |number| {
        ADDRESS + image::function(FUNCTIONS.len() + number)
    })
}

/// Address of a gate.
pub(super) fn gate(gate: Gate) -> usize {
    let functions = FUNCTIONS.len() + loader::functions().len();
    ADDRESS + image::gate(functions, gate as usize)
}
