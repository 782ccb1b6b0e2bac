//! What sockets do on bad days, through the real SDKs and the adapters of this crate: connections closed while the
//! function was frozen, resets, halves of answers, silence. Each adapter answers before its deadline, item by item,
//! never says more than it knows, and the call after the trouble succeeds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod server;

use domain::{DecidedBy, DecisionRecord, PostId, Revision};
use features::views::{Definitions, FeatureRow, Lookup, RowKey};
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use server::{Server, Trouble, nobody};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Connection, Deadline, DecisionStore, DynamoDecisions, DynamoFeatures, FeatureStore, Inference, Inserted, Message,
    Object, ObjectStore, Queue, S3Objects, SageMaker, SqsQueue, StoreError,
};
use world::Cloud;

/// Every call that the adapters make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Insert,
    ReadDecisions,
    OfPost,
    VerdictBefore,
    ReadFeatures,
    WriteFeatures,
    Send,
    ReadObject,
    WriteObject,
    List,
}

use Operation::{
    Insert, List, OfPost, ReadDecisions, ReadFeatures, ReadObject, Send, VerdictBefore, WriteFeatures, WriteObject,
};

const OPERATIONS: [Operation; 10] =
    [Insert, ReadDecisions, OfPost, VerdictBefore, ReadFeatures, WriteFeatures, Send, ReadObject, WriteObject, List];

/// How one item of an answer came out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    /// The truth, or done.
    Right,
    /// An insert that was not the first.
    Exists,
    /// It is not known, or not known to be done; the same call may succeed later.
    Again,
    /// The same, and no call will ever succeed.
    Never(String),
    /// Something else than the truth.
    Wrong,
}

fn came<T>(answer: Result<T, StoreError>, right: impl Fn(&T) -> bool) -> Came {
    match answer {
        Ok(answer) if right(&answer) => Came::Right,
        Ok(_) => Came::Wrong,
        Err(error) if error.retryable => Came::Again,
        Err(error) => Came::Never(error.to_string()),
    }
}

/// The adapters, pointed at one address.
struct Stores {
    decisions: DynamoDecisions,
    features: DynamoFeatures,
    queue: SqsQueue,
    objects: S3Objects,
}

const OBJECT_BYTES: usize = 40_000;

impl Stores {
    /// `name` tells this client from all others.
    async fn at(address: SocketAddr, name: &str) -> Self {
        let connection = Connection {
            endpoint_url: Some(format!("http://{address}")),
            region: Some(name.to_ascii_lowercase()),
            credentials: Some(("test".to_owned(), "test".to_owned())),
            ..Connection::default()
        };
        let aws = store::connect(connection).await;
        Self {
            decisions: DynamoDecisions::new(&aws, "decisions"),
            features: DynamoFeatures::new(&aws, "features", Arc::new(Definitions::bundled().unwrap())),
            queue: SqsQueue::new(&aws, format!("http://{address}/000000000000/{name}")),
            objects: S3Objects::new(&aws),
        }
    }

