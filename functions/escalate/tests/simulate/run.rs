//! One run: provisional decisions with their messages through the function, whatever the climate.

use crate::check::{Checker, WHY};
use crate::posts::Posts;
use crate::service::{self, Prepared, TIMEOUT, USD_PER_HOUR};
use escalate::App;
use fastrand::Rng;
use runtime::{Invocation, SqsBatch};
use scoring::Judge;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use world::lambda::{self, Climate, Function, Invoked, Message, block_on};
use world::program::Outcome;
use world::{Fault, Weather, Wire};

/// As in template.yaml: how often what is overdue is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(300);
/// As often as that in the storm and until everything has to be settled.
const SWEEPS: usize = 9;
/// The operation that asks the endpoint.
const ASK: &str = "InvokeEndpoint";
/// How often an environment asks an endpoint that never answers, in the quarter of an hour that a storm lasts: until its breaker opens, with
/// what is under way by then, and after pauses of 5, 10, 20, 40 and then always 60 seconds.
const MOST_IN_VAIN: usize = 5 + 4 + 18;

/// The function under two versions of its policy.
pub struct Escalate<'a> {
    pub judges: &'a [Arc<Judge>; 2],
    pub wire: &'a Wire,
}

impl Function for Escalate<'_> {
    type Environment = App;

    async fn start(&self, newer: bool) -> App {
        service::app(&self.judges[usize::from(newer)], self.wire).await
    }

    fn queue(&self) -> &'static str {
        service::ESCALATIONS
    }

    async fn handle(&self, app: &App, invoked: Invoked) -> Option<String> {
        let Invoked { event, deadline, deadline_ms, cold_start } = invoked;
        let event = serde_json::value::RawValue::from_string(event).unwrap();
        let batch = SqsBatch::parse(&event).unwrap();
        let response = escalate::handle(app, batch, Invocation { deadline, deadline_ms, cold_start }).await.ok()?;
        Some(serde_json::to_string(&response).unwrap())
    }
}

/// All faults together in most runs; in one of four only the endpoint fails, in half of these all the time and in one way.
pub fn climate(seed: u64) -> Climate {
    let mut rng = Rng::with_seed(seed ^ 0xe5ca);
    if !seed.is_multiple_of(4) {
        let climate = Climate::stormy(seed);
        // With six seconds there is never time to ask: now and then there is.
        let short = climate.timeout < Duration::from_secs(30) && rng.bool();
        return if short { Climate { timeout: Duration::from_secs(14), ..climate } } else { climate };
    }
    let faults = if rng.bool() {
        let fault = if rng.u8(..3) == 0 { Fault::Slow } else { Fault::ALL[rng.usize(..Fault::ALL.len())] };
        vec![(fault, 1.0)]
    } else {
        Fault::ALL.into_iter().map(|fault| (fault, 0.08 * rng.f64())).collect()
    };
    let local = Some((ASK, Weather { faults, ..Weather::calm() }));
    Climate { local, environments: rng.usize(1..=3), reviewers: true, ..Climate::calm() }
}

/// Runs `count` posts through the function.
pub fn run(prepared: &Prepared, seed: u64, count: usize, climate: &Climate) -> Outcome {
    let calm = climate.weather.faults.is_empty() && climate.local.is_none();
    let mut rng = Rng::with_seed(seed ^ 0xb0d6);
    // US dollars a day: plenty, some answers that never come, a few, none.
    let budget = if calm { 40.0 } else { [40.0, 40.0, 40.0, 0.02, 0.004, 0.0][rng.usize(..6)] };
    let odd = if calm { 0.0 } else { [0.0, 0.05, 0.4][rng.usize(..3)] };
    let judges = service::judges(prepared, budget);
    let posts = Posts::generate(&judges[0], seed, count);
    block_on(seed, in_virtual_time(&judges, seed, &posts, climate, budget, odd))
}

