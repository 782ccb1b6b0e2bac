//! The whole function over stores in memory that can be told to fail, and that count what they are asked.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, dead_code, reason = "a test may fail by panicking")]

use async_trait::async_trait;
use domain::{DecisionRecord, Policy, PostId, Revision, Timestamp, Tombstone, decision_id};
use features::views::{Definitions, FeatureRow, Lookup, RowKey};
use runtime::{Invocation, SqsBatch};
use score::{App, Config};
use scoring::{Bundle, Judge, TextModel};
use serde_json::{Value, json};
use service::Inbox;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{
    Before, Deadline, DecisionStore, Erased, FeatureStore, Grave, History, Inserted, MemoryDecisions, MemoryFeatures,
    MemoryObjects, MemoryQueue, Message, Object, ObjectInfo, ObjectStore, Page, Queue, Search, StoreError, Superseded,
};

pub const HARMLESS: &str = "The tomatoes on the balcony finally turned red, soup tonight!";
pub const UNCERTAIN: &str = "Immigrants only come here to steal, send them back.";
pub const HATEFUL: &str = "Immigrants are vermin, deport them all, they are subhuman filth.";
pub const PANICS: &str = "moderato-test-panic";
pub const ARTIFACTS: &str = "artifacts";
pub const CONTENT: &str = "content";

