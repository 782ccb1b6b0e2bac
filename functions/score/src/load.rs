//! Load: from message bodies to posts with everything that has to be looked up about them.

use crate::App;
use crate::intake::{self, Intake, Reject};
use crate::work::{Item, State, Trouble, Work};
use domain::post::split_uri;
use domain::{MAX_POST_BYTES, Post, PostId, Revision, Timestamp, VerdictBefore};
use features::views::RowKey;
use futures::future::join_all;
use runtime::planted::planted;
use runtime::{Invocation, SqsBatch, SqsMessage, isolate};
use scoring::Text;
use service::Deadlines;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use store::{Deadline, StoreError};

/// Content that takes longer is left for the next delivery: its neighbours have seconds too.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Features and verdicts that take longer are unavailable: the post has seconds, not the store.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Reads every message, fetches what they refer to, and looks up features and earlier verdicts.
pub(crate) async fn load(app: &App, batch: &SqsBatch, invocation: Invocation) -> Work {
    let deadlines = Deadlines::until(invocation.deadline);
    let mut items = Vec::new();
    for (index, message) in batch.messages.iter().enumerate() {
        items.extend(read(index, message, invocation.now_ms()));
    }
    let fetched_by = deadlines.load.min(Deadline::now() + FETCH_TIMEOUT);
    let mut items = join_all(items.into_iter().map(|item| fetch(app, item, fetched_by))).await;
    mark_repeats(&mut items);
    let keys: BTreeSet<RowKey> = posts(&items).flat_map(|post| app.judge.definitions.keys(post)).collect();
    let looked_up_by = deadlines.load.min(Deadline::now() + LOOKUP_TIMEOUT);
    let (lookups, ()) = tokio::join!(app.features.fetch(&keys, looked_up_by), verdicts(app, &mut items, looked_up_by));
    Work { items, lookups, deadlines, invocation, tasks_sent: 0, actions_sent: 0, escalations_sent: 0 }
}

fn posts(items: &[Item]) -> impl Iterator<Item = &Post> {
    items.iter().filter_map(|item| match &item.state {
        State::Loaded { post, .. } => Some(post.as_ref()),
        _ => None,
    })
}

/// What a message still is before anything was fetched.
struct Unfetched {
    message: usize,
    received_at: Timestamp,
    original: Vec<u8>,
    intake: Result<Intake, Reject>,
}

fn read(index: usize, message: &SqsMessage, now_ms: i64) -> Vec<Unfetched> {
    let received_at = Timestamp::from_millis(message.sent_at_ms.unwrap_or(now_ms));
    let unfetched = |original: &str, intake| Unfetched {
        message: index,
        received_at,
        original: original.as_bytes().to_vec(),
        intake,
    };
    let body = &message.body;
    {
        match isolate(|| intake::read(body.as_bytes())) {
            Ok(Ok(intakes)) => intakes.into_iter().map(|intake| unfetched(body, Ok(intake))).collect(),
            Ok(Err(reject)) => vec![unfetched(body, Err(reject))],
            Err(panicked) => {
                vec![unfetched(body, Err(Reject { kind: "panic", detail: format!("reading the message {panicked}") }))]
            }
        }
    }
}

async fn fetch(app: &App, unfetched: Unfetched, deadline: Deadline) -> Item {
    let Unfetched { message, received_at, original, intake } = unfetched;
    let post = match intake {
        Err(reject) | Ok(Intake::Unreadable(reject)) => Err(Trouble::rejected(reject.kind, reject.detail)),
        Ok(Intake::Post(post)) => Ok(post),
        Ok(Intake::Object { bucket, key }) => post_in(app, &bucket, &key, deadline).await,
    };
    let loaded = match post {
        Ok(post) => text(app, &post, deadline).await.map(|text| (post, text)),
        Err(trouble) => Err(trouble),
    };
    let state = match loaded {
        Ok((post, text)) => State::Loaded { post, text, verdict_before: VerdictBefore::No },
        // What has no bytes of its own is kept as the message it came in.
        Err(Trouble::Reject { kind, detail, bytes }) if bytes.is_empty() => {
            State::Trouble(Trouble::Reject { kind, detail, bytes: original.clone() })
        }
        Err(trouble) => State::Trouble(trouble),
    };
    Item { message, received_at, original, state }
}

/// The post that an object holds; where it holds none, the object's bytes are what is kept.
async fn post_in(app: &App, bucket: &str, key: &str, deadline: Deadline) -> Result<Box<Post>, Trouble> {
    let bytes = app.content().object(bucket, key, MAX_POST_BYTES, deadline).await?;
    match isolate(|| Post::parse(&bytes)) {
        Ok(Ok(post)) => Ok(Box::new(post)),
        Ok(Err(error)) => Err(Trouble::Reject { kind: error.kind.as_str(), detail: error.message, bytes }),
        Err(panicked) => {
            Err(Trouble::Reject { kind: "panic", detail: format!("reading the object {panicked}"), bytes })
        }
    }
}

/// The text of a post, fetched where it is kept elsewhere.
async fn text(app: &App, post: &Post, deadline: Deadline) -> Result<Text, Trouble> {
    match (&post.text, &post.text_ref) {
        (Some(text), _) => Ok(Text::Known(text.clone())),
        (None, None) => Ok(Text::None),
        (None, Some(uri)) => {
            let (bucket, key) = split_uri(uri)
                .ok_or_else(|| Trouble::rejected("invalid_field", "`text_ref` must be `s3://bucket/key`"))?;
            let bytes = app.content().object(bucket, key, MAX_POST_BYTES, deadline).await?;
            String::from_utf8(bytes).map(Text::Known).map_err(|error| {
                let valid = error.utf8_error().valid_up_to();
                Trouble::rejected("invalid_utf8", format!("the text of `text_ref` is not UTF-8 after byte {valid}"))
            })
        }
    }
}

/// Law 2 inside a batch: of several posts with the same id and revision the first is decided.
fn mark_repeats(items: &mut [Item]) {
    if planted("no-dedupe-in-batch") {
        return;
    }
    let mut first: HashMap<(PostId, Revision), usize> = HashMap::new();
    for (index, item) in items.iter_mut().enumerate() {
        if let State::Loaded { post, .. } = &item.state {
            match first.entry((post.post_id.clone(), post.revision)) {
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
        State::Loaded { post, verdict_before, .. } if post.revision > Revision::FIRST => Some((post, verdict_before)),
        _ => None,
    });
    join_all(looks.map(async |(post, verdict)| {
        let found: Result<bool, StoreError> =
            app.decisions.verdict_before(&post.post_id, post.revision, deadline).await;
        *verdict = match found {
            Ok(true) => VerdictBefore::Yes,
            Ok(false) => VerdictBefore::No,
            Err(_) if planted("history-unavailable-is-none") => VerdictBefore::No,
            Err(_) => VerdictBefore::Unavailable,
        };
    }))
    .await;
}
