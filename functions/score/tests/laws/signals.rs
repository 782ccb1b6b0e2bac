//! What operators have listed decides, in every text of a post and in disguise; what could not be searched leads to review.

use crate::common::*;
use domain::policy::Decision;
use domain::{DecidedBy, DecisionRecord, Timestamp, Unsearched, View};
use features::signals::Bank;
use scoring::Judge;
use serde_json::{Value, json};
use std::sync::Arc;

const POLICY: &str = include_str!("../../../../shared/domain/policies/examples/signals.yaml");
const BANK: &str = include_str!("../../../../shared/domain/policies/examples/campaign.bank");

fn with_bank(bank: Option<&str>) -> Judge {
    let bank = bank.map(|source| Arc::new(Bank::load(source).unwrap()));
    Judge { banks: [("campaign".to_owned(), bank)].into_iter().collect(), ..judge(Some(POLICY)) }
}

async fn decided(judge: Judge, fields: Value) -> DecisionRecord {
    let world = Arc::new(World::default());
    assert_eq!(deliver(&app_with(&world, judge), &[post_with("p", fields)]).await, Vec::<usize>::new());
    world.decisions.all().remove(0)
}

#[tokio::test]
async fn a_listed_word_is_stopped_wherever_it_stands_and_the_record_says_where() {
    for (fields, view, places) in [
        (json!({ "text": "Good morning, Blorpian." }), View::Text, vec![(14, 22)]),
        (json!({ "text": "Good morning, b l o r p i a n s" }), View::Text, vec![(14, 29)]),
        (json!({ "text": HARMLESS, "title": "Blorpians!" }), View::Title, vec![(0, 9)]),
        (json!({ "text": HARMLESS, "spoiler_text": "blorp\u{200b}ian" }), View::SpoilerText, vec![(0, 9)]),
    ] {
        let record = decided(with_bank(Some(BANK)), fields.clone()).await;
        assert_eq!((record.decision, record.decided_by), (Decision::Hide, DecidedBy::Rule), "{fields}");
        let signal = &record.signals["campaign"];
        assert_eq!((signal.found, signal.partial.len(), signal.version.len()), (1, 0, 12));
        let found: Vec<_> = signal.matches.iter().map(|found| (found.start, found.end)).collect();
        assert_eq!((signal.matches[0].view, found), (view, places), "{fields}");
        assert_eq!(signal.matches[0].label.as_deref(), Some("invented people"));
        // Laws 7 and 8: deciding again on the record gives the same decision, and the record names no word.
        let written = serde_json::to_string(&record).unwrap().to_lowercase();
        assert!(!written.contains("blorp"), "{written}");
        assert_eq!(record.evidence().signals["campaign"].found, 1);
        assert!(record.decision_units() <= 2, "{}", store::item_size(&record));
    }
}

trait Units {
    fn decision_units(&self) -> usize;
}

impl Units for DecisionRecord {
    fn decision_units(&self) -> usize {
        store::write_units(store::item_size(self))
    }
}

#[tokio::test]
async fn a_post_without_a_listed_word_is_approved_and_its_record_stays_one_write_unit() {
    for text in [HARMLESS, "See you at the No More Blorp Cafe"] {
        let record = decided(with_bank(Some(BANK)), json!({ "text": text })).await;
        assert_eq!(record.decision, Decision::Approve);
        assert_eq!(serde_json::to_value(&record.signals).unwrap(), json!({ "campaign": {} }));
        assert_eq!(record.decision_units(), 1);
    }
}

#[tokio::test]
async fn a_bank_that_cannot_be_had_is_unavailable_and_one_that_is_over_finds_nothing() {
    let record = decided(with_bank(None), json!({ "text": HARMLESS })).await;
    assert_eq!((record.decision, record.decided_by), (Decision::Review, DecidedBy::Fallback));
    assert_eq!(record.signals["campaign"].partial, [Unsearched::Bank]);
    // A policy that reads a bank which nobody published.
    let record = decided(judge(Some(POLICY)), json!({ "text": HARMLESS })).await;
    assert_eq!(record.decision, Decision::Review);
    assert!(record.reasons.iter().any(|reason| reason.rule == "unavailable:campaign"));
    let over = BANK.replace("until: 2030-12-31", "until: 2020-01-31");
    let record = decided(with_bank(Some(&over)), json!({ "text": "Blorpians" })).await;
    assert_eq!((record.decision, record.signals["campaign"].found), (Decision::Approve, 0));
    let end: Timestamp = "2020-01-31T23:59:59.999Z".parse().unwrap();
    let bank = Bank::load(&over).unwrap();
    assert!(!bank.is_over(end) && bank.is_over(Timestamp::from_millis(end.millis() + 1)));
}

#[tokio::test]
async fn what_could_not_be_read_may_hold_a_listed_word() {
    let record = decided(with_bank(Some(BANK)), json!({ "text": HARMLESS, "text_ref": "s3://content/absent" })).await;
    assert_eq!((record.decision, &record.signals["campaign"].partial[..]), (Decision::Review, &[Unsearched::Text][..]));
    // What is found counts, whatever else there may be.
    let fields = json!({ "text": "Blorpians", "text_ref": "s3://content/absent" });
    assert_eq!(decided(with_bank(Some(BANK)), fields).await.decision, Decision::Hide);
    // Of a bank of images nothing is known before somebody looks.
    let images = format!("{BANK}\n[images]\n{},flag\n", "0f".repeat(32));
    let media = json!([{ "uri": "s3://content/a.png", "type": "image/png" }]);
    for (bank, partial) in [(images.as_str(), &[Unsearched::Images][..]), (BANK, &[])] {
        let record = decided(with_bank(Some(bank)), json!({ "text": HARMLESS, "media": media })).await;
        assert_eq!((record.decision, &record.signals["campaign"].partial[..]), (Decision::Review, partial));
    }
}
