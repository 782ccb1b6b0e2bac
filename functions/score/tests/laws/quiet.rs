//! Law 8: no post text, name or token in any log, metric or error.
//!
//! A canary goes through every path: what is decided, what is refused, every error, panics in and out of reach,
//! quarantine's metadata, debug output, and AWS clients whose other end answers well, badly, with nonsense that quotes
//! what it was asked, and not at all. Whoever it goes through runs in a process of its own, whose every word is read.

use crate::common::*;
use crate::lambda::deleted;
use crate::stub::{Reply, Request, serve};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Deadline, Message, Object, ObjectInfo, ObjectStore, Queue, StoreError};
use tracing_subscriber::filter::LevelFilter;

const CANARY: &str = "kanarienvogel";

fn notification(bucket: &str, key: &str) -> String {
    json!({ "Records": [{ "s3": { "bucket": { "name": bucket }, "object": { "key": key } } }] }).to_string()
}

fn bodies() -> Vec<Body> {
    let text = |text: &str| format!("{CANARY} {text} {CANARY}");
    let id = |id: &str| format!("{CANARY}-{id}");
    vec![
        post_with(&id("good"), json!({ "text": text(HARMLESS), "author_id": id("author"), "surface": id("wall") }))
            .into(),
        post_with(&id("hate"), json!({ "text": text(HATEFUL), "context": { "reply_to": id("other") } })).into(),
        post_with(&id("picture"), json!({ "media": [{ "uri": format!("s3://content/{CANARY}.png") }] })).into(),
        post_with(&id("edited"), json!({ "text": text(UNCERTAIN), "revision": 2 })).into(),
        post(&id("panics"), &text(PANICS)).into(),
        format!("{CANARY} is not json").into(),
        format!(r#"{{"post_id":"{CANARY}","text":"{CANARY} \ud83d"}}"#).into(),
        Body::Escaped(r#""{\"post_id\":\"kanarienvogel\",\"text\":\"kanarienvogel \ud83d\"}""#),
        json!({ CANARY: CANARY }).to_string().into(),
        post_with(&id("bad"), json!({ "text": CANARY, "created_at": CANARY })).into(),
        post_with(&id("bad"), json!({ "text": CANARY, "lang": CANARY.repeat(9) })).into(),
        post_with(&CANARY.repeat(99), json!({ "text": CANARY })).into(),
        post_with(&id("bad"), json!({ "text": [CANARY] })).into(),
        json!({ "post_id": id("bad"), "author_id": CANARY }).to_string().into(),
        post_with(&id("bad"), json!({ "text_ref": format!("s3://{CANARY}/x") })).into(),
        post_with(&id("bad"), json!({ "text_ref": format!("s3://content/{CANARY}") })).into(),
        notification(CONTENT, CANARY).into(),
        notification(CANARY, CANARY).into(),
        json!({ "specversion": CANARY, "data": CANARY }).to_string().into(),
    ]
}

/// This test of this file, in a process of its own.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("quiet::{test}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
    command
}

/// The lines in which the canary is heard.
fn sung(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.to_lowercase().contains("kanarien")).collect()
}

#[test]
fn the_canary_never_sings() {
    let output = child("everything_in_memory").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("the child came to its end"), "{said}");
    // It did speak of all of this: what is silent proves nothing.
    for word in ["PostsQuarantined", "PostsHidden", "a panic was caught", "ThrottlingException", "invalid_json"] {
        assert!(said.contains(word), "nothing about `{word}` in\n{said}");
    }
    assert_eq!(sung(&said), Vec::<&str>::new());
}

