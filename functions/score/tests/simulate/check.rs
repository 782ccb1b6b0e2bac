//! What must hold, said once more and otherwise than the code under test says it: from the bare items and messages.

use crate::posts::{ARTIFACTS, Part, Posts, digest_key};
use crate::service::{ACTIONS, BOUNDS, DECISIONS, NEXT_BOUNDS, TASKS};
use ::service::Subject;
use base64::Engine;
use domain::Timestamp;
use fastrand::Rng;
use scoring::TextModel;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use world::lambda::Watch;
use world::{Cloud, Item, Packed};

/// The longest invocation, in milliseconds: how far what it saw may lie behind what it wrote.
const INVOCATION_MS: i64 = 30_000;

/// What began before a decision was erased has ended by then.
const ENDED: Duration = Duration::from_secs(60);

/// A post and its revision.
type Place = (String, u64);

/// A stored decision, and what it owes.
struct Decided {
    item: Packed,
    task: Option<String>,
    action: Option<String>,
    decision: String,
    attempt: u64,
    /// The content that it judged, and all that it knows.
    judged: Option<String>,
    contents: BTreeSet<String>,
    /// What decisions before it, on other content, owed.
    owed_before: BTreeSet<String>,
    /// When a person decided, in milliseconds.
    human_at: Option<i64>,
}

/// Watches an AWS, and says what is wrong.
pub struct Checker<'a> {
    cloud: Arc<Cloud>,
    posts: &'a Posts,
    model: &'a TextModel,
    /// What the model says of each text, asked once.
    scores: BTreeMap<&'a str, f64>,
    writes: usize,
    decided: BTreeMap<Place, Decided>,
    /// Messages sent, by queue: ids with the body that came first.
    sent: BTreeMap<&'static str, BTreeMap<String, String>>,
    seen: BTreeMap<&'static str, usize>,
    repeated: usize,
    /// When authors and posts were erased, in milliseconds: by their keyed digests, and by their ids.
    authors_erased: BTreeMap<String, i64>,
    posts_erased: BTreeMap<String, i64>,
    /// When a decision was erased.
    gone: BTreeMap<Place, Instant>,
    /// Nothing goes wrong, so nothing may be unavailable.
    pub calm: bool,
    pub violations: BTreeSet<String>,
}

fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.get("S")?.as_str()).unwrap_or_default()
}

fn number(item: &Item, name: &str) -> u64 {
    item.get(name).and_then(|value| value.get("N")?.as_str()?.parse().ok()).unwrap_or(0)
}

/// The content that a decision judged.
fn judged(item: &Item) -> Option<String> {
    item.get("content")?["M"]["digest"]["B"].as_str().map(hex)
}

