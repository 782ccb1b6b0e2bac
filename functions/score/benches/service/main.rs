//! `make bench`: the function beside the same job in Python, in one run and in turns.
//!
//! Each stands as a process of its own on a processor of its own, behind the protocol of the Lambda Runtime API, with
//! a fake of DynamoDB, SQS and S3 that answers in microseconds (`aws.rs`). Both get the same batches; what they store
//! is compared post by post. Nothing here is timed against the local AWS of `make up`, which is slower than either.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a benchmark may fail loudly, and its counts are small"
)]

mod aws;
mod function;
mod lambda;
mod posts;
mod report;
mod server;

use aws::Outcome;
use clap::Parser;
use function::{Function, Kind, Processors, Setup};
use indicatif::{ProgressBar, ProgressStyle};
use posts::Mix;
use report::{Measured, Report, Start};
use std::path::PathBuf;
use std::rc::Rc;

/// Messages in a batch.
const BATCH: usize = 10;

#[derive(Parser)]
struct Options {
    /// Posts measured in each round, besides the warm-up.
    #[arg(long, env = "POSTS", default_value_t = 3_000)]
    posts: usize,
    /// Rounds of each mix: in each, one process of ours and one of Python's.
    #[arg(long, env = "ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// Starts of each, besides those of the rounds.
    #[arg(long, env = "STARTS", default_value_t = 10)]
    starts: usize,
    /// The executable of ours; by default the one of this build.
    #[arg(long, env = "BOOTSTRAP")]
    bootstrap: Option<PathBuf>,
    /// Folder of the public corpora.
    #[arg(long, env = "MODERATO_DATA", default_value = "../shared/data")]
    data: PathBuf,
    /// Python with the packages of infra/bench.txt; without it ours is measured alone.
    #[arg(long, default_value = ".tools/bench/bin/python")]
    python: PathBuf,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, run(options));
}

async fn run(options: Options) {
    let setup = Rc::new(Setup::new(options.bootstrap.as_deref(), &options.python));
    let mixes = posts::mixes(&setup.root, &options.data);
    let kinds: Vec<Kind> =
        [Kind::Ours, Kind::Python, Kind::Alike].into_iter().filter(|kind| setup.has(*kind)).collect();
    setup.write_parts(mixes.iter().flat_map(|mix| mix.texts.iter().map(String::as_str)));
    let warm_up = (options.posts / 5).max(10 * BATCH);
    let steps = kinds.len() * (options.starts + mixes.len() * options.rounds) + 1;
    let bar = ProgressBar::new(steps as u64).with_style(
        ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {pos}/{len} {msg}").unwrap().progress_chars("=> "),
    );
    let mut report = Report::new(&setup, &options.data, options.posts, warm_up);

    // The first of each reads its files from the disk, and does not count.
    for start in 0..=options.starts {
        for kind in &kinds {
            say(&bar, format!("start {start} of {}", kind.name()));
            let function = Function::start(&setup, *kind, Processors::Two).await;
            let ready = function.ready().await;
            if start > 0 {
                report.starts.push(Start { kind: *kind, ready, resident: function.memory().now });
                bar.inc(1);
            }
            function.stop().await;
        }
    }
    for round in 0..options.rounds {
        for (number, mix) in mixes.iter().enumerate() {
            let batches = batches(mix, (warm_up + options.posts) / BATCH, number as u64);
            let mut outcomes = Vec::new();
            for kind in &kinds {
                say(&bar, format!("round {} of {}, mix {}: {}", round + 1, options.rounds, mix.name, kind.name()));
                let (measured, outcome) = measure(&setup, *kind, number, &batches, warm_up / BATCH).await;
                report.rounds.push(measured);
                outcomes.push(outcome);
                bar.inc(1);
            }
            if let [ours, python, ..] = outcomes.as_slice() {
                report.agreement[number].add(ours, python);
            }
            report.outcomes[number] = Some(outcomes.swap_remove(0));
        }
    }
    say(&bar, "10 times the posts".to_owned());
    report.tenfold = Some(tenfold(&setup, &mixes[0], options.posts).await);
    bar.finish_and_clear();
    report.print(&mixes);
}

/// Where nobody watches a bar, a line says the same.
fn say(bar: &ProgressBar, what: String) {
    if bar.is_hidden() { eprintln!("    {what}") } else { bar.set_message(what) }
}

fn batches(mix: &Mix, count: usize, salt: u64) -> Vec<hyper::body::Bytes> {
    posts::batches(mix, count, BATCH, salt)
}

/// One process: warm up, then measure.
async fn measure(
    setup: &Rc<Setup>,
    kind: Kind,
    mix: usize,
    batches: &[hyper::body::Bytes],
    warm_up: usize,
) -> (Measured, Outcome) {
    let function = Function::start(setup, kind, Processors::One).await;
    let ready = function.ready().await;
    function.invoke(&batches[..warm_up]).await;
    let calls = function.calls();
    let before = function.reading().await;
    function.invoke(&batches[warm_up..]).await;
    let after = function.reading().await;
    let posts = (batches.len() - warm_up) * BATCH;
    let memory = function.memory();
    let calls = function.calls().since(&calls);
    let measured = Measured { kind, mix, posts, ready, spent: after.since(&before), memory, calls };
    (measured, function.stop().await)
}

/// Seconds of wall clock and of CPU for some posts, and for ten times as many, in one process each.
async fn tenfold(setup: &Rc<Setup>, mix: &Mix, posts: usize) -> [function::Spent; 2] {
    let warm_up = batches(mix, posts / BATCH, 77);
    let mut spent = Vec::new();
    for times in [1, 10] {
        let batches = batches(mix, times * posts / BATCH, 78);
        let function = Function::start(setup, Kind::Ours, Processors::One).await;
        function.ready().await;
        function.invoke(&warm_up).await;
        let before = function.reading().await;
        function.invoke(&batches).await;
        spent.push(function.reading().await.since(&before));
        function.stop().await;
    }
    [spent[0], spent[1]]
}
