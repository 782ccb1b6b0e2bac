//! What must hold, said once more and otherwise than the code under test says it: from the bare items, messages and requests.

use crate::posts::{ARTIFACTS, Key, Known, Part, Posts};
use crate::service::{ACTIONS, BOUNDS, DECISIONS, DUE_SECONDS, ENDPOINT, NEXT_BOUNDS, TASKS};
use crate::stub;
use domain::Timestamp;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use world::lambda::{BEGINS_MS, Watch};
use world::{Cloud, Item, Told};

/// How far what an invocation does may lie behind what it saw: its length, and that of a call which outlives it.
const BEHIND: Duration = Duration::from_secs(45);

/// A post, as the table had it.
#[derive(Default)]
struct Stood {
    /// What stands there; `None` once it is erased.
    item: Option<Arc<Item>>,
    /// Since when a person has decided, or nothing stands there.
    settled: Option<Instant>,
    /// The last decision of a machine, once there is one.
    last: Option<Last>,
}

struct Last {
    item: Arc<Item>,
    since: Instant,
    task: Option<String>,
    action: Option<String>,
}

/// Watches an AWS, and says what is wrong.
pub struct Checker<'a> {
    cloud: Arc<Cloud>,
    posts: &'a Posts,
    began: Instant,
    stood: BTreeMap<Key, Stood>,
    /// Whose text is whose.
    texts: BTreeMap<&'a str, &'a Key>,
    writes: usize,
    asked: usize,
    /// Messages sent, by queue: ids with the body that came first.
    sent: BTreeMap<&'static str, BTreeMap<String, String>>,
    seen: BTreeMap<&'static str, usize>,
    /// When a message about a post was handed over first, in milliseconds since the epoch.
    delivered: BTreeMap<Key, i64>,
    /// Nothing but the endpoint may fail.
    pub only_endpoint: bool,
    /// Nothing goes wrong at all, and money is no object.
    pub calm: bool,
    pub totals: Totals,
    pub violations: BTreeSet<String>,
}

/// What became of the posts of a run.
#[derive(Default)]
pub struct Totals {
    pub decided: usize,
    pub quarantined: usize,
    pub in_flight: usize,
    /// Tasks and actions that came more than once.
    pub repeated: usize,
    /// Posts decided again with a second opinion, and without.
    pub heard: usize,
    pub without: usize,
    /// Posts hidden by it.
    pub hidden: usize,
    /// Those without, by why.
    pub why: BTreeMap<&'static str, usize>,
}

/// Why there may be no second opinion.
pub const WHY: [&str; 8] = ["late", "tries", "budget", "breaker", "timeout", "failed", "unusable", "content"];

fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.get("S")?.as_str()).unwrap_or_default()
}

fn number(item: &Item, name: &str) -> u64 {
    item.get(name).and_then(|value| value.get("N")?.as_str()?.parse().ok()).unwrap_or(0)
}

fn millis(item: &Item, name: &str) -> i64 {
    text(item, name).parse::<Timestamp>().map_or(0, Timestamp::millis)
}

fn probability(value: Option<&Value>) -> Option<f64> {
    value?.get("N")?.as_str()?.parse().ok()
}

fn is_human(item: &Item) -> bool {
    text(item, "decided_by") == "human"
}

fn is_provisional(item: &Item) -> bool {
    item.get("provisional") == Some(&json!({ "BOOL": true }))
}

fn names(item: &Item, list: &str, inner: Option<&str>) -> BTreeSet<String> {
    let list = item.get(list).and_then(|list| list.get("L")?.as_array());
    let name = |value: &Value| {
        let value = inner.map_or(Some(value), |inner| value.get("M")?.get(inner))?;
        value.get("S")?.as_str().map(str::to_owned)
    };
    list.into_iter().flatten().filter_map(name).collect()
}

impl<'a> Checker<'a> {
    pub fn new(cloud: &Arc<Cloud>, posts: &'a Posts) -> Self {
        let texts = posts.known.iter().filter_map(|(key, known)| Some((known.text.as_deref()?, key))).collect();
        let mut checker = Self {
            cloud: cloud.clone(),
            posts,
            began: Instant::now(),
            stood: posts.known.keys().map(|key| (key.clone(), Stood::default())).collect(),
            texts,
            writes: 0,
            asked: 0,
            sent: BTreeMap::new(),
            seen: BTreeMap::new(),
            delivered: BTreeMap::new(),
            only_endpoint: false,
            calm: false,
            totals: Totals::default(),
            violations: BTreeSet::new(),
        };
        checker.look();
        // What stands there at the beginning has stood there for long, and so has nothing.
        let long_ago = checker.began.checked_sub(2 * BEHIND).unwrap_or(checker.began);
        for stood in checker.stood.values_mut() {
            if stood.item.as_ref().is_none_or(|item| is_human(item)) {
                stood.settled = Some(long_ago);
            }
        }
        checker
    }

