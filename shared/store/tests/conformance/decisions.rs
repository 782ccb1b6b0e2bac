//! Decisions: inserted once, read consistently, answers in the order of the questions.

use crate::{fresh, post_id, soon};
use domain::{DecidedBy, DecisionRecord, Revision, VerdictBefore};
use serde_json::json;
use store::{DecisionStore, Inserted, MemoryDecisions, StoreError, Superseded};

/// A complete record.
pub fn record(post: &str, revision: u64) -> DecisionRecord {
    let post_id = post_id(post);
    let revision = Revision::try_from(revision).unwrap();
    let digest = "57e89cadf64e9c83e52fc8897e91a751060064265b16dd022f03148048a6663c";
    serde_json::from_value(json!({
        "decision_id": domain::decision_id(&post_id, revision), "post_id": post, "revision": revision,
        "author_id": "u-1", "decision": "hide", "score": 0.994397, "decided_by": "model",
        "reasons": [{ "rule": "hate-high", "harm": "hate" }],
        "review": { "lane": "urgent", "priority": 1, "due_at": "2026-11-23T11:00:00.000Z" },
        "scores": { "hate": { "raw": 0.998363, "calibrated": 0.994397, "model": "m@1", "state": "ok" } },
        "policy": { "id": "default", "version": "1", "sha256": digest },
        "model": { "name": "m", "version": "1", "sha256": digest },
        "features": {
            "set": "core@1", "sha256": digest, "values": { "followers": 12, "verified": true, "hour_of_day": 10 },
            "missing": ["likes"], "stale": ["followers"], "unavailable": ["shares"],
        },
        "post": { "lang": "en", "is_reply": true },
        "explanation": { "method": "linear", "spans": [{ "start": 4, "end": 9, "weight": 0.41 }] },
        "provisional": false, "attempt": 1, "degraded": ["features.post"],
        "received_at": "2026-11-23T10:00:00.000Z", "decided_at": "2026-11-23T10:00:00.250Z",
        "cost_usd_micro": 1.234, "schema": "decision/1",
    }))
    .unwrap()
}

/// All checks, on any store.
pub async fn conforms(store: &dyn DecisionStore) {
    inserts_once_and_answers_in_order(store).await;
    takes_many_at_once(store).await;
    reads_what_is_there_and_says_what_is_not(store).await;
    gives_revisions_in_order(store).await;
    knows_verdicts_before(store).await;
    takes_nothing(store).await;
    takes_any_id(store).await;
    supersedes_what_is_provisional_and_nothing_else(store).await;
}

async fn insert(store: &dyn DecisionStore, records: &[DecisionRecord]) -> Vec<Inserted> {
    let answers = store.insert(records, soon()).await;
    assert_eq!(answers.len(), records.len());
    answers.into_iter().map(Result::unwrap).collect()
}

async fn inserts_once_and_answers_in_order(store: &dyn DecisionStore) {
    use Inserted::{Exists, New};
    let post = fresh("insert");
    let of = |revision| record(&post, revision);
    assert_eq!(insert(store, &[of(2), of(4)]).await, [New, New]);
    let changed = |revision| DecisionRecord { attempt: 9, score: None, ..of(revision) };
    let batch = [of(1), changed(2), of(3), changed(4), of(5)];
    assert_eq!(insert(store, &batch).await, [New, Exists, New, Exists, New]);
    assert_eq!(insert(store, &batch).await, [Exists; 5]);
    // What exists was not touched.
    assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap(), (1..=5).map(of).collect::<Vec<_>>());
}

async fn supersedes_what_is_provisional_and_nothing_else(store: &dyn DecisionStore) {
    use Superseded::{Done, Stands};
    let post = fresh("supersede");
    let provisional = |revision| DecisionRecord { provisional: true, ..record(&post, revision) };
    let final_ = |revision| record(&post, revision);
    let human = |revision| DecisionRecord { decided_by: DecidedBy::Human, ..provisional(revision) };
    insert(store, &[provisional(1), final_(2), human(3), DecisionRecord { attempt: 2, ..provisional(4) }]).await;
    let again = |revision, attempt| DecisionRecord { attempt, score: Some(0.5), ..record(&post, revision) };
    let batch = [again(1, 2), again(2, 2), again(3, 2), again(4, 2), again(5, 2)];
    let superseded = |answers: Vec<Result<Superseded, StoreError>>| -> Vec<Superseded> {
        answers.into_iter().map(Result::unwrap).collect()
    };
    assert_eq!(superseded(store.supersede(&batch, soon()).await), [Done, Stands, Stands, Stands, Stands]);
    // Once: what has taken its place is not provisional, and of another attempt.
    assert_eq!(superseded(store.supersede(&batch[..1], soon()).await), [Stands]);
    assert_eq!(superseded(store.supersede(&[again(1, 3), again(4, 3)], soon()).await), [Stands, Done]);
    let all = [again(1, 2), final_(2), human(3), again(4, 3)];
    assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap(), all);
    assert_eq!(superseded(store.supersede(&[], soon()).await), []);
}

