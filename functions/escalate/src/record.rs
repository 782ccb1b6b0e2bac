//! Record: the new decision takes the place of the provisional one, and of nothing else. Whoever comes second reads what stands there.

use crate::App;
use crate::work::{State, Work};
use domain::DecisionRecord;
use runtime::planted::planted;
use service::Trouble;
use service::prices::{LAMBDA_REQUEST, SQS_BATCH, SQS_REQUEST, WRITE_UNIT, rounded};
use store::{StoreError, Superseded, write_units};

/// Stores every new decision unless another stands there by now, which then takes its place here.
pub(crate) async fn record(app: &App, work: &mut Work) {
    let mut places = Vec::new();
    let mut records = Vec::new();
    for (place, item) in work.items.iter_mut().enumerate() {
        if let State::Decided { record, stored: false, .. } = &mut item.state {
            let units = write_units(service::fit(record));
            record.cost_usd_micro = rounded(record.cost_usd_micro + own_cost(units));
            places.push(place);
            records.push((**record).clone());
        }
    }
    if records.is_empty() {
        return;
    }
    let answers = app.decisions.supersede(&records, work.deadlines.record).await;
    let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("superseding a decision", "no answer")));
    let mut stands = Vec::new();
    for (place, answer) in places.into_iter().zip(answers.into_iter().chain(unanswered)) {
        let Some(item) = work.items.get_mut(place) else { continue };
        let State::Decided { record, stored, new } = &mut item.state else { continue };
        match answer {
            Ok(Superseded::Done) => (*stored, *new) = (true, true),
            Ok(Superseded::Stands) => stands.push((place, (record.post_id.clone(), record.revision))),
            Err(error) => item.state = State::Trouble(Trouble::Retry(error)),
        }
    }
    take_over(app, work, stands).await;
}

/// Write units of taking a decision out of the index of provisional ones.
const OUT_OF_THE_INDEX: usize = 1;

/// What this function's part of the decision cost, besides asking: its write, and its share of a batch's messages.
#[expect(clippy::cast_precision_loss, reason = "a handful of write units")]
fn own_cost(write_units: usize) -> f64 {
    (write_units + OUT_OF_THE_INDEX) as f64 * WRITE_UNIT + LAMBDA_REQUEST / SQS_BATCH + 3.0 * SQS_REQUEST / SQS_BATCH
}

/// Puts what stands in the place of those that came second: what is owed is a function of what is stored.
async fn take_over(app: &App, work: &mut Work, stands: Vec<(usize, (domain::PostId, domain::Revision))>) {
    if stands.is_empty() {
        return;
    }
    let (places, keys): (Vec<_>, Vec<_>) = stands.into_iter().unzip();
    let found = app.decisions.get(&keys, work.deadlines.record).await;
    let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("reading decisions", "no answer")));
    for (place, answer) in places.into_iter().zip(found.into_iter().chain(unanswered)) {
        let Some(item) = work.items.get_mut(place) else { continue };
        item.state = match answer {
            Ok(Some(_)) if planted("own-decision-sent") => match &item.state {
                State::Decided { record, .. } => State::Decided { record: record.clone(), stored: true, new: false },
                _ => continue,
            },
            Ok(Some(record)) if is_final(&record) => {
                State::Decided { record: Box::new(record), stored: true, new: false }
            }
            // Still provisional, and yet not replaced: the next delivery looks again.
            Ok(Some(_)) => State::Trouble(Trouble::Retry(StoreError::transient("superseding a decision", "stands"))),
            Ok(None) => State::Gone,
            Err(error) => State::Trouble(Trouble::Retry(error)),
        };
    }
}

fn is_final(record: &DecisionRecord) -> bool {
    !record.provisional || record.decided_by == domain::DecidedBy::Human
}
