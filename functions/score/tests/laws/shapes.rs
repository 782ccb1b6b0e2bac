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
async fn a_text_kept_elsewhere_is_read_beside_the_one_in_the_event() {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "texts/1", HATEFUL).await;
    let bodies = [
        post_with("referred", json!({ "text_ref": "s3://content/texts/1" })),
        post_with("both", json!({ "text": HARMLESS, "text_ref": "s3://content/texts/1" })),
        post_with("empty", json!({ "text": "", "text_ref": "s3://content/texts/1" })),
    ];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    for post in ["referred", "both", "empty"] {
        let record = world.record(post, 1).unwrap();
        assert_eq!((record.decision, record.scores["hate"].view), (Decision::Hide, domain::View::TextRef), "{post}");
    }
}

#[tokio::test]
async fn envelopes_that_people_send_are_opened() {
    use std::io::Write;
    let world = Arc::new(World::default());
    let inner = |id: &str| serde_json::from_str::<Value>(&post(id, HARMLESS)).unwrap();
    let lines = format!("{}\n{}\n", post("line-1", HARMLESS), post("line-2", HARMLESS));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(post("packed", HARMLESS).as_bytes()).unwrap();
    world.keeps(CONTENT, "pointed", post("pointed", HARMLESS)).await;
    world.keeps(CONTENT, "lines", lines).await;
    world.keeps(CONTENT, "packed", packed.finish().unwrap()).await;
    world.keeps(CONTENT, "listed", json!([inner("listed-1"), inner("listed-2")]).to_string()).await;
    let pointer = |class: &str| json!([class, { "s3BucketName": CONTENT, "s3Key": "pointed" }]).to_string();
    let base64 = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(post("base64", HARMLESS))
    };
    let bodies = [
        pointer("software.amazon.payloadoffloading.PayloadS3Pointer"),
        notification(&["lines"]),
        notification(&["packed"]),
        notification(&["listed"]),
        json!([{ "specversion": "1.0", "data": inner("batched-1") }, { "specversion": "1.0", "data": inner("batched-2") }]).to_string(),
        json!({ "specversion": "1.0", "data": null, "data_base64": base64 }).to_string(),
        json!({ "detail-type": "post", "source": "platform", "detail": post("detail-text", HARMLESS) }).to_string(),
        json!([inner("array-1"), inner("array-2")]).to_string(),
        sns(&json!([inner("array-in-sns")]).to_string()),
        pointer("com.amazon.sqs.javamessaging.MessageS3Pointer"),
    ];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    let decided: Vec<_> = world.decisions.all().into_iter().map(|record| record.post_id.to_string()).collect();
    let expected = [
        "array-1",
        "array-2",
        "array-in-sns",
        "base64",
        "batched-1",
        "batched-2",
        "detail-text",
        "line-1",
        "line-2",
        "listed-1",
        "listed-2",
        "packed",
        "pointed",
    ];
    assert_eq!(decided, expected);
    assert_eq!(world.objects_under("").await, Vec::<String>::new());
}

