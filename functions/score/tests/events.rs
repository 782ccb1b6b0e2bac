//! Every sample of `events/`, read as the Lambda reads it, against one table; and properties of the intake.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use base64::Engine;
use domain::Post;
use proptest::prelude::*;
use runtime::SqsBatch;
use score::intake::{Intake, Reject, read};
use serde_json::{Value, json, value::RawValue};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each message of each sample is read as: `post ID@REVISION`, `object BUCKET/KEY`, `nothing`, or why it is
/// refused. Whether objects are there and allowed is found out later, so some poison is fine here.
const SAMPLES: &[(&str, &[&str])] = &[
    ("batch-duplicates.json", &["post event-duplicate@1", "post event-duplicate@1", "post event-duplicate@1"]),
    (
        "batch-poison.json",
        &[
            "post event-among-poison-1@1",
            "invalid_json",
            "post event-among-poison-2@1",
            "post event-broken-surrogate@1 but characters",
            "missing_field about event-deep",
            "post event-among-poison-3@1",
            "unknown_shape",
            "object moderato-dev-contentbucket-example/intake/never-written.json",
            "missing_field",
            "post event-among-poison-4@1",
        ],
    ),
    ("batch-revisions.json", &["post event-revisions@3", "post event-revisions@1", "post event-revisions@2"]),
    (
        "batch-same-author.json",
        &[
            "post event-same-author-0@1",
            "post event-same-author-1@1",
            "post event-same-author-2@1",
            "post event-same-author-3@1",
            "post event-same-author-4@1",
            "post event-same-author-5@1",
            "post event-same-author-6@1",
            "post event-same-author-7@1",
            "post event-same-author-8@1",
            "post event-same-author-9@1",
        ],
    ),
    (
        "batch-shapes.json",
        &[
            "post event-batch-native@1",
            "post event-batch-cloudevents@1",
            "post event-batch-sns@1",
            "post event-batch-eventbridge@1",
        ],
    ),
    ("cloudevents-base64.json", &["post event-cloudevents-base64@1"]),
    ("cloudevents.json", &["post event-cloudevents@1"]),
    ("cloudevents-batch.json", &["post event-cloudevents-batch-1@1, post event-cloudevents-batch-2@1"]),
    ("escalation.json", &["unknown_shape", "unknown_shape"]),
    ("eventbridge-s3.json", &[KEY_OBJECT]),
    ("eventbridge-text.json", &["post event-eventbridge-text@1"]),
    ("extended-client.json", &["object moderato-dev-contentbucket-example/content/large-message"]),
    ("flaw-bad-date.json", &["post event-bad-date@1 but field:created_at"]),
    (
        "flaw-bad-revision.json",
        &[
            "post event-bad-revision-0@1 but field:revision",
            "post event-bad-revision-1@1 but field:revision",
            "post event-bad-revision-2@1 but field:revision",
            "post event-bad-revision-3@2",
            "post event-bad-revision-4@1 but field:revision",
        ],
    ),
    ("flaw-broken-surrogate.json", &["post event-broken-surrogate@1 but characters"]),
    (
        "flaw-fields.json",
        &["post 4815162342@1 but field:context field:created_at field:lang field:media field:surface"],
    ),
    (
        "flaw-json.json",
        &["post event-flaw-mark@1 but json", "post event-flaw-nan@1 but json", "post event-flaw-deep@1 but json"],
    ),
    ("flaw-text-ref-foreign.json", &["post event-text-ref-foreign@1"]),
    ("flaw-text-ref-missing.json", &["post event-text-ref-missing@1"]),
    ("flaw-text-ref-no-address.json", &["post event-text-ref-no-address@1"]),
    ("flaw-wrong-types.json", &["post 17@1 but field:text"]),
    ("eventbridge.json", &["post event-eventbridge@1"]),
    ("native-control-characters.json", &["post event-control-characters@1"]),
    ("native-emoji.json", &["post event-emoji@1"]),
    ("native-empty-text.json", &["post event-empty-text@1"]),
    ("native-large.json", &["post event-large@1"]),
    ("native-media.json", &["post event-media@1"]),
    ("native-minimal.json", &["post event-minimal@1"]),
    ("native-other-language.json", &["post event-other-language@1"]),
    ("native-unknown-fields.json", &["post event-unknown-fields@1"]),
    ("native-views.json", &["post event-views@1"]),
    ("native.json", &["post event-native@1"]),
    ("poison-array.json", &["unknown_shape"]),
    ("poison-cloudevents-without-data.json", &["missing_field"]),
    ("poison-deep-nesting.json", &["missing_field about event-deep"]),
    ("poison-empty-body.json", &["invalid_json"]),
    ("poison-empty-id.json", &["invalid_field"]),
    ("poison-foreign-bucket.json", &["object somebody-elses-bucket/intake/post.json"]),
    ("poison-many-records.json", &["too_many_records"]),
    ("poison-missing-id.json", &["missing_field"]),
    ("poison-missing-object.json", &["object moderato-dev-contentbucket-example/intake/never-written.json"]),
    ("poison-missing-text.json", &["missing_field about event-missing-text"]),
    ("poison-not-json.json", &["invalid_json"]),
    ("poison-number.json", &["unknown_shape"]),
    ("poison-panic.json", &["post event-beside-panic-1@1", "post event-panic@1", "post event-beside-panic-2@1"]),
    ("poison-sns-garbage.json", &["invalid_json"]),
    ("poison-too-large.json", &["too_large about event-too-large"]),
    ("poison-truncated.json", &["invalid_json about event-truncated"]),
    ("poison-unknown-shape.json", &["unknown_shape"]),
    ("posts-lines.json", &["post event-lines-1@1, post event-lines-2@1"]),
    ("posts-list.json", &["post event-list-1@1, post event-list-2@3"]),
    ("posts-many.json", &["2 messages"]),
    ("s3-nothing.json", &["nothing", "nothing", "nothing"]),
    ("s3-notification.json", &[KEY_OBJECT]),
    ("s3-test-event.json", &["nothing"]),
    ("sns-cloudevents.json", &["post event-sns-cloudevents@1"]),
    ("sns-envelope.json", &["post event-sns-envelope@1"]),
    ("sns-raw.json", &["post event-sns-raw@1"]),
    ("text-ref.json", &["post event-text-ref@1"]),
];

