//! A loaded model: from a text to its probability and to the words that made it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use domain::{ModelRef, Span, sha256_hex};
use features::text::{
    Reading, TokenKind, Tokenised, WeightedBucket, clauses, folded, pieces, readings, segments, tokenise,
    weighted_buckets, windows,
};
use thiserror::Error;

use crate::bundle::{Bundle, MODEL_FILE};
use crate::deployment::{CalibrationError, DeploymentCalibration};
use crate::explain;
use crate::language::{self, Legible};
use crate::linear::{Linear, Run};
use crate::manifest::{self, Manifest, PieceWindow, Stacking, WorstPart, sigmoid};
use crate::runtime::Onnx;
use crate::stretch::{LONGEST, Stretches};
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

/// Parts of a text that are read by themselves, the most telling first: some 1,500 words of everyday talk, half a second. A text with more that
/// have to be read goes to a person.
const MOST_PARTS: usize = 256;

/// A segment of so few tokens is a fragment: a word in a line of its own, a cell of a table.
const FRAGMENT: usize = 3;

/// A sentence of fewer words, all in ASCII, is not said to be in another language than the text around it.
const LEAST_WORDS: usize = 5;

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
    /// The linear graph's log-odds of what it finds worst in the text.
    says: f64,
    /// Where that stands in the raw text.
    place: Range<usize>,
    /// What is read by itself.
    parts: Vec<Part>,
    /// Whether more would have to be.
    too_many: bool,
}

impl manifest::Transformer {
    /// The probability that a row makes of the harm: the whole by itself, or the worst of all rows as far as that goes.
    fn probability(&self, row: &Row, log_odds: f64) -> f64 {
        let whole = if row.part { 0.0 } else { self.calibration.probability(log_odds, row.linear) };
        match &self.worst_part {
            None => whole,
            Some(worst) if whole > worst.at_most => whole,
            Some(worst) => worst.probability(self.calibration.log_odds(log_odds, row.linear)),
        }
    }
}

/// The words of a text, how many and joined.
fn words_in(text: &str) -> (usize, String) {
    let tokens = tokenise(text);
    let words = tokens.tokens().iter().filter(|token| token.kind == TokenKind::Word);
    let words: Vec<&str> = words.filter_map(|token| text.get(token.bytes.clone())).collect();
    (words.len(), words.join(" "))
}

/// Where a range of tokens stands in its text, in Unicode scalar values.
fn chars_of(text: &Tokenised, tokens: Range<usize>) -> Range<usize> {
    let tokens = text.tokens().get(tokens).unwrap_or_default();
    let start = tokens.first().map_or(0, |token| token.chars.start);
    start..tokens.iter().map(|token| token.chars.end).max().unwrap_or(start)
}

/// What a range of tokens reads.
fn words_of<'a>(reading: &'a Reading, text: &Tokenised, tokens: Range<usize>) -> &'a str {
    let tokens = text.tokens().get(tokens).unwrap_or_default();
    let start = tokens.first().map_or(0, |token| token.bytes.start);
    let end = tokens.iter().map(|token| token.bytes.end).max().unwrap_or(start);
    reading.text().get(start..end).unwrap_or_default()
}

