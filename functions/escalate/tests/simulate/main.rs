//! The fault world of second opinions: the function as it is deployed, over an AWS in memory, in virtual time, with everything going
//! wrong by a seed. Without arguments, as `cargo test` calls it, a short run of each part; see README.md beside this file.
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
mod stub;

use service::Prepared;
use std::process::ExitCode;
use world::lambda::Climate;
use world::program::{Log, World, cells, print_cuts};

static LOG: Log = Log::without(posts::CANARY);

fn main() -> ExitCode {
    runtime::telemetry::redirect(|line| LOG.line(line));
    runtime::silence_panics();
    let world = World {
        name: "escalate",
        prepare: service::prepare,
        run: run::run,
        climate: run::climate,
        plant: planted::plant,
        faults: &planted::FAULTS,
        log: &LOG,
    };
    world.main(cut, None, |world| world.repeats() & calm(world, 10, 200))
}

/// Where nothing goes wrong, nothing is done without but what is late or gone.
fn calm(world: &World<Prepared>, seeds: u64, posts: usize) -> bool {
    let mut violations = Vec::new();
    world.each(
        "nothing goes wrong",
        1..seeds + 1,
        |prepared, seed| run::run(prepared, seed, posts, &Climate { reviewers: true, ..Climate::calm() }),
        |_, outcome| violations.extend(outcome.violations),
    );
    violations.iter().take(10).for_each(|violation| eprintln!("{violation}"));
    println!("nothing goes wrong: violations {}", violations.len());
    violations.is_empty()
}

/// Cuts at every await point.
fn cut(seeds: u64) -> bool {
    let table = cuts::exhaust(&service::prepare(), seeds);
    print_cuts(&table, &["decided again at the cut", "sent", "quarantined"], |&(decided, sent, kept)| {
        cells([decided, sent, kept])
    })
}
