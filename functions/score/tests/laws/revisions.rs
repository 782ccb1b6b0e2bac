//! Revisions: late ones, and those after a person's verdict.

use crate::common::*;
use domain::policy::Decision;
use domain::{DecidedBy, DecisionRecord, VerdictBefore};
use serde_json::json;
use std::sync::Arc;

fn revision(number: u64, text: &str) -> String {
    post_with("p", json!({ "text": text, "revision": number }))
}

#[tokio::test]
async fn an_older_revision_that_comes_late_is_decided_and_stored() {
    let world = Arc::new(World::default());
    let app = app(&world);
    assert_eq!(deliver(&app, &[revision(2, HARMLESS)]).await, Vec::<usize>::new());
    assert_eq!(deliver(&app, &[revision(1, HATEFUL)]).await, Vec::<usize>::new());
    let decisions: Vec<_> = world.decisions.all().iter().map(|r| (r.revision.get(), r.decision)).collect();
    assert_eq!(decisions, [(1, Decision::Hide), (2, Decision::Approve)]);
    // What is emitted carries the revision, so that consumers can drop what is older than what they know.
    let emitted: Vec<_> = world
        .actions
        .sent()
        .iter()
        .map(|message| {
            let action: serde_json::Value = serde_json::from_str(&message.body).unwrap();
            (action["revision"].as_u64().unwrap(), action["action"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(emitted, [(2, "publish".to_owned()), (1, "hide".to_owned())]);
}

#[tokio::test]
async fn revisions_in_one_batch_are_posts_of_their_own() {
    let world = Arc::new(World::default());
    let bodies = [revision(3, HARMLESS), revision(1, HATEFUL), revision(2, UNCERTAIN)];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    let ids: std::collections::BTreeSet<_> = world.decisions.all().into_iter().map(|r| r.decision_id).collect();
    assert_eq!(ids.len(), 3);
}

fn by_a_person(mut record: DecisionRecord) -> DecisionRecord {
    record.decided_by = DecidedBy::Human;
    record.decision = Decision::Hide;
    record.review = None;
    record
}

fn is_review_after_verdict(record: &DecisionRecord) {
    assert_eq!((record.decision, record.verdict_before), (Decision::Review, VerdictBefore::Yes));
    assert_eq!(record.decided_by, DecidedBy::Rule);
    assert_eq!(record.reasons.iter().map(|reason| reason.rule.as_str()).collect::<Vec<_>>(), ["revised-after-verdict"]);
    assert!(record.review.is_some());
}

#[tokio::test]
async fn every_revision_after_a_persons_verdict_goes_to_review() {
    let world = Arc::new(World::default());
    let app = app(&world);
    deliver(&app, &[revision(1, HATEFUL)]).await;
    world.decisions.replace(by_a_person(world.record("p", 1).unwrap()));
    assert_eq!(deliver(&app, &[revision(2, HARMLESS)]).await, Vec::<usize>::new());
    is_review_after_verdict(&world.record("p", 2).unwrap());
    assert_eq!(deliver(&app, &[revision(3, HARMLESS)]).await, Vec::<usize>::new());
    is_review_after_verdict(&world.record("p", 3).unwrap());

    // The verdict itself may be gone by then: what came after it remembers.
    let later = Arc::new(World::default());
    later.decisions.replace(world.record("p", 3).unwrap());
    assert_eq!(deliver(&crate::common::app(&later), &[revision(4, HARMLESS)]).await, Vec::<usize>::new());
    is_review_after_verdict(&later.record("p", 4).unwrap());
}

#[tokio::test]
async fn without_a_verdict_before_it_a_revision_is_approved() {
    let world = Arc::new(World::default());
    let app = app(&world);
    deliver(&app, &[revision(1, HATEFUL), revision(2, UNCERTAIN)]).await;
    // A verdict on a later revision, and on another post, is none before this one.
    deliver(&app, &[revision(9, HATEFUL), post("q", HATEFUL)]).await;
    for (post, number) in [("p", 9), ("q", 1)] {
        world.decisions.replace(by_a_person(world.record(post, number).unwrap()));
    }
    assert_eq!(deliver(&app, &[revision(3, HARMLESS)]).await, Vec::<usize>::new());
    let third = world.record("p", 3).unwrap();
    assert_eq!((third.decision, third.verdict_before), (Decision::Approve, VerdictBefore::No));
}
