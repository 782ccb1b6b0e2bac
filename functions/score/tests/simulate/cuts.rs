//! The handler cut at every point where it awaits: a batch of ten that goes through everything, then delivered again.

use crate::check::Checker;
use crate::posts::Posts;
use crate::run::{BEGINS_MS, Cut, block_on, event};
use crate::service;
use runtime::Invocation;
use scoring::Judge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::Deadline;
use world::Wire;

/// Cut points at which the same stood there when the process ended, and what came of them.
#[derive(Default)]
pub struct Row {
    pub points: usize,
    /// Parts of messages that were lost.
    pub lost: usize,
    /// Everything else that was wrong: doubled, replaced, acknowledged too early.
    pub wrong: usize,
}

/// What stood there when the process ended, and how often.
#[derive(Default)]
pub struct Table {
    /// By decided, sent and quarantined at the cut.
    pub rows: BTreeMap<(usize, usize, usize), Row>,
    pub points: usize,
    pub pairs: usize,
    /// What was wrong after any of them.
    pub violations: BTreeSet<String>,
}

/// Delivers the batch with these cuts, one process after another, then once to its end. Gives the polls of the last
/// delivery and what stood there after the first.
fn deliver(judges: &[Arc<Judge>; 2], seed: u64, cuts: &[usize]) -> (usize, (usize, usize, usize), BTreeSet<String>) {
    let posts = Posts::ten();
    block_on(seed, async {
        let cloud = service::cloud(&posts, &judges[0]).await;
        let wire = Wire::new(&cloud, seed);
        let mut checker = Checker::new(&cloud, &posts, &judges[0].model);
        let mut after_first = None;
        let mut polls = 0;
        for left in cuts.iter().copied().map(Some).chain([None]) {
            let app = service::app(&judges[usize::from(left.is_none())], &wire).await;
            let deadline = Deadline::now() + Duration::from_secs(30);
            let invocation = Invocation { deadline, deadline_ms: BEGINS_MS + 30_000, cold_start: true };
            let bodies = posts.messages.iter().enumerate();
            let batch = event(bodies.map(|(number, sent)| (format!("m{number}"), sent.body.clone(), BEGINS_MS)));
            let mut cut = Cut { inner: Box::pin(score::handle(&app, batch, invocation)), left, polls: 0 };
            let answer = std::future::poll_fn(|context| std::pin::Pin::new(&mut cut).poll(context)).await;
            polls = cut.polls;
            drop(cut);
            // What was on its way when the process ended arrives, or not.
            tokio::time::sleep(Duration::from_secs(20)).await;
            after_first.get_or_insert(checker.progress());
            match answer {
                None => {}
                Some(response) if response.failures().next().is_some() => {
                    checker.wrong("the last delivery leaves something open though nothing goes wrong");
                }
                Some(_) => posts.messages.iter().for_each(|sent| checker.acknowledged(&sent.parts)),
            }
        }
        checker.at_the_end(&BTreeSet::new());
        (polls, after_first.unwrap(), checker.violations)
    })
}

/// Every single cut under each seed, and every pair of cuts under the first.
pub fn exhaust(judges: &[Arc<Judge>; 2], seeds: u64) -> Table {
    let mut table = Table::default();
    for seed in 0..seeds {
        let (polls, whole, wrong) = deliver(judges, seed, &[]);
        table.violations.extend(wrong);
        for cut in 1..polls {
            let (_, state, wrong) = deliver(judges, seed, &[cut]);
            table.points += 1;
            let row = table.rows.entry(state).or_default();
            row.points += 1;
            let lost = wrong.iter().filter(|wrong| wrong.starts_with("lost")).count();
            row.lost += lost;
            row.wrong += wrong.len() - lost;
            table.violations.extend(wrong.into_iter().map(|wrong| format!("seed {seed}, cut {cut}: {wrong}")));
        }
        if seed == 0 {
            assert!(
                whole.0 == 8 && whole.1 > 0 && whole.2 == 2,
                "eight posts decided, messages sent, two bodies kept: {whole:?}"
            );
            for (first, second) in (1..polls).flat_map(|first| (1..polls).map(move |second| (first, second))) {
                let (_, _, wrong) = deliver(judges, seed, &[first, second]);
                table.pairs += 1;
                table.violations.extend(wrong.into_iter().map(|wrong| format!("cuts {first}, {second}: {wrong}")));
            }
        }
    }
    table
}
