//! The table at the end: medians of all rounds, with the least and the most.

use crate::aws::{Calls, Outcome};
use crate::function::{Kind, MEMORY_MB, Memory, Setup, Spent};
use crate::posts::Mix;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One process on one mix, after its warm-up.
pub struct Measured {
    pub kind: Kind,
    pub mix: usize,
    pub posts: usize,
    pub ready: Duration,
    pub spent: Spent,
    pub memory: Memory,
    pub calls: Calls,
}

/// One start.
pub struct Start {
    pub kind: Kind,
    pub ready: Duration,
    pub resident: u64,
}

/// How far two functions agree on the same posts.
#[derive(Default)]
pub struct Agreement {
    posts: usize,
    scores: usize,
    decisions: usize,
    reasons: usize,
    sent_alike: bool,
}

impl Agreement {
    pub fn add(&mut self, ours: &Outcome, python: &Outcome) {
        self.sent_alike = (self.posts == 0 || self.sent_alike) && ours.sent == python.sent;
        for (key, decided) in &ours.decisions {
            let other = python.decisions.get(key);
            self.posts += 1;
            self.scores += usize::from(other.is_some_and(|other| other.score == decided.score));
            self.decisions += usize::from(other.is_some_and(|other| other.decision == decided.decision));
            self.reasons += usize::from(other.is_some_and(|other| other.reasons == decided.reasons));
        }
    }
}

/// Everything that was measured.
pub struct Report {
    machine: String,
    posts: usize,
    warm_up: usize,
    pub starts: Vec<Start>,
    pub rounds: Vec<Measured>,
    pub agreement: [Agreement; 2],
    /// What ours left behind, by mix.
    pub outcomes: [Option<Outcome>; 2],
    pub tenfold: Option<[Spent; 2]>,
}

/// Median, least and most.
struct Spread(Vec<f64>);

impl Spread {
    fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) { f64::midpoint(self.0[middle - 1], self.0[middle]) } else { self.0[middle] }
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        write!(f, "{:.digits$} ({least:.digits$} to {most:.digits$})", self.median())
    }
}

const MIB: f64 = 1024.0 * 1024.0;

