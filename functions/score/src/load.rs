//! Load: from message bodies to posts with everything that has to be looked up about them.

use crate::App;
use crate::intake::{self, Intake, MAX_OBJECT_BYTES, Reject};
use crate::work::{Item, Kept, State, Subject, Trouble, Work};
use domain::{
    About, CONTENT_NOTE, ContentRecord, MAX_POST_BYTES, Post, Revision, Source, Timestamp, UNDECIDABLE_NOTE,
    VerdictBefore, View, digested, keyed_hex,
};
use features::views::{Lookup, RowKey};
use futures::StreamExt;
use futures::future::join_all;
use runtime::planted::planted;
use runtime::{Invocation, SqsBatch, SqsMessage, isolate};
use scoring::{Text, texts};
use service::Deadlines;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{Deadline, Grave, StoreError};

/// Content that takes longer is left for the next delivery: its neighbours have seconds too.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Features and verdicts that take longer are unavailable: the post has seconds, not the store.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(1_500);
/// From this delivery on, a text that cannot be read just now is decided without: the post is public all the while.
const LAST_WAIT: u32 = 4;
/// Objects that are fetched at the same time.
const FETCHES_AT_ONCE: usize = 8;
/// Bytes of objects that one batch holds; what goes beyond is left for the next delivery.
const FETCHED_BYTES: usize = 16 * 1024 * 1024;
/// Posts that one batch holds; messages that go beyond are left for the next delivery.
const MAX_ITEMS: usize = 200;
/// Longer names of queues and senders are cut: they take room on the record.
const MAX_SOURCE_BYTES: usize = 40;

/// Reads every message, fetches what they refer to, and looks up features and earlier verdicts.
pub(crate) async fn load(app: &App, batch: &SqsBatch, invocation: Invocation) -> Work {
    let deadlines = Deadlines::until(invocation.deadline);
    let mut unfetched = Vec::new();
    for (index, message) in batch.messages.iter().enumerate() {
        unfetched.extend(read(index, message, invocation.now_ms()));
    }
    let by = deadlines.load.min(Deadline::now() + FETCH_TIMEOUT);
    let fetched = AtomicUsize::new(0);
    let fetches = unfetched.into_iter().map(|item| fetch(app, item, by, &fetched));
    let items: Vec<Vec<Item>> = futures::stream::iter(fetches).buffered(FETCHES_AT_ONCE).collect().await;
    let mut items = within_bounds(items.into_iter().flatten().collect());
    mark_repeats(&mut items);
    let keys: BTreeSet<RowKey> =
        subjects(&items).flat_map(|subject| app.judge.definitions.keys(&subject.post)).collect();
    let looked_up_by = deadlines.load.min(Deadline::now() + LOOKUP_TIMEOUT);
    let (lookups, ()) = tokio::join!(app.features.fetch(&keys, looked_up_by), verdicts(app, &mut items, looked_up_by));
    erased(app, &mut items, &lookups, deadlines.load).await;
    Work {
        items,
        lookups,
        deadlines,
        invocation,
        latencies_ms: Vec::new(),
        tasks_sent: 0,
        actions_sent: 0,
        escalations_sent: 0,
        kept: Vec::new(),
        conflicts: 0,
    }
}

fn subjects(items: &[Item]) -> impl Iterator<Item = &Subject> {
    items.iter().filter_map(|item| match &item.state {
        State::Loaded(subject) => Some(subject.as_ref()),
        _ => None,
    })
}

/// What a message still is before anything was fetched.
struct Unfetched {
    message: usize,
    received_at: Timestamp,
    source: Source,
    original: Arc<[u8]>,
    /// Whether a text that cannot be read just now may be waited for.
    may_wait: bool,
    intake: Result<Intake, Reject>,
}

