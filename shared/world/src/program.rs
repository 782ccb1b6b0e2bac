//! The program of a function's fault world: arguments, runs on all cores, tables, and a last line with what it came to.

use crate::cuts::Table;
use crate::lambda::Climate;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Violations that are printed; the others are counted.
const SHOWN: usize = 20;

/// What the program is told.
#[derive(Parser)]
pub struct Arguments {
    /// How many runs.
    #[arg(long)]
    pub seeds: Option<u64>,
    /// Posts of a run.
    #[arg(long, default_value_t = 1_000)]
    pub posts: usize,
    /// The seed of the first run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The table of planted faults, as Markdown.
    #[arg(long)]
    pub planted: bool,
    /// The table of cuts, as Markdown.
    #[arg(long)]
    pub cuts: bool,
    /// An hour in which a table is away, at this many posts a second.
    #[arg(long, value_name = "RATE")]
    pub outage: Option<usize>,
    /// What `cargo test` hands to every test program.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<String>,
}

/// What a run came to.
pub struct Outcome {
    /// What was wrong.
    pub violations: BTreeSet<String>,
    /// Posts and poison.
    pub posts: usize,
    /// Calls, tries included.
    pub calls: usize,
    /// What else is counted, and what it is called.
    pub counts: Vec<(&'static str, usize)>,
    /// A digest of everything that happened.
    pub history: u64,
}

/// Looks at every line of a log for a word that may stand in none.
pub struct Log {
    canary: &'static str,
    leaks: AtomicUsize,
    /// Silence would prove nothing.
    lines: AtomicUsize,
}

impl Log {
    /// A log that nothing was written to.
    #[must_use]
    pub const fn without(canary: &'static str) -> Self {
        Self { canary, leaks: AtomicUsize::new(0), lines: AtomicUsize::new(0) }
    }

