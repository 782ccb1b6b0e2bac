//! `moderato calibrate`: a deployment's own calibration of a model, from posts that its people reviewed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use domain::{ModelRef, sha256_hex};
use scoring::deployment::{Data, DeploymentCalibration, Figures, Mapping, Method};
use scoring::reviewed::{self, Estimate, Reviewed};
use scoring::{Bundle, MANIFEST_FILE, MODEL_FILE, TextModel};
use thiserror::Error;

use crate::reviews::{self, FOLDS, Reviews, ReviewsArgs};
use crate::terminal::say;
use crate::{Failure, local};

/// Fits the model's probabilities to a deployment's reviewed posts and writes the model's folder with `calibration.json` in it, ready for
/// `moderato registry publish --model FOLDER`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    reviews: ReviewsArgs,
    /// The model's folder; otherwise the bundled model. A calibration in it is replaced.
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// How to fit.
    #[arg(long, value_enum, default_value = "auto")]
    method: Choice,
    /// Names the calibration on records, behind the model's version and a `+`; otherwise made from the digest of what decides it.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The folder to write, made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Two numbers.
    Platt,
    /// Steps.
    Isotonic,
    /// Platt, unless there are a thousand posts and isotonic has the lower cross-validated Brier score.
    Auto,
}

/// Why there is no calibration.
#[derive(Debug, Error)]
#[non_exhaustive]
enum CalibrateError {
    /// Too few of a class.
    #[error(
        "there are {positives:.0} positive and {negatives:.0} negative reviewed posts (weighted ones counted as fewer); \
         at least {LEAST} of each are needed, for with fewer their share is known to no better than a third: review more"
    )]
    TooFew {
        /// Effective number of positives.
        positives: f64,
        /// Of negatives.
        negatives: f64,
    },
    /// No calibration fits.
    #[error(
        "on the reviewed posts a higher score does not mean more positives, so that no calibration helps: check the verdicts' column, or train"
    )]
    NotCalibrated,
    /// Scores of a calibrated model cannot be told back.
    #[error("recorded scores of a model that has a calibration went through it: calibrate on texts (--text-column)")]
    Calibrated,
    /// A file cannot be written.
    #[error("writing `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Effective posts of each class below which nothing is fitted: their number is known to 28 % (1.96 over its root).
const LEAST: f64 = 50.0;
/// Effective positives from which the share of positives is known to 10 %.
const ENOUGH: f64 = 400.0;
/// Effective posts from which isotonic regression is tried (Niculescu-Mizil and Caruana, 2005).
const MANY: f64 = 1000.0;
/// Characters of a digest that name a calibration.
const SHORT: usize = 8;

/// Runs the command.
pub fn run(args: &CalibrateArgs) -> Result<ExitCode, Failure> {
    let given = args.model.as_deref().map_or_else(|| Ok(local::bundle()), Bundle::read)?;
    if given.calibration().is_some() && args.reviews.score_column.is_some() {
        return Err(CalibrateError::Calibrated.into());
    }
    let onnx = local::onnx()?;
    let plain = given.calibrated(None);
    let model = TextModel::load(&onnx, &plain, None)?;
    let reviews = reviews::read(&args.reviews, &model)?;
    let calibration = calibration(&reviews, model.identity(), args.method, args.version.clone())?;
    let mut json = serde_json::to_vec_pretty(&calibration)?;
    json.push(b'\n');
    let bundle = plain.calibrated(Some(json));
    let calibrated = TextModel::load(&onnx, &bundle, None)?;
    write(&args.out, &bundle)?;
    print(&calibration, calibrated.identity(), reviews.left_out);
    say!("publish it: moderato registry publish --model {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// Chooses, fits and measures.
fn calibration(
    reviews: &Reviews,
    model: &ModelRef,
    choice: Choice,
    version: Option<String>,
) -> Result<DeploymentCalibration, CalibrateError> {
    let Reviews { rows, folds, sha256, .. } = reviews;
    let class = |positive: bool| reviewed::effective(rows.iter().filter(|row| row.positive == positive));
    let (positives, negatives) = (class(true), class(false));
    if positives < LEAST || negatives < LEAST {
        return Err(CalibrateError::TooFew { positives, negatives });
    }
    let validated = |method| {
        let mapped = Mapping::cross_validated(method, rows, folds)?;
        Some((method, reviewed::brier(&mapped)?, mapped))
    };
    let tried = match choice {
        Choice::Platt => validated(Method::Platt),
        Choice::Isotonic => validated(Method::Isotonic),
        Choice::Auto => {
            let isotonic = Some(Method::Isotonic).filter(|_| reviewed::effective(rows) >= MANY).and_then(validated);
            [validated(Method::Platt), isotonic].into_iter().flatten().min_by(|a, b| a.1.total_cmp(&b.1))
        }
    };
    let (method, brier_after, mapped) = tried.ok_or(CalibrateError::NotCalibrated)?;
    let mapping = Mapping::fit(method, rows).ok_or(CalibrateError::NotCalibrated)?;
    let ece = |rows: &[Reviewed]| reviewed::bootstrap(rows, reviewed::ece).ok_or(CalibrateError::NotCalibrated);
    let figures = Figures {
        folds: FOLDS,
        ece_before: ece(rows)?,
        ece_after: ece(&mapped)?,
        brier_before: reviewed::brier(rows).ok_or(CalibrateError::NotCalibrated)?,
        brier_after,
    };
    let data = Data {
        sha256: sha256.clone(),
        n: rows.len(),
        positives: rows.iter().filter(|row| row.positive).count(),
        effective_positives: positives,
    };
    let decides = format!("{} {mapping:?} {sha256}", model.sha256);
    let version = version.unwrap_or_else(|| sha256_hex(decides.as_bytes()).chars().take(SHORT).collect());
    Ok(DeploymentCalibration::new(version, model.clone(), mapping, data, figures))
}

fn write(folder: &Path, bundle: &Bundle) -> Result<(), CalibrateError> {
    let own = [(MANIFEST_FILE, bundle.manifest.as_slice()), (MODEL_FILE, bundle.model.as_slice())];
    for (name, bytes) in own.into_iter().chain(bundle.more.iter().map(|(name, bytes)| (name.as_str(), &**bytes))) {
        let path = folder.join(name);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, bytes))
            .map_err(|source| CalibrateError::Write { path, source })?;
    }
    Ok(())
}

