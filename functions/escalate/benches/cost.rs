//! What second opinions cost on this function's own processor, and from when an endpoint that is always on costs less.
//!
//! Times are measured here, on one thread: the reader on the behaviours' sentences that fall into the uncertain band, and the eyes on the
//! pictures of the folder in `PICTURES` (infra/eyes/pictures.py draws them), where there is one. Prices are lists' (us-east-1, November
//! 2026). What a first decision costs is `make bench`'s figure of the fast path.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a benchmark may fail loudly, and prints"
)]

use opinion::protocol::ImageFile;
use opinion::{Ensemble, Eyes, Panel, Question, images};
use scoring::{Bundle, TextModel};
use service::prices::{LAMBDA_GB_SECOND, LAMBDA_REQUEST, READ_UNIT, SQS_BATCH, SQS_REQUEST, WRITE_UNIT};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// US dollars a million first decisions: the corpora mix of `make bench` with a cautious 30 ms a batch.
const FIRST_DECISION: f64 = 1.05;
/// The function's memory in template.yaml, in GB.
const GB: f64 = 1_769.0 / 1_024.0;
/// Seconds of a batch of ten besides answering: its calls to AWS, one after the other.
const BATCH_SECONDS: f64 = 0.030;
/// US dollars an hour of one ml.g5.xlarge, and hours of a month.
const ENDPOINT_HOUR: f64 = 1.408;
const MONTH: f64 = 730.0;
const BAND: std::ops::Range<f64> = 0.2..0.8;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Mean and median milliseconds of answering each question.
fn measured(panel: &Panel, questions: &[Question]) -> (f64, f64) {
    let mut times: Vec<f64> = questions
        .iter()
        .map(|question| {
            let started = Instant::now();
            std::hint::black_box(panel.answer(question));
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times.iter().sum::<f64>() / times.len() as f64, times[times.len() / 2])
}

/// US dollars a million posts that are looked at again here, each for so many milliseconds.
fn second_decision(milliseconds: f64, write_units: f64) -> f64 {
    // Sent, received and deleted in batches of ten; the provisional decision is read consistently.
    let messages = 3.0 * SQS_REQUEST / SQS_BATCH;
    let seconds = milliseconds / 1e3 + BATCH_SECONDS / SQS_BATCH;
    messages + LAMBDA_REQUEST / SQS_BATCH + seconds * GB * LAMBDA_GB_SECOND + READ_UNIT + write_units * WRITE_UNIT
}

fn main() {
    let onnx = scoring::init(&root().join(".tools/onnxruntime/libonnxruntime.so")).unwrap();
    let bundle = Bundle::read(&root().join("shared/scoring/models/minilm-cascade")).unwrap();
    let model = Arc::new(TextModel::load(&onnx, &bundle, None).unwrap());
    let eyes = images::load(&onnx, &root().join(".tools/eyes")).ok().map(|eyes| Arc::new(eyes) as Arc<dyn Eyes>);
    let panel = Panel { reader: Arc::new(Ensemble::new(Arc::clone(&model)).unwrap()), eyes };

    let suite = std::fs::read_to_string(root().join("shared/scoring/behaviours/suite.json")).unwrap();
    let texts = strings(&serde_json::from_str(&suite).unwrap());
    let of_text = |text: String| Question { text: Some(text), ..Question::default() };
    let uncertain: Vec<Question> = texts
        .into_iter()
        .filter(|text| model.score(text).is_ok_and(|scored| BAND.contains(&scored.calibrated)))
        .map(of_text)
        .collect();
    assert!(uncertain.len() >= 20, "{} sentences are uncertain", uncertain.len());
    measured(&panel, &uncertain);
    let (mean, median) = measured(&panel, &uncertain);
    println!("second opinion on this processor, one thread:");
    println!("  text: mean {mean:.1} ms, median {median:.1} ms over {} uncertain sentences", uncertain.len());
    println!("  USD a million posts, a first decision costing {FIRST_DECISION}:");
    for share in [0.01, 0.10, 0.50] {
        let total = FIRST_DECISION + share * second_decision(mean, 1.0);
        let goal = if (share - 0.10_f64).abs() < 1e-9 { " (goal 1.80)" } else { "" };
        println!("    {:>4.0} % of posts looked at again, texts: {total:.2}{goal}", share * 100.0);
    }
    let monthly = ENDPOINT_HOUR * MONTH;
    println!(
        "  one ml.g5.xlarge, always on: {monthly:.0} USD a month, as much as {:.0} million texts looked at again here",
        monthly / second_decision(mean, 1.0)
    );

    let folder = std::env::var_os("PICTURES").map(PathBuf::from).filter(|folder| folder.exists());
    let (Some(folder), true) = (folder, panel.eyes.is_some()) else {
        println!("  images: skipped; they take .tools/eyes (make tools) and PICTURES=FOLDER (infra/eyes/pictures.py)");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind != "jsonl"));
    files.sort();
    let of_picture =
        |file: &PathBuf| Question { images: vec![ImageFile(std::fs::read(file).unwrap())], ..Question::default() };
    let pictures: Vec<_> = files.iter().map(of_picture).collect();
    let (mean, median) = measured(&panel, &pictures);
    let each = second_decision(mean, 2.0);
    println!("  images with text: mean {mean:.0} ms, median {median:.0} ms over {} pictures", pictures.len());
    println!(
        "    {each:.2} USD a million images here; the endpoint costs as much from {:.0} million a month",
        monthly / each
    );
}

/// All sentences of the suite: every string that has a space.
fn strings(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) if text.contains(' ') => vec![text.clone()],
        serde_json::Value::Array(items) => items.iter().flat_map(strings).collect(),
        serde_json::Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}
