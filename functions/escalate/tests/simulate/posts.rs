//! What stands in the table and in the queue when a run begins, and what has to become of each.

use crate::stub;
use domain::policy::Decision;
use domain::{Consulted, DecidedBy, DecisionRecord, Escalation, Post, ScoreState, Timestamp, VerdictBefore, View};
use fastrand::Rng;
use features::views::Lookup;
use scoring::{Explain, Judge, Subject, Text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use world::lambda::BEGINS_MS;

pub const ARTIFACTS: &str = "artifacts";
pub const CONTENT: &str = "content";
/// Stands in every text and id, and in no line of the log.
pub const CANARY: &str = "kanarienvogel";

const TEXTS: [&str; 10] = [
    "The tomatoes on the balcony finally turned red, soup tonight!",
    "Does anybody know a good bakery near the station?",
    "Watched the match with my brother, what a goal.",
    "You are an idiot and everybody knows it.",
    "Immigrants only come here to steal, send them back.",
    "Women like that are too stupid to vote.",
    "Immigrants are vermin, deport them all, they are subhuman filth.",
    "They called me vermin on the bus, and nobody said a word.",
    "ok",
    "I hate mondays, I hate rain, I hate this printer.",
];

static NOBODY: Lookup = Lookup::Missing;

/// A revision of a post.
pub type Key = (String, u64);

/// What has to become of a message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// The post has its last decision, or is gone.
    Post(Key),
    /// These bytes, by their digest, are kept in quarantine.
    Kept(String),
}

/// A message to the queue of escalations.
pub struct Sent {
    /// The body as it stands in the event: a JSON string with its quotes.
    pub body: Rc<str>,
    pub parts: Rc<[Part]>,
    /// How long after the run begins.
    pub after: Duration,
}

/// What is true of a post.
pub struct Known {
    /// Its text, wherever it is kept; `None` where it has none, or it is not to be had.
    pub text: Option<String>,
    /// What can be seen in each of its media; `None` where nothing can.
    pub media: Vec<Option<String>>,
    pub received_ms: i64,
}

/// Everything there is when a run begins.
#[derive(Default)]
pub struct Posts {
    pub messages: Vec<Sent>,
    /// Keys in the bucket of content.
    pub objects: Vec<(String, String)>,
    pub records: Vec<DecisionRecord>,
    pub known: BTreeMap<Key, Known>,
    /// Hashes of pictures that are on the block list.
    pub blocked: BTreeSet<String>,
    /// All parts of all messages, once each.
    pub parts: Vec<Part>,
    /// Those whose messages are lost: only a sweep finds them.
    pub lost: BTreeSet<Part>,
    /// Of ten posts with words, so many have pictures too.
    illustrated: u8,
}

/// A post that is about to be written down.
struct Draft {
    id: String,
    revision: u64,
    fields: Value,
    known: Known,
    text: Option<Text>,
    after: Duration,
}

fn quoted(body: &str) -> Rc<str> {
    Value::from(body).to_string().into()
}

fn gust(rng: &mut Rng) -> Duration {
    Duration::from_secs(rng.u64(..4) * 75) + Duration::from_millis(rng.u64(..3_000))
}

impl Posts {
    fn send(&mut self, body: Rc<str>, part: Part, after: Duration) {
        self.parts.push(part.clone());
        self.messages.push(Sent { body, parts: [part].into(), after });
    }

