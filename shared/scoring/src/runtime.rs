//! ONNX Runtime: one environment for the process, and sessions that run a graph on one thread.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::CUDA;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;
use thiserror::Error;

use crate::bytes::Bytes;

/// What ONNX Runtime said, without naming its types.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

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
    /// A session for any graph, and nothing around it: what tests and benches/model.rs hold ours against.
    #[doc(hidden)]
    pub fn bare_session(&self, verified: &[u8]) -> ort::Result<Session> {
        builder(self, GraphOptimizationLevel::Level1)?.commit_from_memory(verified)
    }

    /// A session as the transformer has it: for benches/model.rs, which keeps the bytes as long.
    #[doc(hidden)]
    pub fn bare_transformer(&self, verified: &Bytes) -> ort::Result<Session> {
        borrowing(self, verified)
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

/// A session for a graph of the caller's.
pub(crate) fn graph_session(onnx: &Onnx, verified: &[u8], threads: usize) -> ort::Result<Session> {
    builder(onnx, GraphOptimizationLevel::All)?.with_intra_threads(threads)?.commit_from_memory(verified)
}

/// A session for a graph of the caller's on the GPU of this number; what that has no kernel for runs on the processor. An error where the
/// library was built without CUDA, or finds no such GPU. 32-bit products stay 32-bit: golden scores were made so.
pub(crate) fn cuda_session(onnx: &Onnx, verified: &[u8], threads: usize, number: i32) -> ort::Result<Session> {
    let cuda = CUDA::default().with_device_id(number).with_tf32(false).build().error_on_failure();
    builder(onnx, GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_execution_providers([cuda])?
        .commit_from_memory(verified)
}

/// A session for a transformer's graph.
#[derive(Debug)]
pub(crate) struct TransformerSession {
    session: Mutex<Session>,
    /// What the session reads from as long as it lives; fields are dropped in the order in which they stand.
    _graph: Bytes,
}

/// Name of its input.
pub(crate) const IDS: &str = "ids";
/// Name of its output.
pub(crate) const LOGITS: &str = "logits";

impl TransformerSession {
    /// Lets ONNX Runtime use the bytes where they are; the caller has verified their digest. A graph in the `.ort` format is optimised
    /// already and is not copied: its session takes half the time and memory of one from `.onnx`. Weights of products are
    /// kept a second time, in the order in which the processor multiplies them, so their pages can go.
    pub(crate) fn load(onnx: &Onnx, verified: &Bytes) -> Result<Self, Cause> {
        Ok(Self { session: Mutex::new(borrowing(onnx, verified)?), _graph: verified.clone() })
    }

    /// Runs the graph once and gives its outputs, one at least.
    pub(crate) fn run(&self, ids: &[i64]) -> Result<Vec<f32>, Cause> {
        let ids = TensorRef::from_array_view(([1, ids.len()], ids))?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![IDS => ids])?;
        let logits = outputs.get(LOGITS).ok_or_else(|| Cause::from(format!("the graph has no output `{LOGITS}`")))?;
        let (_, logits) = logits.try_extract_tensor::<f32>()?;
        if logits.is_empty() { Err(Cause::from(format!("output `{LOGITS}` is empty"))) } else { Ok(logits.to_vec()) }
    }
}

/// A session that reads from the bytes as long as it lives.
fn borrowing(onnx: &Onnx, bytes: &[u8]) -> ort::Result<Session> {
    builder(onnx, GraphOptimizationLevel::Disable)?
        .with_config_entry("session.use_ort_model_bytes_directly", "1")?
        .with_config_entry("session.use_ort_model_bytes_for_initializers", "1")?
        .commit_from_memory(bytes)
}

/// One thread, no spinning, operators one after the other.
fn builder(onnx: &Onnx, level: GraphOptimizationLevel) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(&onnx.0)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .with_optimization_level(level)?;
    Ok(builder)
}
