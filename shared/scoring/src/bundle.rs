//! A model as bytes: its manifest and its graph.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Name of the manifest in a model's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the graph in a model's folder.
pub(crate) const MODEL_FILE: &str = "model.onnx";

/// The bytes of a model, not yet trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Bytes of `manifest.json`.
    pub manifest: Vec<u8>,
    /// Bytes of `model.onnx`.
    pub model: Vec<u8>,
}

impl Bundle {
    /// Reads `manifest.json` and `model.onnx` in `folder`. The error names the file.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path)
                .map_err(|error| io::Error::new(error.kind(), format!("reading `{}`: {error}", path.display())))
        };
        Ok(Self { manifest: read(MANIFEST_FILE)?, model: read(MODEL_FILE)? })
    }

    /// The model's digest: SHA-256 of the manifest's bytes, in lower-case hexadecimal digits.
    pub fn sha256(&self) -> String {
        sha256_hex(&self.manifest)
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
    out
}
