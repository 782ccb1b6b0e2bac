//! A function under test: a process on a processor of its own, and what it costs the machine.

use crate::aws::{self, Aws, Calls, Outcome};
use crate::lambda::Lambda;
use crate::server;
use hyper::body::Bytes;
use scoring::{Bundle, TextModel};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// What is asked of a function that starts.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What is asked of it for all batches of one measurement.
const INVOKE_TIMEOUT: Duration = Duration::from_secs(600);

/// Which function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Ours,
    /// Python that reads each text as a whole.
    Python,
    /// Python that is given the parts which ours reads besides, and reads them too.
    Alike,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "moderato",
            Self::Python => "python",
            Self::Alike => "python, the same parts",
        }
    }
}

/// Everything that starting a function takes.
pub struct Setup {
    /// The workspace.
    pub root: PathBuf,
    /// The executable of ours.
    pub bootstrap: PathBuf,
    /// Folder laid out as the zip of ours.
    task_root: tempfile::TempDir,
    python: Option<PathBuf>,
    /// Parts of texts, for [`Kind::Alike`].
    parts: tempfile::NamedTempFile,
    /// Processors of the driver and of the function; `None` where there is only one or `taskset` is missing.
    pub processors: Option<(usize, usize)>,
    pointer: Bytes,
}

impl Setup {
    pub fn new(bootstrap: Option<&Path>, python: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let bootstrap = bootstrap.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_score")), |given| root.join(given));
        let task_root = tempfile::tempdir().unwrap();
        let library = root.join(".tools/onnxruntime/libonnxruntime.so");
        for (from, to) in [
            (bootstrap.as_path(), "bootstrap"),
            (&library, "libonnxruntime.so"),
            (&root.join("shared/scoring/models"), "models"),
        ] {
            assert!(from.exists(), "there is no `{}`: run `make build`", from.display());
            std::os::unix::fs::symlink(from.canonicalize().unwrap(), task_root.path().join(to)).unwrap();
        }
        let python = root.join(python);
        let python = python.exists().then_some(python);
        let pointer = pointer(&root);
        let parts = tempfile::NamedTempFile::new().unwrap();
        Self { root, bootstrap, task_root, python, parts, processors: processors(), pointer }
    }

