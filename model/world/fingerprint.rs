//! A state in 64 bits: what has been visited is remembered as that.

use std::hash::{Hash, Hasher};

use super::{Ghost, Row, World};

impl World {
    /// The same for a state and for the one with its first two workers exchanged: they are alike.
    pub fn fingerprint_of_both(&self) -> u64 {
        let mut other = *self;
        other.workers.swap(0, 1);
        for process in other.rows.iter_mut().filter_map(|row| row.worker.as_mut()) {
            process.slot = [1, 0, 2][usize::from(process.slot)];
        }
        self.fingerprint().min(other.fingerprint())
    }

    /// 64 bits for the whole state. Of a run that has ended, what nobody reads any more is left out.
    pub fn fingerprint(&self) -> u64 {
        let mut plain = *self;
        for (row, ghost) in plain.rows.iter_mut().zip(&mut plain.ghosts) {
            if row.status.is_terminal() {
                *row = Row { status: row.status, attempt: row.attempt, epoch: row.epoch, ..Row::QUEUED };
                *ghost = Ghost { verdicts: ghost.verdicts, ..Ghost::default() };
            }
        }
        fingerprint(&plain)
    }
}

/// 64 bits for anything made of small integers.
pub fn fingerprint(of: &impl Hash) -> u64 {
    let mut hasher = Mixer::default();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A fast hash of what fits in bytes, discriminants too: states are hashed some 10^8 times.
#[derive(Default)]
struct Mixer {
    mixed: u64,
    word: u64,
    /// Bytes in `word`.
    filled: u8,
}

impl Mixer {
    fn mix(mixed: u64, word: u64) -> u64 {
        let mixed = (mixed ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 32)
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.word = (self.word << 8) | u64::from(value);
        self.filled += 1;
        if self.filled == 8 {
            self.mixed = Self::mix(self.mixed, self.word);
            self.filled = 0;
        }
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u8(u8::try_from(value).unwrap_or(u8::MAX));
    }

    fn finish(&self) -> u64 {
        let mixed = Self::mix(Self::mix(self.mixed, self.word), 0xc4ce_b9fe_1a85_ec53);
        Self::mix(mixed, mixed >> 29)
    }
}
