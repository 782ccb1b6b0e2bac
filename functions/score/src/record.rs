//! Record: the decision item is the idempotency record. A delivery that comes second reads what is there (law 2), and finds out whether
//! it is about the same content (law 11).

use crate::judge;
use crate::work::{Item, State, Subject, Trouble, Work};
use crate::{App, cost};
use domain::{DecisionRecord, Post, PostId, Revision, Settlement, Timestamp, Tombstone, is_repeat, settle};
use futures::future::join_all;
use runtime::isolate;
use runtime::planted::planted;
use std::collections::BTreeSet;
use store::{Deadline, History, Inserted, StoreError, Superseded, write_units};

/// Edits of one post that race each other for the next revision; more of them are delivered again.
const MAX_ROUNDS: usize = 8;

/// Stores every decision unless there is one already, which then takes its place here.
pub(crate) async fn record(app: &App, work: &mut Work) {
    let share = cost::Share::of(app, work);
    for _ in 0..MAX_ROUNDS {
        let turn = take_turn(work, &share);
        if turn.is_empty() {
            return;
        }
        let (new, again): (Vec<_>, Vec<_>) = turn.into_iter().partition(|(_, _, supersedes)| !supersedes);
        let (new, again) = (split(new), split(again));
        let by = work.deadlines.record;
        let (inserted, superseded) = tokio::join!(insert(app, &new.1, by), supersede(app, &again.1, by));
        let mut taken = Vec::new();
        for (place, answer) in new.0.into_iter().chain(again.0).zip(inserted.into_iter().chain(superseded)) {
            match answer {
                Ok(true) => stored(work, place),
                Ok(false) => taken.push(place),
                Err(error) => fails(work, place, error),
            }
        }
        settle_all(app, work, taken).await;
    }
    for item in &mut work.items {
        if matches!(item.state, State::Decided { .. }) {
            let raced = StoreError::transient("storing decisions", "other edits came first");
            item.state = State::Trouble(Trouble::Retry(raced));
        }
    }
}

/// The decisions to be stored now: of each (post, revision) the first. What shares a place with it is settled after it.
fn take_turn(work: &mut Work, share: &cost::Share) -> Vec<(usize, DecisionRecord, bool)> {
    let mut keys = BTreeSet::new();
    let mut turn = Vec::new();
    for (place, item) in work.items.iter_mut().enumerate() {
        if let State::Decided { record, supersedes, .. } = &mut item.state
            && (keys.insert((record.post_id.clone(), record.revision)) || planted("no-dedupe-in-batch"))
        {
            let bytes = service::fit(record);
            record.cost_usd_micro = share.of_record(record, write_units(bytes));
            turn.push((place, (**record).clone(), *supersedes));
        }
    }
    turn
}

fn split(turn: Vec<(usize, DecisionRecord, bool)>) -> (Vec<usize>, Vec<DecisionRecord>) {
    turn.into_iter().map(|(place, record, _)| (place, record)).unzip()
}

/// Whether each was inserted; `false` where there is a decision already.
async fn insert(app: &App, records: &[DecisionRecord], by: Deadline) -> Vec<Result<bool, StoreError>> {
    let answers = if records.is_empty() { Vec::new() } else { app.decisions.insert(records, by).await };
    let done = |answer| matches!(answer, Inserted::New);
    complete(answers, records.len()).into_iter().map(|answer| answer.map(done)).collect()
}

/// Whether each took the place of the decision before it; `false` where something else is there by now.
async fn supersede(app: &App, records: &[DecisionRecord], by: Deadline) -> Vec<Result<bool, StoreError>> {
    let answers = if records.is_empty() { Vec::new() } else { app.decisions.supersede(records, by).await };
    let done = |answer| matches!(answer, Superseded::Done);
    complete(answers, records.len()).into_iter().map(|answer| answer.map(done)).collect()
}

/// INVARIANT (law 1): what has no answer is not stored.
fn complete<T>(answers: Vec<Result<T, StoreError>>, count: usize) -> Vec<Result<T, StoreError>> {
    let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("storing decisions", "no answer")));
    answers.into_iter().chain(unanswered).take(count).collect()
}

fn stored(work: &mut Work, place: usize) {
    let Some(item) = work.items.get_mut(place) else { return };
    if let State::Decided { subject, record, supersedes } = std::mem::replace(&mut item.state, State::PutBack) {
        work.conflicts += usize::from(supersedes || record.content.conflict.is_some());
        item.state = State::Stored { post: Box::new(subject.post), record, new: true };
    }
}

fn fails(work: &mut Work, place: usize, error: StoreError) {
    if let Some(item) = work.items.get_mut(place) {
        item.state = State::Trouble(Trouble::Retry(error));
    }
}

