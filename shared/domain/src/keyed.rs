//! Keyed digests. The deployment's key tells that two things are the same; without it nobody finds out what they are.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a keyed digest: half of what HMAC-SHA256 gives, and an item of the table has none to spare.
pub const KEYED_DIGEST_BYTES: usize = 16;
/// A shorter key could be guessed.
const LEAST_KEY_BYTES: usize = 32;

/// The first half of an HMAC-SHA256 under the deployment's key.
pub type KeyedDigest = [u8; KEYED_DIGEST_BYTES];

/// The deployment's key for digests, a secret: no `Debug` of it shows anything.
#[derive(Clone)]
pub struct DigestKey(Hmac<Sha256>);

/// The key is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key for digests must have at least {LEAST_KEY_BYTES} bytes")]
pub struct DigestKeyError;

impl DigestKey {
    /// The key that these bytes are.
    ///
    /// # Errors
    /// Fewer than 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, DigestKeyError> {
        if secret.len() < LEAST_KEY_BYTES {
            return Err(DigestKeyError);
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| DigestKeyError)
    }

    /// The digest of `parts`, whose borders count, for one purpose: under another it is another.
    #[must_use]
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> KeyedDigest {
        let mut mac = self.0.clone();
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        std::array::from_fn(|place| full.get(place).copied().unwrap_or_default())
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey")
    }
}

/// A keyed digest as 32 lower-case hexadecimal digits.
#[must_use]
pub fn keyed_hex(digest: KeyedDigest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    const SECRET: &[u8] = b"an example of a key, 32 bytes or";

    fn of(purpose: &str, parts: &[&[u8]]) -> String {
        keyed_hex(DigestKey::new(SECRET).unwrap().digest(purpose, parts))
    }

    #[test]
    fn digests_are_what_any_hmac_tool_prints() {
        // { printf '\0\0\0\0\0\0\0\006author\0\0\0\0\0\0\0\003u-1'; } | openssl dgst -sha256 -hmac 'an example of a key, 32 bytes or'
        assert_eq!(of("author", &[b"u-1"]), "44600ca48e133c3b8f7ac791543fc0c6");
    }

    #[test]
    fn purpose_key_and_borders_count() {
        let one = of("author", &[b"u-1"]);
        assert_ne!(of("post", &[b"u-1"]), one);
        assert_ne!(of("author", &[b"u-", b"1"]), one);
        assert_ne!(of("author", &[b"u-1", b""]), one);
        assert_ne!(of("authoru-1", &[]), one);
        let other = DigestKey::new(b"another example of a key, longer than the block").unwrap();
        assert_ne!(keyed_hex(other.digest("author", &[b"u-1"])), one);
        assert_eq!(of("author", &[b"u-1"]), one);
    }

    #[test]
    fn a_short_key_is_none_and_no_key_is_shown() {
        assert!(DigestKey::new(&SECRET[..31]).is_err());
        assert_eq!(format!("{:?}", DigestKey::new(SECRET).unwrap()), "DigestKey");
    }
}