#[tokio::test]
#[ignore = "started by `the_canary_never_sings`"]
async fn everything_in_memory() {
    // As `runtime::serve` does.
    runtime::silence_panics();
    let world = Arc::new(World::default());
    let app = app(&world);
    assert_eq!(deliver(&app, &bodies()).await, Vec::<usize>::new());
    // What the metadata in quarantine says is read by people too.
    for key in world.objects_under("quarantine/").await {
        let metadata = world.object(ARTIFACTS, &key).await.unwrap().metadata;
        assert!(!format!("{key} {metadata:?}").contains("kanarien"), "the canary is in quarantine's metadata");
    }
    // Everything that can fail fails, so that every error has its chance to speak.
    for fault in [Fault::Put, Fault::Read, Fault::Features, Fault::Verdicts, Fault::InsertShort(1), Fault::Get] {
        world.breaks(fault);
        deliver(&app, &bodies()).await;
    }
    world.mends();
    world.breaks(Fault::SendShort("tasks", 0));
    deliver(&app, &bodies()).await;
    // A panic whose message quotes the post.
    assert!(runtime::isolate(|| panic!("{CANARY} could not be judged")).is_err());
    debug_output(&app);
    println!("the child came to its end");
}

/// Prints all that can be printed of what came of the canary.
fn debug_output(app: &score::App) {
    let print = |thing: &dyn Debug| println!("{thing:?} {thing:#?}");
    for body in bodies() {
        for message in batch(&[body]).messages {
            match score::intake::read(message.body.as_bytes()) {
                Err(reject) => print(&reject),
                Ok(intakes) => intakes.iter().for_each(|intake| {
                    if let score::intake::Intake::Unreadable(reject) = intake {
                        print(reject);
                    }
                }),
            }
            if let Err(error) = domain::Post::parse(message.body.as_bytes()) {
                print(&error);
                chain(&error);
            }
        }
    }
    // A record names its post, and holds nothing else of it.
    let text = format!("{CANARY} {HATEFUL}");
    let body = post_with("p", json!({ "text": text, "media": [{ "uri": CANARY }], "context": { "reply_to": CANARY } }));
    let post = domain::Post::parse(body.as_bytes()).unwrap();
    let subject = scoring::Subject {
        post: &post,
        texts: &[(domain::View::Text, scoring::Text::Known(text))],
        conflict: None,
        verdict_before: domain::VerdictBefore::No,
        received_at: domain::Timestamp::from_millis(SENT_MS),
        decided_at: domain::Timestamp::from_millis(SENT_MS),
        explain: scoring::Explain::Always,
    };
    let record = app.judge.judge(&subject, |_| &features::views::Lookup::Missing);
    assert!(!record.explanation.as_ref().unwrap().spans.is_empty());
    print(&record);
    print(&record.owed());
    print(&record.evidence());
    println!("{}", serde_json::to_string(&record).unwrap());
    print(&app.judge);
}

/// Prints an error and what it goes back to.
fn chain(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let said: (&dyn Display, &dyn Debug) = (&error, &error);
        println!("{} {:?} {:#?}", said.0, said.1, said.1);
        next = error.source();
    }
}

/// What holds content cannot be printed at all: this does not compile where one of these has `Debug` or `Display`.
#[test]
fn what_holds_content_cannot_be_printed() {
    struct Printable;
    trait AmbiguousWherePrintable<Which> {
        fn cannot_be_printed() {}
    }
    impl<T: ?Sized> AmbiguousWherePrintable<()> for T {}
    impl<T: ?Sized + Debug> AmbiguousWherePrintable<(Printable, u8)> for T {}
    impl<T: ?Sized + Display> AmbiguousWherePrintable<(Printable, u16)> for T {}
    macro_rules! cannot_be_printed {
        ($($kind:ty),* $(,)?) => { $(<$kind as AmbiguousWherePrintable<_>>::cannot_be_printed();)* };
    }
    cannot_be_printed!(
        domain::Post,
        domain::Media,
        runtime::SqsBatch,
        runtime::SqsMessage,
        score::intake::Intake,
        score::Trouble,
        scoring::Text,
        scoring::Subject<'static>,
        features::text::Tokenised,
        store::Message,
        store::Object,
        store::Received,
        // Holds a secret.
        store::Connection,
    );
}

/// What the function runs on, where it stands in for Lambda: events go out one by one, and what comes back is kept.
struct Lambda {
    address: String,
    said: Arc<Mutex<Vec<(String, String)>>>,
}

