//! ONNX Runtime: one environment for the process, and sessions that run a linear graph on one thread.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use thiserror::Error;

use crate::onnx;

/// What ONNX Runtime said, without naming its types.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// ONNX Runtime could not be loaded. Trying again does not help.
#[derive(Debug, Error)]
#[error("loading ONNX Runtime from `{library}`")]
pub struct RuntimeError {
    library: String,
    source: Cause,
}

/// The loaded library and its environment; proof that [`init`] succeeded.
#[derive(Debug, Clone)]
pub struct Onnx(Environment);

impl Onnx {
    /// A session as models have it, and nothing around it: what benches/model.rs holds the model step against.
    #[doc(hidden)]
    pub fn bare_session(&self, verified: &[u8]) -> ort::Result<Session> {
        session(self, verified, GraphOptimizationLevel::Level1)
    }
}

/// ONNX Runtime allows one environment a process, so it is made once and kept until the process ends.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Loads ONNX Runtime's library and makes its environment: telemetry off, no thread pool, and no log, since
/// errors come back as values.
/// A further call gives the same environment and does not look at `library`.
pub fn init(library: &Path) -> Result<Onnx, RuntimeError> {
    let mut made = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = made.as_ref() {
        return Ok(Onnx(environment.clone()));
    }
    let failed = |source: Cause| RuntimeError { library: library.display().to_string(), source };
    // A name without a folder would be searched for on the system's paths.
    let absolute = std::path::absolute(library).map_err(|error| failed(error.into()))?;
    let environment = ort::init_from(absolute)
        .map_err(|error| failed(error.into()))?
        .with_name("moderato")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.into()))?;
    environment.set_log_level(LogLevel::Fatal);
    *made = Some(environment.clone());
    Ok(Onnx(environment))
}

/// A session for a graph as [`onnx::linear_graph`] writes it.
#[derive(Debug)]
pub(crate) struct LinearSession(Mutex<Session>);

/// What one run gives.
#[derive(Debug)]
pub(crate) struct Run {
    /// Log-odds.
    pub logit: f64,
    /// Each input entry's share of the log-odds, in the order of the input.
    pub contributions: Vec<f32>,
}

impl LinearSession {
    /// Hands the bytes to ONNX Runtime; the caller has verified their digest.
    pub(crate) fn load(onnx: &Onnx, verified: &[u8]) -> Result<Self, Cause> {
        Ok(Self(Mutex::new(session(onnx, verified, GraphOptimizationLevel::Level1)?)))
    }

    /// Runs the graph once. `buckets` and `values` have the same length, which is not zero.
    pub(crate) fn run(&self, buckets: &[i64], values: &[f32]) -> Result<Run, Cause> {
        let buckets = TensorRef::from_array_view(([buckets.len()], buckets))?;
        let values = TensorRef::from_array_view(([values.len()], values))?;
        // A panic while the lock was held left no half-written state of ours behind.
        let mut session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![onnx::BUCKETS => buckets, onnx::VALUES => values])?;
        let missing = |name: &str| Cause::from(format!("the graph has no output `{name}`"));
        let logit = outputs.get(onnx::LOGIT).ok_or_else(|| missing(onnx::LOGIT))?;
        let (_, logit) = logit.try_extract_tensor::<f64>()?;
        let contributions = outputs.get(onnx::CONTRIBUTIONS).ok_or_else(|| missing(onnx::CONTRIBUTIONS))?;
        let (_, contributions) = contributions.try_extract_tensor::<f32>()?;
        match logit {
            [logit] => Ok(Run { logit: *logit, contributions: contributions.to_vec() }),
            _ => Err(Cause::from(format!("output `{}` is not one number", onnx::LOGIT))),
        }
    }
}

/// A session for a transformer's graph.
#[derive(Debug)]
pub(crate) struct TransformerSession(Mutex<Session>);

/// Name of its input.
pub(crate) const IDS: &str = "ids";
/// Name of its output.
pub(crate) const LOGITS: &str = "logits";

impl TransformerSession {
    /// Hands the bytes to ONNX Runtime; the caller has verified their digest.
    pub(crate) fn load(onnx: &Onnx, verified: &[u8]) -> Result<Self, Cause> {
        Ok(Self(Mutex::new(session(onnx, verified, GraphOptimizationLevel::Level3)?)))
    }

    /// Runs the graph once and gives its outputs, one at least.
    pub(crate) fn run(&self, ids: &[i64]) -> Result<Vec<f32>, Cause> {
        let ids = TensorRef::from_array_view(([1, ids.len()], ids))?;
        let mut session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![IDS => ids])?;
        let logits = outputs.get(LOGITS).ok_or_else(|| Cause::from(format!("the graph has no output `{LOGITS}`")))?;
        let (_, logits) = logits.try_extract_tensor::<f32>()?;
        if logits.is_empty() { Err(Cause::from(format!("output `{LOGITS}` is empty"))) } else { Ok(logits.to_vec()) }
    }
}

/// One thread, no spinning, operators one after the other.
fn session(onnx: &Onnx, verified: &[u8], level: GraphOptimizationLevel) -> ort::Result<Session> {
    Session::builder(&onnx.0)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .with_optimization_level(level)?
        .commit_from_memory(verified)
}
