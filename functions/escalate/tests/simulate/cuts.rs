//! The handler cut at every point where it awaits: a batch of ten that goes through everything, then delivered again.

use crate::check::Checker;
use crate::posts::Posts;
use crate::run::Escalate;
use crate::service::{self, Prepared};
use std::collections::BTreeSet;
use world::Wire;
use world::cuts::{self, Delivered, Table};
use world::lambda::{BEGINS_MS, Watch, block_on, event};

/// Decided again, sent and quarantined.
type State = (usize, usize, usize);

/// Delivers the batch with these cuts, one process after another, then once to its end.
fn deliver(prepared: &Prepared, seed: u64, at: &[usize]) -> Delivered<State> {
    let judges = service::judges(prepared, 40.0);
    let posts = Posts::ten(&judges[0]);
    block_on(seed, async {
        let cloud = service::cloud(&posts, &judges[0], seed, 0.0).await;
        let wire = Wire::new(&cloud, seed);
        let mut checker = Checker::new(&cloud, &posts);
        let bodies = posts.messages.iter().enumerate();
        let event = event(bodies.map(|(number, sent)| (number, sent.body.clone(), BEGINS_MS, 1)));
        let (mut after_first, mut polls) = (None, 0);
        for left in at.iter().copied().map(Some).chain([None]) {
            let (polled, answer) = cuts::deliver(&Escalate { judges: &judges, wire: &wire }, &event, left).await;
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
pub fn exhaust(prepared: &Prepared, seeds: u64) -> Table<State> {
    let table = cuts::exhaust(seeds, |seed, at| deliver(prepared, seed, at));
    let whole = table.whole.unwrap();
    assert!(
        whole.0 == 5 && whole.1 > 0 && whole.2 == 1,
        "five posts decided again, messages sent, one body kept: {whole:?}"
    );
    table
}