    /// Writes down which parts of these texts ours reads besides the whole: nothing of those that the transformer is not asked about.
    pub fn write_parts<'a>(&self, texts: impl Iterator<Item = &'a str>) {
        let onnx = scoring::init(&self.root.join(".tools/onnxruntime/libonnxruntime.so")).unwrap();
        let bundle = Bundle::read(&self.root.join("shared/scoring/models/minilm-cascade")).unwrap();
        let model = TextModel::load(&onnx, &bundle, None).unwrap();
        let parts = |text: &str| -> Vec<(Vec<i64>, f64)> {
            let rows = model.rows(text, 8).unwrap().into_iter();
            rows.filter(|row| row.part).map(|row| (row.ids, row.linear)).collect()
        };
        let asked = texts.filter(|text| model.asks(text).unwrap());
        let parts: BTreeMap<String, _> = asked.map(|text| (domain::sha256_hex(text.as_bytes()), parts(text))).collect();
        fs::write(self.parts.path(), serde_json::to_vec(&parts).unwrap()).unwrap();
    }

    pub fn has(&self, kind: Kind) -> bool {
        kind == Kind::Ours || self.python.is_some()
    }

    fn command(&self, kind: Kind, address: std::net::SocketAddr, bucket: &str) -> Command {
        let benches = self.root.join("functions/score/benches/python");
        let mut command = match (kind, &self.python) {
            (Kind::Python | Kind::Alike, Some(python)) => {
                let mut command = Command::new(python);
                command.args(["-m", "awslambdaric", "handler.handler"]).current_dir(&benches);
                command
            }
            _ => Command::new(self.task_root.path().join("bootstrap")),
        };
        let task_root = if kind == Kind::Ours { self.task_root.path() } else { &benches };
        let variables = [
            ("AWS_LAMBDA_RUNTIME_API", address.to_string()),
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_LAMBDA_FUNCTION_NAME", "score".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/score".to_owned()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/23/[$LATEST]1".to_owned()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "benchmark".to_owned()),
            ("AWS_SESSION_TOKEN", "as Lambda gives one".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("LAMBDA_TASK_ROOT", task_root.display().to_string()),
            ("_HANDLER", "handler.handler".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("STAGE", "dev".to_owned()),
            ("DECISIONS_TABLE", aws::DECISIONS.to_owned()),
            ("FEATURES_TABLE", aws::FEATURES.to_owned()),
            ("TASKS_QUEUE_URL", format!("http://{address}/111122223333/{}", aws::TASKS)),
            ("POSTS_QUEUE_URL", format!("http://{address}/111122223333/posts")),
            ("ESCALATIONS_QUEUE_URL", format!("http://{address}/111122223333/escalations")),
            ("ACTIONS_QUEUE_URL", format!("http://{address}/111122223333/{}", aws::ACTIONS)),
            ("ARTIFACTS_BUCKET", bucket.to_owned()),
            ("CONTENT_BUCKETS", bucket.to_owned()),
            ("DECISION_DAYS", "400".to_owned()),
            ("DIGEST_KEY", "7".repeat(64)),
            ("MODEL_FOLDER", self.root.join("shared/scoring/models/minilm-cascade").display().to_string()),
            ("FEATURES_FILE", self.root.join("shared/features/features.yaml").display().to_string()),
            ("POLICY_FILE", self.root.join("shared/domain/policies/default.yaml").display().to_string()),
        ];
        command.env_clear().envs(variables).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        if kind == Kind::Alike {
            command.env("PARTS_FILE", self.parts.path());
        }
        if kind == Kind::Ours {
            command.env("MALLOC_TOP_PAD_", "16777216"); // as template.yaml has it
        }
        command
    }
}

/// `ScoreMemory` of template.yaml.
pub const MEMORY_MB: u32 = 1769;

/// What is live: what both functions bring with them.
fn pointer(root: &Path) -> Bytes {
    let manifest = fs::read(root.join("shared/scoring/models/minilm-cascade/manifest.json")).unwrap();
    let policy = domain::policy::FALLBACK;
    let live = serde_json::json!({
        "schema": "live/1",
        "model": { "name": "minilm-cascade", "version": "1", "sha256": domain::sha256_hex(&manifest) },
        "policy": { "id": "default", "version": "2026-11-23", "sha256": domain::sha256_hex(policy.as_bytes()) },
    });
    serde_json::to_vec(&live).unwrap().into()
}

/// The first two processors that this process may use.
fn processors() -> Option<(usize, usize)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
    let mut allowed = list.split(',').flat_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        from.parse::<usize>().unwrap_or(0)..=to.parse::<usize>().unwrap_or(0)
    });
    let found = (allowed.next()?, allowed.next()?);
    pin(&found.0.to_string()).then_some(found)
}

