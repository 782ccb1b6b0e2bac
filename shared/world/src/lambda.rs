//! What stands around a function: its queue as SQS keeps it, Lambda as it polls and kills, people who decide in between, and a storm that
//! passes. All of it in virtual time, and by one seed.

use crate::cuts::Cut;
use crate::inbox::Inbox;
use crate::{Cloud, Fault, Weather, Wire};
use fastrand::Rng;
use futures::FutureExt;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// As in template.yaml.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(30);
/// As in template.yaml: the dead-letter queue has what was received so often.
pub const MAX_RECEIVES: u32 = 100;
/// In some runs it has messages sooner, so that there are dead letters to put back.
const FEW_RECEIVES: u32 = 3;
const BATCH: usize = 10;
/// While it lasts everything goes wrong, then nothing.
pub const STORM: Duration = Duration::from_secs(900);
/// Between invocations an environment is mostly frozen for no longer than this.
const SHORTLY: Duration = Duration::from_millis(200);
/// What ends its process does so after so many polls: everything is read and looked up, and nothing is stored.
const KILLED: std::ops::Range<usize> = 4..9;
/// Numbers of messages that the function has sent to its own queue.
const OWN: usize = 1 << 40;
/// An environment is frozen for so long at most.
const FROZEN: Duration = Duration::from_secs(60);
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
    /// A table that is away, and what every call for it meets.
    pub away: Option<(&'static str, Fault)>,
    /// How long all that lasts.
    pub storm: Duration,
    /// After so many receives a message is a dead letter.
    pub receives: u32,
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
    /// How long an environment is frozen between invocations at most; mostly it is not.
    pub frozen: Duration,
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
            away: None,
            storm: STORM,
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
            frozen: FROZEN,
            receives: if rng.bool() { FEW_RECEIVES } else { MAX_RECEIVES },
        }
    }

    /// Nothing goes wrong.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            weather: Weather::calm(),
            local: None,
            away: None,
            storm: STORM,
            receives: MAX_RECEIVES,
            cut: 0.0,
            twice: 0.0,
            again: 0.0,
            unheard: 0.0,
            visibility: Duration::from_secs(180),
            timeout: FUNCTION_TIMEOUT,
            environments: 2,
            frozen: FROZEN,
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

    /// The queue that its messages come from.
    fn queue(&self) -> &'static str;

    /// Handles a batch and gives its answer in JSON, or none where the invocation fails.
    fn handle(&self, environment: &Self::Environment, invoked: Invoked) -> impl Future<Output = Option<String>>;
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
    /// The queue forgets a message that reached it at `sent_ms`.
    fn acknowledged(&mut self, parts: &[Self::Part], sent_ms: i64);
    /// What a message is about that the function has sent to its own queue.
    fn sent_to_itself(&mut self, _body: &str) -> Vec<Self::Part> {
        Vec::new()
    }
    /// A person looks at something, and may decide; whether there was anything.
    fn review(&mut self, rng: &mut Rng, now_ms: i64) -> bool;
}

/// A message in the queue.
#[derive(Clone)]
pub struct Message<P> {
    number: usize,
    body: Rc<str>,
    parts: Rc<[P]>,
    sent_ms: i64,
    after: Duration,
    kills: bool,
}

impl<P> Message<P> {
    /// The message of this number, in the queue `after` the run begins; `body` as it stands in the event: a JSON string with its quotes.
    #[must_use]
    pub fn new(number: usize, body: Rc<str>, parts: Rc<[P]>, after: Duration) -> Self {
        let sent_ms = BEGINS_MS + i64::try_from(after.as_millis()).unwrap();
        Self { number, body, parts, sent_ms, after, kills: false }
    }

    /// The same, and it ends every process that has taken it up.
    #[must_use]
    pub fn killing(self) -> Self {
        Self { kills: true, ..self }
    }
}

/// A message that was received.
struct Received<P> {
    message: Message<P>,
    receives: u32,
}

impl<P> Received<P> {
    fn id(&self) -> String {
        format!("m{}", self.message.number)
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
    /// Those that failed as a whole, at once.
    pub failed: usize,
    /// Processes that ended in the middle.
    pub cuts: usize,
    /// Processes that were started.
    pub starts: usize,
    /// Messages that were delivered too often.
    pub dead_letters: usize,
    /// How often the message was received that was received most often.
    pub most_receives: u32,
    /// When the queue forgot its last message, from the beginning of the run.
    pub settled: Duration,
    /// Decisions of people.
    pub verdicts: usize,
}

struct State<W: Watch> {
    rng: Rng,
    cloud: Arc<Cloud>,
    queue: &'static str,
    messages: HashMap<usize, Message<W::Part>>,
    /// Bodies that the function has sent to its own queue so far.
    own: usize,
    dead: Vec<usize>,
    watch: W,
    began: Instant,
    storm: Duration,
    invocations: usize,
    failed: usize,
    cuts: usize,
    starts: usize,
    dead_letters: usize,
    most_receives: u32,
    settled: Duration,
    verdicts: usize,
    /// The storm is over, and what died in it was put back.
    cleared: bool,
}

impl<W: Watch> State<W> {
    fn storm(&self) -> bool {
        Instant::now() < self.began + self.storm
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.rng.f64() < chance
    }