    /// Does one operation; what it writes is under `name`, what it reads is what [`seed`] left.
    async fn try_once(&self, operation: Operation, name: &str, deadline: Deadline) -> Vec<Came> {
        let known = record("known", 1);
        match operation {
            Insert => {
                let answers = self.decisions.insert(&inserted(name), deadline).await;
                let kind = |answer| match answer {
                    Ok(Inserted::New) => Came::Right,
                    Ok(Inserted::Exists) => Came::Exists,
                    Err(error) => came(Err::<(), _>(error), |()| true),
                };
                answers.into_iter().map(kind).collect()
            }
            ReadDecisions => {
                let keys = [("known", 2), ("unknown", 1), ("known", 1)].map(|(post, n)| (post_id(post), revision(n)));
                let answers = self.decisions.get(&keys, deadline).await;
                let truth = [Some(record("known", 2)), None, Some(known)];
                answers.into_iter().zip(truth).map(|(answer, truth)| came(answer, |found| *found == truth)).collect()
            }
            OfPost => {
                let answer = self.decisions.of_post(&known.post_id, deadline).await;
                vec![came(answer, |found| found.records == [record("known", 1), record("known", 2)])]
            }
            VerdictBefore => {
                let answer = self.decisions.before(&known.post_id, revision(2), deadline).await;
                vec![came(answer, |found| found.verdict)]
            }
            ReadFeatures => {
                let keys = [key("u-known"), key("u-unknown"), key("u-other")];
                let found = self.features.fetch(&keys.clone().into(), deadline).await;
                assert_eq!(found.len(), keys.len());
                keys.iter()
                    .map(|key| match (&found[key], key.id.as_str()) {
                        (Lookup::Unavailable, _) => Came::Again,
                        (Lookup::Missing, "u-unknown") => Came::Right,
                        (Lookup::Found(found), id) if *found == row(id) => Came::Right,
                        _ => Came::Wrong,
                    })
                    .collect()
            }
            WriteFeatures => {
                let answer = self.features.put(&[row(name)], deadline).await;
                vec![came(answer, |()| true)]
            }
            Send => {
                let messages = ["a", "b", "c"].map(|body| Message { body: body.to_owned() });
                let answers = self.queue.send(&messages, deadline).await;
                answers.into_iter().map(|answer| came(answer, |()| true)).collect()
            }
            ReadObject => {
                let answer = self.objects.get("bucket", "known", OBJECT_BYTES, deadline).await;
                vec![came(answer, |found| found.as_ref().is_some_and(|object| object.bytes == object_bytes()))]
            }
            WriteObject => {
                let object = Object { bytes: object_bytes(), metadata: BTreeMap::new() };
                vec![came(self.objects.put("bucket", name, object, deadline).await, |()| true)]
            }
            List => {
                let answer = self.objects.list("bucket", "known", deadline).await;
                vec![came(answer, |found| found.len() == 1 && found[0].key == "known")]
            }
        }
    }
}

fn post_id(id: &str) -> PostId {
    PostId::try_from(id.to_owned()).unwrap()
}

fn revision(number: u64) -> Revision {
    Revision::try_from(number).unwrap()
}

/// The sample record as a decision of this post, by a person where it is the first revision of a known one.
fn record(post: &str, number: u64) -> DecisionRecord {
    let sample = include_str!("../../../../events/messages/decision.json");
    let mut record: DecisionRecord = serde_json::from_str(sample).unwrap();
    record.post_id = post_id(post);
    record.revision = revision(number);
    record.decision_id = domain::decision_id(&record.post_id, record.revision);
    if (post, number) == ("known", 1) {
        record.decided_by = DecidedBy::Human;
    }
    record
}

/// Three records of posts that are this case's own.
fn inserted(name: &str) -> Vec<DecisionRecord> {
    (0..3).map(|n| record(&format!("{name}-{n}"), 1)).collect()
}

fn key(author: &str) -> RowKey {
    RowKey { view: "user".to_owned(), id: author.to_owned() }
}

fn row(author: &str) -> FeatureRow {
    let line = serde_json::json!({
        "view": "user", "id": author, "updated_at": "2026-11-23T08:00:00Z", "values": { "followers": 12 },
    });
    Definitions::bundled().unwrap().parse_row(&line.to_string()).unwrap()
}

fn object_bytes() -> Vec<u8> {
    (0..OBJECT_BYTES).map(|n| b'a' + (n % 26) as u8).collect()
}

fn within(milliseconds: u64) -> Deadline {
    Deadline::now() + Duration::from_millis(milliseconds)
}

