//! Law 11 as a table: what an id that comes again is, by its content, its revision and when it was sent.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod common;

use common::schema;
use domain::policy::Decision;
use domain::*;
use proptest::prelude::*;
use serde_json::json;

fn digest(content: u8) -> String {
    format!("{content:032x}")
}

/// A decision on content number `content`, sent at `sent` seconds.
fn decision(revision: u64, content: u8, decision: Decision, sent: i64) -> DecisionRecord {
    let policy = Policy::fallback(&schema()).unwrap();
    let evidence = Evidence::of(Revision::try_from(revision).unwrap(), PostFacts::default());
    let judgement = Judgement { decision, ..decide(&policy, &evidence) };
    let received_at = Timestamp::from_millis(1_795_428_000_000 + sent * 1_000);
    let setting = Setting {
        model: ModelRef { name: "m".to_owned(), version: "1".to_owned(), sha256: sha256_hex(b"m") },
        feature_set: "core".to_owned(),
        feature_sha256: sha256_hex(b"f"),
        received_at,
        decided_at: received_at,
    };
    let post = PostId::try_from("p".to_owned()).unwrap();
    let mut record = DecisionRecord::new((post, None), &evidence, &policy, judgement, setting);
    record.content.digest = (content > 0).then(|| digest(content));
    record
}

/// In short: what a settlement says.
fn short(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Stands(record) => format!("stands {}", record.revision),
        Settlement::Conflicts(record) => format!("conflicts {}", record.revision),
        Settlement::Next { revision, conflict, verdict_before } => {
            let floor = conflict.map_or(String::new(), |decision| format!(" not below {decision}"));
            format!(
                "next {revision}{floor}{}",
                if *verdict_before == VerdictBefore::Yes { " after a verdict" } else { "" }
            )
        }
        Settlement::Gone => "gone".to_owned(),
    }
}

#[test]
fn what_an_id_that_comes_again_is() {
    use Decision::{Approve, Hide, Review};
    let a = |decided| decision(1, 1, decided, 0);
    let b = |decided| decision(2, 2, decided, 10);
    let person = |record: DecisionRecord| DecisionRecord { decided_by: DecidedBy::Human, ..record };
    let met = |record: DecisionRecord, other: u8| {
        let content = ContentRecord { others: vec![digest(other)], ..record.content.clone() };
        DecisionRecord { content, ..record }
    };
    let moved = |record: DecisionRecord| {
        let content = ContentRecord { conflict: Some(Approve), ..record.content.clone() };
        DecisionRecord { content, ..record }
    };
    for (own, given, records, expected) in [
        // The same content finds its own decision, whenever it comes.
        (a(Approve), false, vec![a(Hide)], "stands 1"),
        (a(Approve), true, vec![a(Hide)], "stands 1"),
        (a(Approve), false, vec![a(Hide), b(Approve)], "stands 1"),
        (decision(1, 2, Hide, 99), false, vec![a(Approve), b(Hide)], "stands 2"),
        // Other content without a revision is the next one.
        (decision(1, 2, Hide, 10), false, vec![a(Approve)], "next 2"),
        (decision(1, 3, Hide, 20), false, vec![a(Approve), b(Hide)], "next 3"),
        (decision(1, 2, Hide, 10), false, vec![person(a(Approve))], "next 2 after a verdict"),
        // A content that comes back after another was decided otherwise may be public again.
        (decision(1, 1, Approve, 20), false, vec![a(Approve), b(Hide)], "next 3 not below hide"),
        (decision(1, 1, Hide, 20), false, vec![a(Hide), b(Approve)], "next 3 not below approve"),
        (decision(1, 1, Approve, 20), false, vec![a(Approve), b(Approve)], "stands 1"),
        (decision(1, 1, Hide, 10), false, vec![a(Hide), b(Approve)], "stands 1"),
        // Other content under a revision that was given: a conflict, unless a person decided.
        (decision(1, 2, Approve, 10), true, vec![a(Approve)], "conflicts 1"),
        (decision(1, 2, Approve, 10), true, vec![met(a(Review), 2)], "stands 1"),
        (decision(1, 2, Approve, 10), true, vec![a(Approve), b(Review)], "conflicts 1"),
        (decision(1, 2, Approve, 10), true, vec![person(a(Hide))], "next 2 not below hide after a verdict"),
        (decision(1, 2, Approve, 20), true, vec![person(a(Hide)), moved(b(Hide))], "stands 2"),
        (
            decision(1, 3, Approve, 20),
            true,
            vec![person(a(Hide)), moved(b(Hide))],
            "next 3 not below hide after a verdict",
        ),
        // Records of versions that kept no digest, and functions without a key.
        (a(Approve), false, vec![decision(1, 0, Hide, 0)], "stands 1"),
        (a(Approve), true, vec![decision(1, 0, Hide, 0)], "stands 1"),
        (decision(1, 0, Approve, 9), false, vec![a(Hide)], "stands 1"),
        // Gone in between.
        (a(Approve), false, vec![], "gone"),
        (a(Approve), true, vec![b(Hide)], "gone"),
        // There is no revision after the last one.
        (decision(1, 2, Approve, 9), false, vec![decision((1 << 53) - 1, 1, Review, 0)], "conflicts 9007199254740991"),
    ] {
        assert_eq!(short(&settle(&own, given, &records, None)), expected);
    }
}

