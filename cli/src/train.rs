//! `moderato train`: makes the n-gram baseline out of the public corpora, and its card.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use domain::policy::Band;
use domain::sha256_hex;
use features::text::{NgramSpec, WindowSpec, plain, tokenise};
use scoring::train::{Examples, LinearWeights, TrainConfig};
use scoring::{
    Bundle, Bytes, Calibration, Linear, LoadError, MANIFEST_FILE, MODEL_FILE, Manifest, ModelFile, Onnx, PieceWindow,
    ScoreError, Stacking, TRANSFORMER_FILE, TextModel, Transformer, VOCABULARY_FILE,
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
    let mut trained = make(&args.data, &CORPORA, &recipe, onnx)?;
    if let Some(folder) = &args.transformer {
        let approved_below = bands.iter().map(|band| band.from).find(|from| *from > 0.0).unwrap_or(0.5);
        trained = cascade(trained, &args.data, &recipe, folder, approved_below, onnx)?;
    }
    let seconds = started.elapsed().as_secs();
    write(&args.out, MANIFEST_FILE, &trained.bundle.manifest)?;
    write(&args.out, MODEL_FILE, &trained.bundle.model)?;
    for (name, bytes) in &trained.bundle.more {
        write(&args.out, name, bytes)?;
    }
    let card = card::make(&trained, &args.data, &CORPORA, &recipe, bands, seconds)?;
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

/// Of all hateful validation posts, this share may be approved because the transformer was not asked. Everything would be asked about for
/// none; this saves half of what an everyday post would cost.
const STATED_LOSS: f64 = 0.006;

/// A sentence by itself makes a post worth a look, and no more: below the default policy's bound of hiding.
const PART_AT_MOST: f64 = 0.75;
/// How often the gate looks for the heaviest stretch of each text anew and is trained on these.
const GATE_ROUNDS: usize = 3;

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
fn cascade(
    linear: Trained,
    data: &Path,
    recipe: &Recipe,
    folder: &Path,
    approved_below: f64,
    onnx: &Onnx,
) -> Result<Trained, TrainError> {
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
    let everyday = everyday(data, &linear.examples)?;
    let gate = gate(&linear.examples, &everyday, recipe)?;
    let mut manifest = linear.model.manifest().clone();
    "cascade".clone_into(&mut manifest.kind);
    "minilm-cascade".clone_into(&mut manifest.name);
    manifest.model.sha256 = sha256_hex(&gate);
    manifest.stretches = true;
    manifest.calibration = Calibration { slope: 1.0, offset: 0.0 };
    let mut second = Transformer {
        model: file(TRANSFORMER_FILE),
        vocabulary: file(VOCABULARY_FILE),
        window: PieceWindow { pieces: 126, overlap: 32 },
        outputs: told.outputs,
        calibration: Stacking { transformer: 1.0, linear: 0.0, offset: 0.0 },
        asked_from: 0.0,
        part_at_most: Some(PART_AT_MOST),
    };
    let load = |manifest: &Manifest, second: &Transformer| -> Result<(Bundle, TextModel), TrainError> {
        let manifest = Manifest { transformer: Some(second.clone()), ..manifest.clone() };
        let mut json = serde_json::to_vec_pretty(&manifest)?;
        json.push(b'\n');
        let bundle = Bundle { manifest: json, model: gate.clone(), more: more.clone() };
        let model = TextModel::load(onnx, &bundle, None)?;
        Ok((bundle, model))
    };
    let held: Vec<&Example> = CORPORA
        .iter()
        .zip(&linear.examples)
        .filter(|(corpus, _)| corpus.pooled)
        .flat_map(|(_, rows)| rows)
        .filter(|example| example.part == Part::Validation)
        .collect();
    let positive: Vec<bool> = held.iter().map(|example| example.positive).collect();
    let (_, uncalibrated) = load(&manifest, &second)?;
    let mut first = Vec::with_capacity(held.len());
    for example in &held {
        first.push(uncalibrated.log_odds(&example.text)?);
    }
    manifest.calibration = scoring::calibration::fit_platt(&first, &positive).ok_or(TrainError::NotCalibrated)?;
    let probability: Vec<f64> = first.iter().map(|first| manifest.calibration.probability(*first)).collect();
    // Twice: which sentences are read by themselves depends on from where the transformer is asked.
    for _ in 0..2 {
        let (_, model) = load(&manifest, &second)?;
        let bar = progress("calibrating", held.len());
        let mut log_odds = Vec::with_capacity(held.len());
        for example in &held {
            log_odds.push(model.transformer_log_odds(&example.text)?.ok_or(TrainError::NotCalibrated)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        second.calibration =
            scoring::calibration::fit_stacking(&log_odds, &first, &positive).ok_or(TrainError::NotCalibrated)?;
        let mut missed = Vec::new();
        for (((log_odds, first), asked), positive) in log_odds.iter().zip(&first).zip(&probability).zip(&positive) {
            if *positive && second.calibration.probability(*log_odds, *first) >= approved_below {
                missed.push(*asked);
            }
        }
        missed.sort_by(f64::total_cmp);
        let allowed = (positive.iter().filter(|p| **p).count() as f64 * STATED_LOSS) as usize;
        second.asked_from = missed.get(allowed).copied().unwrap_or(approved_below).min(approved_below);
    }
    let asked =
        probability.iter().filter(|first| **first >= second.asked_from).count() as f64 / first.len().max(1) as f64;
    let mut run = told.run;
    run.insert("asked_from".to_owned(), second.asked_from.into());
    run.insert("asked_share_of_pooled_validation".to_owned(), asked.into());
    run.insert("stated_loss".to_owned(), STATED_LOSS.into());
    let (bundle, model) = load(&manifest, &second)?;
    Ok(Trained { bundle, model, transformer: Some(run.into()), ..linear })
}

/// The everyday corpora that are there, without what is held out of training.
fn everyday(data: &Path, known: &[Vec<Example>]) -> Result<Vec<(&'static Corpus, Vec<Example>)>, TrainError> {
    let mut there = Vec::new();
    let mut examples = known.to_vec();
    for corpus in EVERYDAY.iter().filter(|corpus| data.join(corpus.file).exists()) {
        there.push(corpus);
        examples.push(corpus.load(data)?);
    }
    corpora::drop_leaks(&mut examples);
    HeldOut::bundled()?.drop_named(&mut examples);
    Ok(there.into_iter().zip(examples.split_off(known.len())).collect())
}

/// The gate: what a stretch of words says, trained on the heaviest stretch of each text by what it says itself.
fn gate(known: &[Vec<Example>], everyday: &[(&Corpus, Vec<Example>)], recipe: &Recipe) -> Result<Vec<u8>, TrainError> {
    let known = CORPORA.iter().zip(known);
    let all = known.chain(everyday.iter().map(|(corpus, examples)| (*corpus, examples)));
    let rows: Vec<_> = all
        .flat_map(|(corpus, examples)| corpus.training.rows(examples).map(|example| (example, corpus.training.weight)))
        .map(|(example, weight)| (tokenise(plain(&example.text).text()), example.positive, weight))
        .collect();
    let mut graph: Option<Vec<u8>> = None;
    for _ in 0..GATE_ROUNDS {
        let linear = graph.as_deref().map(Linear::read).transpose().map_err(|error| LoadError::Graph(error.into()))?;
        let mut examples = Examples::default();
        let bar = progress("the gate", rows.len());
        for (text, positive, weight) in &rows {
            let whole = 0..text.tokens().len().min(recipe.window.tokens);
            let heaviest = linear.as_ref().and_then(|linear| scoring::heaviest(text, &recipe.ngrams, linear));
            examples.push_stretch(text, heaviest.unwrap_or(whole), *positive, *weight, &recipe.ngrams);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let weights = learn(&examples, recipe)?;
        graph = Some(scoring::onnx::linear_graph(&weights.weights, weights.bias));
    }
    graph.ok_or(TrainError::OneClass)
}

/// Reads the corpora, trains, calibrates and loads the result.
pub fn make(data: &Path, corpora: &[Corpus], recipe: &Recipe, onnx: &Onnx) -> Result<Trained, TrainError> {
    let bar = progress("reading", corpora.len());
    let mut examples = Vec::new();
    for corpus in corpora {
        examples.push(corpus.load(data)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let dropped = corpora::drop_leaks(&mut examples);
    let held_out = HeldOut::bundled()?.drop_named(&mut examples);
    let rows = training_rows(corpora, &examples, recipe);
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
        stretches: false,
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
        let trained = make(folder.path(), &CORPORA, &recipe, &onnx()).unwrap();
        assert!(trained.model.score("person 9999 is vile today").unwrap().calibrated > 0.8);
        assert!(trained.model.score("person 9999 is kind today").unwrap().calibrated < 0.2);
        let card = card::make(&trained, folder.path(), &CORPORA, &recipe, &bands(), 1).unwrap();
        let json = serde_json::to_value(&card).unwrap();
        assert_eq!(json["validation"]["pooled"]["auc_roc"], 1.0);
        assert_eq!(json["validation"]["hatexplain"]["slices"]["target=Women"]["n"], 300);
        assert_eq!(json["data"].as_array().unwrap().len(), CORPORA.len());
        assert_eq!(json["model"]["sha256"], trained.bundle.sha256());
        assert!(card.markdown().contains("| hatexplain, target=Women | 300 | 100 | 1.000 |"));
        let again = make(folder.path(), &CORPORA, &recipe, &onnx()).unwrap();
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
        let linear = make(folder.path(), &CORPORA, &recipe, &onnx()).unwrap();
        let trained = cascade(linear, folder.path(), &recipe, folder.path(), 0.2, &onnx()).unwrap();
        let manifest = trained.model.manifest();
        let second = manifest.transformer.clone().unwrap();
        assert_eq!((manifest.kind.as_str(), trained.bundle.more.len()), ("cascade", 2));
        assert!(second.asked_from <= 0.2 && second.calibration.transformer > 0.0 && second.calibration.linear >= 0.0);
        assert_eq!(second.outputs, ["hate"]);
        assert_eq!(trained.transformer.unwrap()["seed"], 1);
        assert!(trained.model.score("person 9999 is vile today").unwrap().stage == scoring::Stage::Transformer);
    }
}
