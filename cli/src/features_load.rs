//! `moderato features`: the feature store.

use crate::Failure;
use crate::progress::progress;
use crate::stack::{Stack, soon};
use crate::terminal::{self, say, tell};
use clap::Subcommand;
use features::views::{Definitions, FeatureRow, Lookup, RowKey};
use std::collections::{BTreeMap, BTreeSet};
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
    let mut loaded = 0;
    for chunk in rows.chunks(ROWS_A_STEP) {
        let keys: BTreeSet<_> = chunk.iter().map(key).collect();
        let standing = store.fetch(&keys, soon()).await;
        let chunk: Vec<_> =
            chunk.iter().filter_map(|row| beside_erasure(row, standing.get(&key(row))?)).collect::<Result<_, _>>()?;
        store.put(&chunk, soon()).await?;
        loaded += chunk.len();
        bar.inc(keys.len() as u64);
    }
    bar.finish_and_clear();
    say!("{loaded} feature rows loaded");
    if loaded < rows.len() {
        say!("{} left out: what they say was true before their author or post was erased", rows.len() - loaded);
    }
    Ok(ExitCode::SUCCESS)
}

fn key(row: &FeatureRow) -> RowKey {
    RowKey { view: row.view.clone(), id: row.id.clone() }
}

/// The row as it is to be written; `None` for one that was true before what it is about was erased. What was true later is known again,
/// and the tombstone stays with it: messages of before may still come.
fn beside_erasure(row: &FeatureRow, standing: &Lookup) -> Option<Result<FeatureRow, Failure>> {
    match standing {
        Lookup::Found(FeatureRow { erased_at: Some(erased_at), .. }) => {
            let erased_at = Some(*erased_at);
            (Some(row.updated_at) > erased_at).then(|| Ok(FeatureRow { erased_at, ..row.clone() }))
        }
        Lookup::Found(_) | Lookup::Missing => Some(Ok(row.clone())),
        // Nobody can say whether it was erased.
        Lookup::Unavailable => Some(Err("a row cannot be read, so nobody can say whether it was erased: run the command again, or delete the row if its shape is another".into())),
    }
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
