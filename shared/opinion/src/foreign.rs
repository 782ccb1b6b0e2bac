//! A text model of somebody else's: any ONNX graph from token ids to scores, with its tokenizer, a card that says what it is and golden
//! vectors that say what it must give. It is a [`Reader`] like ours, or it is refused with an error that says what to change.
//!
//! Its folder holds `card.json` ([`Card`]), `model.onnx` (one file, without external data), `tokenizer.json` (Hugging Face's `tokenizers`)
//! and `golden.jsonl` ([`Golden`]).

mod card;
mod golden;
mod read;

use std::path::Path;

use domain::{ModelRef, sha256_hex};
use scoring::{Bytes, Device, Execution, Graph, GraphError, Onnx, Tensor};
use thiserror::Error;
use tokenizers::Tokenizer;

pub use card::{Activation, Card, Files, Inputs, Output};
pub use golden::Golden;

use crate::reader::{Reader, ReaderError, TextOpinion};
use read::{Padded, Windows, six_decimals};

/// Name of the card in the folder of a foreign model: what tells it from one of ours.
pub const CARD_FILE: &str = "card.json";
/// Name of its graph.
pub const GRAPH_FILE: &str = "model.onnx";
/// Name of its tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Name of its golden vectors.
pub const GOLDEN_FILE: &str = "golden.jsonl";

/// By how much a probability may differ between a row alone and the same row in a batch.
pub const BATCH_TOLERANCE: f64 = 1e-5;

/// Why a foreign model was refused. Trying the same folder again does not help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// A file is not there or cannot be read.
    #[error("reading `{file}`")]
    Read {
        /// The file.
        file: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not the one that the card means.
    #[error("`{file}` has the digest `{actual}`, `card.json` says `{expected}`")]
    Digest {
        /// The file.
        file: &'static str,
        /// What the card says.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The card is not JSON or not the shape of a card.
    #[error("parsing `card.json`")]
    Card(#[source] serde_json::Error),
    /// The card can be read, and asks for what this program does not do.
    #[error("`card.json` has `{field}` = `{value}`, supported is {supported}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        supported: &'static str,
    },
    /// The tokenizer cannot be used.
    #[error("reading `tokenizer.json`")]
    Tokenizer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// ONNX Runtime refused the graph.
    #[error("loading `model.onnx`")]
    Graph(#[source] GraphError),
    /// The graph wants other inputs than the card names.
    #[error("`model.onnx` has the inputs {has:?}, `card.json` names {named:?}")]
    Inputs {
        /// Those of the graph.
        has: Vec<String>,
        /// Those of the card.
        named: Vec<String>,
    },
    /// The graph has no output of the card's name.
    #[error("`model.onnx` has the outputs {has:?}, `card.json` names `{named}`")]
    Output {
        /// Those of the graph.
        has: Vec<String>,
        /// That of the card.
        named: String,
    },
    /// A golden vector cannot be read. The row is not quoted: it holds a text.
    #[error("row {row} of `golden.jsonl` must be {supported}")]
    GoldenRow {
        /// Its number, from 1.
        row: usize,
        /// What it may be.
        supported: &'static str,
    },
    /// The model could not score a golden vector.
    #[error("running row {row} of `golden.jsonl`")]
    Run {
        /// Its number, from 1.
        row: usize,
        /// Why.
        source: ReaderError,
    },
    /// The model does not give what its golden vector says.
    #[error(
        "row {row} of `golden.jsonl` expects the probability {expected} within {tolerance}, `model.onnx` gives {found}"
    )]
    Golden {
        /// Its number, from 1.
        row: usize,
        /// What it says.
        expected: f64,
        /// By how much the model may differ.
        tolerance: f64,
        /// What the model gave.
        found: f64,
    },
}

/// A foreign model whose golden vectors agree.
pub struct Foreign {
    identity: ModelRef,
    card: Card,
    windows: Windows,
    graph: Graph,
    /// Place of the output among those of the graph.
    output: usize,
    most_rows: usize,
    why_one_row: Option<String>,
}

