//! The function over stores in memory and an endpoint of any mood, in virtual time.

use async_trait::async_trait;
use domain::policy::Decision;
use domain::{DecisionRecord, Escalation, Policy, Post, ScoreState, Timestamp, VerdictBefore};
use escalate::{App, Blocked, Config, Endpoint};
use features::views::{Definitions, Lookup};
use opinion::protocol::{Outcome, Request, Response};
use opinion::{Answer, ImageError, Line, Seen, TextOpinion};
use runtime::{Invocation, SqsBatch};
use scoring::{Bundle, Explain, Judge, Subject, TextModel};
use serde_json::json;
use service::{Breaker, Content, Inbox};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use store::{
    Deadline, DecisionStore, Inference, MemoryBudget, MemoryDecisions, MemoryObjects, MemoryQueue, Object, ObjectStore,
    StoreError,
};

pub const ARTIFACTS: &str = "artifacts";
pub const CONTENT: &str = "content";
pub const UNCERTAIN: &str = "Immigrants only come here to steal, send them back.";
pub const HARMLESS: &str = "The tomatoes on the balcony finally turned red, soup tonight!";
/// 2026-11-25T10:00:00Z, when every test begins.
pub const BEGINS_MS: i64 = 1_795_600_800_000;
/// Of the policy.
pub const DUE: Duration = Duration::from_secs(60);
const TIMEOUT_MS: u64 = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

static MODEL: LazyLock<Arc<TextModel>> = LazyLock::new(|| {
    let installed = root().join(".tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    let onnx = scoring::init(&library).unwrap();
    let bundle = Bundle::read(&root().join("shared/scoring/models/ngram-baseline")).unwrap();
    Arc::new(TextModel::load(&onnx, &bundle, None).unwrap())
});

/// The policy that ships with second opinions, within the times and money of these tests.
pub fn judge(daily_budget_usd: f64) -> Judge {
    judge_with(daily_budget_usd, "")
}

/// The same, and hides what is found of a bank.
pub fn listing(name: &str, bank: Option<Arc<features::signals::Bank>>) -> Judge {
    let rule = format!(
        "  - {{ id: listed, harm: hate, reason: listed, when: signal.{name} >= 1, decision: hide, lane: urgent }}\n"
    );
    Judge { banks: [(name.to_owned(), bank)].into_iter().collect(), ..judge_with(5.0, &rule) }
}

fn judge_with(daily_budget_usd: f64, rule: &str) -> Judge {
    let policy = std::fs::read_to_string(root().join("shared/domain/policies/second-opinion.yaml")).unwrap();
    let line = |line: &str| match line.trim().split_once(':').map(|(name, _)| name) {
        Some("timeout_ms") => format!("  timeout_ms: {TIMEOUT_MS}"),
        Some("daily_budget_usd") => format!("  daily_budget_usd: {daily_budget_usd}"),
        Some("due_seconds") => format!("  due_seconds: {}", DUE.as_secs()),
        _ => line.to_owned(),
    };
    let policy = policy.lines().map(line).collect::<Vec<_>>().join("\n");
    let policy = policy.replacen("\nrules:\n", &format!("\nrules:\n{rule}"), 1);
    let definitions = Definitions::bundled().unwrap();
    Judge {
        model: Arc::clone(&MODEL),
        policy: Policy::load(&policy, &definitions.schema()).unwrap(),
        definitions,
        banks: Default::default(),
        degraded: Vec::new(),
        policy_assumed: false,
    }
}

/// How the endpoint behaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Mood {
    /// It answers after 40 ms with this probability of hate in every text.
    Well(f64),
    /// It answers so, after this time.
    Slow(f64, Duration),
    /// It cannot be reached.
    Down,
    /// It takes the request and says nothing for ten minutes.
    Hangs,
    /// It fails half of all times, by chance, and else answers so.
    FailsByHalf(f64),
    /// It is busy so many times, and then answers so.
    Busy(usize, f64),
    /// It answers with these bytes.
    Says(String),
}

/// An endpoint that counts what it is asked. Images: `nude`, `words:TEXT` and anything else, which is no image.
pub struct Stub {
    mood: Mutex<Mood>,
    pub calls: AtomicUsize,
    pub questions: Mutex<Vec<opinion::Question>>,
}

