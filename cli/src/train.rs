//! `moderato train`: makes the n-gram baseline out of the public corpora, and its card.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use domain::policy::Band;
use domain::sha256_hex;
use features::text::{NgramSpec, WindowSpec};
use scoring::train::{Examples, LinearWeights, TrainConfig};
use scoring::{
    Bundle, Bytes, Calibration, LoadError, MANIFEST_FILE, MODEL_FILE, Manifest, ModelFile, Onnx, PieceWindow,
    ScoreError, Stacking, TRANSFORMER_FILE, TextModel, Transformer, VOCABULARY_FILE, WorstPart,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::card::{self, CardError};
use crate::corpora::{self, CORPORA, Corpus, EVERYDAY, Example, HeldOut, Part};
use crate::dataset::DataError;
use crate::progress::progress;

/// Trains the n-gram baseline and writes its folder: manifest, graph and card.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The folder of the corpora.
    #[arg(long, value_name = "FOLDER", env = "MODERATO_DATA", default_value = "../shared/data")]
    pub data: PathBuf,
    /// The folder to write, made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// A folder with `transformer.ort`, `vocabulary.txt` and `run.json` (infra/training/export.py): makes a cascade of the linear model
    /// and that transformer.
    #[arg(long, value_name = "FOLDER")]
    pub transformer: Option<PathBuf>,
    /// Sentences of one's own as JSON Lines, `text` and `hate` (infra/training/augment.py): the linear stage of a cascade learns them besides.
    #[arg(long, value_name = "FILE", requires = "transformer")]
    pub sentences: Option<PathBuf>,
}

