//! One message as large as a queue takes does not hold up or kill its neighbours.

use crate::common::*;
use domain::policy::Decision;
use serde_json::json;
use std::sync::Arc;

/// What the kernel counts as the most memory that this process ever had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A mebibyte of entries, in every shape that has entries.
fn floods() -> Vec<String> {
    let fill = |open: &str, entry: &str, close: &str| {
        let count = (1024 * 1024 - open.len() - close.len()) / (entry.len() + 1);
        format!("{open}{}{close}", vec![entry; count].join(","))
    };
    vec![
        fill("{\"Records\":[", r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}"#, "]}"),
        fill("{\"Records\":[", "{}", "]}"),
        fill("[", "{}", "]"),
        fill("[", "[]", "]"),
        fill("[", r#"{"a":{"b":{"c":{}}}}"#, "]"),
        fill("{\"post_id\":\"flood-media\",\"media\":[", r#"{"uri":""}"#, "]}"),
        fill("{\"post_id\":\"flood-fields\",\"text\":\"x\",\"extra\":[", "[[[[]]]]", "]}"),
        "[".repeat(1024 * 1024),
        "{\"a\":".repeat(1024 * 1024 / 5),
    ]
}

#[tokio::test]
async fn neighbours_of_a_flood_are_decided_and_memory_is_bounded() {
    for flood in floods() {
        let world = Arc::new(World::default());
        let app = app(&world);
        let before = peak();
        let mut bodies: Vec<String> = (0..9).map(|number| post(&format!("good-{number}"), HATEFUL)).collect();
        bodies.insert(4, flood.clone());
        let short: String = flood.chars().take(60).collect();
        assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new(), "{short}");
        let hidden = world.decisions.all().iter().filter(|record| record.decision == Decision::Hide).count();
        assert_eq!(hidden, 9, "{short}");
        // The ten floods of a batch are read one after the other.
        assert!(peak() - before < 200 * 1024 * 1024, "{short}: {} MiB more", (peak() - before) >> 20);
        assert!(world.objects_under("quarantine/").await.len() <= 1, "{short}");
    }
}

#[tokio::test]
async fn short_posts_are_stored_before_long_ones_are_read() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let long = format!("{} ", "The river is calm and the bridge is old.".repeat(3_000));
    let bodies = [post("long-1", &long), post("short", HATEFUL), post("long-2", &long)];
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    assert_eq!(
        world.calls().iter().filter(|(call, _)| *call == "insert").count(),
        3,
        "one for the short ones, one for each long one"
    );
    assert_eq!(world.decisions.all().len(), 3);
}

/// What does not fit a batch is left for the next delivery, whole messages at a time, and everything is decided in the end.
#[tokio::test]
async fn more_posts_than_a_batch_holds_are_decided_in_turns() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let mut bodies = Vec::new();
    for message in 0..10 {
        let mut records = Vec::new();
        for object in 0..10 {
            let posts: Vec<_> = (0..5)
                .map(|number| json!({ "post_id": format!("p-{message}-{object}-{number}"), "text": HARMLESS }))
                .collect();
            let key = format!("{message}-{object}");
            world.keeps(CONTENT, &key, json!(posts).to_string()).await;
            records.push(json!({ "s3": { "bucket": { "name": CONTENT }, "object": { "key": key } } }));
        }
        bodies.push(json!({ "Records": records }).to_string());
    }
    let mut turns = 0;
    while !bodies.is_empty() {
        let failed = deliver(&app, &bodies).await;
        assert!(failed.len() < bodies.len(), "each turn gets somewhere");
        bodies = failed.into_iter().map(|place| bodies[place].clone()).collect();
        turns += 1;
    }
    assert_eq!((world.decisions.all().len(), turns), (500, 3));
}
