//! Random schedules of larger worlds than can be exhausted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::actions::Choices;
use crate::explore::{Failure, describe, shorten, walk};
use crate::rules::Rules;

/// Schedules, unless `MODEL_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 1_000_000;

/// The seed of the first schedule, unless `MODEL_SEED` says otherwise; the next has the next. Fixed, so
/// that a test that fails does so for everyone.
const SEED: u64 = 1;

/// Counts distinct states without keeping them: each sets one of 2^30 bits by its fingerprint, and the
/// number of bits that stay 0 tells how many there were, to about 0.1 %.
struct Distinct {
    words: Vec<AtomicU64>,
}

impl Distinct {
    const BITS: u32 = 30;

    fn new() -> Self {
        Self { words: (0..1_u32 << (Self::BITS - 6)).map(|_| AtomicU64::new(0)).collect() }
    }

    fn see(&self, fingerprint: u64) {
        let bit = fingerprint >> (u64::BITS - Self::BITS);
        if let Some(word) = usize::try_from(bit >> 6).ok().and_then(|at| self.words.get(at)) {
            let mask = 1 << (bit & 63);
            if word.load(Ordering::Relaxed) & mask == 0 {
                word.fetch_or(mask, Ordering::Relaxed);
            }
        }
    }

    /// In thousands, rounded.
    fn estimate(&self) -> String {
        let zeros: u32 = self.words.iter().map(|word| word.load(Ordering::Relaxed).count_zeros()).sum();
        let bits = f64::from(1_u32 << Self::BITS);
        format!("{:.2} million", bits * (bits / f64::from(zeros.max(1))).ln() / 1e6)
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {value:?}")))
}

#[test]
fn no_random_schedule_breaks_anything() {
    let (schedules, seed) = (setting("MODEL_SCHEDULES", SCHEDULES), setting("MODEL_SEED", SEED));
    let threads = std::thread::available_parallelism().map_or(1, |count| u64::try_from(count.get()).unwrap_or(1));
    let (distinct, broken) = (Distinct::new(), AtomicBool::new(false));
    let one = |thread: u64| {
        let (mut all, mut taken, mut longest, mut steps) = (Choices::default(), Vec::new(), (0, seed), 0);
        for at in (thread..schedules).step_by(usize::try_from(threads).unwrap_or(1)) {
            let seed = seed.wrapping_add(at);
            let walked = walk(seed, &Rules::KEPT, &mut all, &mut taken, |state| distinct.see(state));
            if let Err(failure) = walked {
                broken.store(true, Ordering::Relaxed);
                return Err((seed, failure));
            }
            steps += taken.len();
            longest = longest.max((taken.len(), seed));
            if broken.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok((longest, steps))
    };
    let walked: Vec<Result<_, (u64, Box<Failure>)>> = std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        walkers.into_iter().map(|walker| walker.join().unwrap()).collect()
    });
    let (mut longest, mut steps) = ((0, seed), 0);
    for walked in walked {
        match walked {
            Ok((far, more)) => (longest, steps) = (longest.max(far), steps + more),
            Err((seed, failure)) => panic!(
                "seed {seed} breaks: {}\nreplay: MODEL_SEED={seed} MODEL_SCHEDULES=1 cargo test --test model random\n\n{}\nshortened:\n{}",
                failure.violation,
                describe(&failure, &Rules::KEPT),
                describe(&shorten(&failure, &Rules::KEPT), &Rules::KEPT)
            ),
        }
    }
    println!(
        "seed {seed}: {schedules} schedules, {steps} moves, {} distinct states, the longest schedule {} moves (seed {})",
        distinct.estimate(),
        longest.0,
        longest.1
    );
}

#[test]
fn a_random_schedule_that_breaks_is_shortened_and_replays() {
    let rules = Rules { epoch_in_fence: false, ..Rules::KEPT };
    let (mut all, mut taken) = (Choices::default(), Vec::new());
    let mut first = |seed| walk(seed, &rules, &mut all, &mut taken, |_| {}).err();
    let (seed, failure) = (1..).find_map(|seed| first(seed).map(|failure| (seed, failure))).unwrap();
    assert_eq!(first(seed).unwrap().actions, failure.actions, "a seed is a schedule");
    let short = shorten(&failure, &rules);
    println!("{}", describe(&short, &rules));
    assert_eq!(short.violation.invariant, failure.violation.invariant);
    assert!(
        short.actions.len() <= failure.actions.len().min(30),
        "{} of {}",
        short.actions.len(),
        failure.actions.len()
    );
}
