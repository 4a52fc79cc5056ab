//! Reading file data into frames, in large requests that the device answers without a copy, as far as the file lies in
//! whole pages on it.
use super::{Erofs, Inode, PAGE};
use abi::Errno;
use alloc::vec;
use machine::mm::frame::Frame;

impl Erofs<'_> {
    /// Fills frames that nobody else has from `offset` on, a multiple of the page size; with zeros past the end.
    pub fn read_frames(&self, inode: &Inode, offset: u64, frames: &[Frame]) -> Result<(), Errno> {
        let (mut at, mut left) = (offset, frames);
        while !left.is_empty() {
            if at >= inode.size {
                left.iter().for_each(|frame| frame.zero(0));
                break;
            }
            let extent = self.extent(inode, at)?;
            let whole = usize::try_from(extent.len / PAGE).unwrap_or(usize::MAX);
            let (mut part, mut rest) = left.split_at(whole.min(left.len()));
            match extent.address {
                _ if part.is_empty() => {
                    (part, rest) = left.split_at(1);
                    let mut page = vec![0; machine::mm::PAGE];
                    self.read(inode, at, &mut page)?;
                    part[0].write(0, &page);
                }
                Some(address) => {
                    let len = PAGE.saturating_mul(part.len() as u64);
                    if address.checked_add(len).is_none_or(|end| end > self.size) {
                        return Err(Errno::EUCLEAN);
                    }
                    self.device.read_frames(address, part)?;
                }
                None => part.iter().for_each(|frame| frame.zero(0)),
            }
            at += PAGE * part.len() as u64;
            left = rest;
        }
        Ok(())
    }
}