/// Told by EventBridge as it is and by S3 in the encoding of forms: the same key.
const KEY_OBJECT: &str = "object moderato-dev-contentbucket-example/intake/2026 autumn/post+1.json";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

fn outcome(body: &[u8]) -> String {
    match read(body) {
        Ok(all) if all.is_empty() => "nothing".to_owned(),
        Ok(all) => all.iter().map(one).collect::<Vec<_>>().join(", "),
        Err(reject) => {
            assert!(!reject.detail.is_empty());
            refused(&reject)
        }
    }
}

fn one(intake: &Intake) -> String {
    match intake {
        Intake::Post(post) if post.notes.is_empty() => format!("post {}@{}", post.post_id, post.revision),
        Intake::Post(post) => format!("post {}@{} but {}", post.post_id, post.revision, post.notes.join(" ")),
        Intake::Object { bucket, key } => format!("object {bucket}/{key}"),
        Intake::Many(bodies) => format!("{} messages", bodies.len()),
        Intake::Unreadable(reject) => format!("unreadable {}", refused(reject)),
    }
}

fn refused(reject: &Reject) -> String {
    reject
        .about
        .as_ref()
        .map_or_else(|| reject.kind.to_owned(), |about| format!("{} about {}", reject.kind, about.post_id))
}

#[test]
fn every_sample_is_read_as_the_table_says() {
    let files: BTreeSet<String> = folder()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    let table: BTreeSet<String> = SAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, table, "files of events/ (left), files of the table (right)");
    for (name, expected) in SAMPLES {
        let text = std::fs::read_to_string(folder().join(name)).unwrap();
        let event: Box<RawValue> = serde_json::from_str(&text).unwrap();
        let batch = SqsBatch::parse(&event).unwrap();
        let found: Vec<String> = batch.messages.iter().map(|message| outcome(message.body.as_bytes())).collect();
        assert_eq!(found, *expected, "{name}");
        assert!(batch.messages.iter().all(|message| message.sent_at_ms.is_some()), "{name}");
    }
}

fn sns(message: &str) -> Value {
    json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:us-east-1:111122223333:t", "Message": message})
}

fn cloud_event(field: &str, data: Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/posts", "type": "post.created"});
    event[field] = data;
    event
}

/// The same post in every wrapping that may come.
fn wrapped(post: &Value) -> Vec<(&'static str, Value)> {
    let text = post.to_string();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&text);
    let bridged = json!({"version": "0", "detail-type": "post.created", "source": "platform", "detail": post});
    let object = cloud_event("data", post.clone());
    vec![
        ("CloudEvents", object.clone()),
        ("CloudEvents with text", cloud_event("data", json!(text))),
        ("CloudEvents with Base64", cloud_event("data_base64", json!(base64))),
        ("EventBridge", bridged.clone()),
        ("SNS", sns(&text)),
        ("SNS in SNS", sns(&sns(&text).to_string())),
        ("SNS in SNS in SNS", sns(&sns(&sns(&text).to_string()).to_string())),
        ("CloudEvents in SNS", sns(&object.to_string())),
        ("EventBridge in SNS", sns(&bridged.to_string())),
        ("EventBridge in SNS in SNS", sns(&sns(&bridged.to_string()).to_string())),
    ]
}