/// What was sent after an erasure finds its place behind what was erased, and finds it again.
#[test]
fn what_comes_after_an_erasure_has_a_place_of_its_own() {
    let rev = |number: u64| Revision::try_from(number).ok();
    let a = |revision| decision(revision, 1, Decision::Hide, 9);
    for (own, given, records, erased, expected) in [
        (a(1), false, vec![], 1, "next 2"),
        (a(1), true, vec![], 1, "next 2"),
        (a(2), true, vec![], 5, "next 6"),
        (a(1), false, vec![a(2)], 1, "stands 2"),
        (a(1), true, vec![a(2)], 1, "stands 2"),
        (decision(1, 2, Decision::Hide, 9), false, vec![a(2)], 1, "next 3"),
        (decision(1, 2, Decision::Hide, 9), true, vec![a(2)], 1, "next 3"),
        (decision(2, 2, Decision::Hide, 9), false, vec![a(1)], 2, "next 3"),
        (decision(1, 2, Decision::Hide, 9), false, vec![a(1)], 4, "next 5"),
        (a(1), false, vec![], (1 << 53) - 1, "gone"),
    ] {
        assert_eq!(short(&settle(&own, given, &records, rev(erased))), expected, "{own:?} {erased}");
    }
}

#[test]
fn what_was_read_elsewhere_tells_contents_apart_where_both_know_it() {
    let with = |objects: Option<&str>| {
        let record = decision(1, 1, Decision::Approve, 0);
        let content = ContentRecord { objects: objects.map(str::to_owned), ..record.content.clone() };
        DecisionRecord { content, ..record }
    };
    let of = |own, there| short(&settle(&with(own), true, &[with(there)], None));
    assert_eq!(of(Some("00000001"), Some("00000001")), "stands 1");
    assert_eq!(of(Some("00000001"), Some("00000002")), "conflicts 1");
    assert_eq!(of(None, Some("00000002")), "stands 1");
    assert_eq!(of(Some("00000001"), None), "stands 1");
}

proptest! {
    /// Whatever edits and repeats come, in any order: every content ends under a decision that knows it, and nothing settles twice.
    #[test]
    fn every_content_finds_its_decision(contents in proptest::collection::vec((1u8..5, any::<bool>()), 1..20)) {
        let mut records: Vec<DecisionRecord> = Vec::new();
        let mut place = |content: u8, given: bool, sent: i64| -> usize {
            let mut own = decision(1, content, if content.is_multiple_of(2) { Decision::Hide } else { Decision::Approve }, sent);
            let mut writes = 0;
            loop {
                if !records.iter().any(|record| record.revision == own.revision) {
                    records.push(own);
                    records.sort_by_key(|record| record.revision);
                    return writes + 1;
                }
                match settle(&own, given, &records, None) {
                    Settlement::Stands(record) => {
                        assert!(record.content.digest == own.content.digest || record.content.others.contains(&digest(content)));
                        return writes;
                    }
                    Settlement::Conflicts(before) => {
                        let there = records.iter_mut().find(|record| record.revision == before.revision).unwrap();
                        there.content.others.extend(there.content.digest.replace(digest(content)));
                        return writes + 1;
                    }
                    Settlement::Next { revision, .. } => own.revision = revision,
                    Settlement::Gone => panic!("nothing was removed"),
                }
                writes += 1;
                assert!(writes < 30);
            }
        };
        for (sent, (content, given)) in (0i64..).zip(&contents) {
            place(*content, *given, sent);
            // The same message again.
            prop_assert_eq!(place(*content, *given, sent), 0);
        }
    }
}

#[test]
fn digests_are_of_everything_that_people_see_and_nothing_else() {
    let key = DigestKey::new(&[7; 32]).unwrap();
    let of = |fields: serde_json::Value| {
        let mut post = json!({ "post_id": "p" });
        post.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        digested(&key, &Post::parse(post.to_string().as_bytes()).unwrap(), None).digest.unwrap()
    };
    let base = of(json!({ "text": "a" }));
    for same in
        [json!({ "text": "a", "lang": "en" }), json!({ "text": "a", "author_id": "u", "revision": 3, "mood": 1 })]
    {
        assert_eq!(of(same.clone()), base, "{same}");
    }
    let others = [
        json!({ "text": "b" }),
        json!({ "title": "a" }),
        json!({ "text": "a", "title": "b" }),
        json!({ "text": "a", "surface": "post" }),
        json!({ "text": "a", "text_ref": "s3://b/k" }),
        json!({ "text": "a", "media": [{ "uri": "u" }] }),
        json!({ "text": "a", "media": [{ "uri": "u", "etag": "e" }] }),
        json!({ "text": "a", "media": [{ "uri": "u", "alt": "e" }] }),
        json!({ "text": "a", "media": [{ "uri": "u" }, { "uri": "u" }] }),
    ];
    let all: std::collections::BTreeSet<_> = others.iter().cloned().map(of).chain([base]).collect();
    assert_eq!(all.len(), others.len() + 1);
}
