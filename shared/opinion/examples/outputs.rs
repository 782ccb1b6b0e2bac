//! What the members of the ensemble say of texts, for the study in infra/training/ensemble.py: JSON Lines with a `text` in; out, a line a
//! text, the linear graph's log-odds and the transformer's outputs for each row.
//!
//!     outputs LIBRARY MODEL_FOLDER <texts.jsonl >outputs.jsonl
#![allow(clippy::indexing_slicing, reason = "the study's own lines; a bad one ends it")]

use std::error::Error;
use std::io::{BufRead, BufWriter, Write, stdin, stdout};
use std::path::PathBuf;

use scoring::{Bundle, TextModel};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(library), Some(folder)) = (paths.next(), paths.next()) else {
        return Err("usage: outputs LIBRARY MODEL_FOLDER <texts.jsonl".into());
    };
    let model = TextModel::load(&scoring::init(&library)?, &Bundle::read(&folder)?, None)?;
    let mut out = BufWriter::new(stdout().lock());
    for line in stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line?)?;
        let text = row["text"].as_str().ok_or("a line without `text`")?;
        let rows = model.rows(text, 16)?;
        let rows: Vec<_> = rows
            .iter()
            .map(|row| Ok((row.ids.len(), model.run(&row.ids)?)))
            .collect::<Result<_, scoring::ScoreError>>()?;
        writeln!(
            out,
            "{}",
            json!({ "score": model.score(text)?.calibrated, "linear": model.log_odds(text)?, "rows": rows })
        )?;
    }
    Ok(out.flush()?)
}
