//! Between an SDK client and a cloud: virtual time, and what goes wrong in it.

use crate::cloud::{Answer, Call, Cloud, Partial};
use crate::s3;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a call meets as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No connection: nothing was done.
    Refused,
    /// Throttled: nothing was done.
    Throttled,
    /// The service failed before it did anything.
    FailedBefore,
    /// The service failed after it had done everything.
    FailedAfter,
    /// Everything was done, the connection broke before the answer.
    AnswerLost,
    /// Everything was done, the answer cannot be read.
    Garbled,
    /// Everything was done, the answer names less than was asked.
    Short,
    /// It is done, some seconds later: whoever asked may be gone.
    Slow,
    /// Nothing was done, and no answer comes.
    Silent,
    /// Everything was done, and no answer comes.
    SilentAfter,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Refused,
        Self::Throttled,
        Self::FailedBefore,
        Self::FailedAfter,
        Self::AnswerLost,
        Self::Garbled,
        Self::Short,
        Self::Slow,
        Self::Silent,
        Self::SilentAfter,
    ];
}

/// How often what goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Chances, between 0 and 1, that a call meets each fault.
    pub faults: Vec<(Fault, f64)>,
    /// The chance that some items of a call are refused: statements, keys, entries.
    pub partial: f64,
    /// Of such a call, the chance that each item is refused.
    pub refused: f64,
}

impl Weather {
    /// Nothing goes wrong.
    #[must_use]
    pub fn calm() -> Self {
        Self::default()
    }

    /// Of all calls, `rate` are throttled: half of them whole, of the others each item with the chance of one half.
    #[must_use]
    pub fn throttling(rate: f64) -> Self {
        Self { faults: vec![(Fault::Throttled, rate / 2.0)], partial: rate / 2.0, refused: 0.5 }
    }
}

/// How long callers of an operation waited, on the clock of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waited {
    /// All calls together.
    pub sum: Duration,
    /// The longest.
    pub longest: Duration,
}

struct Inner {
    rng: Rng,
    weather: Weather,
    /// Operations that have a weather of their own.
    local: BTreeMap<String, Weather>,
    /// A table that is away, and what every call for it meets.
    away: Option<(&'static str, Fault)>,
    calls: BTreeMap<String, usize>,
    waited: BTreeMap<String, Waited>,
    /// A digest of everything that happened, to compare two runs by.
    history: u64,
}

/// An HTTP client whose network is a cloud in memory. Everything random in it comes from one seed.
#[derive(Clone)]
pub struct Wire {
    cloud: Arc<Cloud>,
    inner: Arc<Mutex<Inner>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

/// What becomes of one call.
struct Plan {
    fault: Option<Fault>,
    there: Duration,
    back: Duration,
    /// Whether a request that has not arrived yet ends with the one who sent it.
    ends_with_client: bool,
    partial: Draws,
}

/// Refuses items by chance.
struct Draws {
    rng: Rng,
    chance: f64,
}

impl Partial for Draws {
    fn refuse(&mut self, _item: &str) -> Option<&'static str> {
        let codes = ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "TransactionConflict"];
        (self.rng.f64() < self.chance).then(|| codes[self.rng.usize(..codes.len())])
    }

    fn after_commit(&mut self) -> bool {
        self.rng.u8(..4) == 0
    }
}