/// Bytes of an item, in hexadecimal.
fn hex(base64: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_author(id: &str) -> String {
    domain::keyed_hex(digest_key().digest("author", &[id.as_bytes()]))
}

/// The contents that a decision knows: the one it judged, and others that came in its place before.
fn contents(item: &Item) -> BTreeSet<String> {
    let content = &item.get("content").map_or(Value::Null, |content| content["M"].clone());
    let judged = judged(item);
    let others = content["others"]["L"].as_array().into_iter().flatten();
    judged.into_iter().chain(others.filter_map(|other| other["S"].as_str().map(str::to_owned))).collect()
}

/// How severe a decision is.
fn severity(decision: &str) -> usize {
    ["approve", "review", "hide"].iter().position(|word| *word == decision).unwrap()
}

fn millis(item: &Item, name: &str) -> i64 {
    text(item, name).parse::<Timestamp>().map_or(0, Timestamp::millis)
}

impl<'a> Checker<'a> {
    pub fn new(cloud: &Arc<Cloud>, posts: &'a Posts, model: &'a TextModel) -> Self {
        Self {
            cloud: cloud.clone(),
            posts,
            model,
            scores: BTreeMap::new(),
            writes: 0,
            decided: BTreeMap::new(),
            sent: BTreeMap::new(),
            seen: BTreeMap::new(),
            repeated: 0,
            authors_erased: BTreeMap::new(),
            posts_erased: BTreeMap::new(),
            gone: BTreeMap::new(),
            calm: false,
            violations: BTreeSet::new(),
        }
    }

    pub fn wrong(&mut self, what: impl Into<String>) {
        self.violations.insert(what.into());
    }

    /// Takes in what was written and sent since the last time.
    pub fn look(&mut self) {
        for write in self.cloud.writes(DECISIONS, self.writes) {
            self.writes += 1;
            let key = (text(&write.item, "post_id").to_owned(), number(&write.item, "revision"));
            match (&*write.by, self.decided.get_mut(&key)) {
                ("put", _) if write.item.contains_key("erased_at") => self.erased(key, &write.item, write.at),
                ("insert", None) => self.inserted(key, write.item),
                ("reviewer", Some(decided)) => {
                    decided.human_at = Some(millis(&write.item, "decided_at"));
                    decided.item = Packed::of(&write.item);
                }
                (_, Some(decided)) if decided.human_at.is_some() => {
                    self.wrong(format!("a person's decision on {key:?} was overwritten"));
                }
                ("put", Some(_)) => self.conflicted(key, write.item),
                _ => self.wrong(format!("the decision on {key:?} was overwritten")),
            }
        }
        for queue in [TASKS, ACTIONS] {
            let seen = self.seen.get(queue).copied().unwrap_or(0);
            for told in self.cloud.told(queue, seen) {
                *self.seen.entry(queue).or_default() += 1;
                self.arrived(queue, told.body, told.at);
            }
        }
    }

    /// A tombstone was put up, in the place of a decision or of nothing.
    fn erased(&mut self, key: Place, item: &Item, at: Instant) {
        let erased_at = millis(item, "erased_at");
        let author = item.get("erased_author").map(|author| hex(author["B"].as_str().unwrap()));
        if let Some(digest) = key.0.strip_prefix("author\u{1f}") {
            self.authors_erased.insert(digest.to_owned(), erased_at);
            return;
        }
        if author.is_none() {
            self.posts_erased.insert(key.0.clone(), erased_at);
        }
        if let Some(decided) = self.decided.remove(&key) {
            let item = decided.item.item();
            if millis(&item, "received_at") >= erased_at
                || author.is_some_and(|author| author != of_author(text(&item, "author_id")))
            {
                self.wrong(format!("the decision on {key:?} was erased, though nobody asked for that"));
            }
        }
        self.gone.insert(key, at);
    }

    /// When the author of a post, or the post, was erased, in milliseconds.
    fn erased_at(&self, id: &str) -> Option<i64> {
        let author = self.posts.authors.get(id).and_then(Option::as_ref);
        let author = author.and_then(|author| self.authors_erased.get(&of_author(author)));
        author.into_iter().chain(self.posts_erased.get(id)).copied().max()
    }

    /// The same of what a part of a message is about.
    fn part_erased_at(&self, part: &Part) -> Option<i64> {
        match part {
            Part::Post((id, _)) => self.erased_at(id),
            Part::Kept(digest) => self.erased_at(self.posts.kept.get(digest)?),
        }
    }

    /// Decisions that are left of somebody who was erased, on what was sent before that. A post that was sent after it, and decided before a
    /// tombstone took its place, is nobody's concern.
    pub fn left_of(&mut self, subject: &Subject, erased_at: i64) -> Vec<Place> {
        self.look();
        let left = self.decided.iter().filter(|(key, decided)| {
            let item = decided.item.item();
            let is_theirs = match subject {
                Subject::Author(author) => text(&item, "author_id") == author.as_str(),
                Subject::Post(post) => key.0 == post.as_str(),
            };
            is_theirs && millis(&item, "received_at") < erased_at
        });
        left.map(|(key, _)| key.clone()).collect()
    }

    /// Other content came in a place that is taken: decided again, no milder, and nothing that was known is forgotten.
    fn conflicted(&mut self, key: Place, item: Arc<Item>) {
        let before = &self.decided[&key];
        let knows = contents(&item);
        let settled = knows.is_superset(&before.contents)
            && knows.len() == before.contents.len() + 1
            && severity(text(&item, "decision")) >= severity(&before.decision).max(1)
            && number(&item, "attempt") == before.attempt + 1;
        if !settled {
            return self.wrong(format!("the decision on {key:?} was overwritten"));
        }
        let owed_before: BTreeSet<_> =
            [&before.task, &before.action].into_iter().flatten().chain(&before.owed_before).cloned().collect();
        self.inserted(key.clone(), item);
        if let Some(decided) = self.decided.get_mut(&key) {
            decided.owed_before = owed_before;
        }
    }

    fn inserted(&mut self, key: Place, item: Arc<Item>) {
        let known = contents(&item).into_iter().all(|digest| self.posts.texts.contains_key(&(key.0.clone(), digest)));
        if !known || contents(&item).is_empty() {
            return self.wrong(format!("{key:?} was decided on content that was never sent"));
        }
        let (id, decision, attempt) = (text(&item, "decision_id"), text(&item, "decision"), number(&item, "attempt"));
        let action = match decision {
            "hide" => Some("hide"),
            _ if key.1 > 1 && attempt == 1 => Some("publish"),
            _ => None,
        };
        let decided = Decided {
            task: (decision != "approve").then(|| format!("{id}-task")),
            action: action.map(|action| format!("{id}-{attempt}-{action}")),
            decision: decision.to_owned(),
            attempt,
            judged: judged(&item),
            contents: contents(&item),
            owed_before: BTreeSet::new(),
            human_at: None,
            item: Packed::of(&item),
        };
        let judgement = self.judgement(&key, &item);
        for wrong in self.evidence(&key, &item).into_iter().chain(judgement) {
            self.wrong(wrong);
        }
        self.decided.insert(key, decided);
    }

    /// Whether the score is that of a text that was sent, and the decision what the policy's bands make of it.
    fn judgement(&mut self, key: &Place, item: &Item) -> Option<String> {
        let said = &item["scores"]["M"]["hate"]["M"];
        let score = said["calibrated"]["N"].as_str().and_then(|number| number.parse::<f64>().ok());
        let content = &item.get("content").map_or(Value::Null, |content| content["M"].clone());
        let floor = content["conflict"]["S"].as_str().map_or(0, severity);
        let texts = self.posts.texts.get(&(key.0.clone(), judged(item)?))?;
        let model = self.model;
        let mut of =
            |text: &'a String| *self.scores.entry(text).or_insert_with(|| model.score(text).unwrap().calibrated);
        let unread = item
            .get("content")
            .is_some_and(|content| content["M"]["unread"]["L"].as_array().is_some_and(|views| !views.is_empty()));
        let Some(score) = score.or(unread.then_some(f64::NAN)) else {
            return (!texts.is_empty()).then(|| format!("{key:?} has a text and no score"));
        };
        if unread {
            // What stands elsewhere could not be read for long: nobody approves that.
            return (text(item, "decision") == "approve").then(|| format!("{key:?} was approved unread"));
        }
        if !texts.iter().any(|text| of(text).to_bits() == score.to_bits()) {
            return Some(format!("{key:?} has the score {score} of no text of its own"));
        }
        let next = item["policy"]["M"]["version"]["S"] == "next";
        let (review, hide) = if next { NEXT_BOUNDS } else { BOUNDS };
        let fits = match text(item, "decision") {
            "hide" => score >= hide || floor == 2,
            "review" => score < hide && floor < 2,
            _ => score < review && content["conflict"].is_null(),
        };
        (!fits).then(|| format!("{key:?} has the score {score} and the decision {}", text(item, "decision")))
    }

    /// Whether a decision was made on what is true, and on enough of it.
    fn evidence(&self, key: &Place, item: &Item) -> Vec<String> {
        let mut wrong = Vec::new();
        let features = &item["features"]["M"];
        let listed = |name: &str| {
            let list = features.pointer(&format!("/{name}/L")).and_then(Value::as_array);
            list.into_iter().flatten().any(|feature| feature["S"] == "prior_violations")
        };
        let value = features.pointer("/values/M/prior_violations/N").and_then(Value::as_str);
        let row = self
            .posts
            .authors
            .get(&key.0)
            .and_then(Option::as_ref)
            .and_then(|author| self.posts.violations.get(author));
        match row {
            Some(_) if listed("unavailable") && !self.calm => {}
            // The row was erased with its author.
            Some(_) if value.is_none() && listed("missing") && self.erased_at(&key.0).is_some() => {}
            Some(row) if value == Some(&row.to_string()) && !listed("missing") => {}
            None if value.is_none() && (listed("missing") || listed("unavailable")) => {}
            _ => wrong.push(format!("{key:?}: the author's row says {row:?} violations, the record {value:?}")),
        }
        let history = text(item, "verdict_before");
        let scored = item["scores"].pointer("/M/hate/M/state/S") == Some(&Value::from("ok"));
        if text(item, "decision") == "approve" && (!scored || history == "unavailable") {
            wrong.push(format!("{key:?} was approved without the evidence that the policy requires"));
        }
        let before = self.decided.range((key.0.clone(), 0)..key.clone());
        let known = before.filter_map(|(_, decided)| decided.human_at).min();
        let looked_at = millis(item, "decided_at") - INVOCATION_MS;
        if known.is_some_and(|at| at < looked_at) && (history.is_empty() || text(item, "decision") == "approve") {
            wrong.push(format!("{key:?} came after a person's verdict and was not looked at"));
        }
        wrong
    }

    fn arrived(&mut self, queue: &'static str, body: String, at: Instant) {
        let message: Value = serde_json::from_str(&body).unwrap();
        let field = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let key = (field("post_id"), message["revision"].as_u64().unwrap_or(0));
        let id = field(if queue == TASKS { "task_id" } else { "action_id" });
        let Some(decided) = self.decided.get(&key) else {
            if self.gone.get(&key).is_some_and(|gone| at < *gone + ENDED) {
                return;
            }
            return self.wrong(format!("{queue}: a message about {key:?}, which is not decided"));
        };
        let owed = if queue == TASKS { &decided.task } else { &decided.action };
        let conflicted = !decided.owed_before.is_empty() || decided.attempt > 1;
        if owed.as_deref() != Some(&*id) && !decided.owed_before.contains(&id) {
            let what = format!("{queue}: {id} about {key:?}, owed is {owed:?}");
            return self.wrong(what);
        }
        // A task says what was decided; after a verdict the item says something else.
        if queue == TASKS && decided.human_at.is_none() && !conflicted && field("decision") != decided.decision {
            let what = format!("tasks: {key:?} is asked about as {}, decided otherwise", field("decision"));
            return self.wrong(what);
        }
        match self.sent.entry(queue).or_default().entry(id) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(body);
            }
            std::collections::btree_map::Entry::Occupied(first) => {
                self.repeated += 1;
                if *first.get() != body && !conflicted {
                    let what = format!("{queue}: {} came twice and says different things", first.key());
                    self.wrong(what);
                }
            }
        }
    }

    fn was_sent(&self, queue: &str, id: &str) -> bool {
        self.sent.get(queue).is_some_and(|sent| sent.contains_key(id))
    }

    /// What is still owed for a part of a message; `None` where nothing is.
    pub fn open(&self, part: &Part) -> Option<String> {
        match part {
            Part::Kept(digest) => {
                let kept = self.cloud.object(ARTIFACTS, &format!("quarantine/{digest}"));
                let whole = kept.is_some_and(|bytes| domain::sha256_hex(&bytes) == *digest);
                (!whole).then(|| format!("{digest} is not in quarantine"))
            }
            Part::Post((id, digest)) => {
                let all = self.decided.range((id.clone(), 0)..=(id.clone(), u64::MAX));
                let knowing: Vec<_> =
                    all.filter(|(_, decided)| decided.contents.contains(digest)).map(|(key, _)| key).collect();
                if knowing.is_empty() {
                    return Some(format!("{id} is not decided on the content {digest}"));
                }
                // A content that another took the place of owes nothing more: the message with the newer content does.
                let newer = |key: &&Place| self.decided[*key].judged.as_ref() != Some(digest);
                if knowing.iter().any(newer) {
                    return None;
                }
                // One decision that knows the content and has told everybody is enough: another may be on its way.
                knowing.into_iter().map(|key| self.owes(key)).min_by_key(Option::is_some)?
            }
        }
    }

    /// What a decision still owes.
    fn owes(&self, key: &Place) -> Option<String> {
        let decided = &self.decided[key];
        if let Some(task) = decided.task.as_ref().filter(|task| !self.was_sent(TASKS, task)) {
            return Some(format!("{key:?}: the task {task} was not sent"));
        }
        // A verdict that came in between takes the place of what the machine wanted.
        let action = decided.action.as_ref().filter(|_| decided.human_at.is_none());
        let action = action.filter(|action| !self.was_sent(ACTIONS, action))?;
        Some(format!("{key:?}: the action {action} was not sent"))
    }

    /// Called when the queue forgets a message.
    pub fn acknowledged(&mut self, parts: &[Part], sent_ms: i64) {
        self.look();
        for part in parts {
            let Some(open) = self.open(part) else { continue };
            let was_erased = self.part_erased_at(part).is_some_and(|at| sent_ms < at) || self.just_erased(part);
            if !was_erased {
                self.wrong(format!("acknowledged too early: {open}"));
            }
        }
    }

    /// Whether a decision on it was erased while the message was being dealt with.
    fn just_erased(&self, part: &Part) -> bool {
        let id = match part {
            Part::Post((id, _)) => id,
            Part::Kept(digest) => match self.posts.kept.get(digest) {
                Some(id) => id,
                None => return false,
            },
        };
        let gone = self.gone.range((id.clone(), 0)..=(id.clone(), u64::MAX));
        gone.into_iter().any(|(_, at)| Instant::now() < *at + ENDED)
    }

    /// At the end: every part is in exactly one of decided, quarantined, erased, in flight.
    pub fn at_the_end(&mut self, in_flight: &BTreeSet<Part>) -> Totals {
        self.look();
        let mut totals = Totals { repeated: self.repeated, ..Totals::default() };
        let parts: BTreeSet<&Part> = self.posts.parts.iter().collect();
        for part in parts {
            let open = self.open(part);
            match (part, open, in_flight.contains(part)) {
                (Part::Post(_), None, _) => totals.decided += 1,
                (Part::Kept(_), None, _) => totals.quarantined += 1,
                (_, Some(_), true) => totals.in_flight += 1,
                // Whether that was right was looked at when its message was acknowledged.
                (_, Some(_), false) if self.part_erased_at(part).is_some() => totals.erased += 1,
                (_, Some(open), false) => self.wrong(format!("lost: {open}")),
            }
        }
        let expected: BTreeSet<String> = self
            .posts
            .parts
            .iter()
            .filter_map(|part| if let Part::Kept(digest) = part { Some(format!("quarantine/{digest}")) } else { None })
            .collect();
        for key in self.cloud.keys(ARTIFACTS, "quarantine/") {
            if !expected.contains(&key) {
                self.wrong(format!("{key} is in quarantine and is no poison"));
            }
        }
        totals
    }

    /// Tasks whose decisions no person has touched.
    pub fn reviewable(&mut self) -> Vec<Packed> {
        self.look();
        let open = self.decided.values().filter(|decided| {
            decided.human_at.is_none() && decided.task.as_ref().is_some_and(|task| self.was_sent(TASKS, task))
        });
        open.map(|decided| decided.item.clone()).collect()
    }

    /// How far a batch is: decided, messages sent, quarantined.
    pub fn progress(&mut self) -> (usize, usize, usize) {
        self.look();
        let sent = self.sent.values().map(BTreeMap::len).sum();
        (self.decided.len(), sent, self.cloud.keys(ARTIFACTS, "quarantine/").len())
    }
}