impl Stub {
    pub fn of(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(mood), calls: AtomicUsize::new(0), questions: Mutex::default() })
    }

    pub fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn model(name: &str) -> domain::ModelRef {
    domain::ModelRef { name: name.to_owned(), version: "7".to_owned(), sha256: domain::sha256_hex(name.as_bytes()) }
}

pub fn of_text(value: f64) -> TextOpinion {
    TextOpinion { raw: value, calibrated: value, model: model("larger"), spans: Vec::new() }
}

/// What the stub sees in a file.
fn seen(file: &[u8]) -> Outcome<Seen, ImageError> {
    let text = String::from_utf8_lossy(file).into_owned();
    let nudity = if text == "nude" { 0.97 } else { 0.01 };
    let words = text.strip_prefix("words:");
    if words.is_none() && !matches!(&*text, "nude" | "plain" | "known" | "flip") {
        return Outcome::Error(ImageError::NotAnImage);
    }
    let line = |words: &str| Line {
        text: words.to_owned(),
        confidence: 0.9,
        corners: [[1.0, 2.0], [90.4, 2.0], [90.4, 20.0], [1.0, 20.6]],
        score: if words.contains("vermin") { 0.93 } else { 0.02 },
        frame: if words.contains("later") { 7 } else { 0 },
    };
    Outcome::Ok(Seen {
        width: 100,
        height: 40,
        nudity,
        nudity_model: model("nudity"),
        pdq: (text == "known").then(|| "f".repeat(64)),
        lines: words.map(line).into_iter().collect(),
        text: words.map(|words| of_text(line(words).score)),
        more_pdq: if text == "flip" { vec!["f".repeat(64)] } else { Vec::new() },
        unread: text.ends_with("and more").then_some(ImageError::TooManyLines),
    })
}

#[async_trait]
impl Inference for Stub {
    async fn invoke(&self, body: Vec<u8>, timeout: Duration, by: Deadline) -> Result<Vec<u8>, StoreError> {
        const DOING: &str = "asking the endpoint";
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let mood = self.mood.lock().unwrap().clone();
        let request: Request = serde_json::from_slice(&body).unwrap();
        self.questions.lock().unwrap().extend(request.instances.iter().cloned());
        let failed = |code: &str| Err(StoreError::transient(DOING, code));
        let (value, takes) = match mood {
            Mood::Well(value) => (value, Duration::from_millis(40)),
            Mood::Slow(value, takes) => (value, takes),
            Mood::Down => return failed("could not be reached"),
            Mood::Hangs => (0.0, Duration::from_secs(600)),
            Mood::FailsByHalf(_) if fastrand::Rng::with_seed(call as u64 * 7_919).bool() => {
                return failed("InternalServerException");
            }
            Mood::Busy(times, _) if call < times => return failed(store::BUSY),
            Mood::Busy(_, value) => (value, Duration::from_millis(40)),
            Mood::FailsByHalf(value) => (value, Duration::from_millis(40)),
            Mood::Says(body) => return Ok(body.into_bytes()),
        };
        let until = by.min(Deadline::now() + timeout);
        if tokio::time::timeout_at(until, tokio::time::sleep(takes)).await.is_err() {
            return failed("timed out");
        }
        let answer = |question: &opinion::Question| Answer {
            text: question.text.as_ref().map(|_| Outcome::Ok(of_text(value))),
            images: question.images.iter().map(|file| seen(&file.0)).collect(),
        };
        Ok(serde_json::to_vec(&Response { predictions: request.instances.iter().map(answer).collect() }).unwrap())
    }
}

/// The function and everything around it.
pub struct Service {
    pub app: App,
    pub stub: Arc<Stub>,
    pub decisions: Arc<MemoryDecisions>,
    pub objects: Arc<MemoryObjects>,
    pub escalations: Arc<MemoryQueue>,
    pub tasks: Arc<MemoryQueue>,
    pub actions: Arc<MemoryQueue>,
    began: Deadline,
}

impl Service {
    pub fn with(mood: Mood) -> Self {
        Self::of(mood, judge(5.0), true)
    }