impl Report {
    pub fn new(setup: &Setup, data: &Path, posts: usize, warm_up: usize) -> Self {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| cpu.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(": "));
        let model = field("model name").map_or("an unknown processor", |(_, model)| model);
        let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
        let place = match setup.processors {
            Some((driver, function)) => format!("driver on processor {driver}, function on {function}, starts on both"),
            None => {
                "driver and function not bound to processors of their own (one processor, or no taskset)".to_owned()
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let date = domain::Timestamp::from_millis(now.try_into().unwrap_or(0)).to_string();
        let shown = setup.bootstrap.strip_prefix(&setup.root).unwrap_or(&setup.bootstrap).display();
        let machine =
            format!("{model}, {cores} cores; {place}\n{}; {shown}; corpora from {}", &date[..10], data.display());
        Self {
            machine,
            posts,
            warm_up,
            starts: Vec::new(),
            rounds: Vec::new(),
            agreement: Default::default(),
            outcomes: Default::default(),
            tenfold: None,
        }
    }

    fn spread(&self, kind: Kind, mix: usize, value: impl Fn(&Measured) -> f64) -> Option<Spread> {
        let of: Spread = self.rounds.iter().filter(|one| one.kind == kind && one.mix == mix).map(value).collect();
        (!of.0.is_empty()).then_some(of)
    }

    pub fn print(&self, mixes: &[Mix]) {
        println!("{}", self.machine);
        println!(
            "{} posts a round after {} to warm up, in batches of ten; medians of {} rounds, in turns (least to most)\n",
            self.posts,
            self.warm_up,
            self.spread(Kind::Ours, 0, |_| 0.0).map_or(0, |spread| spread.0.len())
        );
        println!("| | moderato | python | ratio | goal |\n|---|---|---|---|---|");
        for (number, mix) in mixes.iter().enumerate() {
            let rate = |one: &Measured| one.posts as f64 / one.spent.wall.as_secs_f64();
            let cpu = |one: &Measured| one.spent.cpu.as_secs_f64() * 1e6 / one.posts as f64;
            self.row(&format!("posts a second, one core, {}", mix.name), number, rate, 0, true, "1.5, aim 3");
            self.row(&format!("CPU µs a post, {}", mix.name), number, cpu, 0, false, "");
            let (ours, alike) = (self.spread(Kind::Ours, number, rate), self.spread(Kind::Alike, number, rate));
            print_row(
                &format!("posts a second, {}, Python reading the same parts", mix.name),
                ours,
                alike,
                0,
                true,
                "1.4",
            );
        }
        let milliseconds = |kind| -> Option<Spread> {
            let of = self.starts.iter().filter(|one| one.kind == kind).map(|one| one.ready);
            let rounds = self.rounds.iter().filter(|one| one.kind == kind).map(|one| one.ready);
            let all: Spread = of.chain(rounds).map(|ready| ready.as_secs_f64() * 1e3).collect();
            (!all.0.is_empty()).then_some(all)
        };
        print_row(
            "exec to first poll, ms",
            milliseconds(Kind::Ours),
            milliseconds(Kind::Python),
            1,
            false,
            "1/6, aim 1/12",
        );
        let started = |kind| -> Option<Spread> {
            let all: Spread =
                self.starts.iter().filter(|one| one.kind == kind).map(|one| one.resident as f64 / MIB).collect();
            (!all.0.is_empty()).then_some(all)
        };
        print_row("resident at the first poll, MiB", started(Kind::Ours), started(Kind::Python), 1, false, "");
        self.row(
            &format!("resident after {} posts, MiB", self.posts + self.warm_up),
            0,
            |one| one.memory.now as f64 / MIB,
            1,
            false,
            "1/2, aim 1/3",
        );
        self.row("peak resident, MiB", 0, |one| one.memory.peak as f64 / MIB, 1, false, "");
        println!();
        for (number, mix) in mixes.iter().enumerate() {
            self.print_mix(number, mix);
        }
        if let Some([once, tenfold]) = &self.tenfold {
            let wall = tenfold.wall.as_secs_f64() / once.wall.as_secs_f64();
            let cpu = tenfold.cpu.as_secs_f64() / once.cpu.as_secs_f64();
            println!(
                "10 times the posts ({} and {}): {wall:.2} times the time, {cpu:.2} times the CPU (goal 10.5)",
                self.posts,
                10 * self.posts
            );
        }
    }

    fn row(&self, name: &str, mix: usize, value: impl Fn(&Measured) -> f64, digits: usize, higher: bool, goal: &str) {
        let (ours, python) = (self.spread(Kind::Ours, mix, &value), self.spread(Kind::Python, mix, &value));
        print_row(name, ours, python, digits, higher, goal);
    }

    fn print_mix(&self, number: usize, mix: &Mix) {
        println!("{}: {}", mix.name, mix.description);
        let agreement = &self.agreement[number];
        if agreement.posts > 0 {
            let share = |count: usize| format!("{count} ({:.3} %)", 100.0 * count as f64 / agreement.posts as f64);
            println!(
                "  of {} decisions agree: scores to six decimals {}, decisions {}, reasons {}; tasks and actions sent: {}",
                agreement.posts,
                share(agreement.scores),
                share(agreement.decisions),
                share(agreement.reasons),
                if agreement.sent_alike { "the same" } else { "NOT the same" }
            );
            if agreement.scores < agreement.posts {
                println!(
                    "    the rest: Python's folded reading leaves out look-alike letters of other scripts and names some emoji otherwise"
                );
            }
        }
        let Some(outcome) = &self.outcomes[number] else { return };
        let mut sizes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for decided in outcome.decisions.values() {
            sizes.entry(&decided.decision).or_default().push(decided.bytes);
        }
        let all = outcome.decisions.len();
        for (decision, sizes) in &sizes {
            println!(
                "  {decision}: {:.1} % of decisions, items of {:.0} bytes on average, {} at most",
                100.0 * sizes.len() as f64 / all as f64,
                sizes.iter().sum::<usize>() as f64 / sizes.len() as f64,
                sizes.iter().max().unwrap()
            );
        }
        let rounds: Vec<_> = self.rounds.iter().filter(|one| one.kind == Kind::Ours && one.mix == number).collect();
        let posts: f64 = rounds.iter().map(|one| one.posts as f64).sum();
        let mut calls: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, count) in rounds.iter().flat_map(|one| &one.calls.0) {
            *calls.entry(name).or_default() += *count as f64 / posts;
        }
        let listed: Vec<_> = calls.iter().map(|(name, count)| format!("{name} {count:.3}")).collect();
        println!("  AWS calls a post: {:.3} (goal 0.40, aim 0.30): {}", calls.values().sum::<f64>(), listed.join(", "));
        let logged = rounds.iter().map(|one| one.spent.logged as f64).sum::<f64>() / posts;
        println!("  log bytes a post: {logged:.0} (goal 250, aim 150)");
        let cpu_ms = self.spread(Kind::Ours, number, |one| one.spent.cpu.as_secs_f64() * 1e3 * 10.0 / one.posts as f64);
        let units: usize = sizes.values().flatten().map(|bytes| bytes.div_ceil(1024)).sum();
        let usage = Usage {
            write_units: units as f64 / all as f64,
            calls,
            logged,
            cpu_ms: cpu_ms.map_or(0.0, |spread| spread.median()),
        };
        usage.print();
    }
}

