//! A cloud in memory behind real sockets on 127.0.0.1, and what goes wrong between it and whoever asks.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use world::{Answer, Call, Cloud};

/// What becomes of one request. Where nothing else is said, the request was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is reset before the request is read; nothing was done.
    ResetUnread,
    /// Reset while the request is read; nothing was done.
    ResetHalfRead,
    /// Reset once the request is read; nothing was done.
    ResetRead,
    /// Reset instead of an answer.
    ResetAnswer,
    /// Closed instead of an answer.
    ClosedAnswer,
    /// Half the head of an answer, then the end.
    HalfHead,
    /// A head, half of the body that it promises, then the end.
    HalfBody,
    /// The same, ended by a reset.
    HalfBodyReset,
    /// The same, and then nothing for ever.
    StalledBody,
    /// Bytes that are no HTTP.
    NoHttp,
    /// A good answer, well delivered, whose body is only its first half.
    HalfDocument,
    /// A good answer without a body.
    NoBody,
    /// Every entry failed, and none of them says with which error; nothing was done.
    Nameless,
    /// An answer that names only the first of several.
    Short,
    /// The right answer, later than anybody waits.
    Late,
    /// The request is read, nothing is done, and no answer comes.
    Silent,
    /// The connection is accepted and nothing is ever read from it.
    Deaf,
    /// 500; nothing was done.
    Failed,
    /// 500.
    FailedAfter,
    /// 503; nothing was done.
    Overloaded,
    /// Throttled, as the service words it; nothing was done.
    Throttled,
    /// The right answer, then the end of the connection, which nobody announced.
    ThenClosed,
    /// The right answer, then a reset.
    ThenReset,
}

/// Later than the adapters' read timeout of two seconds.
const LATE: Duration = Duration::from_millis(2_700);

/// How connections of this age are ended, the next time it matters.
#[derive(Clone, Copy, Default)]
struct Ended {
    /// Connections up to this number get a FIN at once.
    closed: usize,
    /// Connections up to this number get a reset at once.
    reset: usize,
    /// Connections up to this number look open, and are reset by the first byte that comes: the peer has forgotten
    /// them, and nobody was told.
    forgotten: usize,
}

struct Shared {
    cloud: Arc<Cloud>,
    next: Mutex<VecDeque<Trouble>>,
    always: Mutex<Option<Trouble>>,
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// No request is answered before as many have come.
    held: watch::Sender<usize>,
    ended: watch::Sender<Ended>,
}

/// The server; it ends with the runtime that it was started on.
pub struct Server {
    shared: Arc<Shared>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Listens on a free port, or on `address`.
    pub fn start(cloud: &Arc<Cloud>, address: Option<SocketAddr>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap())).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            cloud: cloud.clone(),
            next: Mutex::default(),
            always: Mutex::default(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            held: watch::Sender::default(),
            ended: watch::Sender::default(),
        });
        tokio::spawn(accept(shared.clone(), listener));
        Self { shared, address }
    }

    /// What the next requests meet, one each; those after them are answered well.
    pub fn next(&self, troubles: &[Trouble]) {
        self.shared.next.lock().unwrap().extend(troubles);
    }

    /// What every request meets, or none.
    pub fn always(&self, trouble: Option<Trouble>) {
        *self.shared.always.lock().unwrap() = trouble;
    }

    /// Answers nothing before this many requests have come.
    pub fn hold(&self, requests: usize) {
        self.shared.held.send_replace(requests);
    }

    /// Connections opened so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests begun so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Closes every connection that is idle now.
    pub fn close_idle(&self) {
        let all = self.connections();
        self.shared.ended.send_modify(|ended| ended.closed = all);
    }

    /// Resets every connection that is idle now.
    pub fn reset_idle(&self) {
        let all = self.connections();
        self.shared.ended.send_modify(|ended| ended.reset = all);
    }

    /// Forgets every connection there is, as a balancer does, without a word to the other side.
    pub fn forget_all(&self) {
        let all = self.connections();
        self.shared.ended.send_modify(|ended| ended.forgotten = all);
    }
}

/// An address on which nobody listens, until a server is started on it.
pub fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::spawn(converse(shared.clone(), stream, number));
    }
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

async fn converse(shared: Arc<Shared>, mut stream: TcpStream, number: usize) {
    let mut ended = shared.ended.subscribe();
    loop {
        let mut first = [0];
        tokio::select! {
            biased;
            first = stream.peek(&mut first) => if !matches!(first, Ok(1)) { return },
            ended = ended.wait_for(|ended| ended.closed.max(ended.reset) >= number) => {
                if ended.is_ok_and(|ended| ended.reset >= number) {
                    reset(stream);
                }
                return;
            }
        }
        let requests = shared.requests.fetch_add(1, Ordering::SeqCst) + 1;
        shared.held.send_modify(|held| *held = if requests >= *held { 0 } else { *held });
        let _ = shared.held.subscribe().wait_for(|held| *held == 0).await;
        if shared.ended.borrow().forgotten >= number {
            return reset(stream);
        }
        let always = *shared.always.lock().unwrap();
        let trouble = shared.next.lock().unwrap().pop_front().or(always);
        match trouble {
            Some(Trouble::ResetUnread) => return reset(stream),
            Some(Trouble::ResetHalfRead) => {
                stream.read_exact(&mut [0; 100]).await.unwrap();
                return reset(stream);
            }
            Some(Trouble::Deaf) => return std::future::pending().await,
            _ => {}
        }
        let Some(request) = Request::read(&mut stream).await else { return };
        match answer(&shared.cloud, &request, stream, trouble).await {
            Some(open) => stream = open,
            None => return,
        }
    }
}

