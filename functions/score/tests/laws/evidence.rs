//! Law 4: required evidence that is unavailable leads to review, never to approval; missing is not unavailable.

use crate::common::*;
use domain::policy::Decision;
use domain::{DecidedBy, DecisionRecord, ScoreState, VerdictBefore};
use scoring::Judge;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Deadline, FeatureStore};

const USER: [&str; 6] =
    ["account_age_days", "followers", "prior_violations", "reports_received", "reports_sent", "verified"];
const POST: [&str; 4] = ["likes", "replies", "reports", "shares"];

async fn decided(fault: Option<Fault>, fields: Value) -> DecisionRecord {
    let world = Arc::new(World::default());
    world.features.put(&[author("u-known", 0)], Deadline::now()).await.unwrap();
    if let Some(fault) = fault {
        world.breaks(fault);
    }
    assert_eq!(deliver(&app(&world), &[post_with("p", fields)]).await, Vec::<usize>::new());
    world.decisions.all().remove(0)
}

fn rules(record: &DecisionRecord) -> Vec<&str> {
    record.reasons.iter().map(|reason| reason.rule.as_str()).collect()
}

fn sorted(names: &[&[&str]]) -> Vec<String> {
    let mut names: Vec<_> = names.concat().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_known_author_of_a_harmless_post_is_approved() {
    let record = decided(None, json!({ "text": HARMLESS, "author_id": "u-known" })).await;
    assert_eq!((record.decision, record.decided_by), (Decision::Approve, DecidedBy::Model));
    assert!(USER.iter().all(|name| record.features.values.contains_key(*name)));
    assert_eq!((record.features.missing, record.degraded), (sorted(&[&POST]), Vec::new()));
}

#[tokio::test]
async fn an_unknown_author_is_missing_which_is_normal() {
    let record = decided(None, json!({ "text": HARMLESS, "author_id": "u-nobody" })).await;
    assert_eq!((record.decision, record.decided_by), (Decision::Approve, DecidedBy::Model));
    assert_eq!(record.features.missing, sorted(&[&USER, &POST]));
    assert_eq!((record.features.unavailable, record.degraded), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn features_that_cannot_be_read_are_unavailable_and_nothing_is_approved_on_them() {
    for fault in [Fault::Features, Fault::FeaturesShort] {
        for author in ["u-known", "u-nobody"] {
            let record = decided(Some(fault.clone()), json!({ "text": HARMLESS, "author_id": author })).await;
            assert_eq!((record.decision, record.decided_by), (Decision::Review, DecidedBy::Fallback), "{fault:?}");
            assert_eq!(rules(&record), ["unavailable:returning-violator"]);
            assert_eq!(record.features.unavailable, sorted(&[&USER, &POST]));
            assert_eq!((&record.features.missing, record.features.values.len()), (&Vec::new(), 1));
            assert_eq!(record.degraded, ["features.post", "features.user"]);
        }
    }
}

/// An author the platform does not name is not looked for, so nothing about them can be unavailable.
#[tokio::test]
async fn a_post_without_an_author_needs_no_author() {
    let record = decided(Some(Fault::Features), json!({ "text": HARMLESS })).await;
    assert_eq!(record.decision, Decision::Approve);
    assert_eq!((record.features.missing, record.features.unavailable), (sorted(&[&USER]), sorted(&[&POST])));
}

#[tokio::test]
async fn hate_is_hidden_though_features_are_unavailable() {
    let record = decided(Some(Fault::Features), json!({ "text": HATEFUL, "author_id": "u-known" })).await;
    assert_eq!((record.decision, record.decided_by), (Decision::Hide, DecidedBy::Model));
}

#[tokio::test]
async fn verdicts_that_cannot_be_looked_up_lead_to_review() {
    let record = decided(Some(Fault::Verdicts), json!({ "text": HARMLESS, "revision": 2 })).await;
    assert_eq!((record.decision, record.decided_by), (Decision::Review, DecidedBy::Fallback));
    assert_eq!((rules(&record), record.verdict_before), (vec!["unavailable:history"], VerdictBefore::Unavailable));
    assert_eq!(record.degraded, ["history"]);
    // A first revision has nothing before it that could be unavailable.
    let record = decided(Some(Fault::Verdicts), json!({ "text": HARMLESS })).await;
    assert_eq!((record.decision, record.verdict_before), (Decision::Approve, VerdictBefore::No));
}

#[tokio::test]
async fn a_language_that_the_model_does_not_know_leads_to_review_never_to_hiding() {
    for text in [HARMLESS, HATEFUL] {
        let record = decided(None, json!({ "text": text, "lang": "fr", "author_id": "u-known" })).await;
        assert_eq!((record.decision, record.decided_by), (Decision::Review, DecidedBy::Fallback));
        assert_eq!(rules(&record), ["unavailable:score.hate"]);
        let score = &record.scores["hate"];
        assert_eq!((score.raw, score.calibrated, score.state), (None, None, ScoreState::Unavailable));
        assert_eq!((record.score, record.explanation), (None, None));
        assert_eq!(record.degraded, ["score.hate"]);
    }
}

#[tokio::test]
async fn media_that_nobody_looked_at_lead_to_review() {
    let media = json!([{ "uri": "s3://content/a.png", "type": "image/png" }]);
    let alone = decided(None, json!({ "media": media })).await;
    assert_eq!((alone.decision, alone.decided_by), (Decision::Review, DecidedBy::Fallback));
    assert_eq!((rules(&alone), alone.scores["hate"].state), (vec!["unavailable:media"], ScoreState::Skipped));
    let with_text = decided(None, json!({ "text": HARMLESS, "media": media })).await;
    assert_eq!((with_text.decision, rules(&with_text)), (Decision::Review, vec!["unavailable:media"]));
    let with_hate = decided(None, json!({ "text": HATEFUL, "media": media })).await;
    assert_eq!(with_hate.decision, Decision::Hide);
}

#[tokio::test]
async fn what_the_registry_could_not_get_stands_on_every_record() {
    let world = Arc::new(World::default());
    let mut judge = judge(None);
    judge.degraded = vec!["registry".to_owned()];
    assert_eq!(deliver(&app_with(&world, judge), &[post("p", HARMLESS)]).await, Vec::<usize>::new());
    assert_eq!(world.record("p", 1).unwrap().degraded, ["registry"]);
}

/// Law 14: nobody could say which policy is wanted, so nothing is decided by this one but review.
#[tokio::test]
async fn a_policy_that_nobody_asked_for_neither_approves_nor_hides() {
    let world = Arc::new(World::default());
    let judge = Judge { degraded: vec!["registry".to_owned()], policy_assumed: true, ..judge(None) };
    let app = app_with(&world, judge);
    assert_eq!(deliver(&app, &[post("calm", HARMLESS), post("hate", HATEFUL)]).await, Vec::<usize>::new());
    for id in ["calm", "hate"] {
        let record = world.record(id, 1).unwrap();
        assert_eq!((record.decision, record.policy.assumed), (Decision::Review, true), "{id}");
        assert!(rules(&record).contains(&"unavailable:policy"), "{:?}", rules(&record));
        assert_eq!(record.degraded, ["policy", "registry"]);
    }
}

#[tokio::test]
async fn an_empty_text_is_decided_like_any_other() {
    let record = decided(None, json!({ "text": "" })).await;
    assert_eq!((record.decided_by, record.scores["hate"].state), (DecidedBy::Model, ScoreState::Ok));
}
