//! The bytes of a large file: mapped or owned, shared, hashed once.

use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use domain::sha256_hex;

use crate::map::Map;

/// Bytes that a clone shares.
#[derive(Clone)]
pub struct Bytes(Arc<Inner>);

struct Inner {
    held: Held,
    sha256: OnceLock<String>,
}

enum Held {
    Owned(Vec<u8>),
    Mapped(Map),
}

impl Bytes {
    /// Maps a file, which must not be changed in place from now on.
    pub fn map(path: &Path) -> io::Result<Self> {
        Ok(Self::of(Held::Mapped(Map::open(path)?)))
    }

    /// SHA-256 in lower-case hexadecimal digits: computed when first asked for.
    pub fn sha256(&self) -> &str {
        self.0.sha256.get_or_init(|| sha256_hex(self))
    }

    /// Says that most of a file will not be read again soon.
    pub(crate) fn release(&self) {
        if let Held::Mapped(map) = &self.0.held {
            map.release();
        }
    }

    fn of(held: Held) -> Self {
        Self(Arc::new(Inner { held, sha256: OnceLock::new() }))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::of(Held::Owned(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0.held {
            Held::Owned(bytes) => bytes,
            Held::Mapped(map) => map.bytes(),
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