/// Binds the thread that calls this, and what it starts from now on, to processors: `1` or `0,1`.
fn pin(processors: &str) -> bool {
    let Ok(thread) = fs::read_link("/proc/thread-self") else { return false };
    let thread = thread.file_name().and_then(|id| id.to_str()).unwrap_or_default().to_owned();
    std::process::Command::new("taskset")
        .args(["-cp", processors, &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a process has used so far.
#[derive(Clone, Copy)]
pub struct Reading {
    at: Instant,
    cpu: Duration,
    logged: u64,
}

/// What it used between two readings.
#[derive(Clone, Copy)]
pub struct Spent {
    pub wall: Duration,
    pub cpu: Duration,
    pub logged: u64,
}

impl Reading {
    pub fn since(&self, before: &Self) -> Spent {
        Spent { wall: self.at - before.at, cpu: self.cpu - before.cpu, logged: self.logged - before.logged }
    }
}

/// Resident memory in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

/// A process that serves.
pub struct Function {
    child: Child,
    pid: u32,
    started: Instant,
    bucket: String,
    lambda: Rc<Lambda>,
    aws: Rc<Aws>,
    serving: JoinHandle<()>,
    logged: Rc<Cell<u64>>,
}

impl Function {
    /// Starts one in an AWS of its own.
    pub async fn start(setup: &Setup, kind: Kind, processors: Processors) -> Self {
        let lambda = Rc::new(Lambda::default());
        let aws = Rc::new(Aws::new(setup.pointer.clone()));
        let (address, serving) = server::serve(lambda.clone(), aws.clone()).await;
        // A start on Lambda finds an empty /tmp; a bucket of its own gives it a cache folder of its own.
        let bucket = format!("moderato-bench-{}", address.port());
        let (child, started) = spawn(setup, setup.command(kind, address, &bucket), processors);
        let mut function =
            Self { pid: child.id().unwrap(), child, started, bucket, lambda, aws, serving, logged: Rc::default() };
        let mut output = function.child.stdout.take().unwrap();
        let logged = function.logged.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = output.read(&mut buffer).await {
                logged.set(logged.get() + read as u64);
            }
        });
        function
    }

    /// From exec to the first time it asks for an event.
    pub async fn ready(&self) -> Duration {
        self.idle(START_TIMEOUT).await - self.started
    }

    async fn idle(&self, timeout: Duration) -> Instant {
        match tokio::time::timeout(timeout, self.lambda.idle()).await {
            Ok(Ok(since)) => since,
            Ok(Err(problem)) => panic!("the function under test failed: {problem}"),
            Err(_) => panic!("the function under test does not answer (process {})", self.pid),
        }
    }

    /// Hands it these batches one after the other, until all are answered.
    pub async fn invoke(&self, batches: &[Bytes]) {
        self.lambda.give(batches);
        self.idle(INVOKE_TIMEOUT).await;
    }

    /// What it has used until it last became idle.
    pub async fn reading(&self) -> Reading {
        let at = self.idle(START_TIMEOUT).await;
        // What it wrote is in the pipe; what it used is booked once it sleeps.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Reading { at, cpu: cpu(self.pid), logged: self.logged.get() }
    }

    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Memory { now: kib("VmRSS:") * 1024, peak: kib("VmHWM:") * 1024 }
    }

    pub fn calls(&self) -> Calls {
        self.aws.calls()
    }

    /// Ends it, and gives what it left behind.
    pub async fn stop(mut self) -> Outcome {
        self.child.kill().await.unwrap();
        self.serving.abort();
        let _ = fs::remove_dir_all(Path::new("/tmp/moderato").join(&self.bucket));
        self.aws.outcome()
    }
}

/// What a function may run on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Processors {
    /// One of its own: what it does on a core is measured.
    One,
    /// The driver's too, which waits: Lambda shows two to a function of this size (below 3,009 MB).
    Two,
}

/// Starts a process from a thread on its processors, which the process inherits.
fn spawn(setup: &Setup, mut command: Command, processors: Processors) -> (Child, Instant) {
    let Some((drivers, own)) = setup.processors else {
        let started = Instant::now();
        return (command.spawn().unwrap(), started);
    };
    let list = if processors == Processors::One { own.to_string() } else { format!("{drivers},{own}") };
    let handle = tokio::runtime::Handle::current();
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _runtime = handle.enter();
            assert!(pin(&list), "this thread could not be bound to processors {list}");
            let started = Instant::now();
            send.send((command.spawn().unwrap(), started)).unwrap();
        });
    });
    receive.recv().unwrap()
}

/// CPU time of all threads, in nanoseconds precise.
fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = threads.map(|thread| {
        let schedule = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
        schedule.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanoseconds.sum())
}
