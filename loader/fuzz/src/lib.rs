//! Damaged objects for the loader.
//!
//! Each function here is a fuzz target: it takes any bytes, reads orders for damage from them, and panics if the loader
//! does anything but load the object or refuse it with a text that names it and says why. The programs in
//! `fuzz_targets` hand them to `cargo fuzz`; `tests/short.rs` to a generator of pseudo-random numbers.
//!
//! No code of an object is run: the host answers calls itself ([`host`]), after checking that they lead to code.
//! Accesses outside an object hit guard pages, holes, or pages without the right to write.

mod host;
mod layout;
mod mutate;
mod subjects;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use loader::{Access, Errno, Error, File, FileId, Host, Loader, PAGE_SIZE, fuzzing};
use loader_process::Process;

use host::WATCHER;
use layout::{Layout, Part};
use mutate::{Orders, damage};
use subjects::Subject;

static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(subjects::make);

/// The path of the damaged object.
const PATH: &[u8] = b"/damaged/object.so";

/// Damages headers and notes, and reads the headers.
pub fn headers(input: &[u8]) {
    let mut orders = Orders::new(input);
    let subject = subject(&mut orders);
    let cut = orders.below(4) == 0;
    let parts = [Part::Header, Part::Segments, Part::Notes];
    let mut file = damage(&subject.file, &subject.layout, &parts, &mut orders);
    if cut {
        file.truncate(orders.below(file.len()));
    }
    if let Err(error) = fuzzing::headers(&Bytes(file), PATH) {
        check(&error);
    }
}

/// Damages the dynamic section and what it leads to, and reads the tables.
pub fn tables(input: &[u8]) {
    let mut orders = Orders::new(input);
    let subject = subject(&mut orders);
    let parts = [
        Part::Dynamic,
        Part::Symbols,
        Part::Hash,
        Part::Versions,
        Part::Relocations,
    ];
    let file = damage(&subject.file, &subject.layout, &parts, &mut orders);
    let (image, dynamic) = subject.layout.image(&file);
    // At the end of its pages, so that the guard page follows immediately. Not from the watching host, which counts
    // what the loads of another test have reserved.
    let len = image.len().next_multiple_of(16);
    let whole = len.next_multiple_of(PAGE_SIZE);
    let start = Process
        .reserve(None, whole + PAGE_SIZE, PAGE_SIZE)
        .expect("there is address space");
    // SAFETY: just reserved.
    unsafe { Process.zero(start, whole, Access::ReadWrite) }.expect("there is memory");
    let at = start + whole - len;
    // SAFETY: `len` bytes of zeroed memory, whose only user this is.
    let memory = unsafe { std::slice::from_raw_parts_mut(at as *mut u8, len) };
    memory[..image.len()].copy_from_slice(&image);
    fuzzing::tables(memory, dynamic);
    // SAFETY: what `tables` saw of it is gone.
    unsafe { Process.unmap(start, whole + PAGE_SIZE) };
}

/// Damages a copy of this machine's `ld.so.cache`, and looks things up in it.
pub fn cache(input: &[u8]) {
    static CACHE: LazyLock<Vec<u8>> =
        LazyLock::new(|| std::fs::read("/etc/ld.so.cache").expect("there is a cache"));
    let mut orders = Orders::new(input);
    let layout = Layout::words(CACHE.len());
    let file = damage(&CACHE, &layout, &[Part::Header], &mut orders);
    for name in [&b"libc.so.6"[..], b"libz.so.1", b"no such library"] {
        if let Some(path) = fuzzing::cache(&file, name) {
            assert!(!path.contains(&0), "a path with a NUL");
        }
    }
}

/// Damages relocations and what they name, and loads the object.
pub fn relocation(input: &[u8]) {
    let parts = [
        Part::Relocations,
        Part::Symbols,
        Part::Hash,
        Part::Versions,
        Part::Functions,
    ];
    load_damaged(input, &parts);
}

/// Damages anything, and loads the object.
pub fn object(input: &[u8]) {
    load_damaged(input, &Part::ALL);
}

fn subject(orders: &mut Orders<'_>) -> &'static Subject {
    // One in eight is a library of the system: they are large, and slow.
    let (small, large) = SUBJECTS.split_at(3);
    let among = if orders.below(8) == 0 && !large.is_empty() {
        large
    } else {
        small
    };
    &among[orders.below(among.len())]
}

fn load_damaged(input: &[u8], parts: &[Part]) {
    let mut orders = Orders::new(input);
    let subject = subject(&mut orders);
    let now = orders.below(2) == 0;
    let file = damage(&subject.file, &subject.layout, parts, &mut orders);
    let mut bench = Bench::lock();
    WATCHER
        .provide(b"object.so", &file)
        .expect("there is memory for a file");
    bench.load(if now { RTLD_NOW } else { RTLD_LAZY });
}

const RTLD_LAZY: usize = 1;
const RTLD_NOW: usize = 2;

/// A loader with what subjects need already loaded, so that only the damaged object comes and goes.
struct Bench {
    loader: &'static Loader,
    objects: usize,
    reserved: usize,
}

impl Bench {
    fn new() -> Self {
        LazyLock::force(&SUBJECTS);
        let loader = Box::leak(Box::new(Loader::new(&WATCHER)));
        for path in [&b"/lib/libcompanion.so"[..], b"/lib/libc.so.6"] {
            fuzzing::open(loader, path, RTLD_NOW).expect("well-formed objects are loaded");
        }
        Self {
            loader,
            objects: loader.objects().len(),
            reserved: WATCHER.reserved(),
        }
    }

    fn lock() -> MutexGuard<'static, Self> {
        static BENCH: LazyLock<Mutex<Bench>> = LazyLock::new(|| Mutex::new(Bench::new()));
        BENCH.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the object, looks at it, unloads it.
    fn load(&mut self, mode: usize) {
        match fuzzing::open(self.loader, PATH, mode) {
            Err(error) => {
                check(&error);
                assert_eq!(self.loader.objects().len(), self.objects, "not rolled back");
                assert_eq!(WATCHER.reserved(), self.reserved, "not unmapped");
            }
            Ok(handle) => {
                fuzzing::examine(self.loader, handle);
                fuzzing::close(self.loader, handle).expect("what is open can be closed");
                // Damage may have made an object that is never unloaded.
                if self.loader.objects().len() != self.objects {
                    *self = Self::new();
                }
            }
        }
    }
}

/// Checks that an error says what is wrong with what.
fn check(error: &Error) {
    let text = error.to_string();
    let (object, reason) = text.split_once(": ").expect("an object and a reason");
    assert!(!object.is_empty() && !reason.is_empty(), "{text:?}");
}

/// A file that cannot be mapped.
struct Bytes(Vec<u8>);

impl File for Bytes {
    fn id(&self) -> FileId {
        FileId {
            device: 0,
            inode: 0,
        }
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let start = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let end = start.checked_add(buffer.len()).ok_or(Errno::EINVAL)?;
        buffer.copy_from_slice(self.0.get(start..end).ok_or(Errno::EINVAL)?);
        Ok(())
    }

    unsafe fn map(&self, _: usize, _: usize, _: u64, _: Access) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}
