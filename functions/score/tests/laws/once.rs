//! Law 2: one decision per (post, revision), whatever is delivered twice, late, reordered or half done.

use crate::common::*;
use domain::policy::{Decision, FALLBACK};
use domain::{DecidedBy, DecisionRecord};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn twice_in_a_batch() {
    let world = Arc::new(World::default());
    // The same post with its keys in another order and spaces between them is the same post.
    let respelled = format!("{{ \"text\" : {}, \"lang\":\"en\",\"post_id\": \"p\" }}", json!(HATEFUL));
    let bodies = [post("p", HATEFUL), respelled, post("p", HATEFUL)];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all().len(), 1);
    assert_eq!(world.sent(), (vec![task_id("p")], vec![hide_id("p")]));
}

#[tokio::test]
async fn in_two_batches() {
    let world = Arc::new(World::default());
    let app = app(&world);
    assert_eq!(deliver(&app, &[post("p", HATEFUL)]).await, Vec::<usize>::new());
    let first = world.decisions.all();
    // Another message id, other neighbours.
    assert_eq!(deliver(&app, &[post("q", HARMLESS), post("p", HATEFUL)]).await, Vec::<usize>::new());
    assert_eq!(world.record("p", 1), first.first().cloned());
    let (tasks, actions) = world.sent();
    assert_eq!((unique(&tasks), unique(&actions)), ([task_id("p")].into(), [hide_id("p")].into()));
}

#[tokio::test]
async fn what_is_the_same_under_other_facts_stands() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let bodies = [post("p", HATEFUL), post_with("p", json!({ "text": HATEFUL, "author_id": "u", "lang": "fr" }))];
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    assert_eq!(deliver(&app, &bodies[1..]).await, Vec::<usize>::new());
    assert_eq!(world.record("p", 1).unwrap().decision, Decision::Hide);
    assert_eq!((world.decisions.all().len(), unique(&world.sent().1)), (1, [hide_id("p")].into()));
}

fn by_a_person(mut record: DecisionRecord) -> DecisionRecord {
    record.decided_by = DecidedBy::Human;
    record.decision = Decision::Approve;
    record.review = None;
    record.attempt += 1;
    record
}

#[tokio::test]
async fn a_persons_verdict_is_never_replaced_and_owes_nothing() {
    let world = Arc::new(World::default());
    let app = app(&world);
    assert_eq!(deliver(&app, &[post("p", HATEFUL)]).await, Vec::<usize>::new());
    let verdict = by_a_person(world.record("p", 1).unwrap());
    world.decisions.replace(verdict.clone());
    let sent = world.sent();
    assert_eq!(deliver(&app, &[post("p", HATEFUL), post("p", HATEFUL)]).await, Vec::<usize>::new());
    assert_eq!(world.record("p", 1), Some(verdict));
    assert_eq!(world.sent(), sent);
}

/// The function dies between writing and sending, and comes back under a policy that would decide otherwise.
#[tokio::test]
async fn what_the_stored_decision_owes_is_sent_whatever_the_policy_says_now() {
    let world = Arc::new(World::default());
    for queue in ["tasks", "actions"] {
        world.breaks(Fault::Send(queue, "p"));
    }
    assert_eq!(deliver(&app(&world), &[post("p", HATEFUL)]).await, [0]);
    let stored = world.decisions.all();
    assert_eq!(world.sent(), (Vec::new(), Vec::new()));
    world.mends();
    let band = |line: &&str| line.contains("{ id: hate-uncertain,") || line.contains("{ id: hate-high,");
    let lenient = FALLBACK.lines().filter(|line| !band(line)).collect::<Vec<_>>().join("\n");
    let judge = judge(Some(&lenient));
    assert!(judge.policy.bands["hate"].iter().all(|band| band.decision == Decision::Approve));
    assert_eq!(deliver(&app_with(&world, judge), &[post("p", HATEFUL)]).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all(), stored);
    assert_eq!(world.sent(), (vec![task_id("p")], vec![hide_id("p")]));
}

#[tokio::test]
async fn running_a_batch_again_changes_nothing() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.keeps(CONTENT, "a.json", post("from-object", UNCERTAIN)).await;
    let notification =
        json!({ "Records": [{ "s3": { "bucket": { "name": CONTENT }, "object": { "key": "a.json" } } }] });
    let bodies = [
        post("hidden", HATEFUL),
        post("approved", HARMLESS),
        notification.to_string(),
        post_with("edited", json!({ "text": HARMLESS, "revision": 2 })),
        post_with("picture", json!({ "media": [{ "uri": "s3://content/a.png" }] })),
        "not json".to_owned(),
        post("panics", PANICS),
    ];
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    let (records, quarantine) = (world.decisions.all(), world.objects_under("quarantine/").await);
    assert_eq!((records.len(), quarantine.len()), (6, 2));
    let (tasks, actions) = world.sent();
    let backwards: Vec<_> = bodies.iter().rev().cloned().collect();
    for again in [&bodies[..], &backwards[..]] {
        assert_eq!(deliver(&app, again).await, Vec::<usize>::new());
        assert_eq!(world.decisions.all(), records);
        assert_eq!(world.objects_under("quarantine/").await, quarantine);
        let (tasks_now, actions_now) = world.sent();
        assert_eq!((unique(&tasks_now), unique(&actions_now)), (unique(&tasks), unique(&actions)));
    }
}

/// Two runs at once that both find nothing stored: one wins, and both send what the winner owes.
#[tokio::test]
async fn two_functions_at_once_agree() {
    let world = Arc::new(World::default());
    let (one, other) = (app(&world), app(&world));
    let bodies = [post("p", HATEFUL), post("q", UNCERTAIN)];
    let (first, second) = tokio::join!(deliver(&one, &bodies), deliver(&other, &bodies));
    assert_eq!((first, second), (Vec::new(), Vec::new()));
    assert_eq!(world.decisions.all().len(), 2);
    let (tasks, actions) = world.sent();
    assert_eq!((unique(&tasks), unique(&actions)), ([task_id("p"), task_id("q")].into(), [hide_id("p")].into()));
}
