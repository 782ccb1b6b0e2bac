//! Everything that is built once per process.

use crate::Wallet;
use crate::adviser::{Adviser, Endpoint};
use domain::DigestKey;
use opinion::images::{BLOCK_LIST_KEY, BlockList, MAX_BLOCK_LIST_BYTES};
use opinion::{Panel, images};
use registry::Fallback;
use runtime::{BatchResponse, Invocation, SqsBatch, telemetry};
use scoring::Judge;
use service::{Breaker, Content, Inbox, Live, Unavailable};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{
    Aws, Budget, Deadline, DecisionStore, DynamoBudget, DynamoDecisions, ObjectStore, Queue, S3Objects, SageMaker,
    SqsQueue,
};

/// A running function asks for the block list again after this.
const RENEW_AFTER: Duration = Duration::from_secs(60);
/// And gives up asking after this.
const RENEW_TIMEOUT: Duration = Duration::from_secs(2);

/// What the deployment says.
#[derive(Debug, Clone)]
pub struct Config {
    /// dev, staging or prod.
    pub stage: String,
    /// Table of decisions.
    pub decisions_table: String,
    /// Table of features, where the budget is counted.
    pub features_table: String,
    /// Queue of escalations, which this function reads.
    pub escalations_queue_url: String,
    /// Queue of review tasks.
    pub tasks_queue_url: String,
    /// Queue of action requests.
    pub actions_queue_url: String,
    /// Bucket of models, policies, block lists and quarantine.
    pub artifacts_bucket: String,
    /// What decides where the registry does not say which model and policy are wanted.
    pub registry_fallback: Fallback,
    /// Buckets that content may be read from.
    pub content_buckets: Vec<String>,
    /// The deployment's key for digests.
    pub digest_key: DigestKey,
    /// How long decisions are kept, in days.
    pub decision_days: u32,
    /// The kill switch: whether second opinions are asked for.
    pub on: bool,
    /// Name of the endpoint; `None` where the deployment has none.
    pub endpoint: Option<String>,
    /// Folder of the executable, the library and the bundled models.
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
        let here = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
        Ok(Self {
            stage: required("STAGE")?,
            decisions_table: required("DECISIONS_TABLE")?,
            features_table: required("FEATURES_TABLE")?,
            escalations_queue_url: required("ESCALATIONS_QUEUE_URL")?,
            tasks_queue_url: required("TASKS_QUEUE_URL")?,
            actions_queue_url: required("ACTIONS_QUEUE_URL")?,
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
            decision_days: required("DECISION_DAYS")?.parse().map_err(|_| ConfigError("DECISION_DAYS"))?,
            on: match required("SECOND_OPINION")?.as_str() {
                "on" => true,
                "off" => false,
                _ => return Err(ConfigError("SECOND_OPINION")),
            },
            endpoint: std::env::var("ENDPOINT_NAME").ok().filter(|name| !name.is_empty()),
            root: std::env::var("LAMBDA_TASK_ROOT").ok().map(PathBuf::from).or(here).unwrap_or_default(),
        })
    }
}

/// The function, ready to ask and to decide.
pub struct App {
    /// What the deployment says.
    pub config: Config,
    /// The policy, and the models that the first decision was made with.
    pub judge: Arc<Judge>,
    /// The decision table.
    pub decisions: Arc<dyn DecisionStore>,
    /// What may be spent today.
    pub budget: Arc<dyn Budget>,
    /// Content, and where quarantine is kept.
    pub content: Content,
    /// Images that are known.
    pub block_list: Arc<Blocked>,
    /// The queue of escalations: what of it comes again, and when.
    pub inbox: Arc<Inbox>,
    /// The same queue, for what a sweep finds.
    pub escalations: Arc<dyn Queue>,
    /// The queue of review tasks.
    pub tasks: Arc<dyn Queue>,
    /// The queue of action requests.
    pub actions: Arc<dyn Queue>,
    /// Gives opinions where the policy says `endpoint`.
    pub endpoint: Arc<dyn Adviser>,
    /// Gives them where it says `lambda`; `None` where its models could not be loaded.
    pub panel: Option<Arc<dyn Adviser>>,
    /// Leaves alone whoever does not answer.
    pub breaker: Arc<Breaker>,
    /// Money in hand.
    pub wallet: Arc<futures::lock::Mutex<Wallet>>,
}

impl App {
    /// Where content may be read.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }
}

