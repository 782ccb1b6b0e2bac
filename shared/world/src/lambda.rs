//! What stands around a function: its queue as SQS keeps it, Lambda as it polls and kills, people who decide in between, and a storm that
//! passes. All of it in virtual time, and by one seed.

use crate::cuts::Cut;
use crate::{Fault, Weather, Wire};
use fastrand::Rng;
use futures::FutureExt;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// As in template.yaml.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RECEIVES: u32 = 5;
const BATCH: usize = 10;
/// While it lasts everything goes wrong, then nothing.
pub const STORM: Duration = Duration::from_secs(900);
/// Everything is settled this long after the storm.
const AFTERMATH: Duration = Duration::from_secs(3_600);
/// People look at something this often.
const REVIEW: Duration = Duration::from_secs(9);
/// 2026-11-23T10:00:00Z, when every run begins.
pub const BEGINS_MS: i64 = 1_795_428_000_000;

/// What goes wrong in a run.
pub struct Climate {
    /// With every call.
    pub weather: Weather,
    /// With calls of one operation, where that is otherwise.
    pub local: Option<(&'static str, Weather)>,
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
    #[must_use]
    pub fn stormy(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0xc11_a7e);
        let worst = [0.02, 0.08, 0.2, 0.35][rng.usize(..4)];
        let shares: Vec<f64> = Fault::ALL.iter().map(|_| rng.f64().powi(2)).collect();
        let sum: f64 = shares.iter().sum();
        let faults = Fault::ALL.into_iter().zip(shares).map(|(fault, share)| (fault, worst * share / sum)).collect();
        Self {
            weather: Weather { faults, partial: rng.f64() * 0.4, refused: 0.1 + 0.8 * rng.f64() },
            local: None,
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
    #[must_use]
    pub fn calm() -> Self {
        Self {
            weather: Weather::calm(),
            local: None,
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

/// A batch, as Lambda hands it to a function.
pub struct Invoked {
    /// The event.
    pub event: String,
    /// When Lambda ends the invocation.
    pub deadline: Instant,
    /// The same on the wall clock, in milliseconds since the epoch.
    pub deadline_ms: i64,
    /// Whether this is the first invocation of its environment.
    pub cold_start: bool,
}

/// A function as it is deployed.
pub trait Function {
    /// A process of it: clients, connections and whatever else it keeps between invocations.
    type Environment;

    /// Starts a process; a `newer` one decides by what was rolled out in the meantime.
    fn start(&self, newer: bool) -> impl Future<Output = Self::Environment>;

    /// Handles a batch and gives its answer in JSON.
    fn handle(&self, environment: &Self::Environment, invoked: Invoked) -> impl Future<Output = String>;
}

/// Whoever watches a run and says what is wrong.
pub trait Watch {
    /// What a message is about.
    type Part: Clone + Ord + Debug;

    /// Something is wrong.
    fn wrong(&mut self, what: String);
    /// A message is handed to the function, for the `receives`th time.
    fn delivered(&mut self, _parts: &[Self::Part], _receives: u32) {}
    /// The function asks for a message again.
    fn refused(&mut self, _parts: &[Self::Part]) {}
    /// The queue forgets a message.
    fn acknowledged(&mut self, parts: &[Self::Part]);
    /// A person looks at something, and may decide; whether there was anything.
    fn review(&mut self, rng: &mut Rng, now_ms: i64) -> bool;
}

/// A message in the queue.
#[derive(Clone)]
pub struct Message<P> {
    id: String,
    body: Rc<str>,
    parts: Rc<[P]>,
    sent_ms: i64,
    visible_at: Instant,
    receives: u32,
}

impl<P> Message<P> {
    /// The message of this number, in the queue `after` the run begins; `body` as it stands in the event: a JSON string with its quotes.
    #[must_use]
    pub fn new(number: usize, body: Rc<str>, parts: Rc<[P]>, after: Duration) -> Self {
        let sent_ms = BEGINS_MS + i64::try_from(after.as_millis()).unwrap();
        Self { id: format!("m{number}"), body, parts, sent_ms, visible_at: Instant::now() + after, receives: 0 }
    }
}

/// What came of a run.
pub struct Ran<W: Watch> {
    /// Whoever watched.
    pub watch: W,
    /// Parts of messages that are still in a queue.
    pub in_flight: BTreeSet<W::Part>,
    /// Batches that were handed over.
    pub invocations: usize,
    /// Processes that ended in the middle.
    pub cuts: usize,
    /// Processes that were started.
    pub starts: usize,
    /// Messages that were delivered too often.
    pub dead_letters: usize,
    /// Decisions of people.
    pub verdicts: usize,
}

struct State<W: Watch> {
    rng: Rng,
    queue: Vec<Message<W::Part>>,
    dead: Vec<Message<W::Part>>,
    watch: W,
    began: Instant,
    invocations: usize,
    cuts: usize,
    starts: usize,
    dead_letters: usize,
    verdicts: usize,
    /// The storm is over, and what died in it was put back.
    cleared: bool,
}

impl<W: Watch> State<W> {
    fn storm(&self) -> bool {
        Instant::now() < self.began + STORM
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.rng.f64() < chance
    }

    fn clock_ms(&self, at: Instant) -> i64 {
        BEGINS_MS + i64::try_from(at.duration_since(self.began).as_millis()).unwrap()
    }

    /// Messages for an invocation, in any order; where there are none, when to ask again.
    fn take(&mut self, climate: &Climate) -> Result<Vec<Message<W::Part>>, Instant> {
        let now = Instant::now();
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
                self.watch.wrong(format!("never settled though nothing goes wrong: {:?}", message.parts));
            }
            self.dead.push(message);
        }
        self.rng.shuffle(&mut batch);
        for message in &batch {
            self.watch.delivered(&message.parts, message.receives);
        }
        Ok(batch)
    }

    /// Deletes what was acknowledged, and looks whether it may be.
    fn answer(&mut self, batch: &[Message<W::Part>], response: &str, climate: &Climate) {
        let ids: BTreeSet<&str> = batch.iter().map(|message| message.id.as_str()).collect();
        let failures = match failures(response, &ids) {
            Ok(failures) => failures,
            // Lambda takes the whole batch as failed.
            Err(wrong) => return self.watch.wrong(wrong),
        };
        for message in batch.iter().filter(|message| failures.contains(&message.id)) {
            self.watch.refused(&message.parts);
        }
        for message in batch.iter().filter(|message| !failures.contains(&message.id)) {
            self.watch.acknowledged(&message.parts);
            if self.storm() && self.chance(climate.again) {
                let later = Instant::now() + Duration::from_secs(self.rng.u64(1..120));
                self.queue.iter_mut().filter(|kept| kept.id == message.id).for_each(|kept| kept.visible_at = later);
            } else {
                self.queue.retain(|kept| kept.id != message.id);
            }
        }
    }
}

/// The answer to a batch as Lambda reads it: ids of messages that come again.
///
/// # Errors
/// Where Lambda takes the whole batch as failed.
pub fn failures(response: &str, batch: &BTreeSet<&str>) -> Result<BTreeSet<String>, String> {
    let wrong = |what: &str| Err(format!("Lambda cannot read the answer to the batch: {what}"));
    let Ok(Value::Object(response)) = serde_json::from_str(response) else { return wrong("no object") };
    let Some(Value::Array(failures)) = response.get("batchItemFailures") else {
        return wrong("no list `batchItemFailures`");
    };
    let mut ids = BTreeSet::new();
    for failure in failures {
        match failure["itemIdentifier"].as_str() {
            Some("") | None => return wrong("an empty `itemIdentifier`"),
            Some(id) if !batch.contains(id) => return wrong("an unknown `itemIdentifier`"),
            Some(id) => ids.insert(id.to_owned()),
        };
    }
    Ok(ids)
}

/// The batch as Lambda hands it over: ids, bodies as JSON strings, and when they were sent.
#[must_use]
pub fn event(messages: impl Iterator<Item = (String, Rc<str>, i64)>) -> String {
    let records: Vec<_> = messages
        .map(|(id, body, sent_ms)| {
            format!(r#"{{"messageId":"{id}","body":{body},"attributes":{{"SentTimestamp":"{sent_ms}"}}}}"#)
        })
        .collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

/// A runtime in virtual time, with nothing else in it.
pub fn block_on<T>(seed: u64, run: impl Future<Output = T>) -> T {
    // The SDKs and our own waits draw from here.
    fastrand::seed(seed);
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(run)
}

/// Runs `messages` through a function, whatever the climate, until nothing is left or an hour after the storm.
pub async fn run<F: Function, W: Watch>(
    function: &F,
    wire: &Wire,
    climate: &Climate,
    rng: Rng,
    queue: Vec<Message<W::Part>>,
    watch: W,
) -> Ran<W> {
    wire.weather(climate.weather.clone());
    if let Some((operation, weather)) = &climate.local {
        wire.weather_of(operation, weather.clone());
    }
    let state = RefCell::new(State {
        rng,
        queue,
        dead: Vec::new(),
        watch,
        began: Instant::now(),
        invocations: 0,
        cuts: 0,
        starts: 0,
        dead_letters: 0,
        verdicts: 0,
        cleared: false,
    });
    let pollers = (0..climate.environments).map(|place| poll(&state, function, climate, place));
    tokio::join!(futures::future::join_all(pollers), clearing(&state, wire, climate), reviewers(&state, climate));
    let State { watch, queue, dead, invocations, cuts, starts, dead_letters, verdicts, .. } = state.into_inner();
    let in_flight = queue.iter().chain(&dead).flat_map(|message| message.parts.iter().cloned()).collect();
    Ran { watch, in_flight, invocations, cuts, starts, dead_letters, verdicts }
}

/// One poller of Lambda with one environment, started anew whenever it was ended.
async fn poll<F: Function, W: Watch>(state: &RefCell<State<W>>, function: &F, climate: &Climate, place: usize) {
    let mut environment: Option<F::Environment> = None;
    loop {
        let (ends, settled) = {
            let state = state.borrow();
            let end = state.began + climate.interrupted.unwrap_or(STORM + AFTERMATH);
            (end, state.queue.is_empty() && state.dead.is_empty())
        };
        if settled || Instant::now() >= ends {
            return;
        }
        let taken = state.borrow_mut().take(climate);
        let batch = match taken {
            Ok(batch) if batch.is_empty() => continue,
            Ok(batch) => batch,
            Err(next) => {
                tokio::time::sleep_until(next.max(Instant::now() + Duration::from_millis(1)).min(ends)).await;
                continue;
            }
        };
        let (left, newer) = {
            let state = &mut *state.borrow_mut();
            let left = (state.storm() && state.chance(climate.cut)).then(|| state.rng.usize(..80));
            // A rollout: environments that start later decide by the newer policy.
            let newer = Instant::now().duration_since(state.began) > Duration::from_secs(60 * place as u64);
            (left, newer)
        };
        let cold_start = environment.is_none();
        let running = match environment.take() {
            Some(running) => running,
            None => {
                state.borrow_mut().starts += 1;
                function.start(newer).await
            }
        };
        if invoke(state, function, &running, &batch, climate, left, cold_start).await {
            environment = Some(running);
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
async fn invoke<F: Function, W: Watch>(
    state: &RefCell<State<W>>,
    function: &F,
    environment: &F::Environment,
    batch: &[Message<W::Part>],
    climate: &Climate,
    left: Option<usize>,
    cold_start: bool,
) -> bool {
    let event = event(batch.iter().map(|message| (message.id.clone(), message.body.clone(), message.sent_ms)));
    let deadline = Instant::now() + climate.timeout;
    let invoked = {
        let mut state = state.borrow_mut();
        state.invocations += 1;
        Invoked { event, deadline, deadline_ms: state.clock_ms(deadline), cold_start }
    };
    let handled = AssertUnwindSafe(function.handle(environment, invoked)).catch_unwind();
    let answer = tokio::time::timeout_at(deadline, Cut::after(left, handled)).await;
    let state = &mut *state.borrow_mut();
    match answer {
        Err(_) => {
            state.watch.wrong("an invocation ran into the function's timeout".to_owned());
            false
        }
        Ok(None) => {
            state.cuts += 1;
            false
        }
        Ok(Some(Err(_))) => {
            state.watch.wrong("a panic failed a whole batch".to_owned());
            true
        }
        Ok(Some(Ok(response))) => {
            if !(state.storm() && state.chance(climate.unheard)) {
                state.answer(batch, &response, climate);
            }
            true
        }
    }
}

/// The storm passes; operators put back what died in it.
async fn clearing<W: Watch>(state: &RefCell<State<W>>, wire: &Wire, climate: &Climate) {
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

/// People who look at what there is and decide otherwise, or not.
async fn reviewers<W: Watch>(state: &RefCell<State<W>>, climate: &Climate) {
    let until = state.borrow().began + climate.interrupted.unwrap_or(STORM);
    while climate.reviewers && Instant::now() < until {
        tokio::time::sleep(REVIEW).await;
        let state = &mut *state.borrow_mut();
        let now_ms = state.clock_ms(Instant::now());
        if state.watch.review(&mut state.rng, now_ms) {
            state.verdicts += 1;
        }
    }
}
