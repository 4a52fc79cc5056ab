//! How much a space may map: `RLIMIT_AS`, `RLIMIT_DATA`, and Linux' heuristic against mappings that there can never be
//! memory for (`vm.overcommit_memory` = 0), which small machines know as if they were larger.

use super::Space;
use super::area::{Area, Limits, Prot};
use super::mappings::Mappings;
use crate::mm::{PAGE, frame};
use abi::Errno;
use core::ops::Range;

/// What may be mapped at once on any machine, in pages: libraries set aside much more than they use (OpenBLAS 128 MiB,
/// which it asks for again and again until it gets them).
const PROMISED: usize = (512 << 20) / PAGE;

/// `ENOMEM` for more at once than the machine's memory. What is mapped piece by piece is not added up.
fn check_memory(len: usize) -> Result<(), Errno> {
    if len / PAGE > frame::counts().0.max(PROMISED) {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

impl Mappings {
    /// `ENOMEM` when `len` bytes like `area` are too much, where what is mapped in `replaced` goes.
    pub(super) fn check_more(
        &self,
        area: &Area,
        len: usize,
        replaced: Range<usize>,
    ) -> Result<(), Errno> {
        let (mut bytes, mut data) = (self.areas.bytes(), self.areas.data());
        let gone =
            (!replaced.is_empty()).then(|| self.areas.overlapping(replaced.start, replaced.end));
        for (start, area) in gone.into_iter().flatten() {
            let part = area.end.min(replaced.end) - start.max(replaced.start);
            bytes -= part;
            data -= if area.is_data(area.prot) { part } else { 0 };
        }
        let is_data = area.is_data(area.prot);
        if bytes.saturating_add(len) > self.limits.all
            || is_data && data.saturating_add(len) > self.limits.data
        {
            return Err(Errno::ENOMEM);
        }
        if area.is_counted(area.prot) {
            check_memory(len)?;
        }
        Ok(())
    }

    /// `ENOMEM` when the areas between `start` and `end` must not get this protection.
    pub(super) fn check_protection(
        &self,
        start: usize,
        end: usize,
        prot: Prot,
    ) -> Result<(), Errno> {
        let mut data = self.areas.data();
        for (at, area) in self.areas.overlapping(start, end) {
            let len = area.end.min(end) - at.max(start);
            if area.is_data(prot) && !area.is_data(area.prot) {
                data += len;
                if data > self.limits.data {
                    return Err(Errno::ENOMEM);
                }
            }
            if area.is_counted(prot) && !area.is_counted(area.prot) {
                check_memory(len)?;
            }
        }
        Ok(())
    }
}

impl Space {
    /// Sets what may be mapped; what is mapped stays.
    pub fn set_limits(&self, limits: Limits) {
        self.mappings.lock().limits = limits;
    }
}