impl Foreign {
    /// Whether a folder holds a foreign model.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(CARD_FILE).exists()
    }

    /// Loads the model in `folder`: digests first, then the graph, then its golden vectors, each alone and all in batches of up to
    /// `most_rows` rows. Where a batch gives other scores than its rows alone, the model takes one row a run ([`Foreign::why_one_row`]).
    pub fn load(onnx: &Onnx, folder: &Path, execution: Execution, most_rows: usize) -> Result<Self, ForeignError> {
        let read = |file| std::fs::read(folder.join(file)).map_err(|source| ForeignError::Read { file, source });
        let card_bytes = read(CARD_FILE)?;
        let card = Card::read(&card_bytes)?;
        let verified = |file, expected: &str| {
            let bytes = Bytes::from(read(file)?);
            if bytes.sha256().eq_ignore_ascii_case(expected) {
                return Ok(bytes);
            }
            Err(ForeignError::Digest { file, expected: expected.to_owned(), actual: bytes.sha256().to_owned() })
        };
        let tokenizer = verified(TOKENIZER_FILE, &card.files.tokenizer)?;
        let golden = Golden::read(&verified(GOLDEN_FILE, &card.files.golden)?)?;
        let tokenizer = Tokenizer::from_bytes(&*tokenizer).map_err(ForeignError::Tokenizer)?;
        let windows = Windows::new(tokenizer, card.max_tokens)?;
        let graph = verified(GRAPH_FILE, &card.files.model)?;
        let graph = Graph::load(onnx, &graph, execution).map_err(ForeignError::Graph)?;
        let output = places(&card, &graph)?;
        let identity =
            ModelRef { name: card.name.clone(), version: card.version.clone(), sha256: sha256_hex(&card_bytes) };
        let mut model = Self { identity, card, windows, graph, output, most_rows: 1, why_one_row: None };
        let alone = model.agrees(&golden)?;
        match model.batches(&golden, &alone, most_rows) {
            Ok(()) => model.most_rows = most_rows.max(1),
            Err(why) => model.why_one_row = Some(why),
        }
        Ok(model)
    }

    /// Everything its card says.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Where its graph runs.
    pub fn device(&self) -> Device {
        self.graph.device()
    }

    /// Why it runs on the processor, where it should have used a GPU that there is.
    pub fn why_not_cuda(&self) -> Option<&str> {
        self.graph.why_not_cuda()
    }

    /// Why it takes one row a run, where it does.
    pub fn why_one_row(&self) -> Option<&str> {
        self.why_one_row.as_deref()
    }

    /// The probabilities of all golden vectors, each row of each text by itself.
    fn agrees(&self, golden: &[Golden]) -> Result<Vec<Vec<f64>>, ForeignError> {
        let mut all = Vec::with_capacity(golden.len());
        for (at, vector) in golden.iter().enumerate() {
            let refused = |source| ForeignError::Run { row: at + 1, source };
            let mut found = Vec::new();
            for ids in self.windows.of(&vector.text).map_err(|code| refused(self.error(code)))? {
                let outputs = self.run(&[&ids]).map_err(refused)?;
                found.push(self.probability(outputs.first().map(Vec::as_slice).unwrap_or_default()).map_err(refused)?);
            }
            let highest = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let Golden { probability: expected, tolerance, .. } = *vector;
            // A probability that is no number agrees with nothing.
            if (highest - expected).abs() <= tolerance {
                all.push(found);
            } else {
                return Err(ForeignError::Golden { row: at + 1, expected, tolerance, found: six_decimals(highest) });
            }
        }
        Ok(all)
    }

    /// Whether rows score in a batch as they do alone, and why not.
    fn batches(&self, golden: &[Golden], alone: &[Vec<f64>], most_rows: usize) -> Result<(), String> {
        let rows: Vec<Vec<i64>> =
            golden.iter().filter_map(|vector| self.windows.of(&vector.text).ok()).flatten().collect();
        let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        if most_rows < 2 {
            return Err("one row a run was asked for".to_owned());
        }
        if rows.len() < 2 {
            return Err("`golden.jsonl` has one row, which makes no batch".to_owned());
        }
        let mut alone = alone.iter().flatten();
        for batch in rows.chunks(most_rows) {
            let outputs = self.run(batch).map_err(|error| format!("a batch of golden vectors fails: {error}"))?;
            for (outputs, alone) in outputs.iter().zip(&mut alone) {
                let found = self.probability(outputs).map_err(|error| error.to_string())?;
                let agrees = (found - alone).abs() <= BATCH_TOLERANCE;
                if !agrees {
                    return Err(format!("a golden vector gives {alone:.6} alone and {found:.6} in a batch"));
                }
            }
        }
        Ok(())
    }

    fn error(&self, code: &str) -> ReaderError {
        let model = format!("{}@{}", self.identity.name, self.identity.version);
        ReaderError { model, code: code.to_owned() }
    }

    fn log_odds(&self, outputs: &[f32]) -> Result<f64, ReaderError> {
        let Output { index, activation, .. } = self.card.output;
        activation.log_odds(outputs, index).map_err(|code| self.error(code))
    }

    fn probability(&self, outputs: &[f32]) -> Result<f64, ReaderError> {
        self.log_odds(outputs).map(read::sigmoid)
    }

    /// One run over rows that fit together.
    fn run_padded(&self, rows: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
        let Inputs { ids, attention_mask, token_types } = &self.card.inputs;
        let padded = Padded::of(rows, self.windows.pad());
        let shape = vec![padded.rows, padded.length];
        let tensor = |data: Vec<i64>| Tensor::I64(shape.clone(), data);
        let zeros = token_types.as_ref().map(|name| (name, tensor(vec![0; padded.ids.len()])));
        let (data, mask) = (tensor(padded.ids), tensor(padded.mask));
        let mut inputs = vec![(ids.as_str(), &data)];
        inputs.extend(attention_mask.as_ref().map(|name| (name.as_str(), &mask)));
        inputs.extend(zeros.as_ref().map(|(name, zeros)| (name.as_str(), zeros)));
        // What ONNX Runtime says may hold values of the input.
        let outputs = self.graph.run(&inputs).map_err(|_| self.error("run_failed"))?;
        let Some(Tensor::F32(shape, data)) = outputs.get(self.output) else {
            return Err(self.error("output_not_float32"));
        };
        let width = data.len() / rows.len().max(1);
        if shape.first() != Some(&rows.len()) || width == 0 {
            return Err(self.error("output_of_another_shape"));
        }
        Ok(data.chunks(width).map(<[f32]>::to_vec).collect())
    }
}

