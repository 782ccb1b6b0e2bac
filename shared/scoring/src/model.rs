//! A loaded model: from a text to its probability and to the words that made it.

use std::ops::Range;

use domain::{ModelRef, Span, sha256_hex};
use features::text::{
    Reading, TokenKind, Tokenised, WeightedBucket, counted_buckets, readings, segments, tokenise, weighted_buckets,
    windows,
};
use thiserror::Error;

use crate::bundle::{Bundle, MODEL_FILE};
use crate::deployment::{CalibrationError, DeploymentCalibration};
use crate::explain;
use crate::language::{self, Legible};
use crate::linear::{Linear, Run};
use crate::manifest::{self, Manifest, PieceWindow, Stacking, sigmoid};
use crate::runtime::Onnx;
use crate::stretch::{OCCURRENCE, Weights};
use crate::transformer::{MOST_WINDOWS, Part, Row, Transformer};

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

/// What the linear graph says: of the window, or of the stretch, that it finds heaviest.
struct Best {
    run: Run,
    reading: usize,
    text: Tokenised,
    window: Range<usize>,
    input: Vec<WeightedBucket>,
}

/// What is to be done about a text, before the transformer runs.
struct Plan {
    readings: Vec<Reading>,
    linear: Best,
    /// Sentences to be read by themselves, the heaviest first.
    parts: Vec<Part>,
    /// What the heaviest sentence says that is one too many to be read.
    unread: Option<f64>,
}

/// A sentence of fewer words, all in ASCII, is not said to be in another language than the text around it.
const LEAST_WORDS: usize = 5;
/// Sentences of a text that are read by themselves.
const MOST_PARTS: usize = 32;
/// Words and signs of a sentence that are read at a time. Without an end in sight, stretches of this length are read, each half over the
/// one before.
const PART_TOKENS: usize = 24;

