//! The hash that sends n-grams to buckets.

/// A stable 64-bit hash: FNV-1a (offset basis 14695981039346656037, prime 1099511628211) over the bytes given,
/// finished with the mixing steps of MurmurHash3 (`fmix64`) because FNV's high bits alone are weak.
///
/// Trained weights are addressed through it, so its results must never change; a test pins them.
#[derive(Debug, Clone, Copy)]
pub struct NgramHasher(u64);

impl NgramHasher {
    /// A hasher for one family of n-grams; different tags give unrelated hashes for the same bytes.
    pub fn new(tag: u8) -> Self {
        let mut hasher = Self(14_695_981_039_346_656_037);
        hasher.byte(tag);
        hasher
    }

    /// Takes in one byte.
    pub fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
    }

    /// Takes in a character, as its UTF-8 bytes.
    pub fn char(&mut self, character: char) {
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            self.byte(byte);
        }
    }

    /// The bucket out of `2^bits` (1 to 32 bits) for what was taken in so far: the top bits of the finished hash.
    pub fn bucket(self, bits: u8) -> u32 {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        let bits = u32::from(bits.clamp(1, 32));
        u32::try_from(hash >> (64 - bits)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(tag: u8, text: &str, bits: u8) -> u32 {
        let mut hasher = NgramHasher::new(tag);
        text.chars().for_each(|c| hasher.char(c));
        hasher.bucket(bits)
    }

    #[test]
    fn unmixed_state_is_fnv_1a() {
        // The published test vector of FNV-1a 64 for the two bytes "a", "b" (tag 'a', then 'b').
        let mut hasher = NgramHasher::new(b'a');
        hasher.byte(b'b');
        assert_eq!(hasher.0, 0x089c_4407_b545_986a);
    }

    #[test]
    fn buckets_never_change() {
        assert_eq!(bucket(1, "moderato", 32), PINNED[0]);
        assert_eq!(bucket(2, "moderato", 32), PINNED[1]);
        assert_eq!(bucket(3, "é😀", 32), PINNED[2]);
        assert_eq!(bucket(1, "moderato", 20), PINNED[0] >> 12);
    }

    const PINNED: [u32; 3] = [1_096_479_658, 1_151_886_022, 671_571_037];
}
