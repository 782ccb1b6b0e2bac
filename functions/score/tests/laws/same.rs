//! Law 7: a post's score depends on the post alone, and a record decides again to the same.

use crate::common::*;
use domain::{DecisionRecord, Post, Timestamp, VerdictBefore, decide};
use features::views::Lookup;
use scoring::{Explain, Stage, Subject};
use serde_json::json;
use std::sync::Arc;

/// Ten posts of every kind, the first of which is looked at.
fn ten() -> Vec<String> {
    let texts = [
        HATEFUL,
        HARMLESS,
        UNCERTAIN,
        "",
        "You people are ruining this city and everybody knows it.",
        "a",
        "Refugees are filthy vermin and subhuman, deport them all.",
        "ünïcödé 🏳️‍🌈 مرحبا",
        "women women women",
    ];
    let mut posts: Vec<_> = texts.iter().enumerate().map(|(n, text)| post(&format!("p-{n}"), text)).collect();
    posts.push(post("p-9", &"long text about muslims and cats, ".repeat(400)));
    posts
}

type Judged = (Option<u64>, Vec<(u64, u64)>, String);

/// What has to be the same, floats as their bits.
fn judged(record: &DecisionRecord) -> Judged {
    let bits = |score: Option<f64>| score.map(f64::to_bits);
    let scores = record.scores.values().filter_map(|score| Some((bits(score.raw)?, bits(score.calibrated)?))).collect();
    let rest = json!([record.decision, record.decided_by, record.reasons, record.explanation, record.degraded]);
    (bits(record.score), scores, rest.to_string())
}

async fn judged_in(order: &[usize]) -> Vec<(usize, Judged)> {
    let world = Arc::new(World::default());
    let posts = ten();
    let bodies: Vec<_> = order.iter().map(|place| posts[*place].clone()).collect();
    assert_eq!(deliver(&app_with(&world, shipped()), &bodies).await, Vec::<usize>::new());
    order.iter().map(|place| (*place, judged(&world.record(&format!("p-{place}"), 1).unwrap()))).collect()
}

#[tokio::test]
async fn a_post_is_judged_the_same_alone_in_a_batch_in_any_order_and_by_the_command() {
    let reference = judged_in(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    for order in [[9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [3, 9, 0, 6, 1, 8, 2, 7, 5, 4]] {
        let mut shuffled = judged_in(&order).await;
        shuffled.sort_by_key(|(place, _)| *place);
        assert_eq!(shuffled, reference);
    }
    for alone in &reference {
        assert_eq!(judged_in(&[alone.0]).await, std::slice::from_ref(alone));
    }
    // As `moderato score` does: no store, the author unknown.
    let judge = shipped();
    let now = Timestamp::from_millis(1_800_000_000_000);
    let mut stages = Vec::new();
    for (place, body) in ten().iter().enumerate() {
        let post = Post::parse(body.as_bytes()).unwrap();
        stages.push(judge.model.score(post.text.as_deref().unwrap()).unwrap().stage);
        let texts = scoring::texts(&post, None);
        let subject = Subject {
            post: &post,
            texts: &texts,
            conflict: None,
            verdict_before: VerdictBefore::No,
            received_at: now,
            decided_at: now,
            explain: Explain::AboveApprove,
        };
        let mut record = judge.judge(&subject, |_| &Lookup::Missing);
        let (_, stored) = &reference[place];
        // What is stored may leave out the lightest spans; the judgement is untouched by that.
        let kept = serde_json::from_str::<serde_json::Value>(&stored.2).unwrap()[3]["spans"].as_array().map(Vec::len);
        if let (Some(explanation), Some(kept)) = (&mut record.explanation, kept) {
            explanation.spans.truncate(kept);
        }
        assert_eq!(&judged(&record), stored, "post {place}");
    }
    let asked = stages.iter().filter(|stage| **stage == Stage::Transformer).count();
    assert!((1..=9).contains(&asked), "both stages of the cascade are to be met: {asked} of ten reach the transformer");
}

#[tokio::test]
async fn the_text_scores_the_same_from_an_object_and_a_reference() {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "text.txt", HATEFUL).await;
    world.keeps(CONTENT, "post.json", post("object", HATEFUL)).await;
    let notification =
        json!({ "Records": [{ "s3": { "bucket": { "name": CONTENT }, "object": { "key": "post.json" } } }] });
    let bodies = [
        post("inline", HATEFUL),
        post_with("reference", json!({ "text_ref": "s3://content/text.txt", "lang": "en" })),
        notification.to_string(),
    ];
    assert_eq!(deliver(&app(&world), &bodies).await, Vec::<usize>::new());
    let all: Vec<_> = ["inline", "reference", "object"].map(|id| judged(&world.record(id, 1).unwrap())).into();
    assert_eq!((&all[0], &all[0]), (&all[1], &all[2]));
}

#[tokio::test]
async fn a_stored_record_decides_again_to_the_same() {
    use store::{Deadline, FeatureStore};
    let world = Arc::new(World::default());
    world.features.put(&[author("u-repeat", 5)], Deadline::now()).await.unwrap();
    let app = app(&world);
    let mut bodies = ten();
    bodies.push(post_with("offender", json!({ "text": UNCERTAIN, "author_id": "u-repeat" })));
    bodies.push(post_with("french", json!({ "text": "Le marché ouvre à huit heures.", "lang": "fr" })));
    bodies.push(post_with("edited", json!({ "text": HARMLESS, "revision": 7, "context": { "reply_to": "p" } })));
    bodies.push(post_with("picture", json!({ "media": [{ "uri": "s3://content/a.png" }], "surface": "comment" })));
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    let records = world.decisions.all();
    assert_eq!(records.len(), bodies.len());
    for record in records {
        let read: DecisionRecord = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(read, record);
        let again = decide(&app.judge.policy, &read.evidence());
        assert_eq!(
            (again.decision, again.decided_by, &again.reasons),
            (record.decision, record.decided_by, &record.reasons)
        );
        assert_eq!(again.score.map(f64::to_bits), record.score.map(f64::to_bits));
        assert_eq!(again.lane, record.review.map(|review| review.lane));
        assert_eq!(again.degraded, record.degraded);
    }
    let offender = world.record("offender", 1).unwrap();
    assert!(offender.reasons.iter().any(|reason| reason.rule == "repeat-offender"));
}