/// A segment, or stretches of it where it is long.
fn stretches(segment: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let step = PART_TOKENS / 2;
    let last = segment.len().saturating_sub(PART_TOKENS).div_ceil(step);
    (0..=last).map(move |number| {
        let start = segment.start + number * step;
        start..(start + PART_TOKENS).min(segment.end)
    })
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
        let plan = self.plan(text)?;
        let Some(transformer) = self.second_stage(&plan.linear) else {
            let logit = plan.linear.run.logit;
            return Ok(Scored {
                raw: six_decimals(sigmoid(logit)),
                calibrated: self.deployed(self.manifest.calibration.probability(logit)),
                window: plan.linear.place(&plan.readings),
                stage: Stage::Linear,
            });
        };
        let rows = transformer.rows(&plan.readings, &plan.parts, MOST_WINDOWS, |text| self.suspicion(text))?;
        let mut log_odds = Vec::with_capacity(rows.len());
        for row in &rows {
            log_odds.push(transformer.outputs(&row.ids)?.first().copied().ok_or(ScoreError::NotFinite)?);
        }
        self.concluded(&plan, &rows, &log_odds)
    }

    /// Whether the transformer is asked about a text. What is asked about is asked about whatever stands before or behind it.
    pub fn asks(&self, text: &str) -> Result<bool, ScoreError> {
        Ok(self.second_stage(&self.plan(text)?.linear).is_some())
    }

    /// Reads a text as far as the linear graph goes.
    fn plan(&self, text: &str) -> Result<Plan, ScoreError> {
        let readings = readings(text);
        let linear = self.best(&readings)?;
        let mut plan = Plan { readings, linear, parts: Vec::new(), unread: None };
        let second = self.manifest.transformer.as_ref();
        let Some(asked_from) = second.filter(|second| second.part_at_most.is_some()).map(|second| second.asked_from)
        else {
            return Ok(plan);
        };
        let raw: Vec<char> = text.chars().collect();
        let mut found: Vec<(f64, usize, Range<usize>)> = Vec::new();
        for (reading, read) in plan.readings.iter().enumerate() {
            let text = tokenise(read.text());
            let weights = self.weights(&text)?;
            // A word that stands for no letter of the text names an emoji.
            let named = |at: usize| {
                text.tokens().get(at).is_some_and(|token| {
                    let place = read.raw(token.chars.clone());
                    token.kind == TokenKind::Word
                        && !raw.get(place).unwrap_or_default().iter().any(|c| c.is_alphanumeric())
                })
            };
            let alone = segments(read.text(), &text, named);
            // What is said over two short sentences: "They moved in next door. Throw them out."
            let pairs = alone.windows(2).filter_map(|two| {
                let [first, second] = two else { return None };
                Some(first.start..second.end).filter(|both| both.len() <= PART_TOKENS)
            });
            for segment in alone.iter().cloned().chain(pairs) {
                for part in stretches(segment) {
                    let says = self.linear.bias() + weights.heaviest(part.clone()).1;
                    if self.manifest.calibration.probability(says) >= asked_from {
                        let tokens = text.tokens().get(part).unwrap_or_default();
                        let start = tokens.first().map_or(0, |token| token.chars.start);
                        let end = tokens.iter().map(|token| token.chars.end).max().unwrap_or(start);
                        found.push((says, reading, start..end));
                    }
                }
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        plan.unread = found.get(MOST_PARTS).map(|(says, ..)| *says);
        found.truncate(MOST_PARTS);
        plan.parts = found.into_iter().map(|(_, reading, chars)| Part { reading, chars }).collect();
        Ok(plan)
    }

    fn weights(&self, text: &Tokenised) -> Result<Weights, ScoreError> {
        Weights::of(text, &self.manifest.ngrams, &self.linear).ok_or(ScoreError::NotFinite)
    }

    /// The score for what the transformer says of each row. The whole counts as it is; a sentence by itself up to a bound, so that what the
    /// whole says decides whether it is worse than that. Sentences too many to be read count by what the linear graph says.
    fn concluded(&self, plan: &Plan, rows: &[Row], log_odds: &[f64]) -> Result<Scored, ScoreError> {
        let second = self.manifest.transformer.as_ref().filter(|_| rows.len() == log_odds.len());
        let Some(second) = second else { return Err(ScoreError::OtherRows) };
        let linear = plan.linear.run.logit;
        let mut best: Option<(f64, f64, &Row)> = None;
        for (row, log_odds) in rows.iter().zip(log_odds.iter().copied()) {
            if !log_odds.is_finite() {
                return Err(ScoreError::NotFinite);
            }
            let probability = second.calibration.probability(log_odds, linear);
            let counts = if row.part { probability.min(second.part_at_most.unwrap_or(1.0)) } else { probability };
            if best.as_ref().is_none_or(|(highest, ..)| counts > *highest) {
                best = Some((counts, log_odds, row));
            }
        }
        let (mut probability, log_odds, row) = best.ok_or(ScoreError::OtherRows)?;
        if let Some(unread) = plan.unread {
            let at_most = second.part_at_most.unwrap_or(1.0);
            probability = probability.max(self.manifest.calibration.probability(unread).min(at_most));
        }
        Ok(Scored {
            raw: six_decimals(sigmoid(log_odds)),
            calibrated: self.deployed(probability),
            window: row.window.clone(),
            stage: Stage::Transformer,
        })
    }

    /// The deployment's probability for the model's, rounded. What it maps is rounded too, because it was fitted on recorded scores.
    fn deployed(&self, probability: f64) -> f64 {
        let score = six_decimals(probability);
        self.deployment.as_ref().map_or(score, |own| six_decimals(own.mapping.apply(score)))
    }

    /// The transformer, where the linear graph's answer is not clear enough to stand.
    fn second_stage(&self, linear: &Best) -> Option<&Transformer> {
        let (transformer, second) = self.transformer.as_ref().zip(self.manifest.transformer.as_ref())?;
        (self.manifest.calibration.probability(linear.run.logit) >= second.asked_from).then_some(transformer)
    }

    /// The highest log-odds of the linear graph, before calibration and rounding: what its calibration is fitted on.
    pub fn log_odds(&self, text: &str) -> Result<f64, ScoreError> {
        Ok(self.best(&readings(text))?.run.logit)
    }

    /// The highest log-odds of the transformer over the whole and all sentences that are read by themselves, whatever the linear graph says
    /// of the whole; `None` where there is no transformer.
    pub fn transformer_log_odds(&self, text: &str) -> Result<Option<f64>, ScoreError> {
        let Some(transformer) = &self.transformer else { return Ok(None) };
        let mut highest: Option<f64> = None;
        for row in self.rows(text, MOST_WINDOWS)? {
            let log_odds = transformer.outputs(&row.ids)?.first().copied().ok_or(ScoreError::NotFinite)?;
            highest = Some(highest.map_or(log_odds, |highest| highest.max(log_odds)));
        }
        Ok(highest)
    }

    /// What the transformer has to run for a text, in the order of [`Self::score`]: a row for each window of each reading; of a reading at
    /// most `most`, those that the linear graph finds highest. With [`Self::run`] and [`Self::conclude`] for callers that run rows
    /// themselves. None where there is no transformer.
    pub fn rows(&self, text: &str, most: usize) -> Result<Vec<Row>, ScoreError> {
        let Some(transformer) = &self.transformer else { return Ok(Vec::new()) };
        let plan = self.plan(text)?;
        transformer.rows(&plan.readings, &plan.parts, most, |text| self.suspicion(text))
    }

    /// All outputs of the transformer for the ids of one row, as the manifest names them, the log-odds of the harm first. None where there is
    /// no transformer.
    pub fn run(&self, ids: &[i64]) -> Result<Vec<f64>, ScoreError> {
        self.transformer.as_ref().map_or(Ok(Vec::new()), |transformer| transformer.outputs(ids))
    }

    /// The score of a text for its rows and the transformer's log-odds of each, in their order: what [`Self::score`] gives where the linear
    /// graph leaves the answer to the transformer. The first of equals counts.
    pub fn conclude(&self, text: &str, rows: &[Row], log_odds: &[f64]) -> Result<Scored, ScoreError> {
        self.concluded(&self.plan(text)?, rows, log_odds)
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
            if self.manifest.stretches {
                let (window, says) = self.weights(&text)?.heaviest(0..text.tokens().len());
                let logit = self.linear.bias() + says;
                if !logit.is_finite() {
                    return Err(ScoreError::NotFinite);
                }
                if best.as_ref().is_none_or(|best| logit > best.run.logit) {
                    let input = counted_buckets(&text, window.clone(), &self.manifest.ngrams, OCCURRENCE);
                    let run = Run { logit, ..self.run_linear(&input)? };
                    best = Some(Best { run, reading, text, window, input });
                }
                continue;
            }
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
        if self.manifest.stretches {
            return Ok(self.linear.bias() + self.weights(&text)?.heaviest(whole).1);
        }
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
    if manifest.stretches && manifest.ngrams.word_max > 2 {
        return refuse("ngrams.word_max", &manifest.ngrams.word_max.to_string(), "1 or 2, where `stretches` is true");
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
        if let Some(at_most) =
            second.part_at_most.filter(|at_most| !(0.0..=1.0).contains(at_most) || !manifest.stretches)
        {
            return refuse("transformer.part_at_most", &at_most.to_string(), "0 to 1, where `stretches` is true");
        }
    }
    Ok(())
}

fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
