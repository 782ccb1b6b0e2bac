//! One run: posts in every shape through the function, whatever the climate.

use crate::check::Checker;
use crate::posts::Posts;
use crate::service;
use fastrand::Rng;
use runtime::{Invocation, SqsBatch};
use score::App;
use scoring::Judge;
use std::sync::Arc;
use std::time::Duration;
use world::Wire;
use world::lambda::{self, Climate, Function, Invoked, Message, STORM, block_on};
use world::program::Outcome;

/// The function under two versions of its policy.
pub struct Score<'a> {
    pub judges: &'a [Arc<Judge>; 2],
    pub wire: &'a Wire,
}

impl Function for Score<'_> {
    type Environment = App;

    async fn start(&self, newer: bool) -> App {
        service::app(&self.judges[usize::from(newer)], self.wire).await
    }

    fn queue(&self) -> &'static str {
        service::POSTS
    }

    async fn handle(&self, app: &App, invoked: Invoked) -> Option<String> {
        let Invoked { event, deadline, deadline_ms, cold_start } = invoked;
        let event = serde_json::value::RawValue::from_string(event).unwrap();
        let batch = SqsBatch::parse(&event).unwrap();
        let response = score::handle(app, batch, Invocation { deadline, deadline_ms, cold_start }).await.ok()?;
        Some(serde_json::to_string(&response).unwrap())
    }
}

/// Runs `count` posts through the function.
pub fn run(judges: &[Arc<Judge>; 2], seed: u64, count: usize, climate: &Climate) -> Outcome {
    let posts = Posts::generate(seed, count);
    block_on(seed, in_virtual_time(judges, seed, &posts, climate))
}

async fn in_virtual_time(judges: &[Arc<Judge>; 2], seed: u64, posts: &Posts, climate: &Climate) -> Outcome {
    let cloud = service::cloud(posts, &judges[0]).await;
    let wire = Wire::new(&cloud, seed);
    let mut rng = Rng::with_seed(seed);
    let messages = posts.messages.iter().enumerate().map(|(number, sent)| {
        let after = if sent.late { STORM / 2 } else { Duration::ZERO };
        // In gusts, so that batches fill.
        let wait = Duration::from_secs(rng.u64(..4) * 75) + after;
        Message::new(number, sent.body.clone(), sent.parts.clone(), wait)
    });
    let queue = messages.collect();
    let mut checker = Checker::new(&cloud, posts, &judges[0].model);
    checker.calm = climate.weather.faults.is_empty();
    let ran = lambda::run(&Score { judges, wire: &wire }, &wire, climate, rng, queue, checker).await;

    let mut checker = ran.watch;
    let totals = checker.at_the_end(&ran.in_flight);
    if climate.interrupted.is_none() && totals.in_flight > 0 {
        checker.wrong(format!("{} posts are still in flight an hour after the storm", totals.in_flight));
    }
    Outcome {
        violations: checker.violations,
        posts: totals.decided + totals.quarantined + totals.in_flight,
        calls: wire.calls().values().sum(),
        counts: vec![
            ("decided", totals.decided),
            ("quarantined", totals.quarantined),
            ("in flight when their run was interrupted", totals.in_flight),
            ("invocations", ran.invocations),
            ("of them cut", ran.cuts),
            ("dead letters put back", ran.dead_letters),
            ("tasks and actions sent again", totals.repeated),
            ("verdicts of people", ran.verdicts),
        ],
        history: wire.history(),
    }
}
