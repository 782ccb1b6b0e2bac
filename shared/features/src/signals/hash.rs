//! PDQ hashes of images: how they are written and how far they are apart. How one is made stands where images are decoded.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A perceptual hash of 256 bits, the highest first: images that look alike have hashes that differ in few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageHash(pub [u64; 4]);

/// Hashes no further apart are of images that look alike: the advice of PDQ's reference (ThreatExchange, `pdq/`).
pub const NEAR: u32 = 31;

impl ImageHash {
    /// In how many bits two hashes differ.
    #[must_use]
    pub fn distance(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a ^ b).count_ones()).sum()
    }
}

impl fmt::Display for ImageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a PDQ hash has 64 hexadecimal digits")]
pub struct NotAHash;

impl FromStr for ImageHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAHash);
        }
        let mut words = [0; 4];
        for (place, word) in words.iter_mut().enumerate() {
            let digits = text.get(16 * place..16 * (place + 1)).ok_or(NotAHash)?;
            *word = u64::from_str_radix(digits, 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(words))
    }
}