async fn in_virtual_time(
    judges: &[Arc<Judge>; 2],
    seed: u64,
    posts: &Posts,
    climate: &Climate,
    budget: f64,
    odd: f64,
) -> Outcome {
    let cloud = service::cloud(posts, &judges[0], seed, odd).await;
    let wire = Wire::new(&cloud, seed);
    let mut checker = Checker::new(&cloud, posts);
    checker.only_endpoint = climate.weather.faults.is_empty();
    checker.calm = checker.only_endpoint && climate.local.is_none();
    let messages = posts.messages.iter().enumerate();
    let messages =
        messages.map(|(number, sent)| Message::new(number, sent.body.clone(), sent.parts.clone(), sent.after));
    // The schedule goes on for as long as anything may still be open.
    let body: Rc<str> = serde_json::Value::from(r#"{"schema": "sweep/1"}"#).to_string().into();
    let sweeps = (1..=SWEEPS).map(|number| {
        Message::new(posts.messages.len() + number, body.clone(), Rc::new([]), SWEEP_EVERY * number as u32)
    });
    let rng = Rng::with_seed(seed);
    let queue = messages.chain(sweeps).collect();
    let mut ran = lambda::run(&Escalate { judges, wire: &wire }, &wire, climate, rng, queue, checker).await;

    let mut checker = ran.watch;
    if climate.interrupted.is_some() {
        // The next sweep would have found them.
        ran.in_flight.extend(posts.lost.iter().cloned());
    }
    checker.at_the_end(&ran.in_flight);
    if climate.interrupted.is_none() && checker.totals.in_flight > 0 {
        checker.wrong(format!("{} posts are still in flight an hour after the storm", checker.totals.in_flight));
    }
    let asked = wire.calls().get(ASK).copied().unwrap_or(0);
    let waited = wire.waited(ASK);
    if waited.longest > TIMEOUT + Duration::from_millis(10) {
        checker.wrong("somebody waited longer for the endpoint than the policy says");
    }
    // Money is taken for the longest that an answer may take; amounts are whole millionths.
    let most = TIMEOUT.as_secs_f64() * USD_PER_HOUR / 3_600.0;
    let spent = waited.sum.as_secs_f64() * USD_PER_HOUR / 3_600.0;
    if spent > budget + ran.starts as f64 * most + asked as f64 * 1e-6 {
        checker.wrong(format!("the endpoint was busy for {spent:.6} dollars, {budget} may be spent a day"));
    }
    // Late answers are answers: of ten some come in time.
    let never = |(fault, chance): &(Fault, f64)| *chance >= 1.0 && *fault != Fault::Slow;
    let outage = climate.local.as_ref().is_some_and(|(_, weather)| weather.faults.iter().any(never));
    if outage && asked > ran.starts * MOST_IN_VAIN {
        checker.wrong("an endpoint that never answers was not left alone");
    }
    if checker.only_endpoint && ran.dead_letters > 0 {
        checker.wrong("only the endpoint fails, and there are dead letters");
    }
    let totals = &checker.totals;
    let without = WHY.into_iter().map(|why| (why, totals.why.get(why).copied().unwrap_or(0)));
    Outcome {
        posts: totals.decided + totals.quarantined + totals.in_flight,
        calls: wire.calls().values().sum(),
        counts: [
            ("settled", totals.decided),
            ("quarantined", totals.quarantined),
            ("in flight when their run was interrupted", totals.in_flight),
            ("with a second opinion", totals.heard),
            ("without one", totals.without),
            ("hidden by one", totals.hidden),
            ("invocations", ran.invocations),
            ("of them cut", ran.cuts),
            ("dead letters put back", ran.dead_letters),
            ("tasks and actions sent again", totals.repeated),
            ("verdicts and erasures", ran.verdicts),
            ("requests to the endpoint", asked),
        ]
        .into_iter()
        .chain(without)
        .collect(),
        violations: checker.violations,
        history: wire.history(),
    }
}
