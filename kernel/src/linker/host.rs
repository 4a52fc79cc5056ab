//! The kernel as the loader's host. What the loader asks for is the kernel's to keep: its memory comes from the kernel
//! heap, not from the arena that the loader itself allocates from.

use super::{finish, vdso, with_current};
use crate::end;
use crate::open::open;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;
use linux::process::LinuxThread;
use linux::process::with_space;
use linux::process::{futex, signal};
use linux::{fs, process, tty};
use loader::{
    Access, Errno, Event, File, FileId, Gate, Host, HostCode, InterruptedCall, PAGE_SIZE, Stack,
};
use machine::arch::{gate, image};
use machine::mm::arena::outside;
use machine::mm::space::{Backing, Options, Place, Prot};
use machine::mm::{frame, user};
use machine::record;
use machine::sched;
use machine::sync::Signals;

/// The kernel.
pub(super) struct Kernel;

/// Ends the program: the loader cannot call it without.
fn no_kernel_stack() -> ! {
    end::with_line(
        "elfin: out of memory: no kernel stack for a nested call of the dynamic linker",
        127,
    )
}

struct OpenFile {
    file: Arc<dyn fs::File>,
    id: FileId,
    size: u64,
}

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

fn errno(errno: abi::Errno) -> Errno {
    Errno(errno.0)
}

fn prot(access: Access) -> Prot {
    match access {
        Access::None => Prot::empty(),
        Access::Read => Prot::READ,
        Access::ReadWrite => Prot::READ | Prot::WRITE,
        Access::ReadExecute => Prot::READ | Prot::EXEC,
        Access::ReadWriteExecute => Prot::all(),
    }
}

fn map(place: Place, len: usize, prot: Prot, backing: Backing) -> Result<usize, Errno> {
    with_space(|space| space.map(place, len, prot, backing, Options::default())).map_err(errno)
}

impl File for OpenFile {
    fn id(&self) -> FileId {
        self.id
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        outside(|| fs::read_exact(&*self.file, offset, buffer).map_err(errno))
    }

    unsafe fn map(
        &self,
        addr: usize,
        len: usize,
        offset: u64,
        access: Access,
    ) -> Result<(), Errno> {
        outside(|| {
            let source = self.file.page_source(false).ok_or(Errno(19))?;
            let backing = Backing::File {
                source,
                offset,
                shared: false,
            };
            map(Place::Fixed(addr), len, prot(access), backing)?;
            Ok(())
        })
    }
}

/// The program's own file, if it is the one at `path`: who may execute it need not be able to read it, and it need not
/// have a name any more.
fn program(path: &[u8]) -> Option<Arc<dyn fs::File>> {
    let program = process::with_current(|process| process.program());
    let is_program = program.exe == path;
    program.file.as_ref().filter(|_| is_program).cloned()
}

// SAFETY: the address space gives out a range once; the gates are the kernel's own; FS is the program's.
unsafe impl Host for Kernel {
    fn open(&self, path: &[u8]) -> Result<Box<dyn File>, Errno> {
        outside(|| -> Result<Box<dyn File>, Errno> {
            let file = program(path)
                .map_or_else(|| open(path), Ok)
                .map_err(|error| {
                    if error == abi::Errno::ENOENT {
                        with_current(|linker| linker.has_tried(path));
                    }
                    errno(error)
                })?;
            let metadata = file.metadata().map_err(errno)?;
            if metadata.mode & S_IFMT != S_IFREG {
                return Err(Errno::EISDIR);
            }
            Ok(Box::new(OpenFile {
                file,
                id: FileId {
                    device: metadata.dev,
                    inode: metadata.ino,
                },
                size: metadata.size,
            }))
        })
    }

    fn current_directory(&self) -> Vec<u8> {
        outside(|| process::with_current(|process| process.fs().cwd_text()))
    }

    fn reserve(&self, at: Option<usize>, len: usize, align: usize) -> Result<usize, Errno> {
        outside(|| {
            let place = match at {
                Some(at) => Place::FixedNoReplace(at),
                None => Place::Aligned(align),
            };
            map(place, len, Prot::empty(), Backing::Anonymous)
        })
    }

    unsafe fn zero(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        outside(|| {
            map(Place::Fixed(addr), len, prot(access), Backing::Anonymous)?;
            Ok(())
        })
    }

    unsafe fn protect(&self, addr: usize, len: usize, access: Access) -> Result<(), Errno> {
        outside(|| with_space(|space| space.protect(addr, len, prot(access))).map_err(errno))
    }

