//! The queue that a function takes its messages from: what of them comes again, and when.
//!
//! Three things go wrong with messages that cannot be dealt with now. They come again too late, where nobody says how soon: a hiccup of a
//! second then costs the queue's visibility timeout. They come again too often, where what they need is away for an hour. And one that
//! ends the process takes along whoever is in its batch. So what failed is hidden for a while that grows with every time; while nothing
//! can be stored or sent at all, batches fail at once, and one in a while tries; and what comes too often is handled so that, should the
//! process end, its neighbours come again without it.

use crate::Breaker;
use crate::breaker::{LONGEST_PAUSE, Permit};
use runtime::planted::planted;
use runtime::{BatchResponse, SqsBatch, SqsMessage, telemetry};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Deadline, Queue};

/// How long a message that failed waits, by how often it was received: then always the last. Give or take a quarter, so that what failed
/// together does not come again together.
const PAUSES_S: [u32; 6] = [2, 5, 15, 45, 120, 300];
/// So many messages have to fail, each another one, and nothing may be done in between, before batches are left alone: three batches
/// full. One message that fails by itself, however often, never comes to that.
const MOST_FAILED: usize = 30;
/// A message that comes for the third time may be one that ends the process.
const SUSPECT: u32 = 3;
/// Among others each such message is hidden before anything is begun, until the invocation is over and some part of this besides: should
/// the process end, they come again one by one.
const APART: Duration = Duration::from_secs(60);
/// An environment does that once in a while: after an hour in which nothing could be stored every message has come too often.
const APART_EVERY: Duration = Duration::from_secs(60);
/// What was left alone comes again so long after the next try, and not sooner than after half a pause: other environments try at other
/// times.
const SOON: Duration = Duration::from_secs(1);
/// Asking the queue may take this long.
const HIDE_TIMEOUT: Duration = Duration::from_secs(1);
/// Left to Lambda for the answer.
const TAIL: Duration = Duration::from_millis(200);

/// The batch was not begun: for a while nothing could be stored or sent. All of it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decisions cannot be stored or sent at present: the batch was not begun and comes again")]
pub struct Unavailable;

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Places of the messages that are to be delivered again.
    pub again: BTreeSet<usize>,
    /// Whether anything was stored and sent.
    pub done: bool,
    /// Whether something could not be stored, read or sent that may be later.
    pub failed: bool,
}

/// The queue that a function takes its messages from, as one environment of it sees it.
pub struct Inbox {
    queue: Arc<dyn Queue>,
    breaker: Breaker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Messages that failed since anything was done last.
    failed: BTreeSet<String>,
    /// When messages were last set apart.
    apart_at: Option<Deadline>,
}

/// A batch that may be begun.
pub struct Begun<'a> {
    inbox: &'a Inbox,
    permit: Permit<'a>,
    end: Deadline,
}

