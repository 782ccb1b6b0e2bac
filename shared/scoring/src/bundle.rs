//! A model as bytes: its manifest and its graph.

use std::io;
use std::path::Path;

use domain::sha256_hex;

/// Name of the manifest in a model's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the graph in a model's folder.
pub const MODEL_FILE: &str = "model.onnx";

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
