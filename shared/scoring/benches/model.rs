//! What a post costs, stage by stage, and what our path adds to a bare loop of ONNX Runtime on the same tokens: in turns, in one
//! process, on one thread.
//!
//! Times are of the clock, each the least of some: what interrupts this thread only ever adds.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark may fail loudly, its counts are small, and it has no program around it to read the environment"
)]

use features::text::{WeightedBucket, folded, plain, tokenise, weighted_buckets, windows};
use flate2::read::MultiGzDecoder;
use ort::session::Session;
use ort::value::TensorRef;
use scoring::{Bundle, Linear, Stage, TRANSFORMER_FILE, TextModel, VOCABULARY_FILE};
use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Posts looked at, and of those that the transformer reads, as many as are run in turns with the bare loop.
const POSTS: usize = 4_000;
const ASKED: usize = 200;
/// Runs of everything; the least counts.
const RUNS: usize = 5;
/// Tokens of the view that the goal speaks of, the marks of start and end among them.
const VIEW: usize = 32;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = root.join(".tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    let data = std::env::var_os("MODERATO_DATA").map_or(root.join("../shared/data"), PathBuf::from);
    let onnx = scoring::init(&library).unwrap();
    let bundle = Bundle::read(&root.join("shared/scoring/models/minilm-cascade")).unwrap();
    let model = TextModel::load(&onnx, &bundle, None).unwrap();
    let mut bare = onnx.bare_transformer(&bundle.more[TRANSFORMER_FILE]).unwrap();

    let megabytes = |name: &str| bundle.more[name].len() as f64 / 1e6;
    println!(
        "transformer {:.2} MB and vocabulary {:.2} MB (goal 25 together, aim 18)",
        megabytes(TRANSFORMER_FILE),
        megabytes(VOCABULARY_FILE)
    );
    let ids: Vec<i64> = (0..VIEW).map(|place| 5 + place as i64 * 131 % 9_000).collect();
    let mut view: Vec<f64> = (0..40 * RUNS).map(|_| microseconds(|| bare_run(&mut bare, &ids)) / 1e3).collect();
    println!("view of {VIEW} tokens, median of {}: {:.2} ms (goal 6)", view.len(), at(&mut view, 0.5));

    let (from, texts) = match davidson(&data) {
        Some(texts) => ("Davidson's tweets", texts),
        None => ("made-up posts, there are no corpora", (0..POSTS).map(text).collect()),
    };
    stages(&model, from, &texts);
    over_bare(&model, &mut bare, &texts);
    linear(&bundle, &model, &onnx, &texts);
}

/// What whole scores cost, and what of it goes where in a post that the linear model decides.
fn stages(model: &TextModel, from: &str, texts: &[String]) {
    let (mut all, mut clear, mut read) = (Vec::new(), Vec::new(), Vec::new());
    let (mut second, mut two) = (0, 0);
    for text in texts {
        let whole = least(|| model.score(text).unwrap().calibrated);
        all.push(whole);
        two += usize::from(folded(text).is_some());
        if model.score(text).unwrap().stage == Stage::Transformer {
            second += 1;
        } else {
            clear.push(whole);
            read.push(least(|| (plain(text), folded(text))));
        }
    }
    let share = |count: usize| 100.0 * count as f64 / texts.len() as f64;
    println!("{} posts, {from}: {:.1} % have two readings", texts.len(), share(two));
    println!(
        "  a post: median {:.0} µs, p90 {:.0} µs (goal for the median 1,000); {:.1} % decided by the linear model alone",
        at(&mut all, 0.5),
        at(&mut all, 0.9),
        share(texts.len() - second)
    );
    println!(
        "  of the linear model's own: median {:.0} µs, p90 {:.0} µs, of which readings {:.0} µs",
        at(&mut clear, 0.5),
        at(&mut clear, 0.9),
        at(&mut read, 0.5)
    );
}

