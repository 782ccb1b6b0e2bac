//! `moderato redrive`: back into the queues that messages came from, after whatever was wrong has been mended.

use crate::Failure;
use crate::progress::progress;
use crate::stack::{Stack, soon};
use crate::terminal::{line, say};
use clap::{Args, ValueEnum};
use domain::Escalation;
use futures::StreamExt;
use std::process::ExitCode;
use std::time::Duration;
use store::{Message, ObjectStore, Queue, SqsQueue};

/// Puts messages back into the queue they came from. Shows what it would do, unless told to do it.
#[derive(Debug, Args)]
pub struct RedriveArgs {
    /// Where the messages lie.
    #[arg(value_enum, default_value_t = From::Dlq)]
    from: From,
    /// Does it.
    #[arg(long)]
    run: bool,
    /// Only what is in quarantine for this reason.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The dead-letter queues, of posts and of posts that wait for a second opinion: messages that were tried a hundred times.
    Dlq,
    /// Quarantine: messages that could not be read.
    Quarantine,
}

/// A message that is being moved is hidden from others this long.
const HIDDEN_S: i32 = 60;
/// Where the endpoint cannot move messages by itself, so many tens of them are moved at once.
const AT_ONCE: usize = 16;
/// How often somebody who watches is told how far a move is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs the command.
pub async fn run(args: &RedriveArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    match args.from {
        From::Dlq => dlqs(args.run, stack).await,
        From::Quarantine => quarantine(args, stack).await,
    }
}

async fn dlqs(run: bool, stack: &Stack) -> Result<ExitCode, Failure> {
    let pairs =
        [("", "POSTS_DLQ_URL", "POSTS_QUEUE_URL"), (" of escalations", "ESCALATIONS_DLQ_URL", "ESCALATIONS_QUEUE_URL")];
    let mut all = true;
    for (whose, dlq, home) in pairs {
        let (dlq, home) = (stack.queue(dlq)?, stack.queue(home)?);
        let waiting = dlq.depth(soon()).await?.visible;
        if !run {
            say!("{waiting} messages lie in the dead-letter queue{whose}; nothing was moved (`--run` moves them)");
        } else if waiting == 0 {
            say!("0 messages moved back{whose}, 0 could not be sent and stay");
        } else if let Some(handle) = dlq.start_moving(&home, soon()).await? {
            all &= watch(&dlq, &handle, whose, waiting).await?;
        } else {
            let (moved, stuck) = back(&dlq, &home, waiting).await;
            all &= stuck == 0;
            say!("{moved} messages moved back{whose}, {stuck} could not be sent and stay");
        }
    }
    Ok(ExitCode::from(u8::from(!all)))
}

/// Shows how far SQS is with moving messages, until it is done; Ctrl-C stops it. Whether everything was moved.
async fn watch(dlq: &SqsQueue, handle: &str, whose: &str, waiting: u64) -> Result<bool, Failure> {
    let bar = progress("messages", usize::try_from(waiting).unwrap_or(usize::MAX));
    let moving = loop {
        let moving = dlq.moving(soon()).await?;
        bar.set_length(moving.of.unwrap_or(waiting));
        bar.set_position(moving.moved);
        if !matches!(moving.status.as_str(), "RUNNING" | "CANCELLING") {
            break moving;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            // Where nobody can press it there is nothing to wait for.
            Ok(()) = tokio::signal::ctrl_c() => dlq.stop_moving(handle, soon()).await?,
        }
    };
    bar.finish_and_clear();
    let why = moving.why.map(|why| format!(": {why}")).unwrap_or_default();
    say!("{} messages moved back{whose}; the move is {}{why}", moving.moved, moving.status.to_lowercase());
    Ok(moving.status == "COMPLETED")
}

/// Moves up to `waiting` messages, where the endpoint cannot do it by itself; how many were moved, and how many could not be.
async fn back(dlq: &SqsQueue, home: &SqsQueue, waiting: u64) -> (u64, u64) {
    let bar = progress("messages", usize::try_from(waiting).unwrap_or(usize::MAX));
    let (mut moved, mut stuck) = (0, 0);
    // No more than lay there at first: what fails again comes back here, and must not go round in circles.
    while moved + stuck < waiting {
        let before = moved + stuck;
        let rounds = (0..(waiting - before).div_ceil(10)).map(|_| ten_back(dlq, home));
        let mut rounds = futures::stream::iter(rounds).buffer_unordered(AT_ONCE);
        while let Some((sent, kept)) = rounds.next().await {
            (moved, stuck) = (moved + sent, stuck + kept);
            bar.set_position(moved + stuck);
        }
        if moved + stuck == before {
            break;
        }
    }
    bar.finish_and_clear();
    (moved, stuck)
}

/// Moves up to ten messages; how many were moved, and how many could not be.
async fn ten_back(dlq: &SqsQueue, home: &SqsQueue) -> (u64, u64) {
    let Ok(received) = dlq.receive(HIDDEN_S, soon()).await else { return (0, 0) };
    if received.is_empty() {
        return (0, 0);
    }
    let (messages, receipts): (Vec<_>, Vec<_>) =
        received.into_iter().map(|received| (Message { body: received.body }, received.receipt)).unzip();
    let sent = home.send(&messages, soon()).await;
    // INVARIANT: deleted here only once it is there.
    let there = receipts.iter().zip(&sent).filter(|(_, sent)| sent.is_ok()).map(|(receipt, _)| receipt.clone());
    let there: Vec<String> = there.collect();
    if !there.is_empty() {
        // What cannot be deleted comes a second time, which harms nobody.
        dlq.delete_all(&there, soon()).await;
    }
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    (count(there.len()), count(receipts.len() - there.len()))
}

async fn quarantine(args: &RedriveArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    let (objects, bucket) = (stack.objects(), stack.bucket()?);
    let (posts, escalations) = (stack.queue("POSTS_QUEUE_URL")?, stack.queue("ESCALATIONS_QUEUE_URL")?);
    let (mut fitting, mut sent) = (0_u64, 0_u64);
    for info in objects.list(bucket, "quarantine/", soon()).await? {
        let Some(object) = objects.get(bucket, &info.key, 16 * 1024 * 1024, soon()).await? else { continue };
        let kind = object.metadata.get("kind").map(String::as_str).unwrap_or_default();
        if args.kind.as_deref().is_some_and(|wanted| wanted != kind) {
            continue;
        }
        // A queue holds text alone.
        let Ok(body) = String::from_utf8(object.bytes) else {
            say!("{}  {}  not text: cannot go through a queue", line(&info.key), line(kind));
            continue;
        };
        fitting += 1;
        if args.run {
            let home = if Escalation::parse(body.as_bytes()).is_ok() { &escalations } else { &posts };
            sent += u64::from(send(home, body).await);
        } else {
            say!("{}  {}", line(&info.key), line(kind));
        }
    }
    if args.run {
        say!("{sent} of {fitting} sent again; originals stay in quarantine for their lifetime");
    } else {
        say!("{fitting} would be sent again; nothing was sent (`--run` sends them)");
    }
    Ok(ExitCode::from(u8::from(args.run && sent < fitting)))
}

async fn send(queue: &SqsQueue, body: String) -> bool {
    matches!(queue.send(&[Message { body }], soon()).await.as_slice(), [Ok(())])
}
