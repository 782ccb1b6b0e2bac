//! What is sent in a run: posts in every shape, poison among them, and what has to become of each.

use domain::{DigestKey, Post};
use fastrand::Rng;
use features::views::{Definitions, FeatureRow};
use serde_json::{Value, json};
use service::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

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

/// A content of a post: its id, and the keyed digest of what people see of it.
pub type Key = (String, String);

/// The key of the deployment under test.
pub fn digest_key() -> DigestKey {
    DigestKey::new(&[7; 32]).unwrap()
}

/// What has to become of a part of a message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// A decision of this post knows this content.
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
    /// Who wrote which post.
    pub authors: BTreeMap<String, Option<String>>,
    /// The texts of each content; empty where it has none that the model reads.
    pub texts: BTreeMap<Key, BTreeSet<String>>,
    /// All parts of all messages, once each.
    pub parts: Vec<Part>,
    /// Which post a body is about that is kept, by its digest, where that can be read.
    pub kept: BTreeMap<String, String>,
    /// Who and what is erased, and how long after the beginning.
    pub erasures: Vec<(Duration, Subject)>,
}

fn quoted(body: &str) -> Rc<str> {
    Value::from(body).to_string().into()
}

fn digest_of(bytes: &str) -> Part {
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

    fn author(&mut self, rng: &mut Rng, id: &str) -> Option<String> {
        let drawn = (rng.u8(..8) > 0).then(|| format!("{CANARY}-u{}", rng.u32(..40)));
        self.authors.entry(id.to_owned()).or_insert(drawn).clone()
    }

    /// What has to become of an event that can be read: a decision that knows its content, with a score of one of its texts.
    fn content(&mut self, body: &str, object: Option<&str>) -> Part {
        let post = Post::parse(body.as_bytes()).unwrap();
        let digest = domain::digested(&digest_key(), &post, None).digest.unwrap();
        let key = (post.post_id.to_string(), digest);
        let english = post.lang.as_deref() != Some("fr");
        let texts = post.texts().map(|(_, text)| text).chain(object).filter(|_| english).map(str::to_owned);
        self.texts.entry(key.clone()).or_default().extend(texts);
        Part::Post(key)
    }

    /// A body that is kept though it names its post.
    fn kept(&mut self, id: &str, bytes: &str) -> Part {
        self.kept.insert(domain::sha256_hex(bytes.as_bytes()), id.to_owned());
        digest_of(bytes)
    }

    /// What has to become of an event that names its post and cannot be decided as it came: a fallback, and a place in quarantine.
    fn undecidable(&mut self, id: &str, bytes: &str) -> Vec<Part> {
        let digest = domain::keyed_hex(digest_key().digest("undecidable", &[bytes.as_bytes()]));
        let key = (id.to_owned(), digest);
        self.texts.insert(key.clone(), BTreeSet::new());
        vec![Part::Post(key), self.kept(id, bytes)]
    }

    /// A native post about to be sent, and what has to become of it; without a revision where it is `None`.
    fn post(&mut self, rng: &mut Rng, id: &str, revision: impl Into<Option<u64>>, fields: Value) -> (String, Part) {
        let author = self.author(rng, id);
        let mut post = json!({ "post_id": id, "author_id": author });
        if let Some(revision) = revision.into() {
            post["revision"] = json!(revision);
        }
        post.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let body = post.to_string();
        let part = self.content(&body, None);
        (body, part)
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
        posts.erase(&mut rng);
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
            // The same post again as another message, and under other words, with its revision or without: an edit, or a conflict.
            66..=72 => {
                let revision = rng.bool().then_some(1);
                let (body, part) = self.post(rng, &id, revision, native);
                self.send(&body, vec![part.clone()]);
                let mut again: Value = serde_json::from_str(&body).unwrap();
                for _ in 0..rng.u8(..3) {
                    again["text"] = json!(format!("{CANARY} {}", TEXTS[rng.usize(..TEXTS.len())]));
                    let other = self.content(&again.to_string(), None);
                    self.send_raw(quoted(&again.to_string()), vec![other], rng.bool());
                }
                self.send(&body, vec![part]);
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
                let reference = json!({ "text_ref": format!("s3://{CONTENT}/texts/{id}") });
                let (body, _) = self.post(rng, &id, 1, reference);
                let part = self.content(&body, Some(&text));
                self.objects.push((format!("texts/{id}"), text));
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
                        part = digest_of(&held);
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
            // Flaws beside the text, content that is not there, and what cannot be read at all.
            95..=97 => match rng.u8(..8) {
                0 => {
                    let body = format!("{CANARY} {number} is not json");
                    self.send(&body, vec![digest_of(&body)]);
                }
                1 => {
                    let body = json!({ "text": text, "n": number }).to_string();
                    self.send(&body, vec![digest_of(&body)]);
                }
                2 => {
                    let body =
                        json!({ "post_id": id, "text": text, "created_at": "yesterday", "context": [] }).to_string();
                    self.flawed(&id, &body);
                }
                3 => self.flawed(&id, &format!(r#"{{"post_id":"{id}","text":"{text}","noise":NaN}}"#)),
                4 => self.flawed(&id, &format!(r#"{{"post_id":"{id}","text":"{text} \ud83d","title":"\uffff"}}"#)),
                5 => self.flawed(&id, &json!({ "post_id": id, "text_ref": "s3://elsewhere/x" }).to_string()),
                6 => self.flawed(
                    &id,
                    &json!({ "post_id": id, "text_ref": format!("s3://{CONTENT}/absent/{id}") }).to_string(),
                ),
                _ => {
                    let body = format!(r#"{{"post_id":"{id}","text":"{text}"#);
                    self.authors.insert(id.clone(), None);
                    let parts = self.undecidable(&id, &body);
                    self.send(&body, parts);
                }
            },
            // Half a surrogate pair in the event itself.
            98 => {
                let inner = json!({ "post_id": id, "text": text }).to_string().replace(CANARY, "HALF");
                let read = inner.replace("HALF", &format!("{CANARY}\u{FFFD}"));
                let id = id.replace(CANARY, &format!("{CANARY}\u{FFFD}"));
                // Its id has the half as well, so that nothing names the post.
                let body = quoted(&inner).replace("HALF", &format!("{CANARY}\\ud83d"));
                assert!(Post::parse(read.as_bytes()).is_err(), "{id}");
                self.send_raw(body.as_str().into(), vec![digest_of(&read)], false);
            }
            _ => {
                let (body, part) = self.post(rng, &id, 1, json!({ "text": "moderato-test-panic" }));
                if let Part::Post(key) = &part {
                    self.texts.insert(key.clone(), BTreeSet::new());
                }
                let kept = self.kept(&id, &body);
                self.send(&body, vec![part, kept]);
            }
        }
    }

    /// Persons ask to be erased while their posts are under way, some of which come again; a post as well.
    fn erase(&mut self, rng: &mut Rng) {
        let mut at = || Duration::from_millis(rng.u64(0..600_000));
        let (authors, post) = ([(); 6].map(|()| at()), at());
        for after in authors {
            let author = format!("{CANARY}-u{}", rng.u32(..40));
            self.erasures.push((after, Subject::Author(author.try_into().unwrap())));
        }
        let sent: Vec<&String> = self.authors.keys().filter(|id| !id.contains('\u{FFFD}')).collect();
        if !sent.is_empty() {
            let id = sent[rng.usize(..sent.len())].clone();
            self.erasures.push((post, Subject::Post(id.try_into().unwrap())));
        }
    }

    /// An event with something wrong beside its content.
    fn flawed(&mut self, id: &str, body: &str) {
        self.authors.insert(id.to_owned(), None);
        let part = self.content(body, None);
        self.send(body, vec![part]);
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
        let (body, _) = posts.post(&mut rng, &format!("{CANARY}-reference"), 1, reference);
        let part = posts.content(&body, Some(&format!("{CANARY} {}", TEXTS[7])));
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
        posts.send(&garbage, vec![digest_of(&garbage)]);
        let (panics, part) =
            posts.post(&mut rng, &format!("{CANARY}-panics"), 1, json!({ "text": "moderato-test-panic" }));
        if let Part::Post(key) = &part {
            posts.texts.insert(key.clone(), BTreeSet::new());
        }
        posts.send(&panics, vec![part, digest_of(&panics)]);
        posts
    }
}