    fn clock_ms(&self, at: Instant) -> i64 {
        BEGINS_MS + i64::try_from(at.duration_since(self.began).as_millis()).unwrap()
    }

    fn inbox<T>(&self, with: impl FnOnce(&mut Inbox) -> T) -> T {
        with(self.cloud.state().inboxes.entry(self.queue.to_owned()).or_default())
    }

    fn add(&mut self, message: Message<W::Part>, at: Instant) {
        self.inbox(|inbox| inbox.add(message.number, at));
        self.messages.insert(message.number, message);
    }

    /// Takes in what the function has sent to its own queue.
    fn own(&mut self) {
        for told in self.cloud.told(self.queue, self.own) {
            self.own += 1;
            let parts = self.watch.sent_to_itself(&told.body).into();
            let body = Value::from(told.body).to_string().into();
            let message = Message::new(OWN + self.own, body, parts, told.at.duration_since(self.began));
            self.add(message, told.at);
        }
    }

    /// Messages for an invocation, in any order; where there are none, when to ask again.
    fn take(&mut self, climate: &Climate) -> Result<Vec<Received<W::Part>>, Instant> {
        self.own();
        let now = Instant::now();
        let storm = self.storm();
        let most = if self.rng.u8(..8) == 0 { self.rng.usize(1..=BATCH) } else { BATCH };
        let (mut rng, later) = (self.rng.fork(), now + Duration::from_secs(5));
        let (numbers, next) = self.inbox(|inbox| (inbox.any(&mut rng, now, most), inbox.next()));
        if numbers.is_empty() {
            return Err(next.unwrap_or(later).min(later));
        }
        let mut batch = Vec::new();
        for number in numbers {
            if self.inbox(|inbox| inbox.receives(number)) >= climate.receives {
                self.dies(number);
                continue;
            }
            let twice = storm && self.chance(climate.twice);
            let receives = self.inbox(|inbox| {
                if !twice {
                    inbox.hide(number, now + climate.visibility);
                }
                inbox.receive(number)
            });
            self.most_receives = self.most_receives.max(receives);
            let received = || Received { message: self.messages[&number].clone(), receives };
            batch.push(received());
            // A batch may name a message twice.
            if twice && self.rng.u8(..4) == 0 && batch.len() < BATCH {
                batch.push(received());
            }
        }
        self.rng.shuffle(&mut batch);
        for received in &batch {
            self.watch.delivered(&received.message.parts, received.receives);
        }
        Ok(batch)
    }

    fn dies(&mut self, number: usize) {
        self.inbox(|inbox| inbox.forget(number));
        self.dead.push(number);
        self.dead_letters += 1;
        if self.cleared {
            let parts = &self.messages[&number].parts;
            self.watch.wrong(format!("never settled though nothing goes wrong: {parts:?}"));
        }
    }

