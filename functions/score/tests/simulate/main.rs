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
mod outage;
mod planted;
mod posts;
mod run;
mod service;

use scoring::Judge;
use std::process::ExitCode;
use std::sync::Arc;
use world::Weather;
use world::lambda::Climate;
use world::program::{Log, World, cells, print_cuts};

static LOG: Log = Log::without(posts::CANARY);

fn main() -> ExitCode {
    runtime::telemetry::redirect(|line| LOG.line(line));
    runtime::silence_panics();
    let world = World {
        name: "score",
        prepare: service::judges,
        run: run::run,
        climate: Climate::stormy,
        plant: planted::plant,
        faults: &planted::FAULTS,
        log: &LOG,
    };
    world.main(cut, Some(outage::hour), |world| world.repeats() & throttling(world, 20, 300) & outage::short(world))
}

/// Calls under 5 % throttling against calls without.
fn throttling(world: &World<[Arc<Judge>; 2]>, seeds: u64, posts: usize) -> bool {
    let (mut throttled, mut calm, mut violations) = (0, 0, 0);
    world.each(
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
    print_cuts(&table, &["decided at the cut", "sent", "quarantined"], |&(decided, sent, kept)| {
        cells([decided, sent, kept])
    })
}
