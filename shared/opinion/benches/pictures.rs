//! What is read in pictures of text, and what it costs: `cargo bench --workspace --bench pictures -- FOLDER`, where
//! `infra/eyes/pictures.py FOLDER` made the pictures, and `infra/eyes/rapidocr.py FOLDER` read them in Python to show beside ours.
//!
//! A word is right if it stands at its place in what was read, by the edit distance of words; neither capitals nor punctuation count.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark may fail loudly, its counts are small, and it has no program around it to read the environment"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use domain::ModelRef;
use opinion::images::{decode, ocr, pdq};
use opinion::{Eyes, Reader, ReaderError, TextOpinion};
use scoring::{Bundle, TextModel};
use serde_json::Value;

/// The default policy approves below.
const APPROVE: f64 = 0.2;
/// And hides from here.
const HIDE: f64 = 0.8;

/// The text model of the CPU path.
struct Bundled(TextModel);

impl Reader for Bundled {
    fn model(&self) -> &ModelRef {
        self.0.identity()
    }

    fn supports(&self, _: Option<&str>) -> bool {
        true
    }

    fn rows(&self, _: &str) -> Vec<Vec<i64>> {
        Vec::new()
    }

    fn most_rows(&self) -> usize {
        1
    }

    fn run(&self, _: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
        Ok(Vec::new())
    }

    fn conclude(&self, text: &str, _: &[Vec<f32>]) -> Result<TextOpinion, ReaderError> {
        let scored = self.0.score(text).unwrap();
        Ok(TextOpinion {
            raw: scored.raw,
            calibrated: scored.calibrated,
            model: self.model().clone(),
            spans: Vec::new(),
        })
    }
}

/// A picture as it was made.
struct Label {
    file: String,
    text: String,
    evasion: String,
    hateful: bool,
}

/// What one way of reading made of one picture.
struct Outcome {
    words: usize,
    right: usize,
    score: f64,
    /// Of the text as it was rendered.
    ideal: f64,
    hateful: bool,
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(folder) = std::env::args().nth(1).filter(|word| !word.starts_with("--")).map(PathBuf::from) else {
        println!("skipped: no folder of pictures was named; infra/eyes/pictures.py makes one");
        return;
    };
    let installed = root.join(".tools/onnxruntime/libonnxruntime.so");
    let onnx = scoring::init(&std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from)).unwrap();
    let bundle = Bundle::read(&root.join("shared/scoring/models/minilm-cascade")).unwrap();
    let reader = Bundled(TextModel::load(&onnx, &bundle, None).unwrap());
    let eyes = opinion::images::load(&onnx, &root.join(".tools/eyes")).unwrap();

    let labels = rows(&folder.join("labels.jsonl")).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let labels: Vec<Label> = labels
        .iter()
        .map(|row| Label {
            file: text(row, "file"),
            text: text(row, "text"),
            evasion: text(row, "evasion"),
            hateful: row["hateful"].as_bool().unwrap(),
        })
        .collect();

    let score = |text: &str| if text.is_empty() { 0.0 } else { reader.read(text).unwrap().calibrated };
    let mut ours = Vec::new();
    let mut highest = Vec::new();
    for label in &labels {
        let seen = eyes.look(&std::fs::read(folder.join(&label.file)).unwrap(), &reader).unwrap();
        let lines: Vec<&str> = seen.lines.iter().map(|line| line.text.as_str()).collect();
        if std::env::var_os("VERBOSE").is_some() {
            println!(
                "{} {lines:?} {:.4} {:?}",
                label.file,
                seen.text.as_ref().map_or(0.0, |text| text.calibrated),
                seen.unread
            );
        }
        let line = seen.lines.iter().map(|line| line.score).fold(0.0, f64::max);
        highest.push(outcome(label, &lines, line.max(seen.text.as_ref().map_or(0.0, |text| text.calibrated)), score));
        ours.push(outcome(label, &lines, seen.text.map_or(0.0, |text| text.calibrated), score));
    }
    table("ours", &labels, &ours);
    println!("\nours, were the highest of all lines joined and each line to count:");
    decisions(&highest);

    if let Some(peers) = rows(&folder.join("rapidocr.jsonl")) {
        let read = |label: &Label| peers.iter().find(|row| row["file"] == label.file.as_str()).unwrap();
        let theirs: Vec<Outcome> = labels
            .iter()
            .map(|label| {
                let lines: Vec<&str> =
                    read(label)["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
                outcome(label, &lines, score(&lines.join(" ")), score)
            })
            .collect();
        println!();
        table("RapidOCR in Python, its lines joined", &labels, &theirs);
        spent("RapidOCR, all of it", labels.iter().map(|label| read(label)["ms"].as_f64().unwrap()).collect());
    }
    println!();
    stages(&eyes, &reader, &folder, &labels);
    blocked();
}

