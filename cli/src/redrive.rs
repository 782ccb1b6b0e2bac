//! `moderato redrive`: back into the queues that messages came from, after whatever was wrong has been mended.

use crate::Failure;
use crate::progress::progress;
use crate::stack::{Stack, soon};
use crate::terminal::{line, say};
use clap::{Args, ValueEnum};
use domain::Escalation;
use std::process::ExitCode;
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
    /// The dead-letter queues, of posts and of posts that wait for a second opinion: messages that were tried five times.
    Dlq,
    /// Quarantine: messages that could not be read.
    Quarantine,
}

/// A message that is being moved is hidden from others this long.
const HIDDEN_S: i32 = 60;

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
        if run {
            let (moved, stuck) = back(&dlq, &home, waiting).await?;
            all &= stuck == 0;
            say!("{moved} messages moved back{whose}, {stuck} could not be sent and stay");
        } else {
            say!("{waiting} messages lie in the dead-letter queue{whose}; nothing was moved (`--run` moves them)");
        }
    }
    Ok(ExitCode::from(u8::from(!all)))
}

/// Moves up to `waiting` messages; how many were moved, and how many could not be.
async fn back(dlq: &SqsQueue, home: &SqsQueue, waiting: u64) -> Result<(u64, u64), Failure> {
    let bar = progress("messages", usize::try_from(waiting).unwrap_or(usize::MAX));
    let (mut moved, mut stuck) = (0_u64, 0_u64);
    // No more than lay there at first: what fails again comes back here, and must not go round in circles.
    while moved + stuck < waiting {
        let received = dlq.receive(HIDDEN_S, soon()).await?;
        if received.is_empty() {
            break;
        }
        for message in received {
            // INVARIANT: deleted here only once it is there.
            if send(home, message.body).await {
                dlq.delete(&message.receipt, soon()).await?;
                moved += 1;
            } else {
                stuck += 1;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok((moved, stuck))
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