/// The sentences of a reading, what they quote, two neighbours together, fragments in a row, and overlapping stretches of what is longer than
/// a stretch: what may say something by itself.
fn parts(reading: &Reading, text: &Tokenised, raw: &[char]) -> Vec<Range<usize>> {
    let written = |at: usize| {
        let place = text.tokens().get(at).map_or(0..0, |token| reading.raw(token.chars.clone()));
        raw.get(place).unwrap_or_default()
    };
    let is_word = |at: usize| text.tokens().get(at).is_some_and(|token| token.kind == TokenKind::Word);
    // Words of the reading that stand for no letter of the text name an emoji; a link reads as one word.
    let apart = |at: usize| {
        let shown = text.tokens().get(at).and_then(|token| reading.text().get(token.bytes.clone()));
        let written = written(at);
        is_word(at)
            && (!written.iter().any(|c| c.is_alphanumeric()) || shown == Some("http") && written.len() > "http".len())
    };
    let is_lower = |at: usize| is_word(at) && written(at).iter().all(|c| c.is_lowercase());
    // "They hate Jews My sister sings": no stop, and still two sentences.
    let begins = |at: usize| {
        let Some(before) = at.checked_sub(1) else { return false };
        let lower: String = written(at).iter().flat_map(|c| c.to_lowercase()).collect();
        is_word(at)
            && is_word(before)
            && (is_lower(before) || before.checked_sub(1).is_some_and(is_lower))
            && written(at).first().is_some_and(|c| c.is_uppercase())
            && lower != "i"
            && language::is_common(&lower)
    };
    let sentences = segments(reading.text(), text, apart, begins);
    let is_fragment = |segment: &Range<usize>| segment.len() <= FRAGMENT;
    let pairs = sentences.windows(2).filter_map(|two| {
        let [first, second] = two else { return None };
        let both = first.start..second.end;
        (both.len() <= LONGEST && !(is_fragment(first) && is_fragment(second))).then_some(both)
    });
    let rows = sentences.chunk_by(|a, b| is_fragment(a) && is_fragment(b)).filter_map(|row| match row {
        [first, .., last] => Some(first.start..last.end),
        _ => None,
    });
    // A quotation may have several sentences.
    let quoted =
        pieces(reading.text(), text, 0..text.tokens().len()).into_iter().filter(|piece| piece.len() <= LONGEST);
    let quoted = sentences.iter().flat_map(|one| pieces(reading.text(), text, one.clone())).chain(quoted);
    // What is spoken about goes on over emoji and names, and into the next sentence: "that they live here. They are rats".
    let stops = segments(reading.text(), text, |_| false, |_| false);
    let next = |number: usize| stops.get(number + 1).map(|next| next.end);
    let said = stops.iter().enumerate().flat_map(|(number, one)| {
        let clauses = clauses(reading.text(), text, one.clone());
        let both = clauses.last().zip(next(number)).map(|(clause, end)| clause.start..end);
        clauses.into_iter().chain(both.filter(|both| both.len() <= LONGEST))
    });
    let step = LONGEST / 2;
    let stretches = |sentence: Range<usize>| {
        let more = sentence.len().saturating_sub(LONGEST).div_ceil(step);
        (0..=more).map(move |number| {
            let start = sentence.start + number * step;
            start..(start + LONGEST).min(sentence.end)
        })
    };
    sentences.iter().cloned().chain(rows).chain(quoted).chain(said).flat_map(stretches).chain(pairs).collect()
}

