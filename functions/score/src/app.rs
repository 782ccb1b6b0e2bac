//! Everything that is built once per process.

use domain::condition::Schema;
use features::views::Definitions;
use registry::{Live, Pointer, Registry};
use runtime::{BatchResponse, Invocation, SqsBatch, telemetry};
use scoring::{Bundle, Judge, Onnx, RuntimeError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use store::{
    Aws, Deadline, DecisionStore, DynamoDecisions, DynamoFeatures, FeatureStore, ObjectStore, Queue, S3Objects,
    SqsQueue,
};

/// Lambda gives ten seconds to start.
const START_TIMEOUT: Duration = Duration::from_secs(8);
/// A running function asks after this whether something else is live: what is published decides within about a minute.
const RENEW_AFTER: Duration = Duration::from_secs(60);
/// It asks sooner where what was wanted could not be had.
const RENEW_DEGRADED_AFTER: Duration = Duration::from_secs(5);
/// Asking, and loading what else is live, may take this long.
const RENEW_TIMEOUT: Duration = Duration::from_secs(4);
/// With less than this left, an invocation has better things to do.
const RENEW_LEAST_LEFT: Duration = Duration::from_secs(20);
/// The one folder a function may write to.
const CACHE: &str = "/tmp/moderato";

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
    /// Bucket of models, policies and quarantine.
    pub artifacts_bucket: String,
    /// Buckets that content may be read from.
    pub content_buckets: Vec<String>,
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
#[error("environment variable `{0}` is not set, or no number where it has to be; deploy with template.yaml")]
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
            artifacts_bucket: required("ARTIFACTS_BUCKET")?,
            content_buckets: required("CONTENT_BUCKETS")?
                .split(',')
                .map(|bucket| bucket.trim().to_owned())
                .filter(|bucket| !bucket.is_empty())
                .collect(),
            decision_days: number("DECISION_DAYS")?,
            memory_mb: number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?,
            test_panic: std::env::var("MODERATO_TEST_PANIC").is_ok_and(|value| value == "1"),
            root: std::env::var("LAMBDA_TASK_ROOT").ok().map(PathBuf::from).or(here).unwrap_or_default(),
        })
    }

    /// Folder of the model that is part of the zip.
    fn bundled(&self) -> PathBuf {
        self.root.join("models/minilm-cascade")
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
    /// The queue of review tasks.
    pub tasks: Arc<dyn Queue>,
    /// The queue of action requests.
    pub actions: Arc<dyn Queue>,
}

/// A function that is running: an [`App`] that is renewed when something else becomes live.
pub struct Process {
    config: Config,
    definitions: Definitions,
    schema: Schema,
    onnx: Onnx,
    aws: Aws,
    objects: Arc<S3Objects>,
    current: Mutex<Current>,
}

/// The app that decides now, and when to ask whether it still should.
struct Current {
    app: Arc<App>,
    pointer: Option<Pointer>,
    ask_at: Deadline,
}

impl Process {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// Where the deployment is broken: a variable missing, ONNX Runtime or every model unusable. Loud, and at once.
    pub async fn from_env() -> Result<Self, runtime::Error> {
        let config = Config::from_env()?;
        // What takes longest, beside all that can do without it: Lambda shows two processors to a function that starts.
        // Whoever asks before it is done waits; its error is theirs.
        let library = config.root.join("libonnxruntime.so");
        drop(tokio::task::spawn_blocking({
            let library = library.clone();
            move || scoring::init(&library)
        }));
        let read = Arc::new(OnceLock::new());
        drop(tokio::task::spawn_blocking({
            let (read, folder) = (Arc::clone(&read), config.bundled());
            move || {
                read.get_or_init(|| hashed(&folder));
            }
        }));
        let definitions = Definitions::bundled()?;
        let schema = definitions.schema();
        let aws = store::connect(store::Connection::default()).await;
        let objects = Arc::new(S3Objects::new(&aws));
        let onnx = || scoring::init(&library);
        let bundled = || read.get_or_init(|| hashed(&config.bundled())).clone();
        let registry = registry(&config, objects.as_ref(), &onnx, &bundled, &schema);
        let live = registry.resolve(Deadline::now() + START_TIMEOUT).await?;
        let onnx = onnx()?;
        let current = Mutex::new(current(&config, &definitions, &aws, &objects, live));
        Ok(Self { config, definitions, schema, onnx, aws, objects, current })
    }