/// What all cases read: two revisions, the first by a person; two authors; an object.
async fn seeded() -> Arc<Cloud> {
    let cloud = Arc::new(Cloud::default());
    let server = Server::start(&cloud, None);
    let stores = Stores::at(server.address, "seed").await;
    let records = [record("known", 1), record("known", 2)];
    assert_eq!(stores.decisions.insert(&records, within(5_000)).await, [Ok(Inserted::New), Ok(Inserted::New)]);
    for author in ["u-known", "u-other"] {
        let item = serde_json::json!({
            "entity": { "S": format!("user#{author}") }, "updated_at": { "S": "2026-11-23T08:00:00Z" },
            "followers": { "N": "12" },
        });
        cloud.put("features", item.as_object().unwrap().clone(), "seed");
    }
    cloud.keep("bucket", "known", object_bytes());
    cloud
}

/// What one call makes of a trouble that comes once.
struct Row {
    trouble: Trouble,
    /// Whether the request was carried out all the same.
    done: bool,
    /// Requests until the call is answered.
    requests: usize,
    /// Connections until then, the first included.
    connections: usize,
}

const fn row_of(trouble: Trouble, done: bool, requests: usize, connections: usize) -> Row {
    Row { trouble, done, requests, connections }
}

const TABLE: [Row; 23] = [
    row_of(Trouble::ResetUnread, false, 2, 2),
    row_of(Trouble::ResetHalfRead, false, 2, 2),
    row_of(Trouble::ResetRead, false, 2, 2),
    row_of(Trouble::ResetAnswer, true, 2, 2),
    row_of(Trouble::ClosedAnswer, true, 2, 2),
    row_of(Trouble::HalfHead, true, 2, 2),
    row_of(Trouble::HalfBody, true, 2, 2),
    row_of(Trouble::HalfBodyReset, true, 2, 2),
    row_of(Trouble::StalledBody, true, 2, 2),
    // What cannot be understood is not asked for again by the SDK; the message will be.
    row_of(Trouble::NoHttp, true, 1, 1),
    row_of(Trouble::HalfDocument, true, 1, 1),
    row_of(Trouble::NoBody, true, 1, 1),
    row_of(Trouble::Nameless, false, 2, 1),
    row_of(Trouble::Short, true, 2, 1),
    row_of(Trouble::Late, true, 2, 2),
    row_of(Trouble::Silent, false, 2, 2),
    row_of(Trouble::Deaf, false, 2, 2),
    // The SDK leaves a connection on which a service failed, not one on which it throttled.
    row_of(Trouble::Failed, false, 2, 2),
    row_of(Trouble::FailedAfter, true, 2, 2),
    row_of(Trouble::Overloaded, false, 2, 2),
    row_of(Trouble::Throttled, false, 2, 1),
    row_of(Trouble::ThenClosed, true, 1, 1),
    row_of(Trouble::ThenReset, true, 1, 1),
];

impl Row {
    /// Whether the trouble makes sense for the operation.
    fn applies(&self, operation: Operation) -> bool {
        match (self.trouble, operation) {
            // Only answers with a list of their own, entry by entry.
            (Trouble::Nameless, _) => operation == Insert,
            (Trouble::Short, _) => matches!(operation, Insert | Send),
            // An object is whatever bytes come in full: what was cut off before, its checksum tells and nothing else.
            (Trouble::HalfDocument | Trouble::NoBody, ReadObject) => false,
            // The SDK's XML parser takes the first half of a list for a list.
            (Trouble::HalfDocument, List) => false,
            _ => true,
        }
    }

