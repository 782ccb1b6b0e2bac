//! The table of decisions is away for an hour, for ten seconds; a message ends every process that takes it up. What that costs beside the
//! same posts without it, and what must hold all the same.

use crate::check::Checker;
use crate::posts::{Part, Posts};
use crate::run::Score;
use crate::{planted, service};
use fastrand::Rng;
use scoring::Judge;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use world::lambda::{self, Climate, MAX_RECEIVES, Message, block_on};
use world::program::World;
use world::{Fault, Wire};

type Judges = [Arc<Judge>; 2];

/// Everything is decided this long after an outage.
const RECOVERED: Duration = Duration::from_secs(600);
/// And this long after a hiccup.
const CAUGHT_UP: Duration = Duration::from_secs(60);
/// What is in a batch with a message that ends processes is decided after this: three deliveries, and what it is set apart by.
const UNHARMED: Duration = Duration::from_secs(1_500);
/// Calls of the function beside those of the same posts without the outage, at most.
const MOST_CALLS: f64 = 1.2;
/// Of a few posts, to which a hiccup costs more than they do.
const ANY_CALLS: f64 = f64::INFINITY;
/// No message is received more often in an hour: 20 times by the queue's visibility timeout of 180 s, seven in the first minute, when a
/// message waits for the next try only, and once in each pause after the table is back.
const MOST_RECEIVES: u32 = 36;

/// How a table is away.
const WAYS: [Fault; 4] = [Fault::Silent, Fault::Refused, Fault::FailedBefore, Fault::Throttled];

/// Posts that arrive, and a table that is away from the first of them to the last.
struct Outage {
    seed: u64,
    /// Posts a second.
    rate: usize,
    lasts: Duration,
    /// Posts come in gusts, so that batches fill: one every so often.
    gust: Duration,
    environments: usize,
    /// Everything is decided this long after it.
    over: Duration,
    /// Calls of the function beside those of the same posts without it, at most.
    most_calls: f64,
}

/// What a run came to.
struct Seen {
    posts: usize,
    calls: usize,
    invocations: usize,
    failed: usize,
    most_receives: u32,
    /// After the last post arrived, until the last was settled.
    after: Duration,
    violations: BTreeSet<String>,
}

impl Outage {
    fn way(&self) -> Fault {
        WAYS[self.seed as usize % WAYS.len()]
    }

    fn climate(&self, away: bool) -> Climate {
        let (away, frozen) = (away.then(|| (service::DECISIONS, self.way())), Duration::from_secs(1));
        Climate { away, storm: self.lasts, environments: self.environments, frozen, ..Climate::calm() }
    }

    /// Runs the posts, with the table or without it.
    fn run(&self, judges: &Judges, away: bool) -> Seen {
        let gusts = self.lasts.as_secs() / self.gust.as_secs();
        let posts = Posts::generate(self.seed, self.rate * self.lasts.as_secs() as usize);
        let a_gust = posts.messages.len().div_ceil(gusts as usize);
        let messages = posts.messages.iter().enumerate().map(|(number, sent)| {
            Message::new(number, sent.body.clone(), sent.parts.clone(), self.gust * (number / a_gust) as u32)
        });
        run(judges, self.seed, &posts, messages, &self.climate(away))
    }

    /// Runs the posts both ways; what is wrong.
    fn goes_wrong(&self, judges: &Judges) -> BTreeSet<String> {
        self.wrong(&self.run(judges, true), &self.run(judges, false))
    }

    /// What is wrong with a run without the table beside one with it.
    fn wrong(&self, without: &Seen, with: &Seen) -> BTreeSet<String> {
        let mut wrong = without.violations.clone();
        wrong.extend(with.violations.iter().map(|wrong| format!("with the table: {wrong}")));
        let mut holds = |holds: bool, what: String| _ = (!holds).then(|| wrong.insert(what));
        let times = without.calls as f64 / with.calls as f64;
        holds(without.after <= self.over, format!("the last is settled {} s after it", without.after.as_secs()));
        holds(times <= self.most_calls, format!("{times:.2} times the calls"));
        holds(without.most_receives <= MOST_RECEIVES, format!("a message is received {} times", without.most_receives));
        wrong
    }
}

fn run(
    judges: &Judges,
    seed: u64,
    posts: &Posts,
    messages: impl Iterator<Item = Message<Part>>,
    climate: &Climate,
) -> Seen {
    block_on(seed, async {
        let cloud = service::cloud(posts, &judges[0]).await;
        let wire = Wire::new(&cloud, seed);
        let checker = Checker::new(&cloud, posts, &judges[0].model);
        let (function, rng) = (Score { judges, wire: &wire }, Rng::with_seed(seed));
        let ran = lambda::run(&function, &wire, climate, rng, messages.collect(), checker).await;
        let mut checker = ran.watch;
        let totals = checker.at_the_end(&ran.in_flight);
        if totals.in_flight > 0 {
            checker.wrong(format!("{} posts are still in flight", totals.in_flight));
        }
        if ran.dead_letters > 0 {
            checker.wrong(format!("{} messages are dead", ran.dead_letters));
        }
        Seen {
            posts: totals.decided + totals.quarantined + totals.in_flight,
            calls: wire.calls().values().sum(),
            invocations: ran.invocations,
            failed: ran.failed,
            most_receives: ran.most_receives,
            after: ran.settled.saturating_sub(climate.storm),
            violations: checker.violations,
        }
    })
}

