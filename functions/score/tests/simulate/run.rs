//! One run: a posts queue as SQS keeps it, Lambda as it polls and kills, reviewers, and a storm that passes.

use crate::check::{Checker, Totals};
use crate::posts::{Part, Posts};
use crate::service::{self, DECISIONS};
use fastrand::Rng;
use futures::FutureExt;
use runtime::{Invocation, SqsBatch};
use score::App;
use scoring::Judge;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use store::Deadline;
use world::{Cloud, Fault, Weather, Wire};

/// As in template.yaml.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RECEIVES: u32 = 5;
const BATCH: usize = 10;
/// While it lasts everything goes wrong, then nothing.
const STORM: Duration = Duration::from_secs(900);
/// Everything is settled this long after the storm.
const AFTERMATH: Duration = Duration::from_secs(3_600);
/// 2026-11-23T10:00:00Z, when every run begins.
pub const BEGINS_MS: i64 = 1_795_428_000_000;

/// What goes wrong in a run.
pub struct Climate {
    pub weather: Weather,
    /// The chance that a process ends in the middle of an invocation.
    pub cut: f64,
    /// The chance that a message is delivered to two at once.
    pub twice: f64,
    /// The chance that a deleted message comes again.
    pub again: f64,
    /// The chance that an invocation's answer is lost.
    pub unheard: f64,
    /// How long a message that was taken stays out of sight.
    pub visibility: Duration,
    /// After which Lambda ends an invocation.
    pub timeout: Duration,
    /// How many environments decide at the same time.
    pub environments: usize,
    /// Where the run ends in the middle of the storm: after how long.
    pub interrupted: Option<Duration>,
    /// Whether people decide too.
    pub reviewers: bool,
}

impl Climate {
    /// All faults together, how often by a seed.
    pub fn stormy(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0xc11_a7e);
        let worst = [0.02, 0.08, 0.2, 0.35][rng.usize(..4)];
        let shares: Vec<f64> = Fault::ALL.iter().map(|_| rng.f64().powi(2)).collect();
        let sum: f64 = shares.iter().sum();
        let faults = Fault::ALL.into_iter().zip(shares).map(|(fault, share)| (fault, worst * share / sum)).collect();
        Self {
            weather: Weather { faults, partial: rng.f64() * 0.4, refused: 0.1 + 0.8 * rng.f64() },
            cut: [0.0, 0.05, 0.15][rng.usize(..3)],
            twice: rng.f64() * 0.05,
            again: rng.f64() * 0.02,
            unheard: rng.f64() * 0.04,
            // Now and then shorter than the function may take: then two work on the same message.
            visibility: Duration::from_secs(if rng.u8(..4) == 0 { 5 } else { 180 }),
            // Thirty seconds in template.yaml; whoever gives less gets fewer decisions a delivery, and no other harm.
            timeout: if rng.u8(..4) == 0 { Duration::from_secs(6) } else { FUNCTION_TIMEOUT },
            environments: rng.usize(1..=6),
            interrupted: (rng.u8(..8) == 0).then(|| Duration::from_millis(rng.u64(1_000..300_000))),
            reviewers: true,
        }
    }

    /// Nothing goes wrong.
    pub fn calm() -> Self {
        Self {
            weather: Weather::calm(),
            cut: 0.0,
            twice: 0.0,
            again: 0.0,
            unheard: 0.0,
            visibility: Duration::from_secs(180),
            timeout: FUNCTION_TIMEOUT,
            environments: 2,
            interrupted: None,
            reviewers: false,
        }
    }
}

/// What a run came to.
pub struct Outcome {
    pub violations: BTreeSet<String>,
    pub totals: Totals,
    /// Calls to AWS, tries included.
    pub calls: usize,
    pub invocations: usize,
    pub cuts: usize,
    pub dead_letters: usize,
    pub verdicts: usize,
    /// A digest of everything that happened.
    pub history: u64,
}

#[derive(Clone)]
struct Message {
    id: String,
    body: Rc<str>,
    parts: Rc<[Part]>,
    sent_ms: i64,
    visible_at: Deadline,
    receives: u32,
}