    pub fn wrong(&mut self, what: impl Into<String>) {
        self.violations.insert(what.into());
    }

    /// Takes in what was written, asked and sent since the last time.
    pub fn look(&mut self) {
        for write in self.cloud.writes(DECISIONS, self.writes) {
            self.writes += 1;
            let key = (text(&write.item, "post_id").to_owned(), number(&write.item, "revision"));
            self.written(&key, &write.by, write.item, write.at);
        }
        for told in self.cloud.asked(ENDPOINT, self.asked) {
            self.asked += 1;
            self.was_asked(&told);
        }
        for queue in [TASKS, ACTIONS] {
            let seen = self.seen.get(queue).copied().unwrap_or(0);
            for told in self.cloud.told(queue, seen) {
                *self.seen.entry(queue).or_default() += 1;
                self.arrived(queue, told);
            }
        }
    }

    fn written(&mut self, key: &Key, by: &str, item: Arc<Item>, at: Instant) {
        let Some(stood) = self.stood.get(key) else { return self.wrong(format!("{key:?} was decided and never sent")) };
        let before = stood.item.clone();
        let mut wrong = Vec::new();
        match (by, &before) {
            ("insert" | "reviewer", _) => {}
            (_, None) => wrong.push(format!("{key:?} was erased and is decided again")),
            (_, Some(before)) if is_human(before) => {
                wrong.push(format!("a person's decision on {key:?} was written over"));
            }
            (_, Some(before)) if !is_provisional(before) => {
                wrong.push(format!("the last decision on {key:?} was written over"));
            }
            (_, Some(before)) => wrong.extend(self.superseded(key, before, &item)),
        }
        wrong.into_iter().for_each(|wrong| self.wrong(wrong));
        let stood = self.stood.get_mut(key).unwrap();
        if is_human(&item) {
            stood.settled = Some(at);
        } else if !is_provisional(&item) {
            let (id, attempt) = (text(&item, "decision_id"), number(&item, "attempt"));
            let decision = text(&item, "decision");
            let action = match decision {
                "hide" => Some("hide"),
                _ if key.1 > 1 && attempt == 1 => Some("publish"),
                _ => None,
            };
            stood.last = Some(Last {
                task: (decision != "approve").then(|| format!("{id}-task")),
                action: action.map(|action| format!("{id}-{attempt}-{action}")),
                item: item.clone(),
                since: at,
            });
        }
        stood.item = Some(item);
    }

