//! What a decision costs: bytes of the stored item, and calls to AWS for a batch of ten.

use crate::common::*;
use domain::policy::Decision;
use domain::{DecisionRecord, Span};
use scoring::{Explain, TextModel};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Deadline, FeatureStore, item_size, write_units};

const POST_ID: &str = "6f9619ff-8b86-d011-b42d-00cf4fc96401";
const AUTHOR_ID: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
const LATER: u64 = 12;
/// Three of its words or more are explained.
const SEVERAL: &str = "Immigrants are vermin, filth, scum, rats and parasites.";

/// A post as a platform sends it: UUIDs for ids, all features of its author known, all facts given.
async fn stored(text: &str, revision: u64, post: &str) -> DecisionRecord {
    let world = Arc::new(World::default());
    world.features.put(&[author(AUTHOR_ID, 2)], Deadline::now()).await.unwrap();
    let body = post_with(
        post,
        json!({
            "text": text, "author_id": AUTHOR_ID, "revision": revision, "lang": "en", "surface": "comment",
            "created_at": "2026-11-23T09:59:58Z", "context": { "reply_to": "6f9619ff-8b86-d011-b42d-00cf4fc96400" },
        }),
    );
    assert_eq!(deliver(&app(&world), &[body]).await, Vec::<usize>::new());
    let record = world.record(post, revision).unwrap();
    assert_eq!(record.features.values.len(), 7);
    record
}

/// The spans that the function finds.
fn explained(model: &TextModel, text: &str) -> Vec<Span> {
    model.explain(text, &model.score(text).unwrap(), Explain::AboveApprove.runs()).unwrap().spans
}

fn spans(record: &DecisionRecord) -> usize {
    record.explanation.as_ref().map_or(0, |explanation| explanation.spans.len())
}

#[tokio::test]
async fn a_typical_record_keeps_its_explanation_and_its_price() {
    let model = judge(None).model;
    for (text, revision, decision, units) in [
        (HARMLESS, 1, Decision::Approve, 1),
        (HARMLESS, LATER, Decision::Approve, 1),
        (UNCERTAIN, 1, Decision::Review, 1),
        (HATEFUL, 1, Decision::Hide, 1),
        (HATEFUL, LATER, Decision::Hide, 1),
    ] {
        let record = stored(text, revision, POST_ID).await;
        assert_eq!(record.decision, decision);
        let explained = if decision == Decision::Approve { 0 } else { explained(&model, text).len() };
        let size = item_size(&record);
        println!("item.bytes={size} decision={} spans={}/{explained}", decision.as_str(), spans(&record));
        assert_eq!(write_units(size), units, "{} of {size} bytes", decision.as_str());
        assert_eq!(spans(&record), explained, "no span of a typical record is left out");
        assert!(record.cost_usd_micro > 0.0);
    }
}

/// The lightest spans go where that saves a write unit, and none goes where it does not.
#[tokio::test]
async fn spans_are_left_out_only_where_that_saves_a_unit() {
    let full = explained(&judge(None).model, SEVERAL);
    assert!(full.len() >= 3, "{full:?}");
    let mut seen = std::collections::BTreeSet::new();
    // No author and no facts leave room; a longer id takes it.
    for bytes in (1..=256).step_by(5) {
        let world = Arc::new(World::default());
        let id = "p".repeat(bytes);
        assert_eq!(deliver(&app(&world), &[post_with(&id, json!({ "text": SEVERAL }))]).await, Vec::<usize>::new());
        let record = world.record(&id, 1).unwrap();
        let kept = record.explanation.clone().unwrap().spans;
        assert_eq!(kept, full[..kept.len()], "the heaviest first");
        let with = |count: usize| {
            let mut other = record.clone();
            other.explanation.as_mut().unwrap().spans = full[..count].to_vec();
            other.cost_usd_micro = 99.999;
            item_size(&other)
        };
        let best = (1..=full.len()).rev().find(|count| with(*count) <= 1024).unwrap_or(full.len());
        assert_eq!(kept.len(), best, "an id of {bytes} bytes");
        seen.insert((kept.len(), write_units(item_size(&record))));
    }
    assert!(seen.contains(&(1, 1)) && seen.contains(&(full.len(), 2)) && seen.len() >= 3, "{seen:?}");
}

#[test]
fn a_write_unit_is_a_begun_kilobyte() {
    for (bytes, units) in [(0, 1), (1, 1), (1023, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3), (400 * 1024, 400)] {
        assert_eq!(write_units(bytes), units, "{bytes}");
    }
}

fn counted(world: &World) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (what, _) in world.calls() {
        *counts.entry(what).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_batch_of_ten_makes_one_call_to_each_store() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let of = |text: &'static str| -> Vec<String> {
        (0..10)
            .map(|n| post_with(&format!("{}-{n}", text.len()), json!({ "text": text, "author_id": format!("u-{n}") })))
            .collect()
    };
    assert_eq!(deliver(&app, &of(HARMLESS)).await, Vec::<usize>::new());
    assert_eq!(counted(&world), [("features", 1), ("insert", 1)].into());
    assert_eq!(deliver(&app, &of(HATEFUL)).await, Vec::<usize>::new());
    assert_eq!(counted(&world), [("features", 1), ("insert", 1), ("tasks", 1), ("actions", 1)].into());
    // Delivered again: one read of what stands there more.
    assert_eq!(deliver(&app, &of(HATEFUL)).await, Vec::<usize>::new());
    assert_eq!(counted(&world), [("features", 1), ("insert", 1), ("get", 1), ("tasks", 1), ("actions", 1)].into());
}