impl Best {
    /// Its place in the raw text.
    fn place(&self, readings: &[Reading]) -> Range<usize> {
        readings.get(self.reading).map_or(0..0, |reading| reading.raw(chars_of(&self.text, self.window.clone())))
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
    /// language, or says that nobody knows it (`und`, `mul`, `mis`, `zxx` of ISO 639-2), counts as supported: its words tell.
    pub fn supports(&self, lang: Option<&str>) -> bool {
        let Some(lang) = lang else { return true };
        let primary = lang.split(['-', '_']).next().unwrap_or_default().trim().to_ascii_lowercase();
        let primary = match primary.as_str() {
            "" | "und" | "mul" | "mis" | "zxx" => return true,
            "eng" | "english" => "en",
            other => other,
        };
        self.manifest.languages.iter().any(|known| known.eq_ignore_ascii_case(primary))
    }

    /// What of a text is in the language that the model has learned, where that is English alone; of other models nobody can say.
    pub fn reads(&self, text: &str) -> Legible {
        if self.manifest.languages != ["en"] {
            return Legible::All;
        }
        let vocabulary = self.transformer.as_ref().map(Transformer::vocabulary);
        let is_foreign = |text: &str| language::is_foreign(&words_in(text).1, vocabulary);
        // English in disguise is English, if it surely is: without their accents, other languages look like it as well.
        let is_disguised = |folded: &Reading| {
            !is_foreign(folded.text()) && language::is_surely_english(&words_in(folded.text()).1, vocabulary)
        };
        let shown = if !is_foreign(text) {
            Cow::Borrowed(text)
        } else if let Some(folded) = folded(text).filter(is_disguised) {
            Cow::Owned(folded.text().to_owned())
        } else {
            return Legible::No;
        };
        let tokens = tokenise(&shown);
        let is_foreign = |segment: Range<usize>| {
            let tokens = tokens.tokens().get(segment).unwrap_or_default();
            let from = tokens.first().map_or(0, |token| token.bytes.start);
            let sentence = shown.get(from..tokens.last().map_or(from, |token| token.bytes.end)).unwrap_or_default();
            let (count, words) = words_in(sentence);
            (count >= LEAST_WORDS || !words.is_ascii())
                && is_foreign(sentence)
                && !folded(sentence).as_ref().is_some_and(is_disguised)
        };
        let foreign = segments(&shown, &tokens, |_| false, |_| false).into_iter().any(is_foreign);
        if foreign { Legible::Partly } else { Legible::All }
    }

    /// Scores a text. In a cascade the linear graph's score stands where it is clear; otherwise the transformer reads the whole, each window
    /// of each of its readings, and the telling sentences by themselves, and the highest counts (law 10).
    pub fn score(&self, text: &str) -> Result<Scored, ScoreError> {
        let plan = self.plan(text)?;
        let Some((transformer, second)) = self.second_stage(&plan) else {
            return Ok(Scored {
                raw: six_decimals(sigmoid(plan.says)),
                calibrated: self.deployed(self.manifest.calibration.probability(plan.says)),
                window: plan.place,
                stage: Stage::Linear,
            });
        };
        let rows = self.planned(transformer, &plan, MOST_WINDOWS)?;
        let mut log_odds = Vec::with_capacity(rows.len());
        let mut highest = 0.0_f64;
        for row in &rows {
            // The whole comes first, and no part counts for more than this.
            if row.part && second.worst_part.is_some_and(|worst| highest >= worst.at_most) {
                break;
            }
            log_odds.push(transformer.outputs(&row.ids)?.first().copied().ok_or(ScoreError::NotFinite)?);
            highest = log_odds.last().map_or(highest, |log_odds| highest.max(second.probability(row, *log_odds)));
        }
        let read = rows.get(..log_odds.len()).unwrap_or_default();
        self.concluded(second, plan.too_many, read, &log_odds)
    }

    /// Whether the transformer is asked about a text. Where parts are read by themselves, text before or behind it never changes a yes.
    pub fn asks(&self, text: &str) -> Result<bool, ScoreError> {
        Ok(self.second_stage(&self.plan(text)?).is_some())
    }

    /// Reads a text as far as the linear graph goes.
    fn plan(&self, text: &str) -> Result<Plan, ScoreError> {
        let readings = readings(text);
        let second = self.manifest.transformer.as_ref();
        let Some(asked_from) = second.filter(|second| second.worst_part.is_some()).map(|second| second.asked_from)
        else {
            let best = self.best(&readings)?;
            let (says, place) = (best.run.logit, best.place(&readings));
            return Ok(Plan { readings, says, place, parts: Vec::new(), too_many: false });
        };
        let raw: Vec<char> = text.chars().collect();
        let mut worst: Option<(f64, Range<usize>)> = None;
        let mut found: Vec<Part> = Vec::new();
        let mut known = HashSet::new();
        for (number, reading) in readings.iter().enumerate() {
            let text = tokenise(reading.text());
            let stretches = Stretches::of(&text, &self.manifest.ngrams, &self.linear).ok_or(ScoreError::NotFinite)?;
            let says = |within| {
                let (stretch, says) = stretches.most_telling(within);
                (self.linear.bias() + says, stretch)
            };
            let (whole, stretch) = says(0..text.tokens().len());
            if !whole.is_finite() {
                return Err(ScoreError::NotFinite);
            }
            if worst.as_ref().is_none_or(|(highest, _)| whole > *highest) {
                worst = Some((whole, reading.raw(chars_of(&text, stretch))));
            }
            if self.manifest.calibration.probability(whole) < asked_from {
                continue;
            }
            for part in parts(reading, &text, &raw) {
                let (says, _) = says(part.clone());
                if self.manifest.calibration.probability(says) < asked_from {
                    continue;
                }
                if known.insert(words_of(reading, &text, part.clone()).to_owned()) {
                    let chars = chars_of(&text, part.clone());
                    let linear = self.run_linear(&weighted_buckets(&text, part, &self.manifest.ngrams))?.logit;
                    found.push(Part { reading: number, chars, linear, suspects: says });
                }
            }
        }
        // There is one reading at least.
        let (says, place) = worst.ok_or(ScoreError::NotFinite)?;
        found.sort_by(|a, b| b.suspects.total_cmp(&a.suspects));
        let too_many = found.len() > MOST_PARTS;
        found.truncate(MOST_PARTS);
        Ok(Plan { readings, says, place, parts: found, too_many })
    }

    /// What the transformer runs for a text.
    fn planned(&self, transformer: &Transformer, plan: &Plan, most: usize) -> Result<Vec<Row>, ScoreError> {
        let linear = self.best(&plan.readings)?.run.logit;
        transformer.rows(&plan.readings, &plan.parts, most, linear, |text| self.suspicion(text))
    }

    /// The score for what the transformer says of each row: the highest, the first of equals. A text with too many telling parts counts as one that has a bad one.
    fn concluded(
        &self,
        second: &manifest::Transformer,
        too_many: bool,
        rows: &[Row],
        log_odds: &[f64],
    ) -> Result<Scored, ScoreError> {
        if rows.len() != log_odds.len() {
            return Err(ScoreError::OtherRows);
        }
        let mut best: Option<(f64, f64, &Row)> = None;
        for (row, log_odds) in rows.iter().zip(log_odds.iter().copied()) {
            if !log_odds.is_finite() {
                return Err(ScoreError::NotFinite);
            }
            let probability = second.probability(row, log_odds);
            if best.as_ref().is_none_or(|(highest, ..)| probability > *highest) {
                best = Some((probability, log_odds, row));
            }
        }
        let (highest, log_odds, row) = best.ok_or(ScoreError::OtherRows)?;
        let least = second.worst_part.filter(|_| too_many).map_or(0.0, |worst| worst.at_most);
        Ok(Scored {
            raw: six_decimals(sigmoid(log_odds)),
            calibrated: self.deployed(highest.max(least)),
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
    fn second_stage(&self, plan: &Plan) -> Option<(&Transformer, &manifest::Transformer)> {
        let (transformer, second) = self.transformer.as_ref().zip(self.manifest.transformer.as_ref())?;
        (self.manifest.calibration.probability(plan.says) >= second.asked_from).then_some((transformer, second))
    }

    /// The linear graph's log-odds of what it finds worst in a text, which decide whether the transformer is asked: those of the most telling
    /// stretch where parts are read by themselves, otherwise those of [`Self::log_odds`].
    pub fn suspects(&self, text: &str) -> Result<f64, ScoreError> {
        Ok(self.plan(text)?.says)
    }

    /// The highest log-odds of the linear graph, before calibration and rounding: what its calibration is fitted on.
    pub fn log_odds(&self, text: &str) -> Result<f64, ScoreError> {
        Ok(self.best(&readings(text))?.run.logit)
    }

    /// The transformer's highest log-odds for the whole text, asked for or not. `None` where there is no transformer.
    pub fn transformer_log_odds(&self, text: &str) -> Result<Option<f64>, ScoreError> {
        let best = |transformer: &Transformer| transformer.best(&readings(text), |text| self.suspicion(text));
        self.transformer.as_ref().map(|transformer| Ok(best(transformer)?.logit)).transpose()
    }

    /// What the transformer has to run for a text, in the order of [`Self::score`]: a row for each window of each reading; of a reading at
    /// most `most`, those that the linear graph finds highest; and for each part that is read by itself. With [`Self::run`] and [`Self::conclude`] for callers that run rows
    /// themselves. None where there is no transformer.
    pub fn rows(&self, text: &str, most: usize) -> Result<Vec<Row>, ScoreError> {
        let Some(transformer) = &self.transformer else { return Ok(Vec::new()) };
        self.planned(transformer, &self.plan(text)?, most)
    }

    /// All outputs of the transformer for the ids of one row, as the manifest names them, the log-odds of the harm first. None where there is
    /// no transformer.
    pub fn run(&self, ids: &[i64]) -> Result<Vec<f64>, ScoreError> {
        self.transformer.as_ref().map_or(Ok(Vec::new()), |transformer| transformer.outputs(ids))
    }

    /// The score of a text for its rows and the transformer's log-odds of each, in their order: what [`Self::score`] gives where the linear
    /// graph leaves the answer to the transformer. The first of equals counts.
    pub fn conclude(&self, text: &str, rows: &[Row], log_odds: &[f64]) -> Result<Scored, ScoreError> {
        let Some(second) = &self.manifest.transformer else { return Err(ScoreError::OtherRows) };
        self.concluded(second, self.plan(text)?.too_many, rows, log_odds)
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
        if let Some(WorstPart { slope, offset, at_most }) = second.worst_part {
            if !(slope.is_finite() && slope > 0.0 && offset.is_finite() && at_most > 0.0 && at_most < 1.0) {
                return refuse(
                    "transformer.worst_part",
                    &format!("{slope}, {offset}, {at_most}"),
                    "finite numbers, the first above 0, the last above 0 and below 1",
                );
            }
            if manifest.ngrams.word_max > 2 {
                let given = manifest.ngrams.word_max.to_string();
                return refuse("ngrams.word_max", &given, "1 or 2, where `transformer.worst_part` is given");
            }
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