impl Wire {
    /// A wire to `cloud`.
    #[must_use]
    pub fn new(cloud: &Arc<Cloud>, seed: u64) -> Self {
        let inner = Inner {
            rng: Rng::with_seed(seed),
            weather: Weather::calm(),
            local: BTreeMap::new(),
            away: None,
            calls: BTreeMap::new(),
            waited: BTreeMap::new(),
            history: 0,
        };
        Self { cloud: cloud.clone(), inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what goes wrong from now on, with every operation.
    pub fn weather(&self, weather: Weather) {
        let inner = &mut *self.lock();
        inner.weather = weather;
        inner.local.clear();
        inner.away = None;
    }

    /// From now on every call for this table meets this fault, until the weather changes.
    pub fn away(&self, table: &'static str, fault: Fault) {
        self.lock().away = Some((table, fault));
    }

    /// What the wire leads to.
    #[must_use]
    pub fn cloud(&self) -> &Arc<Cloud> {
        &self.cloud
    }

    /// Changes what goes wrong from now on with one operation.
    pub fn weather_of(&self, operation: &str, weather: Weather) {
        self.lock().local.insert(operation.to_owned(), weather);
    }

    /// How long callers waited for the answers of an operation, or gave up.
    #[must_use]
    pub fn waited(&self, operation: &str) -> Waited {
        self.lock().waited.get(operation).copied().unwrap_or_default()
    }

    /// Calls so far, tries included, by operation.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, usize> {
        self.lock().calls.clone()
    }

    /// A digest of all calls and what became of them, in order.
    #[must_use]
    pub fn history(&self) -> u64 {
        self.lock().history
    }

    /// What the SDKs take as their network.
    #[must_use]
    pub fn client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    fn plan(&self, operation: &str, body: &[u8]) -> Plan {
        let inner = &mut *self.lock();
        *inner.calls.entry(operation.to_owned()).or_default() += 1;
        let away = inner.away.filter(|(table, _)| names(body, table)).map(|(_, fault)| fault);
        let mut left = inner.rng.f64();
        let weather = inner.local.get(operation).unwrap_or(&inner.weather);
        let fault = weather.faults.iter().find_map(|(fault, chance)| {
            left -= chance;
            (left < 0.0).then_some(*fault)
        });
        let fault = away.or(fault);
        let chance = if inner.rng.f64() < weather.partial { weather.refused } else { 0.0 };
        let milliseconds = |rng: &mut Rng| Duration::from_micros(rng.u64(200..4_000));
        let there = match fault {
            Some(Fault::Slow) => Duration::from_millis(inner.rng.u64(500..8_000)),
            _ => milliseconds(&mut inner.rng),
        };
        let plan = Plan {
            fault,
            there,
            back: milliseconds(&mut inner.rng),
            ends_with_client: inner.rng.bool(),
            partial: Draws { rng: inner.rng.fork(), chance },
        };
        let said = format!("{operation} {fault:?} {:?} {:?} {chance}", plan.there, plan.back);
        let mixed =
            said.bytes().fold(inner.history, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        inner.history = mixed.rotate_left(5);
        plan
    }

    /// The service's side of a call. It goes on when the client is gone.
    async fn serve(
        self,
        request: HttpRequest,
        mut plan: Plan,
        client: oneshot::Sender<Result<Answer, ConnectorError>>,
    ) {
        let io = |what: &'static str| ConnectorError::io(what.into());
        tokio::time::sleep(plan.there).await;
        if plan.ends_with_client && client.is_closed() {
            return;
        }
        let path_and_query = request.uri().split_once("://").map_or(request.uri(), |(_, rest)| rest);
        let call = Call {
            method: request.method(),
            path_and_query: path_and_query.find('/').map_or("/", |at| &path_and_query[at..]),
            target: request.headers().get("x-amz-target"),
            metadata: request
                .headers()
                .iter()
                .filter_map(|(name, value)| Some((name.strip_prefix("x-amz-meta-")?.to_owned(), value.to_owned())))
                .collect(),
            if_match: request.headers().get("if-match"),
            if_none_match: request.headers().get("if-none-match"),
            body: request.body().bytes().unwrap_or_default(),
        };
        let of_s3 = call.target.is_none() && call.operation() != "InvokeEndpoint";
        let error = |status, code| if of_s3 { s3::error(status, code) } else { Answer::error(status, code) };
        let answer = match plan.fault {
            Some(Fault::Refused) => Err(io("connection refused")),
            Some(Fault::Silent) => return hold(client).await,
            Some(Fault::Throttled) => Ok(match call.operation() {
                "GetObject" | "PutObject" | "ListObjectsV2" => error(503, "SlowDown"),
                "SendMessageBatch" | "ChangeMessageVisibilityBatch" => error(400, "RequestThrottled"),
                "InvokeEndpoint" => error(400, "ThrottlingException"),
                _ => error(400, "ProvisionedThroughputExceededException"),
            }),
            Some(Fault::FailedBefore) => Ok(error(500, "InternalServerError")),
            _ => Ok(self.cloud.answer(&call, &mut plan.partial)),
        };
        let answer = match plan.fault {
            Some(Fault::FailedAfter) => Ok(error(500, "InternalServerError")),
            Some(Fault::AnswerLost) => Err(io("connection reset by peer")),
            Some(Fault::SilentAfter) => return hold(client).await,
            // S3 answers with a checksum, so that bytes lost on the way are an error of the connection.
            Some(Fault::Garbled) if of_s3 => Err(io("connection reset by peer")),
            Some(Fault::Garbled) => Ok(Answer { status: 200, headers: Vec::new(), body: b"{\"Respon".to_vec() }),
            Some(Fault::Short) => answer.map(shortened),
            _ => answer,
        };
        tokio::time::sleep(plan.back).await;
        // Nobody may be waiting any more.
        let _ = client.send(answer);
    }
}

/// Whether a request to DynamoDB is for this table: its name stands there in quotes, escaped ones in a statement.
fn names(body: &[u8], table: &str) -> bool {
    let quoted = format!("\"{table}");
    body.windows(quoted.len()).any(|run| run == quoted.as_bytes())
}

/// The line stays open and says nothing.
async fn hold(mut client: oneshot::Sender<Result<Answer, ConnectorError>>) {
    client.closed().await;
}

/// An answer that leaves out the second half of what it should name.
fn shortened(mut answer: Answer) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return answer };
    for name in ["Responses", "Successful", "predictions"] {
        if let Some(list) = body.get_mut(name).and_then(serde_json::Value::as_array_mut) {
            list.truncate(list.len() / 2);
        }
    }
    answer.body = body.to_string().into_bytes();
    answer
}

