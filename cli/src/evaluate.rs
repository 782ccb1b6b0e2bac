//! `moderato evaluate`: how good a model is on a file of labelled texts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use domain::policy::Band;
use scoring::metrics::{Metrics, Outcome, measure};
use scoring::{ScoreError, TextModel};
use serde::Serialize;
use thiserror::Error;

use crate::dataset::{self, DataError, Record};
use crate::progress::progress;

/// A score of this or more is predicted positive.
const THRESHOLD: f64 = 0.5;

/// Measures a model on a CSV or JSON Lines file (gzipped or not) of labelled texts.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The file: .csv, .jsonl, .csv.gz or .jsonl.gz.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The column that holds the text.
    #[arg(long, value_name = "COLUMN")]
    pub text_column: String,
    /// Which rows are positive: a column and its value, such as `label=hate`.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition)]
    pub positive_when: (String, String),
    /// Measures each value of this column by itself too; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    pub slice: Vec<String>,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// A model's folder, instead of the bundled model.
    #[arg(long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
}

/// Why an evaluation did not happen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The file.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No row is positive, so the condition is surely not what was meant.
    #[error("no row has `{column}` = `{value}`; {there}")]
    UnknownValue {
        /// The column.
        column: String,
        /// The value wanted.
        value: String,
        /// What values there are, in words.
        there: String,
    },
    /// The model failed on a row.
    #[error("scoring row {row}")]
    Score {
        /// The row, counted from 1, the header left out.
        row: usize,
        /// What happened.
        source: ScoreError,
    },
    /// The result could not be printed.
    #[error("printing the result")]
    Print(#[from] io::Error),
}

pub(crate) fn condition(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        _ => Err("give a column and its value, such as `label=hate`".to_owned()),
    }
}

/// Measures over some rows.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// At a score of 0.5 or more for positive.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// How the rows fall into the policy's bands.
    pub bands: Vec<BandShare>,
}

/// The rows that fall into one band.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BandShare {
    /// The band's id.
    pub band: String,
    /// What follows from it.
    pub decision: &'static str,
    /// Its lower bound, included.
    pub from: f64,
    /// Rows.
    pub n: usize,
    /// Share of all rows.
    pub share: Option<f64>,
    /// Of the rows in the band, the share that is positive: for hiding, its precision.
    pub positive_share: Option<f64>,
    /// Of all positive rows, the share in this band: for approving, what is missed.
    pub share_of_positives: Option<f64>,
}

/// Measures outcomes against the bands, given by rising lower bound.
pub fn report(outcomes: &[Outcome], bands: &[Band]) -> Report {
    let ratio = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let all_positives = outcomes.iter().filter(|o| o.positive).count();
    let ends = bands.iter().skip(1).map(|band| band.from).chain([f64::INFINITY]);
    let bands = bands
        .iter()
        .zip(ends)
        .map(|(band, end)| {
            let inside = || outcomes.iter().filter(|o| (band.from..end).contains(&o.score));
            let (n, positives) = (inside().count(), inside().filter(|o| o.positive).count());
            BandShare {
                band: band.id.clone(),
                decision: band.decision.as_str(),
                from: band.from,
                n,
                share: ratio(n, outcomes.len()),
                positive_share: ratio(positives, n),
                share_of_positives: ratio(positives, all_positives),
            }
        })
        .collect();
    Report { metrics: measure(outcomes, THRESHOLD), bands }
}

/// What is printed: the whole, and each slice by column and value.
#[derive(Debug, Serialize)]
struct Evaluation {
    #[serde(flatten)]
    whole: Report,
    model: domain::ModelRef,
    slices: BTreeMap<String, BTreeMap<String, Report>>,
}

/// Runs the command with the model chosen and the policy's bands for the model's harm.
pub fn run(args: &EvaluateArgs, model: &TextModel, bands: &[Band]) -> Result<ExitCode, EvaluateError> {
    let records = dataset::read(&args.data)?;
    let answers = answers(&args.positive_when, &records)?;
    for column in args.slice.iter().chain([&args.text_column]) {
        // Before the work, rather than after it.
        records.iter().try_for_each(|record| record.get(column).map(|_| ()))?;
    }
    let outcomes = score(args, model, &records, &answers)?;
    let mut slices: BTreeMap<String, BTreeMap<String, Report>> = BTreeMap::new();
    for column in &args.slice {
        let mut groups: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
        for (record, outcome) in records.iter().zip(&outcomes) {
            groups.entry(record.get(column)?.to_owned()).or_default().push(*outcome);
        }
        let reports = groups.into_iter().map(|(value, group)| (value, report(&group, bands))).collect();
        slices.insert(column.clone(), reports);
    }
    let evaluation = Evaluation { whole: report(&outcomes, bands), model: model.identity().clone(), slices };
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &evaluation).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print_table(&mut out, &evaluation)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Which rows are positive.
pub(crate) fn answers((column, value): &(String, String), records: &[Record]) -> Result<Vec<bool>, EvaluateError> {
    let given = records.iter().map(|record| record.get(column)).collect::<Result<Vec<_>, _>>()?;
    if !given.contains(&value.as_str()) {
        let values: BTreeSet<&str> = given.into_iter().collect();
        // A column with many or long values may hold texts, which no message shows.
        let there = if values.len() <= 12 && values.iter().all(|v| v.chars().count() <= 40) {
            let shown: Vec<_> = values.iter().map(|v| format!("`{v}`")).collect();
            format!("there are {}", shown.join(", "))
        } else {
            format!("it has {} other values", values.len())
        };
        return Err(EvaluateError::UnknownValue { column: column.clone(), value: value.clone(), there });
    }
    Ok(given.into_iter().map(|there| there == value).collect())
}