    /// A provisional decision was replaced.
    fn superseded(&mut self, key: &Key, before: &Item, item: &Item) -> Vec<String> {
        let posts = self.posts;
        let known = &posts.known[key];
        let mut wrong = Vec::new();
        let mut says = |what: String| wrong.push(format!("{key:?}: {what}"));
        if number(item, "attempt") != number(before, "attempt") + 1 || is_provisional(item) || is_human(item) {
            says("the second decision is not the last, or not the second".to_owned());
        }
        for name in ["decision_id", "author_id", "received_at", "schema"] {
            if before.get(name) != item.get(name) {
                says(format!("`{name}` is another than before"));
            }
        }
        let opinion = &item.get("second_opinion").map_or(&Value::Null, |opinion| &opinion["M"]);
        let decision = text(item, "decision");
        let reasons = names(item, "reasons", Some("rule"));
        let without = reasons.contains("unavailable:second_opinion");
        let degraded = names(item, "degraded", None).contains("second_opinion");
        match opinion["state"]["S"].as_str() {
            Some("ok") if !without && !degraded => self.totals.heard += 1,
            Some("unavailable") => {
                self.totals.without += 1;
                if decision != "review" || !without || !degraded {
                    says(format!("without a second opinion it is `{decision}` for {reasons:?}"));
                }
                let why = opinion["why"]["S"].as_str().unwrap_or_default();
                match WHY.into_iter().find(|word| *word == why) {
                    Some(why) => *self.totals.why.entry(why).or_default() += 1,
                    None => says(format!("it has no second opinion because of `{why}`")),
                }
                if self.calm && !["late", "content"].contains(&why) {
                    says(format!("nothing goes wrong, and it has no second opinion because of `{why}`"));
                }
            }
            other => says(format!("its second opinion is {other:?}, its reasons are {reasons:?}")),
        }
        let heard = opinion["state"]["S"] == "ok";
        let next = item["policy"]["M"]["version"]["S"] == "next";
        let bounds = if next { NEXT_BOUNDS } else { BOUNDS };
        let seen = pictures(known, &posts.blocked, item, &[]);
        // What was looked at, and could not be compared with the block list, counts for what is written in it.
        let looked_at = pictures(known, &posts.blocked, item, &["block_list_unavailable", "too_many_lines"]);
        let compared = pictures(known, &posts.blocked, item, &["too_many_lines"]);
        let (score, expected) = scores(known, before, item, &looked_at, opinion);
        if score.map(f64::to_bits) != expected.map(f64::to_bits) {
            says(format!("the score is {score:?}, its text and pictures say {expected:?}"));
        }
        let blocked = compared.iter().flatten().any(|picture| posts.blocked.contains(&stub::hash(picture)));
        let all_seen = seen.len() == known.media.len() && seen.iter().all(Option::is_some);
        let nude = seen.iter().flatten().any(|picture| stub::nudity(picture) >= 0.8);
        let failed = item["scores"].pointer("/M/hate/M/state/S") == Some(&Value::from("unavailable"));
        let fits = match decision {
            "hide" => heard && (score.is_some_and(|score| score >= bounds.1) || blocked && !failed),
            "review" if heard => score.is_none_or(|score| score < bounds.1) && (!blocked || failed),
            "review" => true,
            "approve" => {
                heard && all_seen && !nude && !blocked && !failed && score.is_none_or(|score| score < bounds.0)
            }
            _ => false,
        };
        if !fits {
            says(format!("`{decision}` by the score {score:?} and pictures {all_seen}, {nude}, {blocked}"));
        }
        if decision == "hide" {
            self.totals.hidden += 1;
        }
        // What the first judge was unsure of is read again, or there is no second opinion.
        let unsure = probability(before.get("score")).is_some_and(|score| score >= bounds.0 && score < bounds.1);
        if heard && (unsure || known.media.is_empty()) && opinion.get("model").is_none() {
            says("it counts as read again, and nobody has read it".to_owned());
        }
        let due = known.received_ms + DUE_SECONDS * 1_000;
        let decided = millis(item, "decided_at");
        if heard && decided > due {
            says(format!("it was asked about {} ms after its last decision was due", decided - due));
        }
        let in_time = self.delivered.get(key).is_some_and(|at| *at <= due - 30_000);
        if self.only_endpoint && in_time && decided > due {
            says(format!("only the endpoint fails, and it is decided {} ms too late", decided - due));
        }
        wrong
    }

    /// The endpoint was asked.
    fn was_asked(&mut self, told: &Told) {
        let request: Value = serde_json::from_str(&told.body).unwrap();
        for question in request["instances"].as_array().unwrap() {
            let Some(asked) = question["text"].as_str() else { continue };
            let Some(key) = self.texts.get(asked) else {
                self.wrong("the endpoint was asked about a text that nobody has sent");
                continue;
            };
            let stood = &self.stood[*key];
            let long_since = |since: Option<Instant>| since.is_some_and(|since| since + BEHIND < told.at);
            if long_since(stood.settled) || long_since(stood.last.as_ref().map(|last| last.since)) {
                self.wrong(format!("the endpoint was asked about {key:?}, which is decided"));
            }
        }
    }

    fn arrived(&mut self, queue: &'static str, told: Told) {
        let message: Value = serde_json::from_str(&told.body).unwrap();
        let field = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let key = (field("post_id"), message["revision"].as_u64().unwrap_or(0));
        let id = field(if queue == TASKS { "task_id" } else { "action_id" });
        let Some((stood, last)) = self.stood.get(&key).and_then(|stood| Some((stood, stood.last.as_ref()?))) else {
            return self.wrong(format!("{queue}: a message about {key:?}, which has no last decision"));
        };
        let owed = if queue == TASKS { &last.task } else { &last.action };
        if owed.as_deref() != Some(&*id) {
            let what = format!("{queue}: {id} about {key:?}, owed is {owed:?}");
            return self.wrong(what);
        }
        if queue == TASKS && field("decision") != text(&last.item, "decision") {
            let what = format!("tasks: {key:?} is asked about as {}, decided otherwise", field("decision"));
            return self.wrong(what);
        }
        if stood.settled.is_some_and(|since| since + BEHIND < told.at) {
            return self.wrong(format!("{queue}: {id} is owed by nobody: {key:?} is a person's, or gone"));
        }
        match self.sent.entry(queue).or_default().entry(id) {
            Entry::Vacant(slot) => _ = slot.insert(told.body),
            Entry::Occupied(first) => {
                self.totals.repeated += 1;
                if *first.get() != told.body {
                    let what = format!("{queue}: {} came twice and says different things", first.key());
                    self.wrong(what);
                }
            }
        }
    }

