//! The handler cut at every point where it awaits: a batch of ten that goes through everything, then delivered again.

use crate::check::Checker;
use crate::posts::Posts;
use crate::run::Score;
use crate::service;
use scoring::Judge;
use std::collections::BTreeSet;
use std::sync::Arc;
use world::Wire;
use world::cuts::{self, Delivered, Table};
use world::lambda::{BEGINS_MS, block_on, event};

/// Decided, sent and quarantined.
type State = (usize, usize, usize);

/// Delivers the batch with these cuts, one process after another, then once to its end.
fn deliver(judges: &[Arc<Judge>; 2], seed: u64, at: &[usize]) -> Delivered<State> {
    let posts = Posts::ten();
    block_on(seed, async {
        let cloud = service::cloud(&posts, &judges[0]).await;
        let wire = Wire::new(&cloud, seed);
        let mut checker = Checker::new(&cloud, &posts, &judges[0].model);
        let bodies = posts.messages.iter().enumerate();
        let event = event(bodies.map(|(number, sent)| (number, sent.body.clone(), BEGINS_MS, 1)));
        let (mut after_first, mut polls) = (None, 0);
        for left in at.iter().copied().map(Some).chain([None]) {
            let (polled, answer) = cuts::deliver(&Score { judges, wire: &wire }, &event, left).await;
            polls = polled;
            after_first.get_or_insert(checker.progress());
            match answer.as_deref() {
                None => {}
                Some(r#"{"batchItemFailures":[]}"#) => {
                    posts.messages.iter().for_each(|sent| checker.acknowledged(&sent.parts, BEGINS_MS));
                }
                Some(_) => checker.wrong("the last delivery leaves something open though nothing goes wrong"),
            }
        }
        checker.at_the_end(&BTreeSet::new());
        Delivered { polls, after_first: after_first.unwrap(), violations: checker.violations }
    })
}

/// Every single cut under each seed, and every pair of cuts under the first.
pub fn exhaust(judges: &[Arc<Judge>; 2], seeds: u64) -> Table<State> {
    let table = cuts::exhaust(seeds, |seed, at| deliver(judges, seed, at));
    let whole = table.whole.unwrap();
    assert!(
        whole.0 == 9 && whole.1 > 0 && whole.2 == 2,
        "nine posts decided, messages sent, two bodies kept: {whole:?}"
    );
    table
}
