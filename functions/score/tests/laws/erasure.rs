//! What was erased does not come back with a message that was under way, and an erased author may go on posting.

use crate::common::*;
use domain::{AuthorId, DigestKey, Timestamp};
use serde_json::json;
use service::erasure::Counts;
use service::{Eraser, Subject};
use std::sync::Arc;
use store::{Deadline, FeatureStore, ObjectStore, Search};

const MINUTE: i64 = 60_000;
/// When the erasure was asked for: an hour after the messages of these tests were sent.
const ERASED_MS: i64 = SENT_MS + 60 * MINUTE;
const AFTER_MS: i64 = ERASED_MS + MINUTE;

fn of(author: &str) -> Subject {
    Subject::Author(AuthorId::try_from(author.to_owned()).unwrap())
}

async fn erase(world: &World, subject: &Subject) -> Counts {
    let definitions = features::views::Definitions::bundled().unwrap();
    let key = DigestKey::new(&[7; 32]).unwrap();
    let eraser = Eraser {
        decisions: &world.decisions,
        features: &world.features,
        objects: &world.objects,
        bucket: ARTIFACTS,
        definitions: &definitions,
        key: &key,
        subject,
        at: Timestamp::from_millis(ERASED_MS),
        erases: true,
    };
    let searches = match subject {
        Subject::Author(author) => Search::by_scan(author, 3),
        Subject::Post(post) => vec![Search::of_post(post.clone())],
    };
    let mut counts = eraser.announce().await.unwrap();
    counts += eraser.sweep(searches, &|_| {}).await.unwrap();
    counts
}

fn by(author: &str, post: &str, text: &str) -> String {
    post_with(post, json!({ "text": text, "lang": "en", "author_id": author }))
}

fn decided(world: &World) -> Vec<(String, u64)> {
    world.decisions.all().iter().map(|record| (record.post_id.to_string(), record.revision.get())).collect()
}

fn posts(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(post, revision)| ((*post).to_owned(), *revision)).collect()
}

async fn sent_at(app: &score::App, body: &str, sent_ms: i64) {
    assert_eq!(deliver_sent_at(app, &[body.to_owned()], sent_ms).await, Vec::<usize>::new());
}

#[tokio::test]
async fn a_message_that_comes_again_does_not_bring_its_author_back() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.features.put(&[author("u", 3)], Deadline::now()).await.unwrap();
    let bodies = [by("u", "p", HATEFUL), by("v", "q", HATEFUL)];
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    let counts = erase(&world, &of("u")).await;
    assert_eq!((counts.decisions, counts.features), (1, 1));
    assert_eq!(decided(&world), posts(&[("q", 1)]));

    let sent = world.sent();
    // The same again; one that nobody had decided yet; later revisions, with the author and without.
    for body in [
        by("u", "p", HATEFUL),
        by("u", "undecided", HATEFUL),
        post_with("p", json!({ "text": HATEFUL, "author_id": "u", "revision": 3 })),
        post_with("p", json!({ "text": HATEFUL, "revision": 3 })),
        post("p", HARMLESS),
    ] {
        sent_at(&app, &body, SENT_MS).await;
        assert_eq!(decided(&world), posts(&[("q", 1)]), "{body}");
    }
    assert_eq!(world.sent(), sent);
    // Once more comes to the same.
    assert_eq!(erase(&world, &of("u")).await, Counts::default());
    sent_at(&app, &bodies[0], ERASED_MS - 1).await;
    assert_eq!(decided(&world), posts(&[("q", 1)]));
}

#[tokio::test]
async fn what_is_sent_after_an_erasure_is_decided() {
    let world = Arc::new(World::default());
    let app = app(&world);
    assert_eq!(deliver(&app, &[by("u", "p", HATEFUL)]).await, Vec::<usize>::new());
    erase(&world, &of("u")).await;
    sent_at(&app, &by("u", "new", HATEFUL), ERASED_MS).await;
    assert_eq!(decided(&world), posts(&[("new", 1)]));
    // Under an id that was used before: behind what was erased, and once, however often it comes.
    for _ in 0..3 {
        sent_at(&app, &by("u", "p", UNCERTAIN), AFTER_MS).await;
        sent_at(&app, &by("u", "p", HATEFUL), SENT_MS).await;
        assert_eq!(decided(&world), posts(&[("new", 1), ("p", 2)]));
    }
    let given = post_with("p", json!({ "text": HARMLESS, "author_id": "u", "revision": 1 }));
    for _ in 0..2 {
        sent_at(&app, &given, AFTER_MS).await;
        assert_eq!(decided(&world), posts(&[("new", 1), ("p", 2), ("p", 3)]));
    }
}

