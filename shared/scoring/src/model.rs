//! A loaded model: from a text to its probability and to the words that made it.

use std::ops::Range;

use domain::{ModelRef, Span, sha256_hex};
use features::text::{
    Reading, TokenKind, Tokenised, WeightedBucket, readings, segments, tokenise, weighted_buckets, windows,
};
use thiserror::Error;

use crate::bundle::{Bundle, MODEL_FILE};
use crate::deployment::{CalibrationError, DeploymentCalibration};
use crate::explain;
use crate::language::{self, Legible};
use crate::linear::{Linear, Run};
use crate::manifest::{self, Manifest, PieceWindow, Stacking, sigmoid};
use crate::runtime::Onnx;
use crate::transformer::{Row, Transformer, chars};

/// Why a model could not be loaded. Trying the same bytes again does not help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not those that were asked for, or were changed.
    #[error("the {part} has the digest `{actual}`, wanted is `{expected}`")]
    Digest {
        /// `manifest`, `calibration`, `graph`, `transformer` or `vocabulary`.
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
    /// The deployment's calibration cannot be used.
    #[error("reading the deployment's calibration")]
    Calibration(#[source] CalibrationError),
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
    /// Outputs were handed in for other rows than the text has.
    #[error("there are not as many outputs as the text has rows")]
    OtherRows,
}

/// What the model says about a text. Both numbers are between 0 and 1 and rounded to six decimals: what is stored is
/// what is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The model's own probability, before calibration.
    pub raw: f64,
    /// The calibrated probability of the harm, on the deployment's own posts where it has a calibration of its own.
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
    /// Heaviest first, five at most; places in the raw text.
    pub spans: Vec<Span>,
    /// How often the transformer ran for it.
    pub runs: usize,
}

/// A model ready to score. Shared between threads; runs of one model follow each other.
#[derive(Debug)]
pub struct TextModel {
    identity: ModelRef,
    manifest: Manifest,
    linear: Linear,
    transformer: Option<Transformer>,
    deployment: Option<DeploymentCalibration>,
}

/// Names of a transformer's outputs that are scores of classes.
const CLASSES: [&str; 3] = ["class_hate", "class_offensive", "class_neither"];

/// A sentence of fewer words, all in ASCII, is not said to be in another language than the text around it.
const LEAST_WORDS: usize = 5;