impl Watch for Checker<'_> {
    type Part = Part;

    fn wrong(&mut self, what: String) {
        Checker::wrong(self, what);
    }

    fn acknowledged(&mut self, parts: &[Part], sent_ms: i64) {
        Checker::acknowledged(self, parts, sent_ms);
    }

    /// People look at tasks and decide otherwise, or not.
    fn review(&mut self, rng: &mut Rng, now_ms: i64) -> bool {
        let tasks = self.reviewable();
        if tasks.is_empty() {
            return false;
        }
        let mut item = tasks[rng.usize(..tasks.len())].item();
        let at = Timestamp::from_millis(now_ms);
        item.insert("decided_by".to_owned(), json!({ "S": "human" }));
        item.insert("decision".to_owned(), json!({ "S": if rng.bool() { "approve" } else { "hide" } }));
        item.insert("decided_at".to_owned(), json!({ "S": at.to_string() }));
        let attempt = number(&item, "attempt") + 1;
        item.insert("attempt".to_owned(), json!({ "N": attempt.to_string() }));
        item.remove("review");
        self.cloud.put(DECISIONS, item, "reviewer");
        self.look();
        true
    }
}

/// What became of the posts of a run.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    pub decided: usize,
    pub quarantined: usize,
    pub erased: usize,
    pub in_flight: usize,
    /// Tasks and actions that came more than once.
    pub repeated: usize,
}
