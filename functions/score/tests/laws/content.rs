//! Law 11: what is public is what was decided. An id that comes again with other content is an edit or a conflict, never a repeat.

use crate::common::*;
use domain::policy::Decision;
use domain::{DecidedBy, DecisionRecord};
use serde_json::{Value, json};
use std::sync::Arc;

fn decisions(world: &World) -> Vec<(u64, u32, Decision)> {
    world.decisions.all().iter().map(|record| (record.revision.get(), record.attempt, record.decision)).collect()
}

fn rules(record: &DecisionRecord) -> Vec<&str> {
    record.reasons.iter().map(|reason| reason.rule.as_str()).collect()
}

fn given(text: &str, revision: u64) -> String {
    post_with("p", json!({ "text": text, "revision": revision }))
}

async fn delivered(app: &score::App, body: &str) {
    assert_eq!(deliver(app, &[body.to_owned()]).await, Vec::<usize>::new());
}

#[tokio::test]
async fn an_edit_without_a_revision_is_decided_as_the_next_one() {
    let world = Arc::new(World::default());
    let app = app(&world);
    delivered(&app, &post("p", HARMLESS)).await;
    delivered(&app, &post("p", HATEFUL)).await;
    assert_eq!(decisions(&world), [(1, 1, Decision::Approve), (2, 1, Decision::Hide)]);
    assert_eq!(rules(&world.record("p", 2).unwrap()), ["hate-high"]);
    // Both find their own record again, in any order, and nothing new is sent.
    let sent = unique(&world.sent().1);
    for body in [post("p", HATEFUL), post("p", HARMLESS), post("p", HATEFUL)] {
        delivered(&app, &body).await;
    }
    assert_eq!(decisions(&world).len(), 2);
    assert_eq!(unique(&world.sent().1), sent);
}

#[tokio::test]
async fn an_edit_in_the_same_batch_is_one_too() {
    let world = Arc::new(World::default());
    let bodies = [post("p", HARMLESS), post("p", HATEFUL), post("p", HARMLESS), post("p", UNCERTAIN)];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    let all = decisions(&world);
    assert_eq!(all, [(1, 1, Decision::Approve), (2, 1, Decision::Hide), (3, 1, Decision::Review)]);
}

/// Everything that people see is content: the surface, media and their order, every text.
#[tokio::test]
async fn whatever_people_see_is_content() {
    let media = |uri: &str| json!({ "text": HARMLESS, "media": [{ "uri": uri }] });
    let tagged = |tag: &str| json!({ "text": HARMLESS, "media": [{ "uri": "s3://b/k", "etag": tag }] });
    for (first, second) in [
        (json!({ "text": HARMLESS }), media("s3://b/k")),
        (media("s3://b/k"), media("s3://b/l")),
        (tagged("a"), tagged("b")),
        (json!({ "text": HARMLESS, "surface": "post" }), json!({ "text": HARMLESS, "surface": "comment" })),
        (json!({ "text": HARMLESS }), json!({ "text": HARMLESS, "title": HATEFUL })),
        (json!({ "text": HARMLESS, "title": "a" }), json!({ "text": HARMLESS, "display_name": "a" })),
    ] {
        let world = Arc::new(World::default());
        let app = app(&world);
        delivered(&app, &post_with("p", first.clone())).await;
        delivered(&app, &post_with("p", second.clone())).await;
        assert_eq!(decisions(&world).len(), 2, "{first} {second}");
        // What nobody sees is none.
        let mut again: Value = second;
        (again["lang"], again["author_id"], again["mood"]) = (json!("en"), json!("u-9"), json!("cheerful"));
        delivered(&app, &post_with("p", again)).await;
        assert_eq!(decisions(&world).len(), 2);
    }
}

#[tokio::test]
async fn other_content_under_a_given_revision_is_a_conflict() {
    let world = Arc::new(World::default());
    let app = app(&world);
    delivered(&app, &given(HARMLESS, 7)).await;
    delivered(&app, &given("Good morning, everybody!", 7)).await;
    assert_eq!(decisions(&world), [(7, 2, Decision::Review)]);
    let record = world.record("p", 7).unwrap();
    assert_eq!((record.decided_by, rules(&record)), (DecidedBy::Rule, vec!["content-conflict"]));
    let task = format!("{}-task", record.decision_id);
    assert_eq!(world.sent().0, [task.as_str()]);
    // Either content, delivered again, changes nothing and sends the same.
    for body in [given(HARMLESS, 7), given("Good morning, everybody!", 7)] {
        delivered(&app, &body).await;
    }
    assert_eq!((decisions(&world), unique(&world.sent().0)), (vec![(7, 2, Decision::Review)], [task].into()));
    // A third content is one more conflict; hate is hidden, and stays so.
    delivered(&app, &given(HATEFUL, 7)).await;
    delivered(&app, &given("Good night!", 7)).await;
    assert_eq!(decisions(&world), [(7, 4, Decision::Hide)]);
    assert_eq!(world.record("p", 7).unwrap().content.others.len(), 3);
}