fn print_row(name: &str, ours: Option<Spread>, python: Option<Spread>, digits: usize, higher: bool, goal: &str) {
    let shown =
        |spread: &Option<Spread>| spread.as_ref().map_or("skipped".to_owned(), |spread| format!("{spread:.digits$}"));
    let ratio = match (&ours, &python) {
        (Some(ours), Some(python)) if higher => format!("{:.2}", ours.median() / python.median()),
        (Some(ours), Some(python)) => format!("1/{:.1}", python.median() / ours.median()),
        _ => String::new(),
    };
    println!("| {name} | {} | {} | {ratio} | {goal} |", shown(&ours), shown(&python));
}

/// What a post uses of what is billed.
struct Usage<'a> {
    write_units: f64,
    calls: BTreeMap<&'a str, f64>,
    logged: f64,
    cpu_ms: f64,
}

/// List prices of us-east-1 in US dollars, November 2026, without free tiers. A million of each:
const WRITE_UNIT: f64 = 0.625;
const READ_UNIT: f64 = 0.125;
const SQS_REQUEST: f64 = 0.40;
const LAMBDA_REQUEST: f64 = 0.20;
/// A million gigabyte-seconds.
const GB_SECOND: [(&str, f64); 2] = [("x86", 16.6667), ("arm64", 13.3334)];
/// A gigabyte taken in by CloudWatch Logs.
const LOG_GB: f64 = 0.50;
/// Lambda's own lines about an invocation, start and report in JSON: an assumption.
const PLATFORM_LOG_BYTES: f64 = 500.0;
/// Three or four calls to AWS one after the other and the CPU: a cautious assumption about the time of a batch.
const CAUTIOUS_MS: f64 = 30.0;
const BATCH: f64 = 10.0;

impl Usage<'_> {
    fn print(&self) {
        let calls = |name: &str| self.calls.get(name).copied().unwrap_or(0.0);
        let writes = self.write_units * WRITE_UNIT;
        // Two rows a post, eventually consistent, half a unit each; what comes twice is read whole, revisions looked up.
        let repeats = (calls("BatchGetItem") - 1.0 / BATCH).max(0.0);
        let reads = (2.0 * 0.5 + repeats + 0.5 * calls("Query")) * READ_UNIT;
        let messages = (2.0 / BATCH + calls("SendMessageBatch")) * SQS_REQUEST;
        let requests = LAMBDA_REQUEST / BATCH;
        let logs = (self.logged + PLATFORM_LOG_BYTES / BATCH) * 1e6 / 1e9 * LOG_GB;
        let fixed = writes + reads + messages + requests + logs;
        println!(
            "  USD a million posts: writes {writes:.3}, reads {reads:.3}, SQS {messages:.3}, Lambda requests {requests:.3}, logs {logs:.3}; Lambda time on top, {MEMORY_MB} MB:"
        );
        for (time, ms) in
            [("the CPU measured here and no waiting", self.cpu_ms.ceil()), ("a cautious 30 ms a batch", CAUTIOUS_MS)]
        {
            let totals: Vec<_> = GB_SECOND
                .iter()
                .map(|(name, price)| {
                    let duration = ms / 1e3 * f64::from(MEMORY_MB) / 1024.0 * price / BATCH;
                    format!("{:.3} on {name}", fixed + duration)
                })
                .collect();
            println!("    {time}: {} in all (goal 1.50, aim 1.15)", totals.join(", "));
        }
    }
}
