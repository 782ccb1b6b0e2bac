//! Tiny models of somebody else's, written here: words have a weight each, and what a text comes to is their sum.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    dead_code,
    reason = "a test may fail by panicking, not each test uses all, and where the library is, is the machine's business"
)]

use std::fs;
use std::path::{Path, PathBuf};

use domain::sha256_hex;
use serde_json::{Value, json};

/// ONNX Runtime's library: `MODERATO_ONNXRUNTIME`, or what `make tools` installed.
pub fn library() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    library
}

/// Words and their weights, by id. A pad weighs much, so that one that counts is seen.
pub const WORDS: [(&str, f32); 8] = [
    ("[PAD]", 100.0),
    ("[UNK]", 0.0),
    ("[CLS]", -0.5),
    ("[SEP]", 0.25),
    ("good", -1.0),
    ("bad", 1.5),
    ("awful", 3.0),
    ("fine", -0.3),
];

/// The probability of words, as the card promises it.
pub fn probability(words: &[&str]) -> f64 {
    let weight =
        |word: &&str| WORDS.iter().find(|(known, _)| known == word).map_or(0.0, |(_, weight)| f64::from(*weight));
    let sum: f64 = ["[CLS]", "[SEP]"].iter().chain(words).map(weight).sum();
    1.0 / (1.0 + (-sum).exp())
}

/// What a graph is made of.
#[derive(Clone, Copy)]
pub struct Graph {
    /// Whether it takes a mask.
    pub mask: bool,
    /// Whether it quantises by the values of the whole batch, as `quantize_dynamic` does.
    pub quantised: bool,
}

pub const PLAIN: Graph = Graph { mask: true, quantised: false };

/// `[rows, 2]` logits: 0, and the sum of the words' weights.
pub fn graph(graph: Graph) -> Vec<u8> {
    let embeddings: Vec<f32> = WORDS.iter().flat_map(|(_, weight)| [*weight, 1.0]).collect();
    let mut nodes = vec![onnx::node("Gather", &["embeddings", "input_ids"], &["embedded"], &[("axis", 0)])];
    let mut last = "embedded";
    if graph.mask {
        nodes.push(onnx::node("Cast", &["attention_mask"], &["mask"], &[("to", 1)]));
        nodes.push(onnx::node("Unsqueeze", &["mask", "two"], &["wide"], &[]));
        nodes.push(onnx::node("Mul", &[last, "wide"], &["masked"], &[]));
        last = "masked";
    }
    if graph.quantised {
        nodes.push(onnx::node("DynamicQuantizeLinear", &[last], &["q", "scale", "zero"], &[]));
        nodes.push(onnx::node("DequantizeLinear", &["q", "scale", "zero"], &["dequantised"], &[]));
        last = "dequantised";
    }
    nodes.push(onnx::node("ReduceSum", &[last, "one"], &["sum"], &[("keepdims", 0)]));
    nodes.push(onnx::node("MatMul", &["sum", "classes"], &["logits"], &[]));
    let weights = [
        onnx::floats("embeddings", &[WORDS.len(), 2], &embeddings),
        onnx::floats("classes", &[2, 2], &[0.0, 1.0, 0.0, 0.0]),
        onnx::ints("one", &[1]),
        onnx::ints("two", &[2]),
    ];
    let inputs: &[&str] = if graph.mask { &["input_ids", "attention_mask"] } else { &["input_ids"] };
    onnx::model(&nodes, &weights, inputs, "logits")
}

/// Splits at blanks, lowers, and pads and cuts as files of `sentence-transformers` do: both must not count.
pub fn tokenizer() -> Vec<u8> {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, (word, _))| ((*word).to_owned(), json!(id))).collect();
    let special = |id: usize| json!({ "id": WORDS[id].0, "ids": [id], "tokens": [WORDS[id].0] });
    let piece = |id: usize| json!({ "SpecialToken": { "id": WORDS[id].0, "type_id": 0 } });
    let first = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let second = json!({ "Sequence": { "id": "B", "type_id": 0 } });
    let added = |id: usize| {
        json!({ "id": id, "content": WORDS[id].0, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    };
    let file = json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 128 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]" },
        "added_tokens": [added(0), added(1), added(2), added(3)],
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [piece(2), first, piece(3)], "pair": [piece(2), first, piece(3), second, piece(3)],
            "special_tokens": { "[CLS]": special(2), "[SEP]": special(3) } },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    file.to_string().into_bytes()
}