/// A platform may number posts and comments alike: then one id has two authors.
#[tokio::test]
async fn others_are_not_touched() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let theirs =
        [by("v", "q", HATEFUL), by("u", "shared", HATEFUL), by("v", "shared", UNCERTAIN), post("nobody", HATEFUL)];
    assert_eq!(deliver(&app, &theirs).await, Vec::<usize>::new());
    assert_eq!(erase(&world, &of("u")).await.decisions, 1);
    let left = posts(&[("nobody", 1), ("q", 1), ("shared", 2)]);
    assert_eq!(decided(&world), left);
    // What comes again finds what it found; what was still under way is decided.
    assert_eq!(deliver(&app, &theirs).await, Vec::<usize>::new());
    assert_eq!(decided(&world), left);
    sent_at(&app, &by("v", "shared", HARMLESS), SENT_MS).await;
    assert_eq!(decided(&world).len(), 4);
}

#[tokio::test]
async fn a_post_is_erased_in_all_its_revisions_and_though_nothing_was_decided() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let revision = |number: u64| post_with("p", json!({ "text": HATEFUL, "author_id": "u", "revision": number }));
    assert_eq!(deliver(&app, &[revision(2), revision(3), by("u", "other", HATEFUL)]).await, Vec::<usize>::new());
    assert_eq!(erase(&world, &Subject::Post(post_id("p"))).await.decisions, 2);
    erase(&world, &Subject::Post(post_id("never"))).await;
    for body in [revision(1), revision(2), revision(7), post("never", HATEFUL), by("w", "never", HATEFUL)] {
        sent_at(&app, &body, SENT_MS).await;
        assert_eq!(decided(&world), posts(&[("other", 1)]), "{body}");
    }
    sent_at(&app, &revision(8), AFTER_MS).await;
    sent_at(&app, &post("never", HATEFUL), AFTER_MS).await;
    assert_eq!(decided(&world), posts(&[("never", 2), ("other", 1), ("p", 8)]));
}

/// The author's row cannot be read: the table of decisions knows as well. If that cannot be read either, nothing is decided.
#[tokio::test]
async fn features_that_cannot_be_read_bring_nobody_back() {
    let world = Arc::new(World::default());
    let app = app(&world);
    erase(&world, &of("u")).await;
    for fault in [Fault::Features, Fault::FeaturesShort] {
        world.breaks(fault);
        let bodies = [by("u", "p", HATEFUL), by("v", "q", HATEFUL), post("r", HATEFUL)];
        assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
        sent_at(&app, &by("u", "later", HATEFUL), AFTER_MS).await;
        assert_eq!(decided(&world), posts(&[("later", 1), ("q", 1), ("r", 1)]));
        world.mends();
    }
    world.breaks(Fault::Features);
    world.breaks(Fault::Get);
    assert_eq!(deliver(&app, &[by("u", "p", HATEFUL), post("s", HATEFUL)]).await, [0]);
    assert!(world.record("p", 1).is_none() && world.record("s", 1).is_some());
}

/// A post is erased, and comes anew before that is known: what is under way from before finds its tombstone below the new first revision.
#[tokio::test]
async fn what_was_posted_again_hides_no_tombstone() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let sent = |text: &str, fields: serde_json::Value| {
        let mut all = json!({ "text": text, "author_id": "u" });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        post_with("p", all)
    };
    sent_at(&app, &sent("Good morning", json!({ "revision": 1 })), AFTER_MS).await;
    erase(&world, &Subject::Post(post_id("p"))).await;
    for before in [json!({}), json!({ "revision": 1 }), json!({ "revision": 2 })] {
        sent_at(&app, &sent(HATEFUL, before.clone()), SENT_MS).await;
        assert_eq!(decided(&world), posts(&[("p", 1)]), "{before}");
        assert_eq!(world.record("p", 1).unwrap().decision, domain::Decision::Approve);
    }
    sent_at(&app, &sent(HATEFUL, json!({ "revision": 2 })), AFTER_MS).await;
    assert_eq!(decided(&world), posts(&[("p", 1), ("p", 2)]));
}

/// Where earlier revisions cannot be read, the tombstone is asked for by itself, without which nothing is decided.
#[tokio::test]
async fn revisions_that_cannot_be_read_bring_nothing_back() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let revision = |number: u64| post_with("p", json!({ "text": HATEFUL, "author_id": "u", "revision": number }));
    erase(&world, &Subject::Post(post_id("p"))).await;
    world.breaks(Fault::Verdicts);
    sent_at(&app, &revision(2), SENT_MS).await;
    assert_eq!(decided(&world), posts(&[]));
    sent_at(&app, &revision(3), AFTER_MS).await;
    assert_eq!(decided(&world), posts(&[("p", 3)]));
    world.breaks(Fault::Get);
    assert_eq!(deliver(&app, &[revision(2)]).await, [0]);
    assert_eq!(decided(&world), posts(&[("p", 3)]));
}

