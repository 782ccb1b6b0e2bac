//! Models that turn a text into a calibrated probability of a harm: loading them by digest, scoring, explaining,
//! and training the n-gram baseline. This is the only crate that names ONNX Runtime (`ort`); which model is live is
//! the registry's business, and what a probability leads to is the policy's.
//!
//! A post is scored alone, one window of text per run of the model, so that its score depends on nothing but itself.

mod bundle;
mod bytes;
mod explain;
mod graph;
mod judge;
mod language;
mod linear;
mod manifest;
mod map;
mod model;
mod runtime;
mod stretch;
mod transformer;

pub mod calibration;
pub mod deployment;
pub mod metrics;
pub mod onnx;
pub mod reviewed;
pub mod train;

pub use bundle::{Bundle, CALIBRATION_FILE, MANIFEST_FILE, MODEL_FILE, TRANSFORMER_FILE, VOCABULARY_FILE};
pub use bytes::Bytes;
pub use graph::{Device, Execution, Graph, GraphError, Tensor};
pub use judge::{Explain, Judge, MAX_QUESTION_BYTES, MAX_QUESTION_TEXT_BYTES, Subject, Text, texts};
pub use language::Legible;
pub use linear::{Linear, LinearError, NoWeight, Run};
pub use manifest::{Calibration, Manifest, ModelFile, PieceWindow, Stacking, Transformer, WorstPart};
pub use model::{Explained, LoadError, ScoreError, Scored, Stage, TextModel};
pub use runtime::{Onnx, RuntimeError, init};
pub use transformer::Row;
