//! What the stacks of a program permit, as the loader and libc know it.

use goblin::elf::program_header as pt;

use crate::glibc::Fields;

/// What an object without PT_GNU_STACK asks for.
pub(crate) const DEFAULT: u32 = pt::PF_R | pt::PF_W | pt::PF_X;

/// The stacks of a program.
pub(crate) struct Stacks {
    /// The main thread's stack pointer at the start.
    pub(crate) main: usize,
    /// What stacks permit.
    pub(crate) flags: u32,
    /// Where libc and its threads' descriptors have what, once they are there.
    pub(crate) fields: Option<Fields>,
}

impl Stacks {
    /// Begins a program whose main thread has this stack.
    pub(crate) fn new(main: usize) -> Self {
        Self {
            main,
            flags: DEFAULT,
            fields: None,
        }
    }

    /// Tells libc, now and whenever it changes.
    ///
    /// # Safety
    ///
    /// `fields` must be those of the program's libc, which stays mapped.
    pub(crate) unsafe fn share(&mut self, fields: &Fields) {
        self.fields = Some(fields.clone());
        self.tell();
    }

    /// Tells libc what stacks permit, if it is there.
    pub(crate) fn tell(&self) {
        let Some(fields) = &self.fields else { return };
        // The flags of a program header, in 2.43 those of mmap(2).
        let flags = if fields.minor >= 43 {
            self.flags >> 2 & 1 | self.flags & 2 | (self.flags & 1) << 2
        } else {
            self.flags
        };
        // SAFETY: `Fields::find` found the word inside `_rtld_global`, and `share` was promised that it stays. libc
        // reads it while it changes, as it does with ld.so.
        unsafe { (fields.stack_flags as *mut u32).write_volatile(flags) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_as_libc_reads_them() {
        let mut word = 7_u32;
        for (minor, flags, told) in [
            (36, DEFAULT, 7),
            (36, pt::PF_R | pt::PF_W, 6),
            (43, DEFAULT, 7),
            (43, pt::PF_R | pt::PF_W, 3),
        ] {
            let mut stacks = Stacks::new(0);
            stacks.flags = flags;
            let fields = Fields {
                minor,
                stack_flags: core::ptr::from_mut(&mut word).expose_provenance(),
                ..Fields::default()
            };
            // SAFETY: the word is there.
            unsafe { stacks.share(&fields) };
            assert_eq!(word, told);
        }
    }
}