fn score(
    args: &EvaluateArgs,
    model: &TextModel,
    records: &[Record],
    answers: &[bool],
) -> Result<Vec<Outcome>, EvaluateError> {
    let bar = progress("scoring", records.len());
    let mut outcomes = Vec::with_capacity(records.len());
    for (index, (record, positive)) in records.iter().zip(answers).enumerate() {
        let text = record.get(&args.text_column)?;
        let scored = model.score(text).map_err(|source| EvaluateError::Score { row: index + 1, source })?;
        outcomes.push(Outcome { score: scored.calibrated, positive: *positive });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(outcomes)
}

fn print_table(out: &mut impl Write, evaluation: &Evaluation) -> io::Result<()> {
    let mut rows = vec![("all".to_owned(), &evaluation.whole)];
    for (column, values) in &evaluation.slices {
        rows.extend(values.iter().map(|(value, report)| (format!("{column}={value}"), report)));
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let decisions: Vec<_> = evaluation.whole.bands.iter().map(|band| band.decision).collect();
    write!(out, "{:width$} {:>7} {:>7}", "", "n", "pos")?;
    for name in ["prec", "recall", "f1", "mac-f1", "auc", "pr-auc", "ece"] {
        write!(out, " {name:>6}")?;
    }
    for decision in decisions {
        write!(out, " {decision:>8}")?;
    }
    writeln!(out)?;
    let cell = |number: Option<f64>| number.map_or("-".to_owned(), |x| format!("{x:.3}"));
    for (name, report) in rows {
        let m = &report.metrics;
        write!(out, "{name:width$} {:>7} {:>7}", m.n, m.positives)?;
        for number in [m.precision, m.recall, m.f1, m.macro_f1, m.auc_roc, m.pr_auc, m.ece] {
            write!(out, " {:>6}", cell(number))?;
        }
        for band in &report.bands {
            write!(out, " {:>8}", cell(band.share))?;
        }
        writeln!(out)?;
    }
    for band in evaluation.whole.bands.iter() {
        writeln!(
            out,
            "{}: score from {}, {} of the rows, of which {} positive; {} of all positive rows",
            band.decision,
            band.from,
            cell(band.share),
            cell(band.positive_share),
            cell(band.share_of_positives)
        )?;
    }
    writeln!(out, "model {} {} {}", evaluation.model.name, evaluation.model.version, evaluation.model.sha256)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

    use domain::Decision;

    use super::*;

    fn bands() -> [Band; 3] {
        [(Decision::Approve, 0.0), (Decision::Review, 0.2), (Decision::Hide, 0.8)].map(|(decision, from)| Band {
            id: decision.as_str().to_owned(),
            from,
            decision,
            lane: None,
        })
    }

    #[test]
    fn a_band_includes_its_lower_bound() {
        let outcome = |score, positive| Outcome { score, positive };
        let outcomes = [
            outcome(0.0, true),
            outcome(0.199_999, false),
            outcome(0.2, false),
            outcome(0.8, true),
            outcome(1.0, true),
        ];
        let report = report(&outcomes, &bands());
        let found: Vec<_> = report.bands.iter().map(|b| (b.decision, b.n, b.share.unwrap())).collect();
        assert_eq!(found, [("approve", 2, 0.4), ("review", 1, 0.2), ("hide", 2, 0.4)]);
        assert_eq!(report.bands[2].positive_share, Some(1.0));
        assert_eq!(report.bands[0].share_of_positives, Some(1.0 / 3.0));
        assert_eq!(report.bands[1].positive_share, Some(0.0));
    }

    #[test]
    fn the_json_has_the_keys_of_the_contract() {
        let report = report(&[Outcome { score: 0.3, positive: true }], &bands());
        let json = serde_json::to_value(&report).unwrap();
        for key in ["n", "precision", "recall", "f1", "macro_f1", "auc_roc", "pr_auc", "ece", "bands"] {
            assert!(json.get(key).is_some(), "{key} is missing");
        }
        assert!(json["auc_roc"].is_null());
    }

    #[test]
    fn a_condition_is_a_column_and_a_value() {
        assert_eq!(condition("label=hate=1").unwrap(), ("label".to_owned(), "hate=1".to_owned()));
        assert_eq!(condition("label=").unwrap(), ("label".to_owned(), String::new()));
        condition("label").unwrap_err();
        condition("=1").unwrap_err();
    }

    #[test]
    fn a_value_that_never_occurs_is_an_error_that_lists_labels_and_never_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, format!("text,label\nsecret {0},hate\nplain,none\n", "x".repeat(40))).unwrap();
        let records = dataset::read(&path).unwrap();
        let said = |column: &str| answers(&(column.to_owned(), "hat".to_owned()), &records).unwrap_err().to_string();
        assert_eq!(said("label"), "no row has `label` = `hat`; there are `hate`, `none`");
        assert_eq!(said("text"), "no row has `text` = `hat`; it has 2 other values");
        assert!(said("class").contains("it has `label`, `text`"));
    }
}
