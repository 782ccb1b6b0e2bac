//! What stands between features and a calibrated score, over a bare loop of ONNX Runtime on the same inputs: in turns,
//! in one process, by the CPU time of this thread.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark may fail loudly, its counts are small, and it has no program around it to read the environment"
)]

use features::text::{WeightedBucket, tokenise, weighted_buckets, windows};
use ort::session::Session;
use ort::value::TensorRef;
use scoring::{Bundle, TextModel};
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// Posts of the length of a tweet, without anybody's words in them.
const TEXTS: usize = 400;
/// Each round runs all texts so often.
const REPEATS: usize = 10;
const ROUNDS: usize = 21;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = root.join(".tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    let onnx = scoring::init(&library).unwrap();
    let bundle = Bundle::read(&root.join("shared/scoring/models/ngram-baseline")).unwrap();
    let model = TextModel::load(&onnx, &bundle, None).unwrap();
    let mut session = onnx.bare_session(&bundle.model).unwrap();

    let texts: Vec<String> = (0..TEXTS).map(text).collect();
    let inputs: Vec<Vec<WeightedBucket>> = texts
        .iter()
        .map(|text| {
            let tokenised = tokenise(text);
            let window = windows(&tokenised, &model.manifest().window)[0].clone();
            weighted_buckets(&tokenised, window, &model.manifest().ngrams)
        })
        .collect();
    let tensors: Vec<(Vec<i64>, Vec<f32>)> = inputs
        .iter()
        .map(|input| (input.iter().map(|b| i64::from(b.bucket)).collect(), input.iter().map(|b| b.value).collect()))
        .collect();
    let entries: usize = inputs.iter().map(Vec::len).sum();
    println!(
        "{TEXTS} posts of {} characters and {} n-grams on average",
        texts.iter().map(String::len).sum::<usize>() / TEXTS,
        entries / TEXTS
    );

    let (mut bare, mut step, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(time(|place| bare_run(&mut session, &tensors[place])));
        step.push(time(|place| model.step(&inputs[place]).unwrap()));
        whole.push(time(|place| model.score(&texts[place]).unwrap().calibrated));
    }
    let [bare, step, whole] = [bare, step, whole].map(|mut rounds| {
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    });
    println!("CPU a post, median of {ROUNDS} rounds in turns:");
    println!("  bare loop of ONNX Runtime          {bare:7.2} µs");
    println!("  model step                         {step:7.2} µs, {:+.1} % (goal 15 %)", 100.0 * (step / bare - 1.0));
    println!("  whole score, features included     {whole:7.2} µs");
}

/// Names and values as tensors, one run, both outputs read.
fn bare_run(session: &mut Session, (buckets, values): &(Vec<i64>, Vec<f32>)) -> f64 {
    let buckets = TensorRef::from_array_view(([buckets.len()], buckets.as_slice())).unwrap();
    let values = TensorRef::from_array_view(([values.len()], values.as_slice())).unwrap();
    let outputs = session.run(ort::inputs!["buckets" => buckets, "values" => values]).unwrap();
    let (_, contributions) = outputs["contributions"].try_extract_tensor::<f32>().unwrap();
    black_box(contributions.to_vec());
    let (_, logit) = outputs["logit"].try_extract_tensor::<f64>().unwrap();
    logit[0]
}

/// Microseconds of CPU a post.
fn time(mut run: impl FnMut(usize) -> f64) -> f64 {
    let before = cpu();
    for place in (0..REPEATS).flat_map(|_| 0..TEXTS) {
        black_box(run(place));
    }
    (cpu() - before) * 1e6 / (REPEATS * TEXTS) as f64
}

/// CPU seconds of this thread. It sleeps for a moment, so that the kernel's books are up to date.
fn cpu() -> f64 {
    std::thread::sleep(std::time::Duration::from_millis(2));
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedule.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Words from a list, picked by a fixed sequence: 8 to 24 of them, a handle and an address now and then.
fn text(number: usize) -> String {
    const WORDS: &str = "the of tomorrow balcony you people are ruining this city everybody knows tram late again book \
        nobody wants them here lovely weather thanks station bakery stupid vote women men home country music!! really \
        never ever could have would like play game night watching @somebody https://example.org/a?b=c #monday 100 …";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut state = number as u64;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let length = 8 + next(17);
    (0..length).map(|_| words[next(words.len())]).collect::<Vec<_>>().join(" ")
}
