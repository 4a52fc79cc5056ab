//! Random numbers: ChaCha20 with fast key erasure (Bernstein), seeded from virtio-rng, the processor's generator and
//! the time, and seeded anew from all of these when a minute has passed.
//!
//! Every call takes its bytes, and before them the next key, out of a stream of its own: what has been given out cannot
//! be computed from what is left in memory. There is no estimate of entropy, and nobody waits for any.
//!
//! The stream is `rand_chacha`'s. Without its feature `std` it uses SSE2 alone: other vector registers are the
//! program's, also while the kernel runs.

use super::{dma::DmaHal, pci::Bus, virtio::Failure};
use crate::arch::{clock::time_stamp, cpu};
use crate::{sync::Mutex, time::Instant};
use alloc::boxed::Box;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use virtio_drivers::device::rng::VirtIORng;
use virtio_drivers::transport::pci::{PciTransport, bus::DeviceFunction};

type Key = [u8; 32];

/// How long a seed serves, in nanoseconds.
const LIFETIME: u64 = 60_000_000_000;

static GENERATOR: Mutex<Generator<Device>> = Mutex::new(Generator::new());

/// Fills `buf` with random bytes. May sleep.
pub fn fill(buf: &mut [u8]) {
    let mut stream = GENERATOR.lock().stream(Instant::now());
    stream.fill_bytes(buf);
    erase(&mut stream);
}

/// A random number. May sleep.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// What seeds come from beside the processor.
trait Source {
    /// So many random bytes; `None` if it fails.
    fn read(&mut self) -> Option<Key>;
}

struct Generator<S> {
    key: Key,
    source: Option<S>,
    /// When it was last seeded.
    seeded: Option<Instant>,
}

impl<S: Source> Generator<S> {
    const fn new() -> Self {
        Self {
            key: [0; 32],
            source: None,
            seeded: None,
        }
    }

    /// The bytes of one call, in a stream behind the generator's next key.
    fn stream(&mut self, now: Instant) -> ChaCha20Rng {
        let is_fresh = |seeded: Instant| now.0.saturating_sub(seeded.0) < LIFETIME;
        if !self.seeded.is_some_and(is_fresh) {
            self.seed();
            self.seeded = Some(now);
        }
        // Two copies of a machine go on with different numbers.
        self.mix(&time_stamp().to_ne_bytes());
        let mut stream = ChaCha20Rng::from_seed(self.key);
        stream.fill_bytes(&mut self.key);
        stream
    }

    /// Mixes all there is into the key; the next stream spreads it.
    fn seed(&mut self) {
        if let Some(bytes) = self.source.as_mut().and_then(S::read) {
            self.mix(&bytes);
        }
        for (number, word) in cpu::hardware_random().zip(self.key.as_chunks_mut::<8>().0) {
            *word = (u64::from_ne_bytes(*word) ^ number).to_ne_bytes();
        }
    }

    /// Nothing that is mixed in can make the key less random.
    fn mix(&mut self, bytes: &[u8]) {
        for (byte, more) in self.key.iter_mut().zip(bytes) {
            *byte ^= more;
        }
    }
}

/// Overwrites the key and what has been made of it, so that the compiler does not take it for useless.
fn erase(stream: &mut ChaCha20Rng) {
    *stream = ChaCha20Rng::from_seed([0; 32]);
    core::hint::black_box(stream);
}

/// virtio-rng. The buffer is on the heap, whose memory devices reach.
struct Device {
    driver: VirtIORng<DmaHal, PciTransport>,
    buffer: Box<Key>,
}

impl Source for Device {
    fn read(&mut self) -> Option<Key> {
        let mut done = 0;
        while done < self.buffer.len() {
            match self.driver.request_entropy(&mut self.buffer[done..]) {
                Ok(0) => return None,
                Ok(len) => done += len,
                Err(error) => {
                    ::log::warn!("virtio-rng: {error}");
                    return None;
                }
            }
        }
        Some(core::mem::take(&mut *self.buffer))
    }
}

/// Takes the device for a source.
pub(super) fn start(bus: &mut Bus, function: DeviceFunction) -> Result<(), Failure> {
    let driver = VirtIORng::new(bus.transport(function)?)?;
    GENERATOR.lock().source = Some(Device {
        driver,
        buffer: Box::new([0; 32]),
    });
    Ok(())
}

/// All devices have been found.
pub(super) fn begin() {
    if GENERATOR.lock().source.is_none() {
        ::log::warn!("no virtio-rng: random numbers come from the processor alone");
    }
}

#[cfg(test)]
mod tests {
    use super::{Generator, Key, LIFETIME, Source};
    use crate::time::Instant;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Gives so many keys of ones.
    struct Seeds(usize);

    impl Source for Seeds {
        fn read(&mut self) -> Option<Key> {
            self.0 = self.0.checked_sub(1)?;
            Some([1; 32])
        }
    }

    fn generator() -> Generator<Seeds> {
        Generator {
            source: Some(Seeds(2)),
            ..Generator::new()
        }
    }

    fn left(generator: &Generator<Seeds>) -> usize {
        generator.source.as_ref().map_or(0, |source| source.0)
    }

    #[test]
    fn a_seed_serves_for_its_lifetime() {
        let mut generator = generator();
        let ended = Instant(5 + LIFETIME);
        for (now, seeds) in [(Instant(5), 1), (Instant(4 + LIFETIME), 1), (ended, 0)] {
            generator.stream(now);
            assert_eq!(left(&generator), seeds);
        }
        // A source that fails is no hindrance.
        let key = generator.key;
        generator.stream(Instant(2 * LIFETIME + 5));
        assert_ne!(generator.key, key);
    }

    #[test]
    fn what_is_given_out_does_not_lead_to_the_key() {
        let mut generator = generator();
        let mut first = generator.stream(Instant(0));
        let (mut before, mut given) = ([0; 32], [0; 32]);
        first.fill_bytes(&mut given);
        before.copy_from_slice(&generator.key);
        assert_ne!(given, before);
        let mut second = generator.stream(Instant(0));
        let mut other = [0; 32];
        second.fill_bytes(&mut other);
        assert_ne!(given, other);
        assert_ne!(generator.key, before);
        // A call's key is in nobody's hands afterwards.
        let mut again = [0; 32];
        ChaCha20Rng::from_seed(generator.key).fill_bytes(&mut again);
        assert!(again != given && again != other);
    }
}
