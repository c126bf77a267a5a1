//! The random numbers of a history: SplitMix64 (Steele, Lea, Flood 2014), seeded, no global state.
//!
//! One seed names one history on every machine and for ever: the sequence is part of what a printed seed
//! means, so changing it makes old seeds worthless (a test pins the first numbers).

/// A generator. Cheap to copy on purpose: `fork` gives independent streams to independent parts, so that
/// a change in one part of a history leaves the others as they were.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x6576_656e_6b65_656c }
    }

    /// An independent generator, named by `part`.
    pub fn fork(&self, part: u64) -> Self {
        let mut child = Self { state: self.state.wrapping_add(part.wrapping_mul(0xd134_2543_de82_ef95)) };
        child.bits();
        child
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `lo ..= hi`.
    pub fn between(&mut self, lo: i64, hi: i64) -> i64 {
        let span = (hi - lo) as u64 + 1;
        lo + (self.bits() % span.max(1)) as i64
    }

    /// An index below `len` (0 for `len` 0).
    pub fn index(&mut self, len: usize) -> usize {
        (self.bits() % (len as u64).max(1)) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }

    /// One of the values.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// A number of `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Puts a slice into random order (Fisher, Yates).
    pub fn shuffle<T>(&mut self, slice: &mut [T]) {
        for i in (1..slice.len()).rev() {
            slice.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_a_seed_never_changes() {
        let mut rng = Rng::new(7);
        let first: Vec<u64> = (0..3).map(|_| rng.bits()).collect();
        assert_eq!(first, PINNED);
        assert_ne!(Rng::new(7).fork(1).bits(), Rng::new(7).fork(2).bits());
    }

    const PINNED: [u64; 3] = [10_200_470_730_778_740_319, 5_104_310_340_438_010_596, 924_359_647_548_379_786];

    #[test]
    fn draws_stay_in_their_range() {
        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            assert!((-3..=5).contains(&rng.between(-3, 5)));
            assert!((0.0..1.0).contains(&rng.unit()));
            assert!(rng.index(4) < 4);
        }
        let mut all: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut all);
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
