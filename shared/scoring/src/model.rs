//! A loaded model: from a text to its probability and to the words that made it.

use std::ops::Range;

use domain::{ModelRef, Span, sha256_hex};
use features::text::{Reading, Tokenised, WeightedBucket, folded, plain, tokenise, weighted_buckets, windows};
use thiserror::Error;

use crate::bundle::{Bundle, MODEL_FILE};
use crate::explain;
use crate::linear::{Linear, Run};
use crate::manifest::{self, Manifest, PieceWindow, sigmoid};
use crate::runtime::Onnx;
use crate::transformer::Transformer;

/// Why a model could not be loaded. Trying the same bytes again does not help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not those that were asked for, or were changed.
    #[error("the {part} has the digest `{actual}`, wanted is `{expected}`")]
    Digest {
        /// `manifest`, `graph`, `transformer` or `vocabulary`.
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
    /// The transformer's vocabulary cannot be used.
    #[error("reading the model's vocabulary")]
    Vocabulary(#[source] Box<dyn std::error::Error + Send + Sync>),
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
    /// Who scored it.
    pub stage: Stage,
}

/// The part of a model that a score came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The linear graph.
    Linear,
    /// The transformer.
    Transformer,
}

/// Which words made a score, and how that was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// `linear` for the shares of the linear graph, `occlusion` for what the transformer loses with a word.
    pub method: &'static str,
    /// Heaviest first, five at most.
    pub spans: Vec<Span>,
}

/// A model ready to score. Shared between threads; runs of one model follow each other.
#[derive(Debug)]
pub struct TextModel {
    identity: ModelRef,
    manifest: Manifest,
    linear: Linear,
    transformer: Option<Transformer>,
}

struct Best {
    run: Run,
    reading: usize,
    text: Tokenised,
    window: Range<usize>,
    input: Vec<WeightedBucket>,
}

/// The plain reading, and the folded one where it differs.
fn readings(text: &str) -> Vec<Reading> {
    std::iter::once(plain(text)).chain(folded(text)).collect()
}

impl Best {
    /// Its place in the raw text.
    fn place(&self, readings: &[Reading]) -> Range<usize> {
        let tokens = self.text.tokens().get(self.window.clone()).unwrap_or_default();
        let start = tokens.first().map_or(0, |token| token.chars.start);
        let end = tokens.iter().map(|token| token.chars.end).max().unwrap_or(start);
        readings.get(self.reading).map_or(0..0, |reading| reading.raw(start..end))
    }

    /// Spans of its reading as spans of the raw text.
    fn raw(&self, readings: &[Reading], spans: Vec<Span>) -> Vec<Span> {
        let place = |span: Span| {
            let range = readings.get(self.reading).map_or(0..0, |reading| reading.raw(span.start..span.end));
            Span { start: range.start, end: range.end, ..span }
        };
        spans.into_iter().map(place).collect()
    }
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
        let linear = Linear::read(&bundle.model).map_err(|error| LoadError::Graph(error.into()))?;
        let identity = ModelRef { name: manifest.name.clone(), version: manifest.version.clone(), sha256 };
        let transformer = match &manifest.transformer {
            Some(second) => Some(Transformer::load(onnx, second, bundle)?),
            None => None,
        };
        let model = Self { identity, manifest, linear, transformer };
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

    /// Scores a text: each window of each of its readings by itself, the highest counts. In a cascade the linear graph's score stands
    /// where it is clear; otherwise the transformer's does.
    pub fn score(&self, text: &str) -> Result<Scored, ScoreError> {
        let readings = readings(text);
        let linear = self.best(&readings)?;
        let Some((transformer, second)) = self.second_stage(&linear) else {
            return Ok(Scored {
                raw: six_decimals(sigmoid(linear.run.logit)),
                calibrated: six_decimals(self.manifest.calibration.probability(linear.run.logit)),
                window: linear.place(&readings),
                stage: Stage::Linear,
            });
        };
        let best = transformer.best(&readings)?;
        let start = best.pieces.first().map_or(0, |piece| piece.chars.start as usize);
        let end = best.pieces.iter().map(|piece| piece.chars.end as usize).max().unwrap_or(start);
        Ok(Scored {
            raw: six_decimals(sigmoid(best.logit)),
            calibrated: six_decimals(second.calibration.probability(best.logit)),
            window: readings.get(best.reading).map_or(0..0, |reading| reading.raw(start..end)),
            stage: Stage::Transformer,
        })
    }

    /// The transformer, where the linear graph's answer is not clear enough to stand.
    fn second_stage(&self, linear: &Best) -> Option<(&Transformer, &manifest::Transformer)> {
        let (transformer, second) = self.transformer.as_ref().zip(self.manifest.transformer.as_ref())?;
        (self.manifest.calibration.probability(linear.run.logit) >= second.asked_from).then_some((transformer, second))
    }

    /// The highest log-odds of the linear graph, before calibration and rounding: what its calibration is fitted on.
    pub fn log_odds(&self, text: &str) -> Result<f64, ScoreError> {
        Ok(self.best(&readings(text))?.run.logit)
    }

