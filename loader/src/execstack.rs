//! Executable stacks: for objects that ask for them in PT_GNU_STACK, or that have none, as ld.so does it.
//!
//! Linux makes the main thread's stack executable for a program that says so; libc makes threads' stacks as it reads it
//! in `_dl_stack_flags`; and an object that is loaded later and needs what is not so yet has the stacks changed that
//! there are. Since 2.41 glibc does not do the last of these: `dlopen` then fails.

use goblin::elf::program_header as pt;

use crate::elf::ProgramHeader;
use crate::error::Error;
use crate::host::{Errno, Stack};
use crate::linker::Linker;
use crate::load::Load;
use crate::stacks::{DEFAULT, Stacks};
use crate::state::State;

impl Linker<'_> {
    /// Gives the program the stacks that an object just mapped asks for. `name` is what errors call the object.
    pub(crate) fn provide_stacks(
        &self,
        state: &mut State,
        load: &Load,
        segments: &[ProgramHeader],
        name: &[u8],
    ) -> Result<(), Error> {
        let Some(stacks) = &mut state.stacks else {
            return Ok(());
        };
        let header = segments
            .iter()
            .rfind(|segment| segment.p_type == pt::PT_GNU_STACK);
        let wanted = header.map_or(DEFAULT, |segment| segment.p_flags);
        if load.is_program() {
            stacks.flags = wanted;
            // For want of a header Linux on x86-64 does not make the stack executable, and ld.so leaves it at that.
            if header.is_none() || wanted & pt::PF_X == 0 {
                return Ok(());
            }
        } else if wanted & !stacks.flags & pt::PF_X == 0 {
            return Ok(());
        }
        self.make_stacks_executable(stacks, load.initial)
            .map_err(|errno| Error::Host {
                object: name.to_vec(),
                doing: "cannot enable executable stack as shared object requires",
                errno,
            })
    }

    fn make_stacks_executable(&self, stacks: &mut Stacks, initial: bool) -> Result<(), Errno> {
        if !initial
            && stacks
                .fields
                .as_ref()
                .is_some_and(|fields| fields.minor >= 41)
        {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the stack is the main thread's; whoever asks for the object wants its code to run there.
        unsafe { self.host().make_executable(Stack::Main(stacks.main)) }?;
        stacks.flags |= pt::PF_X;
        // Threads being made meanwhile see this when they are in the list, or are in it when it is read below.
        stacks.tell();
        let Some(fields) = &stacks.fields else {
            return Ok(());
        };
        let tls = self.tls().lock(self.host());
        for thread_pointer in tls.thread_pointers() {
            // SAFETY: threads leave the list, which is locked, before their descriptors and stacks go.
            if let Some(stack) = unsafe { fields.stack_of(thread_pointer) } {
                // SAFETY: a thread in the list has its stack, and whoever asks for the object wants its code to run
                // there.
                unsafe { self.host().make_executable(Stack::Thread(stack)) }?;
            }
        }
        Ok(())
    }
}