/// Golden vectors that agree.
pub fn golden(tolerance: f64) -> Vec<u8> {
    let texts: [&[&str]; 4] = [&["good"], &["bad", "bad"], &["awful", "fine", "good", "fine", "good"], &[]];
    let line = |words: &&[&str]| {
        json!({ "text": words.join(" "), "probability": probability(words), "tolerance": tolerance }).to_string() + "\n"
    };
    texts.iter().map(line).collect::<String>().into_bytes()
}

/// The files of a model.
pub struct Files {
    pub model: Vec<u8>,
    pub tokenizer: Vec<u8>,
    pub golden: Vec<u8>,
    pub card: Value,
}

impl Files {
    /// That agree with each other.
    pub fn of(graph: Graph) -> Self {
        let mask = if graph.mask { json!("attention_mask") } else { Value::Null };
        let card = json!({
            "schema": "foreign/1", "name": "tiny", "version": "1", "license": "CC0-1.0", "harm": "hate",
            "languages": ["en"], "max_tokens": 8, "inputs": { "ids": "input_ids", "attention_mask": mask },
            "output": { "name": "logits", "index": 1, "activation": "softmax" }, "calibration": null,
        });
        let golden = golden(if graph.quantised { 0.05 } else { 1e-5 });
        Self { model: self::graph(graph), tokenizer: tokenizer(), golden, card }
    }

    /// Writes them, with the digests that they have.
    pub fn write(&self, folder: &Path) {
        let mut card = self.card.clone();
        let mut digests = serde_json::Map::new();
        let files = [("model.onnx", &self.model), ("tokenizer.json", &self.tokenizer), ("golden.jsonl", &self.golden)];
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).unwrap();
            digests.insert(name.to_owned(), json!(sha256_hex(bytes)));
        }
        card["files"] = Value::Object(digests);
        fs::write(folder.join("card.json"), card.to_string()).unwrap();
    }
}

/// As much of the ONNX format (IR version 8, operator set 17) as these graphs need. Field numbers are those of `onnx.proto`.
pub mod onnx {
    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value > 127 {
            out.push((value & 127) as u8 | 128);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn number(field: u64, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        varint(field << 3, &mut out);
        varint(value, &mut out);
        out
    }

    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint(field << 3 | 2, &mut out);
        varint(value.len() as u64, &mut out);
        out.extend(value);
        out
    }

    /// A node whose attributes are whole numbers.
    pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, u64)]) -> Vec<u8> {
        let attribute =
            |(name, value): &(&str, u64)| [bytes(1, name.as_bytes()), number(3, *value), number(20, 2)].concat();
        let inputs = inputs.iter().flat_map(|name| bytes(1, name.as_bytes()));
        let outputs = outputs.iter().flat_map(|name| bytes(2, name.as_bytes()));
        let attributes = attributes.iter().flat_map(|one| bytes(5, &attribute(one)));
        inputs.chain(outputs).chain(bytes(4, op.as_bytes())).chain(attributes).collect()
    }

    pub fn floats(name: &str, shape: &[usize], values: &[f32]) -> Vec<u8> {
        tensor(name, shape, 1, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub fn ints(name: &str, values: &[i64]) -> Vec<u8> {
        tensor(name, &[values.len()], 7, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn tensor(name: &str, shape: &[usize], kind: u64, raw: Vec<u8>) -> Vec<u8> {
        let dimensions = shape.iter().flat_map(|size| number(1, *size as u64)).collect();
        [dimensions, number(2, kind), bytes(8, name.as_bytes()), bytes(9, &raw)].concat()
    }

    fn value(name: &str, kind: u64, shape: &[&str]) -> Vec<u8> {
        let dimensions: Vec<u8> = shape.iter().flat_map(|size| bytes(1, &bytes(2, size.as_bytes()))).collect();
        let tensor = [number(1, kind), bytes(2, &dimensions)].concat();
        [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
    }

    /// A model of inputs int64 `[rows, tokens]` and an output float32 `[rows, classes]`.
    pub fn model(nodes: &[Vec<u8>], weights: &[Vec<u8>], inputs: &[&str], output: &str) -> Vec<u8> {
        let nodes = nodes.iter().flat_map(|node| bytes(1, node));
        let weights = weights.iter().flat_map(|tensor| bytes(5, tensor));
        let inputs = inputs.iter().flat_map(|name| bytes(11, &value(name, 7, &["rows", "tokens"])));
        let output = bytes(12, &value(output, 1, &["rows", "classes"]));
        let graph: Vec<u8> = nodes.chain(bytes(2, b"tiny")).chain(weights).chain(inputs).chain(output).collect();
        let operators = [bytes(1, b""), number(2, 17)].concat();
        [number(1, 8), bytes(7, &graph), bytes(8, &operators)].concat()
    }
}
