//! Images that are known: their hashes and what they are called.

use std::str::FromStr;

use thiserror::Error;

use super::pdq::{NEAR, Pdq};

/// Where a deployment's list is: the key in its bucket of artefacts.
pub const BLOCK_LIST_KEY: &str = "blocklists/images.txt";
/// The longest list that is read, in bytes: some 200,000 images.
pub const MAX_BLOCK_LIST_BYTES: usize = 16 * 1024 * 1024;

/// Hashes of known images with their names. A list is a text with a line `hash,name` each; empty lines and such that begin with `#`
/// are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockList {
    entries: Vec<(Pdq, String)>,
}

/// A list cannot be read. Its line has to be put right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the block list {what}; a line is `hash,name`, the hash being 64 hexadecimal digits")]
pub struct BlockListError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl FromStr for BlockList {
    type Err = BlockListError;

    fn from_str(text: &str) -> Result<Self, BlockListError> {
        let lines = text.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
        let entries = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(line, entry)| {
            let wrong = |what| BlockListError { line, what };
            let (hash, name) = entry.split_once(',').ok_or(wrong("has no comma"))?;
            let hash = hash.trim().parse().map_err(|_| wrong("has no hash before its comma"))?;
            let name = name.trim();
            if name.is_empty() { Err(wrong("has no name")) } else { Ok((hash, name.to_owned())) }
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }
}

impl BlockList {
    /// What the nearest known image is called, if it is near enough to be the same ([`NEAR`]); the first of equals.
    pub fn near(&self, hash: &Pdq) -> Option<&str> {
        let distances = self.entries.iter().map(|(known, name)| (known.distance(hash), name));
        let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
        (distance <= NEAR).then_some(name.as_str())
    }

    /// How many images are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
