//! Bytes a second, as limits are given.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Bytes a second, at least [`Rate::MIN`]. As text it may end in K, M or G for powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// The lowest rate: with less, what is moved at a time would stand still for seconds, as a lost
    /// peer does.
    pub const MIN: u64 = 1024;

    /// Takes so many bytes a second; `None` if they are fewer than [`MIN`](Self::MIN).
    pub fn new(bytes_per_second: u64) -> Option<Self> {
        NonZeroU64::new(bytes_per_second).filter(|rate| rate.get() >= Self::MIN).map(Rate)
    }

    /// The bytes a second.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let digits = text.trim_end_matches(['K', 'k', 'M', 'm', 'G', 'g']);
        let shift = match &text[digits.len()..] {
            "" => Some(0),
            "K" | "k" => Some(10),
            "M" | "m" => Some(20),
            "G" | "g" => Some(30),
            _ => None,
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| is_number);
        let bytes = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
        bytes.and_then(Self::new).ok_or("write bytes a second, from 1K on, such as 500K or 20M")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.get();
        for (shift, unit) in [(30, 'G'), (20, 'M'), (10, 'K')] {
            if bytes.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", bytes >> shift);
            }
        }
        bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_numbers_of_bytes() {
        for (text, expected) in
            [("1024", 1024), ("1K", 1024), ("500k", 512_000), ("20M", 20 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(text.parse::<Rate>().unwrap().get(), expected, "{text}");
        }
        for text in
            ["", "K", "0", "1023", "1KB", "1MK", "+2K", "-2K", "1.5M", "99999999999G", " 2K"]
        {
            assert!(text.parse::<Rate>().unwrap_err().contains("500K"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(bytes in Rate::MIN.., shift in 0_u32..40) {
            for bytes in [bytes, Rate::MIN << shift] {
                let rate = Rate::new(bytes).unwrap();
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
        }
    }
}