    /// Requests, connections, and how every item came out.
    fn once(&self, operation: Operation) -> (usize, usize, Came) {
        let right = if operation == Insert && self.done && self.requests == 2 { Came::Exists } else { Came::Right };
        match (self.trouble, operation) {
            // The answer to a written object has no body that could be missed.
            (
                Trouble::HalfBody
                | Trouble::HalfBodyReset
                | Trouble::StalledBody
                | Trouble::HalfDocument
                | Trouble::NoBody,
                WriteObject,
            ) => (1, 1, Came::Right),
            // The bytes of an object come after its answer, so that no retry of the SDK covers them.
            (Trouble::HalfBody | Trouble::HalfBodyReset | Trouble::StalledBody, ReadObject) => (1, 1, Came::Again),
            // Entries without an answer are sent again by the adapters.
            (Trouble::NoBody, Insert) => (2, 1, Came::Exists),
            (Trouble::NoBody, Send) => (2, 1, Came::Right),
            (Trouble::NoHttp | Trouble::HalfDocument | Trouble::NoBody, _) => (1, 1, Came::Again),
            _ => (self.requests, self.connections, right),
        }
    }

    /// Whether the trouble is none for the operation, or goes by while it lasts.
    fn passes(&self, operation: Operation) -> bool {
        matches!(self.trouble, Trouble::ThenClosed | Trouble::ThenReset | Trouble::Short)
            || (operation == WriteObject && self.once(operation) == (1, 1, Came::Right))
    }
}

/// More than the deadline that a call may take, on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// One case: a server, a client, an operation, and the call after it.
struct Case<'a> {
    cloud: &'a Arc<Cloud>,
    row: &'a Row,
    operation: Operation,
    /// Whether the connection was used before.
    warm: bool,
}

impl Case<'_> {
    async fn start(&self, how: &str) -> (String, Server, Stores) {
        let name = format!("{:?}-{:?}-{}-{how}", self.row.trouble, self.operation, self.warm);
        let server = Server::start(self.cloud, None);
        let stores = Stores::at(server.address, &name).await;
        if self.warm {
            let came = stores.try_once(ReadFeatures, &name, within(10_000)).await;
            assert_eq!(came, vec![Came::Right; 3], "{name}: before the trouble");
        }
        (name, server, stores)
    }

    async fn once(self) {
        let (name, server, stores) = self.start("once").await;
        server.next(&[self.row.trouble]);
        let deadline = within(10_000);
        let came = stores.try_once(self.operation, &name, deadline).await;
        assert!(Deadline::now() < deadline + SLACK, "{name}: long after its deadline");

        let (requests, connections, each) = self.row.once(self.operation);
        let mut expected = vec![each; came.len()];
        if (self.row.trouble, self.operation) == (Trouble::Short, Insert) {
            expected[0] = Came::Right;
        }
        let warm = usize::from(self.warm);
        assert_eq!(
            (came, server.requests() - warm, server.connections()),
            (expected, requests, connections),
            "{name}: answers, requests, connections"
        );
        self.nothing_is_lost(&name, requests, &stores).await;
        self.goes_on(&name, &server, &stores).await;
    }

    /// What the service kept is what was asked for, once, whatever the answers were.
    async fn nothing_is_lost(&self, name: &str, requests: usize, stores: &Stores) {
        match self.operation {
            Insert => {
                let writes = self.cloud.writes("decisions", 0).into_iter();
                let mine = writes.filter(|write| write.item["post_id"]["S"].as_str().unwrap().starts_with(name));
                let done = usize::from(self.row.done || requests == 2);
                assert_eq!(mine.count(), 3 * done, "{name}: written");
                if done == 1 {
                    // Whoever is told that a decision exists reads it.
                    let records = inserted(name);
                    let keys: Vec<_> = records.iter().map(|record| (record.post_id.clone(), record.revision)).collect();
                    let found = stores.decisions.get(&keys, within(10_000)).await;
                    assert_eq!(found, records.into_iter().map(|record| Ok(Some(record))).collect::<Vec<_>>(), "{name}");
                }
            }
            // At least once: what was carried out before its answer was lost is there twice.
            Send => {
                let times = usize::from(self.row.done) + usize::from(requests == 2);
                // Of the second, only what the first left without an answer.
                let sent = if self.row.trouble == Trouble::Short { 5 } else { 3 * times };
                assert_eq!(self.cloud.sent(name, 0).len(), sent, "{name}: sent");
            }
            WriteObject if self.row.done || requests == 2 => {
                assert_eq!(self.cloud.object("bucket", name), Some(object_bytes()), "{name}");
            }
            _ => {}
        }
    }

    /// The trouble lasts as long as the deadline and longer.
    async fn lasting(self) {
        let (name, server, stores) = self.start("lasting").await;
        server.always(Some(self.row.trouble));
        let deadline = within(1_200);
        let came = stores.try_once(self.operation, &name, deadline).await;
        assert!(Deadline::now() < deadline + SLACK, "{name}: long after its deadline");
        if self.row.passes(self.operation) {
            // Of halves of answers, a busy machine may not get enough in time.
            let late = |came: &Came| self.row.trouble == Trouble::Short && *came == Came::Again;
            assert!(
                came.iter().all(|came| matches!(came, Came::Right | Came::Exists) || late(came)),
                "{name}: {came:?}"
            );
        } else {
            assert_eq!(came, vec![Came::Again; came.len()], "{name}");
        }
        server.always(None);
        self.goes_on(&name, &server, &stores).await;
    }

    /// The very next call succeeds.
    async fn goes_on(&self, name: &str, server: &Server, stores: &Stores) {
        let before = server.requests();
        let came = stores.try_once(self.operation, &format!("{name}-after"), within(10_000)).await;
        assert_eq!(came, vec![Came::Right; came.len()], "{name}: the next call");
        // That a connection has ended may be found out by the next request alone.
        let more = server.requests() - before;
        assert!(more <= 2, "{name}: the next call took {more} requests");
    }
}