    unsafe fn make_executable(&self, stack: Stack) -> Result<(), Errno> {
        outside(|| {
            match stack {
                Stack::Main(at) => with_space(|space| {
                    space.protect_down(at & !(PAGE_SIZE - 1), PAGE_SIZE, Prot::all())
                }),
                Stack::Thread(range) => {
                    with_space(|space| space.protect(range.start, range.len(), Prot::all()))
                }
            }
            .map_err(errno)
        })
    }

    unsafe fn unmap(&self, addr: usize, len: usize) {
        outside(|| {
            if let Err(error) =
                with_space(|space| space.unmap(addr, len.next_multiple_of(PAGE_SIZE)))
            {
                log::error!("cannot unmap {len:#x} bytes at {addr:#x}: {error:?}");
            }
        });
    }

    fn thread_pointer(&self) -> usize {
        sched::with_current(sched::Thread::thread_pointer) as usize
    }

    fn thread_id(&self) -> u32 {
        sched::current_tid().unsigned_abs()
    }

    unsafe fn set_thread_pointer(&self, address: usize) {
        sched::set_thread_pointer(address as u64);
    }

    fn register_main_thread(
        &self,
        clear_tid: usize,
        robust_list: usize,
        _robust_list_len: usize,
    ) -> u32 {
        outside(|| {
            let thread = sched::current();
            thread.linux().register(clear_tid, robust_list);
            thread.tid.unsigned_abs()
        })
    }

    unsafe fn call(&self, function: usize, arguments: [usize; 4]) -> usize {
        outside(|| {
            // SAFETY: the caller's promise; the loader runs on threads of the program, or on ones that `exec::start`
            // has given its stack.
            unsafe { gate::call_user(function, arguments) }.unwrap_or_else(|| no_kernel_stack())
        })
    }

    fn block_signals(&self) -> u64 {
        outside(|| signal::change_mask(|_| u64::MAX))
    }

    fn unblock_signals(&self, before: u64) {
        outside(|| {
            signal::change_mask(|_| before);
        });
    }

    fn may_be_in_handler(&self) -> bool {
        signal::has_run_handlers()
    }

    fn read(&self, address: usize, to: &mut [u8]) -> bool {
        outside(|| image::read(address, to) || user::copy_in(address, to).is_ok())
    }

    unsafe fn finish(&self, call: &InterruptedCall) -> Result<(), Errno> {
        outside(|| {
            // SAFETY: the caller's promise.
            unsafe { finish::finish(call) }.map_err(errno)
        })
    }

    fn wait(&self, word: &AtomicU32, value: u32) {
        outside(|| {
            // Whoever wakes it does so soon, whatever signals come, unless the process ends.
            if futex::wait_kernel(word, value, Signals::Kill).is_err() {
                process::stop_if_killed();
            }
        });
    }

    fn wait_with_handlers(&self, word: &AtomicU32, value: u32) {
        outside(|| {
            if futex::wait_kernel(word, value, Signals::Interrupt).is_err() {
                // SAFETY: as in `call`.
                unsafe { gate::take_signals() }.unwrap_or_else(|| no_kernel_stack());
            }
        });
    }

    fn wake(&self, word: &AtomicU32) {
        outside(|| {
            futex::wake_kernel(word);
        });
    }

    fn fatal(&self, message: &str) -> ! {
        end::with_line(message, 127)
    }

    fn gate(&self, gate: Gate) -> usize {
        vdso::gate(gate)
    }

    fn function(&self, function: usize) -> usize {
        vdso::function(function)
    }

    fn code(&self) -> Option<HostCode> {
        Some(HostCode {
            range: image::text(),
            eh_frame_hdr: image::eh_frame_hdr(),
        })
    }

    fn can_spare(&self, len: usize) -> bool {
        outside(|| frame::available() > len.div_ceil(PAGE_SIZE))
    }

    fn trace(&self, event: &Event<'_>) {
        outside(|| match event {
            Event::Warning(line) => {
                tty::stream::write_stderr(line.as_bytes());
                tty::stream::write_stderr(b"\n");
            }
            Event::Debug(lines) => {
                let pid = process::with_current(|process| process.pid);
                loader::write_debug(pid.unsigned_abs(), lines, tty::stream::write_stderr);
            }
            Event::Note(line) => log::info!("{line}"),
            Event::Mapped { object, base } => {
                record::object(object);
                log::debug!("mapped {} at {base:#x}", object.escape_ascii());
            }
            Event::Unmapped { object } => log::debug!("unmapped {}", object.escape_ascii()),
            event => log::trace!("{event:x?}"),
        });
    }
}