/// Why there is no new model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The corpora.
    #[error("reading the corpora")]
    Data(#[from] DataError),
    /// There is nothing to learn from.
    #[error("the training rows are all of one class")]
    OneClass,
    /// No calibration fits.
    #[error("on the validation rows a higher score does not mean more positives")]
    NotCalibrated,
    /// The graph that was written does not load.
    #[error("loading the new model")]
    Load(#[from] LoadError),
    /// The new model does not score.
    #[error("scoring with the new model")]
    Score(#[from] ScoreError),
    /// The card.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A manifest, `run.json` or the list of held-out terms is not the JSON it should be.
    #[error("reading or writing JSON")]
    Json(#[from] serde_json::Error),
    /// A file cannot be written.
    #[error("writing `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What all models of ours give the probability of.
pub const HARM: &str = "hate";

/// N-grams and windows, chosen on the validation rows.
const NGRAMS: NgramSpec =
    NgramSpec { bits: 19, word_max: 2, char_min: 2, char_max: 5, word_weight: 1.0, char_weight: 1.0 };
const WINDOW: WindowSpec = WindowSpec { tokens: 128, chars: 1024, overlap: 32 };
/// Training, chosen on the validation rows.
const CONFIG: TrainConfig =
    TrainConfig { l2: 1e-5, iterations: 60, balance: 0.5, log_count_ratio: Some(1.0), least_examples: 2 };

/// Everything that decides the result besides data and code, for the card.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Recipe {
    /// Input of the model.
    pub ngrams: NgramSpec,
    /// How much text one run reads.
    pub window: WindowSpec,
    /// Training.
    pub training: TrainConfig,
}

/// Runs the command. Gives success once the folder is written.
pub fn run(args: &TrainArgs, bands: &[Band], onnx: &Onnx) -> Result<ExitCode, TrainError> {
    let recipe = Recipe { ngrams: NGRAMS, window: WINDOW, training: CONFIG };
    let started = Instant::now();
    let everyday = if args.transformer.is_some() { everyday(&args.data)? } else { Vec::new() };
    let more = beside(&everyday, args.sentences.as_deref())?;
    let mut trained = make(&args.data, &CORPORA, &more, &recipe, onnx)?;
    if let Some(folder) = &args.transformer {
        let approved_below = bands.iter().map(|band| band.from).find(|from| *from > 0.0).unwrap_or(0.5);
        trained = cascade(trained, folder, approved_below, onnx)?;
    }
    let seconds = started.elapsed().as_secs();
    write(&args.out, MANIFEST_FILE, &trained.bundle.manifest)?;
    write(&args.out, MODEL_FILE, &trained.bundle.model)?;
    for (name, bytes) in &trained.bundle.more {
        write(&args.out, name, bytes)?;
    }
    let known = CORPORA.iter().zip(&trained.examples);
    let corpora: Vec<_> = known.chain(everyday.iter().map(|(corpus, examples)| (*corpus, examples))).collect();
    let card = card::make(&trained, &args.data, &corpora, &recipe, bands, seconds)?;
    let mut json = serde_json::to_vec_pretty(&card)?;
    json.push(b'\n');
    write(&args.out, "card.json", &json)?;
    write(&args.out, "CARD.md", card.markdown().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A trained and loaded model with what it was made of.
pub struct Trained {
    /// The files.
    pub bundle: Bundle,
    /// The model, loaded from them.
    pub model: TextModel,
    /// Examples of each corpus, in the corpora's order, leaks dropped.
    pub examples: Vec<Vec<Example>>,
    /// Training rows dropped because their text is held out elsewhere.
    pub dropped: usize,
    /// Training rows dropped because they name an identity term that is held out.
    pub held_out: usize,
    /// Rows trained on.
    pub trained_on: usize,
    /// Iterations it took.
    pub iterations: usize,
    /// How the transformer was trained and where it is asked, for a cascade.
    pub transformer: Option<serde_json::Value>,
}

/// Of the hateful validation posts that the transformer would not have approved, this share may be approved because it was not asked. None
/// at all would have nearly every post asked about.
const STATED_LOSS: f64 = 0.0005;
/// A sentence by itself makes a post worth a look. Whether a post is hateful rather than not is said of the whole.
const PART_AT_MOST: f64 = 0.49;
/// Of harmless validation posts, this share may come to a person: as many as before parts were read by themselves.
const REVIEWED_IN_VAIN: f64 = 0.165;
/// How much a sentence of one's own counts beside a post of a corpus.
const OF_OUR_OWN: f64 = 0.5;

/// What `infra/training/export.py` tells of a transformer, in `run.json`.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    outputs: Vec<String>,
    #[serde(flatten)]
    run: serde_json::Map<String, serde_json::Value>,
}

/// Puts the transformer in `folder` behind the linear model: stacked and calibrated on the pooled validation rows, and asked from where
/// the stated loss begins. What the linear model decides alone stays below `approved_below`, the policy's bound of approval.
fn cascade(linear: Trained, folder: &Path, approved_below: f64, onnx: &Onnx) -> Result<Trained, TrainError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|source| TrainError::Write { path, source })
    };
    let more = BTreeMap::from([
        (TRANSFORMER_FILE.to_owned(), Bytes::from(read(TRANSFORMER_FILE)?)),
        (VOCABULARY_FILE.to_owned(), Bytes::from(read(VOCABULARY_FILE)?)),
    ]);
    let file = |name: &str| ModelFile {
        file: name.to_owned(),
        sha256: more.get(name).map(|bytes| sha256_hex(bytes)).unwrap_or_default(),
    };
    let told: Told = serde_json::from_slice(&read("run.json")?)?;
    let mut manifest = linear.model.manifest().clone();
    "cascade".clone_into(&mut manifest.kind);
    "minilm-cascade".clone_into(&mut manifest.name);
    let mut second = Transformer {
        model: file(TRANSFORMER_FILE),
        vocabulary: file(VOCABULARY_FILE),
        window: PieceWindow { pieces: 126, overlap: 32 },
        outputs: told.outputs,
        calibration: Stacking { transformer: 1.0, linear: 0.0, offset: 0.0 },
        asked_from: 0.0,
        worst_part: Some(WorstPart { slope: 1.0, offset: 0.0, at_most: PART_AT_MOST }),
    };
    let load = |manifest: &Manifest, second: &Transformer| -> Result<(Bundle, TextModel), TrainError> {
        let manifest = Manifest { transformer: Some(second.clone()), ..manifest.clone() };
        let mut json = serde_json::to_vec_pretty(&manifest)?;
        json.push(b'\n');
        let bundle = Bundle { manifest: json, model: linear.bundle.model.clone(), more: more.clone() };
        let model = TextModel::load(onnx, &bundle, None)?;
        Ok((bundle, model))
    };
    let (_, uncalibrated) = load(&manifest, &second)?;
    let held: Vec<&Example> = CORPORA
        .iter()
        .zip(&linear.examples)
        .filter(|(corpus, _)| corpus.pooled)
        .flat_map(|(_, rows)| rows)
        .filter(|example| example.part == Part::Validation)
        .collect();
    let bar = progress("calibrating", held.len());
    let mut read = Vec::with_capacity(held.len());
    for example in &held {
        read.push(ReadRows::of(&uncalibrated, &example.text)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let positive: Vec<bool> = held.iter().map(|example| example.positive).collect();
    let whole: Vec<f64> = read.iter().map(|read| read.whole).collect();
    let first: Vec<f64> = read.iter().map(|read| read.linear).collect();
    second.calibration =
        scoring::calibration::fit_stacking(&whole, &first, &positive).ok_or(TrainError::NotCalibrated)?;
    // Below the bound from which the transformer is asked this stands by itself.
    let suspects: Vec<f64> = read.iter().map(|read| read.suspects).collect();
    manifest.calibration = scoring::calibration::fit_platt(&suspects, &positive).ok_or(TrainError::NotCalibrated)?;
    let suspected: Vec<f64> = suspects.iter().map(|suspects| manifest.calibration.probability(*suspects)).collect();
    // What is read by itself depends on from where the transformer is asked, and that on what is missed.
    for _ in 0..3 {
        let asked = |from: f64| suspected.iter().map(move |suspected| *suspected >= from);
        let worst: Vec<f64> = read.iter().map(|read| read.worst(&second, &manifest.calibration)).collect();
        let (some, answers): (Vec<f64>, Vec<bool>) = worst
            .iter()
            .zip(&positive)
            .zip(asked(second.asked_from))
            .filter(|(_, asked)| *asked)
            .map(|((worst, positive), _)| (*worst, *positive))
            .unzip();
        // Where too few say anything, the worst counts as the whole does.
        let fitted =
            scoring::calibration::fit_platt(&some, &answers).unwrap_or(Calibration { slope: 1.0, offset: 0.0 });
        // The bound of approval comes to stand where at most the stated share of harmless posts lies above it.
        let mut harmless: Vec<f64> =
            worst.iter().zip(&positive).filter(|(_, positive)| !**positive).map(|(worst, _)| *worst).collect();
        harmless.sort_by(|a, b| b.total_cmp(a));
        let last = harmless.get((harmless.len() as f64 * REVIEWED_IN_VAIN) as usize).copied().unwrap_or_default();
        let bound = (approved_below / (1.0 - approved_below)).ln();
        let part = second.worst_part.get_or_insert(WorstPart { slope: 1.0, offset: 0.0, at_most: PART_AT_MOST });
        (part.slope, part.offset) = (fitted.slope, fitted.offset.min(bound - fitted.slope * last));
        let part = *part;
        let mut missed: Vec<f64> = worst
            .iter()
            .zip(&positive)
            .zip(&suspected)
            .filter(|((worst, positive), _)| **positive && part.probability(**worst) >= approved_below)
            .map(|(_, suspected)| *suspected)
            .collect();
        missed.sort_by(f64::total_cmp);
        let allowed = (missed.len() as f64 * STATED_LOSS) as usize;
        second.asked_from = missed.get(allowed).copied().unwrap_or(approved_below).min(approved_below);
    }
    let asked = suspected.iter().filter(|suspected| **suspected >= second.asked_from).count() as f64
        / suspected.len().max(1) as f64;
    let mut run = told.run;
    run.insert("asked_from".to_owned(), second.asked_from.into());
    run.insert("asked_share_of_pooled_validation".to_owned(), asked.into());
    run.insert("stated_loss".to_owned(), STATED_LOSS.into());
    let (bundle, model) = load(&manifest, &second)?;
    Ok(Trained { bundle, model, transformer: Some(run.into()), ..linear })
}

/// What the transformer says of each row of a text, and the linear graph.
struct ReadRows {
    /// The highest log-odds of the whole.
    whole: f64,
    /// The linear graph's of the whole.
    linear: f64,
    /// Of what it finds worst, which decides whether the transformer is asked.
    suspects: f64,
    /// Both log-odds of each part, and what the linear graph finds worst in it.
    parts: Vec<[f64; 3]>,
}

impl ReadRows {
    fn of(model: &TextModel, text: &str) -> Result<Self, TrainError> {
        let mut read = Self {
            whole: f64::NEG_INFINITY,
            linear: model.log_odds(text)?,
            suspects: model.suspects(text)?,
            parts: Vec::new(),
        };
        for row in model.rows(text, MOST_WINDOWS)? {
            let log_odds = model.run(&row.ids)?.first().copied().ok_or(TrainError::NotCalibrated)?;
            if row.part {
                read.parts.push([log_odds, row.linear, row.suspects]);
            } else {
                read.whole = read.whole.max(log_odds);
            }
        }
        Ok(read)
    }

    /// The stacked log-odds of the worst of the whole and of the parts that are read where the transformer is asked from `asked_from`.
    fn worst(&self, second: &Transformer, calibration: &Calibration) -> f64 {
        let stacked = |log_odds, linear| second.calibration.log_odds(log_odds, linear);
        let read = self.parts.iter().filter(|part| calibration.probability(part[2]) >= second.asked_from);
        read.map(|part| stacked(part[0], part[1])).fold(stacked(self.whole, self.linear), f64::max)
    }
}

/// Windows of a reading that calibration reads: those that serving reads.
const MOST_WINDOWS: usize = 8;

/// The corpora of everyday English that are there.
fn everyday(data: &Path) -> Result<Vec<(&'static Corpus, Vec<Example>)>, TrainError> {
    let there = EVERYDAY.iter().filter(|corpus| data.join(corpus.file).exists());
    let (corpora, mut examples): (Vec<_>, Vec<_>) = there
        .map(|corpus| Ok((corpus, corpus.load(data)?)))
        .collect::<Result<Vec<_>, DataError>>()?
        .into_iter()
        .unzip();
    HeldOut::bundled()?.drop_named(&mut examples);
    Ok(corpora.into_iter().zip(examples).collect())
}

/// A sentence of one's own.
#[derive(Deserialize)]
struct Sentence {
    text: String,
    /// 0 or 1.
    hate: u8,
}

/// What the linear stage of a cascade learns besides the corpora of hate: text, answer, weight.
fn beside(
    everyday: &[(&Corpus, Vec<Example>)],
    sentences: Option<&Path>,
) -> Result<Vec<(String, bool, f64)>, TrainError> {
    let mut rows = Vec::new();
    for (corpus, examples) in everyday {
        let trained_on = corpus.training.rows(examples);
        rows.extend(trained_on.map(|example| (example.text.clone(), example.positive, corpus.training.weight)));
    }
    if let Some(path) = sentences {
        let read =
            std::fs::read_to_string(path).map_err(|source| TrainError::Write { path: path.to_owned(), source })?;
        for line in read.lines() {
            let Sentence { text, hate } = serde_json::from_str(line)?;
            rows.push((text, hate != 0, OF_OUR_OWN));
        }
    }
    Ok(rows)
}

/// Reads the corpora, trains on them and on `more` (text, answer, weight), calibrates and loads the result.
pub fn make(
    data: &Path,
    corpora: &[Corpus],
    more: &[(String, bool, f64)],
    recipe: &Recipe,
    onnx: &Onnx,
) -> Result<Trained, TrainError> {
    let bar = progress("reading", corpora.len());
    let mut examples = Vec::new();
    for corpus in corpora {
        examples.push(corpus.load(data)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let dropped = corpora::drop_leaks(&mut examples);
    let held_out = HeldOut::bundled()?.drop_named(&mut examples);
    let mut rows = training_rows(corpora, &examples, recipe);
    let known: HashSet<&str> = examples
        .iter()
        .flatten()
        .filter(|example| example.part != Part::Train)
        .map(|example| example.text.as_str())
        .collect();
    for (text, positive, weight) in more.iter().filter(|(text, ..)| !known.contains(text.as_str())) {
        let read = features::text::plain(text);
        rows.push(read.text(), *positive, *weight, &recipe.ngrams, &recipe.window);
    }
    let weights = learn(&rows, recipe)?;
    let graph = scoring::onnx::linear_graph(&weights.weights, weights.bias);
    let neutral = bundle(graph, recipe, Calibration { slope: 1.0, offset: 0.0 })?;
    let uncalibrated = TextModel::load(onnx, &neutral, None)?;
    let calibration = calibrate(&uncalibrated, corpora, &examples)?;
    let bundle = bundle(neutral.model, recipe, calibration)?;
    let model = TextModel::load(onnx, &bundle, None)?;
    Ok(Trained {
        bundle,
        model,
        examples,
        dropped,
        held_out,
        trained_on: rows.len(),
        iterations: weights.iterations,
        transformer: None,
    })
}

fn training_rows(corpora: &[Corpus], examples: &[Vec<Example>], recipe: &Recipe) -> Examples {
    let mut rows = Examples::default();
    let bar = progress("preparing", corpora.iter().zip(examples).map(|(c, e)| c.training.rows(e).count()).sum());
    for (corpus, examples) in corpora.iter().zip(examples) {
        for example in corpus.training.rows(examples) {
            rows.push(
                features::text::plain(&example.text).text(),
                example.positive,
                corpus.training.weight,
                &recipe.ngrams,
                &recipe.window,
            );
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    rows
}

fn learn(rows: &Examples, recipe: &Recipe) -> Result<LinearWeights, TrainError> {
    let bar = progress("training", recipe.training.iterations);
    let trained = scoring::train::train(rows, recipe.ngrams.bits, &recipe.training, |_, _| bar.inc(1));
    bar.finish_and_clear();
    trained.ok_or(TrainError::OneClass)
}

fn calibrate(model: &TextModel, corpora: &[Corpus], examples: &[Vec<Example>]) -> Result<Calibration, TrainError> {
    let (mut log_odds, mut positive) = (Vec::new(), Vec::new());
    let pooled = corpora.iter().zip(examples).filter(|(corpus, _)| corpus.pooled).flat_map(|(_, rows)| rows);
    for example in pooled.filter(|example| example.part == Part::Validation) {
        log_odds.push(model.log_odds(&example.text)?);
        positive.push(example.positive);
    }
    scoring::calibration::fit_platt(&log_odds, &positive).ok_or(TrainError::NotCalibrated)
}

fn bundle(graph: Vec<u8>, recipe: &Recipe, calibration: Calibration) -> Result<Bundle, TrainError> {
    let manifest = Manifest {
        schema: "model/1".to_owned(),
        kind: "ngram-linear".to_owned(),
        name: "ngram-baseline".to_owned(),
        version: "1".to_owned(),
        harm: HARM.to_owned(),
        languages: vec!["en".to_owned()],
        model: ModelFile { file: MODEL_FILE.to_owned(), sha256: sha256_hex(&graph) },
        ngrams: recipe.ngrams,
        window: recipe.window,
        calibration,
        transformer: None,
    };
    let mut manifest = serde_json::to_vec_pretty(&manifest)?;
    manifest.push(b'\n');
    Ok(Bundle { manifest, model: graph, more: BTreeMap::new() })
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, bytes))
        .map_err(|source| TrainError::Write { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "where the library is, is the machine's business")]
    fn onnx() -> Onnx {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/onnxruntime/libonnxruntime.so");
        let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
        assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
        scoring::init(&library).unwrap()
    }

    fn bands() -> Vec<Band> {
        crate::local::policy(None).unwrap().0.bands["hate"].clone()
    }

    /// Every corpus with its own columns, filled with sentences in which one word decides.
    fn corpora(folder: &Path) {
        let words = ["kind", "vile", "quiet", "round", "green", "vile"];
        let rows = |start: usize, line: &dyn Fn(&str, bool) -> String| -> String {
            let one = |i: usize| {
                let word = words[i % 6];
                line(&format!("person {i} is {word} today"), word == "vile")
            };
            (start..start + 300).map(one).collect()
        };
        let split = |text: &str| match text.len() % 3 + text.bytes().map(usize::from).sum::<usize>() % 7 {
            0 => "dev",
            1 => "test",
            _ => "train",
        };
        let class = |positive, yes: &'static str, no: &'static str| if positive { yes } else { no };
        let files = [
            ("text,label\n", rows(0, &|t, p| format!("{t},{}\n", class(p, "hatespeech", "normal")))),
            (
                "text,label,targets_2of3\n",
                rows(1000, &|t, p| format!("{t},{},Women\n", class(p, "hatespeech", "normal"))),
            ),
            ("class,tweet\n", rows(2000, &|t, p| format!("{},{t}\n", class(p, "0", "1")))),
            (
                "text,type,split,label_gold\n",
                rows(3000, &|t, p| format!("{t},none,{},{}\n", split(t), class(p, "1", "0"))),
            ),
            ("label,text,sampled_split\n", rows(4000, &|t, p| format!("{},{t},\n", class(p, "hate", "noHate")))),
            (
                "text,label_sexist,label_category,split\n",
                rows(5000, &|t, p| format!("{t},{},none,{}\n", class(p, "sexist", "not sexist"), split(t))),
            ),
            ("template,toxicity,phrase\n", rows(6000, &|t, p| format!("a,{},{t}\n", class(p, "toxic", "nontoxic")))),
            ("text,is_toxic\n", rows(7000, &|t, p| format!("{t},{}\n", class(p, "Toxic", "Not Toxic")))),
        ];
        for (corpus, (header, rows)) in CORPORA.iter().zip(files) {
            let file = std::fs::File::create(folder.join(corpus.file)).unwrap();
            let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            io::Write::write_all(&mut file, format!("{header}{rows}").as_bytes()).unwrap();
            file.finish().unwrap();
        }
    }

    #[test]
    fn a_folder_of_corpora_becomes_a_model_with_its_card_and_the_same_one_again() {
        let folder = tempfile::tempdir().unwrap();
        corpora(folder.path());
        let small = NgramSpec { bits: 14, ..NGRAMS };
        let recipe = Recipe { ngrams: small, window: WINDOW, training: CONFIG };
        let trained = make(folder.path(), &CORPORA, &[], &recipe, &onnx()).unwrap();
        assert!(trained.model.score("person 9999 is vile today").unwrap().calibrated > 0.8);
        assert!(trained.model.score("person 9999 is kind today").unwrap().calibrated < 0.2);
        let all: Vec<_> = CORPORA.iter().zip(&trained.examples).collect();
        let card = card::make(&trained, folder.path(), &all, &recipe, &bands(), 1).unwrap();
        let json = serde_json::to_value(&card).unwrap();
        assert_eq!(json["validation"]["pooled"]["auc_roc"], 1.0);
        assert_eq!(json["validation"]["hatexplain"]["slices"]["target=Women"]["n"], 300);
        assert_eq!(json["data"].as_array().unwrap().len(), CORPORA.len());
        assert_eq!(json["model"]["sha256"], trained.bundle.sha256());
        assert!(card.markdown().contains("| hatexplain, target=Women | 300 | 100 | 1.000 |"));
        let again = make(folder.path(), &CORPORA, &[], &recipe, &onnx()).unwrap();
        assert!(again.bundle == trained.bundle);
    }

    #[test]
    fn a_transformer_behind_the_linear_model_is_calibrated_and_asked_where_it_matters() {
        // The transformer that is committed, on a few rows: what `make train` does once PyTorch is done.
        let folder = tempfile::tempdir().unwrap();
        corpora(folder.path());
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/scoring/models/minilm-cascade");
        for name in [TRANSFORMER_FILE, VOCABULARY_FILE] {
            std::fs::copy(shipped.join(name), folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("run.json"), r#"{"outputs": ["hate"], "seed": 1}"#).unwrap();
        let recipe = Recipe { ngrams: NgramSpec { bits: 14, ..NGRAMS }, window: WINDOW, training: CONFIG };
        let linear = make(folder.path(), &CORPORA, &[], &recipe, &onnx()).unwrap();
        let trained = cascade(linear, folder.path(), 0.2, &onnx()).unwrap();
        let manifest = trained.model.manifest();
        let second = manifest.transformer.clone().unwrap();
        assert_eq!((manifest.kind.as_str(), trained.bundle.more.len()), ("cascade", 2));
        assert!(second.asked_from <= 0.2 && second.calibration.transformer > 0.0 && second.calibration.linear >= 0.0);
        assert_eq!(second.outputs, ["hate"]);
        assert_eq!(trained.transformer.unwrap()["seed"], 1);
        assert!(trained.model.score("person 9999 is vile today").unwrap().stage == scoring::Stage::Transformer);
    }
}