impl Inbox {
    /// The messages of this queue.
    #[must_use]
    pub fn new(queue: Arc<dyn Queue>) -> Self {
        Self { queue, breaker: Breaker::after(1), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a batch whose invocation ends at `end`.
    ///
    /// # Errors
    /// Where it is better not begun.
    pub async fn begin(&self, batch: &SqsBatch, end: Deadline) -> Result<Begun<'_>, Unavailable> {
        let now = Deadline::now();
        let Some(permit) = self.breaker.permit(now) else {
            // In the first minute it may be a hiccup: then what came comes again when one has tried, and together, since every batch costs
            // a call. Later nothing is asked any more, and the queue's visibility timeout says when.
            if let Some((pause, left)) = self.breaker.pause(now).filter(|(pause, _)| *pause < LONGEST_PAUSE) {
                let wait = left.max(pause / 2) + SOON;
                self.hide(batch.messages.iter().map(|message| (message, wait)), end).await;
            }
            return Err(Unavailable);
        };
        let mut suspects = batch.messages.iter().filter(|message| message.receive_count >= SUSPECT).peekable();
        if batch.messages.len() > 1 && suspects.peek().is_some() && !permit.is_trial() && self.may_set_apart(now) {
            let over = end.saturating_duration_since(now);
            self.hide(suspects.map(|message| (message, over + APART.mul_f64(fastrand::f64()))), end).await;
        }
        Ok(Begun { inbox: self, permit, end })
    }

    fn may_set_apart(&self, now: Deadline) -> bool {
        let state = &mut *self.state();
        let may = state.apart_at.is_none_or(|at| now >= at + APART_EVERY) && !planted("suspects-stay-together");
        if may {
            state.apart_at = Some(now);
        }
        may
    }

    /// Hides each message for a while. Where that fails the queue's visibility timeout says when it comes again.
    async fn hide<'a>(&self, messages: impl Iterator<Item = (&'a SqsMessage, Duration)>, end: Deadline) {
        let hidden: Vec<_> = messages.filter_map(|(message, pause)| Some((message.receipt.clone()?, pause))).collect();
        if hidden.is_empty() || planted("no-back-off") {
            return;
        }
        let by = end.checked_sub(TAIL).unwrap_or(end).min(Deadline::now() + HIDE_TIMEOUT);
        let answers = self.queue.hide(&hidden, by).await;
        if let Some(error) = answers.into_iter().find_map(Result::err) {
            let said = serde_json::json!({ "error": error.to_string() });
            telemetry::log("WARN", "messages come again only after the queue's visibility timeout", &said);
        }
    }

    /// Learns from a batch whether things can be stored and sent.
    fn learn(&self, permit: Permit<'_>, failed: &[&SqsMessage], outcome: &Outcome) {
        let now = Deadline::now();
        let was_open = self.breaker.is_open();
        if outcome.done {
            self.state().failed.clear();
            permit.tell(true, now);
        } else if outcome.failed && !planted("breaker-never-opens") {
            let known = &mut self.state().failed;
            known.extend(failed.iter().map(|message| message.message_id.clone()));
            if permit.is_trial() || known.len() >= MOST_FAILED {
                known.clear();
                permit.tell(false, now);
            }
        }
        match (was_open, self.breaker.is_open()) {
            (false, true) => {
                telemetry::log(
                    "ERROR",
                    "nothing can be stored or sent: batches fail at once, one in a while tries",
                    &NOTHING,
                );
            }
            (true, false) => telemetry::log("INFO", "decisions are stored and sent again", &NOTHING),
            _ => {}
        }
    }
}

const NOTHING: serde_json::Value = serde_json::Value::Null;

impl Begun<'_> {
    /// Ends a batch: says when what failed comes again, and gives Lambda's answer.
    pub async fn end(self, batch: &SqsBatch, outcome: Outcome) -> BatchResponse {
        let Self { inbox, permit, end } = self;
        let again: Vec<_> = outcome.again.iter().filter_map(|place| batch.messages.get(*place)).collect();
        inbox.learn(permit, &again, &outcome);
        inbox.hide(again.iter().map(|message| (*message, pause(message.receive_count))), end).await;
        BatchResponse::deliver_again(again)
    }
}

