//! The only source of chance in a world.

/// `SplitMix64` (Steele, Lea and Flood 2014): small, and each seed is a stream of its own.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }

    /// A number from 0 to `most` that is often small.
    pub(super) fn skewed(&mut self, most: u64) -> usize {
        let bits = 64 - most.leading_zeros();
        let shift = self.below(u64::from(bits) + 1);
        let bound = (1 << shift).min(most + 1).max(1);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }
}