/// More than one call of the service takes, every third of them there already.
async fn takes_many_at_once(store: &dyn DecisionStore) {
    let name = fresh("many");
    let records: Vec<_> = (0..60).map(|n| record(&format!("{name}-{n}"), 1)).collect();
    let some: Vec<_> = records.iter().step_by(3).cloned().collect();
    assert_eq!(insert(store, &some).await, vec![Inserted::New; 20]);
    let expected: Vec<_> = (0..60).map(|n| if n % 3 == 0 { Inserted::Exists } else { Inserted::New }).collect();
    assert_eq!(insert(store, &records).await, expected);

    // 120 keys, every second of them absent.
    let keys: Vec<_> = records
        .iter()
        .flat_map(|record| [1, 2].map(|revision| (record.post_id.clone(), Revision::try_from(revision).unwrap())))
        .collect();
    let found: Vec<_> = store.get(&keys, soon()).await.into_iter().map(Result::unwrap).collect();
    let expected: Vec<_> = records.into_iter().flat_map(|record| [Some(record), None]).collect();
    assert_eq!(found, expected);
}

async fn reads_what_is_there_and_says_what_is_not(store: &dyn DecisionStore) {
    let post = fresh("get");
    insert(store, &[record(&post, 1), record(&post, 3)]).await;
    let key = |post: &str, revision: u64| (post_id(post), Revision::try_from(revision).unwrap());
    let keys = [key(&post, 3), key("conformance-nobody", 1), key(&post, 2), key(&post, 1)];
    let found: Vec<_> = store.get(&keys, soon()).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [Some(record(&post, 3)), None, None, Some(record(&post, 1))]);
}

async fn gives_revisions_in_order(store: &dyn DecisionStore) {
    let post = fresh("of-post");
    // By number, not by text; and no other post's.
    let order = [10, 2, 1, 9_007_199_254_740_991, 9];
    let records: Vec<_> = order.iter().map(|revision| record(&post, *revision)).collect();
    insert(store, &records).await;
    insert(store, &[record(&format!("{post}-more"), 3)]).await;
    let found = store.of_post(&post_id(&post), soon()).await.unwrap();
    assert_eq!(found.iter().map(|r| r.revision.get()).collect::<Vec<_>>(), [1, 2, 9, 10, 9_007_199_254_740_991]);
    assert_eq!(store.of_post(&post_id("conformance-nobody"), soon()).await.unwrap(), Vec::new());
}

async fn knows_verdicts_before(store: &dyn DecisionStore) {
    let before = async |post: &str, revision: u64| {
        store.verdict_before(&post_id(post), Revision::try_from(revision).unwrap(), soon()).await.unwrap()
    };
    let (human, reviewed, machine, unsure) = (fresh("human"), fresh("reviewed"), fresh("machine"), fresh("unsure"));
    let by = |post: &str, revision, decided_by, verdict_before| DecisionRecord {
        decided_by,
        verdict_before,
        ..record(post, revision)
    };
    let records = [
        by(&human, 1, DecidedBy::Model, VerdictBefore::No),
        by(&human, 3, DecidedBy::Human, VerdictBefore::No),
        by(&reviewed, 2, DecidedBy::Rule, VerdictBefore::Yes),
        by(&machine, 1, DecidedBy::Fallback, VerdictBefore::No),
        by(&unsure, 1, DecidedBy::Fallback, VerdictBefore::Unavailable),
    ];
    insert(store, &records).await;
    // Only what is before counts: not the revision itself, not a later one.
    for (revision, expected) in [(1, false), (2, false), (3, false), (4, true), (100, true)] {
        assert_eq!(before(&human, revision).await, expected, "revision {revision}");
    }
    assert_eq!((before(&reviewed, 2).await, before(&reviewed, 3).await), (false, true));
    assert!(!before(&machine, 2).await && !before(&unsure, 2).await && !before("conformance-nobody", 2).await);
}

async fn takes_nothing(store: &dyn DecisionStore) {
    assert_eq!(store.insert(&[], soon()).await, Vec::new());
    assert_eq!(store.get(&[], soon()).await, Vec::new());
}

/// Ids come from outside, and part of them looks like syntax.
async fn takes_any_id(store: &dyn DecisionStore) {
    let odd = ["it's \"quoted\"", "{'a': ?}", "ünïcödé 🏳️‍🌈", "a/b#c", &"x".repeat(200)];
    for id in odd {
        let post = fresh(id);
        assert_eq!(insert(store, &[record(&post, 1)]).await, [Inserted::New], "{id}");
        assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap(), [record(&post, 1)], "{id}");
    }
}

#[tokio::test]
async fn decisions_in_memory() {
    conforms(&MemoryDecisions::default()).await;
}
