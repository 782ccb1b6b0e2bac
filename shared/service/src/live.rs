//! Which model and policy decide now, in a process that lives on while others are published.

use domain::condition::Schema;
use features::views::Definitions;
use registry::{Fallback, Pointer, Registry};
use runtime::telemetry;
use scoring::{Bundle, Judge, Onnx, RuntimeError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use store::{Aws, Connection, Deadline, S3Objects};

/// Lambda gives ten seconds to start.
const START_TIMEOUT: Duration = Duration::from_secs(8);
/// A running function asks after this whether something else is live: what is published decides within about a minute.
const RENEW_AFTER: Duration = Duration::from_secs(60);
/// It asks sooner where what was wanted could not be had.
const RENEW_DEGRADED_AFTER: Duration = Duration::from_secs(5);
/// And sooner still where it does not know what is wanted: after this many times as long as asking took. Where nothing is published
/// yet the answer is quick, and the first post after it is decided as it should be.
const RENEW_ASSUMED_FACTOR: u32 = 2;
/// Asking, and loading what else is live, may take this long.
const RENEW_TIMEOUT: Duration = Duration::from_secs(4);
/// With less than this left, an invocation has better things to do.
const RENEW_LEAST_LEFT: Duration = Duration::from_secs(20);
/// The one folder a function may write to.
const CACHE: &str = "/tmp/moderato";

/// What the deployment says about it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Folder of the executable, ONNX Runtime's library and the bundled model.
    pub root: PathBuf,
    /// Bucket of models and policies.
    pub artifacts_bucket: String,
    /// What decides where nobody can say which model and policy are wanted.
    pub fallback: Fallback,
}

impl Setting {
    /// Folder of the model that is part of the zip.
    fn bundled(&self) -> PathBuf {
        self.root.join("models/minilm-cascade")
    }
}

/// What decides, renewed when something else becomes live.
pub struct Live {
    setting: Setting,
    definitions: Definitions,
    schema: Schema,
    onnx: Onnx,
    objects: Arc<S3Objects>,
    current: Mutex<Current>,
}

/// What decides now, and when to ask whether it still should.
struct Current {
    judge: Arc<Judge>,
    pointer: Option<Pointer>,
    ask_at: Deadline,
}

impl Live {
    /// Connects to AWS and loads what is live.
    ///
    /// # Errors
    /// Where the deployment is broken: ONNX Runtime or every model unusable. Loud, and at once.
    pub async fn start(setting: Setting) -> Result<(Self, Aws), runtime::Error> {
        let aws = store::connect(Connection::default()).await;
        Ok((Self::on(setting, &aws).await?, aws))
    }

    /// Loads what is live on this AWS. Where the registry does not say in time, the bundled model and policy are assumed.
    ///
    /// # Errors
    /// As [`Live::start`].
    pub async fn on(setting: Setting, aws: &Aws) -> Result<Self, runtime::Error> {
        // What takes longest, beside all that can do without it: Lambda shows two processors to a function that starts.
        // Whoever asks before it is done waits; its error is theirs.
        let library = setting.root.join("libonnxruntime.so");
        drop(tokio::task::spawn_blocking({
            let library = library.clone();
            move || scoring::init(&library)
        }));
        let read = Arc::new(OnceLock::new());
        drop(tokio::task::spawn_blocking({
            let (read, folder) = (Arc::clone(&read), setting.bundled());
            move || {
                read.get_or_init(|| hashed(&folder));
            }
        }));
        let definitions = Definitions::bundled()?;
        let schema = definitions.schema();
        let objects = Arc::new(S3Objects::new(aws));
        let onnx = || scoring::init(&library);
        let bundled = || read.get_or_init(|| hashed(&setting.bundled())).clone();
        let registry = registry(&setting, objects.as_ref(), &onnx, &bundled, &schema);
        let started = Deadline::now();
        let live = registry.resolve(started + START_TIMEOUT).await?;
        let onnx = onnx()?;
        let current = Mutex::new(current(&definitions, live, started));
        Ok(Self { setting, definitions, schema, onnx, objects, current })
    }