/// One line of an object loses no other: bytes that are no characters, a packed object that ends early, more than a message may have.
#[tokio::test]
async fn a_flaw_in_an_object_loses_no_post() {
    use std::io::Write;
    let world = Arc::new(World::default());
    let packed = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    };
    let latin_1 = |id: &str| {
        let mut line = post_with(id, json!({ "text": HATEFUL, "surface": "SURFACE" })).into_bytes();
        let at = line.windows(7).position(|seven| seven == b"SURFACE").unwrap();
        line[at] = 0xe9;
        [line, b"\n".to_vec()].concat()
    };
    let lines =
        [format!("{}\n", post("before", HATEFUL)).into_bytes(), latin_1("odd"), post("after", HATEFUL).into_bytes()]
            .concat();
    world.keeps(CONTENT, "lines", lines.clone()).await;
    world.keeps(CONTENT, "packed", packed(&latin_1("packed"))).await;
    let whole = ["cut-1", "cut-2", "cut-3"].map(|id| post(id, HATEFUL)).join("\n");
    let mut cut = packed(whole.as_bytes());
    cut.truncate(cut.len() - 40);
    world.keeps(CONTENT, "cut", cut).await;
    world.keeps(CONTENT, "large", post("large", &"x ".repeat(600_000))).await;
    let bodies = ["lines", "packed", "cut", "large"].map(|key| notification(&[key]));
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    for id in ["before", "odd", "after", "packed", "cut-1", "cut-2"] {
        assert_eq!(world.record(id, 1).map(|record| record.decision), Some(Decision::Hide), "{id}");
    }
    assert!(world.record("odd", 1).unwrap().degraded.contains(&"characters".to_owned()));
    let large = world.record("large", 1).unwrap();
    assert_eq!(large.decision, Decision::Review);
    assert!(large.degraded.contains(&"undecidable:too_large".to_owned()), "{:?}", large.degraded);
    assert_eq!(world.objects_under("quarantine/").await.len(), 2, "what was cut off, and what is too large");
}

/// A post that is an envelope besides: both are public.
#[tokio::test]
async fn a_post_around_a_post_hides_neither() {
    let inner = |id: &str| json!({ "post_id": id, "text": HATEFUL });
    for (number, envelope) in [
        json!({ "specversion": "1.0", "data": inner("inner") }),
        json!({ "detail-type": "post", "detail": inner("inner") }),
        json!({ "detail-type": "post", "detail": inner("inner").to_string() }),
        json!({ "Type": "Notification", "Message": inner("inner").to_string() }),
        json!({ "Records": [{ "s3": { "bucket": { "name": CONTENT }, "object": { "key": "inner" } } }] }),
    ]
    .into_iter()
    .enumerate()
    {
        let world = Arc::new(World::default());
        world.keeps(CONTENT, "inner", inner("inner").to_string()).await;
        let mut body: Value = serde_json::from_str(&post("outer", HARMLESS)).unwrap();
        body.as_object_mut().unwrap().extend(envelope.as_object().unwrap().clone());
        assert_eq!(deliver(&app(&world), &[body.to_string()]).await, Vec::<usize>::new());
        let decision = |id| world.record(id, 1).map(|record| record.decision);
        assert_eq!(
            (decision("outer"), decision("inner")),
            (Some(Decision::Approve), Some(Decision::Hide)),
            "number {number}"
        );
        assert_eq!(world.objects_under("quarantine/").await, Vec::<String>::new(), "number {number}");
    }
    // An envelope whose post cannot be decided names it; other fields are nobody's business.
    let world = Arc::new(World::default());
    let bodies = [
        post_with("outer", json!({ "text": HARMLESS, "detail-type": "t", "detail": { "post_id": "inner" } })),
        post_with(
            "other",
            json!({ "text": HARMLESS, "Type": "Notification", "Message": "hello", "detail": inner("quoted") }),
        ),
    ];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    let decision = |id| world.record(id, 1).map(|record| record.decision);
    assert_eq!(
        ["outer", "inner", "other", "quoted"].map(decision),
        [Some(Decision::Approve), Some(Decision::Review), Some(Decision::Approve), None]
    );
}