#[tokio::test]
async fn whatever_a_socket_does_every_adapter_says_what_it_knows_and_the_next_call_succeeds() {
    let cloud = seeded().await;
    let mut cases: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    for row in &TABLE {
        for operation in OPERATIONS.into_iter().filter(|operation| row.applies(*operation)) {
            cases.push(Box::pin(Case { cloud: &cloud, row, operation, warm: false }.once()));
            cases.push(Box::pin(Case { cloud: &cloud, row, operation, warm: true }.once()));
            cases.push(Box::pin(Case { cloud: &cloud, row, operation, warm: true }.lasting()));
        }
    }
    // They mostly wait; more at once would wait for the processor.
    assert_eq!(stream::iter(cases).buffer_unordered(100).count().await, 3 * 210);
}

#[tokio::test]
async fn nobody_listens_and_then_somebody_does() {
    let cloud = seeded().await;
    join_all(OPERATIONS.map(async |operation| {
        let address = nobody();
        let name = format!("nobody-{operation:?}");
        let stores = Stores::at(address, &name).await;
        let came = stores.try_once(operation, &name, within(10_000)).await;
        assert_eq!(came, vec![Came::Again; came.len()], "{name}");
        let server = Server::start(&cloud, Some(address));
        let came = stores.try_once(operation, &name, within(10_000)).await;
        assert_eq!(came, vec![Came::Right; came.len()], "{name}");
        assert_eq!(server.requests(), 1);
    }))
    .await;
}

/// How connections end while a function is frozen.
#[derive(Debug, Clone, Copy)]
enum Frozen {
    Closed,
    Reset,
    /// Nobody was told; the next byte on them is answered with a reset.
    Forgotten,
}

/// A server that goes on while this thread does nothing at all, as one does while a function is frozen.
fn elsewhere(cloud: &Arc<Cloud>) -> Server {
    let cloud = cloud.clone();
    let (sender, server) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            sender.send(Server::start(&cloud, None)).unwrap();
            std::future::pending::<()>().await;
        });
    });
    server.recv().unwrap()
}

/// Opens this many connections by asking as many things at once.
async fn warm(stores: &Stores, server: &Server, connections: usize) {
    server.hold(connections);
    let asked = (0..connections).map(|_| stores.try_once(ReadFeatures, "", within(10_000)));
    assert!(join_all(asked).await.iter().flatten().all(|came| *came == Came::Right));
    assert_eq!(server.connections(), connections);
}

