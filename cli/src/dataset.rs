//! Labelled files: CSV or JSON Lines, plain or gzipped, read row by row.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

/// Why a file of labelled rows cannot be used. None of these goes away by trying again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("reading `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its name does not say what it is.
    #[error("`{path}` is neither CSV nor JSON Lines by its name; name it .csv or .jsonl, with .gz if gzipped")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A row cannot be parsed.
    #[error("`{path}`, row {row}: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1, the header left out.
        row: usize,
        /// What is wrong with it, without its content.
        problem: String,
    },
    /// A column that was asked for is not there.
    #[error("`{path}`, row {row}, has no column `{column}`; it has {}", .there.join(", "))]
    Column {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1, the header left out.
        row: usize,
        /// The column wanted.
        column: String,
        /// The columns there.
        there: Vec<String>,
    },
    /// There are no rows.
    #[error("`{path}` has no rows")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// One row: its columns by name. In JSON Lines numbers and truth values count as they are written, null as empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    path: PathBuf,
    row: usize,
    fields: BTreeMap<String, String>,
}

impl Record {
    /// The value of `column`.
    pub fn get(&self, column: &str) -> Result<&str, DataError> {
        self.fields
            .get(column)
            .map(String::as_str)
            .ok_or_else(|| DataError::Column {
                path: self.path.clone(),
                row: self.row,
                column: column.to_owned(),
                there: self.fields.keys().map(|name| format!("`{name}`")).collect(),
            })
    }
}

/// Reads all rows of `path`; the format follows from the name. A file without rows is an error.
pub fn read(path: &Path) -> Result<Vec<Record>, DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (stem, gzipped) = name
        .strip_suffix(".gz")
        .map_or((name.as_str(), false), |stem| (stem, true));
    let file = File::open(path).map_err(|source| DataError::Read {
        path: path.to_owned(),
        source,
    })?;
    let bytes: Box<dyn Read> = if gzipped {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let records = if stem.ends_with(".csv") {
        read_csv(path, bytes)?
    } else if stem.ends_with(".jsonl") || stem.ends_with(".ndjson") {
        read_json_lines(path, bytes)?
    } else {
        return Err(DataError::Format { path: path.to_owned() });
    };
    if records.is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    Ok(records)
}

fn read_csv(path: &Path, bytes: Box<dyn Read>) -> Result<Vec<Record>, DataError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let bad = |row: usize, error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::Read {
            path: path.to_owned(),
            source,
        },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => DataError::Row {
            path: path.to_owned(),
            row,
            problem: format!("it has {len} fields, the header {expected_len}"),
        },
        csv::ErrorKind::Utf8 { .. } => DataError::Row {
            path: path.to_owned(),
            row,
            problem: "it is not UTF-8".to_owned(),
        },
        _ => DataError::Row {
            path: path.to_owned(),
            row,
            problem: "it is not CSV".to_owned(),
        },
    };
    let names: Vec<String> = reader
        .headers()
        .map_err(|error| bad(0, error))?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect();
    let mut records = Vec::new();
    for (index, row) in reader.records().enumerate() {
        let row = row.map_err(|error| bad(index + 1, error))?;
        let fields = names.iter().cloned().zip(row.iter().map(str::to_owned)).collect();
        records.push(Record {
            path: path.to_owned(),
            row: index + 1,
            fields,
        });
    }
    Ok(records)
}

fn read_json_lines(path: &Path, bytes: Box<dyn Read>) -> Result<Vec<Record>, DataError> {
    let mut records = Vec::new();
    for (index, line) in BufReader::new(bytes).lines().enumerate() {
        let line = line.map_err(|source| DataError::Read {
            path: path.to_owned(),
            source,
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let row: BTreeMap<String, serde_json::Value> = serde_json::from_str(&line).map_err(|error| DataError::Row {
            path: path.to_owned(),
            row: index + 1,
            problem: format!("it is not a JSON object (column {})", error.column()),
        })?;
        let fields = row
            .into_iter()
            .map(|(name, value)| match value {
                serde_json::Value::String(text) => (name, text),
                serde_json::Value::Null => (name, String::new()),
                other => (name, other.to_string()),
            })
            .collect();
        records.push(Record {
            path: path.to_owned(),
            row: index + 1,
            fields,
        });
    }
    Ok(records)
}
