//! A fake of AWS that is cheaper than whoever asks it: requests are cut, not understood. It keeps what is inserted,
//! refuses what is there already, and counts calls.

use crate::posts;
use crate::server::Answer;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;

/// Names that the functions are given.
pub const DECISIONS: &str = "decisions";
pub const FEATURES: &str = "features";
pub const TASKS: &str = "tasks";
pub const ACTIONS: &str = "actions";

type Key = (String, u64);

/// An item as it came: names of attributes, and their values in DynamoDB's JSON.
struct Item {
    names: Rc<Vec<String>>,
    values: String,
}

/// How often each operation was called.
#[derive(Clone, Default)]
pub struct Calls(pub BTreeMap<String, u64>);

impl Calls {
    /// The calls after `before`.
    pub fn since(&self, before: &Self) -> Self {
        let of = |name: &String| before.0.get(name).copied().unwrap_or(0);
        Self(
            self.0
                .iter()
                .map(|(name, count)| (name.clone(), count - of(name)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        )
    }
}

#[derive(Default)]
struct State {
    calls: Calls,
    layouts: HashMap<String, Rc<Vec<String>>>,
    decisions: HashMap<Key, Item>,
    sent: BTreeMap<&'static str, Vec<String>>,
    unknown: Vec<String>,
}

/// One AWS for one function.
pub struct Aws {
    /// What `registry/live.json` holds.
    pointer: Bytes,
    state: RefCell<State>,
}

/// A decision as far as two functions have to agree on it, and what its item weighs.
#[derive(Clone, PartialEq)]
pub struct Decided {
    pub decision: String,
    pub score: Option<f64>,
    pub reasons: Vec<String>,
    pub bytes: usize,
}

/// What a run left behind.
pub struct Outcome {
    pub decisions: BTreeMap<Key, Decided>,
    /// Ids of tasks and of actions, sorted.
    pub sent: BTreeMap<&'static str, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statements<'a> {
    #[serde(borrow)]
    statements: Vec<Statement<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement<'a> {
    #[serde(borrow)]
    statement: Cow<'a, str>,
    #[serde(borrow)]
    parameters: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Get<'a> {
    #[serde(borrow)]
    request_items: HashMap<&'a str, Keys<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys<'a> {
    #[serde(borrow)]
    keys: Vec<ItemKey<'a>>,
}

#[derive(Deserialize)]
struct ItemKey<'a> {
    #[serde(borrow)]
    entity: Option<Text<'a>>,
    #[serde(borrow)]
    post_id: Option<Text<'a>>,
    revision: Option<Number<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Text<'a> {
    #[serde(borrow)]
    s: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Number<'a> {
    n: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Send<'a> {
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    id: &'a str,
    #[serde(borrow)]
    message_body: Cow<'a, str>,
}

impl Aws {
    /// An AWS without decisions, whose registry says this.
    pub fn new(pointer: Bytes) -> Self {
        Self { pointer, state: RefCell::default() }
    }

    /// The calls so far.
    pub fn calls(&self) -> Calls {
        self.state.borrow().calls.clone()
    }

    /// Answers a request.
    pub fn answer(&self, head: &Parts, body: &[u8]) -> Answer {
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = match target.and_then(|target| target.rsplit_once('.')) {
            Some((_, operation)) => operation,
            None if head.method == "PUT" => "PutObject",
            None => "GetObject",
        };
        let state = &mut *self.state.borrow_mut();
        match state.calls.0.get_mut(operation) {
            Some(count) => *count += 1,
            None => drop(state.calls.0.insert(operation.to_owned(), 1)),
        }
        let answer = match operation {
            "BatchExecuteStatement" => state.insert(body),
            "BatchGetItem" => state.get(body),
            // No person has decided anything here.
            "Query" => Some(r#"{"Items":[],"Count":0,"ScannedCount":0}"#.to_owned()),
            "SendMessageBatch" => state.send(body),
            "PutObject" => return respond(200, "application/xml", Bytes::new()),
            "GetObject" if head.uri.path().ends_with("/registry/live.json") => {
                return respond(200, "application/json", self.pointer.clone());
            }
            "GetObject" => {
                let error = "<Error><Code>NoSuchKey</Code><Message>there is none</Message></Error>";
                return respond(404, "application/xml", Bytes::from_static(error.as_bytes()));
            }
            _ => None,
        };
        match answer {
            Some(json) => respond(200, "application/x-amz-json-1.0", json.into()),
            None => {
                state.unknown.push(operation.to_owned());
                let error =
                    r#"{"__type":"com.amazonaws.fake#ValidationException","message":"the fake does not read this"}"#;
                respond(400, "application/x-amz-json-1.0", Bytes::from_static(error.as_bytes()))
            }
        }
    }

    /// What was decided and sent. Fails loudly where a request was not understood.
    pub fn outcome(&self) -> Outcome {
        let state = self.state.borrow();
        assert!(state.unknown.is_empty(), "requests that the fake could not read: {:?}", state.unknown);
        let decisions = state.decisions.iter().map(|(key, item)| (key.clone(), item.decided())).collect();
        let mut sent = state.sent.clone();
        sent.values_mut().for_each(|ids| ids.sort());
        Outcome { decisions, sent }
    }
}

fn respond(status: u16, kind: &'static str, body: Bytes) -> Answer {
    Response::builder().status(status).header("content-type", kind).body(Full::new(body)).unwrap()
}

impl State {
    /// `INSERT INTO "decisions" VALUE {'name': ?, …}` and nothing else.
    fn insert(&mut self, body: &[u8]) -> Option<String> {
        let request: Statements<'_> = serde_json::from_slice(body).ok()?;
        let mut answer = String::from(r#"{"Responses":["#);
        for (index, Statement { statement, parameters }) in request.statements.iter().enumerate() {
            if !self.layouts.contains_key(statement.as_ref()) {
                self.layouts.insert(statement.clone().into_owned(), Rc::new(layout(statement)?));
            }
            let names = self.layouts.get(statement.as_ref())?.clone();
            let value = |name: &str| parameters.get(names.iter().position(|known| known == name)?).map(|raw| raw.get());
            let post: Text<'_> = serde_json::from_str(value("post_id")?).ok()?;
            let revision: Number<'_> = serde_json::from_str(value("revision")?).ok()?;
            let key = (post.s.into_owned(), revision.n.parse().ok()?);
            if names.len() != parameters.len() {
                return None;
            }
            if index > 0 {
                answer.push(',');
            }
            if self.decisions.contains_key(&key) {
                answer
                    .push_str(r#"{"Error":{"Code":"DuplicateItem","Message":"there is one"},"TableName":"decisions"}"#);
                continue;
            }
            let raw: Vec<&str> = parameters.iter().map(|raw| raw.get()).collect();
            self.decisions.insert(key, Item { names, values: format!("[{}]", raw.join(",")) });
            answer.push_str(r#"{"TableName":"decisions"}"#);
        }
        answer.push_str("]}");
        Some(answer)
    }

    fn get(&self, body: &[u8]) -> Option<String> {
        let request: Get<'_> = serde_json::from_slice(body).ok()?;
        let mut answer = String::from(r#"{"Responses":{"#);
        for (number, (table, Keys { keys })) in request.request_items.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(answer, r#"{comma}"{table}":["#).unwrap();
            let mut first = true;
            for key in keys {
                let found = match key {
                    ItemKey { entity: Some(entity), .. } => posts::feature_row(&entity.s),
                    ItemKey { post_id: Some(post), revision: Some(revision), .. } => {
                        let key = (post.s.clone().into_owned(), revision.n.parse().ok()?);
                        self.decisions.get(&key).map(Item::json)
                    }
                    ItemKey { .. } => return None,
                };
                if let Some(item) = found {
                    if !first {
                        answer.push(',');
                    }
                    first = false;
                    answer.push_str(&item);
                }
            }
            answer.push(']');
        }
        answer.push_str(r#"},"UnprocessedKeys":{}}"#);
        Some(answer)
    }

    fn send(&mut self, body: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Id<'a> {
            task_id: Option<&'a str>,
            action_id: Option<&'a str>,
        }
        let request: Send<'_> = serde_json::from_slice(body).ok()?;
        let queue = [TASKS, ACTIONS].into_iter().find(|name| request.queue_url.ends_with(name))?;
        let kept = self.sent.entry(queue).or_default();
        let mut answer = String::from(r#"{"Successful":["#);
        for (number, Entry { id, message_body }) in request.entries.iter().enumerate() {
            let message: Id<'_> = serde_json::from_str(message_body).ok()?;
            kept.push(message.task_id.or(message.action_id)?.to_owned());
            let comma = if number > 0 { "," } else { "" };
            write!(answer, r#"{comma}{{"Id":"{id}","MessageId":"{}","MD5OfMessageBody":""}}"#, kept.len()).unwrap();
        }
        answer.push_str(r#"],"Failed":[]}"#);
        Some(answer)
    }
}

/// The attribute names of an insert.
fn layout(statement: &str) -> Option<Vec<String>> {
    let (_, rest) = statement.strip_prefix("INSERT INTO \"decisions\"")?.split_once("VALUE {")?;
    let names = rest.strip_suffix('}')?.split(", ");
    names.map(|field| Some(field.strip_prefix('\'')?.strip_suffix("': ?")?.to_owned())).collect()
}

impl Item {
    fn value(&self) -> BTreeMap<&str, Value> {
        let values: Vec<Value> = serde_json::from_str(&self.values).unwrap();
        self.names.iter().map(String::as_str).zip(values).collect()
    }

    fn json(&self) -> String {
        serde_json::to_string(&self.value()).unwrap()
    }

    fn decided(&self) -> Decided {
        let item = self.value();
        let mut reasons: Vec<String> = item["reasons"]["L"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason["M"]["rule"]["S"].as_str().unwrap().to_owned())
            .collect();
        reasons.sort();
        Decided {
            decision: item["decision"]["S"].as_str().unwrap().to_owned(),
            score: item["score"]["N"].as_str().map(|score| score.parse().unwrap()),
            reasons,
            bytes: item.iter().map(|(name, value)| name.len() + size(value)).sum(),
        }
    }
}

/// Bytes that DynamoDB counts for a value ("Item sizes and formats" in the developer guide): UTF-8, a number half a
/// byte a digit plus one, bytes as they are, three bytes a list or map plus one an element.
fn size(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len(),
        ("N", Value::String(number)) => number.bytes().filter(u8::is_ascii_digit).count().div_ceil(2) + 1,
        ("B", Value::String(base64)) => base64.trim_end_matches('=').len() * 3 / 4,
        ("L", Value::Array(list)) => 3 + list.iter().map(|value| 1 + size(value)).sum::<usize>(),
        ("M", Value::Object(map)) => 3 + map.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>(),
        _ => 1,
    }
}
