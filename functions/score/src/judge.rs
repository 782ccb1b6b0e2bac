//! Judge: from loaded posts to decision records, one at a time, each on its own.

use crate::App;
use crate::work::{Item, Kept, State, Subject, Trouble, Work};
use domain::{ContentRecord, DecisionRecord, Timestamp, UNDECIDABLE_NOTE, View};
use features::views::{Lookup, RowKey};
use runtime::isolate;
use runtime::planted::planted;
use scoring::{Explain, Text};
use std::collections::HashMap;
use std::time::Duration;
use store::{Deadline, StoreError};

/// A long text takes at most this for each of its bytes: a mebibyte was measured at 4 s of a processor, and gets ten.
const TIME_A_BYTE: Duration = Duration::from_micros(10);

/// Decides the loaded posts at these places. A post that makes the code panic goes to a person, and its event into quarantine; out of
/// time, the rest is delivered again.
pub(crate) fn judge(app: &App, work: &mut Work, places: &[usize]) {
    let Work { items, lookups, deadlines, invocation, .. } = work;
    for place in places {
        let Some(item) = items.get_mut(*place) else { continue };
        let State::Loaded(subject) = &item.state else { continue };
        let takes = TIME_A_BYTE * u32::try_from(subject.weight()).unwrap_or(u32::MAX);
        if Deadline::now() + takes >= deadlines.judge {
            let late = StoreError::transient("judging", "too little time is left in this invocation");
            item.state = State::Trouble(Trouble::Retry(late));
            continue;
        }
        let now = Timestamp::from_millis(invocation.now_ms());
        let judged = isolate(|| record(app, lookups, item, subject, now));
        let State::Loaded(mut subject) = std::mem::replace(&mut item.state, State::PutBack) else { continue };
        item.state = match judged {
            Ok(record) => State::Decided { subject, record: Box::new(record), supersedes: false },
            Err(panicked) => {
                let detail = format!("judging the post {panicked}; the place is in the log");
                // Without its texts, which it panicked on: a person looks at it.
                subject.post.notes.push(format!("{UNDECIDABLE_NOTE}panic"));
                subject.texts = vec![(View::Text, Text::Unavailable)];
                match isolate(|| record(app, lookups, item, &subject, now)) {
                    Ok(record) => {
                        item.reject = Some(Kept { kind: "panic", detail, bytes: item.original.clone() });
                        State::Decided { subject, record: Box::new(record), supersedes: false }
                    }
                    Err(_) => State::Trouble(Trouble::Reject { kind: "panic", detail, bytes: item.original.clone() }),
                }
            }
        };
    }
}

/// The decision on a subject.
pub(crate) fn record(
    app: &App,
    lookups: &HashMap<RowKey, Lookup>,
    item: &Item,
    subject: &Subject,
    decided_at: Timestamp,
) -> DecisionRecord {
    let Subject { post, texts, content, verdict_before, conflict, .. } = subject;
    test_hook(app, texts);
    let texts = if planted("text-is-dropped") { &[][..] } else { texts };
    let judged = scoring::Subject {
        post,
        texts,
        conflict: *conflict,
        verdict_before: *verdict_before,
        received_at: item.received_at,
        decided_at,
        explain: Explain::AboveApprove,
    };
    let mut record = app.judge.judge(&judged, |key| lookups.get(key).unwrap_or(&Lookup::Unavailable));
    let ContentRecord { unread, conflict, .. } = std::mem::take(&mut record.content);
    record.content = ContentRecord { unread, conflict, ..content.clone() };
    record.source = item.source.clone();
    record
}

/// Where the deployment is told to (`MODERATO_TEST_PANIC`, set by local stacks alone), this text makes judging panic:
/// the one way to show from outside that a panic fails one message.
#[expect(clippy::panic, reason = "the purpose of the hook")]
fn test_hook(app: &App, texts: &[(View, Text)]) {
    let asks = |text: &Text| matches!(text, Text::Known(text) if text.contains("moderato-test-panic"));
    if app.config.test_panic && texts.iter().any(|(_, text)| asks(text)) {
        panic!("asked to by the test hook");
    }
}