fn rows(file: &Path) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn outcome(label: &Label, lines: &[&str], score: f64, ideal: impl Fn(&str) -> f64) -> Outcome {
    let (wanted, read) = (words(&label.text), words(&lines.join(" ")));
    let right = wanted.len().saturating_sub(edits(&wanted, &read));
    Outcome { words: wanted.len(), right, score, ideal: ideal(&label.text), hateful: label.hateful }
}

fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Levenshtein's distance between sequences of words.
fn edits(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            next.push((next[j] + 1).min(row[j + 1] + 1).min(row[j] + usize::from(x != y)));
        }
        row = next;
    }
    row[b.len()]
}

fn table(title: &str, labels: &[Label], outcomes: &[Outcome]) {
    let mut groups: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for (label, outcome) in labels.iter().zip(outcomes) {
        groups.entry(&label.evasion).or_default().push(outcome);
    }
    println!(
        "{title}\n  {:<14} {:>8} {:>6} {:>8} {:>8} {:>8}",
        "evasion", "pictures", "words", "right", "hateful", "harmless"
    );
    let line = |name: &str, group: &[&Outcome]| {
        let (words, right) = group.iter().fold((0, 0), |sum, one| (sum.0 + one.words, sum.1 + one.right));
        let flagged = |hateful: bool| {
            let of: Vec<_> = group.iter().filter(|one| one.hateful == hateful).collect();
            let good = of.iter().filter(|one| (one.score >= APPROVE) == hateful).count();
            format!("{good}/{}", of.len())
        };
        let share = 100.0 * right as f64 / words as f64;
        println!("  {name:<14} {:>8} {words:>6} {share:>7.1}% {:>8} {:>8}", group.len(), flagged(true), flagged(false));
    };
    groups.iter().for_each(|(name, group)| line(name, group));
    line("all", &outcomes.iter().collect::<Vec<_>>());
    decisions(outcomes);
}

fn decisions(outcomes: &[Outcome]) {
    let count = |hateful: bool, which: &dyn Fn(&Outcome) -> bool| {
        outcomes.iter().filter(|one| one.hateful == hateful && which(one)).count()
    };
    println!(
        "  not approved: {} hateful, {} harmless; hidden: {}, {}; the same text as text, not approved: {}, {}; as the text alone: {} of {}",
        count(true, &|one| one.score >= APPROVE),
        count(false, &|one| one.score >= APPROVE),
        count(true, &|one| one.score >= HIDE),
        count(false, &|one| one.score >= HIDE),
        count(true, &|one| one.ideal >= APPROVE),
        count(false, &|one| one.ideal >= APPROVE),
        outcomes.iter().filter(|one| (one.score >= APPROVE) == (one.ideal >= APPROVE)).count(),
        outcomes.len(),
    );
}

/// What a picture costs by stage, in milliseconds, on one thread.
fn stages(eyes: &opinion::images::ModelEyes, reader: &dyn Reader, folder: &Path, labels: &[Label]) {
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for label in labels {
        let file = std::fs::read(folder.join(&label.file)).unwrap();
        let mut add = |stage, spent| times.entry(stage).or_default().push(spent);
        let (decoded, spent) = timed(|| decode::decode(&file).unwrap());
        add("1 decode", spent);
        let image = &decoded.pixels;
        add("2 hash", timed(|| pdq::hash(image)).1);
        add("3 nudity", timed(|| eyes.nudity.probability(image).unwrap()).1);
        let (places, spent) = timed(|| eyes.ocr.detect(image).unwrap());
        add("4 detection", spent);
        let mut found = Vec::new();
        for place in &places {
            let (read, spent) = timed(|| eyes.ocr.recognise(image, place).unwrap());
            add("5 recognition, a line", spent);
            found.extend(read);
        }
        let text = ocr::in_reading_order(found).into_iter().map(|one| one.text).collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            add("6 text, all joined", timed(|| reader.read(&text).unwrap()).1);
        }
        add("whole look", timed(|| eyes.look(&file, reader).unwrap()).1);
    }
    times.into_iter().for_each(|(stage, spent_by)| spent(stage, spent_by));
}

fn timed<T>(job: impl FnOnce() -> T) -> (T, f64) {
    let started = Instant::now();
    let done = job();
    (done, started.elapsed().as_secs_f64() * 1e3)
}

fn spent(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("  {what:<24} median {:8.2} ms, p90 {:8.2} ms, {} times", at(0.5), at(0.9), times.len());
}

/// A look-up in a list of 100,000 hashes.
fn blocked() {
    let mut state = 1_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    };
    let mut hash = || format!("{:016x}{:016x}{:016x}{:016x}", word(), word(), word(), word());
    let list: String = (0..100_000).map(|place| format!("{},known {place}\n", hash())).collect();
    let list: opinion::images::BlockList = list.parse().unwrap();
    let asked: Vec<pdq::Pdq> = (0..200).map(|_| hash().parse().unwrap()).collect();
    let times = asked.iter().map(|one| timed(|| std::hint::black_box(list.near(one).is_some())).1).collect();
    spent("block list of 100,000", times);
}