fn read(index: usize, message: &SqsMessage, now_ms: i64) -> Vec<Unfetched> {
    let arrived_at = Timestamp::from_millis(message.sent_at_ms.unwrap_or(now_ms));
    // What follows the id of a role is the name of a session, which changes.
    let sender = message.sender.split(':').next().unwrap_or_default();
    let source = Source { queue: short(&message.queue), sender: short(sender) };
    let (received_at, body) = match intake::was_put_back(message.body.as_bytes()) {
        Some((sent_at, list)) => (sent_at.min(arrived_at), list),
        None => (arrived_at, message.body.as_bytes()),
    };
    let original: Arc<[u8]> = body.into();
    let intakes = match isolate(|| intake::read(&original)) {
        Ok(Ok(intakes)) => intakes.into_iter().map(Ok).collect(),
        Ok(Err(reject)) => vec![Err(reject)],
        Err(panicked) => vec![Err(Reject::new("panic", format!("reading the message {panicked}")))],
    };
    let item = |intake| Unfetched {
        message: index,
        received_at,
        source: source.clone(),
        original: original.clone(),
        may_wait: message.receive_count < LAST_WAIT,
        intake,
    };
    let noted = |intake| match intake {
        Ok(Intake::Post(mut post)) if message.replaced => {
            note(&mut post, "characters".to_owned());
            Ok(Intake::Post(post))
        }
        intake => intake,
    };
    intakes.into_iter().map(noted).map(item).collect()
}

