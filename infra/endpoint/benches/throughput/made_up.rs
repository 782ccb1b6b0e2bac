//! A graph with the work of a small transformer's feed-forward layers and weights from a fixed sequence: an embedding, four layers of
//! 256 to 1,024 to 256, a mean over tokens.

use std::path::Path;

use opinion::Foreign;
use scoring::Execution;
use serde_json::{Value, json};

use crate::tiny::{self, Files, PLAIN, onnx};

const WIDTH: usize = 256;
const INNER: usize = 1024;
const LAYERS: usize = 4;
const WORDS: usize = 1000;

/// Numbers around 0 from a fixed sequence.
fn numbers(count: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * scale
    };
    (0..count).map(|_| next()).collect()
}

fn graph() -> Vec<u8> {
    let mut nodes = vec![
        onnx::node("Gather", &["embeddings", "input_ids"], &["x0"], &[("axis", 0)]),
        onnx::node("Cast", &["attention_mask"], &["mask"], &[("to", 1)]),
        onnx::node("Unsqueeze", &["mask", "two"], &["wide"], &[]),
    ];
    let mut weights = vec![
        onnx::floats("embeddings", &[WORDS, WIDTH], &numbers(WORDS * WIDTH, 2.0, 1)),
        onnx::floats("classes", &[WIDTH, 2], &numbers(WIDTH * 2, 0.5, 2)),
        onnx::ints("one", &[1]),
        onnx::ints("two", &[2]),
    ];
    for layer in 0..LAYERS {
        let name = |what: &str| format!("{what}{layer}");
        let (up, down, before, after) = (name("up"), name("down"), name("x"), format!("x{}", layer + 1));
        let (inner, positive, outer) = (name("inner"), name("positive"), name("outer"));
        nodes.push(onnx::node("MatMul", &[&before, &up], &[&inner], &[]));
        nodes.push(onnx::node("Relu", &[&inner], &[&positive], &[]));
        nodes.push(onnx::node("MatMul", &[&positive, &down], &[&outer], &[]));
        nodes.push(onnx::node("Add", &[&before, &outer], &[&after], &[]));
        weights.push(onnx::floats(&up, &[WIDTH, INNER], &numbers(WIDTH * INNER, 0.1, 10 + layer as u64)));
        weights.push(onnx::floats(&down, &[INNER, WIDTH], &numbers(WIDTH * INNER, 0.1, 20 + layer as u64)));
    }
    let last = format!("x{LAYERS}");
    nodes.push(onnx::node("Mul", &[&last, "wide"], &["masked"], &[]));
    nodes.push(onnx::node("ReduceSum", &["masked", "one"], &["sum"], &[("keepdims", 0)]));
    nodes.push(onnx::node("ReduceSum", &["mask", "one"], &["tokens"], &[("keepdims", 1)]));
    nodes.push(onnx::node("Div", &["sum", "tokens"], &["mean"], &[]));
    nodes.push(onnx::node("MatMul", &["mean", "classes"], &["logits"], &[]));
    onnx::model(&nodes, &weights, &["input_ids", "attention_mask"], "logits")
}

/// Its tokenizer knows the words of the tiny one, and `w8` to `w999`.
fn tokenizer() -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(&tiny::tokenizer()).unwrap();
    let words = file["model"]["vocab"].as_object_mut().unwrap();
    for id in tiny::WORDS.len()..WORDS {
        words.insert(format!("w{id}"), json!(id));
    }
    file.to_string().into_bytes()
}

/// Writes the model, with golden vectors of its own making.
pub fn write(folder: &Path) {
    let texts = ["good", "bad bad w9 w10", "w11 w12 w13 w14 w15 w16 w17 w18 w19 w20"];
    let mut files = Files { model: graph(), tokenizer: tokenizer(), ..Files::of(PLAIN) };
    files.card["max_tokens"] = json!(128);
    files.card["name"] = json!("made-up");
    let mut golden = String::new();
    for text in texts {
        // A first guess is refused with what the model gives.
        let line = |probability: f64| {
            json!({ "text": text, "probability": probability, "tolerance": 1e-5 }).to_string() + "\n"
        };
        files.golden = line(0.0).into_bytes();
        files.write(folder);
        let onnx = scoring::init(&tiny::library()).unwrap();
        let found = match Foreign::load(&onnx, folder, Execution::cpu(1), 1) {
            Err(opinion::foreign::ForeignError::Golden { found, .. }) => found,
            Err(error) => panic!("{error}"),
            Ok(_) => 0.0,
        };
        golden.push_str(&line(found));
    }
    files.golden = golden.into_bytes();
    files.write(folder);
}