    /// Decides a batch with what is live.
    pub async fn handle(&self, batch: SqsBatch, invocation: Invocation) -> BatchResponse {
        let app = self.app(invocation.deadline).await;
        crate::handle(&app, batch, invocation).await
    }

    /// The app to decide with. Now and then it asks the registry first; whatever goes wrong then, the one there is
    /// decides on.
    async fn app(&self, deadline: Deadline) -> Arc<App> {
        let (app, pointer, ask_at) = {
            let current = self.lock();
            (Arc::clone(&current.app), current.pointer.clone(), current.ask_at)
        };
        let now = Deadline::now();
        if now < ask_at || deadline.saturating_duration_since(now) < RENEW_LEAST_LEFT {
            return app;
        }
        let onnx = || Ok(self.onnx.clone());
        let bundled = || Bundle::read(&self.config.bundled()).map_err(|why| why.to_string());
        let registry = registry(&self.config, self.objects.as_ref(), &onnx, &bundled, &self.schema);
        let by = now + RENEW_TIMEOUT;
        let changed = match registry.pointer(by).await {
            // An unreadable pointer is no reason to decide otherwise than a moment ago.
            Err(_) => false,
            Ok(asked) => asked != pointer || !app.judge.degraded.is_empty(),
        };
        if changed && let Ok(live) = registry.resolve(by).await {
            *self.lock() = current(&self.config, &self.definitions, &self.aws, &self.objects, live);
        } else {
            let wait = if app.judge.degraded.is_empty() { RENEW_AFTER } else { RENEW_DEGRADED_AFTER };
            self.lock().ask_at = Deadline::now() + wait;
        }
        Arc::clone(&self.lock().app)
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The model in a folder, its largest file hashed: ten milliseconds that can pass beside others. Loading compares the digest.
fn hashed(folder: &Path) -> Result<Bundle, String> {
    let bundle = Bundle::read(folder).map_err(|why| why.to_string())?;
    for bytes in bundle.more.values() {
        bytes.sha256();
    }
    Ok(bundle)
}

fn registry<'a>(
    config: &'a Config,
    objects: &'a S3Objects,
    onnx: &'a (dyn Fn() -> Result<Onnx, RuntimeError> + Sync),
    bundled: &'a (dyn Fn() -> Result<Bundle, String> + Sync),
    schema: &'a Schema,
) -> Registry<'a> {
    Registry {
        bucket: Some((objects, &config.artifacts_bucket)),
        bundled,
        // Stacks that share a machine, as local ones do, must not share what was last good.
        cache: Path::new(CACHE).join(&config.artifacts_bucket),
        onnx,
        schema,
    }
}

fn current(config: &Config, definitions: &Definitions, aws: &Aws, objects: &Arc<S3Objects>, live: Live) -> Current {
    announce(&live);
    let degraded = if live.problems.is_empty() { Vec::new() } else { vec!["registry".to_owned()] };
    let wait = if degraded.is_empty() { RENEW_AFTER } else { RENEW_DEGRADED_AFTER };
    let decisions = DynamoDecisions::new(aws, &config.decisions_table).kept_days(config.decision_days);
    let app = App {
        judge: Arc::new(Judge { model: live.model, policy: live.policy, definitions: definitions.clone(), degraded }),
        decisions: Arc::new(decisions),
        features: Arc::new(DynamoFeatures::new(aws, &config.features_table, Arc::new(definitions.clone()))),
        objects: objects.clone(),
        tasks: Arc::new(SqsQueue::new(aws, &config.tasks_queue_url)),
        actions: Arc::new(SqsQueue::new(aws, &config.actions_queue_url)),
        config: config.clone(),
    };
    Current { app: Arc::new(app), pointer: live.pointer, ask_at: Deadline::now() + wait }
}

/// One line whenever something else decides from now on: what, and what could not be had.
fn announce(live: &Live) {
    let problems: Vec<_> = live.problems.iter().map(|problem| format!("{}: {}", problem.part, problem.why)).collect();
    let model = live.model.identity();
    telemetry::log(
        if problems.is_empty() { "INFO" } else { "WARN" },
        "ready to decide",
        &serde_json::json!({
            "model.name": model.name, "model.version": model.version, "model.sha256": model.sha256,
            "policy.id": live.policy.id, "policy.version": live.policy.version, "policy.sha256": live.policy.sha256,
            "registry.problems": problems,
        }),
    );
}
