//! Floating-point and vector state in signal frames: an XSAVE area with Linux' marks.
use abi::Errno;
use linux_raw_sys::general as linux;
use machine::{
    arch::{
        TrapFrame,
        fpu::{self, Image},
    },
    mm::user,
};

/// Offsets in an XSAVE area: MXCSR, the bytes that are software's, and the header after the legacy region.
const MXCSR: usize = 24;
const SOFTWARE: usize = 464;
const HEADER: usize = 512;
const HEADER_LEN: usize = 64;
const MXCSR_MASK: u32 = 0xffff;
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
/// XSTATE_BV of the legacy region: x87 and SSE.
const LEGACY: u64 = 3;
/// `FP_XSTATE_MAGIC1`, in the software bytes, and `FP_XSTATE_MAGIC2`, behind the area.
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const MAGIC_LEN: usize = 4;

/// An XSAVE area in the kernel, with room for the second magic number behind it.
pub(in crate::process::signal) struct Area(Image);

impl Area {
    /// Zeroed; `ENOMEM` without memory.
    pub(in crate::process::signal) fn new() -> Result<Self, Errno> {
        Image::new(MAGIC_LEN).map(Self).ok_or(Errno::ENOMEM)
    }

    /// Bytes that it takes in a frame.
    pub(in crate::process::signal) fn size() -> usize {
        fpu::area_size() + MAGIC_LEN
    }

    /// The area and the magic number behind it.
    pub(in crate::process::signal) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        self.0.bytes_mut()[at..at + value.len()].copy_from_slice(value);
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.bytes();
        u32::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]))
    }

    /// Saves the program's state, with Linux' marks that it is an XSAVE area.
    pub(in crate::process::signal) fn save(&mut self, frame: &TrapFrame) {
        self.0.save(frame);
        let size = fpu::area_size();
        let len = (size + MAGIC_LEN) as u32;
        self.put(SOFTWARE, &[0; HEADER - SOFTWARE]);
        self.put(SOFTWARE, &MAGIC1.to_ne_bytes());
        self.put(SOFTWARE + 4, &len.to_ne_bytes());
        self.put(SOFTWARE + 8, &fpu::xcr0().to_ne_bytes());
        self.put(SOFTWARE + 16, &(size as u32).to_ne_bytes());
        self.put(size, &MAGIC2.to_ne_bytes());
    }

    /// Becomes the state that a handler or a new program starts with.
    pub(in crate::process::signal) fn make_initial(&mut self) {
        self.0.bytes_mut().fill(0);
        self.put(0, &INITIAL_FCW.to_ne_bytes());
        self.put(MXCSR, &INITIAL_MXCSR.to_ne_bytes());
    }

    /// Reads what is at `addr` in the program; only the legacy region when the marks are not there.
    pub(in crate::process::signal) fn read(&mut self, addr: usize) -> Result<(), Errno> {
        let size = fpu::area_size();
        user::copy_in(addr, &mut self.0.bytes_mut()[..HEADER])?;
        let mut complete = self.word(SOFTWARE) == MAGIC1 && self.word(SOFTWARE + 16) == size as u32;
        if complete {
            user::copy_in(addr + HEADER, &mut self.0.bytes_mut()[HEADER..])?;
            complete = self.word(size) == MAGIC2;
        }
        let states = if complete {
            let bytes = self.bytes();
            u64::from_ne_bytes(core::array::from_fn(|i| bytes[HEADER + i])) & fpu::xcr0()
        } else {
            LEGACY
        };
        // Standard format, no reserved bits: XRSTOR faults on anything else.
        self.put(HEADER, &[0; HEADER_LEN]);
        self.put(HEADER, &states.to_ne_bytes());
        let mxcsr = self.word(MXCSR) & MXCSR_MASK;
        self.put(MXCSR, &mxcsr.to_ne_bytes());
        Ok(())
    }

    /// Saves the program's state over what [`read`](Self::read) finds at `addr`.
    pub(in crate::process::signal) fn write_over(
        &mut self,
        addr: usize,
        frame: &TrapFrame,
    ) -> Result<(), Errno> {
        self.read(addr)?;
        let complete = self.word(SOFTWARE) == MAGIC1;
        self.save(frame);
        let len = if complete {
            self.bytes().len()
        } else {
            SOFTWARE
        };
        user::copy_out(addr, &self.bytes()[..len])
    }

    /// Makes it the program's state.
    pub(in crate::process::signal) fn restore(&self, frame: &mut TrapFrame) -> Result<(), Errno> {
        self.0.restore(frame).map_err(|_| Errno::EINVAL)
    }
}

/// The `si_code` for a floating-point exception, vector 16 (x87) or 19 (SSE).
pub(in crate::process::signal) fn exception_code(frame: &TrapFrame, sse: bool) -> u32 {
    let Ok(mut area) = Area::new() else {
        return linux::FPE_FLTINV;
    };
    area.save(frame);
    let raised = if sse {
        let mxcsr = area.word(MXCSR);
        mxcsr & !(mxcsr >> 7)
    } else {
        // Control word in the lower half, status word in the upper; both have the same six bits lowest.
        let words = area.word(0);
        (words >> 16) & !words
    };
    match raised & 0x3f {
        bits if bits & 0x01 != 0 => linux::FPE_FLTINV,
        bits if bits & 0x04 != 0 => linux::FPE_FLTDIV,
        bits if bits & 0x08 != 0 => linux::FPE_FLTOVF,
        bits if bits & 0x12 != 0 => linux::FPE_FLTUND,
        bits if bits & 0x20 != 0 => linux::FPE_FLTRES,
        _ => 0,
    }
}
