//! Reviewed posts, as `moderato calibrate` and `moderato policy solve` read them: texts or recorded scores, with verdicts.

use std::path::PathBuf;

use clap::Args;
use domain::{ModelRef, sha256_hex};
use scoring::reviewed::Reviewed;
use scoring::{ScoreError, TextModel};
use thiserror::Error;

use crate::corpora::{CORPORA, Part, normalised};
use crate::dataset::{self, DataError, Record};
use crate::evaluate::{self, EvaluateError, condition};
use crate::progress::progress;

/// Where the reviewed posts are.
#[derive(Debug, Args)]
pub struct ReviewsArgs {
    /// Reviewed posts: .csv, .jsonl, .csv.gz or .jsonl.gz.
    #[arg(long, value_name = "FILE", required_unless_present = "corpora", requires = "positive_when")]
    pub data: Option<PathBuf>,
    /// The column that holds the text, to be scored.
    #[arg(long, value_name = "COLUMN", required_unless_present_any = ["score_column", "corpora"])]
    pub text_column: Option<String>,
    /// The column that holds a score already recorded, 0 to 1, instead of the text; with a column `model` as on decision
    /// records it is checked that this model gave it.
    #[arg(long, value_name = "COLUMN", conflicts_with = "text_column")]
    pub score_column: Option<String>,
    /// Which rows are positive: a column and its value, such as `verdict=hate`. Rows without a value were not reviewed and are left out.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition)]
    pub positive_when: Option<(String, String)>,
    /// The column that holds how many posts a row stands for: one over the chance that it was picked for review.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub weight_column: Option<String>,
    /// The pooled validation rows of the public corpora in this folder, instead of a file.
    #[arg(long, value_name = "FOLDER", conflicts_with = "data")]
    pub corpora: Option<PathBuf>,
}

/// Parts of a cross-validation.
pub const FOLDS: usize = 5;

/// Reviewed posts with their scores.
pub struct Reviews {
    /// The posts.
    pub rows: Vec<Reviewed>,
    /// Which part of a cross-validation each belongs to: 0 to [`FOLDS`] - 1. Posts of the same text are in the same one.
    pub folds: Vec<usize>,
    /// Digest of the file, or of the corpora's rows.
    pub sha256: String,
    /// Rows left out, for they have no verdict or no score.
    pub left_out: usize,
}

/// Why there are no reviewed posts.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReviewsError {
    /// The file.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The verdicts.
    #[error(transparent)]
    Verdicts(#[from] EvaluateError),
    /// The file cannot be read a second time, for its digest.
    #[error("reading the reviewed posts")]
    Read(#[from] std::io::Error),
    /// A number is not one.
    #[error("row {row} has no number {wanted} in `{column}`")]
    Number {
        /// The row, counted from 1, the header left out.
        row: usize,
        /// Where it should be.
        column: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A recorded score is another model's.
    #[error(
        "row {row} was scored by the model with the digest `{scored_by}`, to be calibrated is `{model}`: name that one with --model, or give texts"
    )]
    OtherModel {
        /// The row, counted from 1, the header left out.
        row: usize,
        /// Digest on the record.
        scored_by: String,
        /// Digest of the model given.
        model: String,
    },
    /// The model failed on a row.
    #[error("scoring row {row}")]
    Score {
        /// The row, counted from 1, the header left out.
        row: usize,
        /// What happened.
        source: ScoreError,
    },
}

/// Reads the posts and scores those that have no score yet.
pub fn read(args: &ReviewsArgs, model: &TextModel) -> Result<Reviews, ReviewsError> {
    match (&args.corpora, &args.data) {
        (Some(folder), _) => of_corpora(folder, model),
        (None, Some(file)) => of_file(file, args, model),
        // The arguments do not allow for this; there are no rows then.
        (None, None) => Ok(Reviews { rows: Vec::new(), folds: Vec::new(), sha256: String::new(), left_out: 0 }),
    }
}