#[tokio::test]
async fn connections_that_ended_while_the_function_was_frozen_cost_no_call() {
    let cloud = seeded().await;
    // Requests that reach the server until the call is answered. Of forgotten connections each costs one; ten would
    // cost more than there are tries, so that few are kept.
    let cases = [(Frozen::Closed, 1, 1), (Frozen::Closed, 10, 1), (Frozen::Reset, 1, 1), (Frozen::Reset, 10, 1)];
    for (ended, connections, requests) in
        cases.into_iter().chain([(Frozen::Forgotten, 1, 2), (Frozen::Forgotten, 10, 3)])
    {
        for operation in [Insert, ReadFeatures, Send, ReadObject] {
            let server = elsewhere(&cloud);
            let name = format!("frozen-{ended:?}-{connections}-{operation:?}");
            let stores = Stores::at(server.address, &name).await;
            warm(&stores, &server, connections).await;
            match ended {
                Frozen::Closed => server.close_idle(),
                Frozen::Reset => server.reset_idle(),
                Frozen::Forgotten => server.forget_all(),
            }
            // The thread sleeps, not the task: nothing in this runtime sees what happens to its sockets.
            std::thread::sleep(Duration::from_millis(20));
            let came = stores.try_once(operation, &name, within(10_000)).await;
            let made = (server.requests() - connections, server.connections() - connections);
            assert_eq!((came.clone(), made), (vec![Came::Right; came.len()], (requests, 1)), "{name}");
        }
    }
}

#[tokio::test]
async fn connections_idle_for_longer_than_twenty_seconds_are_not_asked() {
    let cloud = seeded().await;
    let server = elsewhere(&cloud);
    let stores = Stores::at(server.address, "thawed").await;
    warm(&stores, &server, 2).await;
    server.forget_all();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(21)).await;
    tokio::time::resume();
    let came = stores.try_once(Insert, "thawed", within(10_000)).await;
    assert_eq!((came, server.requests() - 2, server.connections() - 2), (vec![Came::Right; 3], 1, 1));
}

/// An endpoint on a socket: it reads requests and writes these bytes, or nothing for ever; and how many requests came.
async fn endpoint(answer: Option<&'static [u8]>) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                while let Ok(1..) = stream.read(&mut request).await {
                    counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    match answer {
                        Some(bytes) => {
                            stream.write_all(bytes).await.unwrap();
                            return;
                        }
                        None => tokio::time::sleep(Duration::from_secs(600)).await,
                    }
                }
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn an_endpoint_is_asked_once_whatever_it_says_and_not_waited_for() {
    const SILENCE: Duration = Duration::from_millis(300);
    for (answer, code) in [
        (None, "timed out"),
        (Some(&b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..]), "unreadable answer"),
        (Some(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"), "unknown error"),
        (Some(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n"), "busy"),
        (Some(b"kanarienvogel"), "could not be reached"),
        (Some(b""), "could not be reached"),
    ] {
        let (address, asked) = endpoint(answer).await;
        let aws = store::connect(Connection {
            endpoint_url: Some(format!("http://{address}")),
            region: Some("us-east-1".to_owned()),
            credentials: Some(("test".to_owned(), "test".to_owned())),
            ..Connection::default()
        })
        .await;
        let endpoint = SageMaker::new(&aws, Some("e".to_owned()));
        let started = Deadline::now();
        let by = started + Duration::from_secs(20);
        let error = endpoint.invoke(b"{}".to_vec(), SILENCE, by).await.unwrap_err();
        assert!(error.retryable, "{error}");
        assert!(error.code == code || answer.is_some() && error.code == "unreadable answer", "{answer:?}: {error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{answer:?} was waited for");
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1, "{answer:?}: {error}");
    }
}