    /// Takes a line.
    pub fn line(&self, line: &str) {
        self.lines.fetch_add(1, Ordering::Relaxed);
        if line.contains(self.canary) {
            self.leaks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether lines came, and none with the word.
    fn is_fine(&self) -> bool {
        let leaks = self.leaks.load(Ordering::Relaxed);
        if leaks > 0 {
            println!("{leaks} lines of the log hold content");
        }
        let silent = self.lines.load(Ordering::Relaxed) == 0;
        if silent {
            println!("the log is empty: nothing was looked at");
        }
        leaks == 0 && !silent
    }
}

/// A function's fault world. Each thread has a `T` of its own, where that takes long to make.
pub struct World<T> {
    /// The function's name.
    pub name: &'static str,
    /// Makes what runs need.
    pub prepare: fn() -> T,
    /// Runs posts by a seed.
    pub run: fn(&T, u64, usize, &Climate) -> Outcome,
    /// The climate of a seed.
    pub climate: fn(u64) -> Climate,
    /// Plants a fault on this thread; the empty name plants none.
    pub plant: fn(&'static str),
    /// Names in the code, and what each does.
    pub faults: &'static [(&'static str, &'static str)],
    /// What it logged.
    pub log: &'static Log,
}

impl<T> World<T> {
    /// What was asked for on the command line; without arguments, as `cargo test` calls it, a `short` run of each part. `cuts` makes the
    /// table of cuts under a number of seeds; `outage` has an hour of it by a seed, at a number of posts a second.
    pub fn main(
        &self,
        cuts: impl Fn(u64) -> bool,
        outage: Option<fn(&Self, u64, usize) -> bool>,
        short: impl Fn(&Self) -> bool,
    ) -> ExitCode {
        let arguments = Arguments::parse();
        let fine = if arguments.planted {
            println!("{}:", self.name);
            self.planted(300, 200, true)
        } else if arguments.cuts {
            println!("{}:", self.name);
            cuts(16)
        } else if let Some(rate) = arguments.outage {
            let Some(outage) = outage else { return ExitCode::SUCCESS };
            outage(self, arguments.seed, rate)
        } else if let Some(seeds) = arguments.seeds {
            self.simulate(arguments.seed, seeds, arguments.posts)
        } else {
            short(self) & cuts(2) & self.planted(300, 200, false) & self.simulate(1, 100, 200)
        };
        ExitCode::from(u8::from(!(fine & self.log.is_fine())))
    }

    /// All faults together; one line at the end.
    fn simulate(&self, first: u64, seeds: u64, posts: usize) -> bool {
        let started = Instant::now();
        let (mut violations, mut shown, mut ran, mut calls) = (0, 0, 0, 0);
        let mut counts: Vec<(&'static str, usize)> = Vec::new();
        self.each(
            "all faults",
            first..first + seeds,
            |prepared, seed| (self.run)(prepared, seed, posts, &(self.climate)(seed)),
            |seed, outcome| {
                violations += outcome.violations.len();
                for violation in &outcome.violations {
                    if shown < SHOWN {
                        eprintln!(
                            "{}, seed {seed}: {violation}\n    again: make simulate SEEDS=1 POSTS={posts} SEED={seed}",
                            self.name
                        );
                    }
                    shown += 1;
                }
                ran += outcome.posts;
                calls += outcome.calls;
                counts.resize(outcome.counts.len(), ("", 0));
                for (sum, (name, count)) in counts.iter_mut().zip(outcome.counts) {
                    *sum = (name, sum.1 + count);
                }
            },
        );
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        println!("{}: {}, {calls} calls", self.name, counts.join(", "));
        println!("posts {ran}, seeds {seeds}, violations {violations}, {:.1} s", started.elapsed().as_secs_f64());
        violations == 0
    }

    /// A seed is a run: twice the same seed, twice the same history.
    #[must_use]
    pub fn repeats(&self) -> bool {
        let mut histories = Vec::new();
        self.each(
            "the same again",
            0..6,
            |prepared, number| {
                let seed = number / 2 + 1;
                let outcome = (self.run)(prepared, seed, 300, &(self.climate)(seed));
                (outcome.history, outcome.counts, outcome.calls)
            },
            |number, history| histories.push((number, history)),
        );
        histories.sort_by_key(|(number, _)| *number);
        let same = histories.chunks(2).all(|pair| pair[0].1 == pair[1].1);
        let distinct: BTreeSet<u64> = histories.iter().map(|(_, history)| history.0).collect();
        println!("three seeds twice: {}", if same && distinct.len() == 3 { "the same histories" } else { "DIFFERENT" });
        same && distinct.len() == 3
    }

    /// Every planted fault has to be caught.
    fn planted(&self, posts: usize, most: u64, table: bool) -> bool {
        let mut caught = Vec::new();
        self.each(
            "planted faults",
            0..self.faults.len() as u64,
            |prepared, number| {
                (self.plant)(self.faults[number as usize].0);
                let caught = (1..=most).find_map(|seed| {
                    let outcome = (self.run)(prepared, seed, posts, &(self.climate)(seed));
                    outcome.violations.into_iter().next().map(|by| (seed, by))
                });
                (self.plant)("");
                caught
            },
            |number, found| caught.push((number as usize, found)),
        );
        caught.sort_by_key(|(number, _)| *number);
        if table {
            println!("| planted fault | what it does | seeds | seen |\n|---|---|---|---|");
            for (number, found) in &caught {
                let (name, does) = self.faults[*number];
                match found {
                    Some((seeds, by)) => println!("| {name} | {does} | {seeds} | {} |", by.replace('|', "/")),
                    None => println!("| {name} | {does} | NOT CAUGHT in {most} | |"),
                }
            }
        }
        for (number, _) in caught.iter().filter(|(_, found)| found.is_none()) {
            println!("the planted fault {} was not caught", self.faults[*number].0);
        }
        let missed = caught.iter().filter(|(_, found)| found.is_none()).count();
        println!("planted faults {}, not caught {missed}", caught.len());
        missed == 0
    }

    /// Runs `work` for each number on all cores, with progress shown.
    pub fn each<R: Send>(
        &self,
        title: &'static str,
        numbers: Range<u64>,
        work: impl Fn(&T, u64) -> R + Sync,
        mut take: impl FnMut(u64, R) + Send,
    ) {
        let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {elapsed} (left {eta})").unwrap();
        let bar = ProgressBar::new(numbers.end - numbers.start).with_style(style).with_message(title);
        let next = AtomicU64::new(numbers.start);
        let take = Mutex::new(&mut take);
        let (prepare, numbers) = (self.prepare, &numbers);
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    let prepared = prepare();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= numbers.end {
                            return;
                        }
                        let done = work(&prepared, number);
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
}

/// Prints a table of cuts under these headings, one for each part of a state; whether nothing was wrong.
pub fn print_cuts<S>(table: &Table<S>, headings: &[&str], shown: impl Fn(&S) -> Vec<String>) -> bool {
    let line = |cells: &[String]| println!("| {} |", cells.join(" | "));
    let mut cells: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    cells.extend(["points", "lost", "doubled or otherwise wrong"].map(str::to_owned));
    line(&cells);
    println!("|{}", "---|".repeat(cells.len()));
    for (state, row) in &table.rows {
        let mut cells = shown(state);
        cells.extend([row.points, row.lost, row.wrong].map(|number| number.to_string()));
        line(&cells);
    }
    for violation in table.violations.iter().take(SHOWN) {
        eprintln!("{violation}");
    }
    println!("points {}, pairs {}, violations {}", table.points, table.pairs, table.violations.len());
    table.violations.is_empty()
}

/// Numbers in a row, as cells of a table.
pub fn cells<const N: usize>(numbers: [impl Display; N]) -> Vec<String> {
    numbers.iter().map(ToString::to_string).collect()
}
