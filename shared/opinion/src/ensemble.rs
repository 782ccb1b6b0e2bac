//! The text model of a second opinion that comes with Moderato: both members of the cascade, always asked, over all that a text says.
//!
//! It is no larger model. The linear graph and the transformer are those of the cascade, joined by the cascade's own stacking: where the
//! cascade asked its transformer about a text of ordinary length, this gives the same score. It differs where the cascade saves work:
//! the transformer is asked whatever the linear graph says, and twice as many windows of a very long text are read. Weights fitted on more
//! outputs and more readings were tried and are not better on posts of a corpus that they have not seen (infra/training/ENSEMBLE.md).

use std::sync::Arc;

use domain::{ModelRef, sha256_hex};
use scoring::{Legible, ScoreError, TextModel};

use crate::reader::{Reader, ReaderError, TextOpinion};

/// Windows of one reading that are read, the most suspicious by the linear graph; a text has two readings. Some 1,500 words.
const MOST_WINDOWS: usize = 16;

/// What is done here, as part of the digest: another number with every change that changes a score.
const PROCEDURE: &str = "ensemble/1";

/// The model has one stage only: there is nothing to ask a second time.
#[derive(Debug, thiserror::Error)]
#[error("`{model}` has no transformer; an ensemble needs a model of kind `cascade`")]
pub struct NotACascade {
    /// `name@version` of the model.
    pub model: String,
}

/// Reads with both members of a cascade. Shared between threads; runs of one model follow each other. It does not say where in a text its
/// score comes from: the first decision, made with the same members, has said so, and saying so costs more runs than the score.
pub struct Ensemble {
    model: Arc<TextModel>,
    identity: ModelRef,
}

impl Ensemble {
    /// An ensemble over a loaded cascade. Its digest is that of the procedure and the cascade's digest, its deployment's calibration included.
    pub fn new(model: Arc<TextModel>) -> Result<Self, NotACascade> {
        let ModelRef { name, version, sha256 } = model.identity();
        if model.manifest().transformer.is_none() {
            return Err(NotACascade { model: format!("{name}@{version}") });
        }
        let identity = ModelRef {
            name: format!("{name}-ensemble"),
            version: version.clone(),
            sha256: sha256_hex(format!("{PROCEDURE}\0{sha256}").as_bytes()),
        };
        Ok(Self { model, identity })
    }

    fn failed(&self, error: &ScoreError) -> ReaderError {
        let code = match error {
            ScoreError::NotFinite => "not_finite",
            ScoreError::OtherRows => "other_rows",
            _ => "model_failed",
        };
        let ModelRef { name, version, .. } = &self.identity;
        ReaderError { model: format!("{name}@{version}"), code: code.to_owned() }
    }
}

impl Reader for Ensemble {
    fn model(&self) -> &ModelRef {
        &self.identity
    }

    fn supports(&self, lang: Option<&str>) -> bool {
        self.model.supports(lang)
    }

    /// None where the linear graph fails on the text; [`Reader::conclude`] says so then.
    fn rows(&self, text: &str) -> Vec<Vec<i64>> {
        let rows = self.model.rows(text, MOST_WINDOWS).unwrap_or_default();
        rows.into_iter().map(|row| row.ids).collect()
    }

    /// One: the graph scales its activations to 8 bits by the whole of its input, so rows beside each other would change each other (law 7).
    fn most_rows(&self) -> usize {
        1
    }

    fn run(&self, rows: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
        let run = |ids: &&[i64]| {
            let outputs = self.model.run(ids).map_err(|error| self.failed(&error))?;
            // They left the graph with 32 bits.
            Ok(outputs.into_iter().map(|output| output as f32).collect())
        };
        rows.iter().map(run).collect()
    }

    fn conclude(&self, text: &str, outputs: &[Vec<f32>]) -> Result<TextOpinion, ReaderError> {
        if self.model.reads(text) != Legible::All {
            let ModelRef { name, version, .. } = &self.identity;
            return Err(ReaderError { model: format!("{name}@{version}"), code: "language_not_learned".to_owned() });
        }
        self.opinion(text, outputs).map_err(|error| self.failed(&error))
    }
}

impl Ensemble {
    fn opinion(&self, text: &str, outputs: &[Vec<f32>]) -> Result<TextOpinion, ScoreError> {
        let rows = self.model.rows(text, MOST_WINDOWS)?;
        let log_odds: Option<Vec<f64>> = outputs.iter().map(|row| row.first().copied().map(f64::from)).collect();
        let scored = self.model.conclude(text, &rows, &log_odds.ok_or(ScoreError::OtherRows)?)?;
        Ok(TextOpinion {
            raw: scored.raw,
            calibrated: scored.calibrated,
            model: self.identity.clone(),
            spans: Vec::new(),
        })
    }
}
