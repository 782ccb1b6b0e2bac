//! `moderato features`: the feature store.

use crate::Failure;
use crate::progress::progress;
use crate::stack::{Stack, soon};
use crate::terminal::{self, say, tell};
use clap::Subcommand;
use features::views::{Definitions, FeatureRow};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::FeatureStore;

/// Works on the feature store.
#[derive(Debug, Subcommand)]
pub enum FeaturesCommand {
    /// Loads a features file (JSON Lines); of several rows about the same entity the newest counts.
    Load {
        /// The file.
        file: PathBuf,
    },
}

/// Rows written between two steps of the progress bar.
const ROWS_A_STEP: usize = 250;

/// Runs the command: exit code 1 where a row is refused, and then nothing is loaded.
pub async fn run(command: &FeaturesCommand, stack: &Stack) -> Result<ExitCode, Failure> {
    let FeaturesCommand::Load { file } = command;
    let definitions = Definitions::bundled()?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("reading `{}`: {error}", file.display()))?;
    let Some(rows) = rows(file, &text, &definitions) else { return Ok(ExitCode::FAILURE) };
    let store = stack.features(definitions)?;
    let bar = progress("rows", rows.len());
    for chunk in rows.chunks(ROWS_A_STEP) {
        store.put(chunk, soon()).await?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    say!("{} feature rows loaded", rows.len());
    Ok(ExitCode::SUCCESS)
}

/// The rows of a file, the newest of each entity; `None`, having said why, where one is refused.
fn rows(file: &Path, text: &str, definitions: &Definitions) -> Option<Vec<FeatureRow>> {
    let mut newest: BTreeMap<(String, String), FeatureRow> = BTreeMap::new();
    let mut refused = 0;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match definitions.parse_row(line) {
            Ok(row) => {
                let key = (row.view.clone(), row.id.clone());
                if newest.get(&key).is_none_or(|kept| kept.updated_at <= row.updated_at) {
                    newest.insert(key, row);
                }
            }
            Err(error) => {
                tell!("{}:{}: {}", file.display(), index + 1, terminal::line(&error.to_string()));
                refused += 1;
            }
        }
    }
    if refused > 0 {
        tell!("{refused} rows refused, nothing loaded");
        return None;
    }
    Some(newest.into_values().collect())
}