fn post() -> impl Strategy<Value = Value> {
    let id = "[\\p{L}\\p{N}\\p{P} ]{1,40}";
    let instant = (1970..2100, 1..13, 1..29, 0..24, 0..60).prop_map(|(year, month, day, hour, minute)| {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z")
    });
    (
        (id, proptest::option::of(id), proptest::option::of(1..=9_007_199_254_740_991u64)),
        (proptest::option::of(instant), ".{0,60}", proptest::option::of("[a-z]{2}"), proptest::option::of("[a-z]{1,8}")),
        proptest::collection::vec(("[a-z:/]{0,20}", proptest::option::of("[a-z]{1,5}/[a-z]{1,5}")), 0..3),
        (proptest::option::of(id), tree()),
    )
        .prop_map(|((post_id, author_id, revision), (created_at, text, lang, surface), media, (reply_to, unknown))| {
            let media: Vec<_> = media.into_iter().map(|(uri, kind)| json!({"uri": uri, "type": kind})).collect();
            json!({
                "post_id": post_id, "author_id": author_id, "revision": revision, "created_at": created_at, "text": text,
                "lang": lang, "surface": surface, "media": media, "context": {"reply_to": reply_to},
                // Unknown fields, some of which mark other shapes, do not turn a post into something else.
                "specversion": "1.0", "Type": "Notification", "Records": unknown,
            })
        })
}

/// JSON of any shape, with the words that the intake looks for, in all the wrong places.
fn tree() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        Just("post_id"),
        Just("text"),
        Just("text_ref"),
        Just("media"),
        Just("revision"),
        Just("created_at"),
        Just("specversion"),
        Just("data"),
        Just("data_base64"),
        Just("Type"),
        Just("Notification"),
        Just("Message"),
        Just("detail-type"),
        Just("detail"),
        Just("source"),
        Just("aws.s3"),
        Just("Records"),
        Just("s3"),
        Just("bucket"),
        Just("object"),
        Just("name"),
        Just("key"),
        Just("Event"),
        Just("s3:TestEvent"),
        Just("1.0"),
        Just("%ff+%"),
        Just("context"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("{\"post_id\":\"p\"}")),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(words.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

const KINDS: [&str; 6] =
    ["invalid_json", "invalid_utf8", "missing_field", "invalid_field", "too_large", "unknown_shape"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_post_is_the_same_in_every_wrapping(post in post()) {
        let text = post.to_string();
        let native = Post::parse(text.as_bytes());
        prop_assert!(native.is_ok(), "{}", text);
        let native = native.ok();
        for (name, body) in [("native", post.clone())].into_iter().chain(wrapped(&post)) {
            let read = read(body.to_string().as_bytes());
            let Ok([Intake::Post(found)]) = read.as_deref() else {
                return Err(TestCaseError::fail(format!("{name}: {:?}", read.err())));
            };
            prop_assert!(Some(&**found) == native.as_ref(), "{}: another post than {}", name, text);
        }
    }

    #[test]
    fn no_tree_panics(tree in tree()) {
        let shapes = [tree.clone(), sns(&tree.to_string()), cloud_event("data", tree.clone()), json!({"Records": [tree.clone()]}),
            json!({"detail-type": "t", "source": "aws.s3", "detail": tree})];
        for body in shapes {
            let kind = outcome(body.to_string().as_bytes());
            let known = ["post ", "object ", "nothing", "unreadable "].iter().chain(&KINDS).any(|done| kind.starts_with(done));
            prop_assert!(known, "{}", kind);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let _ = read(&bytes);
        let whole = sns(&json!({"post_id": "p", "text": "é𝄞"}).to_string()).to_string().into_bytes();
        let at = cut.index(whole.len());
        let kind = read(&whole[..at]).err().map(|reject| reject.kind);
        prop_assert!(matches!(kind, Some("invalid_json" | "invalid_utf8")), "cut at {}: {:?}", at, kind);
    }
}

#[test]
fn envelopes_end_somewhere() {
    let mut body = json!({"post_id": "p", "text": "t"}).to_string();
    for depth in 0..6 {
        assert_eq!(
            outcome(body.as_bytes()),
            if depth < 4 {
                "post p@1"
            } else if depth == 4 {
                "unknown_shape about p"
            } else {
                "unknown_shape"
            },
            "{depth} envelopes"
        );
        body = sns(&body).to_string();
    }
}
