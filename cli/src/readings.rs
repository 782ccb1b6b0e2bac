//! `moderato corpora` and `moderato readings`: what training outside of Rust needs from Rust, so that both read a text alike.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::corpora::{self, CORPORA, Class, EVERYDAY, HeldOut, Part};
use crate::dataset::DataError;
use crate::terminal::lines;

/// Prints the public corpora as JSON Lines, with their parts and readings; training rows that are held out elsewhere are left out.
#[derive(Debug, Args)]
pub struct CorporaArgs {
    /// The folder of the corpora.
    #[arg(long, value_name = "FOLDER", env = "MODERATO_DATA", default_value = "../shared/data")]
    pub data: PathBuf,
}

/// Why the corpora or readings could not be printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadingsError {
    /// The corpora.
    #[error("reading the corpora")]
    Data(#[from] DataError),
    /// The list of terms that are held out.
    #[error("reading the terms that are held out")]
    HeldOut(#[from] serde_json::Error),
    /// Standard input or output.
    #[error("reading from standard input or printing")]
    Pipe(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line}: give a JSON object with a text in `text`")]
    Line {
        /// Counted from 1.
        line: usize,
    },
}

#[derive(Serialize)]
struct Row<'a> {
    corpus: &'a str,
    part: Part,
    /// How much it counts in training; 0 where it is not trained on.
    weight: f64,
    /// Whether it counts in the pooled figures.
    pooled: bool,
    hate: bool,
    class: Option<Class>,
    slices: &'a [String],
    text: &'a str,
    plain: &'a str,
    folded: Option<&'a str>,
}

/// Prints every row of every corpus.
pub fn corpora(args: &CorporaArgs) -> Result<ExitCode, ReadingsError> {
    let there = EVERYDAY.iter().filter(|corpus| args.data.join(corpus.file).exists());
    let corpora: Vec<_> = CORPORA.iter().chain(there).collect();
    let mut all = corpora.iter().map(|corpus| corpus.load(&args.data)).collect::<Result<Vec<_>, _>>()?;
    corpora::drop_leaks(&mut all);
    HeldOut::bundled()?.drop_named(&mut all);
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (corpus, examples) in corpora.iter().zip(&all) {
        let trained_on: std::collections::HashSet<*const corpora::Example> =
            corpus.training.rows(examples).map(std::ptr::from_ref).collect();
        for example in examples {
            let (plain, folded) = (features::text::plain(&example.text), features::text::folded(&example.text));
            let row = Row {
                corpus: corpus.name,
                part: example.part,
                weight: if trained_on.contains(&std::ptr::from_ref(example)) { corpus.training.weight } else { 0.0 },
                pooled: corpus.pooled,
                hate: example.positive,
                class: example.class,
                slices: &example.slices,
                text: &example.text,
                plain: plain.text(),
                folded: folded.as_ref().map(features::text::Reading::text),
            };
            writeln!(out, "{}", lines(&serde_json::to_string(&row).map_err(io::Error::from)?))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Reads JSON Lines with a `text` each and prints them with the readings `plain` and `folded` (null where it is the plain one).
pub fn readings() -> Result<ExitCode, ReadingsError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (index, line) in io::stdin().lock().lines().enumerate() {
        let bad = || ReadingsError::Line { line: index + 1 };
        let mut row: Map<String, Value> = serde_json::from_str(&line?).map_err(|_| bad())?;
        let text = row.get("text").and_then(Value::as_str).ok_or_else(bad)?;
        let (plain, folded) = (features::text::plain(text), features::text::folded(text));
        row.insert("plain".to_owned(), Value::from(plain.text()));
        row.insert("folded".to_owned(), folded.map_or(Value::Null, |reading| Value::from(reading.text())));
        writeln!(out, "{}", lines(&serde_json::to_string(&row).map_err(io::Error::from)?))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