/// The place of the card's output; an error where the graph has other names.
fn places(card: &Card, graph: &Graph) -> Result<usize, ForeignError> {
    let named = card.inputs.names();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    if sorted(graph.inputs().to_vec()) != sorted(named.clone()) {
        return Err(ForeignError::Inputs { has: graph.inputs().to_vec(), named });
    }
    let wanted = &card.output.name;
    graph
        .outputs()
        .iter()
        .position(|name| name == wanted)
        .ok_or_else(|| ForeignError::Output { has: graph.outputs().to_vec(), named: wanted.clone() })
}

impl Reader for Foreign {
    fn model(&self) -> &ModelRef {
        &self.identity
    }

    fn supports(&self, lang: Option<&str>) -> bool {
        let primary = |lang: &str| lang.split(['-', '_']).next().unwrap_or_default().trim().to_ascii_lowercase();
        lang.is_none_or(|lang| self.card.languages.contains(&primary(lang)))
    }

    fn rows(&self, text: &str) -> Vec<Vec<i64>> {
        let mut rows = self.windows.of(text).unwrap_or_default();
        if self.card.undo_evasions
            && let Some(folded) = features::text::folded(text)
        {
            rows.extend(self.windows.of(folded.text()).unwrap_or_default());
        }
        rows
    }

    fn most_rows(&self) -> usize {
        self.most_rows
    }

    fn run(&self, rows: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
        let most = i64::try_from(self.windows.ids()).unwrap_or(i64::MAX);
        // A GPU would read beyond its table without a word.
        if !rows.iter().all(|row| row.iter().all(|id| (0..most).contains(id))) {
            return Err(self.error("id_out_of_range"));
        }
        if !rows.iter().all(|row| (1..=self.card.max_tokens).contains(&row.len())) {
            return Err(self.error("row_of_another_length"));
        }
        if self.card.inputs.attention_mask.is_some() {
            return self.run_padded(rows);
        }
        // Without a mask a pad would count as a token: rows of one length at a time.
        let mut outputs = Vec::with_capacity(rows.len());
        for together in rows.chunk_by(|a, b| a.len() == b.len()) {
            outputs.extend(self.run_padded(together)?);
        }
        Ok(outputs)
    }

    fn conclude(&self, _text: &str, outputs: &[Vec<f32>]) -> Result<TextOpinion, ReaderError> {
        let mut highest: Option<f64> = None;
        for row in outputs {
            let log_odds = self.log_odds(row)?;
            highest = Some(highest.map_or(log_odds, |highest| highest.max(log_odds)));
        }
        let log_odds = highest.ok_or_else(|| self.error("no_tokens"))?;
        let calibrated = match &self.card.calibration {
            Some(platt) => platt.probability(log_odds),
            None => read::sigmoid(log_odds),
        };
        Ok(TextOpinion {
            raw: six_decimals(read::sigmoid(log_odds)),
            calibrated: six_decimals(calibrated),
            model: self.identity.clone(),
            spans: Vec::new(),
        })
    }
}