#[tokio::test]
async fn what_s3_says_about_deletions_and_folders_is_ignored() {
    let world = Arc::new(World::default());
    let event = |name: &str, key: &str, size: u64| {
        json!({ "Records": [{ "eventName": name, "s3": { "bucket": { "name": CONTENT }, "object": { "key": key, "size": size } } }] }).to_string()
    };
    let bodies = [
        event("ObjectRemoved:Delete", "a", 0),
        event("s3:ObjectRemoved:DeleteMarkerCreated", "a", 0),
        event("LifecycleExpiration:Delete", "a", 0),
        event("ObjectCreated:Put", "intake/2026/", 0),
        json!({ "detail-type": "Object Deleted", "source": "aws.s3", "detail": { "bucket": { "name": CONTENT }, "object": { "key": "a" } } }).to_string(),
    ];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    assert_eq!((world.decisions.all(), world.objects_under("").await), (Vec::new(), Vec::<String>::new()));
    // An object whose name ends like a folder's, with something in it, is one.
    world.keeps(CONTENT, "intake/x/", post("hidden-in-a-folder", HATEFUL)).await;
    assert_eq!(deliver(&app(&world), &[event("ObjectCreated:Put", "intake/x/", 60)]).await, Vec::<usize>::new());
    assert_eq!(world.record("hidden-in-a-folder", 1).unwrap().decision, Decision::Hide);
}

#[tokio::test]
async fn one_bad_line_does_not_lose_the_others() {
    let world = Arc::new(World::default());
    let lines =
        [&post("one", HATEFUL), r#"{"post_id":"cut","text":"cut o"#, "no json", &post("four", HARMLESS)].join("\n");
    world.keeps(CONTENT, "lines", lines.clone()).await;
    assert_eq!(deliver(&app(&world), &[notification(&["lines"])]).await, Vec::<usize>::new());
    assert_eq!(world.record("one", 1).unwrap().decision, Decision::Hide);
    assert_eq!(world.record("four", 1).unwrap().decision, Decision::Approve);
    assert_eq!(world.record("cut", 1).unwrap().decision, Decision::Review);
    assert_eq!(
        world.objects_under("quarantine/").await,
        [format!("quarantine/{}", domain::sha256_hex(lines.as_bytes()))]
    );
}

#[tokio::test]
async fn more_posts_than_a_message_may_hold_are_put_back_in_parts() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let posts: Vec<Value> =
        (0..25).map(|number| serde_json::from_str(&post(&format!("p{number}"), HARMLESS)).unwrap()).collect();
    let body = json!(posts).to_string();
    world.breaks(Fault::SendShort("posts", 1));
    assert_eq!(deliver(&app, std::slice::from_ref(&body)).await, [0], "not all parts are on the queue");
    world.mends();
    assert_eq!(deliver(&app, &[body]).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all(), Vec::new());
    let parts: Vec<String> = world.posts.sent().into_iter().map(|message| message.body).collect();
    assert_eq!(deliver(&app, &parts).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all().len(), 25);
    assert_eq!(world.posts.sent().len(), parts.len(), "parts are not split again");
}

/// In ASCII these take twice the room of a message.
#[tokio::test]
async fn parts_fit_into_messages_in_every_alphabet() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let long = "\u{611B}".repeat(25_000);
    let posts: Vec<Value> = (0..11).map(|number| json!({ "post_id": format!("p{number}"), "text": long })).collect();
    let longest = json!({ "post_id": "longest", "text": "\u{611B}\u{FFFE}".repeat(50_000) });
    for list in
        [posts, [vec![longest], (0..10).map(|n| json!({ "post_id": format!("q{n}"), "text": "x" })).collect()].concat()]
    {
        let before = world.posts.sent().len();
        assert_eq!(deliver(&app, &[json!(list).to_string()]).await, Vec::<usize>::new());
        let parts: Vec<String> = world.posts.sent().into_iter().skip(before).map(|message| message.body).collect();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= 1024 * 1024), "{}", parts.len());
        assert!(parts.iter().all(|part| !part.contains('\u{FFFE}')));
        assert_eq!(deliver(&app, &parts).await, Vec::<usize>::new());
        assert!(list.iter().all(|post| world.record(post["post_id"].as_str().unwrap(), 1).is_some()));
    }
}

#[tokio::test]
async fn an_empty_batch_does_nothing() {
    let world = Arc::new(World::default());
    assert_eq!(deliver::<String>(&app(&world), &[]).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all(), Vec::new());
}