impl Lambda {
    /// `before` is called with the number of each event as it goes out.
    async fn with(events: Vec<String>, before: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (kept, sent) = (said.clone(), Mutex::new(0));
        let address = serve(move |request: Request| {
            if request.method == "POST" {
                kept.lock().unwrap().push((request.path, String::from_utf8_lossy(&request.body).into_owned()));
                return Reply::Http(202, Vec::new(), b"{}".to_vec());
            }
            let mut sent = sent.lock().unwrap();
            let Some(event) = events.get(*sent) else { return Reply::Never };
            before(*sent);
            *sent += 1;
            // Time enough for what has to go well; for what never answers, little.
            let left = if *sent == 1 { 20_000 } else { 2_500 };
            let deadline = runtime::telemetry::now_ms() + left;
            let headers = vec![
                ("lambda-runtime-aws-request-id", format!("request-{sent}")),
                ("lambda-runtime-deadline-ms", deadline.to_string()),
                ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:1:function:score".to_owned()),
                ("lambda-runtime-trace-id", "Root=1-5e1b4151-5ac6c58f3cd5d1e2b3c4d5e6;Sampled=1".to_owned()),
                ("content-type", "application/json".to_owned()),
            ];
            Reply::Http(200, headers, event.clone().into_bytes())
        })
        .await;
        Self { address, said }
    }

    /// Runs `program` until it has answered `answers` times or ended, and gives everything it said, to whomever.
    async fn run(&self, mut program: Command, answers: usize) -> (String, Vec<(String, String)>) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let file = File::create(&log).unwrap();
        program.env("AWS_LAMBDA_RUNTIME_API", &self.address).stdin(Stdio::null());
        for (name, value) in [
            ("AWS_LAMBDA_FUNCTION_NAME", "score"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
            // Whatever may turn somebody talkative.
            ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("RUST_LOG", "trace"),
            ("RUST_BACKTRACE", "full"),
            ("RUST_LIB_BACKTRACE", "full"),
            ("ORT_LOG", "verbose"),
            ("DEBUG", "1"),
        ] {
            program.env(name, value);
        }
        program.stdout(file.try_clone().unwrap()).stderr(file);
        let mut process = tokio::process::Command::from(program).kill_on_drop(true).spawn().unwrap();
        let all_said = async {
            while self.said.lock().unwrap().len() < answers {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = all_said => {}
            ended = process.wait() => { ended.unwrap(); }
            () = tokio::time::sleep(Duration::from_secs(90)) => {}
        }
        // Its last words.
        tokio::time::sleep(Duration::from_millis(100)).await;
        process.kill().await.ok();
        let log = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
        (log, self.said.lock().unwrap().clone())
    }
}

/// Stores that panic, and quote what they were given.
struct Panicking;

#[async_trait]
impl ObjectStore for Panicking {
    async fn get(&self, bucket: &str, key: &str, _: usize, _: Deadline) -> Result<Option<Object>, StoreError> {
        panic!("no object {bucket}/{key}")
    }

    async fn put(&self, _: &str, key: &str, object: Object, _: Deadline) -> Result<(), StoreError> {
        panic!("{key} cannot be {}", String::from_utf8_lossy(&object.bytes))
    }

    async fn list(&self, _: &str, _: &str, _: Deadline) -> Result<Vec<ObjectInfo>, StoreError> {
        panic!("nothing is listed")
    }

    async fn delete(&self, bucket: &str, key: &str, _: Deadline) -> Result<(), StoreError> {
        panic!("{bucket}/{key} stays")
    }
}

#[async_trait]
impl Queue for Panicking {
    async fn send(&self, messages: &[Message], _: Deadline) -> Vec<Result<(), StoreError>> {
        panic!("cannot send {}", messages[0].body)
    }

