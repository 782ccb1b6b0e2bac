//! Law 3: one bad message never fails, delays or loses its neighbours, and is kept itself.

use crate::common::*;
use domain::policy::Decision;
use domain::sha256_hex;
use serde_json::json;
use std::sync::Arc;

/// Every way to be undecidable, with its kind and the bytes that quarantine has to hold.
fn poison() -> Vec<(&'static str, Body, Option<Vec<u8>>)> {
    let deep = 100_000;
    let nested = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    let notification = |bucket: &str, key: &str| {
        json!({ "Records": [{ "s3": { "bucket": { "name": bucket }, "object": { "key": key } } }] }).to_string()
    };
    let text_ref = |uri: &str| post_with("bad", json!({ "text_ref": uri }));
    let mut kinds: Vec<(&'static str, Body, Option<Vec<u8>>)> = vec![
        ("invalid_json", "not json".into(), None),
        ("invalid_json", "".into(), None),
        ("invalid_json", r#"{"post_id":"bad","text":"cut o"#.into(), None),
        ("invalid_json", r#"{"post_id":"bad","text":"half a pair \ud83d"}"#.into(), None),
        ("invalid_json", nested.clone().into(), None),
        ("invalid_json", format!(r#"{{"post_id":"bad","text":"x","extra":{nested}}}"#).into(), None),
        ("too_large", post("bad", &"x".repeat(1024 * 1024)).into(), None),
        ("unknown_shape", json!({ "order": 17, "items": [] }).to_string().into(), None),
        ("unknown_shape", json!({ "Records": [] }).to_string().into(), None),
        ("unknown_shape", "[1,2]".into(), None),
        ("unknown_shape", "17".into(), None),
        ("missing_field", json!({ "text": "x" }).to_string().into(), None),
        ("missing_field", post_with("bad", json!({})).into(), None),
        ("invalid_field", post_with("", json!({ "text": "x" })).into(), None),
        ("invalid_field", post_with("bad", json!({ "text": 5 })).into(), None),
        ("invalid_field", post_with("bad", json!({ "text": "x", "revision": 0 })).into(), None),
        ("invalid_field", text_ref("https://example.com/x").into(), None),
        ("object_missing", notification(CONTENT, "absent.json").into(), None),
        ("object_missing", text_ref("s3://content/absent.txt").into(), None),
        ("too_large", notification(CONTENT, "huge.json").into(), None),
        ("too_large", text_ref("s3://content/huge.json").into(), None),
        ("invalid_utf8", text_ref("s3://content/latin-1.txt").into(), None),
        ("bucket_not_allowed", notification("elsewhere", "a.json").into(), None),
        ("bucket_not_allowed", text_ref("s3://elsewhere/a.txt").into(), None),
        ("missing_field", notification(CONTENT, "no-id.json").into(), Some(b"{}".to_vec())),
        ("invalid_json", notification(CONTENT, "deep.json").into(), Some(format!(" {nested}").into_bytes())),
        ("panic", post("bad", &format!("before {PANICS} after")).into(), None),
    ];
    let surrogate = r#""{\"post_id\":\"bad\",\"text\":\"\ud83d\"}""#;
    kinds.push(("invalid_utf8", Body::Escaped(surrogate), Some(surrogate.as_bytes().to_vec())));
    kinds
}

async fn world_with_objects() -> Arc<World> {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "huge.json", vec![b' '; 1024 * 1024 + 1]).await;
    world.keeps(CONTENT, "no-id.json", "{}").await;
    world.keeps(CONTENT, "latin-1.txt", b"caf\xe9".to_vec()).await;
    world.keeps(CONTENT, "deep.json", format!(" {}{}", "[".repeat(100_000), "]".repeat(100_000))).await;
    world
}

/// One poison of a kind between good posts, kind by kind.
#[tokio::test]
async fn every_poison_is_kept_and_harms_nobody() {
    let app_and_world = world_with_objects().await;
    let app = app(&app_and_world);
    for (number, (kind, body, kept)) in poison().into_iter().enumerate() {
        let world = &app_and_world;
        let before = world.objects_under("quarantine/").await;
        let names = [format!("before-{number}"), format!("after-{number}")];
        let bodies = [post(&names[0], HARMLESS).into(), body.clone(), post(&names[1], HATEFUL).into()];
        assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new(), "{kind}, number {number}");
        let decisions: Vec<_> = names.iter().map(|name| world.record(name, 1).unwrap().decision).collect();
        assert_eq!(decisions, [Decision::Approve, Decision::Hide], "{kind}, number {number}");
        assert_eq!(world.record("bad", 1), None, "{kind}, number {number}");

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
    let poison = poison();
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

/// Two messages claim to be the same revision; the first one makes the code panic, the second could be decided.
#[tokio::test]
async fn a_repeat_of_poison_is_not_lost() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let bodies = [post("p", PANICS), post("p", HATEFUL)];
    let failed = deliver(&app, &bodies).await;
    let again: Vec<_> = failed.iter().map(|place| bodies[*place].clone()).collect();
    assert_eq!(deliver(&app, &again).await, Vec::<usize>::new());
    assert_eq!(world.record("p", 1).unwrap().decision, Decision::Hide);
    assert_eq!(world.objects_under("quarantine/").await.len(), 1);
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
