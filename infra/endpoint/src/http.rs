//! SageMaker's contract over HTTP.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use opinion::Reader;
use runtime::isolate;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use crate::config::{Config, MAX_BODY_BYTES};
use crate::error::Refusal;
use crate::invocation::{self, Invocation};
use crate::metrics::Metrics;
use crate::models::Loaded;
use crate::npy;
use crate::queue::{Full, Limits};
use crate::workers::{Arriving, Done, Job, Work, Workers};

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bodies up to this size are read where they come; larger ones would keep `/ping` waiting.
const SMALL_BODY: usize = 4096;

/// The program's state.
pub struct App {
    /// What it counts.
    pub metrics: Arc<Metrics>,
    serving: OnceLock<Serving>,
    stopping: AtomicBool,
    /// Requests that are being answered.
    pub(crate) active: AtomicUsize,
    /// Bytes of bodies that may still be taken.
    bytes: Semaphore,
    limits: Limits,
}

/// A loaded model at work.
struct Serving {
    workers: Workers,
    reader: Arc<dyn Reader>,
}

impl App {
    /// Without a model yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let limits = Limits {
            max_batch: config.max_batch,
            max_wait: config.max_wait(),
            max_queue: config.max_queue,
            max_age: config.max_age(),
        };
        Self {
            metrics: Arc::default(),
            serving: OnceLock::new(),
            stopping: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            bytes: Semaphore::new(config.held_bytes() as usize),
            limits,
        }
    }

    /// Serves this model from now on; a second one is not taken.
    ///
    /// # Errors
    /// Where there are no threads to be had.
    pub fn serve(&self, loaded: Loaded) -> std::io::Result<()> {
        let max_batch = self.limits.max_batch.min(loaded.reader.most_rows()).max(1);
        let limits = Limits { max_batch, ..self.limits };
        let workers = Workers::start(loaded.panels, limits, Arc::clone(&self.metrics))?;
        let _ = self.serving.set(Serving { workers, reader: loaded.reader });
        Ok(())
    }

    /// Takes no more requests.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Ends the threads, when nothing waits any more.
    pub fn finish(&self) {
        if let Some(serving) = self.serving.get() {
            serving.workers.finish();
        }
    }

    fn serving(&self) -> Result<&Serving, Refusal> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Refusal::Stopping);
        }
        self.serving.get().ok_or(Refusal::NotLoaded)
    }

    async fn invoke(&self, headers: &HeaderMap, body: Body) -> Result<Response, Refusal> {
        let Serving { workers, reader } = self.serving()?;
        let format = Format::of(headers)?;
        // A body without a length counts as the largest.
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length: usize = length.unwrap_or(MAX_BODY_BYTES);
        if length > MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        if workers.is_full() {
            return Err(Refusal::Busy);
        }
        let _held = self.hold(length)?;
        let arriving = workers.arriving();
        let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await;
        let body = body.map_err(|_| Refusal::TooSlow)?.map_err(|_| Refusal::TooLarge)?;
        let reading = Arc::clone(reader);
        let read = move || match format {
            Format::Json => invocation::read_json(&body, reading.as_ref()),
            Format::Npy => invocation::read_npy(&body),
        };
        let (invocation, work) = beside(length > SMALL_BODY, read).await??;
        let done = run(workers, work, arriving).await?;
        let media_type = invocation.media_type();
        let concluding = Arc::clone(reader);
        let conclude = move || Invocation::answer(invocation, done, concluding.as_ref());
        let body = beside(length > SMALL_BODY, conclude).await??;
        Ok(([(header::CONTENT_TYPE, media_type)], body).into_response())
    }

    fn hold(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::TooLarge)?;
        self.bytes.try_acquire_many(bytes).map_err(|_| Refusal::Busy)
    }
}

/// Waits for what comes of all jobs.
async fn run(workers: &Workers, work: Vec<Work>, arriving: Arriving) -> Result<Vec<Done>, Refusal> {
    let mut left = work.len();
    let mut done: Vec<Option<Done>> = std::iter::repeat_with(|| None).take(left).collect();
    // One message a job, so the channel is as bounded as the queue.
    let (reply, mut replies) = mpsc::unbounded_channel();
    let jobs = work.into_iter().enumerate().map(|(place, work)| Job { work, place, reply: reply.clone() });
    workers.push(jobs.collect(), arriving).map_err(|full| match full {
        Full::Now => Refusal::Busy,
        Full::Ever => Refusal::TooLarge,
    })?;
    drop(reply);
    while left > 0 {
        let (place, one) = replies.recv().await.ok_or(Refusal::Model)?;
        if matches!(one, Done::TooLate) {
            // Its other jobs need not run: whoever finds them sees that nobody waits.
            return Err(Refusal::QueueTimeout);
        }
        if let Some(slot) = done.get_mut(place) {
            *slot = Some(one);
        }
        left -= 1;
    }
    Ok(done.into_iter().flatten().collect())
}

/// Runs short work here, and long work beside the threads that answer `/ping`. A panic is this request's alone.
async fn beside<T: Send + 'static>(long: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let work = move || isolate(work).map_err(|_| Refusal::Model);
    if long { tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Model)? } else { work() }
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Json,
    Npy,
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let named = headers.get(header::CONTENT_TYPE).and_then(|name| name.to_str().ok()).unwrap_or_default();
        match named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            npy::MEDIA_TYPE => Ok(Self::Npy),
            _ => Err(Refusal::MediaType),
        }
    }
}

/// A request that is being answered.
struct Active<'a>(&'a AtomicUsize);

impl<'a> Active<'a> {
    fn new(active: &'a AtomicUsize) -> Self {
        active.fetch_add(1, Ordering::SeqCst);
        Self(active)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn ping(State(app): State<Arc<App>>) -> Response {
    app.serving().map_or_else(Refusal::into_response, |_| StatusCode::OK.into_response())
}

async fn invocations(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let _active = Active::new(&app.active);
    let (parts, body) = request.into_parts();
    let response = app.invoke(&parts.headers, body).await.unwrap_or_else(Refusal::into_response);
    app.metrics.answered(response.status().as_u16(), started.elapsed());
    response
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.text()).into_response()
}

/// The program's paths.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/ping", get(ping))
        .route("/invocations", post(invocations))
        // Where the SDK asks when SageMaker is not between: whatever name it asks for, this is the one.
        .route("/endpoints/{name}/invocations", post(invocations))
        .route("/metrics", get(metrics))
        .with_state(app)
}