    async fn hide(&self, receipts: &[(String, Duration)], _: Deadline) -> Vec<Result<(), StoreError>> {
        panic!("cannot hide {}", receipts[0].0)
    }
}

/// A panic that no message's isolation catches: while an object is read, kept, a message sent.
#[tokio::test]
async fn a_panic_out_of_reach_is_told_to_lambda_without_its_words() {
    let events: Vec<String> = [notification(CONTENT, CANARY), CANARY.to_owned(), post(CANARY, HATEFUL)]
        .map(|body| event(&[body.into()]))
        .into_iter()
        // No event at all.
        .chain([json!({ "detail": CANARY }).to_string(), format!("{CANARY} is not JSON")])
        // A message that no answer could name.
        .chain([json!({ "Records": [{ "messageId": "", "body": CANARY }] }).to_string()])
        .collect();
    let lambda = Lambda::with(events, |_| {}).await;
    let (log, said) = lambda.run(child("panicking_stores"), 6).await;
    assert_eq!(said.len(), 6, "{log}");
    for (path, body) in &said {
        assert!(path.ends_with("/error"), "{path} {body}");
        assert_eq!(sung(body), Vec::<&str>::new());
    }
    assert!(said[..3].iter().all(|(_, body)| body.contains("the handler panicked")), "{said:?}");
    assert_eq!(log.matches("a panic was caught").count(), 3, "{log}");
    assert_eq!(sung(&log), Vec::<&str>::new());
}

#[tokio::test]
#[ignore = "started by `a_panic_out_of_reach_is_told_to_lambda_without_its_words`"]
async fn panicking_stores() {
    let mut app = app(&Arc::new(World::default()));
    app.objects = Arc::new(Panicking);
    app.tasks = Arc::new(Panicking);
    app.actions = Arc::new(Panicking);
    runtime::serve(|batch, invocation| score::handle(&app, batch, invocation)).await.unwrap();
}

/// How the other end of an AWS client answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aws {
    Well,
    /// An error, whose message quotes the request.
    Refuses,
    /// The same, and it may go away.
    Fails,
    /// An error whose code quotes the request.
    Babbles,
    /// An error without a code, for each statement of a batch.
    Mumbles,
    /// The request, as if that were an answer.
    Echoes,
    /// The request, and not even HTTP around it.
    Shouts,
    /// Nothing, and the connection is gone.
    HangsUp,
    Sleeps,
}

const EVERY: [Aws; 9] = [
    Aws::Well,
    Aws::Refuses,
    Aws::Fails,
    Aws::Babbles,
    Aws::Mumbles,
    Aws::Echoes,
    Aws::Shouts,
    Aws::HangsUp,
    Aws::Sleeps,
];

impl Aws {
    fn answer(self, request: &Request) -> Reply {
        let target = request.headers.get("x-amz-target").map(String::as_str);
        let asked = format!("{} {} {CANARY}", request.path, String::from_utf8_lossy(&request.body));
        let error = |status, code: &str, message: &str| match target {
            Some(_) => Reply::Http(
                status,
                vec![("content-type", "application/x-amz-json-1.0".to_owned())],
                json!({ "__type": code, "message": message }).to_string().into_bytes(),
            ),
            None => Reply::Http(
                status,
                vec![("content-type", "application/xml".to_owned())],
                format!("<Error><Code>{code}</Code><Message><![CDATA[{message}]]></Message></Error>").into_bytes(),
            ),
        };
        match self {
            Self::Well => well(request, target, &json!({})),
            Self::Mumbles => well(request, target, &json!({ "Error": { "Message": asked } })),
            Self::Refuses => error(400, "ValidationException", &asked),
            Self::Fails => error(500, "InternalServerError", &asked),
            Self::Babbles => error(400, &asked.replace(['<', '&'], " "), CANARY),
            Self::Echoes => Reply::Http(200, Vec::new(), request.body.clone()),
            Self::Shouts => Reply::Raw(asked.into_bytes()),
            Self::HangsUp => Reply::Raw(Vec::new()),
            Self::Sleeps => Reply::Never,
        }
    }
}