/// What of a name is kept on the record: no space, which separates the two.
fn short(name: &str) -> String {
    let name = name.split(' ').next().unwrap_or_default();
    let mut end = name.len().min(MAX_SOURCE_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().to_owned()
}

fn note(post: &mut Post, note: String) {
    if let Err(place) = post.notes.binary_search(&note) {
        post.notes.insert(place, note);
    }
}

/// The posts of an entry of a message, with the texts that they refer to.
async fn fetch(app: &App, unfetched: Unfetched, by: Deadline, fetched: &AtomicUsize) -> Vec<Item> {
    let Unfetched { message, received_at, source, original, may_wait, intake } = unfetched;
    let item = |state, reject| Item {
        message,
        received_at,
        source: source.clone(),
        original: original.clone(),
        reject,
        state,
    };
    let (intakes, bytes) = match intake {
        Ok(Intake::Object { bucket, key }) => match object(app, (&bucket, &key), MAX_OBJECT_BYTES, by, fetched).await {
            Ok(bytes) => {
                let bytes: Arc<[u8]> = bytes.into();
                let read = match isolate(|| intake::read_object(&bytes)) {
                    Ok(read) => read,
                    Err(panicked) => Err(Reject::new("panic", format!("reading the object {panicked}"))),
                };
                (read.map_or_else(|reject| vec![Err(reject)], |intakes| intakes.into_iter().map(Ok).collect()), bytes)
            }
            Err(Trouble::Reject { kind, detail, .. }) => (vec![Err(Reject::new(kind, detail))], original.clone()),
            Err(trouble) => return vec![item(State::Trouble(trouble), None)],
        },
        intake => (vec![intake], original.clone()),
    };
    let mut items = Vec::with_capacity(intakes.len());
    for intake in intakes {
        items.push(match intake {
            Ok(Intake::Post(post)) => match subject(app, *post, may_wait, by, fetched).await {
                Ok(subject) => item(State::Loaded(Box::new(subject)), None),
                Err(error) => item(State::Trouble(Trouble::Retry(error)), None),
            },
            Ok(Intake::Many(lists)) => {
                let bodies = lists.iter().map(|list| intake::put_back(received_at, list)).collect();
                item(State::Split(bodies), None)
            }
            Ok(Intake::Unreadable(reject)) | Err(reject) => {
                let Reject { kind, detail, about } = reject;
                match about {
                    Some(about) => {
                        let subject = undecidable(app, *about, kind, &bytes);
                        item(State::Loaded(Box::new(subject)), Some(Kept { kind, detail, bytes: bytes.clone() }))
                    }
                    None => item(State::Trouble(Trouble::Reject { kind, detail, bytes: bytes.clone() }), None),
                }
            }
            // An object names no further object: `read_object` refused that.
            Ok(Intake::Object { .. }) => {
                item(State::Trouble(Trouble::rejected("unknown_shape", "an object in an object")), None)
            }
        });
    }
    items
}

/// An object of `most` bytes, as long as the batch has room for it.
async fn object(
    app: &App,
    (bucket, key): (&str, &str),
    most: usize,
    by: Deadline,
    fetched: &AtomicUsize,
) -> Result<Vec<u8>, Trouble> {
    if fetched.load(Ordering::Relaxed) >= FETCHED_BYTES {
        return Err(Trouble::Retry(StoreError::transient("reading an object", "the batch holds enough")));
    }
    let bytes = app.content().object(bucket, key, most, by).await?;
    fetched.fetch_add(bytes.len(), Ordering::Relaxed);
    Ok(bytes)
}

/// A post with its texts. What stands behind `text_ref` and cannot be read is evidence that is unavailable, with a note that says why.
async fn subject(
    app: &App,
    mut post: Post,
    may_wait: bool,
    by: Deadline,
    fetched: &AtomicUsize,
) -> Result<Subject, StoreError> {
    let object = match &post.text_ref {
        None => None,
        Some(uri) => Some(match domain::post::split_uri(uri) {
            None => Err("invalid_field"),
            Some(place) => match object(app, place, MAX_POST_BYTES, by, fetched).await {
                Ok(bytes) => String::from_utf8(bytes).map_err(|_| "invalid_utf8"),
                Err(Trouble::Reject { kind, .. }) => Err(kind),
                Err(Trouble::Retry(error)) if may_wait => return Err(error),
                Err(Trouble::Retry(_)) => Err("unreadable"),
            },
        }),
    };
    let text = match object {
        None => None,
        Some(Ok(text)) => Some(Text::Known(text)),
        Some(Err(code)) => {
            note(&mut post, format!("{CONTENT_NOTE}{code}"));
            Some(Text::Unavailable)
        }
    };
    let content =
        digested(&app.config.digest_key, &post, if let Some(Text::Known(text)) = &text { Some(text) } else { None });
    let texts = texts(&post, text);
    Ok(Subject { post, texts, content, verdict_before: VerdictBefore::No, erased: Vec::new(), conflict: None })
}

/// The post that an event names which cannot be decided as it came: content that nobody can read, so a person looks.
fn undecidable(app: &App, about: About, kind: &str, bytes: &[u8]) -> Subject {
    let post = Post { notes: vec![format!("{UNDECIDABLE_NOTE}{kind}")], ..Post::named(about) };
    let digest = Some(keyed_hex(app.config.digest_key.digest("undecidable", &[bytes])));
    let content = ContentRecord { digest, ..ContentRecord::default() };
    let texts = vec![(View::Text, Text::Unavailable)];
    Subject { post, texts, content, verdict_before: VerdictBefore::No, erased: Vec::new(), conflict: None }
}

/// Leaves whole messages for the next delivery where the batch has more posts than it can hold. The first message always fits.
fn within_bounds(mut items: Vec<Item>) -> Vec<Item> {
    let last = items.get(MAX_ITEMS).map(|item| item.message.max(1));
    if let Some(last) = last {
        for item in items.iter_mut().filter(|item| item.message >= last) {
            let full = StoreError::transient("reading the batch", "the batch holds enough posts");
            (item.state, item.reject) = (State::Trouble(Trouble::Retry(full)), None);
        }
    }
    items
}

/// Law 2 inside a batch: of several posts with the same id, revision and content the first is decided.
fn mark_repeats(items: &mut [Item]) {
    if planted("no-dedupe-in-batch") {
        return;
    }
    let mut first = HashMap::new();
    for (index, item) in items.iter_mut().enumerate() {
        // What is kept in quarantine is acknowledged for itself.
        if let (State::Loaded(subject), None) = (&item.state, &item.reject) {
            let content =
                if planted("other-content-is-a-repeat") { ContentRecord::default() } else { subject.content.clone() };
            let key = (subject.post.post_id.clone(), subject.post.revision, content.digest, content.objects);
            match first.entry(key) {
                std::collections::hash_map::Entry::Occupied(earlier) => item.state = State::Repeats(*earlier.get()),
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(index);
                }
            }
        }
    }
}

