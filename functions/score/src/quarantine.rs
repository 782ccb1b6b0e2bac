//! Quarantine: an event that cannot be decided as it came is kept with its reason, so that acknowledging it loses nothing.

use crate::app::{App, Config};
use crate::work::{Item, Kept, State, Trouble, Work};
use futures::future::join_all;
use service::quarantine::{Rejected, keep};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keeps every rejected original under its digest, once a message; one that cannot be kept is delivered again.
pub(crate) async fn quarantine(app: &App, work: &mut Work) {
    for item in &mut work.items {
        if let State::Trouble(trouble) = &mut item.state {
            trouble.give_up(item.original.clone());
        }
    }
    let mut originals: BTreeMap<(usize, Arc<[u8]>), Vec<usize>> = BTreeMap::new();
    for (place, item) in work.items.iter().enumerate() {
        if let Some((_, _, bytes)) = rejected(item) {
            originals.entry((item.message, bytes)).or_default().push(place);
        }
    }
    let by = work.deadlines.emit;
    let items = &work.items;
    let kept = join_all(originals.into_iter().map(async |((_, bytes), places)| {
        let Some(item) = places.first().and_then(|place| items.get(*place)) else { return (places, Ok(())) };
        let (kind, detail, _) = rejected(item).unwrap_or(("panic", "", Arc::from([])));
        let rejected = Rejected { kind, detail, received_at: item.received_at, bytes: bytes.to_vec() };
        let Config { artifacts_bucket, digest_key, .. } = &app.config;
        (places, keep(app.objects.as_ref(), artifacts_bucket, digest_key, rejected, by).await)
    }))
    .await;
    for (places, answer) in kept {
        for place in places {
            let Some(item) = work.items.get_mut(place) else { continue };
            let kind = rejected(item).map_or("panic", |(kind, ..)| kind);
            match &answer {
                Ok(()) => {
                    work.kept.push(kind);
                    item.reject = None;
                    if matches!(item.state, State::Trouble(Trouble::Reject { .. })) {
                        item.state = State::Quarantined;
                    }
                }
                Err(error) => item.state = State::Trouble(Trouble::Retry(error.clone())),
            }
        }
    }
}

/// Kind, detail and original of an event that is to be kept: it cannot be decided at all, or its post was decided without it.
fn rejected(item: &Item) -> Option<(&'static str, &str, Arc<[u8]>)> {
    match (&item.state, &item.reject) {
        (State::Trouble(Trouble::Reject { kind, detail, bytes }), _) => Some((kind, detail, bytes.clone())),
        (State::Done { .. }, Some(Kept { kind, detail, bytes })) => Some((kind, detail, bytes.clone())),
        _ => None,
    }
}
