//! One run: posts in every shape through the function, whatever the climate.

use crate::check::Checker;
use crate::posts::{ARTIFACTS, Posts, digest_key};
use crate::service;
use ::service::erasure::SETTLED;
use ::service::{Eraser, Subject};
use domain::Timestamp;
use fastrand::Rng;
use features::views::Lookup;
use runtime::{Invocation, SqsBatch};
use score::App;
use scoring::Judge;
use std::sync::Arc;
use std::time::Duration;
use store::{Deadline, Search, StoreError};
use tokio::time::Instant;
use world::lambda::{self, BEGINS_MS, Climate, Function, Invoked, Message, STORM, block_on};
use world::program::Outcome;
use world::{Cloud, Weather, Wire};

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
    let score = Score { judges, wire: &wire };
    let erases = climate.interrupted.is_none();
    let (ran, ()) = tokio::join!(lambda::run(&score, &wire, climate, rng, queue, checker), async {
        if erases {
            erasures(judges, &cloud, seed, posts, climate).await;
        }
    });

    let mut checker = ran.watch;
    if erases {
        let app = service::app(&judges[0], &Wire::new(&cloud, seed)).await;
        for (after, subject) in &posts.erasures {
            let erased_at = erased_at(*after);
            let (decisions, rows) = (checker.left_of(subject, erased_at), rows_left(&app, subject).await);
            if rows > 0 || !decisions.is_empty() {
                checker.wrong(format!("{subject:?} was erased at {erased_at}; left are {rows} rows and {decisions:?}"));
            }
        }
    }
    let totals = checker.at_the_end(&ran.in_flight);
    if climate.interrupted.is_none() && totals.in_flight > 0 {
        checker.wrong(format!("{} posts are still in flight an hour after the storm", totals.in_flight));
    }
    Outcome {
        violations: checker.violations,
        posts: totals.decided + totals.quarantined + totals.erased + totals.in_flight,
        calls: wire.calls().values().sum(),
        counts: vec![
            ("decided", totals.decided),
            ("quarantined", totals.quarantined),
            ("erased", totals.erased),
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

/// Operators erase persons and posts. Their calls meet the same weather, so they begin anew until all of it is done.
async fn erasures(judges: &[Arc<Judge>; 2], cloud: &Arc<Cloud>, seed: u64, posts: &Posts, climate: &Climate) {
    let began = Instant::now();
    let wire = Wire::new(cloud, seed ^ 0xe7a5e);
    wire.weather(climate.weather.clone());
    let app = service::app(&judges[0], &wire).await;
    let each = posts.erasures.iter().map(async |(after, subject)| {
        tokio::time::sleep_until(began + *after).await;
        let at = Timestamp::from_millis(erased_at(*after));
        let key = digest_key();
        let eraser = Eraser {
            decisions: app.decisions.as_ref(),
            features: app.features.as_ref(),
            objects: app.objects.as_ref(),
            bucket: ARTIFACTS,
            definitions: &app.judge.definitions,
            key: &key,
            subject,
            at,
            erases: true,
        };
        until_done(async || eraser.announce().await.map(drop)).await;
        tokio::time::sleep(SETTLED).await;
        let searches = || match subject {
            Subject::Author(author) => Search::by_scan(author, 3),
            Subject::Post(post) => vec![Search::of_post(post.clone())],
        };
        until_done(async || eraser.sweep(searches(), &|_| {}).await.map(drop)).await;
    });
    let clears = async {
        tokio::time::sleep_until(began + climate.storm).await;
        wire.weather(Weather::calm());
    };
    tokio::join!(futures::future::join_all(each), clears);
}

/// What was sent before this is erased, in milliseconds.
fn erased_at(after: Duration) -> i64 {
    BEGINS_MS + i64::try_from(after.as_millis()).unwrap()
}

async fn until_done(attempt: impl AsyncFn() -> Result<(), StoreError>) {
    while attempt().await.is_err() {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Rows of features with values that are kept about somebody.
async fn rows_left(app: &App, subject: &Subject) -> usize {
    let Subject::Author(author) = subject else { return 0 };
    let keys = app.judge.definitions.rows_of(features::views::Entity::AuthorId, author.as_str()).collect();
    let found = app.features.fetch(&keys, Deadline::now() + Duration::from_secs(30)).await;
    found.values().filter(|lookup| matches!(lookup, Lookup::Found(row) if !row.values.is_empty())).count()
}