/// The block list, asked for now and then; the last good one stands in.
pub struct Blocked {
    objects: Arc<dyn ObjectStore>,
    bucket: String,
    current: Mutex<(Option<Arc<BlockList>>, Option<Deadline>)>,
}

impl Blocked {
    /// The list in this bucket.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>, bucket: impl Into<String>) -> Self {
        Self { objects, bucket: bucket.into(), current: Mutex::default() }
    }

    /// The list, empty where there is none; `None` where it could never be read.
    pub(crate) async fn get(&self, by: Deadline) -> Option<Arc<BlockList>> {
        let now = Deadline::now();
        let (list, ask_at) = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if ask_at.is_some_and(|ask_at| now < ask_at) && list.is_some() {
            return list;
        }
        let by = by.min(now + RENEW_TIMEOUT);
        let read = match self.objects.get(&self.bucket, BLOCK_LIST_KEY, MAX_BLOCK_LIST_BYTES, by).await {
            Ok(None) => Some(BlockList::default()),
            Ok(Some(object)) => match String::from_utf8(object.bytes).map(|text| text.parse()) {
                Ok(Ok(list)) => Some(list),
                Ok(Err(error)) => {
                    let why = opinion_error(&error);
                    telemetry::log("ERROR", "the block list cannot be read", &serde_json::json!({ "error": why }));
                    None
                }
                Err(_) => {
                    telemetry::log("ERROR", "the block list is no text", &serde_json::json!({}));
                    None
                }
            },
            Err(_) => None,
        };
        let list = read.map(Arc::new).or(list);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = (list.clone(), Some(now + RENEW_AFTER));
        list
    }
}

/// Names the line, never what stands in it.
fn opinion_error(error: &images::BlockListError) -> String {
    error.to_string()
}

/// A function that is running.
pub struct Process {
    config: Config,
    live: Live,
    aws: Aws,
    content: Content,
    block_list: Arc<Blocked>,
    eyes: Result<Arc<dyn opinion::Eyes>, String>,
    escalations: Arc<SqsQueue>,
    inbox: Arc<Inbox>,
    breaker: Arc<Breaker>,
    wallet: Arc<futures::lock::Mutex<Wallet>>,
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
        let objects: Arc<dyn ObjectStore> = Arc::new(S3Objects::new(&aws));
        let content = Content { objects: Arc::clone(&objects), buckets: config.content_buckets.clone() };
        let block_list = Arc::new(Blocked::new(objects, &config.artifacts_bucket));
        let eyes = images::load(live.onnx(), &config.root.join("models/eyes"))
            .map(|eyes| Arc::new(eyes) as Arc<dyn opinion::Eyes>)
            .map_err(|why| why.to_string());
        if let Err(why) = &eyes {
            telemetry::log("ERROR", "images cannot be looked at here", &serde_json::json!({ "error": why }));
        }
        let escalations = Arc::new(SqsQueue::new(&aws, &config.escalations_queue_url));
        let inbox = Arc::new(Inbox::new(escalations.clone()));
        let (breaker, wallet) = (Arc::default(), Arc::default());
        Ok(Self { config, live, aws, content, block_list, eyes, escalations, inbox, breaker, wallet })
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
        App {
            panel: self.panel(&judge),
            judge,
            decisions: Arc::new(DynamoDecisions::new(aws, &config.decisions_table).kept_days(config.decision_days)),
            budget: Arc::new(DynamoBudget::new(aws, &config.features_table, "second_opinion")),
            content: self.content.clone(),
            block_list: Arc::clone(&self.block_list),
            inbox: Arc::clone(&self.inbox),
            escalations: self.escalations.clone(),
            tasks: Arc::new(SqsQueue::new(aws, &config.tasks_queue_url)),
            actions: Arc::new(SqsQueue::new(aws, &config.actions_queue_url)),
            endpoint: Arc::new(Endpoint(Arc::new(SageMaker::new(aws, config.endpoint.clone())))),
            breaker: Arc::clone(&self.breaker),
            wallet: Arc::clone(&self.wallet),
            config: config.clone(),
        }
    }

    /// The larger models of this function itself.
    fn panel(&self, judge: &Arc<Judge>) -> Option<Arc<dyn Adviser>> {
        let eyes = self.eyes.as_ref().ok().cloned();
        let reader = opinion::Ensemble::new(Arc::clone(&judge.model)).ok()?;
        Some(Arc::new(Panel { reader: Arc::new(reader), eyes }))
    }
}