/// A caller who waits; whatever ends that, the time counts.
struct Waiting {
    wire: Wire,
    operation: String,
    since: Instant,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        let inner = &mut *self.wire.lock();
        let waited = inner.waited.entry(std::mem::take(&mut self.operation)).or_default();
        waited.sum += took;
        waited.longest = waited.longest.max(took);
    }
}

#[derive(Debug)]
struct Connector {
    wire: Wire,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (wire, read_timeout) = (self.wire.clone(), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let operation = {
                let target = request.headers().get("x-amz-target");
                let call = Call {
                    method: request.method(),
                    path_and_query: request.uri(),
                    target,
                    metadata: BTreeMap::new(),
                    if_match: None,
                    if_none_match: None,
                    body: &[],
                };
                call.operation().to_owned()
            };
            let plan = wire.plan(&operation, request.body().bytes().unwrap_or_default());
            let _waiting = Waiting { wire: wire.clone(), operation, since: Instant::now() };
            let (client, answer) = oneshot::channel();
            tokio::spawn(wire.serve(request, plan, client));
            let answer = match read_timeout {
                Some(bound) => tokio::time::timeout(bound, answer)
                    .await
                    .map_err(|_| ConnectorError::timeout("no answer in time".into()))?,
                None => answer.await,
            };
            response(answer.map_err(|_| ConnectorError::io("the connection is gone".into()))??)
        })
    }
}

fn response(answer: Answer) -> Result<HttpResponse, ConnectorError> {
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let response =
        response.body(SdkBody::from(answer.body)).map_err(|error| ConnectorError::other(error.into(), None))?;
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

impl HttpClient for Wire {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector { wire: self.clone(), read_timeout: settings.read_timeout() })
    }
}