struct Best {
    run: Run,
    reading: usize,
    text: Tokenised,
    window: Range<usize>,
    input: Vec<WeightedBucket>,
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
    /// Verifies and loads a model. It must have the digest `expected_sha256`, if given ([`Bundle::sha256`]), and each file the
    /// one that another names, before ONNX Runtime sees a byte; then the graph is tried once.
    pub fn load(onnx: &Onnx, bundle: &Bundle, expected_sha256: Option<&str>) -> Result<Self, LoadError> {
        let sha256 = bundle.sha256();
        if let Some(expected) = expected_sha256 {
            same_digest(if bundle.calibration().is_some() { "calibration" } else { "manifest" }, expected, &sha256)?;
        }
        let manifest: Manifest = serde_json::from_slice(&bundle.manifest).map_err(LoadError::Manifest)?;
        check(&manifest)?;
        same_digest("graph", &manifest.model.sha256, &sha256_hex(&bundle.model))?;
        let linear = Linear::read(&bundle.model).map_err(|error| LoadError::Graph(error.into()))?;
        let model = ModelRef {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256: sha256_hex(&bundle.manifest),
        };
        let read = |bytes| DeploymentCalibration::read(bytes, &model);
        let deployment = bundle.calibration().map(read).transpose().map_err(LoadError::Calibration)?;
        let identity = match &deployment {
            None => model,
            Some(own) => ModelRef { version: format!("{}+{}", model.version, own.version), sha256, ..model },
        };
        let transformer = match &manifest.transformer {
            Some(second) => Some(Transformer::load(onnx, second, bundle)?),
            None => None,
        };
        let model = Self { identity, manifest, linear, transformer, deployment };
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

    /// The deployment's own calibration, where it has one.
    pub fn deployment(&self) -> Option<&DeploymentCalibration> {
        self.deployment.as_ref()
    }

    /// Whether the model was trained for a language (BCP 47; its primary subtag counts). A text that does not say its
    /// language counts as supported.
    pub fn supports(&self, lang: Option<&str>) -> bool {
        let Some(lang) = lang else { return true };
        let primary = lang.split(['-', '_']).next().unwrap_or_default().trim();
        self.manifest.languages.iter().any(|known| known.eq_ignore_ascii_case(primary))
    }

    /// What of a text is in the language that the model has learned, where that is English alone; of other models nobody can say.
    pub fn reads(&self, text: &str) -> Legible {
        if self.manifest.languages != ["en"] {
            return Legible::All;
        }
        let vocabulary = self.transformer.as_ref().map(Transformer::vocabulary);
        let tokens = tokenise(text);
        let words = |within: Range<usize>| {
            let words = tokens.tokens().get(within).unwrap_or_default().iter();
            let words = words.filter(|token| token.kind == TokenKind::Word);
            let words: Vec<&str> = words.filter_map(|token| text.get(token.bytes.clone())).collect();
            (words.len(), words.join(" "))
        };
        let (_, whole) = words(0..tokens.tokens().len());
        if language::is_foreign(&whole, vocabulary) {
            return Legible::No;
        }
        let is_foreign = |segment: Range<usize>| {
            let (count, sentence) = words(segment);
            (count >= LEAST_WORDS || !sentence.is_ascii()) && language::is_foreign(&sentence, vocabulary)
        };
        let foreign = segments(text, &tokens, |_| false).into_iter().any(is_foreign);
        if foreign { Legible::Partly } else { Legible::All }
    }

    /// Scores a text: each window of each of its readings by itself, the highest counts. In a cascade the linear graph's score stands
    /// where it is clear; otherwise the transformer's does.
    pub fn score(&self, text: &str) -> Result<Scored, ScoreError> {
        let readings = readings(text);
        let linear = self.best(&readings)?;
        let Some((transformer, second)) = self.second_stage(&linear) else {
            return Ok(Scored {
                raw: six_decimals(sigmoid(linear.run.logit)),
                calibrated: self.deployed(self.manifest.calibration.probability(linear.run.logit)),
                window: linear.place(&readings),
                stage: Stage::Linear,
            });
        };
        let best = transformer.best(&readings, |text| self.suspicion(text))?;
        let window = readings.get(best.reading).map_or(0..0, |reading| reading.raw(chars(&best.pieces)));
        Ok(self.stacked(&second.calibration, best.logit, linear.run.logit, window))
    }

    /// What the log-odds of both stages come to.
    fn stacked(&self, stacking: &Stacking, transformer: f64, linear: f64, window: Range<usize>) -> Scored {
        Scored {
            raw: six_decimals(sigmoid(transformer)),
            calibrated: self.deployed(stacking.probability(transformer, linear)),
            window,
            stage: Stage::Transformer,
        }
    }

    /// The deployment's probability for the model's, rounded. What it maps is rounded too, because it was fitted on recorded scores.
    fn deployed(&self, probability: f64) -> f64 {
        let score = six_decimals(probability);
        self.deployment.as_ref().map_or(score, |own| six_decimals(own.mapping.apply(score)))
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
        let best = |transformer: &Transformer| transformer.best(&readings(text), |text| self.suspicion(text));
        self.transformer.as_ref().map(|transformer| Ok(best(transformer)?.logit)).transpose()
    }

    /// What the transformer has to run for a text, in the order of [`Self::score`]: a row for each window of each reading; of a reading at
    /// most `most`, those that the linear graph finds highest. With [`Self::run`] and [`Self::conclude`] for callers that run rows
    /// themselves. None where there is no transformer.
    pub fn rows(&self, text: &str, most: usize) -> Result<Vec<Row>, ScoreError> {
        let Some(transformer) = &self.transformer else { return Ok(Vec::new()) };
        transformer.rows(&readings(text), most, |text| self.suspicion(text))
    }

    /// All outputs of the transformer for the ids of one row, as the manifest names them, the log-odds of the harm first. None where there is
    /// no transformer.
    pub fn run(&self, ids: &[i64]) -> Result<Vec<f64>, ScoreError> {
        self.transformer.as_ref().map_or(Ok(Vec::new()), |transformer| transformer.outputs(ids))
    }

    /// The score of a text for its rows and the transformer's log-odds of each, in their order: what [`Self::score`] gives where the linear
    /// graph leaves the answer to the transformer. The first of equals counts.
    pub fn conclude(&self, text: &str, rows: &[Row], log_odds: &[f64]) -> Result<Scored, ScoreError> {
        let second = self.manifest.transformer.as_ref().filter(|_| rows.len() == log_odds.len());
        let Some(second) = second else { return Err(ScoreError::OtherRows) };
        let mut best: Option<(&Row, f64)> = None;
        for (row, log_odds) in rows.iter().zip(log_odds.iter().copied()) {
            if !log_odds.is_finite() {
                return Err(ScoreError::NotFinite);
            }
            if best.is_none_or(|(_, highest)| log_odds > highest) {
                best = Some((row, log_odds));
            }
        }
        let (row, highest) = best.ok_or(ScoreError::OtherRows)?;
        Ok(self.stacked(&second.calibration, highest, self.log_odds(text)?, row.window.clone()))
    }

    /// Probabilities of the three classes hate, offensive and neither, which exclude each other, from the transformer whatever the linear
    /// graph says, for the window that counts for the harm. Not calibrated. `None` where the model has no such outputs.
    pub fn classes(&self, text: &str) -> Result<Option<[f64; 3]>, ScoreError> {
        let Some((transformer, second)) = self.transformer.as_ref().zip(self.manifest.transformer.as_ref()) else {
            return Ok(None);
        };
        let place = |name: &str| second.outputs.iter().position(|output| output == name);
        let places = CLASSES.map(place);
        let best = transformer.best(&readings(text), |text| self.suspicion(text))?;
        let scores = places.map(|place| place.and_then(|place| best.outputs.get(place)).copied());
        let [Some(hate), Some(offensive), Some(neither)] = scores else { return Ok(None) };
        let highest = hate.max(offensive).max(neither);
        let exp = [hate, offensive, neither].map(|score| (score - highest).exp());
        let sum: f64 = exp.iter().sum();
        Ok(Some(exp.map(|exp| exp / sum)))
    }

    /// The words that raised a score, heaviest first: five at most, none below a fifth of the heaviest. `scored` is what [`Self::score`]
    /// gave for this text; only its window is read again. A weight is the word's share of the calibrated log-odds, rounded to two
    /// decimals. From the linear graph n-grams are shared out evenly over their words; where the transformer scored and `runs` is not 0,
    /// the weight is what the log-odds lose without the word, tried for the words that the linear graph finds heavy first.
    /// The transformer runs `runs` times at most, once for each reading of the window and once for each word tried; where that is too
    /// few, or no word is missed, the linear graph explains.
    pub fn explain(&self, text: &str, scored: &Scored, runs: usize) -> Result<Explained, ScoreError> {
        let window: String = text.chars().skip(scored.window.start).take(scored.window.len()).collect();
        let readings = readings(&window);
        let linear = self.best(&readings)?;
        let slope = self.manifest.calibration.slope;
        let shares = linear.run.contributions.iter().map(|share| f64::from(*share) * slope);
        let weighted: Vec<_> = linear.input.iter().copied().zip(shares).collect();
        let spans = explain::spans(&linear.text, linear.window.clone(), &self.manifest.ngrams, &weighted);
        let spans = explain::ordered(linear.raw(&readings, spans));
        let explained = |method, spans, runs| {
            let whole = |span: Span| Span {
                start: span.start + scored.window.start,
                end: span.end + scored.window.start,
                ..span
            };
            Explained { method, spans: explain::named(spans).into_iter().map(whole).collect(), runs }
        };
        let second = self.transformer.as_ref().zip(self.manifest.transformer.as_ref());
        let Some((transformer, second)) =
            second.filter(|_| scored.stage == Stage::Transformer && runs > readings.len())
        else {
            return Ok(explained("linear", spans, 0));
        };
        let best = transformer.first(&readings)?;
        let Some(reading) = readings.get(best.reading) else { return Err(ScoreError::NotFinite) };
        let mut missed = transformer.occlusion(&best, reading, &spans, runs.saturating_sub(best.runs))?;
        let runs = best.runs + missed.len();
        // What the score loses with a word: the transformer's part as found, the linear graph's by its share.
        let linear_share = second.calibration.linear / slope;
        for span in &mut missed {
            let touched = spans.iter().filter(|share| share.start < span.end && span.start < share.end);
            let shares: f64 = touched.map(|share| share.weight).sum();
            span.weight = span.weight * second.calibration.transformer + shares * linear_share;
        }
        let missed = explain::ordered(missed);
        Ok(if missed.is_empty() { explained("linear", spans, runs) } else { explained("occlusion", missed, runs) })
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
                let run = self.run_linear(&input)?;
                if best.as_ref().is_none_or(|b| run.logit > b.run.logit) {
                    best = Some(Best { run, reading, text: text.clone(), window, input });
                }
            }
        }
        // `windows` gives one window at least.
        best.ok_or(ScoreError::NotFinite)
    }

    /// The linear graph's log-odds of a stretch of a reading.
    fn suspicion(&self, stretch: &str) -> Result<f64, ScoreError> {
        let text = tokenise(stretch);
        let whole = 0..text.tokens().len();
        Ok(self.run_linear(&weighted_buckets(&text, whole, &self.manifest.ngrams))?.logit)
    }

    fn run_linear(&self, input: &[WeightedBucket]) -> Result<Run, ScoreError> {
        let run = self.linear.run(input).map_err(|error| ScoreError::Run(error.into()))?;
        if run.logit.is_finite() { Ok(run) } else { Err(ScoreError::NotFinite) }
    }

    /// Fails if the graph has fewer weights than the manifest has buckets, other inputs or other outputs.
    fn try_last_bucket(&self) -> Result<(), ScoreError> {
        let view = features::text::View::Word;
        let bucket = (1_u32 << self.manifest.ngrams.bits) - 1;
        self.run_linear(&[WeightedBucket { view, bucket, value: 0.0 }]).map(|_| ())
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
    let calibration = &manifest.calibration;
    if !(calibration.slope.is_finite() && calibration.slope > 0.0) {
        return refuse("calibration.slope", &calibration.slope.to_string(), "a finite number above 0");
    }
    if !calibration.offset.is_finite() {
        return refuse("calibration.offset", &calibration.offset.to_string(), "a finite number");
    }
    if let Some(second) = &manifest.transformer {
        let Stacking { transformer, linear, offset } = second.calibration;
        if !(transformer.is_finite() && transformer > 0.0 && linear.is_finite() && linear >= 0.0 && offset.is_finite())
        {
            return refuse(
                "transformer.calibration",
                &format!("{transformer}, {linear}, {offset}"),
                "finite numbers, the first above 0 and the second not below",
            );
        }
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
