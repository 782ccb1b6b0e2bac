//! What a foreign model says of itself.

use scoring::Calibration;
use serde::{Deserialize, Serialize};

use super::ForeignError;

/// The only layout of the card there is.
const SCHEMA: &str = "foreign/1";

/// The file `card.json`. The digest of its bytes identifies the model, its other files included. Fields that are not here are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Layout of this file, `foreign/1`.
    pub schema: String,
    /// Name of the model.
    pub name: String,
    /// Its version; a name and version are never used for two digests.
    pub version: String,
    /// The licence of its weights: an SPDX expression, or a name.
    pub license: String,
    /// The harm whose probability it gives, such as `hate`.
    pub harm: String,
    /// Primary subtags (BCP 47) of the languages it has learned, in lower case.
    pub languages: Vec<String>,
    /// The most tokens of a row, those that the tokenizer adds included. A longer text is read in windows that overlap by a quarter.
    pub max_tokens: usize,
    /// Names of the graph's inputs, each int64 `[rows, tokens]`.
    pub inputs: Inputs,
    /// Which of its outputs counts, and how.
    pub output: Output,
    /// Platt scaling of the log-odds to a calibrated probability; `null` where the model's own probability stands.
    pub calibration: Option<Calibration>,
    /// Whether the text with evasions undone is read too, where it differs, and the higher score counts. Golden vectors know the text alone.
    #[serde(default)]
    pub undo_evasions: bool,
    /// SHA-256 of the files beside the card.
    pub files: Files,
}

/// Names of inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Token ids.
    pub ids: String,
    /// 1 for a token, 0 for a pad; without it only rows of one length run together.
    #[serde(default)]
    pub attention_mask: Option<String>,
    /// Token types, all 0.
    #[serde(default)]
    pub token_types: Option<String>,
}

impl Inputs {
    /// Those there are.
    pub(super) fn names(&self) -> Vec<String> {
        [Some(&self.ids), self.attention_mask.as_ref(), self.token_types.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

/// The output that counts: float32 `[rows, classes]` or `[rows]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Which of its classes is the harm, from 0.
    pub index: usize,
    /// What makes a probability of it.
    pub activation: Activation,
}

/// From an output to a probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `1 / (1 + exp(-x))` of the class.
    Sigmoid,
    /// `exp(x) / sum(exp(x))` over the classes.
    Softmax,
    /// It is one.
    None,
}

/// Probabilities nearer to 0 or 1 have no log-odds to speak of.
const NEAREST: f64 = 1e-7;

impl Activation {
    /// The log-odds of a class, or a code for why there are none.
    pub(super) fn log_odds(self, outputs: &[f32], index: usize) -> Result<f64, &'static str> {
        if !outputs.iter().all(|output| output.is_finite()) {
            return Err("output_not_finite");
        }
        let x = f64::from(*outputs.get(index).ok_or("output_without_that_index")?);
        match self {
            Self::Sigmoid => Ok(x),
            Self::Softmax => {
                let others = || outputs.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, y)| f64::from(*y));
                let highest = others().fold(f64::NEG_INFINITY, f64::max);
                if highest == f64::NEG_INFINITY {
                    return Err("softmax_of_one_class");
                }
                Ok(x - highest - others().map(|y| (y - highest).exp()).sum::<f64>().ln())
            }
            Self::None if (0.0..=1.0).contains(&x) => {
                let x = x.clamp(NEAREST, 1.0 - NEAREST);
                Ok((x / (1.0 - x)).ln())
            }
            Self::None => Err("output_not_a_probability"),
        }
    }
}

/// SHA-256 of files, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Of `model.onnx`.
    #[serde(rename = "model.onnx")]
    pub model: String,
    /// Of `tokenizer.json`.
    #[serde(rename = "tokenizer.json")]
    pub tokenizer: String,
    /// Of `golden.jsonl`.
    #[serde(rename = "golden.jsonl")]
    pub golden: String,
}

impl Card {
    /// Reads the file and checks that it can be used.
    pub fn read(bytes: &[u8]) -> Result<Self, ForeignError> {
        let card: Self = serde_json::from_slice(bytes).map_err(ForeignError::Card)?;
        let refuse = |field, value: &str, supported| {
            Err(ForeignError::Unsupported { field, value: value.to_owned(), supported })
        };
        if card.schema != SCHEMA {
            return refuse("schema", &card.schema, "`foreign/1`");
        }
        // They stand on records, in keys and in messages.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        for (field, value) in [("name", &card.name), ("version", &card.version), ("harm", &card.harm)] {
            if !((1..=64).contains(&value.len()) && value.bytes().all(plain)) {
                return refuse(field, value, "1 to 64 letters, digits, `-`, `_` or `.`");
            }
        }
        if card.license.trim().is_empty() {
            return refuse("license", &card.license, "a licence: weights without one are nobody's to use");
        }
        let lower = |lang: &String| !lang.is_empty() && lang.bytes().all(|byte| byte.is_ascii_lowercase());
        if card.languages.is_empty() || !card.languages.iter().all(lower) {
            return refuse("languages", &card.languages.join(","), "primary subtags in lower case, one at least");
        }
        if !(8..=8192).contains(&card.max_tokens) {
            return refuse("max_tokens", &card.max_tokens.to_string(), "8 to 8192");
        }
        if let Some(Calibration { slope, offset }) = card.calibration
            && !(slope.is_finite() && slope > 0.0 && offset.is_finite())
        {
            return refuse("calibration", &format!("{slope}, {offset}"), "a finite slope above 0 and a finite offset");
        }
        Ok(card)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;
    use crate::foreign::read::sigmoid;

    #[test]
    fn every_activation_gives_the_log_odds_of_its_probability() {
        let outputs = [0.5_f32, -1.25, 2.0];
        let sum: f64 = outputs.iter().map(|x| f64::from(*x).exp()).sum();
        let softmax = sigmoid(Activation::Softmax.log_odds(&outputs, 1).unwrap());
        assert!((softmax - (-1.25_f64).exp() / sum).abs() < 1e-12);
        assert!((sigmoid(Activation::Sigmoid.log_odds(&outputs, 2).unwrap()) - 0.880_797_077_977_882).abs() < 1e-12);
        assert!((sigmoid(Activation::None.log_odds(&outputs, 0).unwrap()) - 0.5).abs() < 1e-12);
        let certain = Activation::Softmax.log_odds(&[1e4, -1e4], 0).unwrap();
        assert_eq!((certain, sigmoid(certain)), (2e4, 1.0));
    }

    #[test]
    fn what_is_no_probability_is_a_code() {
        assert_eq!(Activation::None.log_odds(&[1.5], 0), Err("output_not_a_probability"));
        assert_eq!(Activation::Softmax.log_odds(&[1.5], 0), Err("softmax_of_one_class"));
        assert_eq!(Activation::Sigmoid.log_odds(&[1.5], 1), Err("output_without_that_index"));
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(Activation::Sigmoid.log_odds(&[1.5, bad], 0), Err("output_not_finite"));
        }
    }
}
