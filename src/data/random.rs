//! A small seeded generator (SplitMix64): the same numbers on every machine, and no state to save,
//! because every use derives its own generator from the seed and a purpose.

/// What a generator is for; part of what it is derived from.
pub(crate) mod purpose {
    /// The order of an epoch.
    pub const ORDER: u64 = 1;
    /// The split into parts.
    pub const SPLIT: u64 = 2;
    /// Which rows of an earlier stage are replayed.
    pub const REPLAY: u64 = 3;
    /// Which rows a cap keeps.
    pub const CAP: u64 = 4;
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator for one purpose: `parts` are the seed, what it is for, the epoch, ...
    pub fn for_parts(parts: &[u64]) -> Self {
        let mut state = 0x7461_6c6c_6f77_u64;
        for part in parts {
            state = scramble(state ^ scramble(*part));
        }
        Self(state)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble_raw(self.0)
    }

    /// A number below `n` (`n` > 0); the bias is under 2^-32 for any table that fits in memory.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

fn scramble(x: u64) -> u64 {
    scramble_raw(x.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

fn scramble_raw(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
