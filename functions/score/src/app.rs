//! Everything that is built once per process.

use domain::{DigestKey, KeyedDigest, Post};
use registry::Fallback;
use runtime::{BatchResponse, Invocation, SqsBatch};
use scoring::Judge;
use service::{Content, Inbox, Live, Unavailable};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{
    Aws, DecisionStore, DynamoDecisions, DynamoFeatures, FeatureStore, ObjectStore, Queue, S3Objects, SqsQueue,
};

/// What the deployment says.
#[derive(Debug, Clone)]
pub struct Config {
    /// dev, staging or prod.
    pub stage: String,
    /// Table of decisions.
    pub decisions_table: String,
    /// Table of features.
    pub features_table: String,
    /// Queue of review tasks.
    pub tasks_queue_url: String,
    /// Queue of action requests.
    pub actions_queue_url: String,
    /// Queue of posts that a second opinion is asked for.
    pub escalations_queue_url: String,
    /// Queue of posts, which this function reads.
    pub posts_queue_url: String,
    /// Bucket of models, policies and quarantine.
    pub artifacts_bucket: String,
    /// What decides where the registry does not say which model and policy are wanted.
    pub registry_fallback: Fallback,
    /// Buckets that content may be read from.
    pub content_buckets: Vec<String>,
    /// The deployment's key for digests.
    pub digest_key: DigestKey,
    /// How long decisions are kept, in days.
    pub decision_days: u32,
    /// What the function is billed for, in MB.
    pub memory_mb: u32,
    /// Whether the test hook for panics is on.
    pub test_panic: bool,
    /// Folder of the executable, the library and the bundled model.
    pub root: PathBuf,
}

/// The deployment does not say something.
#[derive(Debug, thiserror::Error)]
#[error("environment variable `{0}` is not set, or not what it has to be; deploy with template.yaml")]
pub struct ConfigError(&'static str);

impl Config {
    /// Reads the environment: the only place that does.
    ///
    /// # Errors
    /// The first variable that is missing.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        let required = |name| std::env::var(name).map_err(|_| ConfigError(name));
        let number = |name| required(name)?.parse().map_err(|_| ConfigError(name));
        let here = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
        Ok(Self {
            stage: required("STAGE")?,
            decisions_table: required("DECISIONS_TABLE")?,
            features_table: required("FEATURES_TABLE")?,
            tasks_queue_url: required("TASKS_QUEUE_URL")?,
            actions_queue_url: required("ACTIONS_QUEUE_URL")?,
            escalations_queue_url: required("ESCALATIONS_QUEUE_URL")?,
            posts_queue_url: required("POSTS_QUEUE_URL")?,
            artifacts_bucket: required("ARTIFACTS_BUCKET")?,
            registry_fallback: match std::env::var("REGISTRY_FALLBACK") {
                Ok(fallback) => fallback.parse().map_err(|()| ConfigError("REGISTRY_FALLBACK"))?,
                // Nobody said that what is bundled is wanted.
                Err(_) => Fallback::Review,
            },
            content_buckets: required("CONTENT_BUCKETS")?
                .split(',')
                .map(|bucket| bucket.trim().to_owned())
                .filter(|bucket| !bucket.is_empty())
                .collect(),
            digest_key: DigestKey::new(required("DIGEST_KEY")?.as_bytes()).map_err(|_| ConfigError("DIGEST_KEY"))?,
            decision_days: number("DECISION_DAYS")?,
            memory_mb: number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?,
            test_panic: std::env::var("MODERATO_TEST_PANIC").is_ok_and(|value| value == "1"),
            root: std::env::var("LAMBDA_TASK_ROOT").ok().map(PathBuf::from).or(here).unwrap_or_default(),
        })
    }
}

/// The function, ready to decide.
pub struct App {
    /// What the deployment says.
    pub config: Config,
    /// Model, policy and feature definitions.
    pub judge: Arc<Judge>,
    /// The decision table.
    pub decisions: Arc<dyn DecisionStore>,
    /// The feature table.
    pub features: Arc<dyn FeatureStore>,
    /// Content and quarantine.
    pub objects: Arc<dyn ObjectStore>,
    /// The queue of posts: what of it comes again, and when.
    pub inbox: Arc<Inbox>,
    /// The queue of review tasks.
    pub tasks: Arc<dyn Queue>,
    /// The queue of action requests.
    pub actions: Arc<dyn Queue>,
    /// The queue of posts that a second opinion is asked for.
    pub escalations: Arc<dyn Queue>,
    /// The queue that posts come from: a message with too many is put back in parts.
    pub posts: Arc<dyn Queue>,
}

impl App {
    /// Stands for the author of a post in tombstones.
    pub(crate) fn author(&self, post: &Post) -> Option<KeyedDigest> {
        post.author_id.as_ref().map(|author| self.config.digest_key.author(author))
    }

    /// Where content may be read.
    pub(crate) fn content(&self) -> Content {
        Content { objects: Arc::clone(&self.objects), buckets: self.config.content_buckets.clone() }
    }
}

/// A function that is running.
pub struct Process {
    config: Config,
    live: Live,
    aws: Aws,
    objects: Arc<S3Objects>,
    inbox: Arc<Inbox>,
}

impl Process {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// Where the deployment is broken: a variable missing, ONNX Runtime or every model unusable. Loud, and at once.
    pub async fn from_env() -> Result<Self, runtime::Error> {
        let config = Config::from_env()?;
        let setting = service::Setting {
            root: config.root.clone(),
            artifacts_bucket: config.artifacts_bucket.clone(),
            fallback: config.registry_fallback,
        };
        let (live, aws) = Live::start(setting).await?;
        let objects = Arc::new(S3Objects::new(&aws));
        let inbox = Arc::new(Inbox::new(Arc::new(SqsQueue::new(&aws, &config.posts_queue_url))));
        Ok(Self { config, live, aws, objects, inbox })
    }

    /// Decides a batch with what is live.
    ///
    /// # Errors
    /// Where nothing can be stored or sent for the time being: the batch is not begun.
    pub async fn handle(&self, batch: SqsBatch, invocation: Invocation) -> Result<BatchResponse, Unavailable> {
        let app = self.app(self.live.judge(invocation.deadline).await);
        crate::handle(&app, batch, invocation).await
    }

    fn app(&self, judge: Arc<Judge>) -> App {
        let (config, aws) = (&self.config, &self.aws);
        let definitions = Arc::new(judge.definitions.clone());
        App {
            judge,
            decisions: Arc::new(DynamoDecisions::new(aws, &config.decisions_table).kept_days(config.decision_days)),
            features: Arc::new(DynamoFeatures::new(aws, &config.features_table, definitions)),
            objects: self.objects.clone(),
            inbox: self.inbox.clone(),
            tasks: Arc::new(SqsQueue::new(aws, &config.tasks_queue_url)),
            actions: Arc::new(SqsQueue::new(aws, &config.actions_queue_url)),
            escalations: Arc::new(SqsQueue::new(aws, &config.escalations_queue_url)),
            posts: Arc::new(SqsQueue::new(aws, &config.posts_queue_url)),
            config: config.clone(),
        }
    }
}
