//! Law 3: one bad message never fails, delays or loses its neighbours, and is kept itself.

use crate::common::*;
use domain::policy::Decision;
use domain::{DecidedBy, sha256_hex};
use serde_json::json;
use std::sync::Arc;

/// A way to be undecidable: its kind, the body, and the bytes that quarantine has to hold where they are others.
type Poison = (&'static str, Body, Option<Vec<u8>>);

fn notification(bucket: &str, key: &str) -> String {
    json!({ "Records": [{ "s3": { "bucket": { "name": bucket }, "object": { "key": key } } }] }).to_string()
}

fn nested() -> String {
    format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))
}

/// What names no post.
fn nameless() -> Vec<Poison> {
    let records: Vec<_> = (0..11).map(|_| json!({ "s3": {} })).collect();
    vec![
        ("invalid_json", "not json".into(), None),
        ("invalid_json", "".into(), None),
        ("unknown_shape", nested().into(), None),
        ("unknown_shape", json!({ "order": 17, "items": [] }).to_string().into(), None),
        ("unknown_shape", json!({ "Records": [] }).to_string().into(), None),
        ("too_many_records", json!({ "Records": records }).to_string().into(), None),
        ("unknown_shape", "[1,2]".into(), None),
        ("unknown_shape", "17".into(), None),
        ("missing_field", json!({ "text": "x" }).to_string().into(), None),
        ("invalid_field", post_with("", json!({ "text": "x" })).into(), None),
        ("invalid_field", r#"{"post_id":"bad\ud83d","text":"x"}"#.into(), None),
        ("invalid_field", post_with("bad\u{FFFF}", json!({ "text": "x" })).into(), None),
        ("invalid_field", json!({ "post_id": {"id": "bad"}, "text": "x" }).to_string().into(), None),
        ("object_missing", notification(CONTENT, "absent.json").into(), None),
        ("too_large", notification(CONTENT, "huge.json").into(), None),
        ("bucket_not_allowed", notification("elsewhere", "a.json").into(), None),
        ("unknown_shape", notification(CONTENT, "no-id.json").into(), Some(b"{}".to_vec())),
        ("unknown_shape", notification(CONTENT, "another.json").into(), Some(notification(CONTENT, "x").into_bytes())),
        ("invalid_json", notification(CONTENT, "false.gz").into(), Some(vec![0x1f, 0x8b, 7])),
    ]
}

/// What names a post, `bad`, and cannot be decided as it came.
fn named() -> Vec<Poison> {
    let cut = r#"{"post_id":"bad","text":"cut o"#;
    vec![
        ("invalid_json", cut.into(), None),
        ("invalid_json", r#"{"text":"a "quote" too much","post_id":"bad"}"#.into(), None),
        ("too_large", post("bad", &"x".repeat(1024 * 1024)).into(), None),
        ("missing_field", post_with("bad", json!({})).into(), None),
        ("missing_field", post_with("bad", json!({ "text": [] })).into(), None),
        ("missing_field", format!(r#"{{"post_id":"bad","text":{}}}"#, nested()).into(), None),
        ("missing_field", json!({ "detail-type": "t", "detail": { "post_id": "bad" } }).to_string().into(), None),
        ("invalid_field", json!({ "specversion": "7", "data": { "post_id": "bad" } }).to_string().into(), None),
        ("invalid_field", r#"{"post_id":"good","text":"x","post_id":"bad"}"#.into(), None),
        ("invalid_field", json!({ "post_id": ["bad"], "text": "x" }).to_string().into(), None),
        (
            "invalid_field",
            json!({ "specversion": "1.0", "data": { "post_id": "bad", "text": "x" }, "data_base64": "e30=" })
                .to_string()
                .into(),
            None,
        ),
        ("invalid_json", notification(CONTENT, "cut.json").into(), Some(cut.as_bytes().to_vec())),
        ("panic", post("bad", &format!("before {PANICS} after")).into(), None),
    ]
}

async fn world_with_objects() -> Arc<World> {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "huge.json", vec![b' '; 8 * 1024 * 1024 + 1]).await;
    world.keeps(CONTENT, "no-id.json", "{}").await;
    world.keeps(CONTENT, "cut.json", r#"{"post_id":"bad","text":"cut o"#).await;
    world.keeps(CONTENT, "another.json", notification(CONTENT, "x")).await;
    world.keeps(CONTENT, "false.gz", [0x1f, 0x8b, 7]).await;
    world
}

/// One poison of a kind between good posts, kind by kind.
#[tokio::test]
async fn every_poison_is_kept_and_harms_nobody() {
    let all =
        nameless().into_iter().map(|poison| (poison, false)).chain(named().into_iter().map(|poison| (poison, true)));
    for (number, ((kind, body, kept), is_named)) in all.enumerate() {
        let world = &world_with_objects().await;
        let app = app(world);
        let before = world.objects_under("quarantine/").await;
        let names = [format!("before-{number}"), format!("after-{number}")];
        let bodies = [post(&names[0], HARMLESS).into(), body.clone(), post(&names[1], HATEFUL).into()];
        assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new(), "{kind}, number {number}");
        let decisions: Vec<_> = names.iter().map(|name| world.record(name, 1).unwrap().decision).collect();
        assert_eq!(decisions, [Decision::Approve, Decision::Hide], "{kind}, number {number}");
        // What names its post gets a decision all the same: review, and a task.
        let fallback = world.record("bad", 1);
        assert_eq!(fallback.is_some(), is_named, "{kind}, number {number}");
        if let Some(record) = fallback {
            assert_eq!(
                (record.decision, record.decided_by),
                (Decision::Review, DecidedBy::Fallback),
                "{kind}, number {number}"
            );
            assert!(record.degraded.contains(&format!("undecidable:{kind}")), "{:?}", record.degraded);
            assert_eq!(record.content.unread, ["text"]);
            assert!(world.sent().0.contains(&task_id("bad")), "{kind}, number {number}");
            // Delivered again it changes nothing.
            assert_eq!(deliver(&app, std::slice::from_ref(&body)).await, Vec::<usize>::new());
            assert_eq!(world.decisions.all().iter().filter(|record| record.post_id.as_str() == "bad").count(), 1);
        }

        let bytes = match (kept, body) {
            (Some(bytes), _) => bytes,
            (None, Body::Text(text)) => text.into_bytes(),
            (None, Body::Escaped(json)) => json.as_bytes().to_vec(),
        };
        let key = format!("quarantine/{}", sha256_hex(&bytes));
        let object = world.object(ARTIFACTS, &key).await.unwrap_or_else(|| panic!("{kind}, number {number}: not kept"));
        assert_eq!(object.bytes, bytes);
        assert_eq!(object.metadata["kind"], kind, "number {number}: {}", object.metadata["detail"]);
        assert_eq!(object.metadata["received-at"], "2026-11-23T10:00:00.000Z");
        assert!(!object.metadata["detail"].is_empty());
        assert_eq!(world.objects_under("quarantine/").await.len(), before.len() + 1, "{kind}, number {number}");
    }
}

/// All poison in one batch, a good post between each two.
#[tokio::test]
async fn all_poison_at_once_is_kept_and_harms_nobody() {
    let world = world_with_objects().await;
    let app = app(&world);
    let mut bodies: Vec<Body> = Vec::new();
    let poison = nameless();
    for (number, (_, body, _)) in poison.iter().enumerate() {
        bodies.push(post(&format!("good-{number}"), HARMLESS).into());
        bodies.push(body.clone());
    }
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    let decided = world.decisions.all();
    assert_eq!(decided.len(), poison.len());
    assert!(decided.iter().all(|record| record.decision == Decision::Approve && record.degraded.is_empty()));
    assert_eq!(world.objects_under("quarantine/").await.len(), poison.len());
    assert_eq!(world.sent(), (Vec::new(), Vec::new()));
}

/// Two messages claim to be the same post; the first one makes the code panic, the second can be decided.
#[tokio::test]
async fn a_post_beside_its_own_poison_is_decided() {
    let world = Arc::new(World::default());
    let app = app(&world);
    assert_eq!(deliver(&app, &[post("p", PANICS), post("p", HATEFUL)]).await, Vec::<usize>::new());
    let decisions: Vec<_> = world.decisions.all().iter().map(|record| record.decision).collect();
    assert_eq!(decisions, [Decision::Review, Decision::Hide]);
    assert_eq!(world.objects_under("quarantine/").await.len(), 1);
}

/// One message names many objects that are not there: one object in quarantine, not one an entry.
#[tokio::test]
async fn a_message_is_kept_once() {
    let world = Arc::new(World::default());
    let records: Vec<_> = (0..10)
        .map(|key| json!({ "s3": { "bucket": { "name": CONTENT }, "object": { "key": format!("absent-{key}") } } }))
        .collect();
    assert_eq!(deliver(&app(&world), &[json!({ "Records": records }).to_string()]).await, Vec::<usize>::new());
    assert_eq!(world.calls().iter().filter(|(call, _)| *call == "put").count(), 1);
}

/// Without the deployment's leave the text of the hook is a text like any other.
#[tokio::test]
async fn the_hook_is_off_unless_the_deployment_turns_it_on() {
    let world = Arc::new(World::default());
    let mut app = app(&world);
    app.config.test_panic = false;
    assert_eq!(deliver(&app, &[post("p", PANICS)]).await, Vec::<usize>::new());
    assert!(world.record("p", 1).is_some());
}
