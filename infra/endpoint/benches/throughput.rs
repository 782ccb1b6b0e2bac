//! What the program serves beside a bare loop of ONNX Runtime over the same rows, in turns on the same machine, and what it does at
//! four times the load it can carry.
//!
//! `cargo bench -p endpoint --bench throughput -- [--model DIR] [--device cpu|cuda] [--workers N] [--seconds S]`: without a model it
//! takes our cascade (quantised, one row a run) and a made-up graph of 32-bit numbers (64 rows a run). The bare loop has as many threads,
//! each with a session of its own; the client shares the machine with both.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark may fail loudly, its counts are small, and it has no program around it to read the environment"
)]

#[path = "../tests/common/client.rs"]
mod client;
#[path = "throughput/load.rs"]
mod load;
#[path = "throughput/made_up.rs"]
mod made_up;
#[path = "../../../shared/opinion/tests/tiny/mod.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use endpoint::npy::{Ids, write_ids};
use endpoint::{Config, models};
use load::Program;
use opinion::{Panel, Reader};
use serde_json::{Value, json};

/// Rounds of a bare loop and a served one each.
const ROUNDS: usize = 5;
/// Connections at once.
const CONNECTIONS: usize = 4;
/// Tokens of a row of ids.
const LENGTH: usize = 32;

struct Options {
    model: Option<PathBuf>,
    device: String,
    workers: usize,
    seconds: f64,
}

fn main() {
    let mut options = Options { model: None, device: "cpu".to_owned(), workers: 2, seconds: 1.0 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("an argument has a value");
        match argument.as_str() {
            "--model" => options.model = Some(PathBuf::from(value())),
            "--device" => options.device = value(),
            "--workers" => options.workers = value().parse().unwrap(),
            "--seconds" => options.seconds = value().parse().unwrap(),
            // Cargo's own.
            _ => {}
        }
    }
    let cascade = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/scoring/models/minilm-cascade");
    if let Some(model) = options.model.clone() {
        return bench("the model given", &model, &options);
    }
    bench("our cascade: quantised, one row a run", &cascade, &options);
    let folder = tempfile::tempdir().unwrap();
    made_up::write(folder.path());
    bench("a made-up graph of 32-bit numbers, up to 64 rows a run", folder.path(), &options);
}

fn bench(name: &str, model: &Path, options: &Options) {
    let library = tiny::library().display().to_string();
    let folder = model.display().to_string();
    let workers = options.workers.to_string();
    let arguments = [
        "serve",
        "--model",
        &folder,
        "--onnxruntime",
        &library,
        "--bind",
        "127.0.0.1:0",
        "--device",
        &options.device,
        "--workers",
        &workers,
    ];
    let program = Program::start(&arguments);
    println!("\n{name}; {} on {}, {workers} workers", program.model, program.device);
    let loaded = models::load(&Config::of(&arguments)).unwrap();
    let panels = &loaded.panels;
    let texts = texts(loaded.reader.as_ref(), name.contains("made-up"));
    let text_rows: Vec<Vec<i64>> = texts.iter().flat_map(|text| loaded.reader.rows(text)).collect();
    println!(
        "  medians of {ROUNDS} rounds in turns, {CONNECTIONS} connections; rows a second served, bare, served over bare: by the clock | by processor time"
    );
    for rows in [1, 8, 64] {
        let ids = ids(rows, loaded.reader.as_ref());
        let flat: Vec<Vec<i64>> = ids.ids.chunks(LENGTH).map(<[i64]>::to_vec).collect();
        let body = write_ids(&ids);
        let work = vec![(body, rows)];
        row(
            &format!("npy, {rows:>2} rows of {LENGTH} a request"),
            &program,
            "application/x-npy",
            &work,
            panels,
            &flat,
            rows,
            options,
        );
        let work: Vec<(Vec<u8>, usize)> =
            texts.chunks(rows).map(|texts| json_body(texts, loaded.reader.as_ref())).collect();
        row(
            &format!("JSON, {rows:>2} texts a request"),
            &program,
            "application/json",
            &work,
            panels,
            &text_rows,
            rows,
            options,
        );
    }
    load::overload(&program, &write_ids(&ids(8, loaded.reader.as_ref())), options.seconds * 4.0);
}

/// What one round gave.
#[derive(Clone, Copy)]
struct Rate {
    /// Rows a second by the clock: what else runs on the machine counts too.
    by_clock: f64,
    /// Rows a second of the processor's time.
    by_processor: f64,
}