fn print(calibration: &DeploymentCalibration, identity: &ModelRef, left_out: usize) {
    let DeploymentCalibration { mapping, data, figures, .. } = calibration;
    let shown = |e: &Estimate| format!("{:.4} [{:.4}, {:.4}]", e.value, e.low, e.high);
    say!("reviewed posts {}, positive {}, left out without verdict or score {left_out}", data.n, data.positives);
    say!("method {}, cross-validated in {} parts", mapping.method(), figures.folds);
    say!("{:<8} {:<24} {:<24}", "", "before", "after");
    say!("{:<8} {:<24} {:<24}", "ECE", shown(&figures.ece_before), shown(&figures.ece_after));
    say!("{:<8} {:<24.4} {:<24.4}", "Brier", figures.brier_before, figures.brier_after);
    if data.effective_positives < ENOUGH {
        say!(
            "warning: {:.0} positive posts (weighted ones counted as fewer) leave the share of positives known to {:.0} %; {ENOUGH:.0} make it 10 %",
            data.effective_positives,
            196.0 / data.effective_positives.sqrt()
        );
    }
    say!("model {} {} {}", identity.name, identity.version, identity.sha256);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: CalibrateArgs,
    }

    fn args(line: &[&str]) -> CalibrateArgs {
        Cli::try_parse_from(std::iter::once("calibrate").chain(line.iter().copied())).unwrap().args
    }

    /// The committed linear model.
    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/scoring/models/ngram-baseline");

    /// Posts whose share of positives is half of what their score says.
    fn reviews(n: u32) -> Reviews {
        let row = |i: u32| Reviewed {
            score: f64::from((i * 7919) % n) / f64::from(n),
            positive: f64::from((i * 104_729) % n) / f64::from(n) < f64::from((i * 7919) % n) / f64::from(2 * n),
            weight: 1.0,
        };
        let rows: Vec<_> = (0..n).map(row).collect();
        let folds = (0..rows.len()).map(|i| i % FOLDS).collect();
        Reviews { rows, folds, sha256: "ab".repeat(32), left_out: 0 }
    }

    fn model() -> ModelRef {
        ModelRef { name: "m".to_owned(), version: "1".to_owned(), sha256: "cd".repeat(32) }
    }

    #[test]
    fn what_the_deployment_sees_is_learned_and_few_posts_are_refused() {
        let made = calibration(&reviews(2003), &model(), Choice::Auto, None).unwrap();
        assert!(made.figures.ece_before.value > 0.2 && made.figures.ece_after.value < 0.05, "{:?}", made.figures);
        assert!(made.figures.brier_after < made.figures.brier_before);
        assert!((made.mapping.apply(0.6) - 0.3).abs() < 0.06);
        assert_eq!(made.version.len(), SHORT);
        let error = calibration(&reviews(101), &model(), Choice::Platt, None).unwrap_err();
        assert!(matches!(error, CalibrateError::TooFew { .. }) && error.to_string().contains("at least 50"));
        let mut upside_down = reviews(2003);
        for row in &mut upside_down.rows {
            row.score = 1.0 - row.score;
        }
        let error = calibration(&upside_down, &model(), Choice::Auto, None).unwrap_err();
        assert!(matches!(error, CalibrateError::NotCalibrated));
    }

    #[test]
    fn weights_undo_how_posts_were_picked() {
        // Of the posts scored below a half one in four was reviewed.
        let all = reviews(4001);
        let picked: Vec<_> = all.rows.iter().enumerate().filter(|(i, row)| row.score >= 0.5 || i % 4 == 0).collect();
        let part = |weigh: bool| Reviews {
            rows: picked
                .iter()
                .map(|(_, row)| Reviewed { weight: if weigh && row.score < 0.5 { 4.0 } else { 1.0 }, ..**row })
                .collect(),
            folds: (0..picked.len()).map(|i| i % FOLDS).collect(),
            sha256: String::new(),
            left_out: 0,
        };
        let ece =
            |reviews: &Reviews| calibration(reviews, &model(), Choice::Platt, None).unwrap().figures.ece_before.value;
        let (whole, weighted, unweighted) = (ece(&all), ece(&part(true)), ece(&part(false)));
        assert!((weighted - whole).abs() < 0.01, "{weighted} {whole}");
        assert!((unweighted - whole).abs() > 0.03, "{unweighted} {whole}");
    }

    #[test]
    fn reviewed_texts_become_a_folder_that_scores_as_its_table_says() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("reviewed.csv");
        // Harmless sentences and insults; people here found half of the insults to be hate.
        let rows: String = (0..600)
            .map(|i| match i % 3 {
                0 => {
                    format!("you people are vermin and scum number {i},{}\n", if i % 2 == 0 { "hate" } else { "fine" })
                }
                1 => format!("a walk in the park number {i},fine\n"),
                _ => format!("nobody looked at number {i},\n"),
            })
            .collect();
        std::fs::write(&data, format!("text,verdict\n{rows}")).unwrap();
        let out = folder.path().join("out");
        let line = ["--data", data.to_str().unwrap(), "--text-column", "text", "--positive-when", "verdict=hate"];
        let line = [&line[..], &["--model", MODEL, "--out", out.to_str().unwrap(), "--version", "acme-1"]].concat();
        run(&args(&line)).unwrap();
        let bundle = Bundle::read(&out).unwrap();
        let own = TextModel::load(&local::onnx().unwrap(), &bundle, None).unwrap();
        assert_eq!(own.identity().version, "1+acme-1");
        let made = own.deployment().unwrap();
        assert_eq!((made.data.n, made.data.positives), (400, 100));
        assert!(made.figures.ece_after.value < made.figures.ece_before.value, "{:?}", made.figures);
        let insult = own.score("you people are vermin and scum number 7").unwrap().calibrated;
        assert!((0.4..0.6).contains(&insult), "{insult}");
        assert!(own.score("a walk in the park number 7").unwrap().calibrated < 0.1);

        // The recorded scores of the same posts give the same mapping, and records of another model are refused.
        let plain = local::model(Some(Path::new(MODEL)), &local::onnx().unwrap()).unwrap();
        let mut records = csv::Reader::from_path(&data).unwrap();
        let lines: String = records
            .records()
            .map(|row| {
                let row = row.unwrap();
                let score = plain.score(&row[0]).unwrap().calibrated;
                let line = serde_json::json!({"score": score, "verdict": &row[1], "model": plain.identity()});
                format!("{line}\n")
            })
            .collect();
        let recorded = folder.path().join("records.jsonl");
        std::fs::write(&recorded, &lines).unwrap();
        let by_score = ["--data", recorded.to_str().unwrap(), "--score-column", "score"];
        let again = folder.path().join("again");
        let rest = ["--positive-when", "verdict=hate", "--model", MODEL, "--out", again.to_str().unwrap()];
        run(&args(&[&by_score[..], &rest].concat())).unwrap();
        let again = TextModel::load(&local::onnx().unwrap(), &Bundle::read(&again).unwrap(), None).unwrap();
        assert_eq!(again.deployment().unwrap().mapping, made.mapping);
        let digest = &plain.identity().sha256;
        std::fs::write(&recorded, lines.replace(digest.as_str(), &"0".repeat(64))).unwrap();
        let error = run(&args(&[&by_score[..], &rest].concat())).unwrap_err().to_string();
        assert!(error.contains("row 1 was scored by"), "{error}");
        // Scores that went through a calibration cannot be told back.
        let calibrated = ["--positive-when", "verdict=hate", "--model", out.to_str().unwrap(), "--out", "unused"];
        let error = run(&args(&[&by_score[..], &calibrated].concat())).unwrap_err().to_string();
        assert!(error.contains("--text-column"), "{error}");
    }
}
