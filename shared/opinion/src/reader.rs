//! Text models as a second opinion sees them.

use domain::{ModelRef, Span};
use serde::{Deserialize, Serialize};

/// What a text model says of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextOpinion {
    /// Probability of the harm before calibration, 0 to 1.
    pub raw: f64,
    /// Calibrated probability, 0 to 1, rounded to six decimals: what bands compare.
    pub calibrated: f64,
    /// Which model.
    pub model: ModelRef,
    /// Where in the text it comes from, heaviest first; empty where the model cannot say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
}

/// A text could not be scored. Trying the same again does not help.
#[derive(Debug, thiserror::Error)]
#[error("scoring a text with `{model}`: {code}")]
pub struct ReaderError {
    /// `name@version` of the model.
    pub model: String,
    /// What went wrong, without content.
    pub code: String,
}

/// A text model in three steps, so that whoever has many texts can run the rows of several at once: the rows of a text, the graph over
/// rows, and what its outputs come to. INVARIANT (law 7): what [`Reader::run`] gives for a row does not depend on the rows beside it.
pub trait Reader: Send + Sync {
    /// Which model.
    fn model(&self) -> &ModelRef;

    /// Whether it has learned the language; `None` is a text whose language nobody gave.
    fn supports(&self, lang: Option<&str>) -> bool;

    /// Rows of token ids that the graph has to run for this text; none where it can say without.
    fn rows(&self, text: &str) -> Vec<Vec<i64>>;

    /// The most rows that one run takes.
    fn most_rows(&self) -> usize;

    /// Runs the graph over up to [`Reader::most_rows`] rows; one list of outputs a row, in their order.
    fn run(&self, rows: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError>;

    /// What the outputs of a text's rows come to.
    fn conclude(&self, text: &str, outputs: &[Vec<f32>]) -> Result<TextOpinion, ReaderError>;

    /// All three for one text.
    fn read(&self, text: &str) -> Result<TextOpinion, ReaderError> {
        let rows = self.rows(text);
        let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        let mut outputs = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(self.most_rows().max(1)) {
            outputs.extend(self.run(chunk)?);
        }
        self.conclude(text, &outputs)
    }
}
