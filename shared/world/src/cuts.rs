//! A function cut at every point where it awaits.

use crate::lambda::{BEGINS_MS, Function, Invoked};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Ends its future after a number of polls: the process is gone, in the middle of whatever it awaited.
pub struct Cut<F> {
    inner: Pin<Box<F>>,
    left: Option<usize>,
    /// Polls so far.
    pub polls: usize,
}

impl<F: Future> Cut<F> {
    /// Ends `inner` after `left` polls; never where that is `None`.
    pub fn after(left: Option<usize>, inner: F) -> Self {
        Self { inner: Box::pin(inner), left, polls: 0 }
    }
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left.is_some_and(|left| self.polls >= left) {
            return Poll::Ready(None);
        }
        self.polls += 1;
        self.inner.as_mut().poll(context).map(Some)
    }
}

/// Delivers an event to a process of its own that ends after `left` polls, and waits until whatever was on its way has arrived, or not.
/// Gives the polls it took, and the answer where there was one.
pub async fn deliver<F: Function>(function: &F, event: &str, left: Option<usize>) -> (usize, Option<String>) {
    let environment = function.start(left.is_none()).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let invoked = Invoked { event: event.to_owned(), deadline, deadline_ms: BEGINS_MS + 30_000, cold_start: true };
    let mut cut = Cut::after(left, function.handle(&environment, invoked));
    let answer = std::future::poll_fn(|context| Pin::new(&mut cut).poll(context)).await;
    let polls = cut.polls;
    drop(cut);
    tokio::time::sleep(Duration::from_secs(20)).await;
    (polls, answer.flatten())
}

/// What came of one or more cuts and a last delivery to its end.
pub struct Delivered<S> {
    /// Polls of the last delivery.
    pub polls: usize,
    /// What stood there after the first.
    pub after_first: S,
    /// What is wrong in the end.
    pub violations: BTreeSet<String>,
}

/// Cut points at which the same stood there when the process ended, and what came of them.
#[derive(Default)]
pub struct Row {
    /// How many.
    pub points: usize,
    /// Parts of messages that were lost.
    pub lost: usize,
    /// Everything else that was wrong: doubled, replaced, acknowledged too early.
    pub wrong: usize,
}

/// What stood there when the process ended, and how often.
pub struct Table<S> {
    /// By what stood there at the cut.
    pub rows: BTreeMap<S, Row>,
    /// Single cuts.
    pub points: usize,
    /// Pairs of cuts, one process after the other.
    pub pairs: usize,
    /// What stood there without any cut.
    pub whole: Option<S>,
    /// What was wrong after any of them.
    pub violations: BTreeSet<String>,
}

/// Every single cut under each seed, and every pair of cuts under the first; `deliver` takes a seed and the cuts.
pub fn exhaust<S: Ord>(seeds: u64, deliver: impl Fn(u64, &[usize]) -> Delivered<S>) -> Table<S> {
    let mut table = Table { rows: BTreeMap::new(), points: 0, pairs: 0, whole: None, violations: BTreeSet::new() };
    for seed in 0..seeds {
        let Delivered { polls, after_first: whole, violations: wrong } = deliver(seed, &[]);
        table.violations.extend(wrong);
        for cut in 1..polls {
            let delivered = deliver(seed, &[cut]);
            let wrong = delivered.violations;
            table.points += 1;
            let row = table.rows.entry(delivered.after_first).or_default();
            row.points += 1;
            let lost = wrong.iter().filter(|wrong| wrong.starts_with("lost")).count();
            row.lost += lost;
            row.wrong += wrong.len() - lost;
            table.violations.extend(wrong.into_iter().map(|wrong| format!("seed {seed}, cut {cut}: {wrong}")));
        }
        if seed == 0 {
            for (first, second) in (1..polls).flat_map(|first| (1..polls).map(move |second| (first, second))) {
                let wrong = deliver(seed, &[first, second]).violations;
                table.pairs += 1;
                table.violations.extend(wrong.into_iter().map(|wrong| format!("cuts {first}, {second}: {wrong}")));
            }
            table.whole = Some(whole);
        }
    }
    table
}
