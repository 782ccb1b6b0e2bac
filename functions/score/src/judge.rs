//! Judge: from loaded posts to decision records, one at a time, each on its own.

use crate::App;
use crate::work::{State, Trouble, Work};
use domain::Timestamp;
use features::views::Lookup;
use runtime::isolate;
use runtime::planted::planted;
use scoring::{Explain, Subject, Text};
use store::{Deadline, StoreError};

/// Decides every loaded post. A panic takes its own post along, into quarantine; out of time, the rest is delivered
/// again.
pub(crate) fn judge(app: &App, work: &mut Work) {
    for item in &mut work.items {
        let State::Loaded { post, text, verdict_before } = &item.state else { continue };
        let text = if planted("text-is-dropped") { &Text::None } else { text };
        if Deadline::now() >= work.deadlines.judge {
            let late = StoreError::transient("judging", "too little time is left in this invocation");
            item.state = State::Trouble(Trouble::Retry(late));
            continue;
        }
        let subject = Subject {
            post,
            text,
            verdict_before: *verdict_before,
            received_at: item.received_at,
            decided_at: Timestamp::from_millis(work.invocation.now_ms()),
            explain: Explain::AboveApprove,
        };
        let judged = isolate(|| {
            test_hook(app, text);
            app.judge.judge(&subject, |key| work.lookups.get(key).unwrap_or(&Lookup::Unavailable))
        });
        item.state = match judged {
            Ok(record) => State::Decided { post: post.clone(), record: Box::new(record), stored: false, new: false },
            Err(panicked) => State::Trouble(Trouble::Reject {
                kind: "panic",
                detail: format!("judging the post {panicked}; the place is in the log"),
                bytes: std::mem::take(&mut item.original),
            }),
        };
    }
}

/// Where the deployment is told to (`MODERATO_TEST_PANIC`, set by local stacks alone), this text makes judging panic:
/// the one way to show from outside that a panic fails one message.
#[expect(clippy::panic, reason = "the purpose of the hook")]
fn test_hook(app: &App, text: &Text) {
    if app.config.test_panic && matches!(text, Text::Known(text) if text.contains("moderato-test-panic")) {
        panic!("asked to by the test hook");
    }
}
