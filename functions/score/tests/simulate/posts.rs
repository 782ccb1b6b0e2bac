//! What is sent in a run: posts in every shape, poison among them, and what has to become of each.

use fastrand::Rng;
use features::views::{Definitions, FeatureRow};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const ARTIFACTS: &str = "artifacts";
pub const CONTENT: &str = "content";
/// Stands in every text and id, and in no line of the log.
pub const CANARY: &str = "kanarienvogel";

const TEXTS: [&str; 12] = [
    "The tomatoes on the balcony finally turned red, soup tonight!",
    "Does anybody know a good bakery near the station?",
    "Watched the match with my brother, what a goal.",
    "New bike day. It squeaks already.",
    "You are an idiot and everybody knows it.",
    "Immigrants only come here to steal, send them back.",
    "Women like that are too stupid to vote.",
    "Immigrants are vermin, deport them all, they are subhuman filth.",
    "They called me vermin on the bus, and nobody said a word.",
    "ok",
    "",
    "I hate mondays, I hate rain, I hate this printer.",
];

/// A revision of a post.
pub type Key = (String, u64);

/// What has to become of a part of a message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// It is decided.
    Post(Key),
    /// These bytes, by their digest, are kept in quarantine.
    Kept(String),
}

/// A message to the posts queue.
#[derive(Clone)]
pub struct Sent {
    /// The body as it stands in the event: a JSON string with its quotes.
    pub body: Rc<str>,
    pub parts: Rc<[Part]>,
    /// Earliest revisions are sent early, so that a verdict may come between.
    pub late: bool,
}

/// Everything that is sent in a run.
#[derive(Default)]
pub struct Posts {
    pub messages: Vec<Sent>,
    pub objects: Vec<(String, String)>,
    pub rows: Vec<FeatureRow>,
    /// Violations that the row of an author counts; nothing is known of other authors.
    pub violations: BTreeMap<String, i64>,
    /// Who wrote what.
    pub authors: BTreeMap<Key, Option<String>>,
    /// What was sent as a post's text, under each wording; empty where it has none that the model reads.
    pub texts: BTreeMap<Key, BTreeSet<String>>,
    /// All parts of all messages, once each.
    pub parts: Vec<Part>,
}

fn quoted(body: &str) -> Rc<str> {
    Value::from(body).to_string().into()
}

fn digest(bytes: &str) -> Part {
    Part::Kept(domain::sha256_hex(bytes.as_bytes()))
}

impl Posts {
    fn send(&mut self, body: &str, parts: Vec<Part>) {
        self.send_raw(quoted(body), parts, false);
    }

    fn send_raw(&mut self, body: Rc<str>, parts: Vec<Part>, late: bool) {
        self.parts.extend(parts.iter().cloned());
        self.messages.push(Sent { body, parts: parts.into(), late });
    }

    fn author(&mut self, rng: &mut Rng) -> Option<String> {
        (rng.u8(..8) > 0).then(|| format!("{CANARY}-u{}", rng.u32(..40)))
    }

    /// A native post about to be sent, and what has to become of it.
    fn post(&mut self, rng: &mut Rng, id: &str, revision: u64, fields: Value) -> (String, Part) {
        let author = self.author(rng);
        let mut post = json!({ "post_id": id, "revision": revision, "author_id": author });
        post.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let key = (id.to_owned(), revision);
        let english = post["lang"] != "fr";
        self.texts.entry(key.clone()).or_default().extend(post["text"].as_str().filter(|_| english).map(str::to_owned));
        self.authors.insert(key.clone(), author);
        (post.to_string(), Part::Post(key))
    }

