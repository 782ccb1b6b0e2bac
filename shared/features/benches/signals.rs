//! What a bank of 100,000 entries costs: `cargo bench -p features --bench signals`. To start, in memory, and a post, beside the same posts
//! with an empty bank; then what the slowest patterns cost that are taken.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement may fail loudly")]

use features::signals::{Bank, Ready};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

const HEAD: &str = "schema: bank/1\nname: measured\nowner: nobody\npurpose: measurement\ninflect: yes\n";
const ENTRIES: usize = 100_000;
const RUNS: usize = 7;

/// Words that no language has, all different, of four to twelve letters; every tenth line is a phrase of three.
fn entries(letters: [&str; 2]) -> String {
    let [consonants, vowels] = letters.map(|letters| letters.chars().collect::<Vec<_>>());
    let word = |mut number: usize| {
        let mut word = String::new();
        while number > 0 || word.chars().count() < 4 {
            word.push(consonants[number % consonants.len()]);
            number /= consonants.len();
            word.push(vowels[number % vowels.len()]);
            number /= vowels.len();
        }
        word
    };
    let mut out = String::from("[words]\n");
    (0..ENTRIES * 9 / 10).for_each(|number| writeln!(out, "{}", word(number * 7 + 1_000)).unwrap());
    out.push_str("[phrases]\n");
    (0..ENTRIES / 10).for_each(|number| writeln!(out, "go {} all", word(number * 13 + 500)).unwrap());
    out
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// What this thread has had of the processor: a busy machine does not change it.
fn spent() -> Duration {
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(ran.split(' ').next().unwrap().parse().unwrap())
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = spent();
            work();
            spent() - started
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn main() {
    for (name, letters) in
        [("Latin", ["bcdfghjklmnpqrstvwxz", "aeiou"]), ("Cyrillic", ["бвгджзклмнпрстфхцчшщ", "аеиоу"])]
    {
        let source = format!("{HEAD}{}", entries(letters));
        let before = resident();
        let bank = Bank::load(&source).unwrap();
        let after = resident();
        let start = median(|| drop(black_box(Bank::load(&source).unwrap())));
        println!(
            "{name}: {} entries, {} bytes: start {start:?}, resident {:.1} MB more",
            bank.len(),
            source.len(),
            (after - before) as f64 / 1e6
        );
        let empty = Bank::load(HEAD).unwrap();
        let short = "I can't believe the go bakery near the station all closed at noon, does anybody know another one that is open on Sundays? #weekend";
        let long = short.repeat(8);
        let disguised = "g0 t0 th3 b a k e r y  n.e.a.r the stаtion: https://a.example/b-c-d #GoAllOut 😀 W H A T";
        for (what, text) in [("132 characters", short), ("1,056 characters", &long), ("disguised", disguised)] {
            let each = |work: &dyn Fn()| median(|| (0..2_000).for_each(|_| work())) / 2_000;
            let reading = each(&|| drop(black_box(Ready::of(text))));
            let ready = Ready::of(text);
            let with = each(&|| drop(black_box(bank.find(&ready))));
            let without = each(&|| drop(black_box(empty.find(&ready))));
            println!("  {what}: reading {reading:?}, search {with:?}, of an empty bank {without:?}");
        }
    }
    for pattern in [
        "(?:a?){30}a{30}",
        "[ab]*a[ab]{60}c",
        "(?:.*a){12}b",
        "(?:a|b|ab)*c",
        "(\\w+ )*x",
        "(?:x+x+)+y",
        "\\b\\w{1,8}\\d\\b",
    ] {
        let source = format!("{HEAD}[patterns]\n{pattern}\n");
        match Bank::load(&source) {
            Err(refused) => println!("{pattern}: {refused}"),
            Ok(bank) => {
                for unit in ["ab", "aaaa ", "xxxxx"] {
                    let text = unit.repeat(200_000 / unit.len());
                    let ready = Ready::of(&text);
                    let took = median(|| drop(black_box(bank.find(&ready))));
                    println!(
                        "{pattern} on {unit:?}: {:.3} us a byte of the text",
                        took.as_secs_f64() * 1e6 / text.len() as f64
                    );
                }
            }
        }
    }
}
