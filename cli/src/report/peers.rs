//! Other systems beside ours: one score a row, in the order of the rows.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// What `--beside` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The name to show.
    pub name: String,
    /// Where its scores come from.
    pub source: Source,
}

/// Where the scores of a peer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file with one score a row.
    File(PathBuf),
    /// A folder with a model of ours, which scores in this process.
    Model(PathBuf),
}

/// Reads `NAME=FILE` or `NAME=model:FOLDER`.
pub fn beside(given: &str) -> Result<Beside, String> {
    match given.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() => {
            let source = match place.strip_prefix("model:") {
                Some(folder) => Source::Model(folder.into()),
                None => Source::File(place.into()),
            };
            Ok(Beside { name: name.to_owned(), source })
        }
        _ => {
            Err("give a name and a file of scores, such as `hatesonar=scores.jsonl`, or `name=model:FOLDER`".to_owned())
        }
    }
}

/// Why scores of a peer cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The file.
    #[error("reading the scores in `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no score.
    #[error("`{path}`, line {line}: give a number from 0 to 1, or a JSON object with one in `score`")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// There are more or fewer scores than rows.
    #[error("`{path}` has {found} scores for {rows} rows; score the same rows again")]
    Count {
        /// The file.
        path: PathBuf,
        /// Scores.
        found: usize,
        /// Rows.
        rows: usize,
    },
    /// A score belongs to another text.
    #[error("`{path}`: the score of row {row} belongs to another text; score the same rows again, in the same order")]
    OtherText {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        row: usize,
    },
}

/// What a peer says about a row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeerScore {
    /// Probability of the positive class.
    pub score: f64,
    /// Scores of hate, offensive and neither, where it tells these apart.
    #[serde(default)]
    pub classes: Option<[f64; 3]>,
    /// SHA-256 of the text in hexadecimal digits, checked where it is given.
    #[serde(default)]
    sha256: Option<String>,
}

impl PeerScore {
    /// What a model of ours says.
    pub fn of(score: f64, classes: Option<[f64; 3]>) -> Self {
        Self { score, classes, sha256: None }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Score(f64),
    Row(PeerScore),
}

/// Reads the scores of the texts with these digests. Empty lines are skipped.
pub fn read(path: &Path, digests: &[&str]) -> Result<Vec<PeerScore>, PeerError> {
    let text = std::fs::read_to_string(path).map_err(|source| PeerError::Read { path: path.to_owned(), source })?;
    let mut scores = Vec::with_capacity(digests.len());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row = match serde_json::from_str(line) {
            Ok(Line::Score(score)) => Some(PeerScore::of(score, None)),
            Ok(Line::Row(row)) => Some(row),
            Err(_) => None,
        };
        let fits = |row: &PeerScore| {
            (0.0..=1.0).contains(&row.score) && row.classes.is_none_or(|all| all.iter().all(|x| x.is_finite()))
        };
        let bad = || PeerError::Line { path: path.to_owned(), line: index + 1 };
        scores.push(row.filter(fits).ok_or_else(bad)?);
    }
    if scores.len() != digests.len() {
        return Err(PeerError::Count { path: path.to_owned(), found: scores.len(), rows: digests.len() });
    }
    let other = |(score, digest): (&PeerScore, &&str)| score.sha256.as_ref().is_some_and(|given| given != digest);
    match scores.iter().zip(digests).position(other) {
        Some(place) => Err(PeerError::OtherText { path: path.to_owned(), row: place + 1 }),
        None => Ok(scores),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

    use super::*;

    fn said(text: &str, digests: &[&str]) -> Result<Vec<PeerScore>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path, digests).map_err(|error| error.to_string().replace(&path.display().to_string(), "F"))
    }

    #[test]
    fn scores_are_numbers_or_objects() {
        let scores =
            said("0.25\n\n{\"score\": 1, \"sha256\": \"b\", \"classes\": [0.5, 0.25, 0.25]}\n", &["a", "b"]).unwrap();
        assert_eq!(scores.iter().map(|s| s.score).collect::<Vec<_>>(), [0.25, 1.0]);
        assert_eq!(scores.last().unwrap().classes, Some([0.5, 0.25, 0.25]));
    }

    #[test]
    fn scores_of_other_rows_are_refused() {
        assert!(said("0.5\n", &["a", "b"]).unwrap_err().contains("1 scores for 2 rows"));
        assert!(
            said("{\"score\":0.5,\"sha256\":\"b\"}", &["a"]).unwrap_err().contains("row 1 belongs to another text")
        );
        for bad in ["1.5", "nan", "{\"score\":\"1\"}", "{}", "a post"] {
            let said = said(&format!("0.5\n{bad}"), &["a", "b"]).unwrap_err();
            assert_eq!(said, "`F`, line 2: give a number from 0 to 1, or a JSON object with one in `score`");
        }
    }

    #[test]
    fn a_peer_is_a_file_or_a_model() {
        let file = Beside { name: "a".to_owned(), source: Source::File("b=c.txt".into()) };
        assert_eq!(beside("a=b=c.txt").unwrap(), file);
        assert_eq!(beside("a=model:b").unwrap().source, Source::Model("b".into()));
        beside("a").unwrap_err();
        beside("=b").unwrap_err();
        beside("a=").unwrap_err();
    }
}
