//! Golden vectors: texts whose probability is known.

use serde::Deserialize;

use super::ForeignError;

/// A line of `golden.jsonl`. No `Debug`: texts must not end up in a log (law 8).
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The text.
    pub text: String,
    /// The model's own probability of the harm, before calibration, as whoever made the model works it out.
    pub probability: f64,
    /// By how much it may differ, above 0 and up to 0.05.
    pub tolerance: f64,
}

const SUPPORTED: &str =
    "an object of `text`, `probability` from 0 to 1 and `tolerance` above 0 and up to 0.05, and there must be one row";

impl Golden {
    /// Reads all lines, one at least.
    pub(super) fn read(bytes: &[u8]) -> Result<Vec<Self>, ForeignError> {
        let lines = bytes.split(|byte| *byte == b'\n');
        let lines = lines.enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
        let mut golden = Vec::new();
        for (at, line) in lines {
            // What the parser says would quote the text.
            let read = serde_json::from_slice::<Self>(line).ok().filter(|read| {
                (0.0..=1.0).contains(&read.probability) && read.tolerance > 0.0 && read.tolerance <= 0.05
            });
            golden.push(read.ok_or(ForeignError::GoldenRow { row: at + 1, supported: SUPPORTED })?);
        }
        if golden.is_empty() { Err(ForeignError::GoldenRow { row: 1, supported: SUPPORTED }) } else { Ok(golden) }
    }
}
