//! What the tests with ONNX Runtime share.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test may fail by panicking, and not each test uses all"
)]

use std::path::{Path, PathBuf};

use features::text::{NgramSpec, WindowSpec};
use scoring::{Bundle, Calibration, Manifest, ModelFile, Onnx, TextModel};

/// ONNX Runtime's library: `MODERATO_ONNXRUNTIME`, or what `make tools` installed.
#[expect(clippy::disallowed_methods, reason = "where the library is, is the machine's business")]
pub fn library() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    library
}

pub fn onnx() -> Onnx {
    scoring::init(&library()).unwrap()
}

/// The folder of the model that is committed.
pub fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ngram-baseline")
}

pub fn model() -> TextModel {
    TextModel::load(&onnx(), &Bundle::read(&baseline()).unwrap(), None).unwrap()
}

pub const NGRAMS: NgramSpec =
    NgramSpec { bits: 16, word_max: 2, char_min: 3, char_max: 4, word_weight: 1.0, char_weight: 1.0 };
pub const WINDOW: WindowSpec = WindowSpec { tokens: 16, chars: 200, overlap: 4 };

/// A small model around a graph.
pub fn bundle(graph: Vec<u8>, change: impl FnOnce(&mut Manifest)) -> Bundle {
    let mut manifest = Manifest {
        schema: "model/1".to_owned(),
        kind: "ngram-linear".to_owned(),
        name: "small".to_owned(),
        version: "1".to_owned(),
        harm: "hate".to_owned(),
        languages: vec!["en".to_owned(), "de".to_owned()],
        model: ModelFile { file: "model.onnx".to_owned(), sha256: domain::sha256_hex(&graph) },
        ngrams: NGRAMS,
        window: WINDOW,
        calibration: Calibration { slope: 2.0, offset: -1.0 },
        transformer: None,
    };
    change(&mut manifest);
    Bundle { manifest: serde_json::to_vec(&manifest).unwrap(), model: graph, more: std::collections::BTreeMap::new() }
}

/// The model that ships.
pub fn cascade() -> TextModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/minilm-cascade");
    TextModel::load(&onnx(), &Bundle::read(&folder).unwrap(), None).unwrap()
}

/// Texts of Davidson's tweets in `MODERATO_DATA`, where it is set and has them.
#[expect(clippy::disallowed_methods, reason = "where the data are, is the machine's business")]
pub fn davidson() -> Option<Vec<String>> {
    let file = Path::new(&std::env::var_os("MODERATO_DATA")?).join("davidson_2017_labeled_tweets.csv.gz");
    let mut reader = csv::Reader::from_reader(flate2::read::MultiGzDecoder::new(std::fs::File::open(file).ok()?));
    let column = reader.headers().unwrap().iter().position(|name| name == "tweet").unwrap();
    Some(reader.records().map(|row| row.unwrap()[column].to_owned()).collect())
}

/// A file of the behaviours.
pub fn read<T: for<'a> serde::Deserialize<'a>>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("behaviours").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Harmless material.
pub const SENTENCES: [&str; 16] = [
    "The museum opens at nine.",
    "We took the tram and watched the boats.",
    "My sister is learning the violin.",
    "Soup is on the stove.",
    "It rained until noon, then the sun came out.",
    "The library has new chairs.",
    "Grandpa fixed the old radio.",
    "Her bike has a flat tyre again.",
    "They planted beans along the fence.",
    "The train to the coast was late.",
    "I like tea better than coffee.",
    "Our team meets on Thursday.",
    "The children built a snowman.",
    "He returned the book yesterday.",
    "Look at the moon tonight!",
    "Can you pass me the salt?",
];
pub const POEM: [&str; 6] = [
    "The snow lies soft upon the lane",
    "a robin sings behind the pane",
    "and all the hills are white again",
    "the kettle hums a quiet tune",
    "the night will fall so very soon",
    "and over all the waning moon",
];
pub const RECIPE: &str =
    "Ingredients: 2 eggs, 100 g flour, 1 tbsp sugar. Whisk the eggs, fold in the flour, rest for ten minutes.";
pub const CODE: &str = "fn main() { let total: u32 = (1..=10).sum(); println!(\"{total}\"); }";