    /// ONNX Runtime, for whoever has models of his own.
    #[must_use]
    pub fn onnx(&self) -> &Onnx {
        &self.onnx
    }

    /// What to decide with. Now and then the registry is asked first; whatever goes wrong then, the one there is decides on.
    pub async fn judge(&self, deadline: Deadline) -> Arc<Judge> {
        let (judge, pointer, ask_at) = {
            let current = self.lock();
            (Arc::clone(&current.judge), current.pointer.clone(), current.ask_at)
        };
        let now = Deadline::now();
        if now < ask_at || deadline.saturating_duration_since(now) < RENEW_LEAST_LEFT {
            return judge;
        }
        let onnx = || Ok(self.onnx.clone());
        let bundled = || Bundle::read(&self.setting.bundled()).map_err(|why| why.to_string());
        let registry = registry(&self.setting, self.objects.as_ref(), &onnx, &bundled, &self.schema);
        let by = now + RENEW_TIMEOUT;
        let changed = match registry.pointer(by).await {
            // An unreadable pointer is no reason to decide otherwise than a moment ago.
            Err(_) => false,
            Ok(asked) => asked != pointer || !judge.degraded.is_empty(),
        };
        if changed && let Ok(live) = registry.resolve(by).await {
            *self.lock() = current(&self.definitions, live, now);
        } else {
            self.lock().ask_at = ask_at_next(&judge, pointer.as_ref(), now);
        }
        Arc::clone(&self.lock().judge)
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
    setting: &'a Setting,
    objects: &'a S3Objects,
    onnx: &'a (dyn Fn() -> Result<Onnx, RuntimeError> + Sync),
    bundled: &'a (dyn Fn() -> Result<Bundle, String> + Sync),
    schema: &'a Schema,
) -> Registry<'a> {
    Registry {
        bucket: Some((objects, &setting.artifacts_bucket)),
        bundled,
        fallback: setting.fallback,
        // Stacks that share a machine, as local ones do, must not share what was last good.
        cache: Path::new(CACHE).join(&setting.artifacts_bucket),
        onnx,
        schema,
    }
}

/// When to ask again, having asked since `began`.
fn ask_at_next(judge: &Judge, pointer: Option<&Pointer>, began: Deadline) -> Deadline {
    let wait = match pointer {
        _ if judge.degraded.is_empty() => RENEW_AFTER,
        None if judge.policy_assumed => (began.elapsed() * RENEW_ASSUMED_FACTOR).min(RENEW_DEGRADED_AFTER),
        _ => RENEW_DEGRADED_AFTER,
    };
    Deadline::now() + wait
}

fn current(definitions: &Definitions, live: registry::Live, began: Deadline) -> Current {
    announce(&live);
    let degraded = if live.problems.is_empty() { Vec::new() } else { vec!["registry".to_owned()] };
    let judge = Judge {
        model: Arc::new(live.model),
        policy: live.policy,
        banks: live.banks,
        definitions: definitions.clone(),
        degraded,
        policy_assumed: live.assumed,
    };
    let ask_at = ask_at_next(&judge, live.pointer.as_ref(), began);
    Current { judge: Arc::new(judge), pointer: live.pointer, ask_at }
}

/// One line whenever something else decides from now on: what, and what could not be had.
fn announce(live: &registry::Live) {
    let problems: Vec<_> = live.problems.iter().map(|problem| format!("{}: {}", problem.part, problem.why)).collect();
    let model = live.model.identity();
    let banks = live
        .banks
        .iter()
        .map(|(name, bank)| format!("{name}@{}", bank.map_or("unavailable", features::signals::Bank::version)));
    let banks: Vec<_> = banks.collect();
    telemetry::log(
        if problems.is_empty() { "INFO" } else { "WARN" },
        "ready to decide",
        &serde_json::json!({
            "model.name": model.name, "model.version": model.version, "model.sha256": model.sha256,
            "policy.id": live.policy.id, "policy.version": live.policy.version, "policy.sha256": live.policy.sha256,
            "banks": banks, "registry.problems": problems, "policy.assumed": live.assumed,
        }),
    );
}