/// What is to go wrong. Posts are named by their id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Inserting this post is throttled: nothing is stored.
    Insert(&'static str),
    /// This post is stored, but its answer is lost.
    InsertAnswer(&'static str),
    /// `insert` gives only this many answers, though everything is stored.
    InsertShort(usize),
    /// Reading decisions fails.
    Get,
    /// Reading decisions gives no answer at all.
    GetShort,
    /// Looking for earlier verdicts fails.
    Verdicts,
    /// No feature can be read.
    Features,
    /// The feature store's answer names nothing.
    FeaturesShort,
    /// Reading features takes this long.
    FeaturesSlow(Duration),
    /// This queue does not take messages about this post.
    Send(&'static str, &'static str),
    /// This queue takes everything and gives only this many answers.
    SendShort(&'static str, usize),
    /// Objects cannot be written.
    Put,
    /// Objects cannot be read.
    Read,
}

/// Everything outside the function.
#[derive(Default)]
pub struct World {
    pub decisions: MemoryDecisions,
    pub features: MemoryFeatures,
    pub objects: MemoryObjects,
    pub posts: Arc<MemoryQueue>,
    pub tasks: MemoryQueue,
    pub actions: MemoryQueue,
    pub escalations: MemoryQueue,
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<Vec<(&'static str, Deadline)>>,
}

impl World {
    pub fn breaks(&self, fault: Fault) {
        self.faults.lock().unwrap().push(fault);
    }

    pub fn mends(&self) {
        self.faults.lock().unwrap().clear();
    }

    fn broken(&self, fault: &Fault) -> bool {
        self.faults.lock().unwrap().contains(fault)
    }

    fn find<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.faults.lock().unwrap().iter().find_map(pick)
    }

    fn called(&self, what: &'static str, deadline: Deadline) {
        self.calls.lock().unwrap().push((what, deadline));
    }

    /// The calls since the last time, in order.
    pub fn calls(&self) -> Vec<(&'static str, Deadline)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    pub fn record(&self, post: &str, revision: u64) -> Option<DecisionRecord> {
        self.decisions
            .all()
            .into_iter()
            .find(|record| record.post_id.as_str() == post && record.revision.get() == revision)
    }

    pub async fn objects_under(&self, prefix: &str) -> Vec<String> {
        let listed = self.objects.list(ARTIFACTS, prefix, Deadline::now()).await.unwrap();
        listed.into_iter().map(|object| object.key).collect()
    }

    pub async fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        self.objects.get(bucket, key, usize::MAX, Deadline::now()).await.unwrap()
    }

    pub async fn keeps(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>) {
        let object = Object { bytes: bytes.into(), metadata: BTreeMap::new() };
        self.objects.put(bucket, key, object, Deadline::now()).await.unwrap();
    }

    /// The ids of tasks and actions that were sent, repeats included, in order.
    pub fn sent(&self) -> (Vec<String>, Vec<String>) {
        let ids = |queue: &MemoryQueue, field: &str| {
            queue.sent().iter().map(|message| of_json(&message.body, field)).collect::<Vec<_>>()
        };
        (ids(&self.tasks, "task_id"), ids(&self.actions, "action_id"))
    }
}

fn of_json(body: &str, field: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap();
    value.get(field).and_then(Value::as_str).unwrap().to_owned()
}

fn throttled(doing: &'static str) -> StoreError {
    StoreError::transient(doing, "ThrottlingException")
}

struct Shared(Arc<World>);

#[async_trait]
impl DecisionStore for Shared {
    async fn insert(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Inserted, StoreError>> {
        self.0.called("insert", deadline);
        let mut answers = Vec::new();
        for record in records {
            let named = |fault: &Fault, lost: bool| match fault {
                Fault::Insert(post) if !lost => (record.post_id.as_str() == *post).then_some(()),
                Fault::InsertAnswer(post) if lost => (record.post_id.as_str() == *post).then_some(()),
                _ => None,
            };
            if self.0.find(|fault| named(fault, false)).is_some() {
                answers.push(Err(throttled("inserting decisions")));
                continue;
            }
            let answer = self.0.decisions.insert(std::slice::from_ref(record), deadline).await.remove(0);
            let lost = self.0.find(|fault| named(fault, true)).is_some();
            answers.push(if lost { Err(throttled("inserting decisions")) } else { answer });
        }
        let bound = self.0.find(|fault| if let Fault::InsertShort(bound) = fault { Some(*bound) } else { None });
        answers.truncate(bound.unwrap_or(usize::MAX));
        answers
    }

    async fn supersede(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Superseded, StoreError>> {
        self.0.called("supersede", deadline);
        self.0.decisions.supersede(records, deadline).await
    }

    async fn get(
        &self,
        keys: &[(PostId, Revision)],
        deadline: Deadline,
    ) -> Vec<Result<Option<DecisionRecord>, StoreError>> {
        self.0.called("get", deadline);
        if self.0.broken(&Fault::Get) {
            return keys.iter().map(|_| Err(throttled("reading decisions"))).collect();
        }
        if self.0.broken(&Fault::GetShort) {
            return Vec::new();
        }
        self.0.decisions.get(keys, deadline).await
    }

    async fn of_post(&self, post: &PostId, deadline: Deadline) -> Result<History, StoreError> {
        self.0.called("of_post", deadline);
        if self.0.broken(&Fault::Get) {
            return Err(throttled("reading the decisions of a post"));
        }
        self.0.decisions.of_post(post, deadline).await
    }

    async fn before(&self, post: &PostId, revision: Revision, deadline: Deadline) -> Result<Before, StoreError> {
        self.0.called("before", deadline);
        if self.0.broken(&Fault::Verdicts) {
            return Err(throttled("looking for earlier verdicts"));
        }
        self.0.decisions.before(post, revision, deadline).await
    }

    async fn tombstones(&self, graves: &[Grave], deadline: Deadline) -> Vec<Result<Option<Tombstone>, StoreError>> {
        self.0.called("tombstones", deadline);
        if self.0.broken(&Fault::Get) {
            return graves.iter().map(|_| Err(throttled("reading decisions"))).collect();
        }
        self.0.decisions.tombstones(graves, deadline).await
    }

    async fn erase(
        &self,
        graves: &[Grave],
        tombstone: &Tombstone,
        deadline: Deadline,
    ) -> Vec<Result<Erased, StoreError>> {
        self.0.decisions.erase(graves, tombstone, deadline).await
    }

    async fn find(&self, search: Search, deadline: Deadline) -> Result<Page, StoreError> {
        self.0.decisions.find(search, deadline).await
    }

    async fn overdue(
        &self,
        before: Timestamp,
        most: usize,
        deadline: Deadline,
    ) -> Result<Vec<DecisionRecord>, StoreError> {
        self.0.decisions.overdue(before, most, deadline).await
    }
}

#[async_trait]
impl FeatureStore for Shared {
    async fn fetch(&self, keys: &BTreeSet<RowKey>, deadline: Deadline) -> HashMap<RowKey, Lookup> {
        self.0.called("features", deadline);
        if let Some(slow) = self.0.find(|fault| if let Fault::FeaturesSlow(slow) = fault { Some(*slow) } else { None })
        {
            tokio::time::sleep(slow).await;
        }
        if self.0.broken(&Fault::FeaturesShort) {
            return HashMap::new();
        }
        if self.0.broken(&Fault::Features) {
            return keys.iter().map(|key| (key.clone(), Lookup::Unavailable)).collect();
        }
        self.0.features.fetch(keys, deadline).await
    }

    async fn put(&self, rows: &[FeatureRow], deadline: Deadline) -> Result<(), StoreError> {
        self.0.features.put(rows, deadline).await
    }
}

#[async_trait]
impl ObjectStore for Shared {
    async fn get(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<Object>, StoreError> {
        self.0.called("read", deadline);
        if self.0.broken(&Fault::Read) {
            return Err(throttled("reading an object"));
        }
        self.0.objects.get(bucket, key, max_bytes, deadline).await
    }

    async fn put(&self, bucket: &str, key: &str, object: Object, deadline: Deadline) -> Result<(), StoreError> {
        self.0.called("put", deadline);
        if self.0.broken(&Fault::Put) {
            return Err(throttled("writing an object"));
        }
        self.0.objects.put(bucket, key, object, deadline).await
    }

    async fn list(&self, bucket: &str, prefix: &str, deadline: Deadline) -> Result<Vec<ObjectInfo>, StoreError> {
        self.0.objects.list(bucket, prefix, deadline).await
    }

    async fn delete(&self, bucket: &str, key: &str, deadline: Deadline) -> Result<(), StoreError> {
        self.0.objects.delete(bucket, key, deadline).await
    }
}

struct Named(Arc<World>, &'static str);

#[async_trait]
impl Queue for Named {
    async fn send(&self, messages: &[Message], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        let Self(world, name) = self;
        world.called(name, deadline);
        let queue = match *name {
            "tasks" => &world.tasks,
            "actions" => &world.actions,
            "posts" => &world.posts,
            _ => &world.escalations,
        };
        let mut answers = Vec::new();
        for message in messages {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            let post = body.get("post").unwrap_or(&body)["post_id"].as_str().unwrap_or_default().to_owned();
            let refused = world.find(|fault| match fault {
                Fault::Send(queue, about) if queue == name && *about == post => Some(()),
                _ => None,
            });
            match refused {
                Some(()) => answers.push(Err(throttled("sending messages"))),
                None => answers.extend(queue.send(std::slice::from_ref(message), deadline).await),
            }
        }
        let bound = world.find(|fault| match fault {
            Fault::SendShort(queue, bound) if queue == name => Some(*bound),
            _ => None,
        });
        answers.truncate(bound.unwrap_or(usize::MAX));
        answers
    }

    async fn hide(&self, _: &[(String, Duration)], _: Deadline) -> Vec<Result<(), StoreError>> {
        panic!("nobody receives from here")
    }
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The n-gram baseline and the bundled definitions under `policy`.
pub fn judge(policy: Option<&str>) -> Judge {
    judge_with("ngram-baseline", policy)
}

/// The model that ships, and the policy that is compiled in.
pub fn shipped() -> Judge {
    judge_with("minilm-cascade", None)
}

fn judge_with(model: &str, policy: Option<&str>) -> Judge {
    let installed = root().join(".tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    let onnx = scoring::init(&library).unwrap();
    let bundle = Bundle::read(&root().join("shared/scoring/models").join(model)).unwrap();
    let definitions = Definitions::bundled().unwrap();
    let policy = match policy {
        Some(source) => Policy::load_untested(source, &definitions.schema()).unwrap(),
        None => Policy::fallback(&definitions.schema()).unwrap(),
    };
    Judge {
        model: Arc::new(TextModel::load(&onnx, &bundle, None).unwrap()),
        policy,
        definitions,
        banks: Default::default(),
        degraded: Vec::new(),
        policy_assumed: false,
    }
}

pub fn app(world: &Arc<World>) -> App {
    app_with(world, judge(None))
}

pub fn app_with(world: &Arc<World>, judge: Judge) -> App {
    App {
        config: Config {
            decision_days: 400,
            digest_key: domain::DigestKey::new(&[7; 32]).unwrap(),
            stage: "test".to_owned(),
            decisions_table: "decisions".to_owned(),
            features_table: "features".to_owned(),
            posts_queue_url: "posts".to_owned(),
            tasks_queue_url: "tasks".to_owned(),
            actions_queue_url: "actions".to_owned(),
            escalations_queue_url: "escalations".to_owned(),
            artifacts_bucket: ARTIFACTS.to_owned(),
            registry_fallback: registry::Fallback::Review,
            content_buckets: vec![CONTENT.to_owned()],
            memory_mb: 1024,
            test_panic: true,
            root: PathBuf::new(),
        },
        judge: Arc::new(judge),
        decisions: Arc::new(Shared(world.clone())),
        features: Arc::new(Shared(world.clone())),
        objects: Arc::new(Shared(world.clone())),
        inbox: Arc::new(Inbox::new(world.posts.clone())),
        tasks: Arc::new(Named(world.clone(), "tasks")),
        actions: Arc::new(Named(world.clone(), "actions")),
        escalations: Arc::new(Named(world.clone(), "escalations")),
        posts: Arc::new(Named(world.clone(), "posts")),
    }
}

/// A native post.
pub fn post(id: &str, text: &str) -> String {
    post_with(id, json!({ "text": text, "lang": "en" }))
}

/// A native post with these fields.
pub fn post_with(id: &str, fields: Value) -> String {
    let mut post = json!({ "post_id": id });
    post.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    post.to_string()
}

/// A message body as it stands in the event: text, or a JSON string with its escapes where it is no Unicode text.
#[derive(Clone)]
pub enum Body {
    Text(String),
    Escaped(&'static str),
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// 2026-11-23T10:00:00Z, when all messages of the tests reached the queue.
pub const SENT_MS: i64 = 1_795_428_000_000;

/// An event as Lambda hands it over. Messages are named `m0`, `m1`, …
pub fn event(bodies: &[Body]) -> String {
    event_at(bodies, SENT_MS)
}

/// As [`event`], of messages that reached the queue then.
pub fn event_at(bodies: &[Body], sent_ms: i64) -> String {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| {
            let body = match body {
                Body::Text(text) => serde_json::to_string(text).unwrap(),
                Body::Escaped(json) => (*json).to_owned(),
            };
            let attributes =
                format!(r#"{{"SentTimestamp":"{sent_ms}","SenderId":"AIDAEXAMPLE","ApproximateReceiveCount":"1"}}"#);
            format!(
                r#"{{"messageId":"m{index}","receiptHandle":"r{index}","body":{body},"eventSourceARN":"arn:aws:sqs:us-east-1:111122223333:posts","attributes":{attributes}}}"#
            )
        })
        .collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

/// The batch of such an event, read through the real door.
pub fn batch(bodies: &[Body]) -> SqsBatch {
    SqsBatch::parse(&serde_json::value::RawValue::from_string(event(bodies)).unwrap()).unwrap()
}

/// Delivers a batch with half a minute to go, and gives the places of the messages to be delivered again.
pub async fn deliver<B: Clone + Into<Body>>(app: &App, bodies: &[B]) -> Vec<usize> {
    deliver_within(app, bodies, Duration::from_secs(30)).await
}

/// As [`deliver`], of messages that reached the queue then.
pub async fn deliver_sent_at(app: &App, bodies: &[String], sent_ms: i64) -> Vec<usize> {
    let bodies: Vec<Body> = bodies.iter().cloned().map(Body::Text).collect();
    let event = serde_json::value::RawValue::from_string(event_at(&bodies, sent_ms)).unwrap();
    let left = Duration::from_secs(30);
    let deadline_ms = runtime::telemetry::now_ms() + i64::try_from(left.as_millis()).unwrap();
    let invocation = Invocation { deadline: Deadline::now() + left, deadline_ms, cold_start: false };
    let response = score::handle(app, SqsBatch::parse(&event).unwrap(), invocation).await.unwrap();
    response.failures().map(|id| id.trim_start_matches('m').parse().unwrap()).collect()
}

pub async fn deliver_within<B: Clone + Into<Body>>(app: &App, bodies: &[B], left: Duration) -> Vec<usize> {
    let bodies: Vec<Body> = bodies.iter().cloned().map(Into::into).collect();
    let deadline_ms = runtime::telemetry::now_ms() + i64::try_from(left.as_millis()).unwrap();
    let invocation = Invocation { deadline: Deadline::now() + left, deadline_ms, cold_start: false };
    let response = score::handle(app, batch(&bodies), invocation).await.unwrap();
    response.failures().map(|id| id.trim_start_matches('m').parse().unwrap()).collect()
}

/// A feature row of an author, fresh when the tests' messages reached the queue.
pub fn author(id: &str, prior_violations: i64) -> FeatureRow {
    let line = json!({
        "view": "user", "id": id, "updated_at": "2026-11-23T00:00:00Z",
        "values": {
            "account_created_at": "2021-03-01T00:00:00Z", "followers": 12_840, "prior_violations": prior_violations,
            "reports_received": 12, "reports_sent": 104, "verified": true,
        },
    });
    Definitions::bundled().unwrap().parse_row(&line.to_string()).unwrap()
}

pub fn post_id(id: &str) -> PostId {
    PostId::try_from(id.to_owned()).unwrap()
}

pub fn task_id(post: &str) -> String {
    format!("{}-task", decision_id(&post_id(post), Revision::FIRST))
}

pub fn hide_id(post: &str) -> String {
    format!("{}-1-hide", decision_id(&post_id(post), Revision::FIRST))
}

pub fn unique(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}
