//! Random numbers: a ChaCha20 generator, seeded from virtio-rng, the processor's generator and the time.
//!
//! Every call takes a key of its own out of the generator, which replaces its own key at the same time: what has been
//! given out cannot be computed from what is left in memory. There is no reseeding and no estimate of entropy.
use super::{
    dma::{DmaBuffer, DmaHal},
    pci::Bus,
    virtio::Failure,
};
use crate::arch::{clock::time_stamp, cpu};
use crate::{sync::SpinLock, time::Instant};
use virtio_drivers::{device::rng::VirtIORng, transport::pci::bus::DeviceFunction};

type Key = [u32; 8];
const BLOCK: usize = 64;

static KEY: SpinLock<Key> = SpinLock::new([0; 8]);

/// Fills `buf` with random bytes.
pub fn fill(buf: &mut [u8]) {
    let mut key = KEY.lock();
    mix_processor(&mut key);
    let mut call = split(&mut key);
    drop(key);
    for (counter, part) in (0u64..).zip(buf.chunks_mut(BLOCK)) {
        part.copy_from_slice(&block(&call, counter)[..part.len()]);
    }
    erase(&mut call);
}

/// Reads 32 bytes from virtio-rng. The device is reset after that.
pub(super) fn read_device(bus: &mut Bus, function: DeviceFunction) -> Result<[u8; 32], Failure> {
    let mut device = VirtIORng::<DmaHal, _>::new(bus.transport(function)?)?;
    let memory = DmaBuffer::new(32).ok_or(Failure::NoMemory)?;
    // SAFETY: nobody else has the buffer, and the device is done with it when a request returns.
    let seed: &mut [u8] = unsafe { memory.slice_mut(0..32) };
    let mut done = 0;
    while done < seed.len() {
        match device.request_entropy(&mut seed[done..])? {
            0 => return Err(Failure::Lacks("entropy")),
            len => done += len,
        }
    }
    let mut result = [0; 32];
    result.copy_from_slice(seed);
    seed.fill(0);
    Ok(result)
}

/// Mixes the device's bytes, if there are some, and all else there is into the generator.
pub(super) fn seed(device: Option<[u8; 32]>) {
    if device.is_none() {
        ::log::warn!("no virtio-rng: random numbers come from the processor alone");
    }
    let mut key = KEY.lock();
    for (word, bytes) in key
        .iter_mut()
        .zip(device.unwrap_or_default().chunks_exact(4))
    {
        *word ^= u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for _ in 0..4 {
        mix_processor(&mut key);
        split(&mut key);
    }
}

/// Mixes 64 bits of the processor's, and what time it is, into a key; the next [`split`] spreads them.
fn mix_processor(key: &mut Key) {
    let cycles = time_stamp();
    let time = Instant::now().0;
    let random = cpu::hardware_random().unwrap_or(0);
    for (pair, value) in key
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip([random, cycles, time])
    {
        pair[0] ^= value as u32;
        pair[1] ^= (value >> 32) as u32;
    }
}

/// Replaces a key by one that follows from it and gives another one.
fn split(key: &mut Key) -> Key {
    let mut words = words(key, 0, [0; 2]);
    let mut given = [0; 8];
    key.copy_from_slice(&words[..8]);
    given.copy_from_slice(&words[8..]);
    erase(&mut words);
    given
}

/// Overwrites secrets, so that the compiler does not take it for useless.
fn erase(words: &mut [u32]) {
    words.fill(0);
    core::hint::black_box(words);
}

fn block(key: &Key, counter: u64) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    for (part, word) in bytes.chunks_exact_mut(4).zip(words(key, counter, [0; 2])) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The ChaCha20 block function with a 64-bit counter and nonce, as Bernstein has it. RFC 8439 splits the same four
/// words differently.
fn words(key: &Key, counter: u64, nonce: [u32; 2]) -> [u32; 16] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12] = counter as u32;
    start[13] = (counter >> 32) as u32;
    start[14..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..10 {
        for column in 0..4 {
            quarter_round(&mut state, [column, 4 + column, 8 + column, 12 + column]);
        }
        for column in 0..4 {
            let diagonal = [
                column,
                4 + (column + 1) % 4,
                8 + (column + 2) % 4,
                12 + (column + 3) % 4,
            ];
            quarter_round(&mut state, diagonal);
        }
    }
    for (word, start) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(start);
    }
    state
}

fn quarter_round(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    let mut step = |x: usize, y: usize, z: usize, bits| {
        state[x] = state[x].wrapping_add(state[y]);
        state[z] = (state[z] ^ state[x]).rotate_left(bits);
    };
    step(a, b, d, 16);
    step(c, d, b, 12);
    step(a, b, d, 8);
    step(c, d, b, 7);
}

#[cfg(test)]
mod tests {
    use super::{split, words};

    /// RFC 8439, section 2.3.2.
    #[test]
    fn block_function() {
        let key =
            core::array::from_fn(|i| u32::from_le_bytes([0, 1, 2, 3].map(|n| 4 * i as u8 + n)));
        let counter = 0x0900_0000 << 32 | 1;
        let expected = [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2,
        ];
        assert_eq!(words(&key, counter, [0x4a00_0000, 0]), expected);
    }

    #[test]
    fn keys_change() {
        let mut key = [1; 8];
        let first = split(&mut key);
        assert_ne!(key, [1; 8]);
        assert_ne!(first, key);
        assert_ne!(split(&mut key), first);
    }
}
