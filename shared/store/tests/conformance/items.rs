//! A record through a DynamoDB item and back, to the last bit.

use crate::decisions::record;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::policy::Decision;
use domain::*;
use proptest::prelude::*;
use std::collections::HashMap;

type Item = HashMap<String, AttributeValue>;

/// As the store writes and reads items.
fn through_an_item(record: &DecisionRecord) -> DecisionRecord {
    let item: Item = serde_dynamo::to_item(record).unwrap();
    serde_dynamo::from_item(item).unwrap()
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.0..=1.0f64,
        (0u32..=1_000_000).prop_map(|millionths| f64::from(millionths) / 1e6),
        Just(0.0),
        Just(1.0),
        Just(f64::MIN_POSITIVE),
        Just(0.1 + 0.2),
        Just(1.0 - f64::EPSILON / 2.0),
        -1e9..1e9f64,
    ]
}

/// Whole numbers as floats are left out: DynamoDB has one kind of number, see `a_whole_float_comes_back_as_an_int`.
fn value() -> impl Strategy<Value = FeatureValue> {
    prop_oneof![
        any::<bool>().prop_map(FeatureValue::Bool),
        any::<i64>().prop_map(FeatureValue::Int),
        number().prop_filter("whole", |number| number.fract() != 0.0).prop_map(FeatureValue::Float),
    ]
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-z_]{1,12}", 0..4)
}

prop_compose! {
    fn any_record()(
        (raw, calibrated, score) in (proptest::option::of(number()), proptest::option::of(number()), proptest::option::of(number())),
        state in prop_oneof![Just(ScoreState::Ok), Just(ScoreState::Unavailable), Just(ScoreState::Skipped)],
        decision in prop_oneof![Just(Decision::Approve), Just(Decision::Review), Just(Decision::Hide)],
        decided_by in prop_oneof![Just(DecidedBy::Model), Just(DecidedBy::Rule), Just(DecidedBy::Fallback), Just(DecidedBy::Human)],
        verdict_before in prop_oneof![Just(VerdictBefore::No), Just(VerdictBefore::Yes), Just(VerdictBefore::Unavailable)],
        media in prop_oneof![Just(Availability::None), Just(Availability::Available), Just(Availability::Unavailable)],
        values in proptest::collection::btree_map("[a-z_]{1,12}", value(), 0..8),
        (missing, stale, unavailable, degraded) in (names(), names(), names(), names()),
        spans in proptest::option::of(proptest::collection::vec((0usize..1_000_000, 0usize..1_000_000, number()), 0..5)),
        (author, reviewed, revision, attempt) in (any::<bool>(), any::<bool>(), 1u64..9_007_199_254_740_991, 1u32..),
        (lang, surface, media_count, is_reply) in ("[a-z]{0,8}", "\\PC{0,9}", any::<u32>(), any::<bool>()),
        (cost, millis, id) in (number(), 0i64..4_000_000_000_000, "[\\p{L}\\p{N}\\p{P} ]{1,40}"),
    ) -> DecisionRecord {
        let base = record(&id, revision);
        DecisionRecord {
            author_id: base.author_id.filter(|_| author),
            review: base.review.filter(|_| reviewed),
            scores: [("hate".to_owned(), ScoreRecord { raw, calibrated, model: "m@1".to_owned(), state, view: View::Text })].into(),
            score,
            decision,
            decided_by,
            verdict_before,
            media,
            features: FeatureRecord { values, missing, stale, unavailable, ..base.features },
            explanation: spans.map(|spans| Explanation {
                method: "linear".to_owned(),
                spans: spans.into_iter().map(|(start, end, weight)| Span { start, end, weight }).collect(),
                regions: Vec::new(),
            }),
            post: PostFacts { lang, surface, media_count, is_reply },
            degraded,
            attempt,
            cost_usd_micro: cost,
            decided_at: Timestamp::from_millis(millis),
            ..base
        }
    }
}

proptest! {
    #[test]
    fn a_record_survives_an_item(record in any_record()) {
        let read = through_an_item(&record);
        // `==` on floats forgives a sign of zero; their text does not.
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), serde_json::to_string(&record).unwrap());
        prop_assert_eq!(read.score.map(f64::to_bits), record.score.map(f64::to_bits));
        for (read, kept) in read.scores.values().zip(record.scores.values()) {
            prop_assert_eq!(read.raw.map(f64::to_bits), kept.raw.map(f64::to_bits));
            prop_assert_eq!(read.calibrated.map(f64::to_bits), kept.calibrated.map(f64::to_bits));
        }
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(read.evidence(), record.evidence());
        prop_assert_eq!(read.owed(), record.owed());
    }
}

/// DynamoDB has one kind of number. Conditions read a whole number as the same number where they expect a float.
#[test]
fn a_whole_float_comes_back_as_an_int() {
    let mut kept = record("p", 1);
    kept.features.values = [("ratio".to_owned(), FeatureValue::Float(3.0))].into();
    assert_eq!(through_an_item(&kept).features.values["ratio"], FeatureValue::Int(3));
}

/// An item with attributes that this version does not know, such as the time to live, is read all the same.
#[test]
fn attributes_of_others_are_ignored() {
    let mut item: Item = serde_dynamo::to_item(record("p", 1)).unwrap();
    item.insert("expires_at".to_owned(), AttributeValue::N("1800000000".to_owned()));
    assert_eq!(serde_dynamo::from_item::<_, DecisionRecord>(item).unwrap(), record("p", 1));
}