/// What `work` comes to, which gives its rows, in the process `pid`.
fn rate(pid: u32, work: impl FnOnce() -> usize) -> Rate {
    let (started, before) = (Instant::now(), load::processor_seconds(pid));
    let rows = work() as f64;
    Rate {
        by_clock: rows / started.elapsed().as_secs_f64(),
        by_processor: rows / (load::processor_seconds(pid) - before),
    }
}

/// Served and bare in turns.
#[allow(clippy::too_many_arguments, reason = "it is one table's line")]
fn row(
    name: &str,
    program: &Program,
    media_type: &str,
    work: &[(Vec<u8>, usize)],
    panels: &[Arc<Panel>],
    rows: &[Vec<i64>],
    together: usize,
    options: &Options,
) {
    let time = Duration::from_secs_f64(options.seconds);
    let served = || rate(program.pid(), || load::closed(program.address, CONNECTIONS, media_type, work, time));
    let bare = || rate(std::process::id(), || bare(panels, rows, together, time));
    // The first of each warms up.
    let (_, _) = (served(), bare());
    let rounds: Vec<(Rate, Rate)> = (0..ROUNDS)
        .map(|round| {
            if round % 2 == 0 {
                let bare = bare();
                return (served(), bare);
            }
            (served(), bare())
        })
        .collect();
    let of = |what: &dyn Fn(&(Rate, Rate)) -> f64| median(&mut rounds.iter().map(what).collect::<Vec<_>>());
    println!(
        "  {name:<32} {:>7.0} {:>7.0} {:>6.1} % | {:>7.0} {:>7.0} {:>6.1} %",
        of(&|(served, _)| served.by_clock),
        of(&|(_, bare)| bare.by_clock),
        of(&|(served, bare)| 100.0 * served.by_clock / bare.by_clock),
        of(&|(served, _)| served.by_processor),
        of(&|(_, bare)| bare.by_processor),
        of(&|(served, bare)| 100.0 * served.by_processor / bare.by_processor),
    );
}

/// Rows run by threads that do nothing else, as many together as a request has.
fn bare(panels: &[Arc<Panel>], rows: &[Vec<i64>], together: usize, time: Duration) -> usize {
    let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
    let (count, started) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for (thread, panel) in panels.iter().enumerate() {
            let (count, rows) = (&count, &rows);
            scope.spawn(move || {
                let reader = panel.reader.as_ref();
                let batches: Vec<&[&[i64]]> = rows.chunks(together.min(reader.most_rows())).collect();
                let mut at = thread * batches.len() / panels.len();
                while started.elapsed() < time {
                    let batch = batches[at % batches.len()];
                    reader.run(batch).unwrap();
                    count.fetch_add(batch.len(), Ordering::Relaxed);
                    at += 1;
                }
            });
        }
    });
    count.load(Ordering::Relaxed)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Rows of ids that any vocabulary of a few hundred tokens knows.
fn ids(rows: usize, reader: &dyn Reader) -> Ids {
    let begin = reader.rows("you are all vermin and should leave this country").into_iter().next().unwrap();
    let id = |place: usize| match place % LENGTH {
        0 => begin[0],
        last if last == LENGTH - 1 => *begin.last().unwrap(),
        _ => 5 + (place as i64 * 131) % 200,
    };
    Ids { rows, length: LENGTH, ids: (0..rows * LENGTH).map(id).collect() }
}

/// The committed behaviours' texts, those that the graph has to run for.
fn texts(reader: &dyn Reader, made_up: bool) -> Vec<String> {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/scoring/behaviours/suite.json");
    let suite: Value = serde_json::from_slice(&std::fs::read(suite).unwrap()).unwrap();
    let cases = suite["behaviours"].as_array().unwrap().iter().flat_map(|one| one["cases"].as_array().unwrap());
    let texts = cases.filter_map(|case| case.as_str().map(str::to_owned));
    let mut texts: Vec<String> = texts.filter(|text| made_up || !reader.rows(text).is_empty()).collect();
    // As many as fill requests of 64.
    texts.truncate(texts.len() / 64 * 64);
    assert!(!texts.is_empty(), "no text reaches the model");
    texts
}

/// A request and the rows that it costs.
fn json_body(texts: &[String], reader: &dyn Reader) -> (Vec<u8>, usize) {
    let instances: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
    let rows = texts.iter().map(|text| reader.rows(text).len()).sum();
    (json!({ "instances": instances }).to_string().into_bytes(), rows)
}
