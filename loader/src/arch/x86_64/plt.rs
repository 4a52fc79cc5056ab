//! A call through a PLT slot as auditors see it: `La_x86_64_regs` and `La_x86_64_retval` of `<link.h>`, made of the
//! state that the PLT entry has saved, and what an auditor has changed in them put back there.

use core::cell::Cell;

/// Where registers are among the words that the PLT entry has pushed.
const R9: usize = 2;
const R8: usize = 3;
const RDI: usize = 4;
const RSI: usize = 5;
const RDX: usize = 6;
const RCX: usize = 7;
const RAX: usize = 8;
/// Where the caller's frame begins behind them: its return address.
const CALLER: usize = 12;

/// Where XSAVE's legacy area has things, in words of 64 bits.
const ST: usize = 4;
const XMM: usize = 20;
/// Where it says which components are not in their initial state; the components of SSE, AVX and the upper AVX-512.
const XSTATE_BV: usize = 64;
const X87: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const ZMM_HI256: u64 = 1 << 6;

/// Vector registers that hold arguments.
const ARGUMENTS: usize = 8;

/// A vector register, or the part of one that is there: words of 64 bits.
type Vector = [u64; 8];
type Xmm = [u64; 2];

/// `La_x86_64_regs`.
#[repr(C, align(16))]
pub(crate) struct Registers {
    rdx: Cell<u64>,
    r8: Cell<u64>,
    r9: Cell<u64>,
    rcx: Cell<u64>,
    rsi: Cell<u64>,
    rdi: Cell<u64>,
    pub(super) rbp: Cell<u64>,
    rsp: Cell<u64>,
    xmm: [Cell<Xmm>; ARGUMENTS],
    vector: [Cell<Vector>; ARGUMENTS],
    unused: [u64; 8],
}

/// What the PLT entry hands over, on the program's stack. A multiple of 64 bytes.
#[repr(C, align(64))]
pub(crate) struct PltCall {
    pub(super) registers: Registers,
    /// How much of the caller's frame the function's arguments take, if auditors want to know of its return; else -1.
    pub(super) frame_size: Cell<i64>,
    saved: &'static [Cell<u64>; CALLER],
    legacy: &'static [Cell<u64>; XSTATE_BV + 1],
    ymm: Option<&'static [Cell<[u64; 2]>; 16]>,
    zmm: Option<&'static [Cell<[u64; 4]>; 16]>,
}

/// `La_x86_64_retval`.
#[repr(C, align(16))]
pub(crate) struct Results {
    rax: Cell<u64>,
    rdx: Cell<u64>,
    xmm: [Cell<Xmm>; 2],
    st: [Cell<[u64; 2]>; 2],
    vector: [Cell<Vector>; 2],
    unused: [u64; 4],
}

impl PltCall {
    /// Returns the address of the registers, `La_x86_64_regs`.
    pub(crate) fn registers(&self) -> usize {
        core::ptr::from_ref(&self.registers).expose_provenance()
    }

    /// Asks to be told when the function returns, whose arguments take so much of the caller's frame.
    pub(crate) fn set_frame_size(&self, size: i64) {
        self.frame_size.set(size);
    }

    /// Shows the registers as the caller has them.
    pub(crate) fn show(&self) {
        for (shown, saved) in self.general() {
            shown.set(saved.get());
        }
        let caller = core::ptr::from_ref(self.saved).addr() + size_of_val(self.saved);
        self.registers.rsp.set(caller as u64);
        for number in 0..ARGUMENTS {
            self.registers.xmm[number].set(self.xmm(number));
            self.registers.vector[number].set(self.vector(number));
        }
    }

    /// Takes what auditors have changed of the registers.
    pub(crate) fn take(&self) {
        for (shown, saved) in self.general() {
            saved.set(shown.get());
        }
        for number in 0..ARGUMENTS {
            let (xmm, vector) = (&self.registers.xmm[number], &self.registers.vector[number]);
            self.take_vector(number, xmm.get(), vector.get());
        }
    }

    /// Shows the results that a function has returned.
    pub(crate) fn show_results(&self, results: &Results) {
        results.rax.set(self.saved[RAX].get());
        results.rdx.set(self.saved[RDX].get());
        for number in 0..2 {
            results.xmm[number].set(self.xmm(number));
            results.vector[number].set(self.vector(number));
            results.st[number].set(self.st(number));
        }
    }

    /// Takes what auditors have changed of the results.
    pub(crate) fn take_results(&self, results: &Results) {
        self.saved[RAX].set(results.rax.get());
        self.saved[RDX].set(results.rdx.get());
        for number in 0..2 {
            let st = results.st[number].get();
            if st != self.st(number) {
                let [low, high] = [0, 1].map(|word| &self.legacy[ST + 2 * number + word]);
                low.set(st[0]);
                high.set(st[1]);
                self.mark(X87);
            }
            let (xmm, vector) = (&results.xmm[number], &results.vector[number]);
            self.take_vector(number, xmm.get(), vector.get());
        }
    }

    /// Returns general registers as they are shown and as they are saved.
    fn general(&self) -> [(&Cell<u64>, &Cell<u64>); 6] {
        let Registers {
            rdx,
            r8,
            r9,
            rcx,
            rsi,
            rdi,
            ..
        } = &self.registers;
        [
            (rdx, RDX),
            (r8, R8),
            (r9, R9),
            (rcx, RCX),
            (rsi, RSI),
            (rdi, RDI),
        ]
        .map(|(shown, at)| (shown, &self.saved[at]))
    }

    fn xmm(&self, number: usize) -> Xmm {
        [0, 1].map(|word| self.legacy[XMM + 2 * number + word].get())
    }

    fn st(&self, number: usize) -> [u64; 2] {
        [0, 1].map(|word| self.legacy[ST + 2 * number + word].get())
    }

    fn vector(&self, number: usize) -> Vector {
        let [a, b] = self.xmm(number);
        let [c, d] = self.ymm.map_or([0; 2], |ymm| ymm[number].get());
        let [e, f, g, h] = self.zmm.map_or([0; 4], |zmm| zmm[number].get());
        [a, b, c, d, e, f, g, h]
    }

    /// Takes what has been changed of a vector register, of which auditors that know nothing longer change
    /// the first 128 bits apart.
    fn take_vector(&self, number: usize, xmm: Xmm, vector: Vector) {
        let vector = if xmm == self.xmm(number) {
            vector
        } else {
            [xmm[0], xmm[1], 0, 0, 0, 0, 0, 0]
        };
        if vector == self.vector(number) {
            return;
        }
        let [a, b, c, d, rest @ ..] = vector;
        self.legacy[XMM + 2 * number].set(a);
        self.legacy[XMM + 2 * number + 1].set(b);
        self.mark(SSE);
        if let Some(ymm) = self.ymm {
            ymm[number].set([c, d]);
            self.mark(AVX);
        }
        if let Some(zmm) = self.zmm {
            zmm[number].set(rest);
            self.mark(ZMM_HI256);
        }
    }

    /// Notes that components of the state are not in their initial state.
    fn mark(&self, components: u64) {
        // With FXSAVE there is no such word, but room for it.
        let marks = &self.legacy[XSTATE_BV];
        marks.set(marks.get() | components);
    }
}

const _: () = assert!(size_of::<Registers>() == 768 && size_of::<Results>() == 240);