    fn was_sent(&self, queue: &str, id: &str) -> bool {
        self.sent.get(queue).is_some_and(|sent| sent.contains_key(id))
    }

    /// What is still owed for a message; `None` where nothing is.
    fn open(&self, part: &Part) -> Option<String> {
        let key = match part {
            Part::Kept(digest) => {
                let kept = self.cloud.object(ARTIFACTS, &format!("quarantine/{digest}"));
                let whole = kept.is_some_and(|bytes| domain::sha256_hex(&bytes) == *digest);
                return (!whole).then(|| format!("{digest} is not in quarantine"));
            }
            Part::Post(key) => key,
        };
        // What is erased owes nothing, and neither does what a person has decided.
        let stood = &self.stood[key];
        stood.item.as_ref().filter(|item| !is_human(item))?;
        let Some(last) = &stood.last else { return Some(format!("{key:?} is still provisional")) };
        let owed = [(TASKS, &last.task), (ACTIONS, &last.action)];
        let unsent = |(queue, id): &(&str, &Option<String>)| id.as_ref().is_some_and(|id| !self.was_sent(queue, id));
        let (queue, id) = owed.into_iter().find(unsent)?;
        Some(format!("{key:?}: {id:?} was not sent to {queue}"))
    }

    /// At the end: every part is in exactly one of decided, quarantined, in flight.
    pub fn at_the_end(&mut self, in_flight: &BTreeSet<Part>) {
        self.look();
        let parts: BTreeSet<&Part> = self.posts.parts.iter().collect();
        for part in parts {
            let open = self.open(part);
            match (part, open, in_flight.contains(part)) {
                (Part::Post(_), None, _) => self.totals.decided += 1,
                (Part::Kept(_), None, _) => self.totals.quarantined += 1,
                (_, Some(_), true) => self.totals.in_flight += 1,
                (_, Some(open), false) => self.wrong(format!("lost: {open}")),
            }
        }
        for key in self.cloud.keys(ARTIFACTS, "quarantine/") {
            let digest = key.trim_start_matches("quarantine/").to_owned();
            if !self.posts.parts.contains(&Part::Kept(digest)) {
                self.wrong(format!("{key} is in quarantine and is no poison"));
            }
        }
    }

    /// How far a batch is: decided again, messages sent, quarantined.
    pub fn progress(&mut self) -> (usize, usize, usize) {
        self.look();
        let sent = self.sent.values().map(BTreeMap::len).sum();
        (self.totals.heard + self.totals.without, sent, self.cloud.keys(ARTIFACTS, "quarantine/").len())
    }
}

/// What the record says was seen in each of a post's pictures, these errors `besides`; `None` where it says that nothing was, or says so
/// wrongly.
fn pictures<'a>(known: &'a Known, blocked: &BTreeSet<String>, item: &Item, besides: &[&str]) -> Vec<Option<&'a str>> {
    let images = item.get("images").and_then(|images| images.get("L")?.as_array());
    let images = images.into_iter().flatten().map(|image| &image["M"]);
    images
        .enumerate()
        .map(|(place, image)| {
            let picture = known.media.get(place)?.as_deref()?;
            match image["error"]["S"].as_str() {
                // The hash is kept of what is on the list, and of nothing else.
                None if stub::unread(picture).is_some() => None,
                None => {
                    let hash = Some(stub::hash(picture)).filter(|hash| blocked.contains(hash));
                    let lines = u32::from(stub::written(picture).is_some());
                    let said = image.get("lines").map_or(Ok(0), |said| said["N"].as_str().unwrap_or_default().parse());
                    (image.get("pdq").and_then(|said| said["S"].as_str()) == hash.as_deref() && said == Ok(lines))
                        .then_some(picture)
                }
                Some(error @ "too_many_lines") if stub::unread(picture) != Some(error) => None,
                Some(error) => besides.contains(&error).then_some(picture),
            }
        })
        .collect()
}