fn well(request: &Request, target: Option<&str>, statement: &Value) -> Reply {
    let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let answer = match target.and_then(|target| target.split('.').next_back()) {
        Some("BatchGetItem") => json!({ "Responses": {}, "UnprocessedKeys": {} }),
        Some("Query") => json!({ "Items": [], "Count": 0, "ScannedCount": 0 }),
        Some("BatchExecuteStatement") => {
            json!({ "Responses": vec![statement; asked["Statements"].as_array().unwrap().len()] })
        }
        Some("ChangeMessageVisibilityBatch") => {
            let hidden = asked["Entries"].as_array().unwrap().iter().map(|entry| json!({ "Id": entry["Id"] }));
            json!({ "Successful": hidden.collect::<Vec<_>>(), "Failed": [] })
        }
        Some("SendMessageBatch") => {
            let sent = asked["Entries"].as_array().unwrap().iter().map(|entry| {
                json!({ "Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "00000000000000000000000000000000" })
            });
            json!({ "Successful": sent.collect::<Vec<_>>(), "Failed": [] })
        }
        Some(other) => panic!("{other} is not known here"),
        None if request.method == "PUT" => return Reply::Http(200, vec![("etag", "\"e\"".to_owned())], Vec::new()),
        None if request.path.contains("content") => {
            return Reply::Http(200, Vec::new(), post(&format!("{CANARY}-object"), CANARY).into_bytes());
        }
        None => return Reply::Http(404, Vec::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
    };
    Reply::Http(200, vec![("content-type", "application/x-amz-json-1.0".to_owned())], answer.to_string().into_bytes())
}

/// The very program that Lambda runs, between a Lambda and an AWS of ours, with everything in its environment that may
/// make somebody talk.
#[tokio::test]
async fn the_program_itself_says_nothing_of_it() {
    let mode = Arc::new(Mutex::new(Aws::Well));
    let now = mode.clone();
    let aws = serve(move |request| now.lock().unwrap().answer(&request)).await;
    let events = EVERY.map(|_| event(&bodies())).to_vec();
    let lambda = Lambda::with(events, move |number| *mode.lock().unwrap() = EVERY[number]).await;
    let root = task_root();
    let mut program = Command::new(env!("CARGO_BIN_EXE_score"));
    program.env_clear().current_dir(root.path());
    for (name, value) in [
        ("LAMBDA_TASK_ROOT", root.path().to_str().unwrap()),
        ("STAGE", "test"),
        ("DECISIONS_TABLE", "decisions"),
        ("FEATURES_TABLE", "features"),
        ("TASKS_QUEUE_URL", "http://sqs/1/tasks"),
        ("POSTS_QUEUE_URL", "http://sqs/1/posts"),
        ("ESCALATIONS_QUEUE_URL", "http://sqs/1/escalations"),
        ("ACTIONS_QUEUE_URL", "http://sqs/1/actions"),
        ("ARTIFACTS_BUCKET", "moderato-test-of-the-canary"),
        ("CONTENT_BUCKETS", CONTENT),
        ("REGISTRY_FALLBACK", "bundled"),
        ("DECISION_DAYS", "400"),
        ("DIGEST_KEY", &format!("{CANARY}{}", "7".repeat(32))),
        ("MODERATO_TEST_PANIC", "1"),
        ("AWS_ENDPOINT_URL", &format!("http://{aws}")),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", CANARY),
        ("AWS_SESSION_TOKEN", CANARY),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        program.env(name, value);
    }
    let (log, said) = lambda.run(program, EVERY.len()).await;
    assert_eq!(said.len(), EVERY.len(), "{log}{said:?}");
    for (mode, (path, body)) in EVERY.iter().zip(&said) {
        assert!(path.ends_with("/response"), "{mode:?}: {path} {body}");
        assert_eq!(body == r#"{"batchItemFailures":[]}"#, *mode == Aws::Well, "{mode:?}: {body}");
        // Lambda takes what it is told for an answer, and deletes what is not named in it.
        let ids: Vec<_> = (0..bodies().len()).map(|place| format!("m{place}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let named = body.matches("itemIdentifier").count();
        assert_eq!(deleted(Some(body), &ids).len() + named, ids.len(), "{mode:?}: {body}");
        assert_eq!(sung(body), Vec::<&str>::new());
    }
    for word in ["PostsHidden", "PostsQuarantined", "a panic was caught", "ValidationException", "unknown error"] {
        assert!(log.contains(word), "nothing about `{word}` in\n{log}");
    }
    assert_eq!(sung(&log), Vec::<&str>::new());
}

/// A folder as Lambda unpacks the function into, without the program.
fn task_root() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    symlink(std::fs::canonicalize(library()).unwrap(), folder.path().join("libonnxruntime.so")).unwrap();
    std::fs::create_dir(folder.path().join("models")).unwrap();
    // The small one says what this is about as well.
    let model = root().join("shared/scoring/models/ngram-baseline");
    symlink(std::fs::canonicalize(model).unwrap(), folder.path().join("models/minilm-cascade")).unwrap();
    folder
}

/// The SDKs do trace, below INFO: buckets and keys of objects at DEBUG, whole requests' addresses and answers at TRACE.
/// The function installs nobody who would listen. Whoever does so one day may listen from INFO up.
#[test]
fn the_sdks_sing_below_info_and_nobody_listens() {
    let levels = [("error", false), ("warn", false), ("info", false), ("debug", true), ("trace", true)];
    let at = |level| std::thread::spawn(move || child("calls_of_the_sdks").env("LEVEL", level).output().unwrap());
    for ((level, sings), output) in levels.map(|(level, sings)| ((level, sings), at(level))) {
        let output = output.join().unwrap();
        let (stores, traces) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stores.contains("the child came to its end"), "{stores}{traces}");
        assert!(stores.contains("ValidationException") && stores.contains("unknown error"), "{stores}");
        // Our own errors are silent, whoever listens.
        assert_eq!(sung(&stores), Vec::<&str>::new());
        assert_eq!(!sung(&traces).is_empty(), sings, "at {level}: {:#?}", sung(&traces));
    }
}

#[tokio::test]
#[ignore = "started by `the_sdks_sing_below_info_and_nobody_listens`"]
async fn calls_of_the_sdks() {
    let level: LevelFilter = std::env::var("LEVEL").unwrap().parse().unwrap();
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
    for mode in EVERY {
        let address = serve(move |request| mode.answer(&request)).await;
        let aws = store::connect(store::Connection {
            endpoint_url: Some(format!("http://{address}")),
            region: Some("us-east-1".to_owned()),
            credentials: Some(("id".to_owned(), CANARY.to_owned())),
            ..store::Connection::default()
        })
        .await;
        let deadline = Deadline::now() + Duration::from_secs(1);
        let definitions = Arc::new(features::views::Definitions::bundled().unwrap());
        let (decisions, features) =
            (store::DynamoDecisions::new(&aws, "decisions"), store::DynamoFeatures::new(&aws, "features", definitions));
        let (queue, objects) = (store::SqsQueue::new(&aws, "http://sqs/1/q"), store::S3Objects::new(&aws));
        println!("{mode:?} {aws:?} {decisions:?} {features:?} {queue:?} {objects:?}");
        let row = features::views::RowKey { view: "user".to_owned(), id: CANARY.to_owned() };
        let kept = Object { bytes: CANARY.into(), metadata: [("kind".to_owned(), "x".to_owned())].into() };
        use store::{DecisionStore, FeatureStore};
        let (messages, keys) = ([Message { body: CANARY.to_owned() }], BTreeSet::from([row]));
        let (post, revision) = (post_id(CANARY), domain::Revision::try_from(2).unwrap());
        let (sent, verdict, _, put, got) = tokio::join!(
            queue.send(&messages, deadline),
            decisions.before(&post, revision, deadline),
            features.fetch(&keys, deadline),
            objects.put("quarantine", CANARY, kept, deadline),
            objects.get("content", CANARY, 1_000_000, deadline),
        );
        for error in [sent.into_iter().next().unwrap().err(), verdict.err(), put.err(), got.err()].into_iter().flatten()
        {
            chain(&error);
        }
    }
    println!("the child came to its end");
}

/// The path of ONNX Runtime, as `judge` finds it.
fn library() -> std::path::PathBuf {
    let installed = root().join(".tools/onnxruntime/libonnxruntime.so");
    std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, |path| Path::new(&path).to_owned())
}
