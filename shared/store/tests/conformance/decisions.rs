//! Decisions: inserted once, read consistently, answers in the order of the questions.

use crate::{fresh, post_id, soon};
use domain::{AuthorId, DecidedBy, DecisionRecord, Revision, Timestamp, Tombstone, VerdictBefore};
use serde_json::json;
use std::time::Duration;
use store::{Deadline, DecisionStore, Erased, Grave, Inserted, MemoryDecisions, Search, StoreError, Superseded};

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
    what_was_erased_stays_so(store).await;
    what_was_sent_later_is_not_erased(store).await;
    finds_what_an_author_wrote(store).await;
    remembers_erased_authors(store).await;
    supersedes_what_is_provisional_and_nothing_else(store).await;
    finds_what_is_provisional_for_too_long(store).await;
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
    assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap().records, (1..=5).map(of).collect::<Vec<_>>());
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
    assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap().records, all);
    assert_eq!(superseded(store.supersede(&[], soon()).await), []);
}

/// Indexes lag behind: what is asked for is asked again for a while.
async fn finds_what_is_provisional_for_too_long(store: &dyn DecisionStore) {
    let name = fresh("overdue");
    let at = |minute: u32| format!("2026-11-23T10:{minute:02}:00.000Z").parse::<domain::Timestamp>().unwrap();
    let provisional = |number: u32| {
        let record = record(&format!("{name}-{number}"), 1);
        DecisionRecord { provisional: true, received_at: at(number), ..record }
    };
    let human = DecisionRecord { decided_by: DecidedBy::Human, ..provisional(3) };
    let last = DecisionRecord { provisional: false, ..provisional(4) };
    insert(store, &(0..3).map(provisional).chain([human, last]).chain((20..50).map(provisional)).collect::<Vec<_>>())
        .await;
    let overdue = async |before: u32, most: usize| -> Vec<DecisionRecord> {
        let found = store.overdue(at(before), most, soon()).await.unwrap();
        // On a stack others may be overdue too.
        found.into_iter().filter(|record| record.post_id.as_str().starts_with(&name)).collect()
    };
    let ids = async |before: u32, most: usize| -> std::collections::BTreeSet<String> {
        overdue(before, most).await.into_iter().map(|record| record.post_id.to_string()).collect()
    };
    let named = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("{name}-{number}")).collect();
    let until = Deadline::now() + Duration::from_secs(10);
    while ids(50, 1_000).await.len() < 33 && Deadline::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ids(20, 1_000).await, named(0..3), "neither a person's nor what is decided");
    assert_eq!(ids(2, 1_000).await, named(0..2));
    assert!(overdue(50, 16).await.len() <= 16);
    let again = DecisionRecord { attempt: 2, provisional: false, ..provisional(1) };
    assert!(store.supersede(&[again], soon()).await.iter().all(Result::is_ok));
    let left = ids(20, 1_000).await;
    assert!(!left.contains(&format!("{name}-1")), "what was decided again waits no longer: {left:?}");
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
    let found = store.of_post(&post_id(&post), soon()).await.unwrap().records;
    assert_eq!(found.iter().map(|r| r.revision.get()).collect::<Vec<_>>(), [1, 2, 9, 10, 9_007_199_254_740_991]);
    assert_eq!(store.of_post(&post_id("conformance-nobody"), soon()).await.unwrap().records, Vec::new());
}

async fn knows_verdicts_before(store: &dyn DecisionStore) {
    let before = async |post: &str, revision: u64| {
        store.before(&post_id(post), Revision::try_from(revision).unwrap(), soon()).await.unwrap().verdict
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
        assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap().records, [record(&post, 1)], "{id}");
    }
}

fn revision(number: u64) -> Revision {
    Revision::try_from(number).unwrap()
}

/// When records of these tests were received, and seconds after.
fn after(seconds: i64) -> Timestamp {
    Timestamp::from_millis(record("any", 1).received_at.millis() + seconds * 1_000)
}

