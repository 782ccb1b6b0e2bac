//! Identifiers, validated at the door.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest identifier taken, in bytes: it is part of an item that has to stay under 1 KB.
pub const MAX_ID_BYTES: usize = 256;

/// Why an identifier was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing in it.
    #[error("must not be empty")]
    Empty,
    /// More than [`MAX_ID_BYTES`] bytes.
    #[error("must not be longer than {MAX_ID_BYTES} bytes")]
    TooLong,
    /// A control character; NUL separates the parts of a [`decision_id`].
    #[error("must not contain control characters")]
    ControlCharacter,
    /// A code point that is no character, or the mark of one that was lost: two ids could look alike, and no queue takes them.
    #[error("must not contain U+FFFD or code points that are no characters")]
    NotACharacter,
    /// A revision that is not a whole number from 1 to 2^53 - 1.
    #[error("must be a whole number from 1 to 9007199254740991")]
    RevisionOutOfRange,
}

/// The 66 noncharacters of Unicode (23.7): U+FDD0 to U+FDEF, and the last two code points of each plane.
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter);
    }
    if text.chars().any(|c| c == char::REPLACEMENT_CHARACTER || is_noncharacter(c)) {
        return Err(IdError::NotACharacter);
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names a post on the platform: 1 to 256 bytes, no control characters, only characters.
    PostId
}
id! {
    /// Names an author on the platform: 1 to 256 bytes, no control characters, only characters.
    AuthorId
}

/// Which version of a post: 1 for the first, growing with every edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Revision(u64);

impl Revision {
    /// The revision of a post that was never edited.
    pub const FIRST: Self = Self(1);

    /// The revision as a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Revision {
    type Error = IdError;
    fn try_from(number: u64) -> Result<Self, IdError> {
        // Above 2^53 - 1 JavaScript consumers would read another number than we wrote.
        if (1..=9_007_199_254_740_991).contains(&number) { Ok(Self(number)) } else { Err(IdError::RevisionOutOfRange) }
    }
}

impl From<Revision> for u64 {
    fn from(revision: Revision) -> u64 {
        revision.0
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A policy area, such as `hate`.
pub type Harm = String;

/// The lower-case hexadecimal SHA-256 of `bytes`: 64 digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The id of the one decision there is for a revision of a post: the first 32 hexadecimal digits of
/// SHA-256(post id, NUL, revision in decimal). Law 2 hangs on it being a function of these two alone.
#[must_use]
pub fn decision_id(post: &PostId, revision: Revision) -> String {
    let mut hex = sha256_hex(format!("{post}\0{revision}").as_bytes());
    hex.truncate(32);
    hex
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn decision_ids_are_what_any_sha256_tool_prints() {
        // printf 'p-1\0001' | sha256sum | cut -c1-32
        let id = decision_id(&PostId::try_from("p-1".to_owned()).unwrap(), Revision::FIRST);
        assert_eq!(id, "9a410159ba261fbf9a67562638adaa39");
    }

    #[test]
    fn bad_identifiers_are_refused() {
        assert_eq!(PostId::try_from(String::new()), Err(IdError::Empty));
        assert_eq!(PostId::try_from("a\0b".to_owned()), Err(IdError::ControlCharacter));
        assert_eq!(PostId::try_from("x".repeat(257)), Err(IdError::TooLong));
        for c in ['\u{FFFD}', '\u{FFFE}', '\u{FFFF}', '\u{FDD0}', '\u{1FFFE}', '\u{10FFFF}'] {
            assert_eq!(PostId::try_from(format!("a{c}")), Err(IdError::NotACharacter), "{c:?}");
        }
        assert!(PostId::try_from("é\u{1F600}\u{FFFC}\u{FDCF}".to_owned()).is_ok());
        assert_eq!(Revision::try_from(0), Err(IdError::RevisionOutOfRange));
        assert_eq!(Revision::try_from(1 << 53), Err(IdError::RevisionOutOfRange));
    }
}
