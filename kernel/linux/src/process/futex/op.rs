//! `FUTEX_WAKE_OP`: changing one word and waking sleepers on two.
use super::{Word, wake};
use abi::Errno;
use machine::mm::user;

/// `FUTEX_WAKE_OP`: changes the word `second` as `operation` says, wakes `count` sleepers on `first` and, if the old
/// value compares as `operation` says, `second_count` on `second`; how many.
pub fn wake_op(
    first: Word,
    second: Word,
    count: usize,
    second_count: usize,
    operation: u32,
) -> Result<usize, Errno> {
    let operation = WakeOp::decode(operation)?;
    // The bucket locks need not be held: a sleeper that saw the old value is in its bucket before the wake-ups below.
    let old = loop {
        let old = user::load_u32(second.addr)?;
        if user::cmpxchg_u32(second.addr, old, operation.apply(old))? == old {
            break old;
        }
    };
    let mut woken = wake(first, count, u32::MAX);
    if operation.compares(old) {
        woken += wake(second, second_count, u32::MAX);
    }
    Ok(woken)
}

/// The operation of `FUTEX_WAKE_OP`, decoded from its word: 4 bits operation, 4 bits comparison, two signed 12-bit
/// arguments.
struct WakeOp {
    operation: u32,
    argument: u32,
    comparison: u32,
    compared: i32,
}

impl WakeOp {
    fn decode(word: u32) -> Result<Self, Errno> {
        let operation = word >> 28;
        // Shifting up and down again extends the sign.
        let argument = (((word << 8) as i32) >> 20) as u32;
        let decoded = Self {
            operation: operation & 7,
            // Bit 3 (FUTEX_OP_ARG_SHIFT): the argument is a bit number.
            argument: if operation & 8 != 0 {
                1 << (argument & 31)
            } else {
                argument
            },
            comparison: (word >> 24) & 15,
            compared: ((word << 20) as i32) >> 20,
        };
        if decoded.operation > 4 || decoded.comparison > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(decoded)
    }

    fn apply(&self, old: u32) -> u32 {
        match self.operation {
            0 => self.argument,
            1 => old.wrapping_add(self.argument),
            2 => old | self.argument,
            3 => old & !self.argument,
            _ => old ^ self.argument,
        }
    }

    fn compares(&self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            0 => old == self.compared,
            1 => old != self.compared,
            2 => old < self.compared,
            3 => old <= self.compared,
            4 => old > self.compared,
            _ => old >= self.compared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_op_is_decoded_with_signs() {
        // FUTEX_OP(FUTEX_OP_ADD, -1, FUTEX_OP_CMP_GT, -2)
        let op = WakeOp::decode((1 << 28) | (4 << 24) | (0xfff << 12) | 0xffe).unwrap();
        assert_eq!(op.apply(5), 4);
        assert!(op.compares(u32::MAX));
        assert!(!op.compares(-2i32 as u32));
    }

    #[test]
    fn wake_op_shifts_its_argument() {
        // FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_EQ, 0)
        let op = WakeOp::decode((10 << 28) | (4 << 12)).unwrap();
        assert_eq!(op.apply(1), 0x11);
    }
}
