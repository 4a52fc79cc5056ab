//! The memory of a space that need not be the running thread's, for debuggers and process_vm_readv(2): it is read and
//! written through its frames. With [`Access::Forced`], as ptrace(2) has it, protection does not count: what is private
//! can be written to, which makes it the space's own (a breakpoint in a program's text), and of what is shared only
//! what the program itself could write to.

use super::area::Prot;
use super::mappings::Written;
use super::{Mappings, STACK_GUARD, Space, arena};
use crate::mm::PAGE;
use crate::mm::fault::Wanted;
use crate::mm::frame::Frame;

/// Which protection of memory counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// The program's: what it may do itself.
    Checked,
    /// None.
    Forced,
}

/// Calls `f` with each page of `addr..addr + len`, what of it is meant and where that is in the whole, until it says
/// that it could not; how many bytes it could.
fn each_page(addr: usize, len: usize, mut f: impl FnMut(usize, usize, usize) -> bool) -> usize {
    let mut done = 0;
    while done < len {
        let Some(at) = addr.checked_add(done) else {
            break;
        };
        let part = (PAGE - at % PAGE).min(len - done);
        if !f(at, done, part) {
            break;
        }
        done += part;
    }
    done
}

impl Space {
    /// Reads from `addr` on; how many bytes, fewer than asked for if not all can be.
    pub fn read(&self, addr: usize, to: &mut [u8], access: Access) -> usize {
        each_page(addr, to.len(), |at, done, len| {
            let (page, offset) = (at & !(PAGE - 1), at % PAGE);
            let mut space = self.mappings.lock();
            let read = |frame: &Frame| frame.read(offset, &mut to[done..done + len]);
            if (arena::START..arena::END).contains(&at) {
                return self
                    .arena
                    .keep(|| space.pages.with_frame(page, read).is_some());
            }
            space.bring_to_read(page, access).is_some()
                && space.pages.with_frame(page, read).is_some()
        })
    }

    /// Writes at `addr`; how many bytes, fewer than there are if not all can be.
    pub fn write(&self, addr: usize, from: &[u8], access: Access) -> usize {
        each_page(addr, from.len(), |at, done, len| {
            let (page, offset) = (at & !(PAGE - 1), at % PAGE);
            let mut space = self.mappings.lock();
            let write = |frame: &Frame| frame.write(offset, &from[done..done + len]);
            if (arena::START..arena::END).contains(&at) {
                return self
                    .arena
                    .keep(|| space.pages.with_frame(page, write).is_some());
            }
            let Some(written) = space.bring_to_write(page, access) else {
                return false;
            };
            let is_there = space.pages.with_frame(page, write).is_some();
            drop(space);
            if let Some(written) = written {
                written.tell();
            }
            is_there
        })
    }
}

impl Mappings {
    /// Brings a page in to be read; `None` if it cannot be. One that nobody may read is not brought in if it is not
    /// there.
    fn bring_to_read(&mut self, page: usize, access: Access) -> Option<()> {
        let (_, area) = self.areas.at(page)?;
        if !area.prot.is_empty() {
            return self.fault(page, Wanted::Read).ok().map(|_| ());
        }
        let may = access == Access::Forced && area.name != Some(STACK_GUARD);
        (may && self.pages.is_present(page)).then_some(())
    }

    /// Brings a page in to be written to; what is to be told of that, and `None` if it cannot be.
    fn bring_to_write(&mut self, page: usize, access: Access) -> Option<Option<Written>> {
        let Self { areas, pages, .. } = self;
        let (start, area) = areas.at(page)?;
        if area.prot.contains(Prot::WRITE) {
            return self.fault(page, Wanted::Write).ok();
        }
        let may = access == Access::Forced && !area.is_shared() && !area.prot.is_empty();
        if !may {
            return None;
        }
        pages.own(area, start, page).ok().map(|()| None)
    }
}
