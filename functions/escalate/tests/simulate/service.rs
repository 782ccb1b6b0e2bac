//! The function as it is deployed, over an AWS in memory.

use crate::posts::{ARTIFACTS, CONTENT, Posts};
use crate::stub;
use domain::Policy;
use escalate::{App, Blocked, Config, Endpoint};
use fastrand::Rng;
use features::views::Definitions;
use scoring::{Bundle, Judge, TextModel};
use service::{Content, Inbox};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Connection, Deadline, DynamoBudget, DynamoDecisions, ObjectStore, S3Objects, SageMaker, SqsQueue};
use world::{Cloud, Wire};

pub const DECISIONS: &str = "decisions";
pub const FEATURES: &str = "features";
pub const ESCALATIONS: &str = "escalations";
pub const TASKS: &str = "tasks";
pub const ACTIONS: &str = "actions";
pub const ENDPOINT: &str = "second";

/// From which scores the policy that is live reviews and hides, and the one that comes after it.
pub const BOUNDS: (f64, f64) = (0.2, 0.8);
pub const NEXT_BOUNDS: (f64, f64) = (0.1, 0.35);
/// As in the policy: seconds from an event until its last decision has to stand, and until an answer counts as none.
pub const DUE_SECONDS: i64 = 60;
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// An hour of the endpoint, in US dollars.
pub const USD_PER_HOUR: f64 = 1.408;

/// What takes long to load.
pub struct Prepared {
    model: Arc<TextModel>,
    definitions: Definitions,
}

pub fn prepare() -> Prepared {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = root.join(".tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    let onnx = scoring::init(&library).unwrap();
    let bundle = Bundle::read(&root.join("shared/scoring/models/ngram-baseline")).unwrap();
    let model = Arc::new(TextModel::load(&onnx, &bundle, None).unwrap());
    Prepared { model, definitions: Definitions::bundled().unwrap() }
}

/// Two versions of the policy, which spend so many US dollars a day: while one is rolled out, both decide.
pub fn judges(prepared: &Prepared, daily_budget_usd: f64) -> [Arc<Judge>; 2] {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/domain/policies");
    let bundled = std::fs::read_to_string(policies.join("second-opinion.yaml")).unwrap();
    [(BOUNDS, "now"), (NEXT_BOUNDS, "next")].map(|((review, hide), version)| {
        let line = |line: &str| {
            if line.contains("{ id: hate-uncertain,") {
                format!("      - {{ id: hate-uncertain, from: {review}, decision: review, lane: standard }}")
            } else if line.contains("{ id: hate-high,") {
                format!("      - {{ id: hate-high, from: {hide}, decision: hide, lane: urgent }}")
            } else if line.starts_with("version: ") {
                format!("version: {version}")
            } else if line.starts_with("  daily_budget_usd: ") {
                format!("  daily_budget_usd: {daily_budget_usd}")
            } else {
                line.to_owned()
            }
        };
        let policy = bundled.lines().map(line).collect::<Vec<_>>().join("\n");
        let policy = Policy::load_untested(&policy, &prepared.definitions.schema()).unwrap();
        let wanted = policy.second_opinion.as_ref().unwrap();
        let said = (i64::from(wanted.due_seconds), u128::from(wanted.timeout_ms), wanted.usd_per_hour);
        assert_eq!(said, (DUE_SECONDS, TIMEOUT.as_millis(), USD_PER_HOUR), "the checker's numbers are the policy's");
        let (model, definitions) = (prepared.model.clone(), prepared.definitions.clone());
        Arc::new(Judge {
            model,
            policy,
            definitions,
            banks: Default::default(),
            degraded: Vec::new(),
            policy_assumed: false,
        })
    })
}

/// A new environment of the function: clients, their connections and tries, breaker and wallet are its own.
pub async fn app(judge: &Arc<Judge>, wire: &Wire) -> App {
    let aws = store::connect(Connection {
        endpoint_url: Some("http://aws.test".to_owned()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(("test".to_owned(), "test".to_owned())),
        http_client: Some(wire.client()),
    })
    .await;
    let objects: Arc<dyn ObjectStore> = Arc::new(S3Objects::new(&aws));
    let queue = |name: &str| Arc::new(SqsQueue::new(&aws, format!("http://aws.test/000000000000/{name}")));
    App {
        config: Config {
            stage: "test".to_owned(),
            decisions_table: DECISIONS.to_owned(),
            features_table: FEATURES.to_owned(),
            escalations_queue_url: ESCALATIONS.to_owned(),
            tasks_queue_url: TASKS.to_owned(),
            actions_queue_url: ACTIONS.to_owned(),
            artifacts_bucket: ARTIFACTS.to_owned(),
            registry_fallback: registry::Fallback::Review,
            content_buckets: vec![CONTENT.to_owned()],
            decision_days: 400,
            digest_key: domain::DigestKey::new(&[7; 32]).unwrap(),
            on: true,
            endpoint: Some(ENDPOINT.to_owned()),
            root: PathBuf::new(),
        },
        judge: judge.clone(),
        decisions: Arc::new(DynamoDecisions::new(&aws, DECISIONS).kept_days(400)),
        budget: Arc::new(DynamoBudget::new(&aws, FEATURES, "second_opinion")),
        content: Content { objects: objects.clone(), buckets: vec![CONTENT.to_owned()] },
        block_list: Arc::new(Blocked::new(objects, ARTIFACTS)),
        inbox: Arc::new(Inbox::new(queue(ESCALATIONS))),
        escalations: queue(ESCALATIONS),
        tasks: queue(TASKS),
        actions: queue(ACTIONS),
        endpoint: Arc::new(Endpoint(Arc::new(SageMaker::new(&aws, Some(ENDPOINT.to_owned()))))),
        panel: None,
        breaker: Arc::default(),
        wallet: Arc::default(),
    }
}

/// An AWS that holds what was decided first and what the posts refer to; its endpoint answers otherwise with the chance `odd`.
pub async fn cloud(posts: &Posts, judge: &Arc<Judge>, seed: u64, odd: f64) -> Arc<Cloud> {
    let cloud = Arc::new(Cloud::default());
    for (key, content) in &posts.objects {
        cloud.keep(CONTENT, key, content.as_bytes());
    }
    let list = posts.blocked.iter().fold("# known\n".to_owned(), |mut list, hash| {
        let _ = writeln!(list, "{hash},known");
        list
    });
    cloud.keep(ARTIFACTS, "blocklists/images.txt", list);
    cloud.serve(ENDPOINT, stub::endpoint(Rng::with_seed(seed ^ 0xe9d), odd));
    let decisions = app(judge, &Wire::new(&cloud, 0)).await.decisions;
    let by = Deadline::now() + Duration::from_secs(60);
    assert!(decisions.insert(&posts.records, by).await.iter().all(Result::is_ok), "the first decisions stand");
    cloud
}