struct State<'a> {
    rng: Rng,
    queue: Vec<Message>,
    dead: Vec<Message>,
    checker: Checker<'a>,
    began: Deadline,
    invocations: usize,
    cuts: usize,
    dead_letters: usize,
    verdicts: usize,
    /// The storm is over, and what died in it was put back.
    cleared: bool,
}

impl State<'_> {
    fn storm(&self) -> bool {
        Deadline::now() < self.began + STORM
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.rng.f64() < chance
    }

    fn clock_ms(&self, at: Deadline) -> i64 {
        BEGINS_MS + i64::try_from(at.duration_since(self.began).as_millis()).unwrap()
    }

    /// Messages for an invocation, in any order; where there are none, when to ask again.
    fn take(&mut self, climate: &Climate) -> Result<Vec<Message>, Deadline> {
        let now = Deadline::now();
        let storm = self.storm();
        let visible: Vec<usize> = (0..self.queue.len()).filter(|place| self.queue[*place].visible_at <= now).collect();
        if visible.is_empty() {
            let next = self.queue.iter().map(|message| message.visible_at).min();
            return Err(next.unwrap_or(now + Duration::from_secs(5)).min(now + Duration::from_secs(5)));
        }
        let most = if self.rng.u8(..8) == 0 { self.rng.usize(1..=BATCH) } else { BATCH };
        let places = self.rng.choose_multiple(visible, most);
        let mut batch = Vec::new();
        let mut dead = Vec::new();
        for place in places {
            if self.queue[place].receives >= MAX_RECEIVES {
                dead.push(place);
                continue;
            }
            let twice = storm && self.chance(climate.twice);
            let message = &mut self.queue[place];
            message.receives += 1;
            if !twice {
                message.visible_at = now + climate.visibility;
            }
            batch.push(message.clone());
            // A batch may name a message twice.
            if twice && self.rng.u8(..4) == 0 && batch.len() < BATCH {
                batch.push(self.queue[place].clone());
            }
        }
        dead.sort_unstable();
        for place in dead.into_iter().rev() {
            let message = self.queue.swap_remove(place);
            self.dead_letters += 1;
            if self.cleared {
                self.checker.wrong(format!("never settled though nothing goes wrong: {:?}", message.parts));
            }
            self.dead.push(message);
        }
        self.rng.shuffle(&mut batch);
        Ok(batch)
    }

    /// Deletes what was acknowledged, and looks whether it may be.
    fn answer(&mut self, batch: &[Message], response: &str, climate: &Climate) {
        let failures = match failures(response, batch) {
            Ok(failures) => failures,
            // Lambda takes the whole batch as failed.
            Err(wrong) => return self.checker.wrong(wrong),
        };
        for message in batch.iter().filter(|message| !failures.contains(&message.id)) {
            self.checker.acknowledged(&message.parts);
            if self.storm() && self.chance(climate.again) {
                let later = Deadline::now() + Duration::from_secs(self.rng.u64(1..120));
                self.queue.iter_mut().filter(|kept| kept.id == message.id).for_each(|kept| kept.visible_at = later);
            } else {
                self.queue.retain(|kept| kept.id != message.id);
            }
        }
    }
}

/// The answer to a batch as Lambda reads it.
fn failures(response: &str, batch: &[Message]) -> Result<BTreeSet<String>, String> {
    let wrong = |what: &str| Err(format!("Lambda cannot read the answer to the batch: {what}"));
    let Ok(Value::Object(response)) = serde_json::from_str(response) else { return wrong("no object") };
    let Some(Value::Array(failures)) = response.get("batchItemFailures") else {
        return wrong("no list `batchItemFailures`");
    };
    let mut ids = BTreeSet::new();
    for failure in failures {
        match failure["itemIdentifier"].as_str() {
            Some("") | None => return wrong("an empty `itemIdentifier`"),
            Some(id) if !batch.iter().any(|message| message.id == id) => return wrong("an unknown `itemIdentifier`"),
            Some(id) => ids.insert(id.to_owned()),
        };
    }
    Ok(ids)
}

