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
        self.fields.get(column).map(String::as_str).ok_or_else(|| DataError::Column {
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
    let (stem, gzipped) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
    let file = File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let bytes: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
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
        csv::ErrorKind::Io(source) => DataError::Read { path: path.to_owned(), source },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => DataError::Row {
            path: path.to_owned(),
            row,
            problem: format!("it has {len} fields, the header {expected_len}"),
        },
        csv::ErrorKind::Utf8 { .. } => {
            DataError::Row { path: path.to_owned(), row, problem: "it is not UTF-8".to_owned() }
        }
        _ => DataError::Row { path: path.to_owned(), row, problem: "it is not CSV".to_owned() },
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
        records.push(Record { path: path.to_owned(), row: index + 1, fields });
    }
    Ok(records)
}

fn read_json_lines(path: &Path, bytes: Box<dyn Read>) -> Result<Vec<Record>, DataError> {
    let mut records = Vec::new();
    for (index, line) in BufReader::new(bytes).lines().enumerate() {
        let line = line.map_err(|source| DataError::Read { path: path.to_owned(), source })?;
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
        records.push(Record { path: path.to_owned(), row: index + 1, fields });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

    use std::io::Write;

    use super::*;

    fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    const CSV: &[u8] = b"\xef\xbb\xbftext,label\n\"two\nlines, \"\"quoted\"\"\",1\nplain,0\n";
    const JSON: &[u8] = b"{\"text\":\"two\\nlines, \\\"quoted\\\"\",\"label\":1}\n\n{\"label\":0,\"text\":\"plain\"}\n";

    #[test]
    fn the_same_rows_come_out_of_every_format() {
        for (name, bytes) in [
            ("a.csv", CSV.to_vec()),
            ("a.CSV.gz", gzipped(CSV)),
            ("a.jsonl", JSON.to_vec()),
            ("a.jsonl.gz", gzipped(JSON)),
        ] {
            let (_folder, path) = file(name, &bytes);
            let records = read(&path).unwrap();
            let rows: Vec<_> = records.iter().map(|r| (r.get("text").unwrap(), r.get("label").unwrap())).collect();
            assert_eq!(rows, [("two\nlines, \"quoted\"", "1"), ("plain", "0")], "{name}");
        }
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        let said = |name: &str, bytes: &[u8]| {
            let (_folder, path) = file(name, bytes);
            read(&path).unwrap_err().to_string()
        };
        assert!(said("a.csv", b"text,label\n").ends_with("has no rows"));
        assert!(said("a.jsonl", b"").ends_with("has no rows"));
        assert!(said("a.txt", b"x").contains(".jsonl"));
        assert!(said("a.csv", b"a,b\n1,2\n3\n").contains("row 2: it has 1 fields, the header 2"));
        assert!(said("a.csv", b"a\n\xff\n").contains("row 1: it is not UTF-8"));
        assert!(said("a.jsonl", b"{}\n[1]\n").contains("row 2: it is not a JSON object"));
        let (_folder, path) = file("a.csv", CSV);
        let missing = read(&path).unwrap()[0].get("tweet").unwrap_err().to_string();
        assert!(missing.ends_with("row 1, has no column `tweet`; it has `label`, `text`"), "{missing}");
    }
}