/// Finds out what the decisions that could not be stored are beside what is there.
async fn settle_all(app: &App, work: &mut Work, places: Vec<usize>) {
    let by = work.deadlines.record;
    let now = Timestamp::from_millis(work.invocation.now_ms());
    // A repeat, which most of them are, is settled by what has its place: one read for all.
    let keys: Vec<_> = places.iter().filter_map(|place| key(work, *place)).collect();
    let there = if keys.is_empty() { Vec::new() } else { app.decisions.get(&keys, by).await };
    let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("reading decisions", "no answer")));
    let there: Vec<_> = there.into_iter().chain(unanswered).take(keys.len()).collect();
    let found = join_all(places.iter().zip(there).map(async |(place, there)| match (there, decided(work, *place)) {
        (Ok(Some(there)), Some((subject, own))) if is_repeat(own, subject.post.revision_given, &there) => {
            Ok(Found::Repeat(Box::new(there)))
        }
        (Ok(_), Some((_, own))) => app.decisions.of_post(&own.post_id, by).await.map(Found::Records),
        (Err(error), _) => Err(error),
        (_, None) => Ok(Found::Records(History::default())),
    }))
    .await;
    let Work { items, lookups, .. } = work;
    for (place, found) in places.into_iter().zip(found) {
        let Some(item) = items.get_mut(place) else { continue };
        let State::Decided { mut subject, record: own, .. } = std::mem::replace(&mut item.state, State::PutBack) else {
            continue;
        };
        let History { records, tombstones } = match found {
            Ok(Found::Repeat(_)) if planted("own-decision-sent") => {
                item.state = stands(subject, own);
                continue;
            }
            Ok(Found::Repeat(record)) => {
                item.state = stands(subject, record);
                continue;
            }
            Ok(Found::Records(history)) => history,
            Err(error) => {
                item.state = State::Trouble(Trouble::Retry(error));
                continue;
            }
        };
        // A message from before an erasure decides nothing, also where the post has come again since.
        let author = app.author(&subject.post);
        if tombstones.iter().any(|(_, tombstone)| tombstone.covers(item.received_at, author)) {
            (item.state, item.reject) = (State::Erased, None);
            continue;
        }
        item.state = match settlement(&own, &subject.post, &records, &tombstones) {
            Settlement::Stands(_) if planted("own-decision-sent") => stands(subject, own),
            Settlement::Stands(record) => stands(subject, record),
            Settlement::Conflicts(before) => {
                (subject.post.revision, subject.conflict) = (before.revision, Some(before.decision));
                again(
                    item,
                    subject,
                    |item, subject| {
                        let mut record = judge::record(app, lookups, item, subject, now);
                        record.attempt = before.attempt.saturating_add(1);
                        record.content.others.clone_from(&before.content.others);
                        record.content.others.extend(before.content.digest.clone());
                        record
                    },
                    true,
                )
            }
            Settlement::Next { revision, conflict, verdict_before } => {
                (subject.post.revision, subject.verdict_before, subject.conflict) =
                    (revision, verdict_before, conflict);
                again(item, subject, |item, subject| judge::record(app, lookups, item, subject, now), false)
            }
            // It was there a moment ago: expired, or erased. The next delivery decides anew.
            Settlement::Gone => {
                State::Trouble(Trouble::Retry(StoreError::transient("reading decisions", "gone again")))
            }
        };
    }
}

fn settlement(
    own: &DecisionRecord,
    post: &Post,
    records: &[DecisionRecord],
    tombstones: &[(Revision, Tombstone)],
) -> Settlement {
    if planted("other-content-is-a-repeat")
        && let Some(there) = records.iter().find(|record| record.revision == own.revision)
    {
        return Settlement::Stands(Box::new(there.clone()));
    }
    let last_erased = tombstones.iter().map(|(revision, _)| *revision).max();
    settle(own, post.revision_given, records, last_erased)
}

/// What was found out about a decision whose place is taken.
enum Found {
    /// Its place has the decision on the same content.
    Repeat(Box<DecisionRecord>),
    /// Everything that is known of its post.
    Records(History),
}

fn key(work: &Work, place: usize) -> Option<(PostId, Revision)> {
    decided(work, place).map(|(_, record)| (record.post_id.clone(), record.revision))
}

fn decided(work: &Work, place: usize) -> Option<(&Subject, &DecisionRecord)> {
    match &work.items.get(place)?.state {
        State::Decided { subject, record, .. } => Some((subject, record)),
        _ => None,
    }
}

fn stands(subject: Box<Subject>, record: Box<DecisionRecord>) -> State {
    State::Stored { post: Box::new(subject.post), record, new: false }
}

/// Decides once more, for another place; a panic here is the post's own.
fn again(
    item: &Item,
    subject: Box<Subject>,
    record: impl FnOnce(&Item, &Subject) -> DecisionRecord,
    supersedes: bool,
) -> State {
    match isolate(|| record(item, &subject)) {
        Ok(record) => State::Decided { subject, record: Box::new(record), supersedes },
        Err(panicked) => State::Trouble(Trouble::Reject {
            kind: "panic",
            detail: format!("judging the post {panicked}; the place is in the log"),
            bytes: item.original.clone(),
        }),
    }
}
