//! A short run of each fuzz target with pseudo-random input, the same every time.

use std::sync::atomic::{AtomicU64, Ordering};

/// The input in work, for the message when a bad access ends the process.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

extern "C" fn report(signal: i32) {
    let seed = SEED.load(Ordering::Relaxed);
    // Not allowed in a signal handler by the letter; the process is lost in any case.
    eprintln!("signal {signal} with seed {seed}");
    std::process::abort();
}

/// Runs a target with many inputs. `SEEDS=FIRST..LAST` chooses others.
fn run(target: fn(&[u8]), rounds: u64) {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the handler does not return.
        unsafe { libc::signal(signal, report as *const () as usize) };
    }
    let chosen = std::env::var("SEEDS").ok().and_then(|seeds| {
        let (first, last) = seeds.split_once("..")?;
        Some(first.parse().ok()?..last.parse().ok()?)
    });
    for seed in chosen.unwrap_or(0..rounds) {
        SEED.store(seed, Ordering::Relaxed);
        let mut random = Random(seed);
        let len = 4 + random.next() % 60;
        let input: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
            eprintln!("with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn headers() {
    run(loader_fuzz::headers, 20_000);
}

#[test]
fn tables() {
    run(loader_fuzz::tables, 4_000);
}

#[test]
fn cache() {
    run(loader_fuzz::cache, 2_000);
}

#[test]
fn relocation() {
    run(loader_fuzz::relocation, 2_000);
}

#[test]
fn object() {
    run(loader_fuzz::object, 2_000);
}
