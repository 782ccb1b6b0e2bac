//! A loaded model: from a text to its probability and to the words that made it.

use std::ops::Range;

use domain::{ModelRef, Span, sha256_hex};
use features::text::{Tokenised, WeightedBucket, tokenise, weighted_buckets, windows};
use thiserror::Error;

use crate::bundle::{Bundle, MODEL_FILE};
use crate::explain;
use crate::manifest::{self, Manifest, sigmoid};
use crate::runtime::{LinearSession, Onnx, Run};

/// Why a model could not be loaded. Trying the same bytes again does not help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not those that were asked for, or were changed.
    #[error("the {part} has the digest `{actual}`, wanted is `{expected}`")]
    Digest {
        /// `manifest` or `graph`.
        part: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The manifest cannot be read.
    #[error("reading the model's manifest")]
    Manifest(#[source] serde_json::Error),
    /// The manifest can be read, and asks for what this program does not do.
    #[error("the model's manifest has `{field}` = `{value}`, supported is {supported}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        supported: &'static str,
    },
    /// ONNX Runtime refused the graph.
    #[error("loading the model's graph")]
    Graph(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The graph was loaded and does not do what the manifest says.
    #[error("trying the model's graph")]
    Trial(#[source] ScoreError),
}

/// Why a text got no score. The same text fails again with the same model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// ONNX Runtime failed.
    #[error("running the model's graph")]
    Run(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The graph's output is not a number or infinite.
    #[error("the model's output is not a finite number")]
    NotFinite,
}

/// What the model says about a text. Both numbers are between 0 and 1 and rounded to six decimals: what is stored is
/// what is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The model's own probability, before calibration.
    pub raw: f64,
    /// The calibrated probability of the harm.
    pub calibrated: f64,
    /// The window that scored highest, in Unicode scalar values of the text; the first of equals.
    pub window: Range<usize>,
}

/// A model ready to score. Shared between threads; runs of one model follow each other.
#[derive(Debug)]
pub struct TextModel {
    identity: ModelRef,
    manifest: Manifest,
    session: LinearSession,
}

struct Best {
    run: Run,
    window: Range<usize>,
    input: Vec<WeightedBucket>,
}

impl TextModel {
    /// Verifies and loads a model. The manifest must have the digest `expected_sha256`, if given, and the graph the
    /// one that the manifest names, before ONNX Runtime sees a byte; then the graph is tried once.
    pub fn load(onnx: &Onnx, bundle: &Bundle, expected_sha256: Option<&str>) -> Result<Self, LoadError> {
        let sha256 = bundle.sha256();
        if let Some(expected) = expected_sha256 {
            same_digest("manifest", expected, &sha256)?;
        }
        let manifest: Manifest = serde_json::from_slice(&bundle.manifest).map_err(LoadError::Manifest)?;
        check(&manifest)?;
        same_digest("graph", &manifest.model.sha256, &sha256_hex(&bundle.model))?;
        let session = LinearSession::load(onnx, &bundle.model).map_err(LoadError::Graph)?;
        let identity = ModelRef { name: manifest.name.clone(), version: manifest.version.clone(), sha256 };
        let model = Self { identity, manifest, session };
        model.try_last_bucket().map_err(LoadError::Trial)?;
        Ok(model)
    }

    /// Which model it is.
    pub fn identity(&self) -> &ModelRef {
        &self.identity
    }

    /// The harm whose probability it gives, such as `hate`.
    pub fn harm(&self) -> &str {
        &self.manifest.harm
    }

    /// Everything serving knows about it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the model was trained for a language (BCP 47; its primary subtag counts). A text that does not say its
    /// language counts as supported.
    pub fn supports(&self, lang: Option<&str>) -> bool {
        let Some(lang) = lang else { return true };
        let primary = lang.split(['-', '_']).next().unwrap_or_default().trim();
        self.manifest.languages.iter().any(|known| known.eq_ignore_ascii_case(primary))
    }

    /// Scores a text: each of its windows by itself, the highest counts.
    pub fn score(&self, text: &str) -> Result<Scored, ScoreError> {
        let tokenised = tokenise(text);
        let best = self.best(&tokenised)?;
        let tokens = tokenised.tokens().get(best.window).unwrap_or_default();
        let start = tokens.first().map_or(0, |token| token.chars.start);
        let end = tokens.iter().map(|token| token.chars.end).max().unwrap_or(start);
        Ok(Scored {
            raw: six_decimals(sigmoid(best.run.logit)),
            calibrated: six_decimals(self.manifest.calibration.probability(best.run.logit)),
            window: start..end,
        })
    }

    /// The highest log-odds of the text's windows, before calibration and rounding: what a calibration is fitted on.
    pub fn log_odds(&self, text: &str) -> Result<f64, ScoreError> {
        Ok(self.best(&tokenise(text))?.run.logit)
    }

    /// The words that raised the score of the window that counts, at most five, heaviest first. A weight is the word's
    /// share of the calibrated log-odds, rounded to two decimals; n-grams are shared out evenly over their words.
    pub fn explain(&self, text: &str) -> Result<Vec<Span>, ScoreError> {
        let tokenised = tokenise(text);
        let best = self.best(&tokenised)?;
        let slope = self.manifest.calibration.slope;
        let shares = best.run.contributions.iter().map(|share| f64::from(*share) * slope);
        let weighted: Vec<_> = best.input.iter().copied().zip(shares).collect();
        Ok(explain::spans(&tokenised, best.window, &self.manifest.ngrams, &weighted))
    }

    /// The model step alone, from features to calibrated probability: for benches/model.rs.
    #[doc(hidden)]
    pub fn step(&self, input: &[WeightedBucket]) -> Result<f64, ScoreError> {
        Ok(six_decimals(self.manifest.calibration.probability(self.run(input)?.logit)))
    }

    fn best(&self, text: &Tokenised) -> Result<Best, ScoreError> {
        let mut best: Option<Best> = None;
        for window in windows(text, &self.manifest.window) {
            let input = weighted_buckets(text, window.clone(), &self.manifest.ngrams);
            let run = self.run(&input)?;
            if best.as_ref().is_none_or(|b| run.logit > b.run.logit) {
                best = Some(Best { run, window, input });
            }
        }
        // `windows` gives one window at least.
        best.ok_or(ScoreError::NotFinite)
    }

    fn run(&self, input: &[WeightedBucket]) -> Result<Run, ScoreError> {
        let mut buckets: Vec<i64> = input.iter().map(|b| i64::from(b.bucket)).collect();
        let mut values: Vec<f32> = input.iter().map(|b| b.value).collect();
        if buckets.is_empty() {
            // An empty tensor is a corner that runtimes differ in; an entry of value zero says the same.
            buckets.push(0);
            values.push(0.0);
        }
        let run = self.session.run(&buckets, &values).map_err(ScoreError::Run)?;
        if run.logit.is_finite() { Ok(run) } else { Err(ScoreError::NotFinite) }
    }

    /// Fails if the graph has fewer weights than the manifest has buckets, other inputs or other outputs.
    fn try_last_bucket(&self) -> Result<(), ScoreError> {
        let view = features::text::View::Word;
        let bucket = (1_u32 << self.manifest.ngrams.bits) - 1;
        self.run(&[WeightedBucket { view, bucket, value: 0.0 }]).map(|_| ())
    }
}

fn same_digest(part: &'static str, expected: &str, actual: &str) -> Result<(), LoadError> {
    if expected.eq_ignore_ascii_case(actual) {
        return Ok(());
    }
    Err(LoadError::Digest { part, expected: expected.to_owned(), actual: actual.to_owned() })
}

fn check(manifest: &Manifest) -> Result<(), LoadError> {
    let refuse =
        |field, value: &str, supported| Err(LoadError::Unsupported { field, value: value.to_owned(), supported });
    if manifest.schema != manifest::SCHEMA {
        return refuse("schema", &manifest.schema, "`model/1`");
    }
    if manifest.kind != manifest::KIND {
        return refuse("kind", &manifest.kind, "`ngram-linear`");
    }
    if manifest.model.file != MODEL_FILE {
        return refuse("model.file", &manifest.model.file, "`model.onnx`");
    }
    if let Err(error) = manifest.ngrams.check() {
        return refuse("ngrams", error.field, error.allowed);
    }
    let calibration = manifest.calibration;
    if !(calibration.slope.is_finite() && calibration.slope > 0.0) {
        return refuse("calibration.slope", &calibration.slope.to_string(), "a finite number above 0");
    }
    if !calibration.offset.is_finite() {
        return refuse("calibration.offset", &calibration.offset.to_string(), "a finite number");
    }
    Ok(())
}

fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
