//! Any graph of tensors, for crates that know what its inputs and outputs mean.

use std::sync::{Mutex, PoisonError};

use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{TensorElementType, TensorRef};
use thiserror::Error;

use crate::bytes::Bytes;
use crate::runtime::{Cause, Onnx, cuda_session, graph_session};

/// Numbers with a shape, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// 32-bit floating point numbers.
    F32(Vec<usize>, Vec<f32>),
    /// 64-bit whole numbers: ids and masks.
    I64(Vec<usize>, Vec<i64>),
}

/// A graph could not be loaded or run.
#[derive(Debug, Error)]
#[error("{doing}")]
pub struct GraphError {
    doing: String,
    #[source]
    source: Cause,
}

/// Where a graph is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number, from 0; an error where it cannot be used.
    Cuda(i32),
    /// The first NVIDIA GPU where it can be used, the processor otherwise.
    Auto,
}

/// How a graph is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// Threads of one run.
    pub threads: usize,
    /// Where it runs.
    pub device: Device,
}

impl Execution {
    /// On the processor.
    pub fn cpu(threads: usize) -> Self {
        Self { threads, device: Device::Cpu }
    }
}

/// A loaded graph. Runs are taken one after the other.
#[derive(Debug)]
pub struct Graph {
    session: Mutex<Session>,
    inputs: Vec<String>,
    outputs: Vec<String>,
    device: Device,
    why_not_cuda: Option<String>,
}

impl GraphError {
    /// A graph ran and gave something else than whoever runs it needs.
    pub fn unexpected(what: &'static str) -> Self {
        Self { doing: "reading the outputs of a graph".to_owned(), source: what.into() }
    }
}

impl Graph {
    /// Loads a graph in the ONNX format, whose digest the caller has verified.
    pub fn load(onnx: &Onnx, verified: &Bytes, execution: Execution) -> Result<Self, GraphError> {
        let failed = |doing: &str, source: ort::Error| GraphError { doing: doing.to_owned(), source: source.into() };
        let on_cpu =
            || graph_session(onnx, verified, execution.threads).map_err(|error| failed("loading a graph", error));
        let on_cuda = |number| cuda_session(onnx, verified, execution.threads, number);
        let (session, device, why_not_cuda) = match execution.device {
            Device::Cpu => (on_cpu()?, Device::Cpu, None),
            Device::Cuda(number) => {
                let doing = format!("loading a graph for the CUDA device {number}");
                (on_cuda(number).map_err(|error| failed(&doing, error))?, execution.device, None)
            }
            Device::Auto => match on_cuda(0) {
                Ok(session) => (session, Device::Cuda(0), None),
                Err(error) => (on_cpu()?, Device::Cpu, Some(error.to_string().trim().to_owned())),
            },
        };
        let inputs = session.inputs().iter().map(|input| input.name().to_owned()).collect();
        let outputs = session.outputs().iter().map(|output| output.name().to_owned()).collect();
        Ok(Self { session: Mutex::new(session), inputs, outputs, device, why_not_cuda })
    }

    /// Where it runs: never [`Device::Auto`].
    pub fn device(&self) -> Device {
        self.device
    }

    /// What ONNX Runtime said where [`Device::Auto`] came to the processor.
    pub fn why_not_cuda(&self) -> Option<&str> {
        self.why_not_cuda.as_deref()
    }

    /// Names of its inputs, in their order.
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// Names of its outputs, in their order.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// An entry of the metadata that the graph carries.
    pub fn metadata(&self, key: &str) -> Option<String> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.metadata().ok()?.custom(key)
    }

    /// Runs it on its first input alone and gives its first output.
    pub fn run_first(&self, input: &Tensor) -> Result<Tensor, GraphError> {
        let name = self.inputs.first().ok_or_else(|| GraphError::unexpected("the graph has no input"))?;
        let outputs = self.run(&[(name, input)])?;
        outputs.into_iter().next().ok_or_else(|| GraphError::unexpected("the graph has no output"))
    }

    /// Runs it on these inputs by name, and gives the outputs, in their order, that are 32-bit or 64-bit numbers as above.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, GraphError> {
        let failed = |source: Cause| GraphError { doing: "running a graph".to_owned(), source };
        let mut given: Vec<(String, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            let value: SessionInputValue<'_> = match tensor {
                Tensor::F32(shape, data) => {
                    TensorRef::from_array_view((shape.clone(), data.as_slice())).map_err(|e| failed(e.into()))?.into()
                }
                Tensor::I64(shape, data) => {
                    TensorRef::from_array_view((shape.clone(), data.as_slice())).map_err(|e| failed(e.into()))?.into()
                }
            };
            given.push(((*name).to_owned(), value));
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(given).map_err(|error| failed(error.into()))?;
        self.outputs.iter().map(|name| tensor(&outputs, name).map_err(failed)).collect()
    }
}

fn tensor(outputs: &SessionOutputs<'_>, name: &str) -> Result<Tensor, Cause> {
    let value = outputs.get(name).ok_or_else(|| Cause::from(format!("the graph gave no output `{name}`")))?;
    let sizes = |shape: &[i64]| shape.iter().map(|size| usize::try_from(*size).unwrap_or_default()).collect();
    match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => {
            let (shape, data) = value.try_extract_tensor::<f32>()?;
            Ok(Tensor::F32(sizes(shape), data.to_vec()))
        }
        Some(TensorElementType::Int64) => {
            let (shape, data) = value.try_extract_tensor::<i64>()?;
            Ok(Tensor::I64(sizes(shape), data.to_vec()))
        }
        _ => Err(Cause::from(format!("output `{name}` is neither of 32-bit nor of 64-bit numbers"))),
    }
}
