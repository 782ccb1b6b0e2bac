//! Queues that decisions owe messages to.

use crate::planted::planted;
use crate::{Aws, Backoff, Deadline, StoreError, aws};
use async_trait::async_trait;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use std::sync::Mutex;
use std::time::Duration;

/// A message to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// JSON.
    pub body: String,
}

/// A queue of messages.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends every message at least once; answers stand in the order of `messages`.
    async fn send(&self, messages: &[Message], deadline: Deadline) -> Vec<Result<(), StoreError>>;

    /// Hides messages that were received, each by its receipt for so long from now; answers stand in the order of `receipts`.
    async fn hide(&self, receipts: &[(String, Duration)], deadline: Deadline) -> Vec<Result<(), StoreError>>;
}

/// Entries that one call about several messages takes.
const ENTRIES_A_CALL: usize = 10;
/// Bytes that one `SendMessageBatch` takes; bodies are counted, with room for the rest.
const BYTES_A_CALL: usize = 1_000_000;

/// An SQS queue.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl SqsQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(aws: &Aws, url: impl Into<String>) -> Self {
        Self { client: aws.sqs.clone(), url: url.into() }
    }

    async fn send_chunk(&self, messages: &[Message], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        const DOING: &str = "sending messages";
        let mut answers = vec![Err(StoreError::transient(DOING, "not tried")); messages.len()];
        let mut open: Vec<usize> = (0..messages.len()).collect();
        let mut backoff = Backoff::until(deadline);
        while !open.is_empty() {
            let mut entries = Vec::with_capacity(open.len());
            for index in &open {
                let Some(message) = messages.get(*index) else { continue };
                // The entry's id is its place in the chunk; it means nothing outside this call.
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(&message.body);
                let Ok(entry) = entry.build() else { return answers };
                entries.push(entry);
            }
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
            let answer = match aws::call(DOING, deadline, request).await {
                Ok(answer) => answer,
                // Something is wrong with one of them: the others are sent without it.
                Err(error) if !error.retryable && open.len() > 1 => {
                    let alone = open
                        .iter()
                        .filter_map(|index| messages.get(*index))
                        .map(|message| Box::pin(self.send_chunk(std::slice::from_ref(message), deadline)));
                    let sent = futures::future::join_all(alone).await.into_iter().flatten();
                    for (index, answer) in open.into_iter().zip(sent) {
                        set(&mut answers, index, answer);
                    }
                    return answers;
                }
                Err(error) => {
                    for index in open {
                        set(&mut answers, index, Err(error.clone()));
                    }
                    return answers;
                }
            };
            for sent in &answer.successful {
                if let Ok(index) = sent.id.parse() {
                    set(&mut answers, index, Ok(()));
                }
            }
            if planted("failed-entries-ignored") {
                return vec![Ok(()); messages.len()];
            }
            for failed in &answer.failed {
                if let Ok(index) = failed.id.parse() {
                    let error = StoreError {
                        doing: DOING,
                        code: aws::code(Some(&failed.code)),
                        retryable: !failed.sender_fault,
                    };
                    set(&mut answers, index, Err(error));
                }
            }
            open.retain(|index| matches!(answers.get(*index), Some(Err(error)) if error.retryable));
            if !open.is_empty() && !backoff.wait().await {
                break;
            }
        }
        answers
    }
}

/// Whole seconds, as SQS counts; never less than what was asked for.
fn seconds(span: Duration) -> i32 {
    i32::try_from(span.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX)
}

impl SqsQueue {
    async fn hide_chunk(&self, receipts: &[(String, Duration)], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        const DOING: &str = "hiding messages";
        let mut answers = vec![Err(StoreError::transient(DOING, "no answer for this message")); receipts.len()];
        let entry = |(index, (receipt, span)): (usize, &(String, Duration))| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
            entry.receipt_handle(receipt).visibility_timeout(seconds(*span)).build().ok()
        };
        let entries = receipts.iter().enumerate().filter_map(entry).collect();
        let request =
            self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        match aws::call(DOING, deadline, request).await {
            Err(error) => answers.fill(Err(error)),
            Ok(answer) => {
                let index = |id: &str| id.parse().unwrap_or(usize::MAX);
                for hidden in &answer.successful {
                    set(&mut answers, index(&hidden.id), Ok(()));
                }
                for failed in &answer.failed {
                    let (code, retryable) = (aws::code(Some(&failed.code)), !failed.sender_fault);
                    set(&mut answers, index(&failed.id), Err(StoreError { doing: DOING, code, retryable }));
                }
            }
        }
        answers
    }
}

