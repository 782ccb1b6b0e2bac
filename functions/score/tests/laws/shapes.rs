//! Every way in: notifications of several objects, envelopes, references.

use crate::common::*;
use domain::policy::Decision;
use serde_json::{Value, json};
use std::sync::Arc;

fn notification(keys: &[&str]) -> String {
    let records: Vec<_> = keys
        .iter()
        .map(|key| json!({ "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": CONTENT }, "object": { "key": key } } }))
        .collect();
    json!({ "Records": records }).to_string()
}

fn sns(message: &str) -> String {
    json!({ "Type": "Notification", "MessageId": "n-1", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": message })
        .to_string()
}

#[tokio::test]
async fn a_notification_of_several_objects_decides_the_good_and_keeps_the_bad() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.keeps(CONTENT, "intake/2026 autumn/post+1.json", post("one", HATEFUL)).await;
    world.keeps(CONTENT, "intake/2.json", "no post").await;
    world.keeps(CONTENT, "intake/3.json", post("three", HARMLESS)).await;
    let body =
        notification(&["intake/2026+autumn/post%2B1.json", "intake/2.json", "intake/gone.json", "intake/3.json"]);
    assert_eq!(deliver(&app, std::slice::from_ref(&body)).await, Vec::<usize>::new());
    assert_eq!(world.record("one", 1).unwrap().decision, Decision::Hide);
    assert_eq!(world.record("three", 1).unwrap().decision, Decision::Approve);
    let mut kept: Vec<_> =
        ["no post", &body].map(|text| format!("quarantine/{}", domain::sha256_hex(text.as_bytes()))).into();
    kept.sort();
    assert_eq!(world.objects_under("quarantine/").await, kept);
}

#[tokio::test]
async fn an_entry_that_names_no_object_does_not_take_its_neighbours_along() {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "1.json", post("one", HARMLESS)).await;
    let mut body: Value = serde_json::from_str(&notification(&["1.json"])).unwrap();
    body["Records"].as_array_mut().unwrap().push(json!({ "s3": { "bucket": {} } }));
    let body = body.to_string();
    assert_eq!(deliver(&app(&world), std::slice::from_ref(&body)).await, Vec::<usize>::new());
    assert!(world.record("one", 1).is_some());
    let kept = format!("quarantine/{}", domain::sha256_hex(body.as_bytes()));
    assert_eq!(world.objects_under("quarantine/").await, [kept]);
}

#[tokio::test]
async fn a_notification_comes_back_whole_while_one_of_its_objects_is_open() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.keeps(CONTENT, "1.json", post("one", HATEFUL)).await;
    world.keeps(CONTENT, "2.json", post("two", HATEFUL)).await;
    world.breaks(Fault::Insert("two"));
    let bodies = [post("beside", HARMLESS), notification(&["1.json", "2.json"])];
    assert_eq!(deliver(&app, &bodies).await, [1]);
    let first = world.record("one", 1);
    world.mends();
    assert_eq!(deliver(&app, &bodies[1..]).await, Vec::<usize>::new());
    assert_eq!(world.record("one", 1), first);
    assert_eq!(unique(&world.sent().1), [hide_id("one"), hide_id("two")].into());
}

#[tokio::test]
async fn envelopes_are_opened() {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "a.json", post("notified", HARMLESS)).await;
    world.keeps(CONTENT, "b c+d.json", post("bridged-object", HARMLESS)).await;
    let inner = |id: &str| serde_json::from_str::<Value>(&post(id, HARMLESS)).unwrap();
    let bodies = [
        sns(&post("sns", HARMLESS)),
        sns(&notification(&["a.json"])),
        json!({ "specversion": "1.0", "type": "t", "source": "s", "id": "1", "data": inner("cloud-event") })
            .to_string(),
        sns(&json!({ "specversion": "1.0", "data": inner("cloud-event-in-sns") }).to_string()),
        json!({ "detail-type": "post", "source": "platform", "detail": inner("event-bridge") }).to_string(),
        json!({
            "detail-type": "Object Created", "source": "aws.s3",
            "detail": { "bucket": { "name": CONTENT }, "object": { "key": "b c+d.json" } },
        })
        .to_string(),
    ];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    let decided: Vec<_> = world.decisions.all().into_iter().map(|record| record.post_id.to_string()).collect();
    assert_eq!(decided, ["bridged-object", "cloud-event", "cloud-event-in-sns", "event-bridge", "notified", "sns"]);
    assert_eq!(world.objects_under("").await, Vec::<String>::new());
}

#[tokio::test]
async fn the_test_event_of_s3_is_acknowledged_and_nothing_is_done() {
    let world = Arc::new(World::default());
    let event =
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-23T10:00:00Z", "Bucket": "b" });
    assert_eq!(deliver(&app(&world), &[event.to_string(), sns(&event.to_string())]).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all(), Vec::new());
    assert_eq!(world.objects_under("").await, Vec::<String>::new());
    assert_eq!(world.sent(), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_text_kept_elsewhere_is_read_and_a_text_in_the_event_needs_no_reading() {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "texts/1", HATEFUL).await;
    let bodies = [
        post_with("referred", json!({ "text_ref": "s3://content/texts/1" })),
        post_with("both", json!({ "text": HARMLESS, "text_ref": "s3://elsewhere/never/looked/at" })),
    ];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    assert_eq!(world.record("referred", 1).unwrap().decision, Decision::Hide);
    assert_eq!(world.record("both", 1).unwrap().decision, Decision::Approve);
    assert_eq!(world.calls().iter().filter(|(what, _)| *what == "read").count(), 1);
}

#[tokio::test]
async fn an_empty_batch_does_nothing() {
    let world = Arc::new(World::default());
    assert_eq!(deliver::<String>(&app(&world), &[]).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all(), Vec::new());
}
