//! The function as it is deployed, over an AWS in memory.

use crate::posts::{ARTIFACTS, CONTENT, Posts};
use ::service::Inbox;
use domain::Policy;
use features::views::Definitions;
use score::{App, Config};
use scoring::{Bundle, Judge, TextModel};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Connection, Deadline, DynamoDecisions, DynamoFeatures, S3Objects, SqsQueue};
use world::{Cloud, Wire};

pub const DECISIONS: &str = "decisions";
pub const FEATURES: &str = "features";
pub const POSTS: &str = "posts";
pub const TASKS: &str = "tasks";
pub const ACTIONS: &str = "actions";
pub const ESCALATIONS: &str = "escalations";

/// From which scores the policy that is live reviews and hides, and the one that comes after it.
pub const BOUNDS: (f64, f64) = (0.2, 0.8);
pub const NEXT_BOUNDS: (f64, f64) = (0.1, 0.35);

/// The same model under two versions of the policy: while one is rolled out, both decide.
pub fn judges() -> [Arc<Judge>; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = root.join(".tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    let onnx = scoring::init(&library).unwrap();
    let bundle = Bundle::read(&root.join("shared/scoring/models/ngram-baseline")).unwrap();
    let definitions = Definitions::bundled().unwrap();
    let default = std::fs::read_to_string(root.join("shared/domain/policies/default.yaml")).unwrap();
    [(BOUNDS, "now"), (NEXT_BOUNDS, "next")].map(|((review, hide), version)| {
        let line = |line: &str| {
            if line.contains("{ id: hate-uncertain,") {
                format!("      - {{ id: hate-uncertain, from: {review}, decision: review, lane: standard }}")
            } else if line.contains("{ id: hate-high,") {
                format!("      - {{ id: hate-high, from: {hide}, decision: hide, lane: urgent }}")
            } else if line.starts_with("version: ") {
                format!("version: {version}")
            } else {
                line.to_owned()
            }
        };
        let policy = default.lines().map(line).collect::<Vec<_>>().join("\n");

        Arc::new(Judge {
            model: Arc::new(TextModel::load(&onnx, &bundle, None).unwrap()),
            policy: Policy::load_untested(&policy, &definitions.schema()).unwrap(),
            definitions: definitions.clone(),
            banks: Default::default(),
            degraded: Vec::new(),
            policy_assumed: false,
        })
    })
}

/// A new environment of the function: clients, their connections and their budget of tries are its own.
pub async fn app(judge: &Arc<Judge>, wire: &Wire) -> App {
    let aws = store::connect(Connection {
        endpoint_url: Some("http://aws.test".to_owned()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(("test".to_owned(), "test".to_owned())),
        http_client: Some(wire.client()),
    })
    .await;
    let definitions = Arc::new(judge.definitions.clone());
    let queue = |name: &str| Arc::new(SqsQueue::new(&aws, format!("http://aws.test/000000000000/{name}")));
    App {
        config: Config {
            decision_days: 400,
            digest_key: domain::DigestKey::new(&[7; 32]).unwrap(),
            stage: "test".to_owned(),
            decisions_table: DECISIONS.to_owned(),
            features_table: FEATURES.to_owned(),
            posts_queue_url: POSTS.to_owned(),
            tasks_queue_url: TASKS.to_owned(),
            actions_queue_url: ACTIONS.to_owned(),
            escalations_queue_url: ESCALATIONS.to_owned(),
            artifacts_bucket: ARTIFACTS.to_owned(),
            registry_fallback: registry::Fallback::Review,
            content_buckets: vec![CONTENT.to_owned()],
            memory_mb: 1024,
            test_panic: true,
            root: PathBuf::new(),
        },
        judge: judge.clone(),
        decisions: Arc::new(DynamoDecisions::new(&aws, DECISIONS).kept_days(400)),
        features: Arc::new(DynamoFeatures::new(&aws, FEATURES, definitions)),
        objects: Arc::new(S3Objects::new(&aws)),
        inbox: Arc::new(Inbox::new(queue(POSTS))),
        tasks: queue(TASKS),
        actions: queue(ACTIONS),
        escalations: queue(ESCALATIONS),
        posts: queue(POSTS),
    }
}

/// An AWS that holds what the posts refer to.
pub async fn cloud(posts: &Posts, judge: &Arc<Judge>) -> Arc<Cloud> {
    let cloud = Arc::new(Cloud::default());
    for (key, text) in &posts.objects {
        cloud.keep(CONTENT, key, text.as_bytes());
    }
    let features = app(judge, &Wire::new(&cloud, 0)).await.features;
    features.put(&posts.rows, Deadline::now() + Duration::from_secs(60)).await.unwrap();
    cloud
}