    /// `count` posts, poison and repetitions included, by a seed.
    pub fn generate(judge: &Judge, seed: u64, count: usize) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x9057_5eed);
        let mut posts = Self { illustrated: [2, 2, 8][rng.usize(..3)], ..Self::default() };
        let (mut number, mut distinct) = (0, BTreeSet::new());
        while distinct.len() < count {
            number += 1;
            let known = posts.parts.len();
            posts.one(judge, &mut rng, number);
            distinct.extend(posts.parts[known..].iter().cloned());
        }
        posts.parts = distinct.into_iter().collect();
        posts
    }

    fn one(&mut self, judge: &Judge, rng: &mut Rng, number: usize) {
        match rng.u8(..100) {
            0..=4 => self.poison(rng, number),
            // Revisions are decided each for itself, whatever their order.
            5..=9 => {
                for revision in 1..=rng.u64(2..=3) {
                    self.post(judge, rng, number, revision);
                }
            }
            _ => self.post(judge, rng, number, 1),
        }
    }

    fn poison(&mut self, rng: &mut Rng, number: usize) {
        let body = match rng.u8(..5) {
            0 => format!("{CANARY} {number} is not json"),
            1 => json!({ "post_id": format!("{CANARY}-{number}"), "text": "a post, and no escalation" }).to_string(),
            2 => json!({ "schema": "escalation/1", "received_at": "yesterday", "n": number, "post": {} }).to_string(),
            3 => json!({ "schema": "escalation/1", "received_at": "2026-11-23T10:00:00Z", "post": { "text": format!("{CANARY} {number}") } })
                .to_string(),
            // Half a surrogate pair, which is read as U+FFFD.
            _ => {
                let read = |half: &str| format!("{CANARY} {number} {half}");
                let body = format!(r#""{}""#, read("\\ud83d"));
                let kept = domain::sha256_hex(read("\u{FFFD}").as_bytes());
                return self.send(body.as_str().into(), Part::Kept(kept), gust(rng));
            }
        };
        let part = Part::Kept(domain::sha256_hex(body.as_bytes()));
        self.send(quoted(&body), part, gust(rng));
    }

    /// A provisional decision with its message, which may come more than once; or what has become of one.
    fn post(&mut self, judge: &Judge, rng: &mut Rng, number: usize, revision: u64) {
        let mut record = None;
        let mut draft = None;
        // Until the first judge is unsure of it.
        for attempt in 0..40 {
            let after = gust(rng);
            let one = self.draft(rng, format!("{CANARY}-p{number}"), revision, attempt, after);
            let judged = judged(judge, &one);
            if judged.provisional {
                (record, draft) = (Some(judged), Some(one));
                break;
            }
        }
        let (Some(mut record), Some(draft)) = (record, draft) else { return self.poison(rng, number) };
        match rng.u8(..100) {
            // It was erased, or has expired.
            0..=3 => return self.write_down(rng, &draft, None),
            4..=5 => verdict(&mut record, true),
            6..=7 => verdict(&mut record, false),
            8..=12 => decided(&mut record, 2, rng),
            13..=14 => decided(&mut record, 1, rng),
            _ => {}
        }
        self.write_down(rng, &draft, Some(record));
    }

    fn write_down(&mut self, rng: &mut Rng, draft: &Draft, record: Option<DecisionRecord>) {
        let key = (draft.id.clone(), draft.revision);
        let body = quoted(&Escalation { post: draft.post(), received_at: draft.received_at() }.to_body());
        if record.as_ref().is_some_and(|record| record.provisional) && rng.u8(..20) == 0 {
            let part = Part::Post(key.clone());
            self.parts.push(part.clone());
            self.lost.insert(part);
            return self.stands(key, draft, record);
        }
        self.send(body.clone(), Part::Post(key.clone()), draft.after);
        // The first function sends again what it has sent, whenever its own message comes again.
        while rng.u8(..4) == 0 {
            let after = if rng.bool() { draft.after } else { draft.after + gust(rng) };
            self.send(body.clone(), Part::Post(key.clone()), after);
        }
        self.stands(key, draft, record);
    }

    fn stands(&mut self, key: Key, draft: &Draft, record: Option<DecisionRecord>) {
        self.records.extend(record);
        let known = &draft.known;
        let kept = Known { text: known.text.clone(), media: known.media.clone(), received_ms: known.received_ms };
        self.known.insert(key, kept);
    }

    fn draft(&mut self, rng: &mut Rng, id: String, revision: u64, attempt: u32, after: Duration) -> Draft {
        let words = format!("{} {}", TEXTS[rng.usize(..TEXTS.len())], TEXTS[rng.usize(..TEXTS.len())]);
        let text = format!("{CANARY} {words} {id} {revision} {attempt}");
        // Most are sent on at once; some come when there is hardly time left, some too late.
        let age = match rng.u8(..24) {
            0..=1 => rng.u64(50_000..600_000),
            2..=4 => rng.u64(45_000..54_500),
            _ => rng.u64(200..5_000),
        };
        let received_ms = BEGINS_MS + i64::try_from(after.as_millis()).unwrap() - i64::try_from(age).unwrap();
        let known = Known { text: Some(text.clone()), media: Vec::new(), received_ms };
        let mut draft = Draft { id, revision, fields: json!({}), known, text: Some(Text::Known(text.clone())), after };
        let unique = format!("{}-{revision}-{attempt}", draft.id);
        match rng.u8(..20) {
            0..=2 => {
                draft.fields["text_ref"] = json!(format!("s3://{CONTENT}/texts/{unique}"));
                // What it refers to may be gone by now.
                if rng.u8(..4) == 0 {
                    draft.known.text = None;
                } else {
                    self.objects.push((format!("texts/{unique}"), text));
                }
            }
            3..=4 => (draft.text, draft.known.text) = (None, None),
            // A language that nobody has learned here; the endpoint would be asked about its pictures alone.
            5 => {
                draft.fields["lang"] = json!("fr");
                draft.fields["text"] = json!(text);
            }
            _ => draft.fields["text"] = json!(text),
        }
        if draft.text.is_none() || rng.u8(..10) < self.illustrated {
            let pictures = if rng.u8(..30) == 0 { 9 } else { rng.usize(1..=3) };
            let media = (0..pictures).map(|place| self.picture(rng, &unique, place));
            let (entries, seen): (Vec<Value>, Vec<Option<String>>) = media.unzip();
            draft.fields["media"] = json!(entries);
            draft.known.media = seen;
        }
        draft
    }

    /// An entry in a post's media, and what can be seen there.
    fn picture(&mut self, rng: &mut Rng, unique: &str, place: usize) -> (Value, Option<String>) {
        let content = format!("{}{CANARY} {unique} {place}", stub::PICTURE);
        let uri = |key: &str| json!({ "uri": format!("s3://{CONTENT}/{key}"), "type": "image/png" });
        let (plain, escaped) = (format!("pictures/{unique}-{place}"), format!("pictures%2F{unique}-{place}"));
        if rng.u8(..8) == 0 {
            self.blocked.insert(stub::hash(&content));
        }
        // Nobody looks at more than eight.
        let looked_at = (place < 8).then(|| content.clone());
        match rng.u8(..12) {
            0 => (uri(&plain), None),
            1 => {
                self.objects.push((plain.clone(), format!("GARBAGE {CANARY}")));
                (uri(&plain), None)
            }
            // `%2F` in an address is no slash.
            2 => {
                self.objects.push((plain, content));
                (uri(&escaped), None)
            }
            3 => {
                self.objects.push((escaped.clone(), content));
                (uri(&escaped), looked_at)
            }
            4 => match rng.u8(..3) {
                0 => (json!({ "uri": "s3://elsewhere/x.png", "type": "image/png" }), None),
                1 => (json!({ "uri": format!("https://pictures.example/{CANARY}") }), None),
                _ => (json!({ "uri": format!("s3://{CONTENT}/a.mp4"), "type": "video/mp4" }), None),
            },
            _ => {
                self.objects.push((plain.clone(), content));
                (uri(&plain), looked_at)
            }
        }
    }

    /// A batch of ten that goes through everything: what is exhaustively cut.
    pub fn ten(judge: &Judge) -> Self {
        let mut rng = Rng::with_seed(10);
        let mut posts = Self::default();
        // Approved, reviewed and hidden by the second opinion, which is known beforehand.
        for (name, revision, wanted) in [
            ("calm", 1, 0.0..0.2),
            ("unsure", 1, 0.2..0.8),
            ("filth", 2, 0.8..1.0),
            ("person", 1, 0.2..0.8),
            ("again", 1, 0.8..1.0),
        ] {
            let id = format!("{CANARY}-{name}");
            let (draft, mut record) = (0..)
                .find_map(|attempt| {
                    let draft = posts.plain(&id, revision, attempt);
                    let record = judged(judge, &draft);
                    let fits = draft.known.text.as_ref().is_some_and(|text| wanted.contains(&stub::score(text)));
                    (fits && record.provisional).then_some((draft, record))
                })
                .unwrap();
            match name {
                "person" => verdict(&mut record, true),
                "again" => decided(&mut record, 2, &mut rng),
                _ => {}
            }
            let (key, body) = (
                (id, revision),
                quoted(&Escalation { post: draft.post(), received_at: draft.received_at() }.to_body()),
            );
            posts.send(body.clone(), Part::Post(key.clone()), Duration::ZERO);
            if name == "filth" {
                posts.send(body, Part::Post(key.clone()), Duration::ZERO);
            }
            posts.records.push(record);
            posts.known.insert(key, draft.known);
        }
        for (name, kept) in [("picture", true), ("no-picture", false), ("gone", true)] {
            let mut draft = posts.plain(&format!("{CANARY}-{name}"), 1, 0);
            let content = format!("{}{CANARY} {name}", stub::PICTURE);
            draft.fields = json!({ "media": [{ "uri": format!("s3://{CONTENT}/{name}"), "type": "image/png" }] });
            (draft.text, draft.known.text) = (None, None);
            draft.known.media = vec![kept.then(|| content.clone())];
            if kept {
                posts.objects.push((name.to_owned(), content));
            }
            let body = quoted(&Escalation { post: draft.post(), received_at: draft.received_at() }.to_body());
            let key = (draft.id.clone(), 1);
            posts.send(body, Part::Post(key.clone()), Duration::ZERO);
            if name != "gone" {
                posts.records.push(judged(judge, &draft));
            }
            posts.known.insert(key, draft.known);
        }
        posts.poison(&mut rng, 0);
        posts
    }

    fn plain(&self, id: &str, revision: u64, attempt: u32) -> Draft {
        let text = format!("{CANARY} {} {} {attempt}", TEXTS[attempt as usize % TEXTS.len()], TEXTS[4]);
        let known = Known { text: Some(text.clone()), media: Vec::new(), received_ms: BEGINS_MS - 300 };
        let fields = json!({ "text": text });
        Draft { id: id.to_owned(), revision, fields, known, text: Some(Text::Known(text)), after: Duration::ZERO }
    }
}

