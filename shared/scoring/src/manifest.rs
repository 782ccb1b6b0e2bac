//! What serving must know about a model, besides its graph.

use features::text::{NgramSpec, WindowSpec};
use serde::{Deserialize, Serialize};

/// The only layout of the manifest there is.
pub(crate) const SCHEMA: &str = "model/1";
/// The only kind of model there is: hashed n-grams into a linear ONNX graph with per-n-gram contributions.
pub(crate) const KIND: &str = "ngram-linear";

/// The file `manifest.json` of a model. The digest of its bytes identifies the model, its graph included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of this file, `model/1`.
    pub schema: String,
    /// How text becomes the graph's input, `ngram-linear`.
    pub kind: String,
    /// Name of the model, also of its folder.
    pub name: String,
    /// Version of the model; a name and version are never used for two digests.
    pub version: String,
    /// The harm whose probability it gives, such as `hate`.
    pub harm: String,
    /// Primary subtags (BCP 47) of the languages it was trained for, in lower case.
    pub languages: Vec<String>,
    /// The ONNX graph.
    pub model: ModelFile,
    /// N-grams of the input.
    pub ngrams: NgramSpec,
    /// How much text one run reads.
    pub window: WindowSpec,
    /// From the graph's log-odds to a probability.
    pub calibration: Calibration,
}

/// The graph's file, beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// File name, without a folder.
    pub file: String,
    /// SHA-256 of its bytes, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// Platt scaling: `probability = 1 / (1 + exp(-(slope * log_odds + offset)))`, in 64-bit arithmetic.
/// Source: J. Platt, Probabilistic outputs for support vector machines, 1999.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Positive, so that a higher raw score is never a lower probability.
    pub slope: f64,
    /// Log-odds added.
    pub offset: f64,
}

impl Calibration {
    /// The calibrated probability for log-odds, between 0 and 1.
    pub fn probability(&self, log_odds: f64) -> f64 {
        sigmoid(self.slope * log_odds + self.offset)
    }
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