/// Ten messages at once where little else is sent, one of which ends every process that has it.
fn killer(judges: &Judges, seed: u64) -> BTreeSet<String> {
    let posts = Posts::generate(seed, 12);
    let mut messages = posts.messages.iter().enumerate();
    let one = (seed as usize) % posts.messages.len();
    let killing = posts.messages[one].parts.clone();
    let queue = messages.by_ref().map(|(number, sent)| {
        let message = Message::new(number, sent.body.clone(), sent.parts.clone(), Duration::ZERO);
        if number == one { message.killing() } else { message }
    });
    // It comes often enough in the hour that a run lasts.
    let climate = Climate { receives: 12, environments: 1, ..Climate::calm() };
    let seen = run(judges, seed, &posts, queue, &Climate { storm: Duration::ZERO, ..climate });
    // It alone is not decided.
    let own = |wrong: &String| {
        wrong.contains("in flight") || wrong.contains("are dead") || wrong.contains(&format!("{killing:?}"))
    };
    let mut wrong: BTreeSet<String> = seen.violations.into_iter().filter(|wrong| !own(wrong)).collect();
    if seen.after > UNHARMED {
        wrong.insert(format!("it takes others along for {} s", seen.after.as_secs()));
    }
    wrong
}

/// An hour at so many posts a second, by a seed, which says how the table is away.
pub fn hour(world: &World<Judges>, seed: u64, rate: usize) -> bool {
    let (lasts, gust) = (Duration::from_secs(3_600), Duration::from_secs(10));
    let outage = Outage { seed, rate, lasts, gust, environments: 20, over: RECOVERED, most_calls: MOST_CALLS };
    show(world, "an hour", &outage)
}

/// Runs with the table and without it, and prints what they came to; whether all is well.
fn show(world: &World<Judges>, name: &'static str, outage: &Outage) -> bool {
    let mut seen = Vec::new();
    world.each(name, 0..2, |judges, with| outage.run(judges, with == 0), |with, run| seen.push((with, run)));
    seen.sort_by_key(|(with, _)| *with);
    let [(_, without), (_, with)] = seen.as_slice() else { return false };
    let wrong = outage.wrong(without, with);
    println!(
        "{name} without the decisions table ({:?}), {} posts a second: {} posts, the last settled {} s after it, none received more than {} times",
        outage.way(),
        outage.rate,
        without.posts,
        without.after.as_secs(),
        without.most_receives,
    );
    println!(
        "    {} calls of the function, {:.3} times those with the table; {} invocations, {} of which failed at once, beside {}",
        without.calls,
        without.calls as f64 / with.calls as f64,
        without.invocations,
        without.failed,
        with.invocations,
    );
    wrong.iter().take(10).for_each(|wrong| eprintln!("{name} without the table, seed {}: {wrong}", outage.seed));
    println!("    violations {}", wrong.len());
    wrong.is_empty()
}

/// What goes wrong under a seed.
type Check = fn(&Judges, u64) -> BTreeSet<String>;

/// Faults planted in what deals with outages, what each does, and what sees it.
const FAULTS: [(&str, &str, Check); 4] = [
    ("no-back-off", "nobody says how soon a message comes again", |judges, seed| hiccup(seed).goes_wrong(judges)),
    ("breaker-never-opens", "what cannot be stored is tried again and again", |judges, seed| {
        away(seed).goes_wrong(judges)
    }),
    ("breaker-never-closes", "what was left alone once is left alone for ever", |judges, seed| {
        away(seed).goes_wrong(judges)
    }),
    ("suspects-stay-together", "what ends a process comes back with its neighbours", killer),
];

/// A quarter of an hour, with few posts.
fn away(seed: u64) -> Outage {
    let (lasts, gust) = (Duration::from_secs(900), Duration::from_secs(10));
    Outage { seed, rate: 10, lasts, gust, environments: 2, over: RECOVERED, most_calls: MOST_CALLS }
}

fn hiccup(seed: u64) -> Outage {
    let (lasts, gust) = (Duration::from_secs(10), Duration::from_secs(1));
    Outage { seed, rate: 20, lasts, gust, environments: 3, over: CAUGHT_UP, most_calls: ANY_CALLS }
}

/// A short form of everything: each way in which a table can be away, and every planted fault.
pub fn short(world: &World<Judges>) -> bool {
    let judges = (world.prepare)();
    let mut fine = true;
    for seed in 0..WAYS.len() as u64 {
        fine &= show(world, "a quarter of an hour", &away(seed));
        let mut wrong = hiccup(seed).goes_wrong(&judges);
        wrong.extend(killer(&judges, seed));
        wrong.iter().for_each(|wrong| eprintln!("a hiccup, or a message that ends processes, seed {seed}: {wrong}"));
        fine &= wrong.is_empty();
    }
    for (name, does, sees) in FAULTS {
        planted::plant(name);
        let seen = (0..8).find_map(|seed| sees(&judges, seed).into_iter().next());
        planted::plant("");
        println!("planted {name} ({does}): {}", seen.as_deref().unwrap_or("NOT CAUGHT"));
        fine &= seen.is_some();
    }
    assert_eq!(MAX_RECEIVES, 100, "as in template.yaml");
    fine
}