/// Of two equal messages in a batch one was sent before the erasure and one after it.
#[tokio::test]
async fn a_repeat_that_was_sent_later_is_decided() {
    let world = Arc::new(World::default());
    let app = app(&world);
    erase(&world, &of("u")).await;
    let record = |id: &str, sent_ms: i64| json!({ "messageId": id, "body": by("u", "p", HATEFUL), "attributes": { "SentTimestamp": sent_ms.to_string() } });
    let event = json!({ "Records": [record("m0", SENT_MS), record("m1", AFTER_MS)] }).to_string();
    let batch = runtime::SqsBatch::parse(&serde_json::value::RawValue::from_string(event).unwrap()).unwrap();
    let left = std::time::Duration::from_secs(30);
    let deadline_ms = runtime::telemetry::now_ms() + 30_000;
    let invocation = runtime::Invocation { deadline: Deadline::now() + left, deadline_ms, cold_start: false };
    let again: Vec<String> =
        score::handle(&app, batch, invocation).await.unwrap().failures().map(str::to_owned).collect();
    assert_eq!((again, decided(&world)), (vec!["m1".to_owned()], Vec::new()));
    sent_at(&app, &by("u", "p", HATEFUL), AFTER_MS).await;
    assert_eq!(decided(&world), posts(&[("p", 1)]));
}

/// What nobody can decide is found by the ids in it, and is not kept anew.
#[tokio::test]
async fn quarantine_is_erased_too() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let cut = |author: &str, post: &str| format!(r#"{{"post_id":"{post}","author_id":"{author}","text":"{HATEFUL}"#);
    let panics = by("u", "panics", PANICS);
    let bodies = [cut("u", "p"), cut("v", "q"), panics, "nobody's".to_owned()];
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    assert_eq!(world.objects_under("quarantine/").await.len(), 4);
    assert_eq!(erase(&world, &of("u")).await.quarantined.len(), 2);
    let kept: std::collections::BTreeSet<_> = world.objects_under("quarantine/").await.into_iter().collect();
    let digest = |body: &str| format!("quarantine/{}", domain::sha256_hex(body.as_bytes()));
    assert_eq!(kept, [digest(&bodies[1]), digest(&bodies[3])].into());
    for key in world.objects_under("").await {
        assert!(!key.contains("/u/") && !key.contains("v/"), "{key} names an id");
    }
    // Delivered again it is neither decided nor kept.
    for body in &bodies[..1] {
        sent_at(&app, body, SENT_MS).await;
    }
    assert_eq!(world.objects_under("quarantine/").await.len(), 2);
    assert!(decided(&world).iter().all(|(post, _)| post == "q"), "{:?}", decided(&world));
    // What came since is not touched.
    let since = cut("u", "since");
    sent_at(&app, &since, AFTER_MS).await;
    assert_eq!(erase(&world, &of("u")).await.quarantined.len(), 0);
    assert!(world.objects_under("quarantine/").await.contains(&digest(&since)));
    assert_eq!(erase(&world, &Subject::Post(post_id("since"))).await.quarantined.len(), 0);
    world.objects.delete(ARTIFACTS, &digest(&since), Deadline::now()).await.unwrap();
    // By the post as well.
    assert_eq!(erase(&world, &Subject::Post(post_id("q"))).await.quarantined.len(), 1);
    assert_eq!(world.objects_under("quarantine/").await, [digest(&bodies[3])]);
}

/// A message with too many posts comes again in parts, later; what was erased in between stays so.
#[tokio::test]
async fn parts_of_a_message_are_as_old_as_the_message() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let list = |author: &str| -> Vec<serde_json::Value> {
        (0..12).map(|n| serde_json::from_str(&by(author, &format!("{author}-{n}"), HARMLESS)).unwrap()).collect()
    };
    sent_at(&app, &json!([list("u"), list("v")].concat()).to_string(), SENT_MS).await;
    erase(&world, &of("u")).await;
    for part in world.posts.sent() {
        sent_at(&app, &part.body, AFTER_MS).await;
    }
    let decided = decided(&world);
    assert_eq!(decided.len(), 12, "{decided:?}");
    assert!(decided.iter().all(|(post, _)| post.starts_with("v-")), "{decided:?}");
    // Nobody makes a message younger than it is.
    sent_at(
        &app,
        &score::intake::put_back(Timestamp::from_millis(AFTER_MS), &json!([list("u")[0]]).to_string()),
        SENT_MS,
    )
    .await;
    assert!(world.record("u-0", 1).is_none());
}
