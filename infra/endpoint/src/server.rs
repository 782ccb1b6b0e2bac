//! The program's life: it listens, loads, serves and stops.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::serve::ListenerExt;
use runtime::telemetry;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::http::{App, router};
use crate::models;

/// Answers that are written may take so long after the last one is there.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the program until SIGTERM or SIGINT: 0 where it stopped as it should, 1 where it could not serve.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    runtime::silence_panics();
    // Threads that read requests beside those that answer; what waits for them is bounded by the bytes that are held.
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(config.workers().max(2) + 1)
        .enable_all()
        .build();
    let ran = built.map_err(Into::into).and_then(|runtime| {
        let ran = runtime.block_on(serve(config));
        // A run of the model that does not end is not waited for.
        runtime.shutdown_timeout(Duration::from_millis(100));
        ran
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::log("ERROR", "the endpoint cannot serve", &json!({ "error": chain(error.as_ref()) }));
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = Server::bind(&config).await?;
    telemetry::log("INFO", "the endpoint listens", &json!({ "address": server.address().to_string() }));
    let loading = server.load(config.clone());
    let stopped = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    tokio::select! {
        // While it loads, SIGTERM ends it at once: nothing waits.
        failed = loading => failed?,
        () = minutes(&server.app, &config.stage) => {}
        () = stopped => {}
    }
    telemetry::log("INFO", "the endpoint stops", &json!({ "requests": server.active() }));
    let left = server.stop(config.drain()).await;
    server.app.metrics.minute(&config.stage).emit();
    let level = if left == 0 { "INFO" } else { "ERROR" };
    telemetry::log(level, "the endpoint has stopped", &json!({ "requests.lost": left }));
    Ok(())
}

/// Writes metrics once a minute, for ever.
async fn minutes(app: &App, stage: &str) {
    let mut every = tokio::time::interval(Duration::from_secs(60));
    every.tick().await;
    loop {
        every.tick().await;
        app.metrics.minute(stage).emit();
    }
}

/// An error and what caused it.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// A program that listens.
pub struct Server {
    /// Its state.
    pub app: Arc<App>,
    address: SocketAddr,
    shut: tokio::sync::watch::Sender<bool>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Listens, without a model yet: `/ping` says 503.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub async fn bind(config: &Config) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.address()).await?;
        let address = listener.local_addr()?;
        let app = Arc::new(App::new(config));
        let (shut, mut shutting) = tokio::sync::watch::channel(false);
        // An answer must not wait for the acknowledgement of its own head.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let serve = axum::serve(listener, router(Arc::clone(&app)));
        let serve = serve.with_graceful_shutdown(async move { drop(shutting.wait_for(|shut| *shut).await) });
        let serving = tokio::spawn(async move { serve.await });
        Ok(Self { app, address, shut, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that are being answered.
    #[must_use]
    pub fn active(&self) -> usize {
        self.app.active.load(Ordering::SeqCst)
    }

    /// Loads the model beside what answers; ends with an error or never.
    async fn load(&self, config: Config) -> Result<(), Box<dyn Error + Send + Sync>> {
        let app = Arc::clone(&self.app);
        let load = move || -> Result<(), Box<dyn Error + Send + Sync>> {
            let started = Instant::now();
            app.serve(models::load(&config)?)?;
            let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            telemetry::log(
                "INFO",
                "the endpoint serves",
                &json!({ "load.duration_ms": took, "workers": config.workers() }),
            );
            Ok(())
        };
        tokio::task::spawn_blocking(load).await??;
        std::future::pending().await
    }

    /// Takes no more, finishes what is held within `bound`, and gives the number of requests that were lost.
    pub async fn stop(&self, bound: Duration) -> usize {
        self.app.stop();
        let until = Instant::now() + bound;
        // Until the last answer is on its way the port stays open, so that whoever asks hears 503 and goes elsewhere.
        while self.active() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = self.active();
        let _ = self.shut.send(true);
        let closing = async {
            while !self.serving.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, closing).await;
        // A run that nobody waits for any more may still go on.
        let app = Arc::clone(&self.app);
        let _ = tokio::time::timeout(LAST_WORDS, tokio::task::spawn_blocking(move || app.finish())).await;
        left
    }
}