/// How long a message waits that failed when it was received for the `receives`th time.
fn pause(receives: u32) -> Duration {
    let place = usize::try_from(receives.saturating_sub(1)).unwrap_or(usize::MAX).min(PAUSES_S.len() - 1);
    let seconds = PAUSES_S.get(place).copied().unwrap_or_default();
    Duration::from_secs(u64::from(seconds)).mul_f64(0.75 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;
    use serde_json::{json, value::RawValue};
    use store::MemoryQueue;

    const INVOCATION: Duration = Duration::from_secs(30);

    fn batch(messages: impl IntoIterator<Item = (usize, u32)>) -> SqsBatch {
        let records: Vec<_> = messages
            .into_iter()
            .map(|(number, receives)| {
                json!({
                    "messageId": format!("m{number}"), "receiptHandle": format!("r{number}"), "body": "",
                    "attributes": { "ApproximateReceiveCount": receives.to_string() },
                })
            })
            .collect();
        SqsBatch::parse(&RawValue::from_string(json!({ "Records": records }).to_string()).unwrap()).unwrap()
    }

    /// An inbox, and what it hides.
    struct Bench {
        queue: Arc<MemoryQueue>,
        inbox: Inbox,
    }

    impl Bench {
        fn new() -> Self {
            let queue = Arc::new(MemoryQueue::default());
            Self { inbox: Inbox::new(queue.clone()), queue }
        }

        /// Handles a batch of which these places come again; whether it was begun.
        async fn handles(&self, batch: &SqsBatch, again: impl IntoIterator<Item = usize>) -> bool {
            let again: BTreeSet<usize> = again.into_iter().collect();
            let Ok(begun) = self.inbox.begin(batch, Deadline::now() + INVOCATION).await else { return false };
            let outcome = Outcome { done: again.len() < batch.messages.len(), failed: !again.is_empty(), again };
            begun.end(batch, outcome).await;
            true
        }

        /// What was hidden since the last time, in seconds.
        fn hidden(&self, known: &mut usize) -> Vec<(String, f64)> {
            let all = self.queue.hidden();
            let new = all.get(*known..).unwrap_or_default();
            *known = all.len();
            new.iter().map(|(receipt, span)| (receipt.clone(), span.as_secs_f64())).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_waits_longer_every_time() {
        let (bench, mut known) = (Bench::new(), 0);
        for (receives, seconds) in [(1, 2.0), (2, 5.0), (3, 15.0), (4, 45.0), (5, 120.0), (6, 300.0), (90, 300.0)] {
            assert!(bench.handles(&batch([(1, 1), (2, receives)]), [1]).await);
            let hidden = bench.hidden(&mut known);
            let (receipt, span) = hidden.last().unwrap();
            assert_eq!(receipt, "r2");
            assert!((0.75 * seconds..=1.25 * seconds).contains(span), "{receives}: {span}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_left_alone_once_thirty_messages_failed_and_nothing_was_done() {
        let (bench, mut known) = (Bench::new(), 0);
        let ten = |from: usize| batch((from..from + 10).map(|number| (number, 1)));
        for _ in 0..5 {
            assert!(bench.handles(&ten(0), 0..10).await && bench.handles(&ten(10), 0..10).await);
            // One that was done says that there is no outage.
            assert!(bench.handles(&ten(20), 1..10).await);
        }
        for from in [0, 10, 20] {
            assert!(bench.handles(&ten(from), 0..10).await);
        }
        bench.hidden(&mut known);
        // In the first minute what is left alone comes again soon after the next try.
        assert!(!bench.handles(&ten(30), []).await);
        let hidden = bench.hidden(&mut known);
        assert!(hidden.len() == 10 && hidden.iter().all(|(_, span)| (5.0..=6.0).contains(span)), "{hidden:?}");
        for pause in [5, 10, 20, 40] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            assert!(bench.handles(&ten(30), 0..10).await, "one tries");
            bench.hidden(&mut known);
        }
        // Later nobody is asked.
        assert!(!bench.handles(&ten(30), []).await);
        assert_eq!(bench.hidden(&mut known), []);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(bench.handles(&ten(30), []).await && bench.handles(&ten(40), []).await, "all is well again");
    }

    /// Law 3: what fails by itself, however often it comes, keeps nobody else waiting.
    #[tokio::test(start_paused = true)]
    async fn one_message_that_always_fails_is_no_outage() {
        let bench = Bench::new();
        for receives in 1..100 {
            assert!(bench.handles(&batch([(1, receives)]), [0]).await);
        }
        assert!(bench.handles(&batch([(2, 1)]), []).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_often_among_others_is_set_apart_before_anything_is_begun() {
        let (bench, mut known) = (Bench::new(), 0);
        let suspects = |known: &mut usize| -> Vec<String> {
            let hidden = bench.hidden(known);
            assert!(hidden.iter().all(|(_, span)| (30.0..=90.0).contains(span)), "{hidden:?}");
            hidden.into_iter().map(|(receipt, _)| receipt).collect()
        };
        let end = || Deadline::now() + INVOCATION;
        let batch_of = |receives: [u32; 3]| batch(receives.into_iter().enumerate());
        bench.inbox.begin(&batch_of([1, 2, 2]), end()).await.unwrap();
        assert_eq!(suspects(&mut known), [""; 0]);
        bench.inbox.begin(&batch([(7, 9)]), end()).await.unwrap();
        assert_eq!(suspects(&mut known), [""; 0], "alone it takes nobody along");
        bench.inbox.begin(&batch_of([1, 3, 4]), end()).await.unwrap();
        assert_eq!(suspects(&mut known), ["r1", "r2"]);
        // After an outage all have come too often, and asking each time would cost a call for every batch.
        bench.inbox.begin(&batch_of([5, 5, 5]), end()).await.unwrap();
        assert_eq!(suspects(&mut known), [""; 0]);
        tokio::time::sleep(APART_EVERY).await;
        bench.inbox.begin(&batch_of([5, 5, 5]), end()).await.unwrap();
        assert_eq!(suspects(&mut known).len(), 3);
    }
}
