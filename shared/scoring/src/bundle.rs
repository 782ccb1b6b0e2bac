//! A model as bytes: its manifest and its graph.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use domain::sha256_hex;

use crate::bytes::Bytes;
use crate::manifest::Manifest;

/// Name of the manifest in a model's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the graph in a model's folder.
pub const MODEL_FILE: &str = "model.onnx";
/// Name of the transformer's graph in a cascade's folder: in the format of ONNX Runtime, optimised already, since that can be used
/// where it lies in memory.
pub const TRANSFORMER_FILE: &str = "transformer.ort";
/// Name of the transformer's vocabulary in a cascade's folder.
pub const VOCABULARY_FILE: &str = "vocabulary.txt";

/// Name of a deployment's calibration in a model's folder.
pub const CALIBRATION_FILE: &str = "calibration.json";

/// The bytes of a model, not yet trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Bytes of `manifest.json`.
    pub manifest: Vec<u8>,
    /// Bytes of `model.onnx`.
    pub model: Vec<u8>,
    /// Bytes of the files there are besides, by name: those of a cascade, and a deployment's calibration.
    pub more: BTreeMap<String, Bytes>,
}

impl Bundle {
    /// Reads `manifest.json` and `model.onnx` in `folder` and, where there is one, `calibration.json`, and maps whatever else the manifest asks
    /// for, which must not be changed in place from now on. The error names the file.
    pub fn read(folder: &Path) -> io::Result<Self> {
        fn named<T>(path: &Path, read: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
            read(path).map_err(|error| io::Error::new(error.kind(), format!("reading `{}`: {error}", path.display())))
        }
        let read = |name: &str| named(&folder.join(name), |path| std::fs::read(path));
        let manifest = read(MANIFEST_FILE)?;
        let mut more = Self::more_files(&manifest)
            .iter()
            .map(|name| Ok(((*name).to_owned(), named(&folder.join(name), Bytes::map)?)))
            .collect::<io::Result<BTreeMap<_, _>>>()?;
        match read(CALIBRATION_FILE) {
            Ok(calibration) => _ = more.insert(CALIBRATION_FILE.to_owned(), calibration.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { model: read(MODEL_FILE)?, manifest, more })
    }

    /// Names of the files besides `model.onnx` that a manifest asks for. None for a manifest that cannot be read, which
    /// loading then refuses.
    pub fn more_files(manifest: &[u8]) -> &'static [&'static str] {
        match serde_json::from_slice::<Manifest>(manifest) {
            Ok(Manifest { transformer: Some(_), .. }) => &[TRANSFORMER_FILE, VOCABULARY_FILE],
            _ => &[],
        }
    }

    /// The model's digest: SHA-256, in lower-case hexadecimal digits, of the one file that names all others by digest. That is the
    /// deployment's calibration where there is one, which names the manifest, and else the manifest.
    pub fn sha256(&self) -> String {
        sha256_hex(self.calibration().unwrap_or(&self.manifest))
    }

    /// The same model with this calibration of a deployment, or with none.
    #[must_use]
    pub fn calibrated(mut self, calibration: Option<Vec<u8>>) -> Self {
        self.more.remove(CALIBRATION_FILE);
        self.more.extend(calibration.map(|bytes| (CALIBRATION_FILE.to_owned(), bytes.into())));
        self
    }

    /// Bytes of the deployment's calibration.
    pub fn calibration(&self) -> Option<&[u8]> {
        self.more.get(CALIBRATION_FILE).map(|bytes| &**bytes)
    }
}
