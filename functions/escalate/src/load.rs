//! Load: from message bodies to provisional decisions with the content of their posts.

use crate::sweep::Order;
use crate::work::{Asked, Item, State, Work};
use crate::{App, Without};
use domain::policy::SecondOpinion;
use domain::{
    DecidedBy, DecisionRecord, Escalation, MAX_POST_BYTES, Media, Post, PostId, Revision, ScoreRecord, Timestamp,
};
use futures::future::join_all;
use opinion::Question;
use opinion::protocol::{ImageFile, MAX_IMAGE_BYTES, MAX_IMAGES, MAX_IMAGES_BYTES};
use runtime::planted::planted;
use runtime::{Invocation, SqsBatch, SqsMessage, isolate};
use scoring::MAX_QUESTION_TEXT_BYTES;
use service::{Deadlines, Trouble};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;
use store::{Deadline, StoreError};

/// Content that takes longer is done without: the post is decided already, and waits for its last decision.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// From its fourth delivery on a message asks nobody: the post is decided without a second opinion.
const MOST_TRIES: u32 = 4;

/// Reads every message, looks up what is decided, and fetches the content of what is still to be asked about.
pub(crate) async fn load(app: &App, batch: &SqsBatch, invocation: Invocation) -> Work {
    let deadlines = Deadlines::until(invocation.deadline);
    let mut items: Vec<Item> = batch.messages.iter().map(|message| read(message, invocation.now_ms())).collect();
    mark_repeats(&mut items);
    look_up(app, &mut items, deadlines.load).await;
    let by = deadlines.load.min(Deadline::now() + FETCH_TIMEOUT);
    join_all(items.iter_mut().map(|item| fetch(app, item, by))).await;
    Work {
        items,
        deadlines,
        invocation,
        latencies_ms: Vec::new(),
        tasks_sent: 0,
        actions_sent: 0,
        asked_ms: Vec::new(),
    }
}

fn read(message: &SqsMessage, now_ms: i64) -> Item {
    let sent_at = Timestamp::from_millis(message.sent_at_ms.unwrap_or(now_ms));
    let original = message.body.clone().into_bytes();
    let state = match isolate(|| state(&original, message.receive_count)) {
        Ok(state) => state,
        Err(panicked) => {
            let detail = format!("reading the message {panicked}");
            State::Trouble(Trouble::Reject { kind: "panic", detail, bytes: original.as_slice().into() })
        }
    };
    Item { sent_at, original, state }
}

fn state(original: &[u8], receives: u32) -> State {
    match Order::parse(original) {
        Some(Order::Sweep) => return State::Sweep,
        Some(Order::Settle { post_id, revision }) => {
            return State::Read { key: (post_id, revision), escalation: None, without: Some(Without::Late) };
        }
        None => {}
    }
    match Escalation::parse(original) {
        Ok(escalation) => State::Read {
            key: (escalation.post.post_id.clone(), escalation.post.revision),
            escalation: Some(Box::new(escalation)),
            without: (receives >= MOST_TRIES).then_some(Without::Tries),
        },
        Err(error) => {
            State::Trouble(Trouble::Reject { kind: error.kind.as_str(), detail: error.message, bytes: original.into() })
        }
    }
}

/// Law 2 inside a batch: of several messages about the same post and revision the first is answered.
fn mark_repeats(items: &mut [Item]) {
    if planted("no-dedupe-in-batch") {
        return;
    }
    let mut first: HashMap<(PostId, Revision), usize> = HashMap::new();
    for (place, item) in items.iter_mut().enumerate() {
        if let State::Read { key, .. } = &item.state {
            match first.entry(key.clone()) {
                Entry::Occupied(earlier) => item.state = State::Repeats(*earlier.get()),
                Entry::Vacant(slot) => _ = slot.insert(place),
            }
        }
    }
}

/// What is decided about each post. Only what is still provisional is asked about: for everything else what stands there is owed.
async fn look_up(app: &App, items: &mut [Item], by: Deadline) {
    let mut places = Vec::new();
    let mut keys = Vec::new();
    for (place, item) in items.iter().enumerate() {
        if let State::Read { key, .. } = &item.state {
            places.push(place);
            keys.push(key.clone());
        }
    }
    if keys.is_empty() {
        return;
    }
    let found = app.decisions.get(&keys, by).await;
    // INVARIANT (law 1): what has no answer is not known.
    let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("reading decisions", "no answer")));
    for (place, answer) in places.into_iter().zip(found.into_iter().chain(unanswered)) {
        let Some(item) = items.get_mut(place) else { continue };
        let State::Read { escalation, without, .. } = &item.state else { continue };
        item.state = match answer {
            Ok(Some(record)) if is_open(&record) => {
                State::Loaded { asked: Box::new(asked(record, escalation.as_deref(), *without)) }
            }
            Ok(Some(record)) => State::Decided { record: Box::new(record), stored: true, new: false },
            Ok(None) => State::Gone,
            Err(error) => State::Trouble(Trouble::Retry(error)),
        };
    }
}