/// Ends its future after a number of polls: the process is gone, in the middle of whatever it awaited.
pub struct Cut<F> {
    pub inner: Pin<Box<F>>,
    pub left: Option<usize>,
    /// Polls so far.
    pub polls: usize,
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

/// The batch as Lambda hands it over.
pub fn event(messages: impl Iterator<Item = (String, Rc<str>, i64)>) -> SqsBatch {
    let records: Vec<_> = messages
        .map(|(id, body, sent_ms)| {
            format!(r#"{{"messageId":"{id}","body":{body},"attributes":{{"SentTimestamp":"{sent_ms}"}}}}"#)
        })
        .collect();
    let event = format!(r#"{{"Records":[{}]}}"#, records.join(","));
    SqsBatch::parse(&serde_json::value::RawValue::from_string(event).unwrap()).unwrap()
}

/// A runtime in virtual time, with nothing else in it.
pub fn block_on<T>(seed: u64, run: impl Future<Output = T>) -> T {
    // The SDKs and our own waits draw from here.
    fastrand::seed(seed);
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(run)
}

/// Runs `posts` posts through the function, whatever the climate.
pub fn run(judges: &[Arc<Judge>; 2], seed: u64, count: usize, climate: &Climate) -> Outcome {
    let posts = Posts::generate(seed, count);
    block_on(seed, in_virtual_time(judges, seed, &posts, climate))
}

async fn in_virtual_time(judges: &[Arc<Judge>; 2], seed: u64, posts: &Posts, climate: &Climate) -> Outcome {
    let cloud = service::cloud(posts, &judges[0]).await;
    let wire = Wire::new(&cloud, seed);
    wire.weather(climate.weather.clone());
    let began = Deadline::now();
    let mut rng = Rng::with_seed(seed);
    let queue = posts
        .messages
        .iter()
        .enumerate()
        .map(|(number, sent)| {
            let after = if sent.late { STORM / 2 } else { Duration::ZERO };
            // In gusts, so that batches fill.
            let wait = Duration::from_secs(rng.u64(..4) * 75) + after;
            let visible_at = began + wait;
            let sent_ms = BEGINS_MS + i64::try_from(wait.as_millis()).unwrap();
            let (body, parts) = (sent.body.clone(), sent.parts.clone());
            Message { id: format!("m{number}"), body, parts, sent_ms, visible_at, receives: 0 }
        })
        .collect();
    let state = RefCell::new(State {
        rng,
        queue,
        dead: Vec::new(),
        checker: Checker::new(&cloud, posts, &judges[0].model),
        began,
        invocations: 0,
        cuts: 0,
        dead_letters: 0,
        verdicts: 0,
        cleared: false,
    });
    state.borrow_mut().checker.calm = climate.weather.faults.is_empty();
    let pollers = (0..climate.environments).map(|place| poll(&state, judges, &wire, climate, place));
    tokio::join!(
        futures::future::join_all(pollers),
        clearing(&state, &wire, climate),
        reviewers(&state, &cloud, climate)
    );

    let State { mut checker, queue, dead, invocations, cuts, dead_letters, verdicts, .. } = state.into_inner();
    let in_flight = queue.iter().chain(&dead).flat_map(|message| message.parts.iter().cloned()).collect();
    let totals = checker.at_the_end(&in_flight);
    if climate.interrupted.is_none() && totals.in_flight > 0 {
        checker.wrong(format!("{} posts are still in flight an hour after the storm", totals.in_flight));
    }
    Outcome {
        violations: checker.violations,
        totals,
        calls: wire.calls().values().sum(),
        invocations,
        cuts,
        dead_letters,
        verdicts,
        history: wire.history(),
    }
}

/// One poller of Lambda with one environment, started anew whenever it was ended.
async fn poll(state: &RefCell<State<'_>>, judges: &[Arc<Judge>; 2], wire: &Wire, climate: &Climate, place: usize) {
    let mut environment: Option<App> = None;
    loop {
        let (ends, settled) = {
            let state = state.borrow();
            let end = state.began + climate.interrupted.unwrap_or(STORM + AFTERMATH);
            (end, state.queue.is_empty() && state.dead.is_empty())
        };
        if settled || Deadline::now() >= ends {
            return;
        }
        let taken = state.borrow_mut().take(climate);
        let batch = match taken {
            Ok(batch) if batch.is_empty() => continue,
            Ok(batch) => batch,
            Err(next) => {
                tokio::time::sleep_until(next.max(Deadline::now() + Duration::from_millis(1)).min(ends)).await;
                continue;
            }
        };
        let (left, judge) = {
            let state = &mut *state.borrow_mut();
            let left = (state.storm() && state.chance(climate.cut)).then(|| state.rng.usize(..80));
            // A rollout: environments that start later decide by the newer policy.
            let newer = Deadline::now().duration_since(state.began) > Duration::from_secs(60 * place as u64);
            (left, &judges[usize::from(newer)])
        };
        let cold_start = environment.is_none();
        let app = match environment.take() {
            Some(app) => app,
            None => service::app(judge, wire).await,
        };
        if invoke(state, &app, &batch, climate, left, cold_start).await {
            environment = Some(app);
        }
        let pause = {
            let state = &mut *state.borrow_mut();
            // Between invocations the environment is frozen; seldom for long.
            let longest = if state.rng.u8(..16) == 0 { 60_000 } else { 200 };
            Duration::from_millis(state.rng.u64(1..longest))
        };
        tokio::time::sleep(pause).await;
    }
}

/// One invocation; whether its process lives on.
async fn invoke(
    state: &RefCell<State<'_>>,
    app: &App,
    batch: &[Message],
    climate: &Climate,
    left: Option<usize>,
    cold_start: bool,
) -> bool {
    let event = event(batch.iter().map(|message| (message.id.clone(), message.body.clone(), message.sent_ms)));
    let deadline = Deadline::now() + climate.timeout;
    let invocation = {
        let mut state = state.borrow_mut();
        state.invocations += 1;
        Invocation { deadline, deadline_ms: state.clock_ms(deadline), cold_start }
    };
    let handled = AssertUnwindSafe(score::handle(app, event, invocation)).catch_unwind();
    let cut = Cut { inner: Box::pin(handled), left, polls: 0 };
    let answer = tokio::time::timeout_at(deadline, cut).await;
    let state = &mut *state.borrow_mut();
    match answer {
        Err(_) => {
            state.checker.wrong("an invocation ran into the function's timeout");
            false
        }
        Ok(None) => {
            state.cuts += 1;
            false
        }
        Ok(Some(Err(_))) => {
            state.checker.wrong("a panic failed a whole batch");
            true
        }
        Ok(Some(Ok(response))) => {
            if !(state.storm() && state.chance(climate.unheard)) {
                state.answer(batch, &serde_json::to_string(&response).unwrap(), climate);
            }
            true
        }
    }
}

/// The storm passes; operators put back what died in it.
async fn clearing(state: &RefCell<State<'_>>, wire: &Wire, climate: &Climate) {
    let began = state.borrow().began;
    if climate.interrupted.is_some() {
        return;
    }
    tokio::time::sleep_until(began + STORM).await;
    wire.weather(Weather::calm());
    // Calls that were under way have met their fault already.
    tokio::time::sleep(FUNCTION_TIMEOUT).await;
    let state = &mut *state.borrow_mut();
    state.cleared = true;
    let redriven: Vec<_> = state.dead.drain(..).collect();
    state.queue.extend(redriven);
    for message in &mut state.queue {
        message.receives = 0;
    }
}

/// People who look at tasks and decide otherwise, or not.
async fn reviewers(state: &RefCell<State<'_>>, cloud: &Arc<Cloud>, climate: &Climate) {
    let until = state.borrow().began + climate.interrupted.unwrap_or(STORM);
    while climate.reviewers && Deadline::now() < until {
        tokio::time::sleep(Duration::from_secs(9)).await;
        let state = &mut *state.borrow_mut();
        let tasks = state.checker.reviewable();
        if tasks.is_empty() {
            continue;
        }
        let mut item = tasks[state.rng.usize(..tasks.len())].as_ref().clone();
        let at = domain::Timestamp::from_millis(state.clock_ms(Deadline::now()));
        item.insert("decided_by".to_owned(), json!({ "S": "human" }));
        item.insert("decision".to_owned(), json!({ "S": if state.rng.bool() { "approve" } else { "hide" } }));
        item.insert("decided_at".to_owned(), json!({ "S": at.to_string() }));
        item.insert("attempt".to_owned(), json!({ "N": "2" }));
        item.remove("review");
        cloud.put(DECISIONS, item, "reviewer");
        state.verdicts += 1;
        state.checker.look();
    }
}
