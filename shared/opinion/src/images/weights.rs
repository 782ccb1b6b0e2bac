//! The files of the models: which they have to be, and that they are.

use std::path::{Path, PathBuf};

use domain::{ModelRef, sha256_hex};
use scoring::{Bytes, Execution, Graph, GraphError, Onnx};
use serde::Deserialize;
use thiserror::Error;

/// The manifest that is compiled in: no other files are loaded.
const MANIFEST: &str = include_str!("../../models/eyes/manifest.json");

/// Why the eyes could not be opened. Trying again does not help.
#[derive(Debug, Error)]
pub enum EyesError {
    /// The manifest in this program is broken.
    #[error("reading the manifest of the eyes that is compiled in")]
    Manifest(#[from] serde_json::Error),
    /// A file is not there or cannot be read.
    #[error("reading `{}`: `make tools` fetches the models into `.tools/eyes`", file.display())]
    Missing {
        /// Which.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is another than the manifest names.
    #[error("`{}` has the digest `{actual}`, wanted is `{expected}`: delete it and run `make tools`", file.display())]
    Digest {
        /// Which.
        file: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// ONNX Runtime refuses a graph.
    #[error("loading `{}`", file.display())]
    Graph {
        /// Which.
        file: PathBuf,
        /// What it says.
        source: GraphError,
    },
    /// The graph that recognises text carries no characters.
    #[error("the model that recognises text has no list `character` in its metadata")]
    NoCharacters,
}

/// Which files the eyes are made of. `shared/opinion/models/eyes/manifest.json` has their source and licences.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub nudity: Model,
    pub ocr_detect: Model,
    pub ocr_angle: Model,
    pub ocr_recognise: Model,
}

/// A file of weights.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// Its name in the folder.
    pub file: String,
    /// What the model is called.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of the file.
    pub sha256: String,
}

/// A folder of weights and what it has to hold.
#[derive(Debug)]
pub struct Weights {
    pub manifest: Manifest,
    folder: PathBuf,
}

impl Weights {
    /// The weights in a folder.
    pub fn of(folder: &Path) -> Result<Self, EyesError> {
        Ok(Self { manifest: serde_json::from_str(MANIFEST)?, folder: folder.to_owned() })
    }

    /// Verifies a file's digest and loads its graph.
    pub fn graph(&self, onnx: &Onnx, model: &Model, execution: Execution) -> Result<Graph, EyesError> {
        let file = self.folder.join(&model.file);
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => Bytes::from(bytes),
            Err(source) => return Err(EyesError::Missing { file, source }),
        };
        if bytes.sha256() != model.sha256 {
            return Err(EyesError::Digest { file, expected: model.sha256.clone(), actual: bytes.sha256().to_owned() });
        }
        Graph::load(onnx, &bytes, execution).map_err(|source| EyesError::Graph { file, source })
    }

    /// A model as records name it: the digest is the manifest's, which names all files.
    pub fn model_ref(&self, model: &Model) -> ModelRef {
        ModelRef { name: model.name.clone(), version: model.version.clone(), sha256: sha256_hex(MANIFEST.as_bytes()) }
    }
}