async fn erase(store: &dyn DecisionStore, graves: &[Grave], tombstone: Tombstone) -> Vec<Erased> {
    let answers = store.erase(graves, &tombstone, soon()).await;
    assert_eq!(answers.len(), graves.len());
    answers.into_iter().map(Result::unwrap).collect()
}

/// A tombstone stands in the place of records and of nothing; nothing is inserted over it, superseded or read there.
async fn what_was_erased_stays_so(store: &dyn DecisionStore) {
    let post = fresh("erased");
    let grave = |number| Grave::Post(post_id(&post), revision(number));
    let provisional = DecisionRecord { provisional: true, ..record(&post, 2) };
    insert(store, &[record(&post, 1), provisional, record(&post, 4)]).await;
    let tombstone = Tombstone { erased_at: after(1), author: Some([7; 16]) };
    assert_eq!(erase(store, &[grave(1), grave(2), grave(3)], tombstone).await, [Erased::Done; 3]);

    let keys: Vec<_> = (1..=4).map(|number| (post_id(&post), revision(number))).collect();
    let found: Vec<_> = store.get(&keys, soon()).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [None, None, None, Some(record(&post, 4))]);
    assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap().records, [record(&post, 4)]);
    let again: Vec<_> = (1..=5).map(|number| record(&post, number)).collect();
    use Inserted::{Exists, New};
    assert_eq!(insert(store, &again).await, [Exists, Exists, Exists, Exists, New]);
    let second = DecisionRecord { attempt: 2, ..record(&post, 2) };
    assert_eq!(store.supersede(&[second], soon()).await, [Ok(Superseded::Stands)]);

    let graves: Vec<_> = (1..=4).map(grave).collect();
    let found: Vec<_> = store.tombstones(&graves, soon()).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [Some(tombstone), Some(tombstone), Some(tombstone), None]);
    let erased = store.of_post(&post_id(&post), soon()).await.unwrap().tombstones;
    assert_eq!(erased, [1, 2, 3].map(|number| (revision(number), tombstone)));
    let before = store.before(&post_id(&post), revision(3), soon()).await.unwrap();
    assert_eq!((before.verdict, before.tombstones), (false, vec![(revision(1), tombstone), (revision(2), tombstone)]));

    // Erased again, by whoever: the later one stands.
    let later = Tombstone { erased_at: after(60), author: None };
    assert_eq!(erase(store, &[grave(1)], later).await, [Erased::Done]);
    assert_eq!(store.tombstones(&[grave(1)], soon()).await, [Ok(Some(later))]);
    assert_eq!(erase(store, &[], later).await, []);
    // A verdict that was erased is none.
    insert(store, &[DecisionRecord { decided_by: DecidedBy::Human, ..record(&post, 6) }]).await;
    assert!(store.before(&post_id(&post), revision(9), soon()).await.unwrap().verdict);
    erase(store, &[grave(6)], later).await;
    assert!(!store.before(&post_id(&post), revision(9), soon()).await.unwrap().verdict);
}

async fn what_was_sent_later_is_not_erased(store: &dyn DecisionStore) {
    let post = fresh("later");
    insert(store, &[record(&post, 1), record(&post, 2)]).await;
    let grave = |number| Grave::Post(post_id(&post), revision(number));
    for seconds in [-1, 0] {
        let tombstone = Tombstone { erased_at: after(seconds), author: None };
        assert_eq!(erase(store, &[grave(1)], tombstone).await, [Erased::Later], "{seconds}");
    }
    // What was sent before is still known for erased, in a place below the first revision.
    let tombstone = Tombstone { erased_at: after(0), author: None };
    assert_eq!(erase(store, &[Grave::Below(post_id(&post))], tombstone).await, [Erased::Done]);
    let history = store.of_post(&post_id(&post), soon()).await.unwrap();
    assert_eq!((history.records.len(), history.tombstones), (2, vec![(Revision::FIRST, tombstone)]));
    for number in [1, 2, 9] {
        let before = store.before(&post_id(&post), revision(number), soon()).await.unwrap();
        assert_eq!(before.tombstones, [(Revision::FIRST, tombstone)]);
    }
    assert_eq!(insert(store, &[record(&post, 3)]).await, [Inserted::New]);
    assert_eq!(found_by(store, vec![Search::of_post(post_id(&post))]).await.len(), 3);
    erase(store, &[grave(3)], Tombstone { erased_at: after(1), author: None }).await;
    let tombstone = Tombstone { erased_at: Timestamp::from_millis(after(0).millis() + 1), author: None };
    assert_eq!(erase(store, &[grave(1)], tombstone).await, [Erased::Done]);
    assert_eq!(store.of_post(&post_id(&post), soon()).await.unwrap().records, [record(&post, 2)]);
}