    /// Deletes what was acknowledged, and looks whether it may be.
    fn answer(&mut self, batch: &[Received<W::Part>], response: &str, climate: &Climate) {
        let ids: Vec<String> = batch.iter().map(Received::id).collect();
        let failures = match failures(response, &ids.iter().map(String::as_str).collect()) {
            Ok(failures) => failures,
            // Lambda takes the whole batch as failed.
            Err(wrong) => return self.watch.wrong(wrong),
        };
        for received in batch.iter().filter(|received| failures.contains(&received.id())) {
            self.watch.refused(&received.message.parts);
        }
        for received in batch.iter().filter(|received| !failures.contains(&received.id())) {
            self.watch.acknowledged(&received.message.parts, received.message.sent_ms);
            let number = received.message.number;
            if self.storm() && self.chance(climate.again) {
                let later = Instant::now() + Duration::from_secs(self.rng.u64(1..120));
                self.inbox(|inbox| inbox.hide(number, later));
            } else {
                self.inbox(|inbox| inbox.forget(number));
                self.settled = self.began.elapsed();
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

/// The batch as Lambda hands it over: ids, bodies as JSON strings, when they were sent, and how often they were received.
#[must_use]
pub fn event(messages: impl Iterator<Item = (usize, Rc<str>, i64, u32)>) -> String {
    let records: Vec<_> = messages
        .map(|(number, body, sent_ms, receives)| {
            let receipt = Inbox::receipt(number, receives);
            let attributes = format!(r#"{{"SentTimestamp":"{sent_ms}","ApproximateReceiveCount":"{receives}"}}"#);
            format!(
                r#"{{"messageId":"m{number}","receiptHandle":"{receipt}","body":{body},"attributes":{attributes}}}"#
            )
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
    if let Some((table, fault)) = climate.away {
        wire.away(table, fault);
    }
    let mut state = State {
        rng,
        cloud: wire.cloud().clone(),
        queue: function.queue(),
        messages: HashMap::new(),
        own: 0,
        dead: Vec::new(),
        watch,
        began: Instant::now(),
        storm: climate.storm,
        invocations: 0,
        failed: 0,
        cuts: 0,
        starts: 0,
        dead_letters: 0,
        most_receives: 0,
        settled: Duration::ZERO,
        verdicts: 0,
        cleared: false,
    };
    for message in queue {
        let at = state.began + message.after;
        state.add(message, at);
    }
    let state = RefCell::new(state);
    let pollers = (0..climate.environments).map(|place| poll(&state, function, climate, place));
    tokio::join!(futures::future::join_all(pollers), clearing(&state, wire, climate), reviewers(&state, climate));
    let state = state.into_inner();
    let left: Vec<usize> = state.inbox(|inbox| inbox.numbers().collect());
    let in_flight = left.iter().chain(&state.dead).flat_map(|number| state.messages[number].parts.iter().cloned());
    Ran {
        in_flight: in_flight.collect(),
        invocations: state.invocations,
        failed: state.failed,
        cuts: state.cuts,
        starts: state.starts,
        dead_letters: state.dead_letters,
        most_receives: state.most_receives,
        settled: state.settled,
        verdicts: state.verdicts,
        watch: state.watch,
    }
}

/// One poller of Lambda with one environment, started anew whenever it was ended.
async fn poll<F: Function, W: Watch>(state: &RefCell<State<W>>, function: &F, climate: &Climate, place: usize) {
    let mut environment: Option<F::Environment> = None;
    loop {
        let (ends, settled) = {
            let mut state = state.borrow_mut();
            state.own();
            let end = state.began + climate.interrupted.unwrap_or(climate.storm + AFTERMATH);
            (end, state.inbox(|inbox| inbox.is_empty()) && state.dead.is_empty())
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
            let killed = batch.iter().any(|received| received.message.kills).then(|| state.rng.usize(KILLED));
            let left = killed.or_else(|| (state.storm() && state.chance(climate.cut)).then(|| state.rng.usize(..80)));
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
            let longest = if state.rng.u8(..16) == 0 { climate.frozen } else { SHORTLY };
            Duration::from_millis(state.rng.u64(1..u64::try_from(longest.as_millis()).unwrap()))
        };
        tokio::time::sleep(pause).await;
    }
}

/// One invocation; whether its process lives on.
async fn invoke<F: Function, W: Watch>(
    state: &RefCell<State<W>>,
    function: &F,
    environment: &F::Environment,
    batch: &[Received<W::Part>],
    climate: &Climate,
    left: Option<usize>,
    cold_start: bool,
) -> bool {
    let messages = batch.iter().map(|received| {
        let Message { number, body, sent_ms, .. } = &received.message;
        (*number, body.clone(), *sent_ms, received.receives)
    });
    let event = event(messages);
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
        // Lambda deletes nothing, and with partial batch responses it goes on polling as before.
        Ok(Some(Ok(None))) => {
            state.failed += 1;
            true
        }
        Ok(Some(Ok(Some(response)))) => {
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
    tokio::time::sleep_until(began + climate.storm).await;
    wire.weather(Weather::calm());
    // Calls that were under way have met their fault already.
    tokio::time::sleep(FUNCTION_TIMEOUT).await;
    let state = &mut *state.borrow_mut();
    state.cleared = true;
    let (now, now_ms) = (Instant::now(), state.clock_ms(Instant::now()));
    for number in std::mem::take(&mut state.dead) {
        // A message that is moved back is another one, sent now.
        state.messages.get_mut(&number).unwrap().sent_ms = now_ms;
        state.inbox(|inbox| inbox.add(number, now));
    }
    if climate.receives < MAX_RECEIVES {
        state.inbox(Inbox::begin_again);
    }
}

/// People who look at what there is and decide otherwise, or not.
async fn reviewers<W: Watch>(state: &RefCell<State<W>>, climate: &Climate) {
    let until = state.borrow().began + climate.interrupted.unwrap_or(climate.storm);
    while climate.reviewers && Instant::now() < until {
        tokio::time::sleep(REVIEW).await;
        let state = &mut *state.borrow_mut();
        let now_ms = state.clock_ms(Instant::now());
        if state.watch.review(&mut state.rng, now_ms) {
            state.verdicts += 1;
        }
    }
}
