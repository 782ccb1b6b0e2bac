//! `moderato evaluate`: how good a model is on a file of labelled texts, or on the public corpora.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use domain::policy::Band;
use scoring::metrics::{Metrics, Outcome, measure};
use scoring::{ScoreError, TextModel};
use serde::Serialize;
use thiserror::Error;

use crate::corpora::{CORPORA, Class, HeldOut, Part};
use crate::dataset::{self, DataError, Record};
use crate::progress::progress;
use crate::report::peers::{self, Beside, PeerError, PeerScore, Source};
use crate::report::{self as pages, Audit, Measured, POOLED, Peer, Row, Set, TermScores};
use crate::terminal::{line, lines};

/// A score of this or more is predicted positive.
pub const THRESHOLD: f64 = 0.5;

/// Measures a model on a CSV or JSON Lines file (gzipped or not) of labelled texts, or on the public corpora.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The file: .csv, .jsonl, .csv.gz or .jsonl.gz.
    #[arg(long, value_name = "FILE", required_unless_present = "corpora", conflicts_with = "corpora")]
    pub data: Option<PathBuf>,
    /// The column that holds the text.
    #[arg(long, value_name = "COLUMN", required_unless_present = "corpora", conflicts_with = "corpora")]
    pub text_column: Option<String>,
    /// Which rows are positive: a column and its value, such as `label=hate`.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition, required_unless_present = "corpora", conflicts_with = "corpora")]
    pub positive_when: Option<(String, String)>,
    /// Measures each value of this column by itself too; may be given several times.
    #[arg(long, value_name = "COLUMN", conflicts_with = "corpora")]
    pub slice: Vec<String>,
    /// Measures on the validation rows of the public corpora; without a folder on those in `MODERATO_DATA` or `../shared/data`.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    pub corpora: Option<Option<PathBuf>>,
    #[arg(long, hide = true, value_name = "FOLDER", env = "MODERATO_DATA", default_value = "../shared/data")]
    pub corpora_default: PathBuf,
    /// Writes a report with plots, one HTML page.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Shows another system in the report: a file with one score a row, in the order of the rows, or `NAME=model:FOLDER` for a model
    /// of ours; may be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = peers::beside)]
    pub beside: Vec<Beside>,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// A policy file whose bands count, instead of the compiled-in policy.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
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
    /// A row of a corpus, or a sentence with a term that is held out, cannot be scored.
    #[error("scoring `{set}`")]
    Set {
        /// The set.
        set: String,
        /// What happened.
        source: ScoreError,
    },
    /// The list of terms that are held out.
    #[error("reading the terms that are held out")]
    HeldOut(#[from] serde_json::Error),
    /// Scores of another system.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A model to show beside.
    #[error("loading the model `{name}`")]
    Model {
        /// The name given.
        name: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file cannot be read again or written.
    #[error("reading or writing `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
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

/// What is printed: the whole, each slice by column and value, and what the report adds.
#[derive(Debug, Serialize)]
struct Evaluation {
    #[serde(flatten)]
    whole: Report,
    model: domain::ModelRef,
    slices: BTreeMap<String, BTreeMap<String, Report>>,
    #[serde(flatten)]
    audit: Option<Audit>,
    /// Whether the whole is several sets.
    #[serde(skip)]
    several: bool,
}

/// A labelled text.
struct Labelled {
    set: usize,
    number: usize,
    text: String,
    positive: bool,
    class: Option<Class>,
    slices: Vec<(String, String)>,
}

/// Labelled texts, and what they are.
struct Texts {
    sets: Vec<Set>,
    texts: Vec<Labelled>,
    /// Columns that are printed value by value.
    slices: Vec<String>,
    /// Columns whose values are groups of people.
    groups: Vec<String>,
}

/// Runs the command with the model chosen and the policy's bands for the model's harm. `load` loads another model of ours.
pub fn run(
    args: &EvaluateArgs,
    model: &TextModel,
    bands: &[Band],
    load: impl Fn(&Path) -> Result<TextModel, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<ExitCode, EvaluateError> {
    let Texts { sets, texts, slices, groups } = match (&args.data, &args.text_column, &args.positive_when) {
        (Some(data), Some(text), Some(condition)) => file(args, data, text, condition)?,
        _ => corpora(args.corpora.iter().flatten().next().unwrap_or(&args.corpora_default))?,
    };
    // Before the work, rather than after it.
    let peers = peers(&args.beside, &texts, load)?;
    let rows = score(model, texts, &sets)?;
    let pooled: Vec<Outcome> = rows.iter().filter(|row| is_pooled(row, &sets)).map(|row| row.outcome).collect();
    let audit = if args.report.is_some() || args.corpora.is_some() || !peers.is_empty() {
        let identity = identity(model)?;
        let measured = Measured {
            model: model.identity(),
            bands,
            sets: &sets,
            rows: &rows,
            groups: &groups,
            identity: &identity,
            peers: &peers,
        };
        let audit = Audit::new(&measured);
        if let Some(path) = &args.report {
            let written = std::fs::write(path, pages::html(&audit, &measured));
            written.map_err(|source| EvaluateError::File { path: path.clone(), source })?;
        }
        Some(audit)
    } else {
        None
    };
    let slices = slices.iter().map(|column| (column.clone(), by_value(&rows, column, bands))).collect();
    let evaluation = Evaluation {
        whole: report(&pooled, bands),
        model: model.identity().clone(),
        slices,
        audit,
        several: sets.len() > 1,
    };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", lines(&serde_json::to_string_pretty(&evaluation).map_err(io::Error::from)?))?;
    } else {
        print_table(&mut out, &evaluation)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn is_pooled(row: &Row, sets: &[Set]) -> bool {
    sets.get(row.set).is_some_and(|set| set.pooled)
}

fn by_value(rows: &[Row], column: &str, bands: &[Band]) -> BTreeMap<String, Report> {
    let mut groups: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    for row in rows {
        for (_, value) in row.slices.iter().filter(|(name, _)| name == column) {
            groups.entry(value.clone()).or_default().push(row.outcome);
        }
    }
    groups.into_iter().map(|(value, group)| (value, report(&group, bands))).collect()
}

/// A file of labelled rows. Its column `surface`, where it has one, divides the report too.
fn file(args: &EvaluateArgs, data: &Path, text: &str, condition: &(String, String)) -> Result<Texts, EvaluateError> {
    let records = dataset::read(data)?;
    let answers = answers(condition, &records)?;
    let (column, value) = condition;
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let set = Set {
        name: name.split('.').next().unwrap_or_default().to_owned(),
        positive: format!("{column} = {value}"),
        pooled: true,
        sha256: digest(data)?,
        file: name,
    };
    let mut columns = args.slice.clone();
    let has_surface = records.iter().all(|record| record.get(SURFACE).is_ok());
    if has_surface && !columns.iter().any(|column| column == SURFACE) {
        columns.push(SURFACE.to_owned());
    }
    let mut texts = Vec::with_capacity(records.len());
    for (index, (record, positive)) in records.iter().zip(answers).enumerate() {
        let value = |column: &String| Ok((column.clone(), record.get(column)?.to_owned()));
        texts.push(Labelled {
            set: 0,
            number: index + 1,
            text: record.get(text)?.to_owned(),
            positive,
            class: None,
            slices: columns.iter().map(value).collect::<Result<_, DataError>>()?,
        });
    }
    Ok(Texts { sets: vec![set], texts, slices: args.slice.clone(), groups: args.slice.clone() })
}

/// Where a post stands: in a feed, in a comment.
const SURFACE: &str = "surface";

/// The validation rows of the public corpora that have some, in the order of `moderato corpora`.
fn corpora(folder: &Path) -> Result<Texts, EvaluateError> {
    let (mut sets, mut texts) = (Vec::new(), Vec::new());
    for corpus in &CORPORA {
        let examples = corpus.load(folder)?;
        let held = examples.into_iter().filter(|example| example.part == Part::Validation);
        let before = texts.len();
        texts.extend(held.enumerate().map(|(index, example)| {
            Labelled {
                set: sets.len(),
                number: index + 1,
                text: example.text,
                positive: example.positive,
                class: example.class,
                slices: example
                    .slices
                    .iter()
                    .filter_map(|slice| slice.split_once('='))
                    .chain([(pages::SET, corpus.name)])
                    .map(|(column, value)| (column.to_owned(), value.to_owned()))
                    .collect(),
            }
        }));
        if texts.len() > before {
            sets.push(Set {
                name: corpus.name.to_owned(),
                positive: corpus.positive.to_owned(),
                pooled: corpus.pooled,
                file: corpus.file.to_owned(),
                sha256: digest(&folder.join(corpus.file))?,
            });
        }
    }
    let [set, target] = [pages::SET, "target"].map(str::to_owned);
    Ok(Texts { sets, texts, slices: vec![set, target.clone()], groups: vec![target] })
}

fn digest(path: &Path) -> Result<String, EvaluateError> {
    let bytes = std::fs::read(path).map_err(|source| EvaluateError::File { path: path.to_owned(), source })?;
    Ok(domain::sha256_hex(&bytes))
}

fn peers(
    beside: &[Beside],
    texts: &[Labelled],
    load: impl Fn(&Path) -> Result<TextModel, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<Vec<Peer>, EvaluateError> {
    let mut peers = Vec::new();
    let digests: Vec<String> = texts.iter().map(|row| domain::sha256_hex(row.text.as_bytes())).collect();
    let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
    for Beside { name, source } in beside {
        let scores = match source {
            Source::File(path) => peers::read(path, &digests)?,
            Source::Model(folder) => {
                let model = load(folder).map_err(|source| EvaluateError::Model { name: name.clone(), source })?;
                let said = |source| EvaluateError::Set { set: name.clone(), source };
                let bar = progress("beside", texts.len());
                let score = |row: &Labelled| {
                    bar.inc(1);
                    Ok(PeerScore::of(model.score(&row.text).map_err(said)?.calibrated, None))
                };
                let scores = texts.iter().map(score).collect::<Result<_, EvaluateError>>()?;
                bar.finish_and_clear();
                scores
            }
        };
        peers.push(Peer { name: name.clone(), scores });
    }
    Ok(peers)
}

/// Scores every sentence that names a term held out of training.
fn identity(model: &TextModel) -> Result<Vec<TermScores>, EvaluateError> {
    let held_out = HeldOut::bundled()?;
    let sentences: Vec<String> = held_out.sentences().collect();
    let said = |source| EvaluateError::Set { set: "identity terms".to_owned(), source };
    let bar = progress("terms", sentences.len());
    let mut found = Vec::new();
    for (term, sentences) in held_out.terms.iter().zip(sentences.chunks(held_out.templates.len().max(1))) {
        let scores = sentences.iter().map(|text| Ok(model.score(text).map_err(said)?.calibrated));
        found.push(TermScores { term: term.plural.clone(), scores: scores.collect::<Result<_, EvaluateError>>()? });
        bar.inc(u64::try_from(sentences.len()).unwrap_or(0));
    }
    bar.finish_and_clear();
    Ok(found)
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

/// Scores texts and lets go of them.
fn score(model: &TextModel, texts: Vec<Labelled>, sets: &[Set]) -> Result<Vec<Row>, EvaluateError> {
    let bar = progress("scoring", texts.len());
    let mut rows = Vec::with_capacity(texts.len());
    for text in texts {
        let Labelled { set, number, text, positive, class, slices } = text;
        let failed = |source| match sets {
            [_] => EvaluateError::Score { row: number, source },
            sets => EvaluateError::Set { set: sets.get(set).map_or_else(String::new, |set| set.name.clone()), source },
        };
        let scored = model.score(&text).map_err(failed)?;
        let classes = if class.is_some() { model.classes(&text).map_err(failed)? } else { None };
        rows.push(Row {
            set,
            number,
            digest: domain::sha256_hex(text.as_bytes()),
            words: text.split_whitespace().count(),
            class,
            slices,
            outcome: Outcome { score: scored.calibrated, positive },
            classes,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}

fn print_table(out: &mut impl Write, evaluation: &Evaluation) -> io::Result<()> {
    let all = if evaluation.several { POOLED } else { "all" };
    let mut rows = vec![(all.to_owned(), &evaluation.whole)];
    for (column, values) in &evaluation.slices {
        rows.extend(values.iter().map(|(value, report)| (line(&format!("{column}={value}")), report)));
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