/// What all these searches find together.
pub async fn found_by(store: &dyn DecisionStore, searches: Vec<Search>) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for search in searches {
        let mut next = Some(search);
        while let Some(search) = next {
            let page = store.find(search, soon()).await.unwrap();
            assert_eq!(page.unreadable, 0);
            assert!(page.found.iter().all(|one| one.received_at == after(0)));
            found.extend(page.found.into_iter().map(|one| (one.post.to_string(), one.revision.get())));
            next = page.next;
        }
    }
    found.sort();
    found
}

async fn finds_what_an_author_wrote(store: &dyn DecisionStore) {
    let name = fresh("author");
    let author = |id: &str| AuthorId::try_from(id.to_owned()).unwrap();
    let by = |post: String, revision, id: Option<&str>| DecisionRecord {
        author_id: id.map(author),
        ..record(&post, revision)
    };
    let other = format!("{name}-other");
    let mut records: Vec<_> = (0..20).map(|n| by(format!("{name}-{n}"), 1, Some(&name))).collect();
    records.push(by(format!("{name}-0"), 2, Some(&name)));
    records.extend((0..10).map(|n| by(format!("{name}-o{n}"), 1, Some(&other))));
    records.extend((0..10).map(|n| by(format!("{name}-n{n}"), 1, None)));
    insert(store, &records).await;
    let mut expected: Vec<_> = (0..20).map(|n| (format!("{name}-{n}"), 1)).chain([(format!("{name}-0"), 2)]).collect();
    expected.sort();
    for parts in [1, 7] {
        assert_eq!(found_by(store, Search::by_scan(&author(&name), parts)).await, expected, "{parts}");
    }
    let of_post = async |post: &str| found_by(store, vec![Search::of_post(post_id(post))]).await;
    assert_eq!(of_post(&format!("{name}-0")).await, [1, 2].map(|number| (format!("{name}-0"), number)));
    let tombstone = Tombstone { erased_at: after(1), author: None };
    erase(store, &[Grave::Post(post_id(&format!("{name}-0")), revision(2))], tombstone).await;
    assert_eq!(of_post(&format!("{name}-0")).await.len(), 1);
    let of_author = async |id: &str| found_by(store, Search::by_scan(&author(id), 2)).await.len();
    assert_eq!((of_author(&name).await, of_author(&other).await), (20, 10));
    assert_eq!(of_author(&format!("{name}-nobody")).await, 0);
}

async fn remembers_erased_authors(store: &dyn DecisionStore) {
    let digest = |seed: u8| {
        let mut digest = [seed; 16];
        digest[..8].copy_from_slice(&domain::sha256_hex(fresh("digest").as_bytes()).as_bytes()[..8]);
        digest
    };
    let (one, other) = (digest(1), digest(2));
    let tombstone = Tombstone { erased_at: after(1), author: Some(one) };
    assert_eq!(erase(store, &[Grave::Author(one)], tombstone).await, [Erased::Done]);
    let found = store.tombstones(&[Grave::Author(other), Grave::Author(one)], soon()).await;
    assert_eq!(found, [Ok(None), Ok(Some(tombstone))]);
    // Posts of one author ask about the same.
    let found = store.tombstones(&[Grave::Author(one), Grave::Author(one)], soon()).await;
    assert_eq!(found, [Ok(Some(tombstone)), Ok(Some(tombstone))]);
}

#[tokio::test]
async fn decisions_in_memory() {
    conforms(&MemoryDecisions::default()).await;
}
