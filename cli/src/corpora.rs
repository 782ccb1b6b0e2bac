//! The public corpora the baseline is trained on and measured with: which column says what, and which rows may be
//! trained on.

use std::collections::HashSet;
use std::path::Path;

use crate::dataset::{self, DataError, Record};

/// What a row may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// To train on.
    Train,
    /// To choose and to calibrate on.
    Validation,
    /// Neither: to judge the result, once.
    Test,
}

/// A labelled text.
#[derive(Debug, Clone)]
pub struct Example {
    /// The raw text.
    pub text: String,
    /// Whether it is positive by the corpus's own answer.
    pub positive: bool,
    /// What it may be used for.
    pub part: Part,
    /// Groups it belongs to, such as `target=Women`.
    pub slices: Vec<String>,
}

/// A corpus and how to read it.
pub struct Corpus {
    /// Short name, as in the model card.
    pub name: &'static str,
    /// Its file in the data folder.
    pub file: &'static str,
    /// What its positive class is, in words.
    pub positive: &'static str,
    /// How its parts were made, in words.
    pub split: &'static str,
    /// Whether its answer is the harm `hate`, so that it counts in the pooled figures.
    pub pooled: bool,
    read: fn(&Record) -> Result<Option<Example>, DataError>,
}

/// All corpora, in the order in which they are read.
pub const CORPORA: [Corpus; 8] = [
    Corpus {
        name: "hatexplain-train",
        file: "hatexplain_train_text_label.csv.gz",
        positive: "majority says hatespeech",
        split: "official training posts",
        pooled: true,
        read: |row| {
            let positive = row.get("label")? == "hatespeech";
            example(row.get("text")?, positive, Part::Train, Vec::new())
        },
    },
    Corpus {
        name: "hatexplain",
        file: "hatexplain_val_full.csv.gz",
        positive: "majority says hatespeech",
        split: "official validation posts",
        pooled: true,
        read: |row| {
            let targets = row.get("targets_2of3")?;
            let slices = targets
                .split(';')
                .filter(|t| !t.is_empty())
                .map(|t| format!("target={t}"))
                .collect();
            example(
                row.get("text")?,
                row.get("label")? == "hatespeech",
                Part::Validation,
                slices,
            )
        },
    },
    Corpus {
        name: "davidson",
        file: "davidson_2017_labeled_tweets.csv.gz",
        positive: "class 0, hate",
        split: "by hash",
        pooled: true,
        read: |row| {
            let text = row.get("tweet")?;
            example(text, row.get("class")? == "0", part_by_hash(text), Vec::new())
        },
    },
    Corpus {
        name: "hatemoji",
        file: "hatemojibuild.csv.gz",
        positive: "label_gold 1",
        split: "official",
        pooled: true,
        read: |row| {
            let slices = vec![format!("type={}", row.get("type")?)];
            example(
                row.get("text")?,
                row.get("label_gold")? == "1",
                official(row.get("split")?),
                slices,
            )
        },
    },
    Corpus {
        name: "stormfront",
        file: "stormfront_vicomtech.csv.gz",
        positive: "hate; relation and skipped rows are left out",
        split: "official test sample kept; of the official training sample one tenth, by hash, is validation; rows in neither sample by hash",
        pooled: true,
        read: |row| {
            let positive = match row.get("label")? {
                "hate" => true,
                "noHate" => false,
                _ => return Ok(None),
            };
            let text = row.get("text")?;
            let part = match (row.get("sampled_split")?, part_by_hash(text)) {
                ("test", _) => Part::Test,
                ("train", Part::Test) => Part::Train,
                (_, part) => part,
            };
            example(text, positive, part, Vec::new())
        },
    },
    Corpus {
        name: "edos",
        file: "edos_sexism.csv.gz",
        positive: "sexist",
        split: "official",
        pooled: true,
        read: |row| {
            let slices = vec![format!("category={}", row.get("label_category")?)];
            example(
                row.get("text")?,
                row.get("label_sexist")? == "sexist",
                official(row.get("split")?),
                slices,
            )
        },
    },
    Corpus {
        name: "identity-templates",
        file: "conversationai_en_identity_templates.csv.gz",
        positive: "toxic",
        split: "by hash",
        pooled: false,
        read: |row| {
            let text = row.get("phrase")?;
            let slices = vec![format!("template={}", row.get("template")?)];
            example(text, row.get("toxicity")? == "toxic", part_by_hash(text), slices)
        },
    },
    Corpus {
        name: "surge",
        file: "surge_toxicity_1k.csv.gz",
        positive: "toxic, which is wider than hate",
        split: "by hash",
        pooled: false,
        read: |row| {
            let text = row.get("text")?;
            example(text, row.get("is_toxic")? == "Toxic", part_by_hash(text), Vec::new())
        },
    },
];

fn example(text: &str, positive: bool, part: Part, slices: Vec<String>) -> Result<Option<Example>, DataError> {
    Ok(Some(Example {
        text: text.to_owned(),
        positive,
        part,
        slices,
    }))
}

fn official(split: &str) -> Part {
    match split {
        "train" => Part::Train,
        "dev" => Part::Validation,
        _ => Part::Test,
    }
}

impl Corpus {
    /// Reads the corpus from the data folder.
    pub fn load(&self, folder: &Path) -> Result<Vec<Example>, DataError> {
        let mut examples = Vec::new();
        for row in dataset::read(&folder.join(self.file))? {
            examples.extend((self.read)(&row)?);
        }
        Ok(examples)
    }
}

/// Lower case, every stretch of white space one space: texts that differ in no more count as the same.
pub fn normalised(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The part of a row of a corpus without official splits: SHA-256 of its normalised text as one big-endian number,
/// modulo 10; 0 is test, 1 validation, the rest training.
pub fn part_by_hash(text: &str) -> Part {
    let digits = domain::sha256_hex(normalised(text).as_bytes());
    let rest = digits
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .fold(0, |rest, digit| (rest * 16 + digit) % 10);
    match rest {
        0 => Part::Test,
        1 => Part::Validation,
        _ => Part::Train,
    }
}

/// Removes training examples whose normalised text also stands in a validation or test part of any corpus.
/// Gives how many were removed.
pub fn drop_leaks(corpora: &mut [Vec<Example>]) -> usize {
    let held: HashSet<String> = corpora
        .iter()
        .flatten()
        .filter(|example| example.part != Part::Train)
        .map(|example| normalised(&example.text))
        .collect();
    let mut dropped = 0;
    for corpus in corpora {
        let before = corpus.len();
        corpus.retain(|example| example.part != Part::Train || !held.contains(&normalised(&example.text)));
        dropped += before - corpus.len();
    }
    dropped
}
