//! Law 8: no post text, name or token in any log, metric or error.

use crate::common::*;
use serde_json::json;
use std::process::Command;
use std::sync::Arc;

const CANARY: &str = "kanarienvogel";

fn bodies() -> Vec<Body> {
    let text = |text: &str| format!("{CANARY} {text} {CANARY}");
    let id = |id: &str| format!("{CANARY}-{id}");
    let notification = |bucket: &str, key: &str| {
        json!({ "Records": [{ "s3": { "bucket": { "name": bucket }, "object": { "key": key } } }] }).to_string()
    };
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

/// Runs in a process of its own, whose every word is read by the other test.
#[tokio::test]
#[ignore = "started by `the_canary_never_sings`"]
async fn child() {
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
    println!("the child came to its end");
}

#[test]
fn the_canary_never_sings() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["quiet::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("the child came to its end"), "{said}");
    // It did speak of all of this: what is silent proves nothing.
    for word in ["PostsQuarantined", "PostsHidden", "a panic was caught", "ThrottlingException", "invalid_json"] {
        assert!(said.contains(word), "nothing about `{word}` in\n{said}");
    }
    let sung: Vec<_> = said.lines().filter(|line| line.to_lowercase().contains("kanarien")).collect();
    assert_eq!(sung, Vec::<&str>::new());
}
