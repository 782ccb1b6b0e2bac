//! The fault world: the function as it is deployed, over an AWS in memory, in virtual time, with everything going wrong
//! by a seed. Without arguments, as `cargo test` calls it, a short run of each part; see README.md beside this file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail by panicking"
)]

mod check;
mod cuts;
mod planted;
mod posts;
mod run;
mod service;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use run::{Climate, Outcome};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use world::Weather;

/// Violations that are printed; the others are counted.
const SHOWN: usize = 20;

#[derive(Parser)]
struct Arguments {
    /// How many runs.
    #[arg(long)]
    seeds: Option<u64>,
    /// Posts of a run.
    #[arg(long, default_value_t = 1_000)]
    posts: usize,
    /// The seed of the first run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The table of planted faults, as Markdown.
    #[arg(long)]
    planted: bool,
    /// The table of cuts, as Markdown.
    #[arg(long)]
    cuts: bool,
    /// What `cargo test` hands to every test program.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<String>,
}

/// Lines of the log that said too much.
static LEAKS: AtomicUsize = AtomicUsize::new(0);
/// Lines of the log: silence would prove nothing.
static LINES: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    runtime::telemetry::redirect(|line| {
        LINES.fetch_add(1, Ordering::Relaxed);
        if line.contains(posts::CANARY) {
            LEAKS.fetch_add(1, Ordering::Relaxed);
        }
    });
    runtime::silence_panics();
    let arguments = Arguments::parse();
    let fine = if arguments.planted {
        planted(300, 200, true)
    } else if arguments.cuts {
        cut(16)
    } else if let Some(seeds) = arguments.seeds {
        simulate(arguments.seed, seeds, arguments.posts)
    } else {
        let twice = repeats() & throttling(20, 300);
        twice & cut(2) & planted(300, 200, false) & simulate(1, 100, 200)
    };
    let leaks = LEAKS.load(Ordering::Relaxed);
    if leaks > 0 {
        println!("{leaks} lines of the log hold content");
    }
    let silent = LINES.load(Ordering::Relaxed) == 0;
    if silent {
        println!("the log is empty: nothing was looked at");
    }
    ExitCode::from(u8::from(!fine || leaks > 0 || silent))
}

/// Runs `work` for each number on all cores, with progress shown.
fn each<T: Send>(
    title: &'static str,
    numbers: std::ops::Range<u64>,
    work: impl Fn(&[std::sync::Arc<scoring::Judge>; 2], u64) -> T + Sync,
    mut take: impl FnMut(u64, T) + Send,
) {
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {elapsed} (left {eta})").unwrap();
    let bar = ProgressBar::new(numbers.end - numbers.start).with_style(style).with_message(title);
    let next = AtomicU64::new(numbers.start);
    let take = Mutex::new(&mut take);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let judges = service::judges();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let done = work(&judges, number);
                    take.lock().unwrap()(number, done);
                    bar.inc(1);
                    // Where nobody watches a bar, a line says the same.
                    if bar.is_hidden() && bar.position().is_multiple_of((bar.length().unwrap_or(0) / 10).max(1)) {
                        eprintln!("    {title}: {} of {}", bar.position(), numbers.end - numbers.start);
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
}

/// All faults together; one line at the end.
fn simulate(first: u64, seeds: u64, posts: usize) -> bool {
    let started = Instant::now();
    let (mut violations, mut shown) = (0, 0);
    let mut sum = Sum::default();
    each(
        "all faults",
        first..first + seeds,
        |judges, seed| run::run(judges, seed, posts, &Climate::stormy(seed)),
        |seed, outcome| {
            violations += outcome.violations.len();
            for violation in &outcome.violations {
                if shown < SHOWN {
                    eprintln!("seed {seed}: {violation}\n    again: make simulate SEEDS=1 POSTS={posts} SEED={seed}");
                }
                shown += 1;
            }
            sum.add(&outcome);
        },
    );
    println!("{}", sum.shown());
    println!("posts {}, seeds {seeds}, violations {violations}, {:.1} s", sum.posts, started.elapsed().as_secs_f64());
    violations == 0
}

/// What happened in all runs together.
#[derive(Default)]
struct Sum {
    posts: usize,
    decided: usize,
    quarantined: usize,
    in_flight: usize,
    invocations: usize,
    cuts: usize,
    dead_letters: usize,
    repeated: usize,
    verdicts: usize,
    calls: usize,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        let totals = &outcome.totals;
        self.posts += totals.decided + totals.quarantined + totals.in_flight;
        self.decided += totals.decided;
        self.quarantined += totals.quarantined;
        self.in_flight += totals.in_flight;
        self.invocations += outcome.invocations;
        self.cuts += outcome.cuts;
        self.dead_letters += outcome.dead_letters;
        self.repeated += totals.repeated;
        self.verdicts += outcome.verdicts;
        self.calls += outcome.calls;
    }

    fn shown(&self) -> String {
        format!(
            "{} decided, {} quarantined, {} in flight when their run was interrupted; {} invocations, {} of them cut, \
             {} dead letters put back, {} tasks and actions sent again, {} verdicts of people, {} calls",
            self.decided,
            self.quarantined,
            self.in_flight,
            self.invocations,
            self.cuts,
            self.dead_letters,
            self.repeated,
            self.verdicts,
            self.calls
        )
    }
}