/// A message as an operator reads it from a queue.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The body.
    pub body: String,
    /// Names this delivery to [`SqsQueue::delete`] and [`SqsQueue::release`].
    pub receipt: String,
}

/// How many messages a queue holds; SQS says approximately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Waiting.
    pub visible: u64,
    /// Delivered, and neither deleted nor given back.
    pub in_flight: u64,
    /// Sent with a delay that has not passed.
    pub delayed: u64,
    /// Seconds after which a message is forgotten.
    pub kept_s: u64,
}

/// For operators: functions get their messages from Lambda.
impl SqsQueue {
    /// Receives up to ten messages that are there now, and hides them from others for `hidden_s` seconds.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn receive(&self, hidden_s: i32, deadline: Deadline) -> Result<Vec<Received>, StoreError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .visibility_timeout(hidden_s)
            .wait_time_seconds(0)
            .send();
        let answer = aws::call("receiving messages", deadline, request).await?;
        let received = answer.messages.unwrap_or_default().into_iter();
        Ok(received
            .filter_map(|message| Some(Received { body: message.body?, receipt: message.receipt_handle? }))
            .collect())
    }

    /// Deletes a received message.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn delete(&self, receipt: &str, deadline: Deadline) -> Result<(), StoreError> {
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send();
        aws::call("deleting a message", deadline, request).await.map(drop)
    }

    /// Deletes up to ten received messages; answers stand in the order of `receipts`.
    pub async fn delete_all(&self, receipts: &[String], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        const DOING: &str = "deleting messages";
        let mut answers = vec![Err(StoreError::transient(DOING, "no answer for this message")); receipts.len()];
        let entry = |(index, receipt): (usize, &String)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(receipt).build().ok()
        };
        let entries = receipts.iter().enumerate().filter_map(entry).collect();
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        match aws::call(DOING, deadline, request).await {
            Err(error) => answers.fill(Err(error)),
            Ok(answer) => {
                for deleted in &answer.successful {
                    set(&mut answers, deleted.id.parse().unwrap_or(usize::MAX), Ok(()));
                }
            }
        }
        answers
    }

    /// Gives a received message back at once.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn release(&self, receipt: &str, deadline: Deadline) -> Result<(), StoreError> {
        let request = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt)
            .visibility_timeout(0)
            .send();
        aws::call("giving a message back", deadline, request).await.map(drop)
    }

    /// How many messages the queue holds.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn depth(&self, deadline: Deadline) -> Result<Depth, StoreError> {
        let request =
            self.client.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::All).send();
        let attributes = aws::call("counting messages", deadline, request).await?.attributes.unwrap_or_default();
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Depth {
            visible: number(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
            kept_s: number(QueueAttributeName::MessageRetentionPeriod),
        })
    }
}

/// How far SQS is with moving messages from one queue to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// `RUNNING`, `COMPLETED`, `CANCELLING`, `CANCELLED` or `FAILED`.
    pub status: String,
    /// Messages moved so far, approximately.
    pub moved: u64,
    /// Messages there were to move, approximately, once SQS says.
    pub of: Option<u64>,
    /// Why it failed, where it did.
    pub why: Option<String>,
}

/// What an endpoint says that has no such operation: local ones.
const NO_SUCH_OPERATION: [&str; 2] = ["InvalidAction", "UnknownOperationException"];