    pub fn of(mood: Mood, judge: Judge, on: bool) -> Self {
        let stub = Stub::of(mood);
        let decisions = Arc::new(MemoryDecisions::default());
        let objects = Arc::new(MemoryObjects::default());
        let (tasks, actions) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryQueue::default()));
        let escalations = Arc::new(MemoryQueue::default());
        let app = App {
            config: Config {
                stage: "test".to_owned(),
                decisions_table: String::new(),
                features_table: String::new(),
                escalations_queue_url: String::new(),
                tasks_queue_url: String::new(),
                actions_queue_url: String::new(),
                artifacts_bucket: ARTIFACTS.to_owned(),
                registry_fallback: registry::Fallback::Review,
                content_buckets: vec![CONTENT.to_owned()],
                decision_days: 400,
                digest_key: domain::DigestKey::new(&[7; 32]).unwrap(),
                on,
                endpoint: None,
                root: PathBuf::new(),
            },
            judge: Arc::new(judge),
            decisions: decisions.clone(),
            budget: Arc::new(MemoryBudget::default()),
            content: Content { objects: objects.clone(), buckets: vec![CONTENT.to_owned()] },
            block_list: Arc::new(Blocked::new(objects.clone(), ARTIFACTS)),
            inbox: Arc::new(Inbox::new(escalations.clone())),
            escalations: escalations.clone(),
            tasks: tasks.clone(),
            actions: actions.clone(),
            endpoint: Arc::new(Endpoint(stub.clone())),
            panel: None,
            breaker: Arc::new(Breaker::default()),
            wallet: Arc::default(),
        };
        Self { app, stub, decisions, objects, escalations, tasks, actions, began: Deadline::now() }
    }

    pub fn now(&self) -> Timestamp {
        let passed = Deadline::now().duration_since(self.began);
        Timestamp::from_millis(BEGINS_MS + i64::try_from(passed.as_millis()).unwrap())
    }

    /// Decides a post provisionally, as the fast path does, and gives the message that asks about it.
    pub async fn provisional(&self, post: serde_json::Value) -> String {
        let post = Post::parse(post.to_string().as_bytes()).ok().unwrap();
        let texts = scoring::texts(&post, None);
        let received_at = self.now();
        let subject = Subject {
            post: &post,
            texts: &texts,
            conflict: None,
            verdict_before: VerdictBefore::No,
            received_at,
            decided_at: received_at,
            explain: Explain::AboveApprove,
        };
        let record = self.app.judge.judge(&subject, |_| &Lookup::Missing);
        assert!(record.provisional, "{:?} {:?}", record.decision, record.score);
        let soon = Deadline::now() + Duration::from_secs(1);
        self.decisions.insert(&[record], soon).await.remove(0).unwrap();
        Escalation { post, received_at }.to_body()
    }

    pub async fn uncertain(&self, ids: impl Iterator<Item = usize>) -> Vec<String> {
        let mut bodies = Vec::new();
        for id in ids {
            bodies
                .push(self.provisional(json!({ "post_id": format!("p{id}"), "text": UNCERTAIN, "lang": "en" })).await);
        }
        bodies
    }

    /// A post with these images, by what they hold.
    pub async fn pictures(&self, id: &str, text: Option<&str>, uris: &[&str]) -> String {
        let media: Vec<_> = uris.iter().map(|uri| json!({ "uri": uri })).collect();
        self.provisional(json!({ "post_id": id, "text": text, "lang": "en", "media": media })).await
    }

    pub async fn keeps(&self, bucket: &str, key: &str, bytes: &str) {
        let object = Object { bytes: bytes.as_bytes().to_vec(), metadata: BTreeMap::new() };
        self.objects.put(bucket, key, object, Deadline::now() + Duration::from_secs(1)).await.unwrap();
    }

    /// Delivers a batch as Lambda does, with a minute to go; the places of the messages to be delivered again.
    pub async fn deliver(&self, bodies: &[String]) -> Vec<usize> {
        self.deliver_again(bodies, 1).await
    }

    /// Delivers messages that are received for so many times.
    pub async fn deliver_again(&self, bodies: &[String], receives: u32) -> Vec<usize> {
        let attributes = json!({ "ApproximateReceiveCount": receives.to_string() });
        let message =
            |(place, body)| json!({ "messageId": format!("m{place}"), "body": body, "attributes": attributes });
        let records: Vec<_> = bodies.iter().enumerate().map(message).collect();
        let event = json!({ "Records": records }).to_string();
        let batch = SqsBatch::parse(&serde_json::value::RawValue::from_string(event).unwrap()).unwrap();
        let left = Duration::from_secs(60);
        let deadline_ms = self.now().millis() + 60_000;
        let invocation = Invocation { deadline: Deadline::now() + left, deadline_ms, cold_start: false };
        let response = escalate::handle(&self.app, batch, invocation).await.unwrap();
        response.failures().map(|id| id.trim_start_matches('m').parse().unwrap()).collect()
    }

    /// Sends `count` uncertain posts, ten a second, and gives what became of them. None is delivered twice: nothing goes to the
    /// dead-letter queue for the endpoint's sake.
    pub async fn stream(&self, from: usize, count: usize) -> Vec<DecisionRecord> {
        for start in (from..from + count).step_by(10) {
            let bodies = self.uncertain(start..start + 10).await;
            assert_eq!(self.deliver(&bodies).await, Vec::<usize>::new());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        (from..from + count).map(|id| self.record(&format!("p{id}"))).collect()
    }

    pub fn record(&self, post: &str) -> DecisionRecord {
        self.decisions.all().into_iter().find(|record| record.post_id.as_str() == post).unwrap()
    }

    pub fn sent(&self) -> (Vec<serde_json::Value>, Vec<serde_json::Value>) {
        let read = |queue: &MemoryQueue| {
            queue.sent().iter().map(|message| serde_json::from_str(&message.body).unwrap()).collect()
        };
        (read(&self.tasks), read(&self.actions))
    }

    pub fn breaker_is_open(&self) -> bool {
        self.app.breaker.is_open()
    }
}