/// Answers as told; the stream comes back where it stays open.
async fn answer(
    cloud: &Cloud,
    request: &Request,
    mut stream: TcpStream,
    trouble: Option<Trouble>,
) -> Option<TcpStream> {
    use Trouble::{
        ClosedAnswer, HalfBody, HalfBodyReset, HalfHead, Late, NoHttp, ResetAnswer, ResetRead, Silent, StalledBody,
        ThenClosed, ThenReset,
    };
    match trouble {
        Some(ResetRead) => {
            reset(stream);
            return None;
        }
        Some(Silent) => std::future::pending().await,
        _ => {}
    }
    let Answer { status, headers, body } = said(cloud, &request.call(), trouble);
    let mut head = format!("HTTP/1.1 {status} As Told\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers.iter().filter(|(name, _)| name != "content-length") {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head += "\r\n";
    let whole = [head.as_bytes(), &body].concat();
    let bytes = match trouble {
        Some(ResetAnswer | ClosedAnswer) => &[],
        Some(NoHttp) => b"\x16\x03\x01 these bytes are no HTTP\r\n\r\n".as_slice(),
        Some(HalfHead) => &whole[..head.len() / 2],
        Some(HalfBody | HalfBodyReset | StalledBody) => &whole[..whole.len() - body.len().div_ceil(2)],
        _ => &whole,
    };
    if trouble == Some(Late) {
        tokio::time::sleep(LATE).await;
    }
    // Whoever asked may have gone.
    let _ = stream.write_all(bytes).await;
    match trouble {
        Some(ResetAnswer | ThenReset | HalfBodyReset) => {
            // What was sent has to arrive before the reset throws it away.
            tokio::time::sleep(Duration::from_millis(20)).await;
            reset(stream);
            None
        }
        Some(ClosedAnswer | HalfHead | HalfBody | NoHttp | ThenClosed) => None,
        Some(StalledBody) => std::future::pending().await,
        _ => Some(stream),
    }
}

/// What the service says, however much of it arrives.
fn said(cloud: &Cloud, call: &Call<'_>, trouble: Option<Trouble>) -> Answer {
    let error = |status, code: &str| match call.target {
        Some(_) => Answer::error(status, code),
        None => {
            let body = format!("<Error><Code>{code}</Code><Message>as told</Message></Error>").into_bytes();
            Answer { status, headers: Vec::new(), body }
        }
    };
    match trouble {
        Some(Trouble::Failed) => return error(500, "InternalServerError"),
        Some(Trouble::Overloaded) => return error(503, "ServiceUnavailable"),
        Some(Trouble::Throttled) => {
            return match call.operation() {
                "GetObject" | "PutObject" | "ListObjectsV2" => error(503, "SlowDown"),
                "SendMessageBatch" => error(400, "RequestThrottled"),
                _ => error(400, "ProvisionedThroughputExceededException"),
            };
        }
        Some(Trouble::Nameless) => {
            let request: Value = serde_json::from_slice(call.body).unwrap();
            let asked = request["Statements"].as_array().unwrap().len();
            return Answer::json(
                200,
                &json!({ "Responses": vec![json!({ "Error": { "Message": "as told" } }); asked] }),
            );
        }
        _ => {}
    }
    let mut answer = cloud.answer(call, &mut ());
    match trouble {
        Some(Trouble::FailedAfter) => return error(500, "InternalServerError"),
        Some(Trouble::HalfDocument) => answer.body.truncate(answer.body.len() / 2),
        Some(Trouble::NoBody) => answer.body.clear(),
        Some(Trouble::Short) => {
            let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
            let list = ["Responses", "Successful"].iter().find_map(|name| body.get(name).map(|_| *name)).unwrap();
            body[list].as_array_mut().unwrap().truncate(1);
            answer.body = body.to_string().into_bytes();
        }
        _ => {}
    }
    answer
}

struct Request {
    method: String,
    path_and_query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// Reads one request; `None` where it ends early.
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap().split(' ').map(str::to_owned);
        let (method, path_and_query) = (words.next().unwrap(), words.next().unwrap());
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        assert!(!headers.contains_key("transfer-encoding"), "this server takes bodies of a known length alone");
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = bytes.split_off(end + 4);
        while body.len() < length {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        assert_eq!(body.len(), length, "nothing follows a request before its answer");
        Some(Self { method, path_and_query, headers, body })
    }

    fn call(&self) -> Call<'_> {
        let metadata = self.headers.iter();
        Call {
            method: &self.method,
            path_and_query: &self.path_and_query,
            target: self.headers.get("x-amz-target").map(String::as_str),
            metadata: metadata
                .filter_map(|(name, value)| Some((name.strip_prefix("x-amz-meta-")?.to_owned(), value.clone())))
                .collect(),
            if_match: self.headers.get("if-match").map(String::as_str),
            if_none_match: self.headers.get("if-none-match").map(String::as_str),
            body: &self.body,
        }
    }
}
