//! Record: the decision item is the idempotency record. Whoever comes second reads what stands there (law 2).

use crate::work::{State, Trouble, Work};
use crate::{App, cost};
use domain::{PostId, Revision};
use runtime::planted::planted;
use store::{Inserted, StoreError, write_units};

/// Stores every decision unless there is one already, which then takes its place here.
pub(crate) async fn record(app: &App, work: &mut Work) {
    let share = cost::Share::of(app, work);
    let mut places = Vec::new();
    let mut records = Vec::new();
    for (place, item) in work.items.iter_mut().enumerate() {
        if let State::Decided { record, .. } = &mut item.state {
            let bytes = service::fit(record);
            record.cost_usd_micro = share.of_record(record, write_units(bytes));
            places.push(place);
            records.push((**record).clone());
        }
    }
    if records.is_empty() {
        return;
    }
    let answers = app.decisions.insert(&records, work.deadlines.record).await;
    let mut existing: Vec<(usize, (PostId, Revision))> = Vec::new();
    for (index, place) in places.into_iter().enumerate() {
        let Some(item) = work.items.get_mut(place) else { continue };
        let State::Decided { record, stored, new, .. } = &mut item.state else { continue };
        match answers.get(index) {
            Some(Ok(Inserted::New)) => (*stored, *new) = (true, true),
            Some(Ok(Inserted::Exists)) => existing.push((place, (record.post_id.clone(), record.revision))),
            Some(Err(error)) => item.state = State::Trouble(Trouble::Retry(error.clone())),
            // INVARIANT (law 1): what has no answer is not stored.
            None => {
                item.state = State::Trouble(Trouble::Retry(StoreError::transient("inserting decisions", "no answer")))
            }
        }
    }
    take_over(app, work, existing).await;
}

/// Puts the stored decisions in the place of those that came second: what they owe is a function of what is stored.
async fn take_over(app: &App, work: &mut Work, existing: Vec<(usize, (PostId, Revision))>) {
    if existing.is_empty() {
        return;
    }
    let (places, keys): (Vec<_>, Vec<_>) = existing.into_iter().unzip();
    let found = app.decisions.get(&keys, work.deadlines.record).await;
    for (place, answer) in places.into_iter().zip(found) {
        let Some(item) = work.items.get_mut(place) else { continue };
        let State::Decided { post, record: own, .. } = &item.state else { continue };
        let post = post.clone();
        item.state = match answer {
            Ok(Some(_)) if planted("own-decision-sent") => {
                State::Decided { post, record: own.clone(), stored: true, new: false }
            }
            Ok(Some(record)) => State::Decided { post, record: Box::new(record), stored: true, new: false },
            // It stood there a moment ago: expired, or erased. The next delivery decides anew.
            Ok(None) => State::Trouble(Trouble::Retry(StoreError::transient("reading decisions", "gone again"))),
            Err(error) => State::Trouble(Trouble::Retry(error)),
        };
    }
}
