//! The Lambda Runtime API, as far as a function speaks it.

use crate::server::Answer;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Where it lies.
pub const RUNTIME: &str = "/2018-06-01/runtime";
/// `Timeout` of the function in template.yaml.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Hands out events and takes answers, for one function.
#[derive(Default)]
pub struct Lambda {
    events: RefCell<VecDeque<Bytes>>,
    changed: Notify,
    idle: Cell<Option<Instant>>,
    handed_out: Cell<u64>,
    /// The first thing that went wrong.
    failure: RefCell<Option<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse {
    batch_item_failures: Vec<serde_json::Value>,
}

impl Lambda {
    /// Queues events; the function gets them one after the other.
    pub fn give(&self, events: &[Bytes]) {
        self.idle.set(None);
        self.events.borrow_mut().extend(events.iter().cloned());
        self.changed.notify_waiters();
    }

    /// Waits until the function has answered everything and asks for more; gives the instant at which it asked.
    pub async fn idle(&self) -> Result<Instant, String> {
        loop {
            let changed = self.changed.notified();
            if let Some(failure) = self.failure.borrow().clone() {
                return Err(failure);
            }
            if let Some(since) = self.idle.get() {
                return Ok(since);
            }
            changed.await;
        }
    }

    /// Answers a request; `path` is what follows [`RUNTIME`].
    pub async fn answer(&self, path: &str, body: &[u8]) -> Answer {
        if path == "/invocation/next" {
            return self.next().await;
        }
        let went_wrong = if path.ends_with("/response") {
            match serde_json::from_slice::<BatchResponse>(body) {
                Ok(response) if response.batch_item_failures.is_empty() => None,
                Ok(response) => Some(format!("{} messages of a batch failed", response.batch_item_failures.len())),
                Err(error) => Some(format!("not a batch response: {error}")),
            }
        } else {
            Some(format!("{path}: {}", String::from_utf8_lossy(body)))
        };
        if let Some(what) = went_wrong {
            self.failure.borrow_mut().get_or_insert(what);
            self.changed.notify_waiters();
        }
        status(202)
    }

    async fn next(&self) -> Answer {
        let event = loop {
            let changed = self.changed.notified();
            if let Some(event) = self.events.borrow_mut().pop_front() {
                break event;
            }
            if self.idle.get().is_none() {
                self.idle.set(Some(Instant::now()));
                self.changed.notify_waiters();
            }
            changed.await;
        };
        let number = self.handed_out.get() + 1;
        self.handed_out.set(number);
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + TIMEOUT;
        Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", format!("8476a536-e9f4-11e8-9739-{number:012x}"))
            .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:111122223333:function:score")
            .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            .body(Full::new(event))
            .unwrap()
    }
}

fn status(code: u16) -> Answer {
    Response::builder().status(code).body(Full::default()).unwrap()
}