    /// `count` posts, poison and repetitions included, by a seed.
    pub fn generate(seed: u64, count: usize) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x9057_5eed);
        let mut posts = Self::default();
        posts.write_authors(&mut rng);
        let mut number = 0;
        let mut distinct = BTreeSet::new();
        while distinct.len() < count {
            number += 1;
            let known = posts.parts.len();
            posts.one(&mut rng, number);
            distinct.extend(posts.parts[known..].iter().cloned());
        }
        posts.parts = distinct.into_iter().collect();
        posts
    }

    fn write_authors(&mut self, rng: &mut Rng) {
        let definitions = Definitions::bundled().unwrap();
        for number in 0..26 {
            let id = format!("{CANARY}-u{number}");
            let violations = [0, 0, 0, 1, 4][rng.usize(..5)];
            let opened = if rng.bool() { "2021-03-01T00:00:00Z" } else { "2026-11-21T00:00:00Z" };
            let line = json!({
                "view": "user", "id": id, "updated_at": "2026-11-23T00:00:00Z",
                "values": { "account_created_at": opened, "followers": 12, "prior_violations": violations },
            });
            self.rows.push(definitions.parse_row(&line.to_string()).unwrap());
            self.violations.insert(id, violations);
        }
    }

    fn one(&mut self, rng: &mut Rng, number: usize) {
        let id = format!("{CANARY}-p{number}");
        let text = format!("{CANARY} {}", TEXTS[rng.usize(..TEXTS.len())]);
        let native = json!({ "text": text, "lang": "en" });
        match rng.u8(..100) {
            0..=65 => {
                let (body, part) = self.post(rng, &id, 1, native);
                self.send(&body, vec![part]);
            }
            // The same post again as another message, and under other words: whichever comes first stands.
            66..=72 => {
                let (body, part) = self.post(rng, &id, 1, native);
                self.send(&body, vec![part.clone()]);
                let mut again: Value = serde_json::from_str(&body).unwrap();
                if rng.bool() {
                    let other = format!("{CANARY} {}", TEXTS[rng.usize(..TEXTS.len())]);
                    self.texts.entry((id.clone(), 1)).or_default().insert(other.clone());
                    again["text"] = json!(other);
                }
                self.send(&again.to_string(), vec![part]);
            }
            73..=76 => {
                let (body, part) = self.post(rng, &id, 1, json!({ "text": text, "lang": "fr" }));
                self.send(&body, vec![part]);
            }
            77..=80 => {
                let media = json!({ "media": [{ "uri": "s3://content/a.png", "type": "image/png" }] });
                let (body, part) = self.post(rng, &id, 1, media);
                self.send(&body, vec![part]);
            }
            81..=83 => {
                self.texts.insert((id.clone(), 1), [text.clone()].into());
                self.objects.push((format!("texts/{id}"), text));
                let (body, part) = self.post(rng, &id, 1, json!({ "text_ref": format!("s3://{CONTENT}/texts/{id}") }));
                self.send(&body, vec![part]);
            }
            // An edit: revisions are decided each for itself, whatever their order.
            84..=88 => {
                for revision in 1..=rng.u64(2..=3) {
                    let (body, part) = self.post(rng, &id, revision, native.clone());
                    self.send_raw(quoted(&body), vec![part], revision > 1);
                }
            }
            // One message, several objects, one of which may hold no post.
            89..=90 => {
                let (mut entries, mut parts) = (Vec::new(), Vec::new());
                for object in 0..rng.usize(1..=3) {
                    let (mut held, mut part) = self.post(rng, &format!("{id}-{object}"), 1, native.clone());
                    if rng.u8(..5) == 0 {
                        held = format!("{CANARY} {id} {object} is no post");
                        part = digest(&held);
                    }
                    let key = format!("intake/{id}-{object}.json");
                    entries.push(json!({ "s3": { "bucket": { "name": CONTENT }, "object": { "key": key } } }));
                    self.objects.push((key, held));
                    parts.push(part);
                }
                self.send(&json!({ "Records": entries }).to_string(), parts);
            }
            91..=94 => {
                let (body, part) = self.post(rng, &id, 1, native);
                let inner: Value = serde_json::from_str(&body).unwrap();
                let wrapped = match rng.u8(..3) {
                    0 => json!({ "Type": "Notification", "Message": body }),
                    1 => json!({ "specversion": "1.0", "type": "t", "source": "s", "id": id, "data": inner }),
                    _ => json!({ "detail-type": "post", "source": "platform", "detail": inner }),
                };
                self.send(&wrapped.to_string(), vec![part]);
            }
            95..=97 => {
                let body = match rng.u8(..5) {
                    0 => format!("{CANARY} {number} is not json"),
                    1 => json!({ "text": text, "n": number }).to_string(),
                    2 => json!({ "post_id": id, "text": text, "created_at": "yesterday" }).to_string(),
                    3 => json!({ "post_id": id, "text_ref": "s3://elsewhere/x" }).to_string(),
                    _ => json!({ "post_id": id, "text_ref": format!("s3://{CONTENT}/absent/{id}") }).to_string(),
                };
                self.send(&body, vec![digest(&body)]);
            }
            // Half a surrogate pair, which is read as U+FFFD.
            98 => {
                let read = |half: &str| format!("{CANARY} {number} {half}");
                let body = format!(r#""{}""#, read("\\ud83d"));
                self.send_raw(body.as_str().into(), vec![digest(&read("\u{FFFD}"))], false);
            }
            _ => {
                let (body, _) = self.post(rng, &id, 1, json!({ "text": "moderato-test-panic" }));
                self.send(&body, vec![digest(&body)]);
            }
        }
    }

    /// A batch of ten that goes through everything: what is exhaustively cut.
    pub fn ten() -> Self {
        let mut rng = Rng::with_seed(10);
        let mut posts = Self::default();
        posts.write_authors(&mut rng);
        let text = |number: usize| json!({ "text": format!("{CANARY} {}", TEXTS[number]), "lang": "en" });
        for (id, revision, fields) in [
            ("calm", 1, text(0)),
            ("filth", 1, text(7)),
            ("uncertain", 1, text(5)),
            ("edited", 2, text(3)),
            ("picture", 1, json!({ "media": [{ "uri": "s3://content/a.png" }] })),
        ] {
            let (body, part) = posts.post(&mut rng, &format!("{CANARY}-{id}"), revision, fields);
            posts.send(&body, vec![part.clone()]);
            if id == "filth" {
                posts.send(&body, vec![part]);
            }
        }
        posts.objects.push(("texts/long".to_owned(), format!("{CANARY} {}", TEXTS[7])));
        let reference = json!({ "text_ref": format!("s3://{CONTENT}/texts/long") });
        posts.texts.insert((format!("{CANARY}-reference"), 1), [format!("{CANARY} {}", TEXTS[7])].into());
        let (body, part) = posts.post(&mut rng, &format!("{CANARY}-reference"), 1, reference);
        posts.send(&body, vec![part]);
        let mut entries = Vec::new();
        let mut parts = Vec::new();
        for (object, number) in [1, 7].into_iter().enumerate() {
            let (held, part) = posts.post(&mut rng, &format!("{CANARY}-object-{object}"), 1, text(number));
            let key = format!("intake/{object}.json");
            entries.push(json!({ "s3": { "bucket": { "name": CONTENT }, "object": { "key": key } } }));
            posts.objects.push((key, held));
            parts.push(part);
        }
        posts.send(&json!({ "Records": entries }).to_string(), parts);
        let garbage = format!("{CANARY} is not json");
        posts.send(&garbage, vec![digest(&garbage)]);
        let (panics, _) =
            posts.post(&mut rng, &format!("{CANARY}-panics"), 1, json!({ "text": "moderato-test-panic" }));
        posts.send(&panics, vec![digest(&panics)]);
        posts
    }
}
