//! Where a graph runs: a GPU that is demanded and not there is an error, one that would be nice is not.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::error::Error;

use scoring::{Device, Execution, Graph, onnx::linear_graph};

#[test]
fn without_a_gpu_auto_is_the_processor_and_says_why() {
    let (onnx, graph) = (common::onnx(), linear_graph(&[0.5, -0.5], 0.0).into());
    let auto = Graph::load(&onnx, &graph, Execution { threads: 1, device: Device::Auto }).unwrap();
    if auto.device() != Device::Cpu {
        return println!("skipped: the rest of this test (there is a GPU, and the library for it)");
    }
    assert!(auto.why_not_cuda().is_some_and(|why| !why.is_empty()));
    let cpu = Graph::load(&onnx, &graph, Execution::cpu(1)).unwrap();
    assert_eq!((cpu.device(), cpu.why_not_cuda()), (Device::Cpu, None));
    let error = Graph::load(&onnx, &graph, Execution { threads: 1, device: Device::Cuda(7) }).unwrap_err();
    assert_eq!(error.to_string(), "loading a graph for the CUDA device 7");
    assert!(error.source().is_some());
}
