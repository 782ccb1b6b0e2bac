//! Lists of others as a bank: a word a line, a column of a CSV file, or signals as HMA and ThreatExchange write them in JSON.

use super::edit;
use crate::Failure;
use clap::ValueEnum;
use features::signals::{Bank, ImageHash, Section};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An entry a line.
    List,
    /// Comma-separated values, with the names of its columns in the first line.
    Csv,
    /// Signals as HMA and ThreatExchange write them: JSON, or JSON Lines, of objects with a type and a value.
    Json,
}

/// What was read of a list.
#[derive(Default)]
pub struct Imported {
    /// The bank.
    pub source: String,
    /// How many entries it has.
    pub entries: usize,
    /// How many were there twice.
    pub repeated: usize,
    /// What was left out, by its kind.
    pub skipped: BTreeMap<String, usize>,
}

/// Reads a list into a bank that has no entries yet.
pub fn import(
    head: String,
    text: &str,
    format: Format,
    column: Option<&str>,
    kind: Option<Section>,
) -> Result<Imported, Failure> {
    let found = match format {
        Format::List => text.lines().map(|line| (kind, line.to_owned())).collect(),
        Format::Csv => of_csv(text, column)?.into_iter().map(|entry| (kind, entry)).collect(),
        Format::Json => of_json(text)?,
    };
    let mut imported = Imported::default();
    let mut by_section: Vec<(Section, Vec<String>)> = Vec::new();
    let mut known = BTreeSet::new();
    for (section, entry) in found {
        let entry = entry.split_whitespace().collect::<Vec<_>>().join(" ");
        if entry.is_empty() || format == Format::List && entry.starts_with('#') {
            continue;
        }
        let Ok(section) = section.map_or_else(|| Ok(guessed(&entry)), |section| section_or(section, &entry)) else {
            *imported.skipped.entry("not of a kind that banks have".to_owned()).or_default() += 1;
            continue;
        };
        if !known.insert(entry.to_lowercase()) {
            imported.repeated += 1;
            continue;
        }
        match by_section.iter_mut().find(|(known, _)| *known == section) {
            Some((_, entries)) => entries.push(entry),
            None => by_section.push((section, vec![entry])),
        }
    }
    imported.source = by_section.iter().fold(head, |source, (section, entries)| edit::with(&source, *section, entries));
    leave_out_what_is_refused(&mut imported)?;
    Ok(imported)
}

fn guessed(entry: &str) -> Section {
    let hash = entry.split_once(',').map_or(entry, |(hash, _)| hash).trim();
    if hash.parse::<ImageHash>().is_ok() { Section::Images } else { edit::section_of(entry) }
}

fn section_or(section: Section, entry: &str) -> Result<Section, ()> {
    match section {
        // A phrase under [words] would be refused.
        Section::Words | Section::Phrases => Ok(edit::section_of(entry)),
        Section::Matches | Section::Misses => Err(()),
        other => Ok(other),
    }
}

/// Entries that a bank cannot have are left out, one after the other, and counted by why.
fn leave_out_what_is_refused(imported: &mut Imported) -> Result<(), Failure> {
    const MOST: usize = 1_000;
    for _ in 0..MOST {
        match Bank::load(&imported.source) {
            Ok(bank) => {
                imported.entries = bank.len();
                return Ok(());
            }
            Err(error) => {
                let why = if error.problem.starts_with("says the same") {
                    "says the same as another".to_owned()
                } else {
                    error.problem
                };
                *imported.skipped.entry(why).or_default() += 1;
                let line = error.line as usize;
                let kept = imported.source.lines().enumerate().filter(|(at, _)| at + 1 != line).map(|(_, line)| line);
                imported.source = kept.collect::<Vec<_>>().join("\n") + "\n";
            }
        }
    }
    Err(format!("more than {MOST} of its entries cannot be in a bank: {:?}", imported.skipped).into())
}

fn of_csv(text: &str, column: Option<&str>) -> Result<Vec<String>, Failure> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let columns = reader.headers()?.clone();
    let place = match column {
        None => 0,
        Some(name) => columns.iter().position(|known| known == name).ok_or_else(|| {
            format!("there is no column `{name}`; there are {}", columns.iter().collect::<Vec<_>>().join(", "))
        })?,
    };
    reader.records().map(|record| Ok(record?.get(place).unwrap_or_default().to_owned())).collect()
}

/// Names under which the two write what a signal is, and of which kind.
const VALUES: [&str; 4] = ["indicator", "signal_value", "value", "hash"];
const KINDS: [&str; 3] = ["type", "signal_type", "indicator_type"];

fn of_json(text: &str) -> Result<Vec<(Option<Section>, String)>, Failure> {
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    let mut signals = Vec::new();
    for value in values.map_err(|error| format!("the list is no JSON (line {})", error.line()))? {
        let inner = ["data", "signals", "indicators"].iter().find_map(|name| value.get(name).and_then(Value::as_array));
        match (inner, value.as_array()) {
            (Some(all), _) | (None, Some(all)) => signals.extend(all.iter().cloned()),
            (None, None) => signals.push(value),
        }
    }
    let text = |signal: &Value, names: &[&str]| {
        names.iter().find_map(|name| signal.get(name).and_then(Value::as_str)).map(str::to_owned)
    };
    let read = |signal: &Value| {
        let value = text(signal, &VALUES).unwrap_or_default();
        let kind = text(signal, &KINDS).unwrap_or_default().to_ascii_lowercase();
        let section = match kind.as_str() {
            "hash_pdq" | "pdq" => Section::Images,
            "keyword" | "raw_text" | "text" | "text_string" | "string" => Section::Words,
            // What is left out is counted as such.
            _ => Section::Misses,
        };
        (Some(section), value)
    };
    Ok(signals.iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> String {
        edit::empty("a", "b", "c", None, false)
    }

    #[test]
    fn lists_of_others_become_banks() {
        let list = import(head(), "# a list\nblorp\nBlorp\n\nkill all blorps\nblorp!\n!!!\n", Format::List, None, None)
            .unwrap();
        assert_eq!((list.entries, list.repeated, list.skipped.len()), (2, 1, 2));
        assert!(list.source.contains("\n[words]\nblorp\n") && list.source.contains("\n[phrases]\nkill all blorps\n"));
        let csv = import(head(), "id,term\n1,\"zug, zug\"\n2,blorp\n", Format::Csv, Some("term"), None).unwrap();
        assert_eq!(csv.entries, 2);
        assert!(
            import(head(), "id,term\n", Format::Csv, Some("word"), None)
                .is_err_and(|why| why.to_string().contains("id, term"))
        );
        let hash = "0f".repeat(32);
        let json = format!(
            "{{\"data\": [{{\"indicator\": \"{hash}\", \"type\": \"HASH_PDQ\"}}, {{\"indicator\": \"x\", \"type\": \"HASH_MD5\"}}, {{\"signal_value\": \"blorp\", \"signal_type\": \"raw_text\"}}]}}"
        );
        let json = import(head(), &json, Format::Json, None, None).unwrap();
        assert_eq!((json.entries, json.skipped.values().sum::<usize>()), (2, 1));
        assert!(Bank::load(&json.source).unwrap().has_images());
    }
}