/// A seed is a run: twice the same seed, twice the same history.
fn repeats() -> bool {
    let histories = Mutex::new(Vec::new());
    each(
        "the same again",
        0..6,
        |judges, number| {
            let outcome = run::run(judges, number / 2 + 1, 300, &Climate::stormy(number / 2 + 1));
            (outcome.history, outcome.totals, outcome.calls)
        },
        |number, history| histories.lock().unwrap().push((number, history)),
    );
    let mut histories = histories.into_inner().unwrap();
    histories.sort_by_key(|(number, _)| *number);
    let same = histories.chunks(2).all(|pair| pair[0].1 == pair[1].1);
    let distinct: BTreeSet<u64> = histories.iter().map(|(_, history)| history.0).collect();
    println!("three seeds twice: {}", if same && distinct.len() == 3 { "the same histories" } else { "DIFFERENT" });
    same && distinct.len() == 3
}

/// Calls under 5 % throttling against calls without.
fn throttling(seeds: u64, posts: usize) -> bool {
    let (mut throttled, mut calm, mut violations) = (0, 0, 0);
    each(
        "throttling",
        1..seeds + 1,
        |judges, seed| {
            let weather = Weather::throttling(0.05);
            let with = run::run(judges, seed, posts, &Climate { weather, ..Climate::calm() });
            (with, run::run(judges, seed, posts, &Climate::calm()))
        },
        |_, (with, without)| {
            throttled += with.calls;
            calm += without.calls;
            violations += with.violations.len() + without.violations.len();
        },
    );
    let amplification = throttled as f64 / calm as f64;
    println!(
        "5 % of calls throttled, half whole, half in part: {amplification:.3} times the calls, violations {violations}"
    );
    amplification <= 1.15 && violations == 0
}

/// Cuts at every await point.
fn cut(seeds: u64) -> bool {
    let table = cuts::exhaust(&service::judges(), seeds);
    println!(
        "| decided at the cut | sent | quarantined | points | lost | doubled or otherwise wrong |\n|---|---|---|---|---|---|"
    );
    for ((decided, sent, kept), row) in &table.rows {
        println!("| {decided} | {sent} | {kept} | {} | {} | {} |", row.points, row.lost, row.wrong);
    }
    for violation in table.violations.iter().take(SHOWN) {
        eprintln!("{violation}");
    }
    println!("points {}, pairs {}, violations {}", table.points, table.pairs, table.violations.len());
    table.violations.is_empty()
}

/// Every planted fault has to be caught.
fn planted(posts: usize, most: u64, table: bool) -> bool {
    let mut caught = Vec::new();
    each(
        "planted faults",
        0..planted::FAULTS.len() as u64,
        |judges, number| planted::catch(judges, planted::FAULTS[number as usize].0, posts, most),
        |number, found| caught.push((number as usize, found)),
    );
    caught.sort_by_key(|(number, _)| *number);
    if table {
        println!("| planted fault | what it does | seeds | seen |\n|---|---|---|---|");
        for (number, found) in &caught {
            let (name, does) = planted::FAULTS[*number];
            match found {
                Some(found) => println!("| {name} | {does} | {} | {} |", found.seeds, found.by.replace('|', "/")),
                None => println!("| {name} | {does} | NOT CAUGHT in {most} | |"),
            }
        }
    }
    for (number, _) in caught.iter().filter(|(_, found)| found.is_none()) {
        println!("the planted fault {} was not caught", planted::FAULTS[*number].0);
    }
    let missed = caught.iter().filter(|(_, found)| found.is_none()).count();
    println!("planted faults {}, not caught {missed}", caught.len());
    missed == 0
}