#[tokio::test]
async fn no_conflict_softens_what_is_hidden() {
    let world = Arc::new(World::default());
    let app = app(&world);
    delivered(&app, &given(HATEFUL, 1)).await;
    delivered(&app, &given(HARMLESS, 1)).await;
    assert_eq!(decisions(&world), [(1, 2, Decision::Hide)]);
}

/// Harmless, hidden, harmless again: nobody can tell which of the two is public now.
#[tokio::test]
async fn a_content_that_comes_back_is_not_milder_than_the_one_between() {
    for (first, between, expected) in [
        (HARMLESS, HATEFUL, Decision::Hide),
        (HATEFUL, HARMLESS, Decision::Hide),
        (HARMLESS, UNCERTAIN, Decision::Review),
    ] {
        let world = Arc::new(World::default());
        let app = app(&world);
        delivered(&app, &post("p", first)).await;
        delivered(&app, &post("p", between)).await;
        // Sent later than the one between.
        let later = deliver_sent_at(&app, &[post("p", first)], SENT_MS + 60_000).await;
        assert_eq!(later, Vec::<usize>::new());
        let all = decisions(&world);
        assert_eq!((all.len(), all[2].2), (3, expected), "{first} {between}");
        // The same message again finds its own decision.
        deliver_sent_at(&app, &[post("p", first)], SENT_MS + 60_000).await;
        assert_eq!(decisions(&world).len(), 3);
    }
}

#[tokio::test]
async fn a_persons_verdict_is_not_replaced_by_other_content() {
    let world = Arc::new(World::default());
    let app = app(&world);
    delivered(&app, &given(UNCERTAIN, 1)).await;
    let mut verdict = world.record("p", 1).unwrap();
    (verdict.decided_by, verdict.decision, verdict.review, verdict.attempt) =
        (DecidedBy::Human, Decision::Approve, None, 2);
    world.decisions.replace(verdict.clone());
    delivered(&app, &given(HARMLESS, 1)).await;
    assert_eq!(world.record("p", 1).unwrap(), verdict);
    let record = world.record("p", 2).unwrap();
    assert_eq!(
        (record.decision, rules(&record)),
        (Decision::Review, vec!["content-conflict", "revised-after-verdict"])
    );
    // Again, and with hate: the approval of a person covers what that person saw.
    delivered(&app, &given(HARMLESS, 1)).await;
    assert_eq!(decisions(&world).len(), 2);
    delivered(&app, &given(HATEFUL, 1)).await;
    assert_eq!(world.record("p", 3).unwrap().decision, Decision::Hide);
}

/// Records of versions that kept no digest: an id that is known counts as a repeat, as it did then.
#[tokio::test]
async fn a_record_without_a_digest_stands() {
    let world = Arc::new(World::default());
    let app = app(&world);
    delivered(&app, &post("p", HARMLESS)).await;
    let mut old = world.record("p", 1).unwrap();
    old.content = domain::ContentRecord::default();
    world.decisions.replace(old);
    delivered(&app, &post("p", HATEFUL)).await;
    assert_eq!(decisions(&world), [(1, 1, Decision::Approve)]);
}

#[tokio::test]
async fn an_edit_waits_for_a_table_that_cannot_be_read() {
    let world = Arc::new(World::default());
    let app = app(&world);
    delivered(&app, &post("p", HARMLESS)).await;
    world.breaks(Fault::Get);
    assert_eq!(deliver(&app, &[post("p", HATEFUL)]).await, [0]);
    world.mends();
    delivered(&app, &post("p", HATEFUL)).await;
    assert_eq!(decisions(&world).len(), 2);
}

#[tokio::test]
async fn a_record_says_where_its_message_came_from() {
    let world = Arc::new(World::default());
    delivered(&app(&world), &post("p", HARMLESS)).await;
    let source = world.record("p", 1).unwrap().source;
    assert_eq!((source.queue.as_str(), source.sender.as_str()), ("posts", "AIDAEXAMPLE"));
}
