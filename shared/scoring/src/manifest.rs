//! What serving must know about a model, besides its graph.

use features::text::{NgramSpec, WindowSpec};
use serde::{Deserialize, Serialize};

/// The only layout of the manifest there is.
pub(crate) const SCHEMA: &str = "model/1";
/// Hashed n-grams into a linear ONNX graph with per-n-gram contributions.
pub(crate) const LINEAR: &str = "ngram-linear";
/// That for the clear cases, a transformer for the rest.
pub(crate) const CASCADE: &str = "cascade";

/// The file `manifest.json` of a model. The digest of its bytes identifies the model, its graph included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of this file, `model/1`.
    pub schema: String,
    /// What it is made of: `ngram-linear`, or `cascade` where a transformer follows the linear graph.
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
    /// Who is asked where the linear graph does not decide alone; in a `cascade` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer: Option<Transformer>,
}

/// The second stage of a cascade: an ONNX graph from the ids of a window's tokens, `[1, n]` of int64 with `[CLS]` and `[SEP]`,
/// to `[1, k]` of float, of which the first is the log-odds of the harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transformer {
    /// The graph.
    pub model: ModelFile,
    /// Its vocabulary, one token a line.
    pub vocabulary: ModelFile,
    /// How much text one run reads.
    pub window: PieceWindow,
    /// What the graph's outputs are, in order. Those named `class_hate`, `class_offensive` and `class_neither` are scores of three classes that
    /// exclude each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// From the log-odds of both stages to a probability.
    pub calibration: Stacking,
    /// Asked where the linear graph's calibrated probability is this or more; below, the linear one stands. With `worst_part` the
    /// probability is that of the most telling stretch of up to 24 tokens, otherwise that of the highest window.
    pub asked_from: f64,
    /// How parts of a text count that are read by themselves. Without it none is, as by models of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_part: Option<WorstPart>,
}

/// What the highest of a text's parts says: its sentences, and as much of the whole as one run reads.
/// `probability = min(at_most, 1 / (1 + exp(-(slope * stacked log-odds + offset))))`, in 64-bit arithmetic. The whole by itself, with its
/// stacking, counts where it comes to more than `at_most`: a sentence alone makes a post worth a look, the whole decides on more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorstPart {
    /// Positive, so that a worse part is never a lower probability.
    pub slope: f64,
    /// Log-odds added: a maximum over many is high more often.
    pub offset: f64,
    /// Above 0 and below 1.
    pub at_most: f64,
}

impl WorstPart {
    /// The calibrated probability of the highest part's stacked log-odds.
    pub fn probability(&self, stacked: f64) -> f64 {
        sigmoid(self.slope * stacked + self.offset).min(self.at_most)
    }
}

/// How many pieces of words a run of the transformer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PieceWindow {
    /// Pieces at most, the two marks of start and end not counted; 1 to 510.
    pub pieces: usize,
    /// Pieces that a window repeats from the end of the one before; less than half of a window.
    pub overlap: usize,
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

/// What both stages of a cascade say as one probability, in 64-bit arithmetic:
/// `probability = 1 / (1 + exp(-(transformer * its log-odds + linear * log-odds of the linear graph + offset)))`.
/// Source: D. Wolpert, Stacked generalization, 1992, with logistic regression on top.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stacking {
    /// Positive.
    pub transformer: f64,
    /// Not negative, so that neither stage's higher score is ever a lower probability.
    pub linear: f64,
    /// Log-odds added.
    pub offset: f64,
}

impl Stacking {
    /// The calibrated log-odds for those of the transformer and of the linear graph.
    pub fn log_odds(&self, transformer: f64, linear: f64) -> f64 {
        self.transformer * transformer + self.linear * linear + self.offset
    }

    /// The calibrated probability, between 0 and 1.
    pub fn probability(&self, transformer: f64, linear: f64) -> f64 {
        sigmoid(self.log_odds(transformer, linear))
    }
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