/// What has to hold of every post whatever the endpoint does; how many had their second opinion.
pub fn all_is_well(service: &Service, records: &[DecisionRecord]) -> usize {
    let (tasks, actions) = service.sent();
    let asked: BTreeSet<&str> = tasks.iter().map(|task| task["post_id"].as_str().unwrap()).collect();
    let hidden: BTreeSet<&str> = actions.iter().map(|action| action["post_id"].as_str().unwrap()).collect();
    for record in records {
        let id = record.post_id.as_str();
        assert!(!record.provisional && record.attempt == 2, "{id} is decided");
        let took = record.decided_at.millis() - record.received_at.millis();
        assert!(took <= i64::try_from(DUE.as_millis()).unwrap(), "{id} took {took} ms");
        let consulted = record.second_opinion.as_ref().unwrap();
        if consulted.state != ScoreState::Ok {
            assert_eq!(record.decision, Decision::Review, "{id}: a fallback goes to a person");
            assert!(record.degraded.contains(&"second_opinion".to_owned()), "{id}");
            assert!(consulted.why.is_some(), "{id}");
        }
        assert_eq!(
            asked.contains(id),
            record.decision != Decision::Approve,
            "{id}: one task for what a person looks at"
        );
        assert_eq!(hidden.contains(id), record.decision == Decision::Hide, "{id}");
        // Law 7: deciding again on the record gives the same.
        let again = domain::decide(&service.app.judge.policy, &record.evidence());
        assert_eq!(
            (again.decision, again.score, &again.reasons),
            (record.decision, record.score, &record.reasons),
            "{id}"
        );
    }
    assert_eq!(asked.len(), tasks.len(), "no task twice");
    records.iter().filter(|record| record.second_opinion.as_ref().unwrap().state == ScoreState::Ok).count()
}

/// Why posts were decided without, and how many for each reason.
pub fn whys(records: &[DecisionRecord]) -> BTreeMap<String, usize> {
    let mut whys = BTreeMap::new();
    for why in records.iter().filter_map(|record| record.second_opinion.as_ref()?.why.clone()) {
        *whys.entry(why).or_default() += 1;
    }
    whys
}