fn asked(before: DecisionRecord, escalation: Option<&Escalation>, without: Option<Without>) -> Asked {
    let lang = escalation.and_then(|escalation| escalation.post.lang.clone());
    let media = escalation.into_iter().flat_map(|escalation| &escalation.post.media);
    Asked {
        received_at: escalation.map_or(before.received_at, |escalation| escalation.received_at),
        before,
        without,
        question: Question { lang, ..Question::default() },
        unread: false,
        unasked: media.map(|_| Some("not_asked")).collect(),
    }
}

fn is_open(record: &DecisionRecord) -> bool {
    let human = record.decided_by == DecidedBy::Human && !planted("human-is-reconsidered");
    record.provisional && !human
}

/// The content that the policy wants looked at again. What cannot be had is not waited for: the post is decided without it.
async fn fetch(app: &App, item: &mut Item, by: Deadline) {
    let State::Loaded { asked } = &mut item.state else { return };
    if asked.without.is_some() {
        return;
    }
    // The post went into the record's place; it is read again from the message, which is at hand.
    let Ok(Escalation { post, .. }) = Escalation::parse(&item.original) else { return };
    let Some(wanted) = &app.judge.policy.second_opinion else { return };
    if !app.is_on() {
        return;
    }
    let single = post.texts().count() + usize::from(post.text_ref.is_some()) <= 1;
    if single && wants_text(app, wanted, &asked.before) {
        asked.question.text = text(app, &post, asked.before.scores.get(&app.judge.policy.leading_harm), by).await;
        asked.unread = asked.question.text.is_none() && !planted("unread-text-is-fine");
    }
    if wanted.media {
        let looks = post.media.iter().enumerate().map(|(place, media)| image(app, place, media, by));
        let mut bytes = 0;
        for (slot, image) in asked.unasked.iter_mut().zip(join_all(looks).await) {
            *slot = match image {
                Err(why) => Some(why),
                Ok(file) if bytes + file.len() > MAX_IMAGES_BYTES => Some("too_many_bytes"),
                Ok(file) => {
                    bytes += file.len();
                    asked.question.images.push(ImageFile(file));
                    None
                }
            };
        }
    }
}

/// Whether the post's score falls into a band that is looked at again, and it has one text: an opinion on one of several says nothing of
/// the others.
fn wants_text(app: &App, wanted: &SecondOpinion, before: &DecisionRecord) -> bool {
    let policy = &app.judge.policy;
    let band = before.score.and_then(|score| policy.band(&policy.leading_harm, score));
    band.is_some_and(|band| wanted.bands.contains(&band.id))
}

/// The text that the first score is of.
async fn text(app: &App, post: &Post, first: Option<&ScoreRecord>, by: Deadline) -> Option<String> {
    let view = first.map(|score| score.view).unwrap_or_default();
    if let Some((_, text)) = post.texts().find(|(of, _)| *of == view) {
        return Some(text.to_owned());
    }
    let bytes = app.content().at(post.text_ref.as_deref()?, MAX_POST_BYTES, by).await.ok()?;
    String::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_QUESTION_TEXT_BYTES)
}

/// The bytes of an image, or a code that says why not.
async fn image(app: &App, place: usize, media: &Media, by: Deadline) -> Result<Vec<u8>, &'static str> {
    if place >= MAX_IMAGES {
        return Err("too_many_images");
    }
    if media.kind.as_ref().is_some_and(|kind| !kind.to_ascii_lowercase().starts_with("image/")) {
        return Err("not_an_image");
    }
    app.content().at(&media.uri, MAX_IMAGE_BYTES, by).await.map_err(|trouble| match trouble {
        Trouble::Reject { kind: "too_large", .. } => "too_many_bytes",
        Trouble::Reject { kind, .. } => kind,
        Trouble::Retry(_) => "unreadable",
    })
}