/// Texts that the transformer reads: from text to score, over runs of the same tokens and nothing else.
fn over_bare(model: &TextModel, bare: &mut Session, texts: &[String]) {
    let asked = texts.iter().filter(|text| model.score(text).unwrap().stage == Stage::Transformer).take(ASKED);
    let (mut ours, mut theirs, mut tokens, mut views) = (0.0, 0.0, 0, 0);
    for text in asked {
        let inputs = model.transformer_inputs(text).unwrap();
        let (mut fastest, mut barest) = (f64::INFINITY, f64::INFINITY);
        // Each follows itself once, so that neither finds the other's weights in the caches of the processor.
        for run in 0..4 * RUNS {
            if run / 2 % 2 == 0 {
                fastest = fastest.min(microseconds(|| model.score(text).unwrap()));
            } else {
                let mut all = || inputs.iter().map(|ids| bare_run(bare, ids)).fold(f64::MIN, f64::max);
                barest = barest.min(microseconds(&mut all));
            }
        }
        (ours, theirs) = (ours + fastest, theirs + barest);
        (tokens, views) = (tokens + inputs.iter().map(Vec::len).sum::<usize>(), views + inputs.len());
    }
    if views == 0 {
        return println!("skipped: the path over a bare loop (no text reaches the transformer)");
    }
    println!(
        "of those it is asked about, {views} views of {:.0} tokens: from text to score {:.2} ms a view, bare loop of ONNX Runtime {:.2} ms, {:+.1} % (goal 15)",
        tokens as f64 / views as f64,
        ours / views as f64 / 1e3,
        theirs / views as f64 / 1e3,
        100.0 * (ours / theirs - 1.0)
    );
}

/// The linear model as weights and a sum, over its graph.
fn linear(bundle: &Bundle, model: &TextModel, onnx: &scoring::Onnx, texts: &[String]) {
    let (weights, mut graph) = (Linear::read(&bundle.model).unwrap(), onnx.bare_session(&bundle.model).unwrap());
    let (mut ours, mut theirs, mut entries) = (0.0, 0.0, 0);
    for text in texts.iter().take(ASKED) {
        let tokenised = tokenise(plain(text).text());
        let window = windows(&tokenised, &model.manifest().window)[0].clone();
        let input = weighted_buckets(&tokenised, window, &model.manifest().ngrams);
        ours += least(|| weights.run(&input).unwrap());
        theirs += least(|| graph_run(&mut graph, &input));
        entries += input.len();
    }
    println!(
        "the linear model on {} n-grams: {:.2} µs as weights and a sum, {:.1} µs as a graph of ONNX Runtime",
        entries / ASKED,
        ours / ASKED as f64,
        theirs / ASKED as f64
    );
}

/// Ids as a tensor, one run, the output read.
fn bare_run(session: &mut Session, ids: &[i64]) -> f64 {
    let ids = TensorRef::from_array_view(([1, ids.len()], ids)).unwrap();
    let outputs = session.run(ort::inputs!["ids" => ids]).unwrap();
    f64::from(outputs["logits"].try_extract_tensor::<f32>().unwrap().1[0])
}

fn graph_run(session: &mut Session, input: &[WeightedBucket]) -> f64 {
    let buckets: Vec<i64> = input.iter().map(|entry| i64::from(entry.bucket)).collect();
    let values: Vec<f32> = input.iter().map(|entry| entry.value).collect();
    let buckets = TensorRef::from_array_view(([buckets.len()], buckets.as_slice())).unwrap();
    let values = TensorRef::from_array_view(([values.len()], values.as_slice())).unwrap();
    let outputs = session.run(ort::inputs!["buckets" => buckets, "values" => values]).unwrap();
    outputs["logit"].try_extract_tensor::<f64>().unwrap().1[0]
}

fn microseconds<T>(run: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    black_box(run());
    started.elapsed().as_secs_f64() * 1e6
}

fn least<T>(mut run: impl FnMut() -> T) -> f64 {
    (0..RUNS).map(|_| microseconds(&mut run)).fold(f64::INFINITY, f64::min)
}

/// The value that `share` of the others lie below.
fn at(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

/// Davidson's tweets, one in so many that about [`POSTS`] are left.
fn davidson(data: &Path) -> Option<Vec<String>> {
    let file = File::open(data.join("davidson_2017_labeled_tweets.csv.gz")).ok()?;
    let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(file));
    let column = reader.headers().unwrap().iter().position(|name| name == "tweet").unwrap();
    let all: Vec<String> = reader.records().map(|row| row.unwrap()[column].to_owned()).collect();
    let step = (all.len() / POSTS).max(1);
    Some(all.into_iter().step_by(step).collect())
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