/// The score on the record, and what it has to be: the highest of what the text and the pictures say.
fn scores(
    known: &Known,
    before: &Item,
    item: &Item,
    seen: &[Option<&str>],
    opinion: &Value,
) -> (Option<f64>, Option<f64>) {
    let first = before["scores"].pointer("/M/hate/M");
    let failed = first.is_some_and(|first| first["state"]["S"] == "unavailable");
    let read = opinion.get("model").is_some();
    let text = if read { known.text.as_deref().map(stub::score) } else { probability(before.get("score")) };
    let written = seen.iter().flatten().filter_map(|picture| stub::written(picture)).map(|words| stub::score(&words));
    let highest = text.into_iter().chain(written).max_by(f64::total_cmp);
    (probability(item.get("score")), highest.filter(|_| !failed || read))
}

impl Watch for Checker<'_> {
    type Part = Part;

    fn wrong(&mut self, what: String) {
        Checker::wrong(self, what);
    }

    fn sent_to_itself(&mut self, body: &str) -> Vec<Part> {
        let order: Value = serde_json::from_str(body).unwrap();
        let key = (order["post_id"].as_str().unwrap().to_owned(), order["revision"].as_u64().unwrap());
        if !self.stood.contains_key(&key) {
            self.wrong(format!("a sweep found {key:?}, which nobody has sent"));
            return Vec::new();
        }
        vec![Part::Post(key)]
    }

    fn delivered(&mut self, parts: &[Part], receives: u32) {
        let now = BEGINS_MS + i64::try_from(self.began.elapsed().as_millis()).unwrap();
        for part in parts {
            if let Part::Post(key) = part {
                self.delivered.entry(key.clone()).or_insert(now);
            }
            if self.only_endpoint && receives > 1 {
                self.wrong(format!("only the endpoint fails, and {part:?} is delivered {receives} times"));
            }
        }
    }

    fn refused(&mut self, parts: &[Part]) {
        if self.only_endpoint {
            self.wrong(format!("only the endpoint fails, and {parts:?} is to come again"));
        }
    }

    fn acknowledged(&mut self, parts: &[Part], _sent_ms: i64) {
        self.look();
        for part in parts {
            if let Some(open) = self.open(part) {
                self.wrong(format!("acknowledged too early: {open}"));
            }
        }
    }

    /// People decide, before and after the last decision of the machine; some posts are erased.
    fn review(&mut self, rng: &mut Rng, now_ms: i64) -> bool {
        self.look();
        let standing = self.stood.iter().filter_map(|(key, stood)| Some((key, stood.item.as_ref()?)));
        let open: Vec<_> =
            // Nobody has a task about a post whose escalation is lost, so no person finds it.
            standing
                .filter(|(key, item)| !is_human(item) && !self.posts.lost.contains(&Part::Post((*key).clone())))
                .map(|(key, item)| (key.clone(), item.clone()))
                .collect();
        let provisional: Vec<_> = open.iter().filter(|(_, item)| is_provisional(item)).cloned().collect();
        let among = if rng.bool() && !provisional.is_empty() { &provisional } else { &open };
        if among.is_empty() {
            return false;
        }
        let (key, item) = &among[rng.usize(..among.len())];
        if rng.u8(..5) == 0 {
            self.cloud.remove(DECISIONS, item);
            let stood = self.stood.get_mut(key).unwrap();
            (stood.item, stood.settled) = (None, Some(Instant::now()));
            return true;
        }
        let mut item = item.as_ref().clone();
        item.insert("decided_by".to_owned(), json!({ "S": "human" }));
        item.insert("decision".to_owned(), json!({ "S": if rng.bool() { "approve" } else { "hide" } }));
        item.insert("decided_at".to_owned(), json!({ "S": Timestamp::from_millis(now_ms).to_string() }));
        // Now and then whoever writes it down leaves the rest as it was.
        if rng.u8(..3) > 0 {
            item.insert("attempt".to_owned(), json!({ "N": (number(&item, "attempt") + 1).to_string() }));
            item.insert("provisional".to_owned(), json!({ "BOOL": false }));
            item.remove("review");
        }
        self.cloud.put(DECISIONS, item, "reviewer");
        self.look();
        true
    }
}
