//! `moderato train`: makes the n-gram baseline out of the public corpora, and its card.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use domain::sha256_hex;
use features::text::{NgramSpec, WindowSpec};
use scoring::train::{Examples, LinearWeights, TrainConfig};
use scoring::{
    Bundle, Calibration, LoadError, MANIFEST_FILE, MODEL_FILE, Manifest, ModelFile, Onnx, ScoreError, TextModel,
};
use serde::Serialize;
use thiserror::Error;

use crate::card::{self, CardError};
use crate::corpora::{self, CORPORA, Corpus, Example, Part};
use crate::dataset::DataError;
use crate::evaluate::progress;

/// Trains the n-gram baseline and writes its folder: manifest, graph and card.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The folder of the corpora; otherwise MODERATO_DATA, otherwise ../shared/data.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// The folder to write, made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
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
    /// The manifest cannot be written as JSON.
    #[error("writing the manifest")]
    Manifest(#[from] serde_json::Error),
    /// A file cannot be written.
    #[error("writing `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// N-grams and windows, chosen on the validation rows.
const NGRAMS: NgramSpec = NgramSpec {
    bits: 20,
    word_max: 2,
    char_min: 3,
    char_max: 5,
    word_weight: 1.0,
    char_weight: 1.0,
};
const WINDOW: WindowSpec = WindowSpec {
    tokens: 128,
    chars: 1024,
    overlap: 32,
};
/// Training, chosen on the validation rows.
const CONFIG: TrainConfig = TrainConfig {
    l2: 1e-5,
    iterations: 100,
    balance: 0.5,
    log_count_ratio: Some(1.0),
    least_examples: 2,
};

/// Everything that decides the result besides data and code, for the card.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Recipe {
    /// Input of the model.
    pub ngrams: NgramSpec,
    /// How much text one run reads.
    pub window: WindowSpec,
    /// Training.
    pub training: TrainConfig,
    /// One identity template in this many is trained on.
    pub template_step: usize,
}

/// Of the 76,564 templates, one in this many: they differ by a name or an adjective only.
const TEMPLATE_STEP: usize = 10;

/// Runs the command. Gives success once the folder is written.
pub fn run(args: &TrainArgs, onnx: &Onnx) -> Result<ExitCode, TrainError> {
    let data = args.data.clone().unwrap_or_else(data_folder_from_env);
    let recipe = Recipe {
        ngrams: NGRAMS,
        window: WINDOW,
        training: CONFIG,
        template_step: TEMPLATE_STEP,
    };
    let started = Instant::now();
    let trained = make(&data, &CORPORA, &recipe, onnx)?;
    let seconds = started.elapsed().as_secs();
    write(&args.out, MANIFEST_FILE, &trained.bundle.manifest)?;
    write(&args.out, MODEL_FILE, &trained.bundle.model)?;
    let card = card::make(&trained, &data, &CORPORA, &recipe, seconds)?;
    let mut json = serde_json::to_vec_pretty(&card)?;
    json.push(b'\n');
    write(&args.out, "card.json", &json)?;
    write(&args.out, "CARD.md", card.markdown().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The folder of the corpora where the command line names none.
fn data_folder_from_env() -> PathBuf {
    std::env::var_os("MODERATO_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from)
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
    /// Rows trained on.
    pub trained_on: usize,
    /// Iterations it took.
    pub iterations: usize,
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
    let rows = training_rows(corpora, &examples, recipe);
    let weights = learn(&rows, recipe)?;
    let graph = scoring::onnx::linear_graph(&weights.weights, weights.bias);
    let neutral = bundle(
        graph,
        recipe,
        Calibration {
            slope: 1.0,
            offset: 0.0,
        },
    )?;
    let uncalibrated = TextModel::load(onnx, &neutral, None)?;
    let calibration = calibrate(&uncalibrated, corpora, &examples)?;
    let bundle = bundle(neutral.model, recipe, calibration)?;
    let model = TextModel::load(onnx, &bundle, None)?;
    Ok(Trained {
        bundle,
        model,
        examples,
        dropped,
        trained_on: rows.len(),
        iterations: weights.iterations,
    })
}

/// The rows to train on. Toxic templates are left out: they insult anybody, and are not hate for naming a group.
fn training_rows(corpora: &[Corpus], examples: &[Vec<Example>], recipe: &Recipe) -> Examples {
    let mut rows = Examples::default();
    let bar = progress("preparing", examples.iter().map(Vec::len).sum());
    for (corpus, examples) in corpora.iter().zip(examples) {
        let train = examples.iter().filter(|example| example.part == Part::Train);
        let step = if corpus.pooled { 1 } else { recipe.template_step };
        for example in train
            .step_by(step.max(1))
            .filter(|example| corpus.pooled || !example.positive)
        {
            rows.push(&example.text, example.positive, 1.0, &recipe.ngrams, &recipe.window);
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
    let pooled = corpora
        .iter()
        .zip(examples)
        .filter(|(corpus, _)| corpus.pooled)
        .flat_map(|(_, rows)| rows);
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
        harm: "hate".to_owned(),
        languages: vec!["en".to_owned()],
        model: ModelFile {
            file: MODEL_FILE.to_owned(),
            sha256: sha256_hex(&graph),
        },
        ngrams: recipe.ngrams,
        window: recipe.window,
        calibration,
    };
    let mut manifest = serde_json::to_vec_pretty(&manifest)?;
    manifest.push(b'\n');
    Ok(Bundle { manifest, model: graph })
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, bytes))
        .map_err(|source| TrainError::Write { path, source })
}