fn of_file(file: &std::path::Path, args: &ReviewsArgs, model: &TextModel) -> Result<Reviews, ReviewsError> {
    let records = dataset::read(file)?;
    let mut reviews =
        Reviews { rows: Vec::new(), folds: Vec::new(), sha256: sha256_hex(&std::fs::read(file)?), left_out: 0 };
    let Some(positive_when) = &args.positive_when else { return Ok(reviews) };
    let answers = evaluate::answers(positive_when, &records)?;
    let bar = progress("scoring", records.len());
    for (index, (record, positive)) in records.iter().zip(answers).enumerate() {
        bar.inc(1);
        let row = index + 1;
        let weight = match &args.weight_column {
            Some(column) => number(record, row, column, "above 0", |w| w.is_finite() && w > 0.0)?,
            None => 1.0,
        };
        let unreviewed = record.get(&positive_when.0)?.trim().is_empty();
        let (score, key) = match (&args.score_column, &args.text_column) {
            (Some(column), _) => {
                if unreviewed || record.get(column)?.trim().is_empty() {
                    reviews.left_out += 1;
                    continue;
                }
                scored_by(record, row, model)?;
                (number(record, row, column, "from 0 to 1", |s| (0.0..=1.0).contains(&s))?, row.to_string())
            }
            (None, Some(column)) => {
                let text = record.get(column)?;
                if unreviewed {
                    reviews.left_out += 1;
                    continue;
                }
                (score(model, text, row)?, normalised(text))
            }
            (None, None) => continue,
        };
        reviews.rows.push(Reviewed { score, positive, weight });
        reviews.folds.push(fold(&key));
    }
    bar.finish_and_clear();
    Ok(reviews)
}

fn of_corpora(folder: &std::path::Path, model: &TextModel) -> Result<Reviews, ReviewsError> {
    let mut examples = Vec::new();
    for corpus in CORPORA.iter().filter(|corpus| corpus.pooled) {
        examples.extend(corpus.load(folder)?.into_iter().filter(|example| example.part == Part::Validation));
    }
    let bar = progress("scoring", examples.len());
    let mut rows = Vec::new();
    for (index, example) in examples.iter().enumerate() {
        rows.push(Reviewed { score: score(model, &example.text, index + 1)?, positive: example.positive, weight: 1.0 });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let told: String =
        examples.iter().map(|e| format!("{} {}\n", sha256_hex(e.text.as_bytes()), u8::from(e.positive))).collect();
    let folds = examples.iter().map(|example| fold(&normalised(&example.text))).collect();
    Ok(Reviews { rows, folds, sha256: sha256_hex(told.as_bytes()), left_out: 0 })
}

fn score(model: &TextModel, text: &str, row: usize) -> Result<f64, ReviewsError> {
    Ok(model.score(text).map_err(|source| ReviewsError::Score { row, source })?.calibrated)
}

fn number(
    record: &Record,
    row: usize,
    column: &str,
    wanted: &'static str,
    fits: impl Fn(f64) -> bool,
) -> Result<f64, ReviewsError> {
    let found = record.get(column)?.trim().parse().ok().filter(|number| fits(*number));
    found.ok_or_else(|| ReviewsError::Number { row, column: column.to_owned(), wanted })
}

/// Refuses a decision record of another model; rows that do not say who scored them are believed.
fn scored_by(record: &Record, row: usize, model: &TextModel) -> Result<(), ReviewsError> {
    let named = record.get("model").ok().and_then(|json| serde_json::from_str::<ModelRef>(json).ok());
    match named {
        Some(named) if named.sha256 != model.identity().sha256 => {
            let model = model.identity().sha256.clone();
            Err(ReviewsError::OtherModel { row, scored_by: named.sha256, model })
        }
        _ => Ok(()),
    }
}

/// The part that a key falls into, by its digest.
fn fold(key: &str) -> usize {
    sha256_hex(key.as_bytes())
        .chars()
        .filter_map(|c| c.to_digit(16))
        .fold(0, |rest, d| (rest * 16 + d as usize) % FOLDS)
}