    /// The highest log-odds of the transformer, whatever the linear graph says; `None` where there is no transformer.
    pub fn transformer_log_odds(&self, text: &str) -> Result<Option<f64>, ScoreError> {
        self.transformer.as_ref().map(|transformer| Ok(transformer.best(&readings(text))?.logit)).transpose()
    }

    /// The words that raised the score of the window that counts, at most five, heaviest first. A weight is the word's
    /// share of the calibrated log-odds, rounded to two decimals. From the linear graph n-grams are shared out evenly over their words;
    /// where the transformer scored and `runs` is not 0, the weight is what the log-odds lose without the word, found by as many runs of
    /// the transformer at most, words that the linear graph finds heavy first.
    pub fn explain(&self, text: &str, runs: usize) -> Result<Explained, ScoreError> {
        let readings = readings(text);
        let linear = self.best(&readings)?;
        let slope = self.manifest.calibration.slope;
        let shares = linear.run.contributions.iter().map(|share| f64::from(*share) * slope);
        let weighted: Vec<_> = linear.input.iter().copied().zip(shares).collect();
        let spans = explain::spans(&linear.text, linear.window.clone(), &self.manifest.ngrams, &weighted);
        let spans = explain::heaviest(linear.raw(&readings, spans), usize::MAX);
        let explained = |method, spans| Explained { method, spans: explain::heaviest(spans, explain::MOST_SPANS) };
        match self.second_stage(&linear) {
            Some((transformer, second)) if runs > 0 => {
                let best = transformer.best(&readings)?;
                let Some(reading) = readings.get(best.reading) else { return Err(ScoreError::NotFinite) };
                let mut found = transformer.occlusion(&best, reading, &spans, runs)?;
                for span in &mut found {
                    span.weight *= second.calibration.slope;
                }
                Ok(explained("occlusion", found))
            }
            _ => Ok(explained("linear", spans)),
        }
    }

    /// What the transformer is given for a text, window by window: for benches/model.rs. `None` where there is no transformer.
    #[doc(hidden)]
    pub fn transformer_inputs(&self, text: &str) -> Option<Vec<Vec<i64>>> {
        Some(self.transformer.as_ref()?.inputs(&readings(text)))
    }

    fn best(&self, readings: &[Reading]) -> Result<Best, ScoreError> {
        let mut best: Option<Best> = None;
        for (reading, text) in readings.iter().enumerate() {
            let text = tokenise(text.text());
            for window in windows(&text, &self.manifest.window) {
                let input = weighted_buckets(&text, window.clone(), &self.manifest.ngrams);
                let run = self.run(&input)?;
                if best.as_ref().is_none_or(|b| run.logit > b.run.logit) {
                    best = Some(Best { run, reading, text: text.clone(), window, input });
                }
            }
        }
        // `windows` gives one window at least.
        best.ok_or(ScoreError::NotFinite)
    }

    fn run(&self, input: &[WeightedBucket]) -> Result<Run, ScoreError> {
        let run = self.linear.run(input).map_err(|error| ScoreError::Run(error.into()))?;
        if run.logit.is_finite() { Ok(run) } else { Err(ScoreError::NotFinite) }
    }

    /// Fails if the graph has fewer weights than the manifest has buckets, other inputs or other outputs.
    fn try_last_bucket(&self) -> Result<(), ScoreError> {
        let view = features::text::View::Word;
        let bucket = (1_u32 << self.manifest.ngrams.bits) - 1;
        self.run(&[WeightedBucket { view, bucket, value: 0.0 }]).map(|_| ())
    }
}

pub(crate) fn same_digest(part: &'static str, expected: &str, actual: &str) -> Result<(), LoadError> {
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
    let kind = if manifest.transformer.is_some() { manifest::CASCADE } else { manifest::LINEAR };
    if manifest.kind != kind {
        return refuse("kind", &manifest.kind, "`cascade` with a `transformer`, `ngram-linear` without");
    }
    if manifest.model.file != MODEL_FILE {
        return refuse("model.file", &manifest.model.file, "`model.onnx`");
    }
    if let Err(error) = manifest.ngrams.check() {
        return refuse("ngrams", error.field, error.allowed);
    }
    let second = manifest.transformer.as_ref();
    for calibration in [Some(manifest.calibration), second.map(|second| second.calibration)].into_iter().flatten() {
        if !(calibration.slope.is_finite() && calibration.slope > 0.0) {
            return refuse("calibration.slope", &calibration.slope.to_string(), "a finite number above 0");
        }
        if !calibration.offset.is_finite() {
            return refuse("calibration.offset", &calibration.offset.to_string(), "a finite number");
        }
    }
    if let Some(second) = second {
        let PieceWindow { pieces, overlap } = second.window;
        if !(1..=510).contains(&pieces) || overlap * 2 > pieces {
            return refuse(
                "transformer.window",
                &format!("{pieces}, {overlap}"),
                "1 to 510 pieces, half of them overlapping at most",
            );
        }
        if !(0.0..=1.0).contains(&second.asked_from) {
            return refuse("transformer.asked_from", &second.asked_from.to_string(), "0 to 1");
        }
    }
    Ok(())
}

fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