impl Draft {
    fn post(&self) -> Post {
        let mut post = json!({ "post_id": self.id, "revision": self.revision, "author_id": format!("{CANARY}-u") });
        post.as_object_mut().unwrap().extend(self.fields.as_object().unwrap().clone());
        Post::parse(post.to_string().as_bytes()).ok().unwrap()
    }

    fn received_at(&self) -> Timestamp {
        Timestamp::from_millis(self.known.received_ms)
    }
}

/// The decision of the first function.
fn judged(judge: &Judge, draft: &Draft) -> DecisionRecord {
    let texts: Vec<_> = draft.text.iter().map(|text| (View::Text, text.clone())).collect();
    let subject = Subject {
        post: &draft.post(),
        texts: &texts,
        conflict: None,
        verdict_before: VerdictBefore::No,
        received_at: draft.received_at(),
        decided_at: Timestamp::from_millis(draft.known.received_ms + 100),
        explain: Explain::AboveApprove,
    };
    judge.judge(&subject, |_| &NOBODY)
}

/// A person has decided; whoever wrote it down left the rest as it was, or not.
fn verdict(record: &mut DecisionRecord, properly: bool) {
    (record.decided_by, record.decision) = (DecidedBy::Human, Decision::Hide);
    if properly {
        (record.attempt, record.provisional, record.review) = (record.attempt + 1, false, None);
    }
}

/// The last decision stands already; whether what it owes was sent nobody knows.
fn decided(record: &mut DecisionRecord, attempt: u32, rng: &mut Rng) {
    (record.attempt, record.provisional) = (attempt, false);
    if attempt > 1 {
        let (by, state) = (domain::Adviser::Endpoint, ScoreState::Ok);
        record.second_opinion = Some(Consulted { by, state, why: None, model: Some("second@1".to_owned()) });
    }
    match rng.u8(..3) {
        0 => record.decision = Decision::Hide,
        1 => (record.decision, record.review) = (Decision::Approve, None),
        _ => {}
    }
    // An owed task needs a lane.
    if record.review.is_none() && record.decision == Decision::Hide {
        let due_at = record.decided_at;
        record.review = Some(domain::Review { lane: "urgent".to_owned(), priority: 1, due_at });
    }
}