/// Moving dead letters back, by SQS itself.
impl SqsQueue {
    async fn arn(&self, deadline: Deadline) -> Result<String, StoreError> {
        const DOING: &str = "asking for a queue's name";
        let name = QueueAttributeName::QueueArn;
        let request = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone()).send();
        let attributes = aws::call(DOING, deadline, request).await?.attributes.unwrap_or_default();
        attributes.get(&name).cloned().ok_or_else(|| aws::empty(DOING))
    }

    /// Has SQS move all messages of this dead-letter queue to `home`. Gives what stops it again; `None` where the endpoint cannot do that.
    ///
    /// # Errors
    /// Where it was refused: another such move may be under way.
    pub async fn start_moving(&self, home: &Self, deadline: Deadline) -> Result<Option<String>, StoreError> {
        let (from, to) = (self.arn(deadline).await?, home.arn(deadline).await?);
        let request = self.client.start_message_move_task().source_arn(from).destination_arn(to).send();
        match aws::call("moving messages", deadline, request).await {
            Ok(started) => Ok(Some(started.task_handle.unwrap_or_default())),
            Err(error) if NO_SUCH_OPERATION.contains(&error.code.as_str()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How far the last move that was started is.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn moving(&self, deadline: Deadline) -> Result<Moving, StoreError> {
        const DOING: &str = "asking how far a move is";
        let request = self.client.list_message_move_tasks().source_arn(self.arn(deadline).await?).send();
        let last = aws::call(DOING, deadline, request).await?.results.unwrap_or_default().into_iter().next();
        let last = last.ok_or_else(|| aws::empty(DOING))?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(Moving {
            status: last.status.unwrap_or_default(),
            moved: number(last.approximate_number_of_messages_moved),
            of: last.approximate_number_of_messages_to_move.map(number),
            why: last.failure_reason.map(|why| aws::code(Some(&why))),
        })
    }

    /// Stops a move; what is moved by then stays moved.
    ///
    /// # Errors
    /// Where it could not be stopped, as when it is over.
    pub async fn stop_moving(&self, handle: &str, deadline: Deadline) -> Result<(), StoreError> {
        let request = self.client.cancel_message_move_task().task_handle(handle).send();
        aws::call("stopping a move", deadline, request).await.map(drop)
    }
}

fn set<T>(answers: &mut [T], index: usize, answer: T) {
    if let Some(slot) = answers.get_mut(index) {
        *slot = answer;
    }
}

/// Splits messages so that each part fits one call.
fn chunks(messages: &[Message]) -> Vec<&[Message]> {
    let mut chunks = Vec::new();
    let mut rest = messages;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fitting = rest
            .iter()
            .take(ENTRIES_A_CALL)
            .take_while(|message| {
                bytes += message.body.len();
                bytes <= BYTES_A_CALL
            })
            .count();
        let (chunk, left) = rest.split_at(fitting.max(1));
        chunks.push(chunk);
        rest = left;
    }
    chunks
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, messages: &[Message], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        let sends = chunks(messages).into_iter().map(|chunk| self.send_chunk(chunk, deadline));
        futures::future::join_all(sends).await.into_iter().flatten().collect()
    }

    async fn hide(&self, receipts: &[(String, Duration)], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        let hides = receipts.chunks(ENTRIES_A_CALL).map(|chunk| self.hide_chunk(chunk, deadline));
        futures::future::join_all(hides).await.into_iter().flatten().collect()
    }
}

/// A queue in memory that keeps whatever it was sent, and what it was told to hide.
#[derive(Default)]
pub struct MemoryQueue {
    sent: Mutex<Vec<Message>>,
    hidden: Mutex<Vec<(String, Duration)>>,
}

impl MemoryQueue {
    /// Everything sent so far, repeats included.
    #[must_use]
    pub fn sent(&self) -> Vec<Message> {
        self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Receipts that were to be hidden so far, and for how long.
    #[must_use]
    pub fn hidden(&self) -> Vec<(String, Duration)> {
        self.hidden.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, messages: &[Message], _deadline: Deadline) -> Vec<Result<(), StoreError>> {
        // As SQS does, which takes the characters of XML 1.0.
        let taken =
            |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
        let mut sent = self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let send = |message: &Message| {
            if !message.body.chars().all(taken) {
                return Err(StoreError::permanent("sending messages", "InvalidMessageContents"));
            }
            sent.push(message.clone());
            Ok(())
        };
        messages.iter().map(send).collect()
    }

    async fn hide(&self, receipts: &[(String, Duration)], _deadline: Deadline) -> Vec<Result<(), StoreError>> {
        self.hidden.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(receipts);
        receipts.iter().map(|_| Ok(())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_ten_messages_and_a_megabyte_and_lose_none() {
        let of = |sizes: &[usize]| -> Vec<usize> {
            let messages: Vec<_> = sizes.iter().map(|size| Message { body: "x".repeat(*size) }).collect();
            chunks(&messages).iter().map(|chunk| chunk.len()).collect()
        };
        assert_eq!(of(&[]), Vec::<usize>::new());
        assert_eq!(of(&[1; 23]), [10, 10, 3]);
        assert_eq!(of(&[400_000; 5]), [2, 2, 1]);
        assert_eq!(of(&[2_000_000, 1, 1]), [1, 2]);
    }
}