/// A first revision has no verdict before it; only later ones cost a look.
async fn verdicts(app: &App, items: &mut [Item], deadline: Deadline) {
    let looks = items.iter_mut().filter_map(|item| match &mut item.state {
        State::Loaded(subject) if subject.post.revision > Revision::FIRST => Some(subject),
        _ => None,
    });
    join_all(looks.map(async |subject| {
        let Subject { post, verdict_before, erased, .. } = subject.as_mut();
        *verdict_before = match app.decisions.before(&post.post_id, post.revision, deadline).await {
            Ok(before) => {
                erased.extend(before.tombstones.into_iter().map(|(_, tombstone)| tombstone));
                if before.verdict { VerdictBefore::Yes } else { VerdictBefore::No }
            }
            Err(_) if planted("history-unavailable-is-none") => VerdictBefore::No,
            Err(_) => VerdictBefore::Unavailable,
        };
    }))
    .await;
}

/// What was sent before its author or its post was erased is not decided. An author's row says so, and what is known of earlier revisions,
/// which are read anyway; where one of these cannot be read, the table of decisions is asked, without which nothing can be decided.
async fn erased(app: &App, items: &mut [Item], lookups: &HashMap<RowKey, Lookup>, by: Deadline) {
    if planted("tombstone-ignored") {
        return;
    }
    let mut unknown = Vec::new();
    for (place, item) in items.iter_mut().enumerate() {
        let State::Loaded(subject) = &item.state else { continue };
        let rows =
            app.judge.definitions.of_author(&subject.post, |key| lookups.get(key).unwrap_or(&Lookup::Unavailable));
        let by_row = rows.iter().any(|lookup| match lookup {
            Lookup::Found(row) => row.erased_at.is_some_and(|erased_at| item.received_at < erased_at),
            Lookup::Missing | Lookup::Unavailable => false,
        });
        let author = app.author(&subject.post);
        if by_row || subject.erased.iter().any(|tombstone| tombstone.covers(item.received_at, author)) {
            (item.state, item.reject) = (State::Erased, None);
            continue;
        }
        if rows.contains(&&Lookup::Unavailable) {
            unknown.extend(author.map(|author| (place, Grave::Author(author))));
        }
        if subject.verdict_before == VerdictBefore::Unavailable {
            // Where an erased post has its tombstone: in place of its first revision, or below what was sent since.
            let post = &subject.post.post_id;
            unknown.push((place, Grave::Post(post.clone(), Revision::FIRST)));
            unknown.push((place, Grave::Below(post.clone())));
        }
    }
    if unknown.is_empty() {
        return;
    }
    let graves: Vec<_> = unknown.iter().map(|(_, grave)| grave.clone()).collect();
    let answers = app.decisions.tombstones(&graves, by).await;
    let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("reading decisions", "no answer")));
    for ((place, _), answer) in unknown.into_iter().zip(answers.into_iter().chain(unanswered)) {
        let Some(item) = items.get_mut(place) else { continue };
        let State::Loaded(subject) = &item.state else { continue };
        match answer {
            Ok(Some(tombstone)) if tombstone.covers(item.received_at, app.author(&subject.post)) => {
                (item.state, item.reject) = (State::Erased, None);
            }
            Ok(_) => {}
            Err(error) => (item.state, item.reject) = (State::Trouble(Trouble::Retry(error)), None),
        }
    }
}
